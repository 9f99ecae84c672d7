//! The codec against bytes recorded from ser2net 4.3.11, one test per command or rule.

use super::{Codec, Item, SUBNEGOTIATION_MAX, TELNET_BREAK};
use crate::config::TelnetOptions;
use crate::serial::request::{Notice, Purge, Reply, Request};
use crate::serial::settings::{Flow, Parity};

const NONE: Flow = Flow { xonxoff: false, rtscts: false };
const XONXOFF: Flow = Flow { xonxoff: true, rtscts: false };
const RTSCTS: Flow = Flow { xonxoff: false, rtscts: true };

/// A codec after its opening.
pub(super) fn codec(rfc2217: bool) -> Codec {
    let mut codec = Codec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() });
    codec.opening(&mut Vec::new());
    codec
}

/// All items of `input` (data joined), and the codec's own answers.
fn feed(codec: &mut Codec, mut input: &[u8]) -> (Vec<u8>, Vec<Item<'static>>, Vec<u8>) {
    let (mut data, mut items, mut out) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(item) = codec.next(&mut input, &mut out) {
        match item {
            Item::Data(run) => data.extend_from_slice(run),
            Item::Request(request) => items.push(Item::Request(request)),
            Item::ComPort(on) => items.push(Item::ComPort(on)),
            Item::Window(columns, rows) => items.push(Item::Window(columns, rows)),
            Item::DataMark => items.push(Item::DataMark),
        }
    }
    assert!(input.is_empty());
    (data, items, out)
}

/// The requests in the COM-PORT subnegotiation of `body`.
fn requests(codec: &mut Codec, body: &[u8]) -> Vec<Request> {
    let mut bytes = vec![255, 250, 44];
    super::escape::append(body, &mut bytes);
    bytes.extend([255, 240]);
    let (data, items, out) = feed(codec, &bytes);
    assert!(data.is_empty() && out.is_empty());
    let request = |item| match item {
        Item::Request(request) => request,
        other => panic!("{other:?}"),
    };
    items.into_iter().map(request).collect()
}

fn reply(codec: &mut Codec, reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    codec.reply(reply, &mut out);
    out
}

fn notice(codec: &mut Codec, state: Notice, forced: bool) -> Vec<u8> {
    let mut out = Vec::new();
    codec.notice(state, forced, &mut out);
    out
}

#[test]
fn the_opening_is_the_recorded_one() {
    let plain = b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00";
    let mut out = Vec::new();
    Codec::new(TelnetOptions { rfc2217: false, ..TelnetOptions::default() }).opening(&mut out);
    assert_eq!(out, plain);
    out.clear();
    Codec::new(TelnetOptions { rfc2217: true, ..TelnetOptions::default() }).opening(&mut out);
    assert_eq!(out, [&plain[..], b"\xff\xfd\x2c"].concat());
}

#[test]
fn a_client_that_agrees_to_everything_hears_what_ser2net_says() {
    let mut codec = codec(true);
    assert!(!codec.negotiated());
    let (_, items, out) = feed(
        &mut codec,
        b"\xff\xfd\x03\xff\xfb\x03\xff\xfd\x01\xff\xfc\x01\xff\xfb\x00\xff\xfd\x00\xff\xfb\x2c",
    );
    assert_eq!(out, b"\xff\xfd\x03");
    assert_eq!(items, [Item::ComPort(true), Item::Request(Request::PollModem)]);
    assert!(codec.agreed() && codec.negotiated());
    assert_eq!(notice(&mut codec, Notice::Modem(0), true), b"\xff\xfa\x2c\x6b\x00\xff\xf0");
}

