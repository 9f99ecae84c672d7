//! Serial devices below filters: all that a device does without them, and a device that comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::termios::ControlModes;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::pty::Pty;
use support::shim::{self, Shim};
use support::{Broker, assert_same, free_port, pattern, wait_for};

/// A subnegotiation of COM-PORT from the client, or with 100 added to its first byte, its answer.
fn com_port(body: &[u8]) -> Vec<u8> {
    [b"\xff\xfa\x2c", body, b"\xff\xf0"].concat()
}

/// A port `near` on `device` through `filters`.
fn config(port: u16, filters: &str, device: &str, options: &[&str]) -> String {
    let mut text = format!(
        "connection: &near\n  accepter: telnet(rfc2217),tcp,127.0.0.1,{port}\n  \
         connector: '{filters}serialdev,{device},9600n81,local'\n"
    );
    for (number, option) in options.iter().enumerate() {
        text.push_str(if number == 0 { "  options:\n" } else { "" });
        text.extend(["    ", option, "\n"]);
    }
    text
}

fn start(filters: &str, device: &str, options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    (Broker::start(&config(port, filters, device, options)), port)
}

/// Connects and agrees on COM-PORT.
#[track_caller]
fn connect(port: u16) -> Client {
    let mut client = Client::connect(port);
    client.send(b"\xff\xfb\x2c");
    client.receive_until(b"\xff\xfd\x2c");
    client
}

/// Asks for `request` and waits for the answer that grants it.
#[track_caller]
fn ask(client: &mut Client, request: &[u8]) {
    client.send(&com_port(request));
    let mut answer = request.to_vec();
    answer[0] += 100;
    client.receive_until(&com_port(&answer));
}

const STACKS: [&str; 4] = [
    "trace(dir=both,file=/dev/null),",
    "ratelimit(xmit_len=4096,xmit_delay=1m),",
    "keepopen,",
    "keepopen,ratelimit(xmit_len=4096,xmit_delay=1m),trace(dir=read,file=/dev/null),",
];

#[test]
fn line_settings_modem_lines_breaks_and_data_go_through() {
    let Some(shim) = Shim::build() else { return };
    for filters in STACKS {
        let pty = Pty::new();
        let lines = shim.lines(pty.number());
        let port = free_port();
        let text = config(port, filters, pty.path(), &["banner: '[\\B]'", "max-connections: 2"]);
        let broker = Broker::start_with(&text, |command| shim.preload(command));
        let mut client = connect(port);
        client.receive_until(b"[,9600N81,CLOCAL]");
        let mut other = connect(port);
        wait_for("the device", || pty.termios().output_speed() == 9600);
        ask(&mut client, b"\x01\x00\x01\xc2\x00");
        // everybody is told
        other.receive_until(&com_port(b"\x65\x00\x01\xc2\x00"));
        ask(&mut client, b"\x04\x02");
        assert_eq!(pty.termios().output_speed(), 115_200, "{filters}");
        assert!(pty.termios().control_modes.contains(ControlModes::CSTOPB), "{filters}");
        ask(&mut client, b"\x05\x09");
        assert_eq!(lines.outputs() & shim::DTR, 0, "{filters}");
        ask(&mut client, b"\x05\x08");
        assert_ne!(lines.outputs() & shim::DTR, 0, "{filters}");
        ask(&mut client, b"\x05\x05");
        assert!(lines.in_break(), "{filters}");
        ask(&mut client, b"\x05\x06");
        assert!(!lines.in_break(), "{filters}");
        let breaks = lines.breaks();
        client.send(b"\xff\xf3");
        wait_for("a telnet break", || lines.breaks() > breaks);
        ask(&mut client, b"\x0c\x03");
        lines.set_inputs(shim::CTS | shim::CD);
        client.receive_until(&com_port(b"\x6b\x99"));
        let data: Vec<u8> = pattern(20_000, 1).into_iter().filter(|byte| *byte != 0xff).collect();
        std::thread::scope(|scope| {
            let mut sender = Client(client.0.try_clone().unwrap());
            let up = &data;
            scope.spawn(move || sender.send(up));
            assert_same("up", &pty.read(data.len()), &data);
        });
        std::thread::scope(|scope| {
            scope.spawn(|| pty.write(&data));
            assert_same("down", &client.receive(data.len()), &data);
        });
        assert_eq!(
            broker.metric("serbroker_port_bytes_total", &["direction=\"to_device\""]),
            data.len() as u64
        );
        let device = format!("\"{}\"", pty.path());
        assert!(support::net::get(broker.health, "/readyz").unwrap().1.contains(&device), "{filters}");
        drop((client, other));
        broker.wait_device("near", false);
    }
}

