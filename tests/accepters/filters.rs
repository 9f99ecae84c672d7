//! Filters on accepters: `trace`, `ratelimit` and `msgdelim`, as gensio 2.6.2 has them.

use super::support::net::{Client, End};
use super::support::pty::Pty;
use super::support::{Broker, PATIENCE, connection, free_port, wait_for};
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// What telnet says first.
const OPENING: usize = 18;

/// A port with this accepter, `PORT` filled in.
fn start(pty: &Pty, accepter: &str, options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    let accepter = accepter.replace("PORT", &format!("127.0.0.1,{port}"));
    (Broker::start(&connection("a", &format!("'{accepter}'"), pty.path(), options)), port)
}

#[test]
fn a_trace_below_telnet_has_its_bytes_and_one_above_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let (above, below) = (dir.path().join("above"), dir.path().join("below"));
    let pty = Pty::new();
    let accepter = format!(
        "trace(dir=both,raw,file={}),telnet,trace(dir=both,raw,file={}),tcp,PORT",
        above.display(),
        below.display()
    );
    let (_broker, port) = start(&pty, &accepter, &["banner: 'B'"]);
    let mut wire = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(port);
        wire.extend(client.receive(OPENING + 1));
        client.send(b"up\xff\xff");
        assert_eq!(pty.read(3), b"up\xff");
        pty.write(b"dn\xff");
        let down = client.receive(4);
        assert_eq!(down, b"dn\xff\xff");
        wire.extend([b"up\xff\xff", &down[..]].concat());
        // each client has a writer of its own, which ends with it
        wait_for("the copies", || fs::read(&below).is_ok_and(|copy| copy == wire));
    }
    wait_for("the payload", || fs::read(&above).unwrap() == b"Bup\xffdn\xffBup\xffdn\xff");
}

#[test]
fn a_trace_blocks_one_way() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    for (filters, up, down) in [
        ("trace(dir=both,block=read,raw,file=FILE)", &b""[..], &b"Bdown"[..]),
        ("trace(dir=both,block=write,raw,file=FILE)", b"up", b""),
        ("trace(dir=both,block=read,raw,file=FILE),telnet", b"", b"Bdown"),
        ("trace(dir=both,block=write,raw,file=FILE),telnet", b"up", b""),
    ] {
        let _ = fs::remove_file(&file);
        let pty = Pty::new();
        let accepter = format!("{},tcp,PORT", filters.replace("FILE", file.to_str().unwrap()));
        let (broker, port) = start(&pty, &accepter, &["banner: 'B'"]);
        let mut client = Client::connect(port);
        if accepter.contains("telnet") {
            client.receive(OPENING);
        }
        broker.wait_device("a", true);
        client.send(b"up");
        assert_eq!(pty.read_to(|got| got.len() >= up.len()), up, "{filters}");
        pty.write(b"down");
        assert_eq!(client.receive(down.len()), down, "{filters}");
        wait_for("the copies", || {
            fs::read(&file)
                .is_ok_and(|copy| copy == [up, down].concat() || copy == [&b"B"[..], up, b"down"].concat())
        });
        broker.wait_metric("serbroker_port_bytes_total", &["direction=\"from_device\""], 4);
        assert_eq!(
            (pty.read_some(Instant::now()), client.during(Duration::from_millis(50))),
            (vec![], vec![])
        );
    }
}

#[test]
fn a_client_whose_trace_file_cannot_be_opened_is_closed() {
    let pty = Pty::new();
    let (broker, port) = start(&pty, "trace(dir=both,file=/no/such/file),tcp,PORT", &[]);
    assert_eq!(Client::connect(port).rest(), (Vec::new(), End::Fin));
    broker.log.wait(&["client 127.0.0.1 refused", "cannot open the trace file /no/such/file"]);
    broker.wait_metric("serbroker_port_refusals_total", &["reason=\"filter\""], 1);
}

#[test]
fn a_pace_for_what_goes_to_clients() {
    let pty = Pty::new();
    let (broker, port) = start(&pty, "telnet,ratelimit(xmit_len=10,xmit_delay=50m),tcp,PORT", &[]);
    let mut client = Client::connect(port);
    client.receive(OPENING);
    broker.wait_device("a", true);
    let begun = Instant::now();
    pty.write(b"0123456789abcdefghijABCDEFGHIJ");
    assert_eq!(client.receive(30), b"0123456789abcdefghijABCDEFGHIJ");
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let up = [b'u'; 1000];
    client.send(&up);
    assert_eq!(pty.read(1000), up);
    assert!(begun.elapsed() < Duration::from_secs(2), "only one way is slow");
}

#[test]
fn messages_with_marks() {
    for (filter, down, up) in [
        ("msgdelim", &b"\xfe\x01x\xff\x9f\xfe\x01"[..], &b"\xfe\x01a\x7c\x87\xfe\x01"[..]),
        ("msgdelim(crc=off)", b"\xfe\x01x\xfe\x01", b"\xfe\x01a\xfe\x01"),
    ] {
        let pty = Pty::new();
        let (broker, port) = start(&pty, &format!("{filter},tcp,PORT"), &[]);
        let mut client = Client::connect(port);
        broker.wait_device("a", true);
        pty.write(b"x");
        assert_eq!(client.receive(down.len()), down);
        client.send(up);
        assert_eq!(pty.read(1), b"a");
    }
}

#[test]
fn datagrams_stay_datagrams() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let pty = Pty::new();
    let (_broker, port) =
        start(&pty, &format!("trace(dir=both,raw,file={}),udp,PORT", file.display()), &["chardelay: false"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello");
    let mut buffer = [0; 100];
    for text in ["one", "two"] {
        pty.write(text.as_bytes());
        let count = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], text.as_bytes());
    }
    wait_for("the copy", || fs::read(&file).unwrap() == b"helloonetwo");
}

#[test]
fn a_rotator_has_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let (pty, own, port) = (Pty::new(), free_port(), free_port());
    let text = connection("a", &format!("tcp,127.0.0.1,{own}"), pty.path(), &[])
        + &format!(
            "rotator: &r\n  accepter: 'trace(dir=read,raw,file={}),tcp,127.0.0.1,{port}'\n  connections: [*a]\n",
            file.display()
        );
    let _broker = Broker::start(&text);
    let mut client = Client::connect(port);
    client.send(b"through");
    assert_eq!(pty.read(7), b"through");
    wait_for("the copy", || fs::read(&file).unwrap() == b"through");
}