/// What pyserial does when the server's DO comes before it has sent its WILL.
#[test]
fn a_client_that_uses_com_port_has_agreed_to_it_and_hears_the_modem_state_once() {
    let purge = b"\xff\xfa\x2c\x0c\x01\xff\xf0";
    let mut client = codec(true);
    let (_, items, out) = feed(&mut client, &[&b"\xff\xfd\x2c"[..], purge].concat());
    assert_eq!(out, b"\xff\xfc\x2c");
    assert_eq!(items, [Item::Request(Request::PollModem), Item::Request(Request::Purge(Purge::Receive))]);
    assert!(client.agreed());
    assert_eq!(feed(&mut client, purge).1, [Item::Request(Request::Purge(Purge::Receive))]);
    assert_eq!(feed(&mut client, b"\xff\xfb\x2c").1, []);
    // not one that has refused or never spoke of it, not by nonsense, not where there is no such protocol
    let mut silent = codec(true);
    assert_eq!(feed(&mut silent, purge).1, [Item::Request(Request::Purge(Purge::Receive))]);
    let mut refusing = codec(true);
    feed(&mut refusing, b"\xff\xfd\x2c\xff\xfc\x2c");
    feed(&mut refusing, purge);
    let mut confused = codec(true);
    feed(
        &mut confused,
        b"\xff\xfd\x2c\xff\xfa\x2c\x63\x01\xff\xf0\xff\xfa\x2c\x0c\xff\xf0\xff\xfa\x18\x0c\x01\xff\xf0",
    );
    let mut plain = codec(false);
    feed(&mut plain, &[&b"\xff\xfd\x2c"[..], purge].concat());
    assert!(!silent.agreed() && !refusing.agreed() && !confused.agreed() && !plain.agreed());
}

#[test]
fn requests_for_other_options_are_refused_each_time_up_to_a_bound() {
    let mut codec = codec(true);
    for _ in 0..8 {
        assert_eq!(feed(&mut codec, b"\xff\xfb\x18").2, b"\xff\xfe\x18");
        assert_eq!(feed(&mut codec, b"\xff\xfd\x2c").2, b"\xff\xfc\x2c");
        assert_eq!(feed(&mut codec, b"\xff\xfb\xff").2, b"\xff\xfe\xff");
        assert_eq!(feed(&mut codec, b"\xff\xfe\x18\xff\xfc\x18").2, b"");
    }
    assert_eq!(feed(&mut codec, b"\xff\xfb\x18\xff\xfd\x2c\xff\xfb\xff").2, b"");
    assert_eq!(feed(&mut codec, b"\xff\xfd\x18").2, b"\xff\xfc\x18");
}

#[test]
fn refusals_of_the_client_are_acknowledged_as_recorded() {
    for (rfc2217, verb, first) in [
        (true, b"\xff\xfe\x2c", &b"\xff\xfc\x2c"[..]),
        (false, b"\xff\xfe\x2c", b"\xff\xfc\x2c"),
        (false, b"\xff\xfc\x2c", b"\xff\xfe\x2c"),
        (true, b"\xff\xfc\x2c", b""),
        (true, b"\xff\xfe\x01", b""),
        (false, b"\xff\xfc\x03", b""),
    ] {
        let mut codec = codec(rfc2217);
        assert_eq!(feed(&mut codec, verb).2, first);
        assert_eq!(feed(&mut codec, verb).2, b"");
    }
}

#[test]
fn an_option_can_be_switched_off_and_on_again() {
    let mut codec = codec(true);
    assert_eq!(feed(&mut codec, b"\xff\xfb\x2c").2, b"");
    let (_, items, out) = feed(&mut codec, b"\xff\xfc\x2c");
    assert_eq!((&items[..], &out[..]), (&[Item::ComPort(false)][..], &b"\xff\xfe\x2c"[..]));
    assert!(!codec.agreed());
    assert_eq!(notice(&mut codec, Notice::Modem(0x11), false), b"");
    // RFC 1143: in state NO a WILL that is agreed to is answered by DO.
    let (_, items, out) = feed(&mut codec, b"\xff\xfb\x2c");
    assert_eq!(out, b"\xff\xfd\x2c");
    assert_eq!(items[0], Item::ComPort(true));
    assert_eq!(feed(&mut codec, b"\xff\xfd\x00\xff\xfe\x00\xff\xfd\x00").2, b"\xff\xfc\x00\xff\xfb\x00");
}

#[test]
fn data_around_commands_passes_in_borrowed_runs() {
    let input = b"a\xff\xf1b\xff\xfb\x03c\xff\xf6d\xff\xffe";
    let mut rest = &input[..];
    let (mut runs, mut out, mut codec) = (Vec::new(), Vec::new(), codec(true));
    while let Some(Item::Data(run)) = codec.next(&mut rest, &mut out) {
        assert!(input.as_ptr_range().contains(&run.as_ptr()));
        runs.push(run);
    }
    assert_eq!(runs, [&b"a"[..], b"b", b"c", b"d", b"\xffe"]);
    assert_eq!(out, b"\xff\xfd\x03");
}

