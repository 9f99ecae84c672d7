//! Raw TCP clients on the built program: data, text strings, and who is let in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::pty::Pty;
use support::{Broker, PATIENCE, assert_same, connection, free_port, pattern, tools, until, wait_for};

const MEGABYTE: usize = 1 << 20;

/// A broker with one raw port `raw` on a device.
fn raw(pty: &Pty, options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    let accepter = format!("tcp,127.0.0.1,{port}");
    (Broker::start(&connection("raw", &accepter, pty.path(), options)), port)
}

#[test]
fn socat_gets_and_sends_every_byte() {
    let Some(socat) = tools::tool("socat", "socat") else { return };
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &[]);
    let (up, down) = (pattern(MEGABYTE, 1), pattern(MEGABYTE, 2));
    let mut child = Command::new(socat)
        .args(["-t", "20", "STDIO", &format!("TCP:127.0.0.1:{port}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut from_device = vec![0; down.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| input.write_all(&up).unwrap());
        scope.spawn(|| pty.write(&down));
        let at_device = scope.spawn(|| pty.read(up.len()));
        output.read_exact(&mut from_device).unwrap();
        assert_same("to the device", &at_device.join().unwrap(), &up);
    });
    assert_same("from the device", &from_device, &down);
    // the end of socat's input is the end of the session
    drop(input);
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
    assert!(child.wait().unwrap().success());
    broker.wait_device("raw", false);
    broker.log.wait(&["client left", "closed by the client", "from_client=1048576", "to_client=1048576"]);
    for direction in ["from_device", "to_device", "from_clients", "to_clients"] {
        let label = format!("direction=\"{direction}\"");
        assert_eq!(broker.metric("serbroker_port_bytes_total", &[&label]), 1_048_576, "{direction}");
    }
    assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[]), 0);
}

#[test]
fn what_was_sent_before_a_half_close_reaches_a_slow_device() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &[]);
    let data = pattern(300_000, 3);
    let mut client = Client::connect(port);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(&data);
            client.half_close();
            assert_eq!(client.rest(), (Vec::new(), End::Fin));
        });
        // the device is slow: it begins to read when the broker holds all that it can take
        broker.wait_device("raw", true);
        let moved = || broker.metric("serbroker_port_bytes_total", &["direction=\"from_clients\""]);
        wait_for("first bytes", || moved() > 0);
        assert_same("to the device", &pty.read(data.len()), &data);
    });
    broker.wait_device("raw", false);
}

#[test]
fn a_word_and_a_close_reach_the_device() {
    let pty = Pty::new();
    let (_broker, port) = raw(&pty, &[]);
    for round in 0..50 {
        let word = format!("round {round}\r\n");
        let mut client = Client::connect(port);
        client.send(word.as_bytes());
        drop(client);
        assert_eq!(pty.read(word.len()), word.as_bytes(), "round {round}");
    }
}

#[test]
fn a_stalled_reader_does_not_hold_up_the_others() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &["max-connections: 3"]);
    let (mut first, stalled, mut second) =
        (Client::connect(port), Client::connect(port), Client::connect(port));
    SockRef::from(&stalled.0).set_recv_buffer_size(4096).unwrap();
    broker.wait_metric("serbroker_port_clients", &[], 3);
    broker.wait_device("raw", true);
    let slow = || broker.metric("serbroker_port_disconnects_total", &["reason=\"slow_reader\""]);
    let mut sent = 0;
    let chunk = pattern(64 * 1024, 4);
    while slow() == 0 {
        std::thread::scope(|scope| {
            scope.spawn(|| pty.write(&chunk));
            let other = scope.spawn(|| second.receive(chunk.len()));
            assert_same("first", &first.receive(chunk.len()), &chunk);
            assert_same("second", &other.join().unwrap(), &chunk);
        });
        sent += chunk.len();
        assert!(sent < 64 * MEGABYTE, "the stalled client is kept for ever");
    }
    eprintln!("a stalled client was closed after {} KiB", sent / 1024);
    broker.log.wait(&["client left", "read too slowly"]);
    broker.wait_metric("serbroker_port_clients", &[], 2);
    // what it had not taken is given up after a while, and counted
    until("count of lost bytes", || {
        let labels = ["direction=\"to_clients\""];
        (broker.metric("serbroker_port_dropped_bytes_total", &labels) > 0).then_some(())
    });
    pty.write(b"still here");
    assert_eq!(first.receive(10), b"still here");
    assert_eq!(second.receive(10), b"still here");
    drop(stalled);
}

