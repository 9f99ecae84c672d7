//! COM-PORT subnegotiations (RFC 2217) of the server: requests from bytes, bytes from answers.
//!
//! A command that the server may answer is answered, also when its value is out of range (RFC 2217
//! section 3: the answer tells the value in force). A command without its value is dropped.

use super::{code, escape};
use crate::serial::request::{Notice, Purge, Reply, Request};
use crate::serial::settings::{Flow, Parity};

/// Option code of COM-PORT.
pub(super) const OPTION: u8 = 44;

/// Commands of the client (RFC 2217 section 3). The server's answer to each is 100 more.
pub(super) mod command {
    pub(in crate::telnet) const SIGNATURE: u8 = 0;
    pub(in crate::telnet) const BAUD: u8 = 1;
    pub(in crate::telnet) const SIZE: u8 = 2;
    pub(in crate::telnet) const PARITY: u8 = 3;
    pub(in crate::telnet) const STOP: u8 = 4;
    pub(in crate::telnet) const CONTROL: u8 = 5;
    pub(in crate::telnet) const NOTIFY_LINE: u8 = 6;
    pub(in crate::telnet) const NOTIFY_MODEM: u8 = 7;
    pub(in crate::telnet) const SUSPEND: u8 = 8;
    pub(in crate::telnet) const RESUME: u8 = 9;
    pub(in crate::telnet) const LINE_MASK: u8 = 10;
    pub(in crate::telnet) const MODEM_MASK: u8 = 11;
    pub(in crate::telnet) const PURGE: u8 = 12;
}

/// Added to a command in the server's answer.
pub(super) const ANSWER: u8 = 100;

/// Modem state bits that tell of changes.
const MODEM_CHANGES: u8 = 0x0f;

/// Line state bits that tell of errors and breaks.
const LINE_ERRORS: u8 = 0x1e;

/// Speeds of the one-byte form of SET-BAUDRATE that Cisco IOS speaks.
const SHORT_BAUD: [(u8, u32); 11] = [
    (3, 300),
    (4, 600),
    (5, 1200),
    (6, 2400),
    (7, 4800),
    (8, 9600),
    (10, 19_200),
    (12, 38_400),
    (13, 57_600),
    (14, 115_200),
    (15, 230_400),
];

/// What a subnegotiation asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    One(Request),
    Two(Request, Request),
    /// To be answered at once with these bytes after the option code.
    Echo([u8; 2]),
    /// No command of a client: passed over in silence, as ser2net does.
    Unknown,
    /// A command without its value.
    Malformed,
}

/// The COM-PORT state of one session.
#[derive(Debug)]
pub(super) struct ComPort {
    /// Answers are sent at all.
    enabled: bool,
    /// The client uses the one-byte form of SET-BAUDRATE, so it is answered in that form.
    short_baud: bool,
    modem_mask: u8,
    line_mask: u8,
}

impl ComPort {
    pub(super) fn new(enabled: bool) -> Self {
        // The masks in force at the start are those of RFC 2217 section 3.
        Self { enabled, short_baud: false, modem_mask: 255, line_mask: 0 }
    }

    /// Some change of the modem lines passes the client's mask.
    pub(super) fn wants_modem(&self) -> bool {
        self.modem_mask & MODEM_CHANGES != 0
    }

    /// Some line error passes the client's mask.
    pub(super) fn wants_line(&self) -> bool {
        self.line_mask & LINE_ERRORS != 0
    }