#[test]
fn line_ends_and_doubled_iacs_are_recorded_ones_even_when_cut() {
    let mut codec = codec(true);
    let text = b"a\r\0b\r\nc\rd\ne";
    assert_eq!(feed(&mut codec, text).0, text);
    feed(&mut codec, b"\xff\xfc\x00\xff\xfe\x00");
    assert_eq!(feed(&mut codec, text).0, text);
    assert_eq!(feed(&mut codec, b"a\xff").0, b"a");
    assert_eq!(feed(&mut codec, b"\xffb").0, b"\xffb");
    assert_eq!(feed(&mut codec, b"a\xff\xffb\xff\xff\xff\xffc").0, b"a\xffb\xff\xffc");
}

#[test]
fn other_commands_vanish_with_their_one_byte() {
    for byte in (0..=249).filter(|byte| ![242, 243].contains(byte)) {
        assert_eq!(feed(&mut codec(true), &[b'a', 255, byte, b'b']), (b"ab".to_vec(), vec![], vec![]));
    }
}

#[test]
fn break_and_data_mark_are_told() {
    let (data, items, _) = feed(&mut codec(false), b"a\xff\xf3b\xff\xf2c");
    assert_eq!(data, b"abc");
    assert_eq!(items, [Item::Request(Request::SendBreak(TELNET_BREAK)), Item::DataMark]);
}

#[test]
fn signature_is_asked_and_told() {
    let mut codec = codec(true);
    assert_eq!(requests(&mut codec, &[0]), [Request::Signature]);
    let told = Request::ClientSignature(b"a\xffb".to_vec());
    assert_eq!(requests(&mut codec, b"\0a\xffb"), [told, Request::Signature]);
    let answer = reply(&mut codec, &Reply::Signature(b"ser2net".to_vec()));
    assert_eq!(answer, b"\xff\xfa\x2c\x64ser2net\xff\xf0");
}

#[test]
fn baud_rates_have_four_bytes_and_are_escaped() {
    let mut codec = codec(true);
    assert_eq!(requests(&mut codec, &[1, 0, 0, 0x4b, 0]), [Request::Baud(Some(19_200))]);
    assert_eq!(requests(&mut codec, &[1, 0, 0, 0, 0]), [Request::Baud(None)]);
    assert_eq!(requests(&mut codec, &[1, 0, 0, 0x12, 0xc0, 0]), [Request::Baud(Some(4800))]);
    assert_eq!(reply(&mut codec, &Reply::Baud(19_200)), b"\xff\xfa\x2c\x65\x00\x00\x4b\x00\xff\xf0");
    assert_eq!(reply(&mut codec, &Reply::Baud(65_280)), b"\xff\xfa\x2c\x65\x00\x00\xff\xff\x00\xff\xf0");
    // Cut between the two IACs of a doubled one.
    assert_eq!(feed(&mut codec, b"\xff\xfa\x2c\x01\x00\x00\xff").1, []);
    assert_eq!(feed(&mut codec, b"\xff\x00\xff\xf0").1, [Item::Request(Request::Baud(Some(65_280)))]);
}

#[test]
fn the_short_form_of_baud_rates_is_remembered() {
    let mut codec = codec(true);
    assert_eq!(requests(&mut codec, &[1, 7]), [Request::Baud(Some(4800))]);
    assert_eq!(reply(&mut codec, &Reply::Baud(4800)), b"\xff\xfa\x2c\x65\x07\xff\xf0");
    for unknown in [0, 1, 2, 9, 11, 16, 255] {
        assert_eq!(requests(&mut codec, &[1, unknown]), [Request::Baud(None)]);
    }
    assert_eq!(requests(&mut codec, &[1, 0, 0]), [Request::Baud(None)]);
    assert_eq!(requests(&mut codec, &[1, 0, 1, 0xc2, 0]), [Request::Baud(Some(115_200))]);
    assert_eq!(reply(&mut codec, &Reply::Baud(115_200)), b"\xff\xfa\x2c\x65\x0e\xff\xf0");
    assert_eq!(reply(&mut codec, &Reply::Baud(74_880)), b"\xff\xfa\x2c\x65\x00\xff\xf0");
}