#[test]
fn a_slow_reader_is_waited_for_and_nobody_loses_anything() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &["max-connections: 2", "chardelay: false"]);
    let (mut fast, mut slow) = (Client::connect(port), Client::connect(port));
    broker.wait_metric("serbroker_port_clients", &[], 2);
    broker.wait_device("raw", true);
    let data = pattern(24 * MEGABYTE, 6);
    std::thread::scope(|scope| {
        scope.spawn(|| pty.write(&data));
        scope.spawn(|| assert_same("fast", &fast.receive(data.len()), &data));
        // between two looks it pauses for less time than makes a client one that does not read
        for piece in data.chunks(512 * 1024) {
            assert_same("slow", &slow.receive(piece.len()), piece);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[]), 0);
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 2);
}

#[test]
fn a_client_that_comes_when_another_has_closed_finds_the_port_free() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &["chardelay: false"]);
    for round in 0..300_u32 {
        let word = round.to_be_bytes();
        let mut client = Client::connect(port);
        client.send(&word);
        assert_eq!(pty.read(4), word, "round {round}");
        pty.write(&word);
        assert_eq!(client.receive(4), word, "round {round}");
    }
    broker.wait_metric("serbroker_port_clients", &[], 0);
    assert_eq!(broker.metric("serbroker_port_refusals_total", &[]), 0);
    assert_eq!(broker.metric("serbroker_port_connections_total", &[]), 300);
}

#[test]
fn a_stalled_reader_alone_holds_the_device_back_and_loses_nothing() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &[]);
    let mut client = Client::connect(port);
    broker.wait_device("raw", true);
    // sends until nothing was taken for a while
    let data = pattern(32 * MEGABYTE, 5);
    let mut sent = 0;
    loop {
        let count = pty.write_some(&data[sent..], Instant::now() + Duration::from_millis(500));
        if count == 0 {
            break;
        }
        sent += count;
        assert!(sent < data.len(), "the device is never held back");
    }
    eprintln!("the device was held back after {} KiB", sent / 1024);
    assert_same("all that was sent", &client.receive(sent), &data[..sent]);
    pty.write(b"more");
    assert_eq!(client.receive(4), b"more");
    assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[]), 0);
}

#[test]
fn kickolduser_gives_the_port_to_the_newcomer() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &["kickolduser: true"]);
    let mut old = Client::connect(port);
    pty.write(b"one");
    assert_eq!(old.receive(3), b"one");
    let mut new = Client::connect(port);
    assert_eq!(old.rest(), (Vec::new(), End::Fin));
    new.send(b"from new");
    assert_eq!(pty.read(8), b"from new");
    pty.write(b"two");
    assert_eq!(new.receive(3), b"two");
    assert_eq!(broker.metric("serbroker_port_kicks_total", &[]), 1);
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"kicked\""]), 1);
    assert_eq!(broker.metric("serbroker_port_refusals_total", &[]), 0);
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 1);
}

#[test]
fn clients_above_max_connections_are_told() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &["max-connections: 2"]);
    let (mut a, mut b) = (Client::connect(port), Client::connect(port));
    broker.wait_metric("serbroker_port_clients", &[], 2);
    for _ in 0..3 {
        assert_eq!(Client::connect(port).rest(), (b"Port already in use\r\n".to_vec(), End::Fin));
    }
    assert_eq!(broker.metric("serbroker_port_refusals_total", &["reason=\"port_busy\""]), 3);
    pty.write(b"both");
    assert_eq!((a.receive(4), b.receive(4)), (b"both".to_vec(), b"both".to_vec()));
    a.send(b"a");
    assert_eq!(pty.read(1), b"a");
    b.send(b"b");
    assert_eq!(pty.read(1), b"b");
    // one place becomes free
    drop(a);
    broker.wait_metric("serbroker_port_clients", &[], 1);
    let mut c = Client::connect(port);
    broker.wait_metric("serbroker_port_clients", &[], 2);
    pty.write(b"c");
    assert_eq!((b.receive(1), c.receive(1)), (b"c".to_vec(), b"c".to_vec()));
}

#[test]
fn idle_clients_are_closed_and_busy_ones_are_not() {
    let pty = Pty::new();
    let port = free_port();
    let accepter = format!("tcp,127.0.0.1,{port}");
    let broker = Broker::start(
        &connection("idle", &accepter, pty.path(), &["max-connections: 2"])
            .replace("  options:", "  timeout: 1\n  options:"),
    );
    let mut busy = Client::connect(port);
    broker.wait_device("idle", true);
    let begun = Instant::now();
    // what a client sends keeps it; more than twice the timeout shows it
    while begun.elapsed() < Duration::from_millis(3500) {
        busy.send(b"x");
        assert_eq!(pty.read(1), b"x");
        assert_eq!(busy.during(Duration::from_millis(200)), b"");
    }
    let last = Instant::now();
    assert_eq!(busy.rest(), (Vec::new(), End::Fin));
    let waited = last.elapsed();
    assert!(waited > Duration::from_millis(500) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"idle\""]), 1);
}

/// Connects from another address of the loopback network.
fn connect_from(source: Ipv4Addr, port: u16) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((source, 0)))).unwrap();
    socket.connect(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).unwrap();
    let stream: std::net::TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(stream)
}

