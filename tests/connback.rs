//! Connections that a port makes itself when its device sends something.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::pty::Pty;
use support::{Broker, PATIENCE, Process, connection, free_port, tools, until};

/// A listener that is connected back to.
struct Home(TcpListener);

impl Home {
    fn new() -> Self {
        Self::at(0)
    }

    #[track_caller]
    fn at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn try_accept(&self) -> Option<Client> {
        let (stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Client(stream))
    }

    #[track_caller]
    fn accept(&self) -> Client {
        until("a connection back", || self.try_accept())
    }
}

/// A port `back` that connects to these homes.
fn start(pty: &Pty, homes: &[u16], options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    let config = config(port, pty, homes, options);
    (Broker::start(&config), port)
}

fn config(port: u16, pty: &Pty, homes: &[u16], options: &[&str]) -> String {
    let list: Vec<String> = homes.iter().map(|home| format!("tcp,127.0.0.1,{home}")).collect();
    let list = format!("connback: {}", list.join(";"));
    let options: Vec<&str> = [list.as_str()].into_iter().chain(options.iter().copied()).collect();
    connection("back", &format!("tcp,127.0.0.1,{port}"), pty.path(), &options)
}

#[test]
fn the_first_words_of_the_device_make_the_connection_and_go_over_it() {
    let (pty, home) = (Pty::new(), Home::new());
    let (broker, port) = start(&pty, &[home.port()], &["max-connections: 2"]);
    broker.wait_device("back", true);
    assert!(home.try_accept().is_none(), "the device has said nothing");
    pty.write(b"hello");
    let mut far = home.accept();
    assert_eq!(far.receive(5), b"hello");
    far.send(b"answer");
    assert_eq!(pty.read(6), b"answer");
    pty.write(b"more");
    assert_eq!(far.receive(4), b"more");
    // a client has the other place, and a second client none
    let mut near = Client::connect(port);
    broker.wait_metric("serbroker_port_clients", &[], 2);
    pty.write(b"both");
    assert_eq!((far.receive(4), near.receive(4)), (b"both".to_vec(), b"both".to_vec()));
    assert_eq!(Client::connect(port).rest().0, b"Port already in use\r\n");
    assert!(home.try_accept().is_none(), "one connection is enough");
    // when it is closed the next words make it again; the device stays open
    drop(far);
    broker.wait_metric("serbroker_port_clients", &[], 1);
    pty.write(b"again");
    assert_eq!(near.receive(5), b"again");
    assert_eq!(home.accept().receive(5), b"again");
    assert_eq!(broker.metric("serbroker_port_device_opens_total", &[]), 1);
}

#[test]
fn all_addresses_must_be_there_before_any_gets_data_and_what_comes_before_is_kept() {
    let (pty, home) = (Pty::new(), Home::new());
    let late = free_port();
    let (broker, _) = start(&pty, &[home.port(), late], &["max-connections: 2", "connector-retry-time: 1"]);
    broker.wait_device("back", true);
    pty.write(b"one ");
    let mut first = home.accept();
    broker.log.wait(&["cannot connect back to", "refused"]);
    assert_eq!(first.during(Duration::from_millis(100)), b"");
    pty.write(b"two");
    let other = Home::at(late);
    assert_eq!(other.accept().receive(7), b"one two");
    assert_eq!(first.receive(7), b"one two");
}

#[test]
fn a_port_whose_places_are_all_reserved_takes_no_clients() {
    let (pty, home) = (Pty::new(), Home::new());
    let (_broker, port) = start(&pty, &[home.port()], &["kickolduser: true"]);
    assert_eq!(Client::connect(port).rest(), (b"Port already in use\r\n".to_vec(), End::Fin));
    pty.write(b"x");
    assert_eq!(home.accept().receive(1), b"x");
}

#[test]
fn idle_connections_back_have_a_timeout_of_their_own() {
    let (pty, home) = (Pty::new(), Home::new());
    let (broker, port) = start(&pty, &[home.port()], &["max-connections: 2", "connback-timeout: 1"]);
    broker.wait_device("back", true);
    let mut near = Client::connect(port);
    broker.wait_metric("serbroker_port_clients", &[], 1);
    pty.write(b"x");
    let mut far = home.accept();
    let begun = Instant::now();
    assert_eq!(far.rest(), (b"x".to_vec(), End::Fin));
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(near.receive(1), b"x");
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"idle\""]), 1);
    // the client has no timeout; the device calls again
    pty.write(b"y");
    assert_eq!((near.receive(1), home.accept().receive(1)), (b"y".to_vec(), b"y".to_vec()));
}

