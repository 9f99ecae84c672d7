//! Telnet (RFC 854, 855, 1143) and its COM-PORT option (RFC 2217), without any I/O.
//!
//! [`Codec`] is the server's end of one session. Bytes of the client go through [`Codec::next`],
//! which yields [`Item`]s: runs of data borrowed from the input, and requests for the owner of the
//! device. Option negotiation is answered by the codec alone (`option`); COM-PORT commands become
//! [`Request`]s, and the owner's answers become bytes again in [`Codec::reply`] (`comport`).
//!
//! Data is never changed but for the doubling of IAC ([`escape`]): CR, NUL and LF pass as they are
//! in both directions, whether or not the binary option was agreed upon.

mod comport;
pub mod escape;
pub mod exercise;
mod option;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::config::TelnetOptions;
use crate::serial::request::{Notice, Reply, Request};
use comport::{ComPort, Parsed};
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
    /// A data mark: with the urgent mark of TCP the end of a synch (RFC 854), else of no meaning.
    DataMark,
}

/// Where in the input the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Data,
    /// After IAC.
    Command,
    /// After IAC WILL, WONT, DO or DONT.
    Option(Verb),
    /// Between IAC SB and its IAC SE.
    Sub,
    /// After an IAC in there.
    SubCommand,
}

/// The server's end of one telnet session.
#[derive(Debug)]
pub struct Codec {
    place: Place,
    /// The subnegotiation read so far, at most [`SUBNEGOTIATION_MAX`] bytes.
    sub: Vec<u8>,
    /// It was longer than that.
    sub_overlong: bool,
    /// It held an IAC followed by neither IAC nor SE.
    sub_malformed: bool,
    /// Found together with the item returned last, the next one at the end.
    pending: Vec<Request>,
    options: Options,
    comport: ComPort,
    negotiated: bool,
    dropped: u64,
}

impl Codec {
    /// A codec for a new session. [`Codec::opening`] comes before everything else.
    pub fn new(options: TelnetOptions) -> Self {
        Self {
            place: Place::Data,
            sub: Vec::new(),
            sub_overlong: false,
            sub_malformed: false,
            pending: Vec::new(),
            options: Options::new(options.rfc2217),
            comport: ComPort::new(options.rfc2217),
            negotiated: false,
            dropped: 0,
        }
    }

    /// Appends the bytes that open the session.
    pub fn opening(&mut self, out: &mut Vec<u8>) {
        self.options.opening(out);
    }

    /// Takes the next item off `input` and moves `input` behind it. Answers that need nobody else
    /// are appended to `out`; they are never longer than the input that caused them. `None`: the
    /// input is used up. An input may end anywhere: the rest of a command is read from the next one.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], out: &mut Vec<u8>) -> Option<Item<'a>> {
        if let Some(request) = self.pending.pop() {
            return Some(Item::Request(request));
        }
        loop {
            let here: &'a [u8] = input;
            let (&byte, rest) = here.split_first()?;
            match self.place {
                Place::Data if byte != code::IAC => {
                    self.options.data();
                    return Some(take_run(here, 0, input));
                }
                Place::Data => {
                    *input = rest;
                    self.place = Place::Command;
                }
                Place::Command if byte == code::IAC => {
                    // The second IAC of a pair is the data byte itself, so a run can begin with it.
                    self.place = Place::Data;
                    self.options.data();
                    return Some(take_run(here, 1, input));
                }
                Place::Command => {
                    *input = rest;
                    if let Some(item) = self.command(byte) {
                        return Some(item);
                    }
                }
                Place::Option(verb) => {
                    *input = rest;
                    self.place = Place::Data;
                    if let Some(item) = self.negotiate(verb, byte, out) {
                        return Some(item);
                    }
                }
                Place::Sub => {
                    *input = rest;
                    if byte == code::IAC {
                        self.place = Place::SubCommand;
                    } else {
                        self.sub_byte(byte);
                    }
                }
                Place::SubCommand => {
                    *input = rest;
                    self.place = Place::Sub;
                    match byte {
                        code::IAC => self.sub_byte(byte),
                        code::SE => {
                            self.place = Place::Data;
                            if let Some(item) = self.subnegotiation(input, out) {
                                return Some(item);
                            }
                        }
                        // Reading on to IAC SE keeps the rest from being taken for data.
                        _ => self.sub_malformed = true,
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

    /// The client has sent some option negotiation. If not, it may not speak telnet at all.
    pub fn negotiated(&self) -> bool {
        self.negotiated
    }

    /// The input ended behind an IAC: a command follows.
    pub fn awaits_command(&self) -> bool {
        matches!(self.place, Place::Command)
    }

    /// Number of subnegotiations dropped because they were malformed or too long.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The byte after IAC, other than IAC.
    fn command(&mut self, byte: u8) -> Option<Item<'static>> {
        self.place = match byte {
            code::WILL => Place::Option(Verb::Will),
            code::WONT => Place::Option(Verb::Wont),
            code::DO => Place::Option(Verb::Do),
            code::DONT => Place::Option(Verb::Dont),
            code::SB => {
                self.sub.clear();
                self.sub_overlong = false;
                self.sub_malformed = false;
                Place::Sub
            }
            _ => Place::Data,
        };
        match byte {
            code::BREAK => Some(Item::Request(Request::SendBreak(TELNET_BREAK))),
            code::DATA_MARK => Some(Item::DataMark),
            _ => None,
        }
    }

    fn negotiate(&mut self, verb: Verb, option: u8, out: &mut Vec<u8>) -> Option<Item<'static>> {
        self.negotiated = true;
        let change = self.options.receive(verb, option, out);
        if option != comport::OPTION {
            return None;
        }
        match change {
            Change::ClientOn => {
                self.pending.push(Request::PollModem);
                Some(Item::ComPort(true))
            }
            Change::ClientOff => Some(Item::ComPort(false)),
            Change::None => None,
        }
    }

    fn sub_byte(&mut self, byte: u8) {
        if self.sub.len() < SUBNEGOTIATION_MAX {
            self.sub.push(byte);
        } else {
            self.sub_overlong = true;
        }
    }

    /// A complete subnegotiation is in `sub`; `input` stands behind it.
    fn subnegotiation(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Item<'static>> {
        self.negotiated = true;
        let Some((&option, body)) = self.sub.split_first() else {
            self.dropped += 1;
            return None;
        };
        // A cut text is still a text; anything else that long is no command of RFC 2217.
        let usable = !self.sub_overlong || comport::is_signature(option, body);
        if self.sub_malformed || self.sub_overlong {
            self.dropped += 1;
        }
        if option != comport::OPTION || self.sub_malformed || !usable {
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

/// The run of data at the start of `here` whose first `skip` bytes are known to be data; `input` is
/// moved behind it.
fn take_run<'a>(here: &'a [u8], skip: usize, input: &mut &'a [u8]) -> Item<'a> {
    let length = escape::find_iac(&here[skip..]).map_or(here.len(), |at| skip + at);
    let (run, rest) = here.split_at(length);
    *input = rest;
    Item::Data(run)
}
