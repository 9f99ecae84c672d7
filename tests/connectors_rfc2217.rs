//! `telnet(rfc2217)` as a connector: the line settings of a far server, through this one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::termios::ControlModes;
use serde_json::json;
use std::process::{Command, Stdio};
use support::net::Client;
use support::pty::Pty;
use support::pyserial::PySerial;
use support::shim::{self, Shim};
use support::{Broker, Process, assert_same, connection, free_port, pattern, tools, wait_for};

/// The near broker, on a far server at `port`.
fn near(port: u16, filters: &str) -> (Broker, u16) {
    let own = free_port();
    let config = format!(
        "connection: &near\n  accepter: telnet(rfc2217),tcp,127.0.0.1,{own}\n  \
         connector: '{filters}telnet(rfc2217),tcp,127.0.0.1,{port}'\n  options:\n    max-connections: 2\n"
    );
    (Broker::start(&config), own)
}

/// Clients through the near end, pyserial (where it is installed) and one of bytes, set speed,
/// parity and stop bits of the device behind the far end, and move data that needs escaping.
#[track_caller]
fn drive(near: &Broker, port: u16, pty: &Pty) {
    let mut client = Client::connect(port);
    near.wait_device("near", true);
    if let Some(mut python) = PySerial::start() {
        let url = format!("rfc2217://127.0.0.1:{port}");
        let answer = python.run("open", json!({"url": url, "baudrate": 19200}));
        assert_eq!(answer.result, Ok(json!(true)));
        wait_for("speed", || pty.termios().output_speed() == 19_200);
        python.value("close", serde_json::Value::Null);
        near.wait_metric("serbroker_port_clients", &[], 1);
    }
    client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x01\x00\x01\xc2\x00\xff\xf0\xff\xfa\x2c\x04\x02\xff\xf0");
    // the answers are those of the far end
    client.receive_until(b"\xff\xfa\x2c\x65\x00\x01\xc2\x00\xff\xf0");
    client.receive_until(b"\xff\xfa\x2c\x68\x02\xff\xf0");
    assert_eq!(pty.termios().output_speed(), 115_200);
    assert!(pty.termios().control_modes.contains(ControlModes::CSTOPB));
    let data = pattern(50_000, 1);
    let escaped: Vec<u8> =
        data.iter().flat_map(|&b| std::iter::repeat_n(b, if b == 0xff { 2 } else { 1 })).collect();
    std::thread::scope(|scope| {
        let mut sender = Client(client.0.try_clone().unwrap());
        let wire = &escaped;
        scope.spawn(move || sender.send(wire));
        assert_same("up", &pty.read(data.len()), &data);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| pty.write(&data));
        assert_same("down", &client.receive(escaped.len()), &escaped);
    });
}

#[test]
fn a_second_broker_is_the_far_end() {
    let pty = Pty::new();
    let port = free_port();
    let far =
        Broker::start(&connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), pty.path(), &[]));
    let (near, own) = near(port, "");
    drive(&near, own, &pty);
    near.wait_device("near", false);
    far.wait_device("far", false);
}

#[test]
fn the_real_ser2net_is_the_far_end() {
    let Some(ser2net) = tools::tool("ser2net", "ser2net") else { return };
    let pty = Pty::new();
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ser2net.yaml");
    let config = connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), pty.path(), &[]);
    std::fs::write(&file, format!("%YAML 1.1\n---\n{config}")).unwrap();
    let mut command = Command::new(ser2net);
    command.args(["-n", "-d", "-u", "-c"]).arg(&file).stdin(Stdio::null());
    let _far = Process::start(&mut command);
    // it listens at some time
    drop(Client::connect(port));
    let (near, own) = near(port, "");
    drive(&near, own, &pty);
    near.wait_device("near", false);
}

#[test]
fn modem_lines_and_breaks_go_both_ways() {
    let Some(shim) = Shim::build() else { return };
    let pty = Pty::new();
    let lines = shim.lines(pty.number());
    let port = free_port();
    let config = connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), pty.path(), &[]);
    let _far = Broker::start_with(&config, |command| shim.preload(command));
    let (_near, own) = near(port, "");
    let mut client = Client::connect(own);
    client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x05\x09\xff\xf0");
    client.receive_until(b"\xff\xfa\x2c\x69\x09\xff\xf0");
    wait_for("DTR is off at the far device", || lines.outputs() & shim::DTR == 0);
    client.send(b"\xff\xf3");
    wait_for("a break at the far device", || lines.breaks() > 0);
    lines.set_inputs(shim::CTS | shim::DSR);
    // CTS and DSR are on; which of them changed depends on when the far end looked
    loop {
        client.receive_until(b"\xff\xfa\x2c\x6b");
        let state = client.receive(3);
        if state[0] & 0xf0 == 0x30 {
            break;
        }
    }
}

#[test]
fn settings_are_made_again_when_the_far_end_comes_back() {
    let pty = Pty::new();
    let port = free_port();
    let far = |pty: &Pty| {
        Broker::start(&connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), pty.path(), &[]))
    };
    let first = far(&pty);
    let (near, own) = near(port, "keepopen(retry-time=50m),");
    let mut client = Client::connect(own);
    near.wait_device("near", true);
    first.wait_device("far", true);
    client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x01\x00\x00\x12\xc0\xff\xf0");
    client.receive_until(b"\xff\xfa\x2c\x65\x00\x00\x12\xc0\xff\xf0");
    assert_eq!(pty.termios().output_speed(), 4800);
    drop(first);
    near.log.wait(&["tried again every"]);
    let other = Pty::new();
    let _second = far(&other);
    wait_for("the speed of the new far end", || other.termios().output_speed() == 4800);
    assert_eq!(near.metric("serbroker_port_clients", &[]), 1);
}

#[test]
fn a_server_without_rfc2217_gets_no_requests_and_clients_get_answers() {
    let pty = Pty::new();
    let port = free_port();
    let _far = Broker::start(&connection("far", &format!("telnet,tcp,127.0.0.1,{port}"), pty.path(), &[]));
    let (_near, own) = near(port, "");
    let mut client = Client::connect(own);
    client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x01\x00\x00\x12\xc0\xff\xf0data");
    client.receive_until(b"\xff\xfa\x2c\x65\x00\x00\x12\xc0\xff\xf0");
    assert_eq!(pty.read(4), b"data");
    assert_eq!(pty.termios().output_speed(), 115_200);
}
