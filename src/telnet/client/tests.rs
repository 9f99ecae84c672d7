//! The client's end alone, against our own server's end, and against anything at all.

use super::*;
use crate::serial::request::Purge;
use crate::serial::settings::{Flow, Parity};
use crate::telnet::{Codec, Item};
use proptest::prelude::*;

fn codec(rfc2217: bool) -> ClientCodec {
    ClientCodec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() })
}

/// Feeds the codec; what it heard, data joined, and what it answered.
fn feed(codec: &mut ClientCodec, mut input: &[u8]) -> (Vec<Heard<'static>>, Vec<u8>, Vec<u8>) {
    let (mut heard, mut data, mut out) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(item) = codec.next(&mut input, &mut out) {
        match item {
            Heard::Data(run) => data.extend_from_slice(run),
            Heard::ComPort(on) => heard.push(Heard::ComPort(on)),
            Heard::Reply(reply) => heard.push(Heard::Reply(reply)),
            Heard::Notice(notice) => heard.push(Heard::Notice(notice)),
            Heard::Suspend(on) => heard.push(Heard::Suspend(on)),
        }
    }
    (heard, data, out)
}

const AGREE: &[u8] = b"\xff\xfd\x2c";

#[test]
fn it_asks_first_and_settles_when_the_server_agrees() {
    let mut codec = codec(true);
    let mut out = Vec::new();
    codec.opening(&mut out);
    assert_eq!(out, b"\xff\xfd\x03\xff\xfb\x00\xff\xfd\x00\xff\xfb\x2c");
    assert_eq!(codec.agreed(), None);
    assert!(!codec.request(&Request::Baud(Some(9600)), &mut out));
    let (heard, data, out) = feed(&mut codec, AGREE);
    assert_eq!((heard, data), (vec![Heard::ComPort(true)], vec![]));
    // the masks: all modem states, and line errors
    assert_eq!(out, b"\xff\xfa\x2c\x0b\xff\xff\xff\xf0\xff\xfa\x2c\x0a\x1e\xff\xf0");
    assert_eq!(codec.agreed(), Some(true));
}

#[test]
fn a_refusal_is_heard_and_nothing_is_asked_then() {
    let mut refused = codec(true);
    assert_eq!(feed(&mut refused, b"\xff\xfe\x2c").0, [Heard::ComPort(false)]);
    let mut out = Vec::new();
    assert!(!refused.request(&Request::Baud(Some(9600)), &mut out) && out.is_empty());
    // a break is plain telnet
    assert!(refused.request(&Request::SendBreak(super::super::TELNET_BREAK), &mut out));
    assert_eq!(out, b"\xff\xf3");
    let mut late = codec(true);
    late.give_up();
    assert_eq!(late.agreed(), Some(false));
    assert_eq!(feed(&mut late, AGREE).0, [Heard::ComPort(true)]);
    assert_eq!(late.agreed(), Some(true));
    assert_eq!(feed(&mut codec(false), AGREE), (vec![], vec![], b"\xff\xfc\x2c".to_vec()));
}

#[test]
fn echo_and_binary_of_a_server_are_agreed_to() {
    // as ser2net opens a session
    let opening = b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2c";
    let mut codec = codec(false);
    codec.opening(&mut Vec::new());
    let (heard, data, out) = feed(&mut codec, opening);
    assert_eq!((heard, data), (vec![], vec![]));
    assert_eq!(out, b"\xff\xfb\x03\xff\xfd\x01\xff\xfc\x2c");
}

#[test]
fn what_a_server_says_of_its_line() {
    let mut codec = codec(true);
    feed(&mut codec, AGREE);
    let mut say = |body: &[u8]| {
        let bytes = [b"\xff\xfa\x2c", body, b"\xff\xf0"].concat();
        feed(&mut codec, &bytes).0
    };
    assert_eq!(say(b"\x65\x00\x00\x25\x80"), [Heard::Reply(Reply::Baud(9600))]);
    assert_eq!(say(b"\x66\x07"), [Heard::Reply(Reply::Size(7))]);
    assert_eq!(say(b"\x67\x03"), [Heard::Reply(Reply::Parity(Parity::Even))]);
    assert_eq!(say(b"\x69\x03"), [Heard::Reply(Reply::Flow(Flow { xonxoff: false, rtscts: true }))]);
    assert_eq!(say(b"\x69\x09"), [Heard::Reply(Reply::Dtr(false))]);
    assert_eq!(say(b"\x6b\xb3"), [Heard::Notice(Notice::Modem(0xb3))]);
    assert_eq!(say(b"\x6a\x10"), [Heard::Notice(Notice::Line(0x10))]);
    assert_eq!(say(b"\x6c"), [Heard::Suspend(true)]);
    assert_eq!(say(b"\x6d"), [Heard::Suspend(false)]);
    assert_eq!(say(b"\x70\x03"), [Heard::Reply(Reply::Purge(Purge::Both))]);
    for nonsense in
        [&b""[..], b"\x65", b"\x65\x01\x02", b"\x66\x09", b"\x69\x13", b"\x01\x00", b"\x64x", b"\xff\xff"]
    {
        assert_eq!(say(nonsense), [], "{nonsense:?}");
    }
}

#[test]
fn requests_of_a_client_arrive_as_they_were_made() {
    let mut server = Codec::new(TelnetOptions { rfc2217: true, ..TelnetOptions::default() });
    let mut client = codec(true);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    client.opening(&mut up);
    server.opening(&mut down);
    let mut received = Vec::new();
    let mut wishes = vec![
        Request::Baud(Some(115_200)),
        Request::Baud(None),
        Request::Size(Some(7)),
        Request::Parity(Some(Parity::Mark)),
        Request::Stop(Some(2)),
        Request::Flow(Some(Flow { xonxoff: true, rtscts: false })),
        Request::InboundFlow(None),
        Request::Break(Some(true)),
        Request::Dtr(None),
        Request::DtrRts(false, true),
        Request::Rts(Some(false)),
        Request::Purge(Purge::Transmit),
    ];
    let expected = wishes.clone();
    for _ in 0..6 {
        let (_, data, out) = feed(&mut client, &std::mem::take(&mut down));
        assert!(data.is_empty());
        up.extend(out);
        if client.agreed() == Some(true) {
            for wish in std::mem::take(&mut wishes) {
                assert!(client.request(&wish, &mut up), "{wish:?}");
            }
        }
        let bytes = std::mem::take(&mut up);
        let mut input = &bytes[..];
        while let Some(item) = server.next(&mut input, &mut down) {
            match item {
                Item::Request(Request::PollModem | Request::ModemMask(_) | Request::LineMask(_))
                | Item::ComPort(_) => {}
                Item::Request(request) => received.push(request),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(up.is_empty() && down.is_empty(), "they still talk: {up:?} {down:?}");
    assert_eq!(received, expected);
}

proptest! {
    #[test]
    fn what_must_hold_for_every_input_holds(kind in 0..2_u8, cut: u8, bytes in super::super::properties::stream()) {
        let mut input = vec![kind, cut];
        input.extend(bytes);
        prop_assert_eq!(crate::telnet::exercise::check_client(&input), Ok(()));
    }
}