#[test]
fn size_parity_and_stop_bits_are_set_asked_and_defended() {
    let mut codec = codec(true);
    assert_eq!(requests(&mut codec, &[2, 5, 6]), [Request::Size(Some(5))]);
    for bad in [0, 4, 9, 255] {
        assert_eq!(requests(&mut codec, &[2, bad]), [Request::Size(None)]);
    }
    let parities = [Parity::None, Parity::Odd, Parity::Even, Parity::Mark, Parity::Space];
    for (value, parity) in (1..).zip(parities) {
        assert_eq!(requests(&mut codec, &[3, value]), [Request::Parity(Some(parity))]);
        assert_eq!(reply(&mut codec, &Reply::Parity(parity)), [255, 250, 44, 103, value, 255, 240]);
    }
    assert_eq!(requests(&mut codec, &[3, 6]), [Request::Parity(None)]);
    assert_eq!(requests(&mut codec, &[4, 2]), [Request::Stop(Some(2))]);
    assert_eq!(requests(&mut codec, &[4, 3]), [Request::Stop(None)]);
    assert_eq!(reply(&mut codec, &Reply::Size(8)), b"\xff\xfa\x2c\x66\x08\xff\xf0");
    assert_eq!(reply(&mut codec, &Reply::Stop(1)), b"\xff\xfa\x2c\x68\x01\xff\xf0");
}

#[test]
fn every_control_value_becomes_a_request_and_every_reply_a_value() {
    let mut codec = codec(true);
    let expected = [
        (0, Request::Flow(None)),
        (1, Request::Flow(Some(NONE))),
        (2, Request::Flow(Some(XONXOFF))),
        (3, Request::Flow(Some(RTSCTS))),
        (4, Request::Break(None)),
        (5, Request::Break(Some(true))),
        (6, Request::Break(Some(false))),
        (7, Request::Dtr(None)),
        (8, Request::Dtr(Some(true))),
        (9, Request::Dtr(Some(false))),
        (10, Request::Rts(None)),
        (11, Request::Rts(Some(true))),
        (12, Request::Rts(Some(false))),
        (13, Request::InboundFlow(None)),
        (14, Request::InboundFlow(Some(NONE))),
        (15, Request::InboundFlow(Some(XONXOFF))),
        (16, Request::InboundFlow(Some(RTSCTS))),
        (17, Request::Flow(None)),
        (18, Request::InboundFlow(None)),
        (19, Request::Flow(None)),
        (20, Request::Flow(None)),
        (255, Request::Flow(None)),
    ];
    for (value, request) in expected {
        assert_eq!(requests(&mut codec, &[5, value]), [request]);
    }
    for (answer, value) in [
        (Reply::Flow(NONE), 1),
        (Reply::Flow(XONXOFF), 2),
        (Reply::Flow(RTSCTS), 3),
        (Reply::Break(true), 5),
        (Reply::Break(false), 6),
        (Reply::Dtr(true), 8),
        (Reply::Dtr(false), 9),
        (Reply::Rts(true), 11),
        (Reply::Rts(false), 12),
        (Reply::InboundFlow(NONE), 14),
        (Reply::InboundFlow(XONXOFF), 15),
        (Reply::InboundFlow(RTSCTS), 16),
    ] {
        assert_eq!(reply(&mut codec, &answer), [255, 250, 44, 105, value, 255, 240]);
    }
}

#[test]
fn adjacent_dtr_and_rts_become_one_request() {
    let mut codec = codec(true);
    let pulse = b"\xff\xfa\x2c\x05\x0b\xff\xf0\xff\xfa\x2c\x05\x09\xff\xf0";
    assert_eq!(feed(&mut codec, pulse).1, [Item::Request(Request::RtsDtr(true, false))]);
    let pulse = b"\xff\xfa\x2c\x05\x08\xff\xf0\xff\xfa\x2c\x05\x0c\xff\xf0";
    assert_eq!(feed(&mut codec, pulse).1, [Item::Request(Request::DtrRts(true, false))]);
    let apart = b"\xff\xfa\x2c\x05\x08\xff\xf0-\xff\xfa\x2c\x05\x0c\xff\xf0";
    assert_eq!(feed(&mut codec, apart).1.len(), 2);
    let same_line = b"\xff\xfa\x2c\x05\x08\xff\xf0\xff\xfa\x2c\x05\x09\xff\xf0";
    assert_eq!(feed(&mut codec, same_line).1.len(), 2);
    let query = b"\xff\xfa\x2c\x05\x08\xff\xf0\xff\xfa\x2c\x05\x0a\xff\xf0";
    assert_eq!(
        feed(&mut codec, query).1,
        [Item::Request(Request::Dtr(Some(true))), Item::Request(Request::Rts(None))]
    );
}

