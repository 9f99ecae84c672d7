//! UDP: every address that sends is a client.

use super::client;
use super::support::pty::Pty;
use super::support::{Broker, PATIENCE, connection, free_port, pattern, until, wait_for};
use std::io::Write;
use std::net::UdpSocket;
use std::time::Duration;

struct Peer(UdpSocket);

impl Peer {
    fn new(port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn send(&self, data: &[u8]) {
        self.0.send(data).unwrap();
    }

    #[track_caller]
    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let count = self.0.recv(&mut buffer).unwrap();
        buffer[..count].to_vec()
    }

    #[track_caller]
    fn receive_all(&self, length: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < length {
            got.extend(self.receive());
        }
        got
    }
}

fn start(pty: &Pty, options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    (Broker::start(&connection("u", &format!("udp,127.0.0.1,{port}"), pty.path(), options)), port)
}

#[test]
fn five_peers_each_get_each_datagram_and_one_that_dies_is_ended_alone() {
    let pty = Pty::new();
    let (broker, port) = start(&pty, &["max-connections: 5"]);
    let mut peers: Vec<Peer> = (0..5).map(|_| Peer::new(port)).collect();
    for (i, peer) in (0_u8..).zip(&peers) {
        peer.send(&[b'a' + i]);
        assert_eq!(pty.read(1), [b'a' + i]);
    }
    for round in 0_u8..20 {
        let text = [b'<', b'0' + round, b'>'];
        pty.write(&text);
        for (i, peer) in peers.iter().enumerate() {
            assert_eq!(peer.receive_all(3), text, "peer {i}");
        }
    }
    // what is sent to it from now on is answered by ICMP
    peers.pop();
    for _ in 0..3 {
        pty.write(b"still");
        for peer in &peers {
            assert_eq!(peer.receive_all(5), b"still");
        }
        peers[0].send(b"here");
        assert_eq!(pty.read(4), b"here");
    }
    // that ended it, and its place is free
    broker.log.wait(&["client left", "reset by the client"]);
    broker.wait_metric("serbroker_port_clients", &["port=\"u\""], 4);
    let another = Peer::new(port);
    another.send(b"new");
    assert_eq!(pty.read(3), b"new");
}

#[test]
fn a_silent_peer_expires_and_makes_room() {
    let pty = Pty::new();
    let port = free_port();
    let text = connection("u", &format!("udp,127.0.0.1,{port}"), pty.path(), &[])
        .replace("  connector", "  timeout: 1\n  connector");
    let broker = Broker::start(&text);
    let (first, second) = (Peer::new(port), Peer::new(port));
    first.send(b"1");
    assert_eq!(pty.read(1), b"1");
    second.send(b"2");
    assert_eq!(second.receive(), b"Port already in use\r\n");
    broker.log.wait(&["client left", "idle"]);
    broker.wait_device("u", false);
    second.send(b"3");
    assert_eq!(pty.read(1), b"3");
}

#[test]
fn datagrams_are_as_long_as_the_buffer_may_be() {
    let pty = Pty::new();
    let (_broker, port) = start(&pty, &["dev-to-net-bufsize: 1000", "chardelay: false"]);
    let peer = Peer::new(port);
    let (up, down) = (pattern(60_000, 1), pattern(3000, 2));
    peer.send(&up);
    assert_eq!(pty.read(up.len()), up, "a long datagram arrives whole");
    pty.write(&down);
    let mut got = Vec::new();
    while got.len() < down.len() {
        let datagram = peer.receive();
        assert!(datagram.len() <= 1000, "{}", datagram.len());
        got.extend(datagram);
    }
    assert_eq!(got, down);
}

#[test]
fn who_may_not_connect_is_told() {
    let pty = Pty::new();
    let (broker, port) = start(&pty, &["remaddr: 10.0.0.1,0"]);
    let peer = Peer::new(port);
    peer.send(b"x");
    assert_eq!(peer.receive(), b"Accessed denied due to your net address\r\n");
    assert_eq!(broker.metric("serbroker_port_clients", &["port=\"u\""]), 0);
}

#[test]
fn a_reload_that_moves_the_port_ends_its_peers() {
    let pty = Pty::new();
    let (broker, port) = start(&pty, &[]);
    let peer = Peer::new(port);
    peer.send(b"1");
    assert_eq!(pty.read(1), b"1");
    let (other, elsewhere) = (free_port(), Pty::new());
    broker.reload(&connection("v", &format!("udp,127.0.0.1,{other}"), elsewhere.path(), &[]));
    broker.log.wait(&["client left"]);
    let again = until("the address is free", || UdpSocket::bind(("127.0.0.1", port)).ok());
    drop(again);
    let peer = Peer::new(other);
    peer.send(b"2");
    assert_eq!(elsewhere.read(1), b"2");
}

#[test]
fn telnet_goes_over_datagrams_too() {
    let pty = Pty::new();
    let port = free_port();
    let accepter = format!("telnet,udp,127.0.0.1,{port}");
    let _broker = Broker::start(&connection("u", &accepter, pty.path(), &[]));
    let peer = Peer::new(port);
    peer.send(b"a\xff\xffb");
    assert_eq!(pty.read(3), b"a\xffb");
    let opening = b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00";
    assert_eq!(peer.receive_all(opening.len()), opening);
    pty.write(b"c\xffd");
    assert_eq!(peer.receive_all(4), b"c\xff\xffd");
}

#[test]
fn socat_netcat_and_gensiot_talk_to_the_device() {
    let pty = Pty::new();
    let (broker, port) = start(&pty, &[]);
    let (address, place) = (format!("UDP:127.0.0.1:{port}"), format!("udp,127.0.0.1,{port}"));
    let number = port.to_string();
    for (program, package, args) in [
        ("socat", "socat", vec!["-", &*address]),
        ("nc", "netcat-openbsd", vec!["-u", "127.0.0.1", &*number]),
        ("gensiot", "gensio-bin", vec!["-i", "stdio(self)", &*place]),
    ] {
        let Some((process, mut input)) = client(program, package, &args) else { continue };
        input.write_all(b"ping\n").unwrap();
        assert_eq!(pty.read(5), b"ping\n", "{program}");
        pty.write(b"pong\n");
        wait_for(program, || process.stdout.text() == "pong");
        drop((process, input));
        // a new configuration forgets the peer at once
        broker.reload("");
        let text = connection("u", &format!("udp,127.0.0.1,{port}"), pty.path(), &[]);
        wait_for("end of the port", || !broker.metrics().contains("port=\"u\""));
        broker.reload(&text);
    }
}

#[test]
fn a_taken_address_is_told_and_tried_again() {
    let pty = Pty::new();
    let port = free_port();
    let holder = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let broker = Broker::start(&connection("u", &format!("udp,127.0.0.1,{port}"), pty.path(), &[]));
    broker.log.wait(&["cannot listen on 127.0.0.1", "ss -lnup"]);
    drop(holder);
    let peer = Peer::new(port);
    peer.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    until("an answer", || {
        // refused by ICMP as long as nobody listens
        let _ = peer.0.send(b"?");
        Some(pty.read_some(std::time::Instant::now() + Duration::from_millis(50)))
            .filter(|got| !got.is_empty())
    });
}
