//! What must hold for every input whatever, for fuzzing and property tests.

use super::{ClientCodec, Codec, Heard, Item, code};
use crate::config::TelnetOptions;
use crate::serial::request::Request;

/// An [`Item`] that no longer depends on how the input was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Data, joined as far as it goes.
    Data(Vec<u8>),
    /// DTR and RTS set without anything between: the last value of each, `None` if not set.
    Lines(Option<bool>, Option<bool>),
    /// Any other request.
    Request(Request),
    /// See [`Item::ComPort`].
    ComPort(bool),
    /// See [`Item::Window`].
    Window(u16, u16),
    /// See [`Item::DataMark`].
    DataMark,
}

/// Feeds `chunks` to a new codec. The events, and the bytes the codec answered by itself.
pub fn decode<'a>(rfc2217: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>) {
    let mut codec = Codec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() });
    codec.opening(&mut Vec::new());
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for mut chunk in chunks {
        while let Some(item) = codec.next(&mut chunk, &mut out) {
            record(item, &mut events);
        }
    }
    (events, out)
}

/// Checks one input; the first byte chooses the options, the second how it is cut. `Err` tells what
/// did not hold.
pub fn check(input: &[u8]) -> Result<(), &'static str> {
    let [kind, cut, stream @ ..] = input else {
        return Ok(());
    };
    let rfc2217 = kind & 1 == 1;
    let (whole, answers) = decode(rfc2217, [stream]);
    if answers.len() > stream.len() {
        return Err("more bytes answered than received");
    }
    let chunks = stream.chunks(1 + usize::from(*cut % 9));
    if decode(rfc2217, chunks) != (whole, answers) {
        return Err("the result depends on how the input is cut");
    }
    // Whatever came before, two ends of a subnegotiation lead back to data: the first may be eaten
    // by a command that lacked its last byte.
    let end = [code::SE, code::IAC, code::SE, code::IAC, code::SE, b'!'];
    let (events, _) = decode(rfc2217, [stream, &end]);
    if !matches!(events.last(), Some(Event::Data(data)) if data.last() == Some(&b'!')) {
        return Err("data is no longer found");
    }
    let codec = Codec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() });
    let mut escaped = Vec::new();
    codec.encode(stream, &mut escaped);
    let (events, answers) = decode(rfc2217, escaped.chunks(1 + usize::from(*cut)));
    let same = match &events[..] {
        [] => stream.is_empty(),
        [Event::Data(data)] => data == stream,
        _ => false,
    };
    if !same || !answers.is_empty() {
        return Err("encoded data does not decode to itself");
    }
    Ok(())
}

/// Checks one input for the client's end, as [`check`] does for the server's.
pub fn check_client(input: &[u8]) -> Result<(), &'static str> {
    let [kind, cut, stream @ ..] = input else {
        return Ok(());
    };
    let rfc2217 = kind & 1 == 1;
    let (whole, answers) = hear(rfc2217, [stream]);
    // every command has three bytes at least, and is answered by one of the same length, or once
    // in three bytes by both masks
    if answers.len() > stream.len() / 3 * MASKS.max(3) {
        return Err("too much is answered");
    }
    let chunks = stream.chunks(1 + usize::from(*cut % 9));
    if hear(rfc2217, chunks) != (whole, answers) {
        return Err("the result depends on how the input is cut");
    }
    let mut escaped = Vec::new();
    ClientCodec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() }).encode(stream, &mut escaped);
    let (events, answers) = hear(rfc2217, escaped.chunks(1 + usize::from(*cut)));
    let same = match &events[..] {
        [] => stream.is_empty(),
        [ClientEvent::Data(data)] => data == stream,
        _ => false,
    };
    if !same || !answers.is_empty() {
        return Err("encoded data does not decode to itself");
    }
    Ok(())
}

/// Bytes of both masks that a client sends when the server agrees, IAC doubled, with an answer.
const MASKS: usize = 8 + 7 + 3;

/// Feeds `chunks` to a new client codec. What it heard, data joined, and what it answered.
fn hear<'a>(rfc2217: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ClientEvent>, Vec<u8>) {
    let mut codec = ClientCodec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() });
    codec.opening(&mut Vec::new());
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for mut chunk in chunks {
        while let Some(heard) = codec.next(&mut chunk, &mut out) {
            let other = match (heard, events.last_mut()) {
                (Heard::Data(run), Some(ClientEvent::Data(data))) => {
                    data.extend_from_slice(run);
                    continue;
                }
                (Heard::Data(run), _) => ClientEvent::Data(run.to_vec()),
                (Heard::ComPort(on), _) => ClientEvent::Other(Heard::ComPort(on)),
                (Heard::Reply(reply), _) => ClientEvent::Other(Heard::Reply(reply)),
                (Heard::Notice(notice), _) => ClientEvent::Other(Heard::Notice(notice)),
                (Heard::Suspend(on), _) => ClientEvent::Other(Heard::Suspend(on)),
            };
            events.push(other);
        }
    }
    (events, out)
}

/// A [`Heard`] that no longer depends on how the input was cut.
#[derive(Debug, PartialEq, Eq)]
enum ClientEvent {
    /// Data, joined as far as it goes.
    Data(Vec<u8>),
    Other(Heard<'static>),
}

fn record(item: Item<'_>, events: &mut Vec<Event>) {
    let mut lines = |dtr: Option<bool>, rts: Option<bool>| match events.last_mut() {
        Some(Event::Lines(old_dtr, old_rts)) => {
            *old_dtr = dtr.or(*old_dtr);
            *old_rts = rts.or(*old_rts);
        }
        _ => events.push(Event::Lines(dtr, rts)),
    };
    match item {
        Item::Request(Request::Dtr(Some(dtr))) => lines(Some(dtr), None),
        Item::Request(Request::Rts(Some(rts))) => lines(None, Some(rts)),
        Item::Request(Request::DtrRts(dtr, rts) | Request::RtsDtr(rts, dtr)) => lines(Some(dtr), Some(rts)),
        Item::Request(request) => events.push(Event::Request(request)),
        Item::ComPort(on) => events.push(Event::ComPort(on)),
        Item::Window(columns, rows) => events.push(Event::Window(columns, rows)),
        Item::DataMark => events.push(Event::DataMark),
        Item::Data(run) => match events.last_mut() {
            Some(Event::Data(data)) => data.extend_from_slice(run),
            _ => events.push(Event::Data(run.to_vec())),
        },
    }
}
