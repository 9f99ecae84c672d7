//! The built program through its life: SIGTERM, SIGHUP, and devices that go and come back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::net::{Client, End, get};
use support::pty::Pty;
use support::{Broker, assert_same, connection, free_port, pattern, wait_for};

fn tcp(port: u16) -> String {
    format!("tcp,127.0.0.1,{port}")
}

#[test]
fn sigterm_closes_every_client_and_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let (a, b) = (Pty::new(), Pty::new());
        let (raw, telnet) = (free_port(), free_port());
        let mut broker = Broker::start(
            &(connection("raw", &tcp(raw), a.path(), &["max-connections: 2", "closestr: \"bye\""])
                + &connection("telnet", &format!("telnet(rfc2217),{}", tcp(telnet)), b.path(), &[])),
        );
        let mut clients = [Client::connect(raw), Client::connect(raw), Client::connect(telnet)];
        broker.wait_metric("serbroker_port_clients", &["port=\"raw\""], 2);
        broker.wait_metric("serbroker_port_clients", &["port=\"telnet\""], 1);
        a.write(b"last words");
        let begun = std::time::Instant::now();
        for client in &mut clients[..2] {
            assert_eq!(client.receive(10), b"last words");
        }
        broker.process.signal(signal);
        for client in &mut clients[..2] {
            assert_eq!(client.rest(), (Vec::new(), End::Fin));
        }
        let (greeting, end) = clients[2].rest();
        assert!(greeting.starts_with(b"\xff\xfb") && end == End::Fin, "{greeting:x?}");
        let status = broker.process.ended();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert_eq!(a.read(3), b"bye");
    }
}

#[test]
fn sigterm_does_not_wait_for_a_device_or_a_client_that_is_stuck() {
    let pty = Pty::new();
    let port = free_port();
    let mut broker = Broker::start(&connection("stuck", &tcp(port), pty.path(), &["max-connections: 2"]));
    let mut client = Client::connect(port);
    broker.wait_device("stuck", true);
    // a terminal takes no more from its far end than its buffers hold
    client.0.set_nonblocking(true).unwrap();
    let data = pattern(1 << 20, 6);
    let full = client.0.write_all(&data.repeat(32)).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    let moved = |direction: &str| broker.metric("serbroker_port_bytes_total", &[direction]);
    wait_for("backlog", || moved("direction=\"from_clients\"") > moved("direction=\"to_device\""));
    client.0.set_nonblocking(false).unwrap();
    let (status, time) = broker.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(time < Duration::from_millis(1500), "{time:?}");
    broker.log.wait(&["WARN", "did not take"]);
    // what it sent was not read: the kernel says so with a reset
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
}

#[test]
fn sighup_leaves_an_unchanged_port_and_its_stream_alone() {
    let (kept, first, second) = (Pty::new(), Pty::new(), Pty::new());
    let (p_kept, p_changed, p_removed, p_added) = (free_port(), free_port(), free_port(), free_port());
    let unchanged = connection("kept", &tcp(p_kept), kept.path(), &[]);
    let old = unchanged.clone()
        + &connection("changed", &tcp(p_changed), first.path(), &[])
        + &connection("removed", &tcp(p_removed), second.path(), &[]);
    let new = unchanged.clone()
        + &connection("changed", &tcp(p_changed), second.path(), &["banner: \"new\""])
        + &connection("added", &tcp(p_added), first.path(), &[]);
    let broker = Broker::start(&old);
    let mut client = Client::connect(p_kept);
    broker.wait_device("kept", true);
    let (up, down) = (pattern(4 << 20, 7), pattern(4 << 20, 8));
    let mut writer = client.0.try_clone().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&up).unwrap();
        });
        scope.spawn(|| kept.write(&down));
        let at_device = scope.spawn(|| kept.read_to(|got| got.len() >= up.len()));
        let at_client = scope.spawn(|| {
            let got = client.receive(down.len());
            done.store(true, Ordering::Relaxed);
            got
        });
        let mut reloads = 0;
        while reloads < 4 || !done.load(Ordering::Relaxed) && reloads < 200 {
            broker.reload(if reloads % 2 == 0 { &new } else { &old });
            reloads += 1;
        }
        if reloads % 2 == 0 {
            broker.reload(&new);
        }
        assert_same("to the device", &at_device.join().unwrap(), &up);
        assert_same("to the client", &at_client.join().unwrap(), &down);
        eprintln!("{reloads} reloads while 4 MiB went each way");
    });
    assert_eq!(broker.metric("serbroker_port_connections_total", &["port=\"kept\""]), 1);

    let mut changed = Client::connect(p_changed);
    assert_eq!(changed.receive(3), b"new");
    changed.send(b"to second");
    assert_eq!(second.read(9), b"to second");
    let mut added = Client::connect(p_added);
    added.send(b"to first");
    assert_eq!(first.read(8), b"to first");
    assert!(std::net::TcpStream::connect(("127.0.0.1", p_removed)).is_err(), "no longer configured");
    assert!(!broker.metrics().contains("port=\"removed\""), "its series are gone");
    assert_eq!(get(broker.health, "/readyz").unwrap().0, 200);
    client.send(b"end");
    assert_eq!(kept.read(3), b"end");
}

