//! labgrid: its exporter starts `ser2net` with a configuration that depends on the version, its
//! clients use a pyserial of its own.

use crate::support::net::Client;
use crate::support::pty::Pty;
use crate::support::pyserial::PySerial;
use crate::support::{Process, free_port, pattern, tools};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// The version as the exporter reads it: the output is three words, the last is made of numbers.
fn version(program: &std::path::Path) -> (u32, u32, u32) {
    let output = Command::new(program).arg("-v").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    assert_eq!(words.len(), 3, "{text}");
    let numbers: Vec<u32> = words[2].trim().split('.').map(|n| n.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2])
}

#[test]
fn the_exporter_starts_it_and_clients_use_it_together() {
    let Some(python) = tools::labgrid_python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("ser2net");
    symlink(env!("CARGO_BIN_EXE_serbroker"), &program).unwrap();
    // it writes one-line format without RFC 2217 for older ones
    assert!(version(&program) >= (4, 2, 0));
    let device = Pty::new();
    let port = free_port();
    let mut command = Command::new(&program);
    command.args(["-d", "-n"]);
    for text in [
        format!("connection: &con01#  accepter: telnet(rfc2217,mode=server),tcp,{port}"),
        format!("  connector: serialdev(nouucplock=true),{},115200n81,local", device.path()),
        "  options:".to_owned(),
        "    max-connections: 10".to_owned(),
    ] {
        command.args(["-Y", &text]);
    }
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    let mut process = Process::start(&mut command);
    drop(Client::connect(port));

    // several people look at one console
    let open = |ign: &str, speed: u32| {
        let mut client = PySerial::with(python.clone());
        let url = format!("rfc2217://127.0.0.1:{port}?{ign}timeout=3.0");
        let answer = client.run("open", json!({"url": url, "baudrate": speed}));
        assert!(answer.ms < 3000.0, "{answer:?}");
        client
    };
    let mut first = open("ign_set_control&", 115_200);
    let version = first.value("version", Value::Null);
    assert_eq!(version.as_str().map(|v| v.split('.').count()), Some(4), "{version}");
    let mut second = open("", 115_200);
    let said = pattern(1000, 3);
    device.write(&said);
    assert_eq!(first.read(said.len()), said);
    assert_eq!(second.read(said.len()), said);
    let typed = pattern(300, 4);
    second.write(&typed);
    assert_eq!(device.read(typed.len()), typed);
    // the time limit is set before each read
    first.run("set", json!([["timeout", 0.05]]));
    assert_eq!(first.read(1), b"");
    first.run("set", json!([["baudrate", 57_600]]));
    assert_eq!(device.termios().output_speed(), 57_600);
    for client in [&mut first, &mut second] {
        client.value("close", Value::Null);
    }
    // the exporter gives it two seconds
    let begun = std::time::Instant::now();
    process.signal(Signal::TERM);
    process.ended();
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}
