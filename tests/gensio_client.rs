//! gensio's own tool as an RFC 2217 client.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::termios::{ControlModes, InputModes};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use support::pty::Pty;
use support::{Broker, assert_same, connection, free_port, pattern, tools, wait_for};

/// Everything that it started is ended with it.
struct Gensiot(Child);

impl Drop for Gensiot {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The escape character that the tool is told to listen to.
const ESCAPE: u8 = 0x1d;

fn start(port: u16, escape: &str) -> Option<Gensiot> {
    let gensiot = tools::tool("gensiot", "gensio-bin")?;
    let child = Command::new(gensiot)
        .args(["-e", escape, "-i", "stdio(self)"])
        .arg(format!("telnet(rfc2217),tcp,127.0.0.1,{port}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Some(Gensiot(child))
}

fn broker(pty: &Pty) -> (Broker, u16) {
    let port = free_port();
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    (Broker::start(&connection("remote", &accepter, pty.path(), &[])), port)
}

#[test]
fn gensiot_moves_every_byte_both_ways() {
    let pty = Pty::new();
    let (broker, port) = broker(&pty);
    let Some(mut client) = start(port, "-1") else { return };
    broker.wait_device("remote", true);
    let (up, down) = (pattern(200_000, 1), pattern(200_000, 2));
    let (mut input, mut output) = (client.0.stdin.take().unwrap(), client.0.stdout.take().unwrap());
    let mut got = vec![0; down.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| input.write_all(&up).unwrap());
        scope.spawn(|| pty.write(&down));
        let at_device = scope.spawn(|| pty.read(up.len()));
        output.read_exact(&mut got).unwrap();
        assert_same("to the device", &at_device.join().unwrap(), &up);
    });
    assert_same("from the device", &got, &down);
    drop(input);
    broker.wait_device("remote", false);
}

#[test]
fn gensiot_sets_the_line() {
    let pty = Pty::new();
    let (broker, port) = broker(&pty);
    let Some(mut client) = start(port, "0x1d") else { return };
    broker.wait_device("remote", true);
    let mut input = client.0.stdin.take().unwrap();
    let mut send = |bytes: &[u8]| {
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    };
    let modes = |pty: &Pty| pty.termios().control_modes;
    assert_eq!(pty.termios().output_speed(), 115_200);
    for (speed, text) in [(1200, "1200"), (74_880, "74880"), (230_400, "230400")] {
        send(&[ESCAPE, b's']);
        send(text.as_bytes());
        send(b"\r");
        wait_for(text, || pty.termios().output_speed() == speed);
    }
    send(&[ESCAPE, b'o']);
    wait_for("odd", || modes(&pty).contains(ControlModes::PARODD));
    send(&[ESCAPE, b'n']);
    wait_for("none", || !modes(&pty).contains(ControlModes::PARODD));
    send(&[ESCAPE, b'2']);
    wait_for("2 stop bits", || modes(&pty).contains(ControlModes::CSTOPB));
    send(&[ESCAPE, b'1']);
    wait_for("1 stop bit", || !modes(&pty).contains(ControlModes::CSTOPB));
    send(&[ESCAPE, b'r']);
    wait_for("rtscts", || modes(&pty).contains(ControlModes::CRTSCTS));
    send(&[ESCAPE, b'x']);
    wait_for("xonxoff", || pty.termios().input_modes.contains(InputModes::IXON | InputModes::IXOFF));
    assert!(!modes(&pty).contains(ControlModes::CRTSCTS));
    send(&[ESCAPE, b'f']);
    wait_for("no flow control", || !pty.termios().input_modes.contains(InputModes::IXON));
    // a break has no effect that could be seen here, but must not harm the data behind it
    send(&[ESCAPE, b'b']);
    send(b"data");
    assert_eq!(pty.read(4), b"data");
    send(&[ESCAPE, b'q']);
    broker.wait_device("remote", false);
}
