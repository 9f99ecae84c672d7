//! `serbroker attach`: a far port as a terminal of this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod kit;
mod life;
mod programs;
#[path = "../support/mod.rs"]
mod support;

use kit::{Attached, clients, far};
use rustix::termios::{ControlModes, InputModes};
use std::process::Command;
use std::time::Duration;
use support::net::Client;
use support::pty::Pty;
use support::shim::{self, Shim};
use support::{Broker, Process, assert_same, connection, free_port, pattern, tools, wait_for};

/// Speed, stop bits, flow control and odd parity arrive at the far device.
#[track_caller]
fn settings_arrive(attached: &Attached, device: &Pty) {
    let program = attached.open();
    program.raw(19_200);
    wait_for("speed", || device.termios().output_speed() == 19_200);
    for speed in [1200, 74_880, 3_000_000, 250_000] {
        // what is written behind a change finds it in force
        program.raw(speed);
        program.write(b"now");
        assert_eq!(device.read(3), b"now");
        assert_eq!(device.termios().output_speed(), speed);
    }
    let has = |mode| device.termios().control_modes.contains(mode);
    let odd = ControlModes::PARENB | ControlModes::PARODD;
    program.set(|settings| settings.control_modes |= ControlModes::CSTOPB | ControlModes::CRTSCTS);
    wait_for("two stop bits", || has(ControlModes::CSTOPB));
    wait_for("RTS/CTS", || has(ControlModes::CRTSCTS));
    program.set(|settings| settings.control_modes |= odd);
    wait_for("odd parity", || has(ControlModes::PARODD));
    program.set(|settings| settings.control_modes -= odd | ControlModes::CSTOPB | ControlModes::CRTSCTS);
    wait_for("one stop bit", || !has(ControlModes::CSTOPB));
    wait_for("no RTS/CTS", || !has(ControlModes::CRTSCTS));
    program.set(|settings| settings.input_modes |= InputModes::IXON | InputModes::IXOFF);
    wait_for("XON/XOFF", || device.termios().input_modes.contains(InputModes::IXON));
    program.raw(9600);
    wait_for("9600", || device.termios().output_speed() == 9600);
}

/// Much data, of all byte values, in both directions.
#[track_caller]
fn data_passes(attached: &Attached, device: Pty, length: usize) {
    let program = attached.open();
    program.raw(115_200);
    let (up, down) = (pattern(length, 1), pattern(length, 2));
    let sent = up.clone();
    let far = std::thread::spawn(move || {
        let got = device.read(sent.len());
        assert_same("up", &got, &sent);
        device
    });
    program.write(&up);
    let device = far.join().unwrap();
    let sent = down.clone();
    let far = std::thread::spawn(move || {
        device.write(&sent);
        device
    });
    assert_same("down", &program.read(down.len()), &down);
    drop(far.join().unwrap());
}

