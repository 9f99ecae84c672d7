//! The limit of open files: raised at the start, and told when the configuration needs more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::fmt::Write;
use std::fs;
use std::process::Command;
use support::{Process, connection, free_port, serbroker};

/// Starts the program on `ports` ports after `ulimit` with these options.
fn start(limits: &str, ports: usize, dir: &tempfile::TempDir) -> Process {
    let mut text = String::new();
    for n in 0..ports {
        let accepter = format!("tcp,127.0.0.1,{}", free_port());
        write!(text, "{}", connection(&format!("p{n}"), &accepter, "/dev/null", &[])).unwrap();
    }
    let file = dir.path().join("serbroker.yaml");
    fs::write(&file, text).unwrap();
    let program = serbroker();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{limits} && exec \"$@\"")).arg("sh").arg(program.get_program());
    shell.args(["-n", "-u", "-c"]).arg(&file).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    let process = Process::start(&mut shell);
    process.stderr.wait(&["ports listening"]);
    process
}

/// Soft and hard limit of a process.
fn limits(process: &Process) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{}/limits", process.child.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

#[test]
fn the_soft_limit_becomes_the_hard_one() {
    let dir = tempfile::tempdir().unwrap();
    let process = start("ulimit -Sn 100 && ulimit -Hn 200", 2, &dir);
    assert_eq!(limits(&process), ["200", "200"]);
    assert_eq!(process.stderr.count(&["file descriptors"]), 0, "{}", process.stderr.text());
}

#[test]
fn a_configuration_that_needs_more_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let process = start("ulimit -n 100", 20, &dir);
    let line = process.stderr.wait(&["WARN", "20 ports", "144 file descriptors", "the limit is 100"]);
    assert!(line.contains("LimitNOFILE="), "{line}");
}
