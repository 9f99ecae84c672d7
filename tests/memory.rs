//! What a port and a client take of memory: a bound on the growth, so that a field too many shows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::collections::BTreeSet;
use support::net::Client;
use support::pty::Pty;
use support::{Broker, connection, free_port, wait_for};

const FEW: usize = 10;
const MANY: usize = 210;
/// Bytes that one more idle port may take; 5,500 were measured without optimization, with what the allocator
/// keeps in reserve.
const IDLE_LIMIT: usize = 7_500;
/// Bytes that one more port with a client and an open device may take; 13,000 to 14,000 were measured.
const CONNECTED_LIMIT: usize = 17_000;

fn ports(count: usize) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    while ports.len() < count {
        ports.insert(free_port());
    }
    ports
}

fn start(devices: &[Pty], ports: &BTreeSet<u16>) -> Broker {
    let port = |(pty, port): (&Pty, &u16)| {
        connection(&format!("p{port}"), &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), pty.path(), &[])
    };
    Broker::start(&devices.iter().zip(ports).map(port).collect::<String>())
}

/// A number of the program's `/proc/…/status`.
fn status(broker: &Broker, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// KiB that the program has of its own, when the threads that opened devices have ended: their stacks
/// are not the ports'.
fn anonymous(broker: &Broker) -> usize {
    wait_for("the threads' end", || status(broker, "Threads") == 1);
    status(broker, "RssAnon")
}

/// Idle and with a client on each port.
fn measure(count: usize) -> (usize, usize) {
    let devices: Vec<Pty> = (0..count).map(|_| Pty::new()).collect();
    let ports = ports(count);
    let broker = start(&devices, &ports);
    let idle = anonymous(&broker);
    let mut clients: Vec<Client> = ports.iter().map(|port| Client::connect(*port)).collect();
    for (client, pty) in clients.iter_mut().zip(&devices) {
        // a byte that arrives says that the client is in and the device is open
        client.send(b"x");
        assert_eq!(pty.read(1), b"x");
    }
    (idle, anonymous(&broker))
}

#[test]
fn ports_and_clients_stay_small() {
    let (few, many) = (measure(FEW), measure(MANY));
    assert!(many.0 > few.0 && many.1 > few.1, "nothing was measured: {few:?} {many:?} KiB");
    let a_port = |few: usize, many: usize| (many - few) * 1024 / (MANY - FEW);
    let (idle, connected) = (a_port(few.0, many.0), a_port(few.1, many.1));
    eprintln!("bytes a port: {idle} idle, {connected} connected");
    assert!(idle <= IDLE_LIMIT, "{idle} bytes an idle port");
    assert!(connected <= CONNECTED_LIMIT, "{connected} bytes a port with a client");
}