#[test]
fn a_thousand_reloads_under_traffic_lose_nothing() {
    const STEADY: usize = 3;
    const RELOADS: u64 = 1000;
    let echoes: Vec<_> = (0..STEADY).map(|_| Pty::new().echo()).collect();
    let ports: Vec<u16> = (0..STEADY).map(|_| free_port()).collect();
    let (other, changing) = (Pty::new(), [free_port(), free_port()]);
    let options = ["chardelay: true", "chardelay: false", "chardelay: adaptive"];
    let steady: String = (0..STEADY)
        .map(|i| connection(&format!("steady{i}"), &tcp(ports[i]), echoes[i].path(), &[options[i]]))
        .collect();
    // every other time it has another name as well: one goes, one comes
    let name = |round: u64| if round % 4 < 2 { "changed" } else { "renamed" };
    let changed = |round: u64| {
        let accepter = tcp(changing[usize::from(round % 2 == 1)]);
        connection(name(round), &accepter, other.path(), &[&format!("banner: \"round {round:04}\"")])
    };
    let broker = Broker::start(&(steady.clone() + &changed(0)));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic: Vec<_> = ports
            .iter()
            .map(|port| {
                scope.spawn(|| {
                    let mut client = Client::connect(*port);
                    let mut sent = 0;
                    for round in 0.. {
                        let data = pattern(if round % 2 == 0 { 700 } else { 300 }, round);
                        client.send(&data);
                        assert_same("echo", &client.receive(data.len()), &data);
                        sent += data.len() as u64;
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    client.half_close();
                    assert_eq!(client.rest(), (Vec::new(), End::Fin), "nothing is said twice");
                    sent
                })
            })
            .collect();
        for round in 1..=RELOADS {
            broker.reload(&(steady.clone() + &changed(round)));
            let mut client = Client::connect(changing[usize::from(round % 2 == 1)]);
            assert_eq!(client.receive(10), format!("round {round:04}").as_bytes());
            drop(client);
            // the port of another name gets the device only then
            broker.wait_device(name(round), false);
        }
        done.store(true, Ordering::Relaxed);
        for (i, traffic) in traffic.into_iter().enumerate() {
            let sent = traffic.join().unwrap();
            let name = format!("port=\"steady{i}\"");
            eprintln!("{name}: {sent} bytes there and back");
            assert_eq!(broker.metric("serbroker_port_connections_total", &[&name]), 1);
            assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[&name]), 0);
            for direction in ["from_device", "to_device", "from_clients", "to_clients"] {
                let labels = [name.as_str(), &format!("direction=\"{direction}\"")];
                assert_eq!(broker.metric("serbroker_port_bytes_total", &labels), sent, "{direction}");
            }
        }
    });
    assert_eq!(broker.metric("serbroker_config_reloads_total", &["outcome=\"applied\""]), RELOADS + 1);
}

#[test]
fn sighup_changes_a_busy_port_when_its_client_leaves() {
    let (first, second) = (Pty::new(), Pty::new());
    let (port, other) = (free_port(), free_port());
    let gone = free_port();
    let broker = Broker::start(
        &(connection("busy", &tcp(port), first.path(), &[])
            + &connection("gone", &tcp(gone), second.path(), &[])),
    );
    let (mut client, mut last) = (Client::connect(port), Client::connect(gone));
    broker.wait_device("busy", true);
    broker.wait_device("gone", true);
    broker.reload(&connection("busy", &tcp(other), second.path(), &[]));
    broker.log.wait(&["busy", "takes effect when the last client leaves"]);
    // the old client goes on as before, on the old device
    client.send(b"old");
    assert_eq!(first.read(3), b"old");
    last.send(b"last");
    assert_eq!(second.read(4), b"last");
    assert!(std::net::TcpStream::connect(("127.0.0.1", gone)).is_err(), "a removed port takes no clients");
    drop(last);
    drop(client);
    let mut client = Client::connect(other);
    client.send(b"new");
    assert_eq!(second.read(3), b"new");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the old address is free");
}

