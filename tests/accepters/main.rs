//! Accepters of every transport, with the clients that people use.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

#[path = "../support/mod.rs"]
mod support;

mod dial;
mod filters;
mod listen;
mod stdio;
mod telnet;
mod udp;
mod unix;
mod wrap;

use std::process::{Command, Stdio};
use support::{Process, tools};

/// Runs a command inside new namespaces: `unshare`, its flags, a shell script that ends with
/// `exec "$@"`, and the command. False, and said, when this machine allows no namespaces.
fn in_namespace(command: &mut Command, flags: &[&str], script: &str) -> bool {
    let Some(unshare) = tools::tool("unshare", "util-linux") else { return false };
    let mut probe = Command::new(&unshare);
    probe.args(flags).args(["sh", "-c", &script.replace("exec \"$@\"", "exec true")]).arg("sh");
    if !probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        tools::missing("namespaces: unshare is not permitted");
        return false;
    }
    let mut outer = Command::new(unshare);
    outer.args(flags).args(["sh", "-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    outer.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    *command = outer;
    true
}

/// A client program with pipes, ended with this value.
fn client(program: &str, package: &str, args: &[&str]) -> Option<(Process, std::process::ChildStdin)> {
    let path = tools::tool(program, package)?;
    let mut process = Process::start(Command::new(path).args(args).stdin(Stdio::piped()));
    let input = process.child.stdin.take().unwrap();
    Some((process, input))
}
