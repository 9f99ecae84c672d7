//! pyserial as the client: `rfc2217://` (without `ign_set_control`) and `socket://`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::termios::{ControlModes, InputModes};
use serde_json::{Value, json};
use std::time::Duration;
use support::pty::{Echo, Pty};
use support::pyserial::{PySerial, hex};
use support::shim::{self, Shim};
use support::{Broker, connection, free_port, pattern, until, wait_for};

/// pyserial gives up after 3 seconds; an open that takes longer has waited for an answer in vain.
const NEGOTIATION_LIMIT_MS: f64 = 3000.0;

struct Setup {
    broker: Broker,
    device: Echo,
    python: PySerial,
    url: String,
}

/// A broker with an RFC 2217 port on a device that sends back what comes, and a pyserial session.
fn setup(shim: Option<&Shim>) -> Option<Setup> {
    let python = PySerial::start()?;
    let device = Pty::new().echo();
    let port = free_port();
    let config = connection("remote", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), device.path(), &[]);
    let broker = Broker::start_with(&config, |command| {
        if let Some(shim) = shim {
            shim.preload(command);
        }
    });
    Some(Setup { broker, device, python, url: format!("rfc2217://127.0.0.1:{port}") })
}

impl Setup {
    /// Opens; the time that this took.
    #[track_caller]
    fn open(&mut self, settings: &Value) -> f64 {
        let mut arguments = settings.clone();
        arguments["url"] = json!(self.url);
        let answer = self.python.run("open", arguments);
        assert_eq!(answer.result, Ok(json!(true)));
        assert!(answer.ms < NEGOTIATION_LIMIT_MS, "{settings}: open took {} ms", answer.ms);
        answer.ms
    }

    #[track_caller]
    fn close(&mut self) {
        self.python.value("close", Value::Null);
        self.broker.wait_metric("serbroker_port_clients", &[], 0);
    }

    /// All byte values go out and come back.
    #[track_caller]
    fn echo(&mut self) {
        let data = pattern(600, 9);
        self.python.write(&data);
        assert_eq!(self.python.read(data.len()), data);
    }

    /// Sets properties of the open port; the time that this took.
    #[track_caller]
    fn set(&mut self, properties: Value) -> f64 {
        self.python.run("set", properties).ms
    }
}

fn times(what: &str, mut ms: Vec<f64>) {
    ms.sort_by(f64::total_cmp);
    let (first, last) = (ms[0], ms[ms.len() - 1]);
    eprintln!("{what}: {} times, {first:.0} to {last:.0} ms, median {:.0} ms", ms.len(), ms[ms.len() / 2]);
}

/// Every line setting, as pyserial names it.
fn line_settings() -> Vec<Value> {
    let mut all = Vec::new();
    for baud in [50, 300, 1200, 9600, 19_200, 74_880, 115_200, 250_000, 921_600, 3_000_000] {
        all.push(json!({"baudrate": baud}));
    }
    for size in [5, 6, 7, 8] {
        all.push(json!({"baudrate": 1200, "bytesize": size}));
    }
    for parity in ["N", "E", "O", "M", "S"] {
        all.push(json!({"baudrate": 19_200, "parity": parity}));
    }
    for stop in [1, 2] {
        all.push(json!({"baudrate": 9600, "stopbits": stop}));
    }
    for (xonxoff, rtscts) in [(true, false), (false, true), (false, false)] {
        all.push(json!({"baudrate": 9600, "xonxoff": xonxoff, "rtscts": rtscts}));
    }
    all.push(json!({"baudrate": 1200, "bytesize": 7, "parity": "E", "stopbits": 1}));
    all.push(json!({"baudrate": 2400, "bytesize": 7, "parity": "O", "stopbits": 2, "rtscts": true}));
    all
}

/// What a pseudo-terminal keeps of the settings is what was asked for.
#[track_caller]
fn assert_in_force(device: &Echo, settings: &Value) {
    let now = device.termios();
    let speed = u32::try_from(settings["baudrate"].as_u64().unwrap()).unwrap();
    assert_eq!((now.input_speed(), now.output_speed()), (speed, speed), "{settings}");
    let has = |mode| now.control_modes.contains(mode);
    assert_eq!(has(ControlModes::CSTOPB), settings["stopbits"] == 2, "{settings}");
    assert_eq!(has(ControlModes::CRTSCTS), settings["rtscts"] == true, "{settings}");
    let parity = settings["parity"].as_str().unwrap_or("N");
    assert_eq!(has(ControlModes::PARODD), "OM".contains(parity), "{settings}");
    assert_eq!(has(ControlModes::CMSPAR), "MS".contains(parity), "{settings}");
    let flow = InputModes::IXON | InputModes::IXOFF;
    let wanted = if settings["xonxoff"] == true { flow } else { InputModes::empty() };
    assert_eq!(now.input_modes & flow, wanted, "{settings}");
}

