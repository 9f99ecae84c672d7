//! What a port does about slow, silent, duelling and mistaken clients.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::Signal;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::pty::Pty;
use support::shim::Shim;
use support::{Broker, PATIENCE, assert_same, connection, free_port, pattern, wait_for};

const BUSY: &[u8] = b"Port already in use\r\n";
const MEGABYTE: usize = 1 << 20;

fn port(stack: &str, pty: &Pty, options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    let accepter = format!("{stack}tcp,127.0.0.1,{port}");
    (Broker::start(&connection("p", &accepter, pty.path(), options)), port)
}

/// Connects from another address of the loopback network.
fn connect_from(source: [u8; 4], port: u16) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::from(source), 0)))).unwrap();
    socket.connect(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).unwrap();
    let stream: std::net::TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(stream)
}

fn dropped(broker: &Broker, reason: &str) -> u64 {
    let reason = format!("reason=\"{reason}\"");
    broker.metric("serbroker_port_dropped_bytes_total", &[&reason])
}

/// Lines that each have a number and end with 0xFF, so that a telnet stream that is cut shows it.
fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{n:014}\u{1}").into_bytes().into_iter().chain([0xff])).collect()
}

#[test]
fn drop_oldest_never_holds_the_device_and_never_cuts_an_escape() {
    const LINES: usize = 16 * MEGABYTE / 16;
    let pty = Pty::new();
    let (broker, port) =
        port("telnet,", &pty, &["slow-client: drop-oldest", "slow-client-limit: 65536", "chardelay: false"]);
    let mut client = Client::connect(port);
    broker.wait_device("p", true);
    client.receive(18);
    // nobody reads, and still all of it is taken
    let data = numbered(LINES);
    pty.write(&data);
    let taken = |broker: &Broker| broker.metric("serbroker_port_bytes_total", &["direction=\"from_device\""]);
    wait_for("the device is read to its end", || taken(&broker) == data.len() as u64);
    let lost = dropped(&broker, "drop_oldest");
    assert!(lost > MEGABYTE as u64, "{lost}");
    // what comes is the beginning, which the systems hold, and the end; no pair is cut in between
    let last = [format!("{:014}\u{1}", LINES - 1).as_bytes(), b"\xff\xff"].concat();
    let mut got = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !got.ends_with(&last) {
        let count = client.0.read(&mut buffer).unwrap();
        assert!(count > 0, "closed after {} bytes", got.len());
        got.extend_from_slice(&buffer[..count]);
    }
    let mut payload = Vec::new();
    let mut bytes = got.iter();
    while let Some(&byte) = bytes.next() {
        if byte == 0xff {
            assert_eq!(bytes.next(), Some(&0xff), "an escape was cut");
        }
        payload.push(byte);
    }
    assert_eq!(payload.len() as u64 + lost, data.len() as u64);
    let same = payload.iter().zip(&data).take_while(|(a, b)| a == b).count();
    assert!(same > 0 && payload.ends_with(&data[data.len() - 1024..]));
    assert_same("the end", &payload[same..], &data[data.len() - (payload.len() - same)..]);
    // and from then on all is as usual
    pty.write(b"more");
    assert_eq!(client.receive(4), b"more");
    assert_eq!(dropped(&broker, "drop_oldest"), lost);
}

#[test]
fn a_client_that_loses_bytes_costs_the_others_nothing() {
    let pty = Pty::new();
    let options = ["max-connections: 2", "slow-client: drop-oldest", "slow-client-limit: 4096"];
    let (broker, port) = port("", &pty, &options);
    let (_stopped, mut reader) = (Client::connect(port), Client::connect(port));
    broker.wait_metric("serbroker_port_clients", &[], 2);
    let data = pattern(8 * MEGABYTE, 3);
    let mut got = vec![];
    std::thread::scope(|scope| {
        scope.spawn(|| pty.write(&data));
        got = reader.receive(data.len());
    });
    assert_same("the reader's", &got, &data);
    assert!(dropped(&broker, "drop_oldest") > 0);
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 2);
}