#[test]
fn a_device_that_is_lost_comes_back_for_clients_that_stayed() {
    let Some(shim) = Shim::build() else { return };
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("device");
    let first = Pty::new();
    shim.lines(first.number());
    first.link(&link);
    let port = free_port();
    let text = config(port, "keepopen(retry-time=50m),", link.to_str().unwrap(), &[]);
    let broker = Broker::start_with(&text, |command| shim.preload(command));
    let mut client = connect(port);
    client.send(b"one");
    assert_eq!(first.read(3), b"one");
    ask(&mut client, b"\x01\x00\x00\x12\xc0");
    ask(&mut client, b"\x05\x09");
    fs::remove_file(&link).unwrap();
    drop(first);
    broker.log.wait(&["tried again every 50ms"]);
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    assert_eq!(support::net::get(broker.health, "/readyz").unwrap().0, 503);
    // what is asked of a line that is away is done when it is back
    ask(&mut client, b"\x04\x02");
    client.send(b"two");
    let second = Pty::new();
    let lines = shim.lines(second.number());
    second.link(&link);
    assert_eq!(second.read(3), b"two");
    broker.log.wait(&["is open again"]);
    broker.wait_device("near", true);
    wait_for("the speed", || second.termios().output_speed() == 4800);
    assert!(second.termios().control_modes.contains(ControlModes::CSTOPB));
    assert_eq!(lines.outputs(), shim::RTS, "DTR is off as it was");
    second.write(b"back");
    client.receive_until(b"back");
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 1);
    drop(client);
    broker.wait_device("near", false);
}

#[test]
fn what_comes_while_the_device_is_away_is_thrown_away_if_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("device");
    let (broker, port) = start("keepopen(retry-time=50m,discard-badwrites),", link.to_str().unwrap(), &[]);
    let mut client = connect(port);
    broker.log.wait(&["no such device", "tried again every 50ms"]);
    client.send(b"lost");
    broker.wait_metric("serbroker_port_dropped_bytes_total", &["direction=\"to_device\""], 4);
    let pty = Pty::new();
    pty.link(&link);
    broker.log.wait(&["is open again"]);
    client.send(b"found");
    assert_eq!(pty.read(5), b"found");
}

#[test]
fn without_keepopen_a_lost_device_ends_its_clients() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("device");
    let first = Pty::new();
    first.link(&link);
    let trace = "trace(dir=both,file=/dev/null),";
    let (broker, port) = start(trace, link.to_str().unwrap(), &[]);
    let mut client = connect(port);
    client.send(b"x");
    assert_eq!(first.read(1), b"x");
    drop(first);
    assert_eq!(client.rest().1, End::Fin);
    broker.log.wait(&["device", "lost", "it is opened again for the next client"]);
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    let second = Pty::new();
    second.link(&link);
    let mut client = connect(port);
    client.send(b"y");
    assert_eq!(second.read(1), b"y");
}

#[test]
fn clients_that_are_held_by_the_port_get_a_device_with_filters_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("device");
    let first = Pty::new();
    first.link(&link);
    let options = ["on-device-loss: hold", "hold-time: 20s"];
    let (broker, port) = start("trace(dir=both,file=/dev/null),", link.to_str().unwrap(), &options);
    let mut client = connect(port);
    ask(&mut client, b"\x01\x00\x00\x12\xc0");
    wait_for("the speed", || first.termios().output_speed() == 4800);
    fs::remove_file(&link).unwrap();
    drop(first);
    broker.log.wait(&["lost", "its clients stay"]);
    let second = Pty::new();
    second.link(&link);
    broker.wait_device("near", true);
    wait_for("the speed of before", || second.termios().output_speed() == 4800);
    client.send(b"again");
    assert_eq!(second.read(5), b"again");
}

#[test]
fn an_administrator_sees_and_sets_the_line() {
    let Some(shim) = Shim::build() else { return };
    let pty = Pty::new();
    let lines = shim.lines(pty.number());
    let (port, admin) = (free_port(), free_port());
    let text = format!("admin:\n  accepter: tcp,127.0.0.1,{admin}\n")
        + &config(port, "keepopen,ratelimit(xmit_delay=1m),", pty.path(), &[]);
    let broker = Broker::start_with(&text, |command| shim.preload(command));
    let mut client = connect(port);
    ask(&mut client, b"\x01\x00\x00\x12\xc0");
    let mut admin = Client::connect(admin);
    admin.receive_until(b"-> ");
    admin.send(b"showport near\r");
    let shown = String::from_utf8(admin.receive_until(b"\r\n-> ")).unwrap();
    assert!(shown.contains("4800N81") && shown.contains("RTSHI,DTRHI"), "{shown}");
    admin.send(b"setportcontrol near DTRLO\r");
    wait_for("DTR off", || lines.outputs() == shim::RTS);
    admin.receive_until(b"\r\n-> ");
    admin.send(b"disconnect near\r");
    assert_eq!(client.rest().1, End::Fin);
    broker.wait_device("near", false);
}

