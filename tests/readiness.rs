//! What the service manager is told: ready when the ports listen, and how many do not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use support::net::Client;
use support::pty::Pty;
use support::{PATIENCE, Process, connection, free_port, serbroker, until, wait_for};

/// The next message that begins with `start`.
fn message(manager: &UnixDatagram, start: &str) -> String {
    let mut buffer = [0; 512];
    loop {
        let length = manager.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if text.starts_with(start) {
            return text;
        }
    }
}

#[test]
fn ready_is_when_the_ports_listen() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let (named, taken) = (free_port(), free_port());
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    let file = dir.path().join("serbroker.yaml");
    let good = connection("named", &format!("tcp,localhost,{named}"), "/dev/x", &[]);
    std::fs::write(&file, &good).unwrap();
    let mut command = serbroker();
    command.args(["-n", "-u", "-c"]).arg(&file).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    let begun = Instant::now();
    let process = Process::start(&mut command);
    assert_eq!(message(&manager, "READY=1"), "READY=1\nSTATUS=1 of 1 ports listening\n");
    // at once: nobody has to try again
    TcpStream::connect((Ipv4Addr::LOCALHOST, named)).unwrap();
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    // an address that another program has: ready all the same, and the manager is told
    let both = good + &connection("taken", &format!("tcp,127.0.0.1,{taken}"), "/dev/y", &[]);
    std::fs::write(&file, both).unwrap();
    process.signal(Signal::HUP);
    assert!(message(&manager, "RELOADING=1").contains("MONOTONIC_USEC="));
    assert_eq!(message(&manager, "READY=1"), "READY=1\nSTATUS=1 of 2 ports listening\n");
    drop(other);
    until("the address", || {
        TcpStream::connect_timeout(&([127, 0, 0, 1], taken).into(), Duration::from_secs(1)).ok()
    });
    // told with a sign of life
    while message(&manager, "STATUS=") != "STATUS=2 of 2 ports listening\n" {}
    process.signal(Signal::TERM);
    assert_eq!(message(&manager, "STOPPING=1"), "STOPPING=1\n");
}

/// A manager that is busy leaves its socket full after ten messages.
#[test]
fn a_manager_that_does_not_read_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let pty = Pty::new();
    let port = free_port();
    let file = dir.path().join("serbroker.yaml");
    std::fs::write(&file, connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[])).unwrap();
    let mut command = serbroker();
    command.args(["-n", "-u", "-c"]).arg(&file).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "2000");
    let mut process = Process::start(&mut command);
    process.stderr.wait(&["1 of 1 ports listening"]);
    let probe = UnixDatagram::unbound().unwrap();
    probe.set_nonblocking(true).unwrap();
    wait_for("the socket is full", || probe.send_to(b"X=1", &socket).is_err());
    let mut client = Client::connect(port);
    client.send(b"goes on");
    assert_eq!(pty.read(7), b"goes on");
    // what was said first is there, and its end is told when it reads again
    assert!(message(&manager, "READY=1").contains("1 of 1 ports listening"));
    process.signal(Signal::TERM);
    let reader =
        std::thread::spawn(move || while manager.recv(&mut [0; 512]).is_ok_and(|count| count > 0) {});
    assert!(process.ended().success());
    drop(reader);
}
