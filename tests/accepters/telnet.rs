//! Telnet options of accepters other than RFC 2217.

use super::support::net::Client;
use super::support::pty::Pty;
use super::support::{Broker, connection, free_port};
use std::time::Duration;

#[test]
fn the_clients_end_offers_nothing_and_obeys_nothing() {
    for (options, opening) in [("mode=client", &b""[..]), ("mode=client,rfc2217", b"\xff\xfb\x2c")] {
        let (pty, port) = (Pty::new(), free_port());
        let accepter = format!("telnet({options}),tcp,127.0.0.1,{port}");
        let broker = Broker::start(&connection("t", &accepter, pty.path(), &[]));
        let mut client = Client::connect(port);
        broker.wait_device("t", true);
        assert_eq!(client.during(Duration::from_millis(200)), opening, "{options}");
        for (offer, answer) in [
            (b"\xff\xfd\x03", b"\xff\xfb\x03"),
            (b"\xff\xfb\x00", b"\xff\xfd\x00"),
            (b"\xff\xfd\x00", b"\xff\xfb\x00"),
            (b"\xff\xfd\x1f", b"\xff\xfc\x1f"),
            (b"\xff\xfb\x2c", b"\xff\xfe\x2c"),
        ] {
            client.send(offer);
            assert_eq!(client.receive(3), answer, "{options}: {offer:x?}, as recorded");
        }
        // speed 4800, which the far end has no business to ask for
        client.send(b"\xff\xfa\x2c\x01\x00\x00\x12\xc0\xff\xf0a\xff\xffb");
        assert_eq!(pty.read(3), b"a\xffb");
        assert_eq!(pty.termios().output_speed(), 115_200);
        pty.write(b"c\xffd");
        assert_eq!(client.receive(4), b"c\xff\xffd");
    }
}

#[test]
fn a_program_sees_the_size_of_the_clients_window() {
    let port = free_port();
    let script = "stty -echo; while read line; do stty size; done";
    let broker = Broker::start(&format!(
        "connection: &w\n  accepter: telnet(winsize),tcp,127.0.0.1,{port}\n  \
         connector: 'pty,/bin/sh -c \"{script}\"'\n"
    ));
    let mut client = Client::connect(port);
    let opening = client.receive(21);
    assert!(opening.ends_with(b"\xff\xfd\x1f"), "as recorded from ser2net 4.6.7: {opening:x?}");
    broker.wait_device("w", true);
    client.send(b"\xff\xfb\x1f");
    for (columns, rows) in [(132_u8, 50_u8), (40, 12)] {
        client.send(&[0xff, 0xfa, 0x1f, 0, columns, 0, rows, 0xff, 0xf0]);
        client.send(b"\n");
        let want = format!("{rows} {columns}\r\n");
        let got = client.receive_until(want.as_bytes());
        assert!(String::from_utf8_lossy(&got).ends_with(&want));
    }
}