    /// Reads a subnegotiation without its option code.
    pub(super) fn parse(&mut self, body: &[u8]) -> Parsed {
        let Some((&command, value)) = body.split_first() else {
            return Parsed::Malformed;
        };
        match command {
            command::SIGNATURE if value.is_empty() => return Parsed::One(Request::Signature),
            command::SIGNATURE => {
                return Parsed::Two(Request::ClientSignature(value.to_vec()), Request::Signature);
            }
            command::NOTIFY_LINE => return Parsed::One(Request::PollLine),
            command::NOTIFY_MODEM => return Parsed::One(Request::PollModem),
            // RFC 2217 asks for no answer; ser2net tells the flow control in force.
            command::SUSPEND => return Parsed::Two(Request::Suspend(true), Request::Flow(None)),
            command::RESUME => return Parsed::Two(Request::Suspend(false), Request::Flow(None)),
            _ => {}
        }
        let Some(&first) = value.first() else {
            return if command <= command::PURGE { Parsed::Malformed } else { Parsed::Unknown };
        };
        Parsed::One(match command {
            command::BAUD => Request::Baud(self.baud(first, value)),
            command::SIZE => Request::Size((5..=8).contains(&first).then_some(first)),
            command::PARITY => Request::Parity(parity_of(first)),
            command::STOP => Request::Stop((1..=2).contains(&first).then_some(first)),
            command::CONTROL => control_of(first),
            command::LINE_MASK => {
                self.line_mask = first;
                Request::LineMask(first)
            }
            command::MODEM_MASK => {
                self.modem_mask = first;
                return Parsed::Two(Request::ModemMask(first), Request::PollModem);
            }
            command::PURGE => match first {
                1 => Request::Purge(Purge::Receive),
                2 => Request::Purge(Purge::Transmit),
                3 => Request::Purge(Purge::Both),
                // There is no value in force to tell; ser2net purges nothing and echoes.
                other => return Parsed::Echo([command::PURGE + ANSWER, other]),
            },
            _ => return Parsed::Unknown,
        })
    }

    /// The speed asked for; `None` asks for the one in force.
    fn baud(&mut self, first: u8, value: &[u8]) -> Option<u32> {
        if let Some(long) = value.first_chunk::<4>() {
            Some(u32::from_be_bytes(*long)).filter(|&baud| baud != 0)
        } else {
            self.short_baud = true;
            SHORT_BAUD.iter().find(|(short, _)| *short == first).map(|(_, baud)| *baud)
        }
    }

    /// Appends the answer to a request.
    pub(super) fn reply(&self, reply: &Reply, out: &mut Vec<u8>) {
        let (command, value) = match reply {
            Reply::Signature(text) => {
                let mut body = vec![command::SIGNATURE + ANSWER];
                body.extend_from_slice(text);
                self.write(&body, out);
                return;
            }
            Reply::Baud(baud) if self.short_baud => {
                // 0 stands for a speed that has no short form.
                let short = SHORT_BAUD.iter().find(|(_, known)| known == baud);
                (command::BAUD, short.map_or(0, |(short, _)| *short))
            }
            Reply::Baud(baud) => {
                let [a, b, c, d] = baud.to_be_bytes();
                self.write(&[command::BAUD + ANSWER, a, b, c, d], out);
                return;
            }
            Reply::Size(size) => (command::SIZE, *size),
            Reply::Parity(parity) => (command::PARITY, parity_value(*parity)),
            Reply::Stop(stop) => (command::STOP, *stop),
            Reply::Flow(flow) => (command::CONTROL, 1 + flow_rank(*flow)),
            Reply::InboundFlow(flow) => (command::CONTROL, 14 + flow_rank(*flow)),
            Reply::Break(on) => (command::CONTROL, if *on { 5 } else { 6 }),
            Reply::Dtr(on) => (command::CONTROL, if *on { 8 } else { 9 }),
            Reply::Rts(on) => (command::CONTROL, if *on { 11 } else { 12 }),
            Reply::Purge(purge) => (
                command::PURGE,
                match purge {
                    Purge::Receive => 1,
                    Purge::Transmit => 2,
                    Purge::Both => 3,
                },
            ),
            Reply::ModemMask(mask) => (command::MODEM_MASK, *mask),
            Reply::LineMask(mask) => (command::LINE_MASK, *mask),
        };
        self.write(&[command + ANSWER, value], out);
    }

