//! Telnet commands in a stream of bytes (RFC 854, RFC 855), the same at both ends.

use super::option::Verb;
use super::{SUBNEGOTIATION_MAX, code, escape};

/// A piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Data: a run of the input, never empty.
    Data(&'a [u8]),
    /// A command other than those below.
    Command(u8),
    /// Negotiation of an option.
    Option(Verb, u8),
    /// A subnegotiation is complete: [`Framing::sub`].
    Sub,
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

/// Takes a stream apart.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    /// The subnegotiation read so far, at most [`SUBNEGOTIATION_MAX`] bytes.
    sub: Vec<u8>,
    /// It was longer than that.
    pub(super) sub_overlong: bool,
    /// It held an IAC followed by neither IAC nor SE.
    pub(super) sub_malformed: bool,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { place: Place::Data, sub: Vec::new(), sub_overlong: false, sub_malformed: false }
    }

    /// The subnegotiation that was read last: its option, and what follows.
    pub(super) fn sub(&self) -> Option<(u8, &[u8])> {
        self.sub.split_first().map(|(&option, body)| (option, body))
    }

    /// The input ended behind an IAC: a command follows.
    pub(super) fn awaits_command(&self) -> bool {
        matches!(self.place, Place::Command)
    }

    /// Takes the next piece off `input` and moves `input` behind it; `None`: the input is used up.
    /// An input may end anywhere.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            let here: &'a [u8] = input;
            let (&byte, rest) = here.split_first()?;
            match self.place {
                Place::Data if byte != code::IAC => return Some(take_run(here, 0, input)),
                Place::Data => {
                    *input = rest;
                    self.place = Place::Command;
                }
                Place::Command if byte == code::IAC => {
                    // The second IAC of a pair is the data byte itself, so a run can begin with it.
                    self.place = Place::Data;
                    return Some(take_run(here, 1, input));
                }
                Place::Command => {
                    *input = rest;
                    if let Some(command) = self.command(byte) {
                        return Some(Piece::Command(command));
                    }
                }
                Place::Option(verb) => {
                    *input = rest;
                    self.place = Place::Data;
                    return Some(Piece::Option(verb, byte));
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
                            return Some(Piece::Sub);
                        }
                        // Reading on to IAC SE keeps the rest from being taken for data.
                        _ => self.sub_malformed = true,
                    }
                }
            }
        }
    }

    /// The byte after IAC, other than IAC; returned when it is a whole command.
    fn command(&mut self, byte: u8) -> Option<u8> {
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
            _ => {
                self.place = Place::Data;
                return Some(byte);
            }
        };
        None
    }

    fn sub_byte(&mut self, byte: u8) {
        if self.sub.len() < SUBNEGOTIATION_MAX {
            self.sub.push(byte);
        } else {
            self.sub_overlong = true;
        }
    }
}

/// The run of data at the start of `here` whose first `skip` bytes are known to be data; `input` is
/// moved behind it.
fn take_run<'a>(here: &'a [u8], skip: usize, input: &mut &'a [u8]) -> Piece<'a> {
    let length = escape::find_iac(&here[skip..]).map_or(here.len(), |at| skip + at);
    let (run, rest) = here.split_at(length);
    *input = rest;
    Piece::Data(run)
}