#[test]
fn only_allowed_addresses_get_in() {
    const DENIED: &[u8] = b"Accessed denied due to your net address\r\n";
    for option in ["remaddr: \"127.0.0.7,0;127.0.8.0/24,0\"", "allow: [127.0.0.7, 127.0.8.0/24]"] {
        let pty = Pty::new();
        let (broker, port) = raw(&pty, &[option]);
        let (text, _) = Client::connect(port).rest();
        assert_eq!(text, DENIED, "{option}");
        let (text, _) = connect_from(Ipv4Addr::new(127, 0, 9, 1), port).rest();
        assert_eq!(text, DENIED, "{option}");
        assert_eq!(broker.metric("serbroker_port_refusals_total", &["reason=\"not_allowed\""]), 2);
        assert_eq!(broker.metric("serbroker_port_device_opens_total", &[]), 0, "{option}");
        for inside in [Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 0, 8, 200)] {
            let mut client = connect_from(inside, port);
            client.send(b"in");
            assert_eq!(pty.read(2), b"in", "{option}");
            drop(client);
            broker.wait_metric("serbroker_port_clients", &[], 0);
        }
    }
}

#[test]
fn texts_for_clients_and_device() {
    let pty = Pty::new();
    let (broker, port) = raw(
        &pty,
        &[
            "max-connections: 2",
            "banner: \"hello from \\\\N\\\\r\\\\n\"",
            "openstr: \"AT\\\\r\"",
            "closestr: \"BYE\\\\r\"",
        ],
    );
    let mut first = Client::connect(port);
    assert_eq!(first.receive_until(b"\r\n"), b"hello from raw\r\n");
    assert_eq!(pty.read(3), b"AT\r");
    let mut second = Client::connect(port);
    assert_eq!(second.receive_until(b"\r\n"), b"hello from raw\r\n");
    second.send(b"x");
    // only the first client opens the device, only the last closes it
    assert_eq!(pty.read(1), b"x");
    drop(first);
    broker.wait_metric("serbroker_port_clients", &[], 1);
    second.send(b"y");
    assert_eq!(pty.read(1), b"y");
    drop(second);
    assert_eq!(pty.read(4), b"BYE\r");
    broker.wait_device("raw", false);
}

#[test]
fn closeon_ends_the_session_behind_the_text() {
    let pty = Pty::new();
    let (broker, port) = raw(&pty, &["closeon: \"logout\\\\r\\\\n\""]);
    let mut client = Client::connect(port);
    broker.wait_device("raw", true);
    pty.write(b"some text, log");
    assert_eq!(client.receive(14), b"some text, log");
    pty.write(b"out\r\n");
    assert_eq!(client.rest(), (b"out\r\n".to_vec(), End::Fin));
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"closeon\""]), 1);
    broker.wait_device("raw", false);
}

/// A raw port that gathers for a second, so that a test can tell what was gathered: 100 characters
/// of 300 baud would be longer, but a second is the longest there is.
fn gathering(pty: &Pty, how: &str) -> (Broker, u16) {
    let port = free_port();
    let options = [&format!("chardelay: {how}"), "chardelay-scale: 1000", "chardelay-max: 1000000"];
    let config = connection("raw", &format!("tcp,127.0.0.1,{port}"), pty.path(), &options);
    (Broker::start(&config.replace("115200n81", "300n81")), port)
}

#[test]
fn adaptive_gathering_delays_no_answer_and_keeps_the_rest_together() {
    const GATHERING: Duration = Duration::from_secs(1);
    const QUESTIONS: u32 = 20;
    let pty = Pty::new();
    let (_broker, port) = gathering(&pty, "adaptive");
    let mut client = Client::connect(port);
    let mut ask = |answer: &[u8]| {
        client.send(b"?");
        assert_eq!(pty.read(1), b"?");
        pty.write(answer);
        assert_eq!(client.receive(answer.len()), answer);
    };
    let begun = Instant::now();
    for size in 1..=QUESTIONS {
        ask(&pattern(size as usize, size));
    }
    assert!(begun.elapsed() < GATHERING * (QUESTIONS / 2), "answers wait: {:?}", begun.elapsed());

    // what follows the first bytes is gathered, and comes as one
    ask(b"first");
    let begun = Instant::now();
    pty.write(b"then ");
    pty.write(b"the rest");
    assert_eq!(client.receive(13), b"then the rest");
    assert!(begun.elapsed() > GATHERING / 2, "not gathered: {:?}", begun.elapsed());

    let pty = Pty::new();
    let (_broker, port) = gathering(&pty, "true");
    let mut client = Client::connect(port);
    client.send(b"?");
    assert_eq!(pty.read(1), b"?");
    let begun = Instant::now();
    pty.write(b"!");
    assert_eq!(client.receive(1), b"!");
    assert!(begun.elapsed() >= GATHERING, "ser2net's timing is the default");
}