    /// Appends a state; see [`super::Codec::notice`].
    pub(super) fn notice(&self, notice: Notice, forced: bool, out: &mut Vec<u8>) {
        let (command, state, mask, news) = match notice {
            Notice::Modem(state) => (command::NOTIFY_MODEM, state, self.modem_mask, MODEM_CHANGES),
            Notice::Line(state) => (command::NOTIFY_LINE, state, self.line_mask, 0xff),
        };
        let selected = if forced { state } else { state & mask };
        if forced || selected & news != 0 {
            self.write(&[command + ANSWER, selected], out);
        }
    }

    /// Appends a subnegotiation of `body` (without the option code).
    pub(super) fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        if self.enabled {
            write(body, out);
        }
    }
}

/// Appends a subnegotiation of `body` (without the option code).
pub(super) fn write(body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[code::IAC, code::SB, OPTION]);
    escape::append(body, out);
    out.extend_from_slice(&[code::IAC, code::SE]);
}

/// Whether this is a signature text.
pub(super) fn is_signature(option: u8, body: &[u8]) -> bool {
    option == OPTION && body.first() == Some(&command::SIGNATURE)
}

/// If `request` sets DTR or RTS and the other one is set directly behind it in `input`, takes that
/// off too and returns one request for both: a reset pulse needs both lines to move together.
pub(super) fn join_lines(request: Request, input: &mut &[u8]) -> Request {
    let Some((&[code::IAC, code::SB, OPTION, command::CONTROL, value, code::IAC, code::SE], rest)) =
        input.split_first_chunk::<7>()
    else {
        return request;
    };
    let both = match (&request, control_of(value)) {
        (&Request::Dtr(Some(dtr)), Request::Rts(Some(rts))) => Request::DtrRts(dtr, rts),
        (&Request::Rts(Some(rts)), Request::Dtr(Some(dtr))) => Request::RtsDtr(rts, dtr),
        _ => return request,
    };
    *input = rest;
    both
}

pub(super) fn parity_of(value: u8) -> Option<Parity> {
    Some(match value {
        1 => Parity::None,
        2 => Parity::Odd,
        3 => Parity::Even,
        4 => Parity::Mark,
        5 => Parity::Space,
        _ => return None,
    })
}

pub(super) fn parity_value(parity: Parity) -> u8 {
    match parity {
        Parity::None => 1,
        Parity::Odd => 2,
        Parity::Even => 3,
        Parity::Mark => 4,
        Parity::Space => 5,
    }
}

/// Values of SET-CONTROL. Those that Linux has nothing for (flow control by DCD, DTR or DSR) and
/// reserved ones ask for the setting they would have changed.
fn control_of(value: u8) -> Request {
    const NONE: Flow = Flow { xonxoff: false, rtscts: false };
    const XONXOFF: Flow = Flow { xonxoff: true, rtscts: false };
    const RTSCTS: Flow = Flow { xonxoff: false, rtscts: true };
    match value {
        1 => Request::Flow(Some(NONE)),
        2 => Request::Flow(Some(XONXOFF)),
        3 => Request::Flow(Some(RTSCTS)),
        4 => Request::Break(None),
        5 => Request::Break(Some(true)),
        6 => Request::Break(Some(false)),
        7 => Request::Dtr(None),
        8 => Request::Dtr(Some(true)),
        9 => Request::Dtr(Some(false)),
        10 => Request::Rts(None),
        11 => Request::Rts(Some(true)),
        12 => Request::Rts(Some(false)),
        13 | 18 => Request::InboundFlow(None),
        14 => Request::InboundFlow(Some(NONE)),
        15 => Request::InboundFlow(Some(XONXOFF)),
        16 => Request::InboundFlow(Some(RTSCTS)),
        _ => Request::Flow(None),
    }
}

/// Place of a flow control among none, XON/XOFF and hardware. RFC 2217 cannot tell of both at once.
pub(super) fn flow_rank(flow: Flow) -> u8 {
    if flow.rtscts { 2 } else { u8::from(flow.xonxoff) }
}
