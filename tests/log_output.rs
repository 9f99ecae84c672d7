//! The log goes where it may be that nobody reads.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use support::net::Client;
use support::pty::Pty;
use support::{Lines, connection, free_port, serbroker, until};

#[test]
fn a_pipe_that_nobody_reads_stops_no_port() {
    let dir = tempfile::tempdir().unwrap();
    let (port, busy) = (free_port(), free_port());
    let (pty, other) = (Pty::new(), Pty::new());
    let file = dir.path().join("serbroker.yaml");
    let config = connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[])
        + &connection(
            "busy",
            &format!("tcp,127.0.0.1,{busy}"),
            other.path(),
            &["banner: '!'", "max-connections: 50"],
        );
    std::fs::write(&file, config).unwrap();
    let mut child = serbroker().args(["-n", "-u", "-c"]).arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let mut client = until("the port", || std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(Client));
    // two lines for each client: more than a pipe has room for, and more than waits
    for _ in 0..3000 {
        assert_eq!(Client::connect(busy).receive(1), b"!");
    }
    client.send(b"goes on");
    assert_eq!(pty.read(7), b"goes on");
    // it is read after all: what was kept comes, then how much is missing, then the rest
    let (lines, reader) = Lines::collect(child.stderr.take().unwrap());
    until("the gap", || {
        Client::connect(busy).receive(1);
        lines.find(&["lines of the log are missing here"])
    });
    assert!(lines.text().contains(" starts\n"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    lines.wait(&["stopped port=p"]);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
}
