//! The admin port under load and with clients that behave badly. What it answers is compared with
//! recordings in `compat`, area `g_admin`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::pty::Pty;
use support::{Broker, PATIENCE, assert_same, connection, free_port, pattern, until, wait_for};

/// Metrics of bytes that a monitor did not get.
const LEFT_OUT: &str = "serbroker_port_dropped_bytes_total";

/// A broker with an admin port and a port `a` on a pty.
struct Scene {
    broker: Broker,
    pty: Arc<Pty>,
    admin: u16,
    port: u16,
}

impl Scene {
    fn new() -> Self {
        Self::with("tcp", &[], "")
    }

    /// `filters`: what stands before the port of the admin accepter.
    fn with(filters: &str, options: &[&str], more: &str) -> Self {
        let (pty, admin, port) = (Arc::new(Pty::new()), free_port(), free_port());
        let config = config(filters, admin, &connection("a", &local(port), pty.path(), options), more);
        Self { broker: Broker::start(&config), pty, admin, port }
    }

    #[track_caller]
    fn session(&self) -> Admin {
        let mut client = Client::connect(self.admin);
        assert_eq!(client.receive(3), b"-> ");
        Admin(client)
    }

    /// The configuration with other connections.
    fn config(&self, connections: &str) -> String {
        config("tcp", self.admin, connections, "")
    }
}

fn local(port: u16) -> String {
    format!("tcp,127.0.0.1,{port}")
}

fn config(filters: &str, admin: u16, connections: &str, more: &str) -> String {
    format!("{more}admin:\n  accepter: {filters},127.0.0.1,{admin}\n{connections}")
}

/// An administrator.
struct Admin(Client);

impl Admin {
    /// Types a line; what is answered between its echo and the next prompt.
    #[track_caller]
    fn ask(&mut self, line: &str) -> String {
        self.0.send(format!("{line}\r").as_bytes());
        let all = String::from_utf8_lossy(&self.0.receive_until(b"\r\n-> ")).into_owned();
        let text = all.strip_prefix(line).unwrap_or_else(|| panic!("no echo of {line:?} in {all:?}"));
        let text = text.strip_prefix("\r\n").unwrap_or(text);
        text.strip_suffix("-> ").unwrap().trim_end().to_owned()
    }

    /// The value of a line of `showport a`.
    #[track_caller]
    fn shown(&mut self, label: &str) -> Option<String> {
        let text = self.ask("showport a");
        let begin = format!("{label}: ");
        text.lines().find_map(|line| line.trim_start().strip_prefix(&begin)).map(str::to_owned)
    }
}

#[test]
fn ten_thousand_commands_in_one_go_and_none_is_lost() {
    let scene = Scene::new();
    let mut admin = scene.session();
    let mut reader = admin.0.0.try_clone().unwrap();
    let counted = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buf = [0; 16 * 1024];
        while text.windows(3).filter(|w| *w == b"-> ").count() < 20_000 {
            let n = reader.read(&mut buf).unwrap();
            assert!(n > 0, "closed");
            text.extend_from_slice(&buf[..n]);
        }
        String::from_utf8(text).unwrap()
    });
    // an empty line after each: CR and LF are two ends
    admin.0.send("version\r\n".repeat(10_000).as_bytes());
    let text = counted.join().unwrap();
    let answer = format!("version\r\nversion: {}\r\n-> \r\n-> ", env!("CARGO_PKG_VERSION"));
    assert_same("answers", text.as_bytes(), answer.repeat(10_000).as_bytes());
}

#[test]
fn endless_lines_and_garbage_leave_a_session_that_works() {
    let scene = Scene::with("telnet,tcp", &[], "");
    let mut admin = Client::connect(scene.admin);
    admin.receive_until(b"-> ");
    let mut reader = admin.0.try_clone().unwrap();
    let drain = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut buf = [0; 16 * 1024];
        while !seen.ends_with(b"version: end\r\n-> ") {
            match reader.read(&mut buf).unwrap() {
                0 => panic!("closed"),
                n => seen.extend_from_slice(&buf[..n]),
            }
            // only the end counts
            seen.drain(..seen.len().saturating_sub(64));
            let text = String::from_utf8_lossy(&seen).replace(env!("CARGO_PKG_VERSION"), "end");
            if text.ends_with("version\r\nversion: end\r\n-> ") {
                return;
            }
        }
    });
    admin.send(&vec![b'a'; 2_000_000]);
    for seed in 0..20 {
        admin.send(&pattern(20_000, seed));
        // whatever telnet made of it is over here: commands end, and a subnegotiation with IAC SE
        admin.send(b"\xff\xf0\r\n");
    }
    admin.send(b"\r\nversion\r");
    drain.join().unwrap();
}