#[test]
fn the_device_is_tried_again_until_it_is_there() {
    let (pty, home) = (Pty::new(), Home::new());
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("device");
    let list = format!("connback: tcp,127.0.0.1,{}", home.port());
    let accepter = format!("tcp,127.0.0.1,{}", free_port());
    let options = [list.as_str(), "connector-retry-time: 1"];
    let broker = Broker::start(&connection("back", &accepter, link.to_str().unwrap(), &options));
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    pty.link(&link);
    broker.wait_device("back", true);
    pty.write(b"here");
    assert_eq!(home.accept().receive(4), b"here");
}

#[test]
fn telnet_is_spoken_and_remaddr_knows_addresses_to_connect_to() {
    let (pty, home, other) = (Pty::new(), Home::new(), Home::new());
    let port = free_port();
    let options = [
        format!("connback: telnet,tcp,localhost,{}", home.port()),
        format!("remaddr: '!127.0.0.1,{}'", other.port()),
        "max-connections: 2".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let broker = Broker::start(&connection("back", &format!("tcp,127.0.0.1,{port}"), pty.path(), &options));
    broker.wait_device("back", true);
    pty.write(b"\xff!");
    let opening = b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00";
    let mut telnet = home.accept();
    assert_eq!(telnet.receive(opening.len() + 3), [&opening[..], b"\xff\xff!"].concat());
    assert_eq!(other.accept().receive(2), b"\xff!");
}

#[test]
fn datagrams_go_back_and_forth() {
    let (pty, home) = (Pty::new(), UdpSocket::bind("127.0.0.1:0").unwrap());
    home.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = home.local_addr().unwrap().port();
    for (telnet, opening) in [
        ("", &b""[..]),
        ("telnet,", b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00"),
    ] {
        let option = format!("connback: '{telnet}udp,127.0.0.1,{address}'");
        let accepter = format!("tcp,127.0.0.1,{}", free_port());
        let broker =
            Broker::start(&connection("back", &accepter, pty.path(), &[&option, "chardelay: false"]));
        broker.wait_device("back", true);
        pty.write(b"hello");
        let mut buffer = [0; 100];
        let mut next = || {
            let (count, from) = home.recv_from(&mut buffer).unwrap();
            (buffer[..count].to_vec(), from)
        };
        if !opening.is_empty() {
            assert_eq!(next().0, opening);
        }
        let (hello, from) = next();
        assert_eq!(hello, b"hello");
        home.send_to(b"answer", from).unwrap();
        assert_eq!(pty.read(6), b"answer");
        pty.write(b"more");
        assert_eq!(next(), (b"more".to_vec(), from));
    }
}

#[test]
fn tls_goes_back_to_a_server_that_the_authority_signed() {
    let Some(openssl) = tools::tool("openssl", "openssl") else { return };
    let (pty, port) = (Pty::new(), free_port());
    let dir = tempfile::tempdir().unwrap();
    let (key, cert) = (dir.path().join("key"), dir.path().join("cert"));
    let mut make = Command::new(&openssl);
    make.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=home", "-keyout",
    ]);
    let made = make.arg(&key).arg("-out").arg(&cert).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let option = format!("connback: 'ssl(CA={}),tcp,127.0.0.1,{port}'", cert.display());
    let accepter = format!("tcp,127.0.0.1,{}", free_port());
    let options = [option.as_str(), "connector-retry-time: 1"];
    let broker = Broker::start(&connection("back", &accepter, pty.path(), &options));
    broker.wait_device("back", true);
    // nobody is at home yet
    pty.write(b"hello ");
    broker.log.wait(&["cannot connect back to ssl", "refused"]);
    let mut server = Command::new(openssl);
    server
        .args(["s_server", "-quiet", "-accept", &port.to_string(), "-key"])
        .arg(&key)
        .arg("-cert")
        .arg(&cert);
    let mut server = Process::start(server.stdin(Stdio::piped()));
    broker.log.wait(&["connected back to ssl"]);
    pty.write(b"there\n");
    server.stdout.wait(&["hello there"]);
    server.child.stdin.take().unwrap().write_all(b"answer").unwrap();
    assert_eq!(pty.read(6), b"answer");
}

#[test]
fn a_reload_ends_the_connections_and_frees_the_device() {
    let (pty, home) = (Pty::new(), Home::new());
    let (broker, port) = start(&pty, &[home.port()], &[]);
    broker.wait_device("back", true);
    pty.write(b"x");
    let mut far = home.accept();
    assert_eq!(far.receive(1), b"x");
    let plain = connection("back", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[]);
    broker.reload(&plain);
    assert_eq!(far.rest(), (Vec::new(), End::Fin));
    broker.wait_device("back", false);
    let mut near = Client::connect(port);
    near.send(b"y");
    assert_eq!(pty.read(1), b"y");
    drop(near);
    broker.reload(&config(port, &pty, &[home.port()], &[]));
    broker.wait_device("back", true);
    // and a port that is not there any more does not hold its device either
    broker.reload("");
    broker.log.wait(&["device closed"]);
    broker.log.wait(&["stopped"]);
}