#[test]
fn with_backpressure_everybody_waits_and_nobody_loses_anything() {
    let pty = Pty::new();
    let options = ["max-connections: 2", "slow-client: backpressure", "slow-client-limit: 4096"];
    let (broker, port) = port("", &pty, &options);
    let (mut stopped, mut reader) = (Client::connect(port), Client::connect(port));
    broker.wait_metric("serbroker_port_clients", &[], 2);
    let data = pattern(32 * MEGABYTE, 3);
    let mut sent = 0;
    let mut heard = Vec::new();
    loop {
        let count = pty.write_some(&data[sent..], Instant::now() + Duration::from_millis(500));
        if count == 0 {
            break;
        }
        sent += count;
        assert!(sent < data.len(), "the device is never held back");
        heard.extend(reader.during(Duration::from_millis(1)));
    }
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 2, "nobody is closed");
    assert_same("the stopped one's", &stopped.receive(sent), &data[..sent]);
    heard.extend(reader.receive(sent - heard.len()));
    assert_same("the reader's", &heard, &data[..sent]);
    assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[]), 0);
}

#[test]
fn the_client_that_was_silent_longest_is_kicked() {
    let pty = Pty::new();
    let (broker, port) = port("", &pty, &["max-connections: 3", "kickolduser: true"]);
    // one after the other: those that come together are taken in any order
    let mut clients = Vec::new();
    for number in 1..=3 {
        clients.push(Client::connect(port));
        broker.wait_metric("serbroker_port_clients", &[], number);
    }
    // the first one speaks: the second is the one to go
    clients[0].send(b"a");
    assert_eq!(pty.read(1), b"a");
    let mut fourth = Client::connect(port);
    let mut second = clients.remove(1);
    assert_eq!(second.rest(), (Vec::new(), End::Fin));
    pty.write(b"x");
    for client in clients.iter_mut().chain([&mut fourth]) {
        assert_eq!(client.receive(1), b"x");
    }
    // then the third, that never said anything
    let mut fifth = Client::connect(port);
    assert_eq!(clients.remove(1).rest(), (Vec::new(), End::Fin));
    pty.write(b"y");
    for client in [&mut clients[0], &mut fourth, &mut fifth] {
        assert_eq!(client.receive(1), b"y");
    }
}

#[test]
fn two_that_keep_kicking_each_other_are_held_off() {
    let pty = Pty::new();
    let (broker, port) = port("", &pty, &["kickolduser: true", "banner: '!'"]);
    let (one, two, three) = ([127, 0, 0, 11], [127, 0, 0, 12], [127, 0, 0, 13]);
    // with the banner it has the port and the device
    let admitted = |from| {
        let mut client = connect_from(from, port);
        assert_eq!(client.receive(1), b"!");
        client
    };
    let mut holder = admitted(one);
    for from in [two, one, two] {
        let next = admitted(from);
        assert_eq!(holder.rest().1, End::Fin);
        holder = next;
    }
    for _ in 0..3 {
        assert_eq!(connect_from(one, port).rest(), (BUSY.to_vec(), End::Fin));
    }
    pty.write(b"peace");
    assert_eq!(holder.receive(5), b"peace");
    let line = broker.log.wait(&["keep throwing each other out"]);
    assert!(line.contains("127.0.0.11:") && line.contains("127.0.0.12:"), "{line}");
    broker.log.wait_count(&["keep throwing each other out"], 1);
    assert_eq!(broker.metric("serbroker_port_refusals_total", &["reason=\"held_off\""]), 3);
    // a third address is not concerned
    let mut other = admitted(three);
    assert_eq!(holder.rest(), (Vec::new(), End::Fin));
    pty.write(b"third");
    assert_eq!(other.receive(5), b"third");
}

#[test]
fn what_a_client_sent_before_it_was_gone_reaches_the_device() {
    let pty = Pty::new();
    let (broker, port) = port("", &pty, &["chardelay: false"]);
    let to_clients =
        |count| broker.wait_metric("serbroker_port_bytes_total", &["direction=\"to_clients\""], count);
    for round in 0..3 {
        let mut client = Client::connect(port);
        broker.wait_device("p", true);
        // more than a terminal takes, and less than a socket holds; nobody reads the terminal yet
        let data = pattern(64 * 1024, 9);
        client.send(&data);
        drop(client);
        // what the device says now is answered by a reset, and then cannot be sent at all
        for word in 1..=2 {
            pty.write(b"echo");
            to_clients(8 * round + 4 * word);
        }
        assert_same(&format!("round {round}"), &pty.read(data.len()), &data);
        broker.wait_device("p", false);
    }
}