#[test]
fn a_client_that_sends_nothing_more_gets_its_answers() {
    let scene = Scene::new();
    let mut admin = scene.session();
    admin.0.send(b"showshortport\r\nversion\r\nunfinished");
    admin.0.half_close();
    let (rest, end) = admin.0.rest();
    let text = String::from_utf8(rest).unwrap();
    assert!(text.contains("\r\na                      on           0 unconnected"), "{text}");
    assert!(text.ends_with("-> unfinished"), "{text}");
    assert_eq!(end, End::Fin);
    // exit: what was asked before is answered, and the word itself is not echoed
    let mut admin = scene.session();
    admin.0.send(b"version\r\nexit\r\n");
    let (rest, _) = admin.0.rest();
    assert_eq!(
        String::from_utf8_lossy(&rest),
        format!("version\r\nversion: {}\r\n-> \r\n-> ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_fifth_is_turned_away_and_places_are_given_back() {
    let scene = Scene::new();
    let mut sessions: Vec<Admin> = (0..4).map(|_| scene.session()).collect();
    for _ in 0..3 {
        let (text, end) = Client::connect(scene.admin).rest();
        assert_eq!(
            (String::from_utf8_lossy(&text).as_ref(), end),
            ("Too many controller ports\r\n", End::Fin)
        );
    }
    drop(sessions.pop());
    let mut next = until("a free place", || {
        let mut client = Client::connect(scene.admin);
        (client.receive(3) == b"-> ").then_some(Admin(client))
    });
    assert_eq!(next.ask("foo"), "error: Unknown command - foo");
    assert_eq!(sessions[0].ask(""), "");
}

#[test]
fn one_that_reads_nothing_hinders_nobody() {
    let scene = Scene::new();
    let mut deaf = TcpStream::connect((Ipv4Addr::LOCALHOST, scene.admin)).unwrap();
    deaf.set_nonblocking(true).unwrap();
    // until nothing more is taken: questions are not read while answers wait
    let line = "help\r".repeat(1000);
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(500) {
        match deaf.write(line.as_bytes()) {
            Ok(count) => {
                assert!(count > 0);
                quiet_since = Instant::now();
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    let memory = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", scene.broker.process.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    // a help text is 1.9 kB: without a bound there would be hundreds of megabytes
    assert!(memory() < 60_000, "{} kB", memory());
    let mut client = Client::connect(scene.port);
    scene.broker.wait_device("a", true);
    client.send(b"ping");
    assert_eq!(scene.pty.read(4), b"ping");
    assert_eq!(scene.session().shown("bytes written to device").as_deref(), Some("4"));
}

/// Writes `data` at the far end of the line while it is taken.
fn feed(pty: &Arc<Pty>, data: Vec<u8>) -> std::thread::JoinHandle<()> {
    let pty = Arc::clone(pty);
    std::thread::spawn(move || {
        let mut rest = &data[..];
        while !rest.is_empty() {
            let n = pty.write_some(rest, Instant::now() + PATIENCE);
            assert!(n > 0, "the device's bytes are not taken");
            rest = &rest[n..];
        }
    })
}

#[test]
fn a_monitor_that_does_not_read_costs_the_port_nothing() {
    let scene = Scene::new();
    let mut client = Client::connect(scene.port);
    scene.broker.wait_device("a", true);
    let mut admin = scene.session();
    assert_eq!(admin.ask("monitor term a"), "");
    // more than monitor, session and sockets keep
    let data = pattern(24 << 20, 7);
    let feeder = feed(&scene.pty, data.clone());
    let got = client.receive(data.len());
    feeder.join().unwrap();
    assert_same("client", &got, &data);
    let labels = ["port=\"a\"", "reason=\"monitor\"", "direction=\"to_clients\""];
    let left_out = scene.broker.metric(LEFT_OUT, &labels);
    assert!(left_out > 0, "everything fitted somewhere");
    // it is still there: what it gets is a part of the stream, and nothing else was dropped
    let seen = admin.0.receive(200_000);
    assert_same("monitor", &seen, &data[..200_000]);
    assert_eq!(scene.broker.metric(LEFT_OUT, &["port=\"a\""]), left_out);
}

#[test]
fn a_monitor_sees_one_side_until_it_is_stopped() {
    let scene = Scene::new();
    let mut client = Client::connect(scene.port);
    scene.broker.wait_device("a", true);
    let mut admin = scene.session();
    assert_eq!(admin.ask("monitor tcp a"), "");
    let data = pattern(100_000, 3);
    let reader = {
        let (pty, length) = (Arc::clone(&scene.pty), data.len());
        std::thread::spawn(move || pty.read(length))
    };
    client.send(&data);
    assert_same("device", &reader.join().unwrap(), &data);
    assert_same("monitor", &admin.0.receive(data.len()), &data);
    assert_eq!(scene.session().ask("monitor term a"), "error: Port is already being monitored");
    assert_eq!(admin.ask("monitor stop"), "");
    client.send(b"unseen");
    assert_eq!(scene.pty.read(6), b"unseen");
    assert_eq!(admin.ask("foo"), "error: Unknown command - foo");
    assert_eq!(scene.session().ask("monitor term a"), "", "it is free again");
}

#[test]
fn disconnect_and_enable_under_traffic() {
    let scene = Scene::with("tcp", &["max-connections: 2"], "");
    let mut admin = scene.session();
    let over = Arc::new(AtomicBool::new(false));
    let chatter = {
        let (pty, over) = (Arc::clone(&scene.pty), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut buf = pattern(4096, 1);
            while !over.load(Ordering::Relaxed) {
                if pty.try_write(&buf) == 0 {
                    // what clients wrote has to go somewhere too
                    buf = pty
                        .read_some(Instant::now() + Duration::from_millis(5))
                        .into_iter()
                        .chain(buf)
                        .take(4096)
                        .collect();
                }
            }
        })
    };
    for round in 0..15 {
        let mut clients = [Client::connect(scene.port), Client::connect(scene.port)];
        for client in &mut clients {
            client.receive(1000);
            client.send(&pattern(3000, round));
        }
        let command = if round % 2 == 0 { "disconnect a" } else { "setportenable a off" };
        assert_eq!(admin.ask(command), "", "{command}");
        for client in &mut clients {
            client.rest();
        }
        if round % 2 == 1 {
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, scene.port)).is_err(), "it is off");
            assert_eq!(admin.shown("enable state").as_deref(), Some("off"));
            assert_eq!(admin.ask("setportenable a off"), "error: port was already in the given state");
            assert_eq!(admin.ask("setportenable a on"), "");
        }
    }
    over.store(true, Ordering::Relaxed);
    chatter.join().unwrap();
    scene.broker.wait_device("a", false);
    assert_eq!(admin.ask("disconnect a"), "error: Port not connected - a");
    let closed = scene.broker.metric("serbroker_port_disconnects_total", &["port=\"a\"", "reason=\"admin\""]);
    assert_eq!(closed, 30);
}

#[test]
fn a_reload_puts_back_what_the_configuration_says() {
    let scene = Scene::new();
    let mut admin = scene.session();
    assert_eq!(admin.ask("setportenable a off"), "");
    assert_eq!(admin.ask("setporttimeout a 7"), "");
    assert_eq!(admin.shown("timeout").as_deref(), Some("7"));
    assert_eq!(admin.ask("reload"), "error: reload done");
    assert_eq!(admin.shown("timeout").as_deref(), Some("0"));
    assert_eq!(admin.shown("enable state").as_deref(), Some("on"));
    // a port that goes while somebody is connected
    let mut client = Client::connect(scene.port);
    scene.broker.wait_device("a", true);
    let port = free_port();
    let off = connection("b", &local(port), "/nonexistent", &[]) + "  enable: off\n";
    std::fs::write(scene.broker.file(), scene.config(&off)).unwrap();
    assert_eq!(admin.ask("reload"), "error: reload done");
    let text = admin.ask("showport");
    assert!(text.starts_with("port: b\r\n") && text.contains("\r\nport: a\r\n"), "{text}");
    assert!(text.ends_with("Port will be deleted when current session closes."), "{text}");
    assert!(
        admin.ask("showshortport a").contains("\r\na                      DEL          0 ipv4,127.0.0.1,")
    );
    assert_eq!(admin.ask("disconnect a"), "");
    client.rest();
    wait_for("the end of it", || admin.ask("showport a") == "error: Invalid port number - a");
    // one that the configuration switched off
    assert!(admin.ask("showshortport b").contains("\r\nb                      off          0 unconnected"));
    assert_eq!(admin.ask("setporttimeout b 3"), "");
    assert_eq!(admin.ask("setportenable b on"), "");
    assert!(admin.ask("showshortport b").contains("\r\nb                      on           3 unconnected"));
    drop(Client::connect(port));
    assert_eq!(admin.ask("reload"), "error: reload done");
    wait_for("it is off again", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    // a broken file changes nothing
    std::fs::write(scene.broker.file(), "connection: &a\n  accepter: [").unwrap();
    let text = admin.ask("reload");
    assert!(
        text.starts_with("error: ") && text.ends_with("\r\nerror: reload error - Invalid argument"),
        "{text}"
    );
    assert!(text.contains("serbroker.yaml:"), "{text}");
}

#[test]
fn the_admin_port_itself_is_reloaded() {
    let scene = Scene::new();
    let mut old = scene.session();
    let moved = free_port();
    let connections = connection("a", &local(scene.port), scene.pty.path(), &[]);
    scene.broker.reload(&config("tcp", moved, &connections, ""));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, scene.admin)).is_err());
    assert_eq!(old.ask("foo"), "error: Unknown command - foo", "its session stays");
    let mut new = Client::connect(moved);
    new.receive(3);
    scene.broker.reload(&connections);
    assert_eq!(old.0.rest().1, End::Fin, "there is no admin port any more");
    assert_eq!(new.rest().1, End::Fin);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, moved)).is_err());
    scene.broker.reload(&scene.config(&connections));
    scene.session();
    // who may connect at all holds here too
    let strangers = config("tcp", scene.admin, &connections, "allow: 192.0.2.0/24\n");
    scene.broker.reload(&strangers);
    assert_eq!(Client::connect(scene.admin).rest().0, b"");
}