#[test]
fn settings_travel_to_a_far_broker() {
    let device = Pty::new();
    let (_far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    settings_arrive(&attached, &device);
    // ser2net leaves that bit of a terminal as it is when there is to be no parity
    let _program = attached.open();
    wait_for("no parity", || !device.termios().control_modes.contains(ControlModes::PARODD));
}

#[test]
fn megabytes_pass_both_ways() {
    let device = Pty::new();
    let (_far, url) = far(device.path(), &["chardelay: false"]);
    data_passes(&Attached::start(&url, &[]), device, 3_000_000);
}

#[test]
fn ser2net_is_a_far_end() {
    let Some(ser2net) = tools::tool("ser2net", "ser2net") else { return };
    let (device, port, dir) = (Pty::new(), free_port(), tempfile::tempdir().unwrap());
    let config = dir.path().join("ser2net.yaml");
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    std::fs::write(&config, format!("%YAML 1.1\n---\n{}", connection("far", &accepter, device.path(), &[])))
        .unwrap();
    let _far = Process::start(Command::new(ser2net).args(["-n", "-u", "-c"]).arg(&config));
    wait_for("ser2net", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let attached = Attached::start(&format!("rfc2217://127.0.0.1:{port}"), &[]);
    // the connection that looked whether it listens may still be in its way
    let program = attached.open();
    wait_for("connection", || attached.process.stderr.find(&["connected"]).is_some());
    drop(program);
    settings_arrive(&attached, &device);
    data_passes(&attached, device, 500_000);
}

#[test]
fn nothing_is_set_that_nobody_asked_for() {
    let device = Pty::new();
    let port = free_port();
    let config = connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), device.path(), &[]);
    let far = Broker::start(&config.replace("115200n81", "2400o72"));
    let attached = Attached::start(&format!("rfc2217://127.0.0.1:{port}"), &[]);
    let program = attached.open();
    program.write(b"x");
    assert_eq!(device.read(1), b"x");
    let modes = device.termios();
    assert_eq!(modes.output_speed(), 2400);
    assert!(modes.control_modes.contains(ControlModes::CSTOPB | ControlModes::PARODD));
    // the same after the program has said something, for what it cannot say
    program.raw(4800);
    wait_for("speed", || device.termios().output_speed() == 4800);
    assert!(device.termios().control_modes.contains(ControlModes::PARODD));
    clients(&far, 1);
}

#[test]
fn what_a_terminal_cannot_say_is_given() {
    let (Some(shim), device, port) = (Shim::build(), Pty::new(), free_port()) else { return };
    let lines = shim.lines(device.number());
    let config = connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), device.path(), &[]);
    let far = Broker::start_with(&config, |command| shim.preload(command));
    let url = format!("rfc2217://127.0.0.1:{port}");
    let attached = Attached::start(&url, &["--line", "1200e71", "--dtr", "off", "--rts", "on"]);
    let program = attached.open();
    wait_for("speed", || device.termios().output_speed() == 1200);
    wait_for("7E", || lines.size_and_parity() == libc::CS7 | libc::PARENB);
    wait_for("DTR off, RTS on", || lines.outputs() == shim::RTS);
    // a program that sets the speed leaves them as they are
    program.raw(2400);
    wait_for("speed", || device.termios().output_speed() == 2400);
    assert_eq!(lines.size_and_parity(), libc::CS7 | libc::PARENB);
    drop(program);
    clients(&far, 0);
}

#[test]
fn modem_lines_follow_the_terminal_that_is_kept() {
    let (Some(shim), device, port) = (Shim::build(), Pty::new(), free_port()) else { return };
    let lines = shim.lines(device.number());
    let config = connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), device.path(), &[]);
    let far = Broker::start_with(&config, |command| shim.preload(command));
    let attached = Attached::start(&format!("rfc2217://127.0.0.1:{port}"), &["--keep"]);
    clients(&far, 1);
    wait_for("both low", || lines.outputs() == 0);
    let program = attached.open();
    wait_for("both high", || lines.outputs() == shim::DTR | shim::RTS);
    // speed 0 is the order to hang up (termios(3))
    program.raw(0);
    wait_for("hung up", || lines.outputs() == 0);
    program.raw(9600);
    wait_for("both high again", || lines.outputs() == shim::DTR | shim::RTS);
    wait_for("speed", || device.termios().output_speed() == 9600);
    drop(program);
    wait_for("both low again", || lines.outputs() == 0);
    clients(&far, 1);
    // without HUPCL they stay
    let program = attached.open();
    program.set(|settings| settings.control_modes -= ControlModes::HUPCL);
    wait_for("high", || lines.outputs() == shim::DTR | shim::RTS);
    drop(program);
    attached.process.stderr.wait(&["no program has it open any more"]);
    let program = attached.open();
    program.write(b"x");
    assert_eq!(device.read(1), b"x");
    assert!(!shim.calls().is_empty());
    assert_eq!(lines.outputs(), shim::DTR | shim::RTS);
}

