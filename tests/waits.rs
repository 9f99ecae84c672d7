//! How the program waits for bytes: without a timeout, and with no thread beside it. Each of the two would
//! cost more than the bytes themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::os::unix::net::UnixDatagram;
use support::net::Client;
use support::pty::Pty;
use support::{Broker, connection, free_port, wait_for};

/// Of the arguments of epoll_wait(2) and epoll_pwait(2), after the number of the call: the timeout.
const TIMEOUT: usize = 4;

/// Whether the program waits until something comes, however long that takes (proc(5), `/proc/PID/syscall`).
fn waits_for_ever(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let argument = call.split_whitespace().nth(TIMEOUT);
    // the low half is the int; `running` has no arguments
    argument.is_some_and(|argument| argument.ends_with("ffffffff"))
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// A client, the service manager's watchdog and a scraper that keeps its connection: all of them have
/// something that is due some time.
#[test]
fn between_bytes_nothing_is_waited_for_but_bytes() {
    let (pty, port) = (Pty::new(), free_port());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    let config = connection("a", &accepter, pty.path(), &["user-timeout: 3600"]);
    let broker = Broker::start_with(&config, |command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "600000000");
    });
    let said = |what: &[u8]| {
        let mut message = [0; 256];
        manager.recv(&mut message).is_ok_and(|length| message[..length].starts_with(what))
    };
    wait_for("the watchdog's first beat", || said(b"WATCHDOG=1"));

    let mut scraper = Client::connect(broker.health);
    scraper.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    scraper.receive_until(b"}");
    let mut client = Client::connect(port);
    client.send(b"question");
    assert_eq!(pty.read(8), b"question");
    pty.write(b"answer");
    client.receive_until(b"answer");

    let pid = broker.process.child.id();
    wait_for("a wait without a timeout, and no other thread", || waits_for_ever(pid) && threads(pid) == 1);
    // the scraper is still connected
    scraper.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    scraper.receive_until(b"}");
}