/// The bits that only a terminal with the shim keeps.
#[track_caller]
fn assert_size_and_parity(lines: &shim::Lines, settings: &Value) {
    let size = settings["bytesize"].as_u64().unwrap_or(8);
    let bits = [libc::CS5, libc::CS6, libc::CS7, libc::CS8][usize::try_from(size - 5).unwrap()];
    let parity = if settings["parity"].as_str().unwrap_or("N") == "N" { 0 } else { libc::PARENB };
    assert_eq!(lines.size_and_parity(), bits | parity, "{settings}");
}

fn opens_with_each_setting(shim: Option<&Shim>) {
    let Some(mut setup) = setup(shim) else { return };
    assert_eq!(setup.python.value("version", Value::Null), "3.5");
    let lines = shim.map(|shim| shim.lines(setup.device.number()));
    let mut ms = Vec::new();
    for settings in line_settings() {
        ms.push(setup.open(&settings));
        assert_in_force(&setup.device, &settings);
        if let Some(lines) = &lines {
            assert_size_and_parity(lines, &settings);
            assert_eq!(lines.outputs(), shim::DTR | shim::RTS, "pyserial raises both when it opens");
        }
        if settings["xonxoff"] != true {
            // a terminal that does XON/XOFF keeps those two bytes to itself
            setup.echo();
        }
        setup.close();
    }
    times("open", ms);
    let opens = u64::try_from(line_settings().len()).unwrap();
    setup.broker.wait_metric("serbroker_port_device_opens_total", &[], opens);
}

#[test]
fn rfc2217_opens_with_each_setting() {
    opens_with_each_setting(None);
}

#[test]
fn rfc2217_opens_with_each_setting_on_modem_lines() {
    if let Some(shim) = Shim::build() {
        opens_with_each_setting(Some(&shim));
    }
}

#[test]
fn rfc2217_settings_change_while_open() {
    let Some(mut setup) = setup(None) else { return };
    setup.open(&json!({"baudrate": 9600}));
    let mut now = json!({"baudrate": 9600});
    let mut ms = Vec::new();
    for settings in line_settings() {
        // pyserial refuses both kinds of flow control at once, also for a moment
        let changes: Vec<Value> = ["baudrate", "bytesize", "parity", "stopbits", "xonxoff", "rtscts"]
            .into_iter()
            .filter_map(|name| settings.get(name).map(|value| json!([name, value])))
            .collect();
        ms.push(setup.set(json!(changes)));
        for (name, value) in settings.as_object().unwrap() {
            now[name] = value.clone();
        }
        assert_in_force(&setup.device, &now);
        if now["xonxoff"] != true {
            setup.echo();
        }
    }
    times("change", ms);
    setup.close();
}

#[test]
fn rfc2217_session_reads_purges_breaks_and_reopens() {
    let Some(mut setup) = setup(None) else { return };
    let mut ms = vec![setup.open(&json!({"baudrate": 115_200}))];
    for _ in 0..4 {
        setup.echo();
        // what comes back and is not read is thrown away
        setup.python.write(b"to be purged");
        wait_for("echo", || setup.python.value("in_waiting", Value::Null) == json!(12));
        setup.python.value("reset_input_buffer", Value::Null);
        assert_eq!(setup.python.value("in_waiting", Value::Null), json!(0));
        setup.python.value("reset_output_buffer", Value::Null);
        setup.python.value("flush", Value::Null);
        setup.echo();
        setup.python.value("send_break", json!(0.05));
        setup.set(json!([["break_condition", true], ["break_condition", false]]));
        setup.set(json!([["dtr", false], ["rts", false], ["dtr", true], ["rts", true]]));
        // a pseudo-terminal has no modem lines: all low, and told at once
        let lines = setup.python.run("get", json!(["cts", "dsr", "ri", "cd"]));
        assert!(lines.ms < NEGOTIATION_LIMIT_MS, "{lines:?}");
        assert_eq!(lines.result, Ok(json!({"cts": false, "dsr": false, "ri": false, "cd": false})));
        setup.echo();
        setup.close();
        let again = setup.python.run("reopen", Value::Null);
        assert!(again.ms < NEGOTIATION_LIMIT_MS, "{again:?}");
        ms.push(again.ms);
    }
    setup.echo();
    times("open and reopen", ms);
    setup.close();
}