#[test]
fn no_refusal_says_a_word_when_it_is_not_to() {
    let pty = Pty::new();
    let silent = "refusal-text: false";
    let (busy, held, denied, broken) = (free_port(), free_port(), free_port(), free_port());
    let at = |port: u16| format!("tcp,127.0.0.1,{port}");
    let other = Pty::new();
    let config = connection("busy", &at(busy), pty.path(), &[silent])
        + &connection("held", &at(held), pty.path(), &[silent])
        + &connection("denied", &at(denied), other.path(), &[silent, "allow: 10.0.0.0/8"])
        + &connection("broken", &at(broken), "/dev/no/such/device", &[silent]);
    let broker = Broker::start(&config);
    let _holder = Client::connect(busy);
    broker.wait_device("busy", true);
    for port in [busy, held, denied, broken] {
        assert_eq!(Client::connect(port).rest().0, b"", "{port}");
    }
    assert_eq!(broker.metric("serbroker_port_refusals_total", &[]), 3);
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"open_failed\""]), 1);
}

#[test]
fn mistaken_clients_are_told_of_in_the_log() {
    let (pty, other) = (Pty::new(), Pty::new());
    let (raw, telnet) = (free_port(), free_port());
    let config = connection("raw", &format!("tcp,127.0.0.1,{raw}"), pty.path(), &[])
        + &connection("tel", &format!("telnet,tcp,127.0.0.1,{telnet}"), other.path(), &[]);
    let broker = Broker::start(&config);
    let mut client = Client::connect(raw);
    client.send(b"\xff\xfd\x03hello");
    assert_eq!(pty.read(8), b"\xff\xfd\x03hello", "nothing changes");
    broker.log.wait(&["port=raw", "speaks telnet", "telnet,tcp"]);
    // one that has much to say and goes, without a word of telnet
    let mut client = Client::connect(telnet);
    client.receive(18);
    client.send(b"hello");
    assert_eq!(other.read(5), b"hello");
    drop(client);
    broker.log.wait(&["port=tel", "does not speak telnet", "tcp,"]);
    // and those that speak what the port speaks
    broker.wait_device("tel", false);
    let mut client = Client::connect(telnet);
    client.receive(18);
    client.send(b"\xff\xfb\x03hi");
    assert_eq!(other.read(2), b"hi");
    drop(client);
    broker.wait_device("tel", false);
    broker.log.wait_count(&["speak"], 2);
}

#[test]
fn a_telnet_synch_is_a_break_if_that_is_wanted() {
    let Some(shim) = Shim::build() else { return };
    for (wanted, breaks) in [("true", 1), ("false", 0)] {
        let pty = Pty::new();
        shim.lines(pty.number());
        let tcp = free_port();
        let accepter = format!("telnet,tcp,127.0.0.1,{tcp}");
        let config = connection("p", &accepter, pty.path(), &[&format!("telnet-brk-on-sync: {wanted}")]);
        let broker = Broker::start_with(&config, |command| shim.preload(command));
        let before = shim.calls().matches("TIOCSBRK").count();
        let mut client = Client::connect(tcp);
        client.receive(18);
        // RFC 854: the data mark is the urgent byte, the last one of this
        let socket = SockRef::from(&client.0);
        socket.send_out_of_band(b"abc\xff\xf2").unwrap();
        assert_eq!(pty.read(3), b"abc");
        let count = || shim.calls().matches("TIOCSBRK").count() - before;
        wait_for("break", || count() >= breaks);
        // without the urgent mark it is none, and an urgent byte alone is data
        socket.send(b"\xff\xf2d").unwrap();
        assert_eq!(pty.read(1), b"d");
        socket.send_out_of_band(b"e").unwrap();
        assert_eq!(pty.read(1), b"e");
        // what comes behind the mark in one go is not left lying
        socket.send_out_of_band(b"f\xff\xf2").unwrap();
        socket.send(b"g").unwrap();
        assert_eq!(pty.read(2), b"fg");
        wait_for("break", || count() == 2 * breaks);
        // even if it is more than one read takes
        let much = vec![b'h'; 40_000];
        broker.process.signal(Signal::STOP);
        SockRef::from(&client.0).send_out_of_band(b"\xff\xf2").unwrap();
        client.send(&much);
        broker.process.signal(Signal::CONT);
        assert_eq!(pty.read(much.len()), much);
    }
}