/// Every kind of URL moves bytes.
#[test]
fn each_scheme_moves_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let [raw, telnet, tls, tls2217, v6] = [(); 5].map(|()| free_port());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut accepters = vec![
        (format!("tcp,127.0.0.1,{raw}"), format!("tcp://127.0.0.1:{raw}")),
        (format!("telnet,tcp,127.0.0.1,{telnet}"), format!("telnet://localhost:{telnet}?family=4")),
        (format!("tcp,ipv6,::1,{v6}"), format!("raw://[::1]:{v6}/")),
        (format!("unix,{}", socket.display()), format!("unix://{}", socket.display())),
    ];
    if let Some(openssl) = tools::tool("openssl", "openssl") {
        let made = Command::new(openssl)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=far", "-keyout", &path("key"), "-out", &path("cert")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let ssl = format!("ssl(key={},cert={}),tcp,127.0.0.1", path("key"), path("cert"));
        accepters.push((format!("{ssl},{tls}"), format!("tls://127.0.0.1:{tls}?insecure")));
        let url = format!("rfc2217s://127.0.0.1:{tls2217}?cafile={}", path("cert"));
        accepters.push((format!("telnet(rfc2217),{ssl},{tls2217}"), url));
    }
    for (accepter, url) in accepters {
        let device = Pty::new();
        let _far = Broker::start(&connection("far", &accepter, device.path(), &[]));
        let attached = Attached::start(&url, &[]);
        let program = attached.open();
        program.raw(57_600);
        let data = pattern(5000, 3);
        program.write(&data);
        assert_same(&url, &device.read(data.len()), &data);
        device.write(&data);
        assert_same(&url, &program.read(data.len()), &data);
        let speed = if url.starts_with("rfc2217") { 57_600 } else { 115_200 };
        assert_eq!(device.termios().output_speed(), speed, "{url}");
    }
}

#[test]
fn a_far_end_that_refuses_is_heard_by_the_log_alone() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let first = Client::connect(port);
    clients(&far, 1);
    let attached = Attached::start(&url, &[]);
    let program = attached.open();
    attached.process.stderr.wait(&["the far end says 'Port already in use' and ends the connection"]);
    drop(first);
    attached.process.stderr.wait(&["connected again"]);
    device.write(b"data alone");
    assert_eq!(program.read(10), b"data alone");
}

#[test]
fn a_far_end_without_line_settings_is_told() {
    let device = Pty::new();
    let port = free_port();
    let _far = Broker::start(&connection("far", &format!("telnet,tcp,127.0.0.1,{port}"), device.path(), &[]));
    let attached = Attached::start(&format!("rfc2217://127.0.0.1:{port}"), &[]);
    let program = attached.open();
    attached.process.stderr.wait(&["does not speak RFC 2217"]);
    program.raw(1200);
    program.write(b"data");
    assert_eq!(device.read(4), b"data");
    assert_eq!(device.termios().output_speed(), 115_200);
}

#[test]
fn idle_it_does_nothing() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    let program = attached.open();
    program.raw(1200);
    wait_for("speed", || device.termios().output_speed() == 1200);
    drop(program);
    clients(&far, 0);
    let switches = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", attached.process.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    attached.process.stderr.wait(&["disconnected"]);
    // how often it wakes up in a while is what is measured here, so the while has to pass
    let mut last = switches();
    wait_for("a second without waking up", || {
        std::thread::sleep(Duration::from_secs(1));
        std::mem::replace(&mut last, switches()) == last
    });
    let _program = attached.open();
    clients(&far, 1);
    let begun = std::time::Instant::now();
    let before = switches();
    wait_for("five seconds", || begun.elapsed() > Duration::from_secs(5));
    let woken = switches() - before;
    eprintln!("{woken} wake-ups in {:?} while the terminal is open and idle", begun.elapsed());
    // a hundred in each of the first two seconds, then ten
    assert!(woken < 80 * (begun.elapsed().as_secs() + 1), "{woken}");
}