#[test]
fn rfc2217_moves_much_data() {
    let Some(mut setup) = setup(None) else { return };
    setup.open(&json!({"baudrate": 921_600}));
    let data = pattern(200_000, 10);
    // a pseudo-terminal has no wire that would slow the echo down: it is read while it is written
    for part in data.chunks(4000) {
        setup.python.write(part);
        assert!(setup.python.read(part.len()) == part);
    }
    setup.close();
}

#[test]
fn rfc2217_sees_and_drives_modem_lines() {
    let Some(shim) = Shim::build() else { return };
    let Some(mut setup) = setup(Some(&shim)) else { return };
    let lines = shim.lines(setup.device.number());
    for url in [setup.url.clone(), format!("{}?poll_modem", setup.url)] {
        setup.url = url;
        lines.set_inputs(shim::CTS | shim::CD);
        setup.open(&json!({"baudrate": 9600}));
        let read = |python: &mut PySerial| {
            let value = python.value("get", json!(["cts", "dsr", "ri", "cd"]));
            ["cts", "dsr", "ri", "cd"].map(|name| value[name] == json!(true))
        };
        let mut slowest = Duration::ZERO;
        for (inputs, wanted) in [
            (shim::CTS | shim::CD, [true, false, false, true]),
            (shim::DSR, [false, true, false, false]),
            (shim::RI | shim::DSR, [false, true, true, false]),
            (shim::CTS | shim::DSR | shim::RI | shim::CD, [true, true, true, true]),
            (0, [false; 4]),
        ] {
            lines.set_inputs(inputs);
            let begun = std::time::Instant::now();
            let seen = |setup: &mut Setup| (read(&mut setup.python) == wanted).then_some(());
            until(&format!("{wanted:?}"), || seen(&mut setup));
            slowest = slowest.max(begun.elapsed());
        }
        eprintln!("{}: a change of modem lines was seen after {slowest:?} at the latest", setup.url);
        for (property, bit) in [("dtr", shim::DTR), ("rts", shim::RTS)] {
            for value in [false, true, false, true] {
                // the answer comes when it is done: no need to wait
                setup.set(json!([[property, value]]));
                assert_eq!(lines.outputs() & bit != 0, value, "{property}");
            }
        }
        // the order in which development boards are put into their boot loader
        let mut seen = Vec::new();
        for (dtr, rts) in [(false, true), (true, false), (false, false)] {
            setup.set(json!([["dtr", dtr], ["rts", rts]]));
            seen.push(lines.outputs());
        }
        assert_eq!(seen, [shim::RTS, shim::DTR, 0]);
        setup.close();
    }
}

#[test]
fn rfc2217_break_is_on_the_line_while_it_lasts() {
    let Some(shim) = Shim::build() else { return };
    let Some(mut setup) = setup(Some(&shim)) else { return };
    let lines = shim.lines(setup.device.number());
    setup.open(&json!({"baudrate": 9600}));
    assert!(!lines.in_break());
    setup.set(json!([["break_condition", true]]));
    assert!(lines.in_break());
    setup.set(json!([["break_condition", false]]));
    assert!(!lines.in_break());
    let before = lines.breaks();
    setup.python.begin(&json!(["send_break", 0.3]));
    wait_for("break", || lines.in_break());
    assert_eq!(setup.python.answer().result, Ok(Value::Null));
    assert!(!lines.in_break());
    assert_eq!(lines.breaks(), before + 1);
    // a client that goes away in the middle of a break does not leave the line in it
    setup.set(json!([["break_condition", true]]));
    setup.close();
    setup.broker.wait_device("remote", false);
    assert!(!lines.in_break());
    assert!(shim.calls().contains("TIOCCBRK"));
}

#[test]
fn socket_url_moves_bytes_and_reopens() {
    let Some(mut python) = PySerial::start() else { return };
    let device = Pty::new();
    let port = free_port();
    let broker = Broker::start(&connection("raw", &format!("tcp,127.0.0.1,{port}"), device.path(), &[]));
    let url = format!("socket://127.0.0.1:{port}");
    let opened = python.run("open", json!({"url": url}));
    eprintln!("socket:// open: {} ms", opened.ms);
    for round in 0..3 {
        let (up, down) = (pattern(3000, round), pattern(3000, round + 100));
        python.write(&up);
        assert_eq!(device.read(up.len()), up);
        device.write(&down);
        assert_eq!(python.read(down.len()), down);
        device.write(b"x");
        assert_eq!(python.read(1), b"x", "{}", hex(&down[..4]));
        python.value("close", Value::Null);
        broker.wait_metric("serbroker_port_clients", &[], 0);
        broker.wait_device("raw", false);
        assert_eq!(python.value("reopen", Value::Null), json!(true));
    }
}