#[test]
fn sighup_switches_a_port_off_and_on() {
    let (pty, other) = (Pty::new(), Pty::new());
    let (port, stays) = (free_port(), free_port());
    let options = ["max-connections: 2", "closestr: \"bye\""];
    let switched = connection("switched", &tcp(port), pty.path(), &options);
    let rest = connection("stays", &tcp(stays), other.path(), &[]);
    let broker = Broker::start(&(switched.clone() + &rest));
    let (mut a, mut b, mut c) = (Client::connect(port), Client::connect(port), Client::connect(stays));
    broker.wait_metric("serbroker_port_clients", &["port=\"switched\""], 2);
    broker.wait_device("stays", true);
    // written in another way as well, which makes no difference any more
    let off = connection("switched", &tcp(free_port()), pty.path(), &options) + "  enable: off\n";
    broker.reload(&(off.clone() + &rest));
    for client in [&mut a, &mut b] {
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
    }
    assert_eq!(pty.read(3), b"bye");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    broker.log.wait_count(&["switched off in the configuration"], 2);
    // switching off what is off says nothing
    broker.reload(&(off + &rest));
    broker.reload(&(switched + &rest));
    let mut client = Client::connect(port);
    client.send(b"on");
    assert_eq!(pty.read(2), b"on");
    c.send(b"still here");
    assert_eq!(other.read(10), b"still here");
}

#[test]
fn sighup_with_a_broken_file_changes_nothing() {
    let pty = Pty::new();
    let port = free_port();
    let config = connection("kept", &tcp(port), pty.path(), &[]);
    let mut broker = Broker::start(&config);
    let mut client = Client::connect(port);
    broker.wait_device("kept", true);
    let rejected =
        |broker: &Broker| broker.metric("serbroker_config_reloads_total", &["outcome=\"rejected\""]);
    for (count, broken) in ["connection: &a {", "\tx: [", "\u{0}\u{1}"].into_iter().enumerate() {
        fs::write(broker.file(), broken).unwrap();
        broker.hang_up();
        assert_eq!(rejected(&broker), u64::try_from(count).unwrap() + 1, "{broken:?}");
        assert_eq!(broker.metric("serbroker_config_last_reload_successful", &[]), 0);
    }
    fs::remove_file(broker.file()).unwrap();
    broker.hang_up();
    assert_eq!(rejected(&broker), 4, "no file");
    broker.log.wait(&["ERROR", "old one stays in force"]);
    client.send(b"on");
    assert_eq!(pty.read(2), b"on");
    pty.write(b"and on");
    assert_eq!(client.receive(6), b"and on");
    broker.reload(&config);
    assert_eq!(broker.metric("serbroker_config_last_reload_successful", &[]), 1);
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 1);
    assert_eq!(broker.terminate().0.code(), Some(0));
}

#[test]
fn a_device_that_comes_back_under_its_name_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("ttyUSB0");
    let port = free_port();
    let broker =
        Broker::start(&connection("usb", &tcp(port), link.to_str().unwrap(), &["max-connections: 2"]));
    for round in 0..3 {
        // nothing is plugged in
        let (text, end) = Client::connect(port).rest();
        assert!(text.starts_with(b"Device open failure: "), "{}", String::from_utf8_lossy(&text));
        assert_eq!(end, End::Fin);
        assert_eq!(get(broker.health, "/readyz").unwrap().0, 503);

        let pty = Pty::new();
        pty.link(&link);
        let (mut a, mut b) = (Client::connect(port), Client::connect(port));
        broker.wait_metric("serbroker_port_clients", &[], 2);
        a.send(b"hello");
        assert_eq!(pty.read(5), b"hello");
        assert_eq!(get(broker.health, "/readyz").unwrap().0, 200);
        // what it says at the very end arrives, then the clients are closed
        pty.write(b"farewell");
        for client in [&mut a, &mut b] {
            assert_eq!(client.receive(8), b"farewell");
        }
        fs::remove_file(&link).unwrap();
        drop(pty);
        for client in [&mut a, &mut b] {
            assert_eq!(client.rest(), (Vec::new(), End::Fin), "round {round}");
        }
        let lost = ["reason=\"device_lost\""];
        assert_eq!(broker.metric("serbroker_port_disconnects_total", &lost), 2 * (round + 1));
    }
    broker.log.wait(&["WARN", "lost"]);
}
