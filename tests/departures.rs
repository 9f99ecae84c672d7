//! Clients that leave while the device cannot attend to them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use socket2::{Domain, SockRef, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use support::net::Client;
use support::pty::Pty;
use support::{Broker, PATIENCE, connection, free_port, pattern, until};

/// An address that takes no more connections and refuses none: who connects waits.
struct Deaf {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<Socket>,
}

impl Deaf {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        // until one is left waiting, the queue is not full
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let done = socket.connect_timeout(&address.into(), Duration::from_millis(200));
            waiting.push(socket);
            if done.is_err() {
                return Self { address, _listener: listener, _waiting: waiting };
            }
        }
    }

    fn connector(&self) -> String {
        format!("tcp,127.0.0.1,{}", self.address.port())
    }
}

fn clients(broker: &Broker, count: u64) {
    broker.wait_metric("serbroker_port_clients", &["port=\"d\""], count);
}

#[test]
fn who_leaves_while_the_far_end_is_connected_to_is_noticed() {
    let (deaf, port) = (Deaf::new(), free_port());
    let socket = tempfile::tempdir().unwrap();
    let path = socket.path().join("s");
    for accepter in [format!("tcp,127.0.0.1,{port}"), format!("unix,{}", path.display())] {
        let broker = Broker::start(&format!(
            "connection: &d\n  accepter: {accepter}\n  connector: {}\n",
            deaf.connector()
        ));
        let begun = Instant::now();
        for reset in [false, true] {
            if accepter.starts_with("tcp") {
                let client = Client::connect(port);
                clients(&broker, 1);
                if reset {
                    SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
                }
            } else {
                let _client = until("connecting", || UnixStream::connect(&path).ok());
                clients(&broker, 1);
            }
            clients(&broker, 0);
            broker.wait_device("d", false);
        }
        // an attempt takes ten seconds
        assert!(begun.elapsed() < Duration::from_secs(8), "{accepter}: {:?}", begun.elapsed());
    }
}

#[test]
fn what_was_sent_before_the_device_is_open_is_waited_for() {
    let (deaf, port) = (Deaf::new(), free_port());
    let broker = Broker::start(&format!(
        "connection: &d\n  accepter: tcp,127.0.0.1,{port}\n  connector: {}\n",
        deaf.connector()
    ));
    let mut client = Client::connect(port);
    client.send(b"for the device");
    drop(client);
    clients(&broker, 1);
    std::thread::sleep(Duration::from_millis(300));
    clients(&broker, 1);
    broker.log.wait(&["client left", "the device could not be opened"]);
}

#[test]
fn who_leaves_a_device_that_takes_nothing_keeps_no_place() {
    for reset in [false, true] {
        let (pty, port) = (Pty::new(), free_port());
        let broker = Broker::start(&connection("d", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[]));
        let mut client = Client::connect(port);
        clients(&broker, 1);
        // more than the device takes, which nobody reads, but not more than the sockets do
        let data = pattern(50_000, 1);
        client.send(&data);
        let begun = Instant::now();
        if reset {
            SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        clients(&broker, 0);
        let time = begun.elapsed();
        assert!(time < Duration::from_secs(10), "{time:?}");
        broker.log.wait(&["client left", "closed by the client"]);
        broker.wait_device("d", false);
        let lost =
            broker.metric("serbroker_port_dropped_bytes_total", &["port=\"d\"", "direction=\"to_device\""]);
        assert!(lost > 0, "what the device did not take is counted");
        // the place is free
        let mut client = Client::connect(port);
        client.send(b"next");
        let got = pty.read_to(|got| got.ends_with(b"next"));
        assert!(got.len() < data.len());
    }
}

#[test]
fn who_leaves_a_slow_device_has_all_bytes_delivered() {
    let (pty, port) = (Pty::new(), free_port());
    let broker = Broker::start(&connection("d", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[]));
    let mut client = Client::connect(port);
    clients(&broker, 1);
    let data = pattern(60_000, 2);
    client.send(&data);
    drop(client);
    // slower than the limit for a device that takes nothing, but it takes something
    let mut got = Vec::new();
    let begun = Instant::now();
    while got.len() < data.len() {
        let piece = pty.read_some(Instant::now() + PATIENCE);
        // the pace of a line, however much the terminal gives at a time
        std::thread::sleep(Duration::from_micros(120) * u32::try_from(piece.len()).unwrap());
        got.extend(piece);
    }
    assert!(begun.elapsed() > Duration::from_secs(7), "{:?}", begun.elapsed());
    assert_eq!(got, data);
    clients(&broker, 0);
}
