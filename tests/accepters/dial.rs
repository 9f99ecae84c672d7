//! Accepters that connect (`conacc`): what they reach is the client.

use super::support::net::{Client, End};
use super::support::pty::Pty;
use super::support::{Broker, PATIENCE, connection, free_port, pattern, until, wait_for};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Somebody who listens for the broker.
struct Far(TcpListener);

impl Far {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next connection of the broker.
    #[track_caller]
    fn accept(&self) -> Client {
        self.0.set_nonblocking(true).unwrap();
        let stream: TcpStream = until("a connection", || self.0.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }
}

fn clients(broker: &Broker, count: u64) {
    broker.wait_metric("serbroker_port_clients", &["port=\"d\""], count);
}

#[test]
fn what_it_reaches_is_a_client_and_is_reached_again() {
    let (pty, far) = (Pty::new(), Far::new());
    let number = far.port();
    let options = ["openstr: OPEN", "closestr: CLOSE", "banner: \"<\\\\I>\""];
    let broker =
        Broker::start(&connection("d", &format!("conacc,tcp,127.0.0.1,{number}"), pty.path(), &options));
    for round in 0..3 {
        let mut client = far.accept();
        assert_eq!(pty.read(4), b"OPEN", "round {round}: nobody had to ask for the device");
        let greeting = format!("<ipv4,127.0.0.1,{number}>");
        assert_eq!(client.receive(greeting.len()), greeting.as_bytes(), "as ser2net writes it");
        let (up, down) = (pattern(20_000, 1), pattern(20_000, 2));
        client.send(&up);
        assert_eq!(pty.read(up.len()), up);
        pty.write(&down);
        assert_eq!(client.receive(down.len()), down);
        clients(&broker, 1);
        broker.log.wait(&["port=d", "client connected", &format!("peer=tcp,127.0.0.1,{number}")]);
        drop(client);
        assert_eq!(pty.read(5), b"CLOSE");
    }
}

#[test]
fn who_is_not_there_is_tried_again_and_told_once() {
    let (pty, number) = (Pty::new(), free_port());
    let broker = Broker::start(&connection("d", &format!("conacc,tcp,127.0.0.1,{number}"), pty.path(), &[]));
    broker.log.wait(&["port=d", "cannot connect to 127.0.0.1", "refused"]);
    clients(&broker, 0);
    let far = Far(until("the address", || TcpListener::bind(("127.0.0.1", number)).ok()));
    let mut client = far.accept();
    client.send(b"there");
    assert_eq!(pty.read(5), b"there");
    broker.log.wait_count(&["cannot connect to 127.0.0.1"], 1);
}

#[test]
fn retry_time_is_the_pause_between_two_connections() {
    let (pty, far) = (Pty::new(), Far::new());
    let accepter = format!("conacc(retry-time=700m),tcp,127.0.0.1,{}", far.port());
    let _broker = Broker::start(&connection("d", &accepter, pty.path(), &[]));
    let client = far.accept();
    let begun = Instant::now();
    drop(client);
    let _again = far.accept();
    let pause = begun.elapsed();
    assert!(pause >= Duration::from_millis(690), "{pause:?}");
}

#[test]
fn one_serial_device_is_led_to_another() {
    let (near, far) = (Pty::new(), Pty::new());
    let accepter = format!("conacc,serialdev,{},19200e71,local", far.path());
    let mut broker = Broker::start(&connection("d", &accepter, near.path(), &["chardelay: false"]));
    broker.wait_device("d", true);
    clients(&broker, 1);
    let (up, down) = (pattern(30_000, 3), pattern(30_000, 4));
    std::thread::scope(|scope| {
        scope.spawn(|| far.write(&up));
        assert_eq!(near.read(up.len()), up);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| near.write(&down));
        assert_eq!(far.read(down.len()), down);
    });
    let termios = far.termios();
    assert_eq!(termios.output_speed(), 19200, "its own settings");
    let (status, _) = broker.terminate();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn telnet_stands_above_and_below_it() {
    // above: this end is the server, as on any accepter
    let (pty, far) = (Pty::new(), Far::new());
    let accepter = format!("telnet(rfc2217),conacc,tcp,127.0.0.1,{}", far.port());
    let broker = Broker::start(&connection("d", &accepter, pty.path(), &[]));
    for _ in 0..2 {
        let mut client = far.accept();
        let opening = b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2c";
        assert_eq!(client.receive(opening.len()), opening);
        client.send(b"a\xff\xffb");
        assert_eq!(pty.read(3), b"a\xffb");
        drop(client);
        clients(&broker, 0);
    }
    drop(broker);
    // below: it is the client of a telnet server
    let (pty, far) = (Pty::new(), Far::new());
    let accepter = format!("conacc,telnet,tcp,127.0.0.1,{}", far.port());
    let _broker = Broker::start(&connection("d", &accepter, pty.path(), &[]));
    let mut client = far.accept();
    assert_eq!(client.receive(9), b"\xff\xfd\x03\xff\xfb\x00\xff\xfd\x00");
    client.send(b"a\xff\xffb");
    assert_eq!(pty.read(3), b"a\xffb");
    pty.write(b"c\xffd");
    assert_eq!(client.receive(4), b"c\xff\xffd");
}

#[test]
fn a_reload_ends_it_and_begins_another() {
    let (pty, first, second) = (Pty::new(), Far::new(), Far::new());
    let to = |far: &Far| connection("d", &format!("conacc,tcp,127.0.0.1,{}", far.port()), pty.path(), &[]);
    let broker = Broker::start(&to(&first));
    let mut client = first.accept();
    clients(&broker, 1);
    // a change waits for the client, as on every port
    broker.reload(&to(&second));
    client.send(b"still");
    assert_eq!(pty.read(5), b"still");
    drop(client);
    let mut client = second.accept();
    client.send(b"new");
    assert_eq!(pty.read(3), b"new");
    broker.reload("");
    drop(client);
    wait_for("end of the port", || !broker.metrics().contains("port=\"d\""));
}

#[test]
fn a_refused_device_is_told_and_the_connection_made_again() {
    let far = Far::new();
    let accepter = format!("conacc,tcp,127.0.0.1,{}", far.port());
    let _broker = Broker::start(&connection("d", &accepter, "/dev/no-such-device", &[]));
    for _ in 0..2 {
        let (text, end) = far.accept().rest();
        assert_eq!(String::from_utf8(text).unwrap(), "Device open failure: Value or file not found\r\n");
        assert_eq!(end, End::Fin);
    }
}
