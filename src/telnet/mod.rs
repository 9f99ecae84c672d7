//! Telnet (RFC 854, 855, 1143) and its COM-PORT option (RFC 2217), without any I/O.
//!
//! [`Codec`] is the server's end of one session. Bytes of the client go through [`Codec::next`],
//! which yields [`Item`]s: runs of data borrowed from the input, and requests for the owner of the
//! device. Option negotiation is answered by the codec alone (`option`); COM-PORT commands become
//! [`Request`]s, and the owner's answers become bytes again in [`Codec::reply`] (`comport`).
//!
//! [`ClientCodec`] is the client's end, for connectors.
//!
//! Data is never changed but for the doubling of IAC ([`escape`]): CR, NUL and LF pass as they are
//! in both directions, whether or not the binary option was agreed upon.

mod client;
mod comport;
mod comport_client;
pub mod escape;
pub mod exercise;
mod framing;
mod option;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use client::{ClientCodec, Heard};

use crate::config::TelnetOptions;
use crate::serial::request::{Notice, Reply, Request};
use comport::{ComPort, Parsed};
use framing::{Framing, Piece};
use option::{Change, Options, Verb};
use std::time::Duration;

/// Longest subnegotiation kept, in bytes after undoubling, option code included. The longest that
/// RFC 2217 needs is the signature text of a client.
pub const SUBNEGOTIATION_MAX: usize = 256;

/// Length of the break that a telnet BRK (RFC 854) asks for: that of `tcsendbreak(fd, 0)`.
pub const TELNET_BREAK: Duration = Duration::from_millis(250);

/// Command codes of RFC 854.
pub(crate) mod code {
    pub(crate) const SE: u8 = 240;
    pub(crate) const DATA_MARK: u8 = 242;
    pub(crate) const BREAK: u8 = 243;
    pub(crate) const SB: u8 = 250;
    pub(crate) const WILL: u8 = 251;
    pub(crate) const WONT: u8 = 252;
    pub(crate) const DO: u8 = 253;
    pub(crate) const DONT: u8 = 254;
    pub(crate) const IAC: u8 = 255;
}

/// What the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Data for the device: a run of the input, never empty.
    Data(&'a [u8]),
    /// Something asked of the device's owner; its answer goes to [`Codec::reply`] or
    /// [`Codec::notice`].
    Request(Request),
    /// The client agreed to use COM-PORT (`true`; a [`Request::PollModem`] follows, by which it
    /// learns the first modem state) or stopped using it. While it is on, changes of the modem and
    /// line state are for [`Codec::notice`].
    ComPort(bool),
    /// The size of the client's window: columns and rows, 0 where it does not say (RFC 1073).
    Window(u16, u16),
    /// A data mark: with the urgent mark of TCP the end of a synch (RFC 854), else of no meaning.
    DataMark,
}

/// The server's end of one telnet session, or the client's end where an accepter is to be that.
#[derive(Debug)]
pub struct Codec {
    framing: Framing,
    /// Found together with the item returned last, the next one at the end.
    pending: Vec<Request>,
    options: Options,
    comport: ComPort,
    /// This is the client's end: nothing is obeyed.
    client: bool,
    negotiated: bool,
    dropped: u64,
}

impl Codec {
    /// A codec for a new session. [`Codec::opening`] comes before everything else.
    pub fn new(options: TelnetOptions) -> Self {
        let TelnetOptions { rfc2217, client, winsize } = options;
        Self {
            framing: Framing::new(),
            pending: Vec::new(),
            options: if client { Options::waiting_client(rfc2217) } else { Options::new(rfc2217, winsize) },
            comport: ComPort::new(rfc2217 && !client),
            client,
            negotiated: false,
            dropped: 0,
        }
    }

    /// Appends the bytes that open the session.
    pub fn opening(&mut self, out: &mut Vec<u8>) {
        if self.client {
            self.options.waiting_opening(out);
        } else {
            self.options.opening(out);
        }
    }

