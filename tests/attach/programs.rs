//! Real programs on the terminal.

use super::kit::{Attached, clients, far};
use super::support::pty::Pty;
use super::support::pyserial::PySerial;
use super::support::{Process, assert_same, pattern, tools, wait_for};
use rustix::termios::ControlModes;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn pyserial_sets_and_reads() {
    let Some(mut python) = PySerial::start() else { return };
    let device = Pty::new();
    let (far, url) = far(device.path(), &["chardelay: false"]);
    let attached = Attached::start(&url, &["--line", "9600e71"]);
    let path = attached.link().display().to_string();
    let settings = json!({"url": path, "baudrate": 19_200, "parity": "O", "stopbits": 2, "exclusive": true});
    let opened = python.run("open", settings);
    eprintln!("open: {} ms", opened.ms);
    wait_for("19200 O 2", || {
        let now = device.termios();
        let modes = ControlModes::PARODD | ControlModes::CSTOPB;
        now.output_speed() == 19_200 && now.control_modes.contains(modes)
    });
    for round in 0..10 {
        let data = pattern(3000, round);
        python.write(&data);
        assert_same("up", &device.read(data.len()), &data);
        device.write(&data);
        assert_same("down", &python.read(data.len()), &data);
    }
    python.value("close", Value::Null);
    clients(&far, 0);
    // glibc refuses settings of which a terminal can carry out none: the same again, with seven bits
    for _ in 0..5 {
        let seven = json!({"url": path, "baudrate": 1200, "parity": "E", "bytesize": 7, "exclusive": true});
        let closed = super::support::until("7E1 again", || {
            python.begin(&json!(["open", seven]));
            python.answer().result.ok()
        });
        assert_eq!(closed, json!(true));
        wait_for("1200", || device.termios().output_speed() == 1200);
        python.write(b"seven");
        assert_eq!(device.read(5), b"seven");
        python.value("close", Value::Null);
        clients(&far, 0);
    }
}

#[test]
fn socat_is_a_local_program() {
    let Some(socat) = tools::tool("socat", "socat") else { return };
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    let mut process = Process::start(
        Command::new(socat)
            .arg("-")
            .arg(format!("OPEN:{},nonblock,rawer,b2400", attached.link().display()))
            .stdin(Stdio::piped()),
    );
    let mut input = process.child.stdin.take().unwrap();
    input.write_all(b"hello\n").unwrap();
    assert_eq!(device.read(6), b"hello\n");
    assert_eq!(device.termios().output_speed(), 2400);
    device.write(b"and back\n");
    process.stdout.wait(&["and back"]);
    drop(input);
    process.ended();
    clients(&far, 0);
}

#[test]
fn a_shell_reads_lines() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    // line editing and CR-LF translation, which are the terminal's, are there for those who want them
    let script = "exec 3<>$1; stty 1200 icanon icrnl -echo <&3; read -r line <&3; printf '%s' \"$line\"";
    let mut shell = Process::start(
        Command::new("sh").args(["-c", script, "sh"]).arg(attached.link()).stdin(Stdio::null()),
    );
    wait_for("speed", || device.termios().output_speed() == 1200);
    device.write(b"a line\r");
    assert!(shell.ended().success());
    assert_eq!(shell.stdout.text(), "a line");
    clients(&far, 0);
}