#[test]
fn yaml_answers_commands_and_tells_of_clients() {
    let scene = Scene::new();
    let mut admin = scene.session();
    admin.0.send(b"%YAML 1.1\n---\ncommand:\n  name: setporttimeout\n  id: x'1\n  parms: [ a, abc ]\n...\n");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        text(admin.0.receive_until(b"...\r\n")),
        "\r\n%YAML 1.1\r\n---\r\nresponse: \r\n  name: !!str 'setporttimeout'\r\n  id: !!str 'x''1'\r\n  error: \
         !!str 'Invalid timeout - abc'\r\n...\r\n"
    );
    // two in one segment, the second of them nonsense: each has its answer
    admin.0.send(b"---\ncommand: {name: version}\n...\n---\n{ [\n...\n");
    assert!(text(admin.0.receive_until(b"...\r\n")).contains("  version: !!str '"));
    assert!(text(admin.0.receive_until(b"...\r\n")).contains("  error: !!str 'Invalid yaml command'\r\n"));
    let client = Client::connect(scene.port);
    let peer = client.0.local_addr().unwrap();
    let event = |what: &str| {
        format!(
            "\r\n%YAML 1.1\r\n---\r\n{what}: \r\n  name: !!str 'a'\r\n  remaddr: !!str 'ipv4,127.0.0.1,{}'\r\n...\r\n",
            peer.port()
        )
    };
    assert_eq!(text(admin.0.receive_until(b"...\r\n")), event("new connection"));
    admin.0.send(b"---\ncommand:\n  name: disconnect\n  parms: [a]\n...\n");
    let both = text(admin.0.receive_until(b"...\r\n")) + &text(admin.0.receive_until(b"...\r\n"));
    assert!(both.ends_with(&event("disconnect")), "{both}");
    // answers are documents that a YAML parser takes
    admin.0.send(b"---\ncommand:\n  name: showport\n...\n");
    let answer = text(admin.0.receive_until(b"...\r\n"));
    let value: serde_yaml::Value = serde_yaml::from_str(answer.trim_start()).unwrap();
    assert_eq!(value["response"]["port"]["accepter"], local(scene.port).as_str());
    admin.0.send(b"---\ncommand:\n  name: exit\n...\n");
    assert_eq!(admin.0.rest().0, b"");
}