    /// Takes the next item off `input` and moves `input` behind it. Answers that need nobody else
    /// are appended to `out`; they are never longer than the input that caused them. `None`: the
    /// input is used up. An input may end anywhere: the rest of a command is read from the next one.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], out: &mut Vec<u8>) -> Option<Item<'a>> {
        if let Some(request) = self.pending.pop() {
            return Some(Item::Request(request));
        }
        loop {
            match self.framing.next(input)? {
                Piece::Data(run) => {
                    self.options.data();
                    return Some(Item::Data(run));
                }
                Piece::Command(code::BREAK) if !self.client => {
                    return Some(Item::Request(Request::SendBreak(TELNET_BREAK)));
                }
                Piece::Command(code::DATA_MARK) => return Some(Item::DataMark),
                Piece::Command(_) => {}
                Piece::Option(verb, option) => {
                    if let Some(item) = self.negotiate(verb, option, out) {
                        return Some(item);
                    }
                }
                Piece::Sub => {
                    if let Some(item) = self.subnegotiation(input, out) {
                        return Some(item);
                    }
                }
            }
        }
    }

    /// Appends data of the device, every IAC doubled.
    pub fn encode(&self, data: &[u8], out: &mut Vec<u8>) {
        escape::append(data, out);
    }

    /// Appends the answer to a request of this client. Nothing on a port without `rfc2217`.
    pub fn reply(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.comport.reply(reply, out);
    }

    /// Appends the answer to another client's request, so that this one knows of the change too.
    /// Nothing unless this client agreed to COM-PORT.
    pub fn inform(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        if self.agreed() {
            self.comport.reply(reply, out);
        }
    }

    /// Appends a modem or line state. `forced` (the answer to a poll): as it is, even if COM-PORT
    /// was not agreed upon. Otherwise only what the client's masks select, and nothing if that is
    /// nothing new: for a modem state, if none of its change bits (3 to 0) is left.
    pub fn notice(&mut self, notice: Notice, forced: bool, out: &mut Vec<u8>) {
        if forced || self.agreed() {
            self.comport.notice(notice, forced, out);
        }
    }

    /// The client has agreed to COM-PORT.
    pub fn agreed(&self) -> bool {
        self.options.comport_agreed()
    }

    /// The client wants to be told when a modem line changes.
    pub fn wants_modem(&self) -> bool {
        self.agreed() && self.comport.wants_modem()
    }

    /// The client wants to be told of line errors.
    pub fn wants_line(&self) -> bool {
        self.agreed() && self.comport.wants_line()
    }

    /// The client has sent some option negotiation. If not, it may not speak telnet at all.
    pub fn negotiated(&self) -> bool {
        self.negotiated
    }

    /// The input ended behind an IAC: a command follows.
    pub fn awaits_command(&self) -> bool {
        self.framing.awaits_command()
    }

    /// Number of subnegotiations dropped because they were malformed or too long.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn negotiate(&mut self, verb: Verb, option: u8, out: &mut Vec<u8>) -> Option<Item<'static>> {
        self.negotiated = true;
        let change = self.options.receive(verb, option, out);
        if option != comport::OPTION {
            return None;
        }
        match change {
            Change::FarOn => {
                self.pending.push(Request::PollModem);
                Some(Item::ComPort(true))
            }
            Change::FarOff => Some(Item::ComPort(false)),
            Change::OursOn | Change::OursOff | Change::None => None,
        }
    }

    /// A complete subnegotiation was read; `input` stands behind it.
    fn subnegotiation(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Item<'static>> {
        self.negotiated = true;
        let Some((option, body)) = self.framing.sub() else {
            self.dropped += 1;
            return None;
        };
        // A cut text is still a text; anything else that long is no command of RFC 2217.
        let (overlong, malformed) = (self.framing.sub_overlong, self.framing.sub_malformed);
        let usable = !overlong || comport::is_signature(option, body);
        if malformed || overlong {
            self.dropped += 1;
        }
        if let (option::WINDOW_SIZE, &[a, b, c, d], true) = (option, body, self.options.window_agreed()) {
            return Some(Item::Window(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
        }
        if option != comport::OPTION || malformed || !usable || self.client {
            return None;
        }
        match self.comport.parse(body) {
            Parsed::One(request) => self.pending.push(comport::join_lines(request, input)),
            Parsed::Two(first, second) => self.pending.extend([second, first]),
            Parsed::Echo(body) => self.comport.write(&body, out),
            Parsed::Unknown => return None,
            Parsed::Malformed => {
                self.dropped += 1;
                return None;
            }
        }
        if self.options.imply_comport() {
            // as after WILL, the client learns the modem state first
            self.pending.push(Request::PollModem);
        }
        self.pending.pop().map(Item::Request)
    }
}

/// Whether these first bytes of a client are those of telnet: an option negotiation (RFC 855).
pub fn speaks_telnet(input: &[u8]) -> bool {
    matches!(input, [code::IAC, code::WILL..=code::DONT, ..])
}