#[test]
fn polls_suspension_and_purge_become_requests() {
    let mut codec = codec(true);
    assert_eq!(requests(&mut codec, &[6]), [Request::PollLine]);
    assert_eq!(requests(&mut codec, &[7, 255]), [Request::PollModem]);
    assert_eq!(requests(&mut codec, &[8]), [Request::Suspend(true), Request::Flow(None)]);
    assert_eq!(requests(&mut codec, &[9]), [Request::Suspend(false), Request::Flow(None)]);
    for (value, purge) in [(1, Purge::Receive), (2, Purge::Transmit), (3, Purge::Both)] {
        assert_eq!(requests(&mut codec, &[12, value]), [Request::Purge(purge)]);
        assert_eq!(reply(&mut codec, &Reply::Purge(purge)), [255, 250, 44, 112, value, 255, 240]);
    }
    let (_, items, out) = feed(&mut codec, b"\xff\xfa\x2c\x0c\xff\xff\xff\xf0");
    assert_eq!((&items[..], &out[..]), (&[][..], &b"\xff\xfa\x2c\x70\xff\xff\xff\xf0"[..]));
}

#[test]
fn masks_select_what_is_told_unasked() {
    let mut codec = codec(true);
    feed(&mut codec, b"\xff\xfb\x2c");
    assert_eq!(notice(&mut codec, Notice::Modem(0xbb), false), b"\xff\xfa\x2c\x6b\xbb\xff\xf0");
    assert_eq!(notice(&mut codec, Notice::Line(0x10), false), b"");
    assert_eq!(requests(&mut codec, &[11, 0x0f]), [Request::ModemMask(0x0f), Request::PollModem]);
    assert_eq!(notice(&mut codec, Notice::Modem(0x11), false), b"\xff\xfa\x2c\x6b\x01\xff\xf0");
    requests(&mut codec, &[11, 0x80]);
    assert_eq!(notice(&mut codec, Notice::Modem(0x88), false), b"");
    assert_eq!(notice(&mut codec, Notice::Modem(0x88), true), b"\xff\xfa\x2c\x6b\x88\xff\xf0");
    assert_eq!(requests(&mut codec, &[10, 0x10]), [Request::LineMask(0x10)]);
    assert_eq!(notice(&mut codec, Notice::Line(0x1a), false), b"\xff\xfa\x2c\x6a\x10\xff\xf0");
    assert_eq!(notice(&mut codec, Notice::Line(0x02), false), b"");
    assert_eq!(reply(&mut codec, &Reply::LineMask(0x10)), b"\xff\xfa\x2c\x6e\x10\xff\xf0");
    assert_eq!(reply(&mut codec, &Reply::ModemMask(255)), b"\xff\xfa\x2c\x6f\xff\xff\xff\xf0");
}

#[test]
fn a_plain_telnet_port_obeys_in_silence() {
    let mut codec = codec(false);
    assert_eq!(requests(&mut codec, &[1, 0, 0, 0x12, 0xc0]), [Request::Baud(Some(4800))]);
    assert_eq!(reply(&mut codec, &Reply::Baud(4800)), b"");
    assert_eq!(notice(&mut codec, Notice::Modem(0x11), true), b"");
    assert_eq!(feed(&mut codec, b"\xff\xfa\x2c\x0c\x09\xff\xf0").2, b"");
}

#[test]
fn a_client_that_refused_com_port_is_answered_but_not_informed() {
    let mut codec = codec(true);
    feed(&mut codec, b"\xff\xfc\x2c");
    assert_eq!(requests(&mut codec, &[1, 0, 0, 0x12, 0xc0]), [Request::Baud(Some(4800))]);
    assert_eq!(reply(&mut codec, &Reply::Baud(4800)), b"\xff\xfa\x2c\x65\x00\x00\x12\xc0\xff\xf0");
    let mut out = Vec::new();
    codec.inform(&Reply::Baud(9600), &mut out);
    assert_eq!(out, b"");
    feed(&mut codec, b"\xff\xfb\x2c");
    codec.inform(&Reply::Baud(9600), &mut out);
    assert_eq!(out, b"\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0");
}