#[test]
fn refusals_are_those_of_a_device() {
    let pty = Pty::new();
    let ports = [free_port(), free_port(), free_port()];
    let text = config(ports[0], "trace(dir=both,file=/dev/null),", pty.path(), &[])
        + &config(ports[1], "ratelimit(xmit_delay=1m),", pty.path(), &[]).replace("&near", "&other")
        + &config(ports[2], "ratelimit(xmit_delay=1m),", "/no/such", &[]).replace("&near", "&missing");
    let broker = Broker::start(&text);
    let _client = connect(ports[0]);
    broker.wait_device("near", true);
    for (port, why) in [(ports[1], "Object was already in use"), (ports[2], "Value or file not found")] {
        let (text, end) = Client::connect(port).rest();
        let want = format!("Device open failure: {why}\r\n");
        assert!(text.ends_with(want.as_bytes()), "{:?}", String::from_utf8_lossy(&text));
        assert_eq!(end, End::Fin);
    }
}

#[test]
fn what_a_client_sent_before_it_left_is_written_at_its_pace() {
    let pty = Pty::new();
    // each pause is longer than a device may stop before it is closed
    let (broker, port) = start("ratelimit(xmit_len=5,xmit_delay=700m),", pty.path(), &[]);
    let mut client = connect(port);
    let begun = Instant::now();
    client.send(b"0123456789abcde");
    drop(client);
    assert_eq!(pty.read(15), b"0123456789abcde");
    assert!(begun.elapsed() >= Duration::from_millis(1400), "{:?}", begun.elapsed());
    broker.wait_device("near", false);
    assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[]), 0);
}

#[test]
fn messages_with_marks_on_a_serial_line() {
    let pty = Pty::new();
    let (_broker, port) = start("msgdelim,", pty.path(), &[]);
    let mut client = connect(port);
    client.send(b"x\xff\xff");
    // as ser2net 4.3.11 with gensio 2.6.2 writes it
    assert_eq!(pty.read(8), b"\xfe\x01x\xff\x9f\x00\xfe\x01");
    pty.write(b"\xfe\x01a\x7c\x87\xfe\x01");
    assert_eq!(client.receive_until(b"a").last(), Some(&b'a'));
}

#[test]
fn telnet_over_a_serial_line_reaches_the_line_at_its_far_end() {
    // the test is the cable between the device of one broker and a client of the other
    let (here, device) = (Pty::new(), Pty::new());
    let (_far, far_port) = start("", device.path(), &[]);
    let mut wire = Client::connect(far_port);
    let mut wire_up = Client(wire.0.try_clone().unwrap());
    let (_near, port) = start("telnet(rfc2217),", here.path(), &[]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let here = &here;
        let running = || !over.load(Ordering::Relaxed);
        scope.spawn(move || {
            while running() {
                wire_up.send(&here.read_some(Instant::now() + Duration::from_millis(20)));
            }
        });
        scope.spawn(move || {
            while running() {
                here.write(&wire.during(Duration::from_millis(20)));
            }
        });
        let _end = SetAtEnd(&over);
        let mut client = connect(port);
        ask(&mut client, b"\x01\x00\x00\x12\xc0");
        client.send(b"through");
        assert_eq!(device.read(7), b"through");
        assert_eq!(device.termios().output_speed(), 4800);
        assert_eq!(here.termios().output_speed(), 9600, "the line that carries telnet");
    });
}

#[test]
fn a_trace_of_a_serial_device() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let pty = Pty::new();
    let (_broker, port) = start(&format!("trace(dir=both,raw,file={}),", file.display()), pty.path(), &[]);
    let mut client = connect(port);
    client.send(b"up");
    assert_eq!(pty.read(2), b"up");
    pty.write(b"down");
    client.receive_until(b"down");
    wait_for("the copy", || read(&file) == b"updown");
    fs::remove_file(&file).unwrap();
    let other = Pty::new();
    let blocking = format!("trace(dir=both,block=write,raw,file={}),", file.display());
    let (broker, port) = start(&blocking, other.path(), &[]);
    let mut client = connect(port);
    client.send(b"no");
    broker.wait_metric("serbroker_port_bytes_total", &["direction=\"to_device\""], 2);
    other.write(b"yes");
    client.receive_until(b"yes");
    wait_for("the copy", || read(&file) == b"yes");
    assert_eq!(other.read_some(Instant::now()), b"");
}

/// Ends threads also when a test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_default()
}
