//! COM-PORT subnegotiations (RFC 2217) of the client: bytes from requests, answers from bytes.

use super::client::Heard;
use super::comport::{ANSWER, command, flow_rank, parity_of, parity_value, write};
use crate::serial::request::{Notice, Purge, Reply, Request};
use crate::serial::settings::Flow;

/// Modem state bits that we want to be told of: all. Which of them a client of ours wants is
/// decided in its own session.
const MODEM_MASK: u8 = 0xff;
/// Line state bits that we want to be told of: break, framing, parity and overrun errors.
const LINE_MASK: u8 = 0x1e;

/// Appends what is said when the option was agreed upon.
pub(super) fn greet(out: &mut Vec<u8>) {
    write(&[command::MODEM_MASK, MODEM_MASK], out);
    write(&[command::LINE_MASK, LINE_MASK], out);
}

/// Appends the commands that a request stands for. False: it has none.
pub(super) fn ask(request: &Request, out: &mut Vec<u8>) -> bool {
    let control = |value: u8, out: &mut Vec<u8>| write(&[command::CONTROL, value], out);
    let dtr = |on: Option<bool>| on.map_or(7, |on| if on { 8 } else { 9 });
    let rts = |on: Option<bool>| on.map_or(10, |on| if on { 11 } else { 12 });
    match *request {
        Request::Baud(baud) => {
            let [a, b, c, d] = baud.unwrap_or(0).to_be_bytes();
            write(&[command::BAUD, a, b, c, d], out);
        }
        Request::Size(size) => write(&[command::SIZE, size.unwrap_or(0)], out),
        Request::Parity(parity) => write(&[command::PARITY, parity.map_or(0, parity_value)], out),
        Request::Stop(stop) => write(&[command::STOP, stop.unwrap_or(0)], out),
        Request::Flow(flow) => control(flow.map_or(0, |flow| 1 + flow_rank(flow)), out),
        Request::InboundFlow(flow) => control(flow.map_or(13, |flow| 14 + flow_rank(flow)), out),
        Request::Break(on) => control(on.map_or(4, |on| if on { 5 } else { 6 }), out),
        Request::Dtr(on) => control(dtr(on), out),
        Request::Rts(on) => control(rts(on), out),
        Request::DtrRts(first, second) => {
            control(dtr(Some(first)), out);
            control(rts(Some(second)), out);
        }
        Request::RtsDtr(first, second) => {
            control(rts(Some(first)), out);
            control(dtr(Some(second)), out);
        }
        Request::Purge(what) => {
            let value = match what {
                Purge::Receive => 1,
                Purge::Transmit => 2,
                Purge::Both => 3,
            };
            write(&[command::PURGE, value], out);
        }
        Request::Signature
        | Request::ClientSignature(_)
        | Request::SendBreak(_)
        | Request::Suspend(_)
        | Request::ModemMask(_)
        | Request::LineMask(_)
        | Request::PollModem
        | Request::PollLine => return false,
    }
    true
}

/// Reads a subnegotiation of the server, without its option code. `None`: nothing that matters.
pub(super) fn heard(body: &[u8]) -> Option<Heard<'static>> {
    let (&command, value) = body.split_first()?;
    match command.checked_sub(ANSWER)? {
        command::SUSPEND => return Some(Heard::Suspend(true)),
        command::RESUME => return Some(Heard::Suspend(false)),
        _ => {}
    }
    let &first = value.first()?;
    Some(Heard::Reply(match command - ANSWER {
        command::BAUD => Reply::Baud(u32::from_be_bytes(*value.first_chunk::<4>()?)),
        command::SIZE if (5..=8).contains(&first) => Reply::Size(first),
        command::PARITY => Reply::Parity(parity_of(first)?),
        command::STOP if (1..=2).contains(&first) => Reply::Stop(first),
        command::CONTROL => control(first)?,
        command::NOTIFY_LINE => return Some(Heard::Notice(Notice::Line(first))),
        command::NOTIFY_MODEM => return Some(Heard::Notice(Notice::Modem(first))),
        command::PURGE => Reply::Purge(match first {
            1 => Purge::Receive,
            2 => Purge::Transmit,
            3 => Purge::Both,
            _ => return None,
        }),
        _ => return None,
    }))
}

/// The answer to SET-CONTROL.
fn control(value: u8) -> Option<Reply> {
    const NONE: Flow = Flow { xonxoff: false, rtscts: false };
    const XONXOFF: Flow = Flow { xonxoff: true, rtscts: false };
    const RTSCTS: Flow = Flow { xonxoff: false, rtscts: true };
    Some(match value {
        1 => Reply::Flow(NONE),
        2 => Reply::Flow(XONXOFF),
        3 => Reply::Flow(RTSCTS),
        5 => Reply::Break(true),
        6 => Reply::Break(false),
        8 => Reply::Dtr(true),
        9 => Reply::Dtr(false),
        11 => Reply::Rts(true),
        12 => Reply::Rts(false),
        14 => Reply::InboundFlow(NONE),
        15 => Reply::InboundFlow(XONXOFF),
        16 => Reply::InboundFlow(RTSCTS),
        _ => return None,
    })
}