#[test]
fn bad_subnegotiations_are_dropped_and_counted() {
    let mut codec = codec(true);
    for (dropped, bad) in (1..).zip([
        &b"\xff\xfa\xff\xf0"[..],
        b"\xff\xfa\x2c\xff\xf0",
        b"\xff\xfa\x2c\x01\xff\xf0",
        b"\xff\xfa\x2c\x0c\xff\xf0",
        b"\xff\xfa\x2c\x01\x00\xff\xfb\x03ax\xff\xf0",
        &[&b"\xff\xfa\x2c\x02"[..], &[8; 5000], b"\xff\xf0"].concat(),
    ]) {
        assert_eq!(feed(&mut codec, &[bad, b"b"].concat()), (b"b".to_vec(), vec![], vec![]));
        assert_eq!(codec.dropped(), dropped);
    }
    // Other options and commands are no mistakes, only of no interest.
    feed(
        &mut codec,
        b"\xff\xfa\x1f\x00P\x00\x18\xff\xf0\xff\xfa\x2c\x63\x01\xff\xf0\xff\xfa\x2c\x0d\xff\xf0",
    );
    assert_eq!(codec.dropped(), 6);
}

#[test]
fn an_overlong_signature_is_cut() {
    let mut codec = codec(true);
    let long = [&[0][..], &[b's'; 5000]].concat();
    let told = Request::ClientSignature(vec![b's'; SUBNEGOTIATION_MAX - 2]);
    assert_eq!(requests(&mut codec, &long), [told, Request::Signature]);
    assert_eq!(codec.dropped(), 1);
}

#[test]
fn the_clients_end_in_an_accepter_waits_to_be_asked_as_recorded() {
    for (rfc2217, opening) in [(false, &b""[..]), (true, b"\xff\xfb\x2c")] {
        let mut codec = Codec::new(TelnetOptions { rfc2217, client: true, winsize: false });
        let mut out = Vec::new();
        codec.opening(&mut out);
        assert_eq!(out, opening);
        for (input, answer) in [
            (b"\xff\xfd\x03", &b"\xff\xfb\x03"[..]),
            (b"\xff\xfb\x00", b"\xff\xfd\x00"),
            (b"\xff\xfd\x00", b"\xff\xfb\x00"),
            (b"\xff\xfb\x2c", b"\xff\xfe\x2c"),
            (b"\xff\xfd\x2c", if rfc2217 { b"" } else { b"\xff\xfc\x2c" }),
            (b"\xff\xfd\x1f", b"\xff\xfc\x1f"),
            (b"\xff\xfb\x05", b"\xff\xfe\x05"),
            (b"\xff\xfe\x00", b"\xff\xfc\x00"),
        ] {
            assert_eq!(feed(&mut codec, input), (vec![], vec![], answer.to_vec()), "{input:x?}");
        }
        // nothing is obeyed: neither a setting of the line nor a break, nor is any of it data
        let orders = b"\xff\xfa\x2c\x01\x00\x00\x12\xc0\xff\xf0a\xff\xf3\xff\xffb";
        assert_eq!(feed(&mut codec, orders), (b"a\xffb".to_vec(), vec![], vec![]));
        assert!(!codec.agreed());
    }
}

#[test]
fn a_client_that_agrees_tells_the_size_of_its_window() {
    let mut codec = Codec::new(TelnetOptions { rfc2217: true, client: false, winsize: true });
    let mut out = Vec::new();
    codec.opening(&mut out);
    assert!(out.ends_with(b"\xff\xfd\x1f"), "as recorded from ser2net 4.6.7");
    let size = b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0";
    assert_eq!(feed(&mut codec, size).1, [], "not before it was agreed upon");
    assert_eq!(feed(&mut codec, b"\xff\xfb\x1f").2, b"");
    assert_eq!(feed(&mut codec, size).1, [Item::Window(80, 24)]);
    assert_eq!(
        feed(&mut codec, b"\xff\xfa\x1f\xff\xff\xff\xff\x00\x18\xff\xf0").1,
        [Item::Window(0xffff, 24)]
    );
    for broken in [&b"\xff\xfa\x1f\x00\x50\x00\xff\xf0"[..], b"\xff\xfa\x1f\x00\x50\x00\x18\x00\xff\xf0"] {
        assert_eq!(feed(&mut codec, broken), (vec![], vec![], vec![]));
    }
}
