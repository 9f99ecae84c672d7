//! What the test suite of ser2net asks of the program under test, which it takes from the environment
//! variable `SER2NET_EXEC`: started with `-t 4 -r -d` and a `-Y` for each line of configuration, with
//! pipes for its standard streams; ready when it prints `Ready`; ended by SIGTERM.
//!
//! With `SER2NET_EXEC=/usr/sbin/ser2net` the same tests run against ser2net itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::Signal;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::net::{Client, End};
use support::pty::Pty;
use support::{Process, assert_same, free_port, pattern};

/// The program under test.
fn program() -> PathBuf {
    std::env::var_os("SER2NET_EXEC").unwrap_or_else(|| env!("CARGO_BIN_EXE_serbroker").into()).into()
}

/// The program with a configuration, given line by line, from the moment at which it is ready.
fn daemon(lines: &[&str]) -> Process {
    let mut command = Command::new(program());
    command.args(["-t", "4", "-r", "-d"]).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    for line in lines {
        command.args(["-Y", line]);
    }
    let mut process = Process::start(command.stdin(Stdio::piped()));
    // a line of its own, and nothing before it
    let ready = process.stdout.wait(&[""]);
    assert!(process.child.try_wait().unwrap().is_none(), "it ended: {}", process.stderr.text());
    assert_eq!(ready, "Ready");
    process
}

/// A connection in four lines, as the suite writes it, and further ones.
fn connection<'a>(accepter: &'a str, connector: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["connection: &con", accepter, connector], more].concat()
}

fn accepter(port: u16) -> String {
    format!("  accepter: tcp,{port}")
}

fn connector(pty: &Pty) -> String {
    format!("  connector: serialdev(nouucplock=true),{},9600N81", pty.path())
}

/// Ends the program, whose clients are closed.
fn end(mut process: Process, port: u16) {
    process.signal(Signal::TERM);
    let status = process.ended();
    // ser2net 4.3.11 ends with 1
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop).map_err(|e| e.kind());
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
}

#[test]
fn who_waits_for_ready_can_connect_at_once() {
    let (a, b) = (Pty::new(), Pty::new());
    let (port, other, admin) = (free_port(), free_port(), free_port());
    let process = daemon(&[
        "connection: &con1",
        &accepter(port),
        &connector(&a),
        "connection: &con2#  accepter: telnet(rfc2217),tcp,localhost,",
        // a text goes on in the next one
        &format!("    {other}"),
        &connector(&b),
        "  options:",
        "    banner: \"# \\\\o #\"",
        "admin:",
        &format!("  accepter: tcp,127.0.0.1,{admin}"),
    ]);
    // one attempt each: nobody waits for anything any more
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut telnet = Client(TcpStream::connect((Ipv4Addr::LOCALHOST, other)).unwrap());
    assert!(telnet.receive_until(b"# con2 #").starts_with(b"\xff\xfb"));
    end(process, port);
}

#[test]
fn data_arrives_both_ways_and_both_at_once() {
    let pty = Pty::new();
    let port = free_port();
    let process = daemon(&connection(&accepter(port), &connector(&pty), &[]));
    let mut client = Client::connect(port);
    let (up, down) = (pattern(10_000, 1), pattern(10_000, 2));
    client.send(&up[..5000]);
    assert_same("to the device", &pty.read(5000), &up[..5000]);
    pty.write(&down[..5000]);
    assert_same("to the client", &client.receive(5000), &down[..5000]);
    let mut sender = Client(client.0.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&up[5000..]));
        scope.spawn(|| pty.write(&down[5000..]));
        let read = scope.spawn(|| pty.read(5000));
        assert_same("to the client", &client.receive(5000), &down[5000..]);
        assert_same("to the device", &read.join().unwrap(), &up[5000..]);
    });
    end(process, port);
}

#[test]
fn a_close_loses_nothing() {
    let pty = Pty::new();
    let port = free_port();
    let process = daemon(&connection(&accepter(port), &connector(&pty), &[]));
    let data = pattern(1000, 3);
    let mut client = Client::connect(port);
    client.send(&data);
    drop(client);
    assert_same("to the device", &pty.read(1000), &data);
    let mut client = Client::connect(port);
    client.send(b"!");
    assert_eq!(pty.read(1), b"!");
    pty.write(&data);
    assert_same("to the client", &client.receive(1000), &data);
    drop(pty);
    assert_eq!(client.rest(), (Vec::new(), End::Fin), "the far end closed");
    drop(client);
    end(process, port);
}

#[test]
fn an_old_user_is_kicked() {
    let pty = Pty::new();
    let port = free_port();
    let options = ["  options:", "    kickolduser: true"];
    let process = daemon(&connection(&accepter(port), &connector(&pty), &options));
    let mut old = Client::connect(port);
    old.send(b"old");
    assert_eq!(pty.read(3), b"old");
    let mut new = Client::connect(port);
    assert_eq!(old.rest(), (Vec::new(), End::Fin));
    new.send(b"new");
    assert_eq!(pty.read(3), b"new");
    end(process, port);
}

#[test]
fn as_many_clients_as_are_allowed_share_a_device() {
    let pty = Pty::new();
    let port = free_port();
    let options = ["  options:", "    max-connections: 2"];
    let process = daemon(&connection(&accepter(port), &connector(&pty), &options));
    let mut first = Client::connect(port);
    first.send(b"1");
    assert_eq!(pty.read(1), b"1");
    let mut second = Client::connect(port);
    second.send(b"2");
    assert_eq!(pty.read(1), b"2");
    pty.write(b"Test 2 string");
    for client in [&mut first, &mut second] {
        assert_eq!(client.receive(13), b"Test 2 string");
    }
    let (text, _) = Client::connect(port).rest();
    assert_eq!(text, b"Port already in use\r\n");
    end(process, port);
}

#[test]
fn the_end_of_its_standard_input_does_not_end_it() {
    let pty = Pty::new();
    let port = free_port();
    let mut process = daemon(&connection(&accepter(port), &connector(&pty), &[]));
    drop(process.child.stdin.take());
    let mut client = Client::connect(port);
    client.send(b"still here");
    assert_eq!(pty.read(10), b"still here");
    // the suite closes its clients before the program
    drop(client);
    end(process, port);
}

#[test]
fn ready_is_said_although_a_port_cannot_listen() {
    let pty = Pty::new();
    let taken = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let process = daemon(&connection(&accepter(port), &connector(&pty), &[]));
    process.signal(Signal::TERM);
    drop(process);
}
