//! Real programs on the terminal.

use super::kit::{Attached, clients, far};
use super::support::pty::Pty;
use super::support::pyserial::PySerial;
use super::support::{Process, assert_same, pattern, tools, wait_for};
use rustix::termios::ControlModes;
use serbroker::demo::tic::Reading;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// What the meter library serial-teleinfo reads of `port`: twelve values, one a line.
const METER: &str = "
import sys
from serial_teleinfo import Client

with Client(sys.argv[1]) as client:
    for _ in range(12):
        value = client.read_value()
        print(value.key, value.value, flush=True)
";

#[test]
fn a_meter_library_reads_the_meter() {
    let Some(python) = tools::python() else { return };
    let has = Command::new(&python).args(["-c", "import serial_teleinfo"]).output().unwrap();
    if !has.status.success() {
        tools::missing("no serial-teleinfo for Python: target/venv/bin/pip install serial-teleinfo==1.0.1");
        return;
    }
    let device = Pty::new();
    let (_far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &["--line", "1200e71"]);
    // a second client comes after the first, with the same settings again
    for second in [3, 4] {
        let mut meter = Process::start(
            Command::new(&python).args(["-c", METER]).arg(attached.link()).stdin(Stdio::null()),
        );
        wait_for("1200", || device.termios().output_speed() == 1200);
        let reading = Reading::at(second);
        let mut rest = Vec::new();
        while meter.child.try_wait().unwrap().is_none() {
            if rest.is_empty() {
                rest = reading.frame();
            }
            // as fast as it is read: the meter's own speed would only take longer
            let sent = device.write_some(&rest, Instant::now() + Duration::from_millis(20));
            rest.drain(..sent);
        }
        assert!(meter.ended().success(), "{}", meter.stderr.text());
        for value in [format!("PAPP {}", reading.power), format!("BASE {}", reading.base)] {
            assert!(meter.stdout.find(&[&value]).is_some(), "no {value} in {}", meter.stdout.text());
        }
        wait_for("end", || {
            attached.process.stderr.count(&["disconnected"]) == usize::try_from(second).unwrap() - 2
        });
    }
}

#[test]
fn kermit_dials_out() {
    let Some(kermit) = tools::tool("kermit", "ckermit") else { return };
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    let commands = format!(
        "set carrier-watch off\nset line {}\nset speed 19200\nlineout hello kermit\n\
         input 20 READY\nif success echo heard it\nexit\n",
        attached.link().display()
    );
    std::fs::write(&script, commands).unwrap();
    let mut process = Process::start(Command::new(kermit).arg(&script).stdin(Stdio::null()));
    assert_eq!(device.read(13), b"hello kermit\r");
    assert_eq!(device.termios().output_speed(), 19_200);
    device.write(b"READY\r\n");
    process.ended();
    assert!(process.stdout.find(&["heard it"]).is_some(), "{}", process.stdout.text());
    clients(&far, 0);
}
