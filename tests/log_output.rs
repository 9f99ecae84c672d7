//! The log goes where it may be that nobody reads.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use support::net::Client;
use support::pty::Pty;
use support::{connection, free_port, serbroker, until};

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
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("starts"));
    assert!(lines.any(|line| line.contains("client connected")));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("lines of the log are missing here")));
    assert!(rest.iter().any(|line| line.contains("stopped port=p")));
    assert!(child.wait().unwrap().success());
}
