//! The client's half of telnet (RFC 854, RFC 856): enough to exchange binary data with a server.

use std::collections::BTreeSet;

const IAC: u8 = 0xFF;
const DONT: u8 = 0xFE;
const DO: u8 = 0xFD;
const WONT: u8 = 0xFC;
const WILL: u8 = 0xFB;
const SB: u8 = 0xFA;
const SE: u8 = 0xF0;

const BINARY: u8 = 0;
const SUPPRESS_GO_AHEAD: u8 = 3;

enum State {
    Data,
    Command,
    Option(u8),
    Subnegotiation,
    SubnegotiationCommand,
}

/// Decoder of the stream from a telnet server.
pub(crate) struct Decoder {
    state: State,
    answered: BTreeSet<(u8, u8)>,
    /// Bytes to send back to the server: answers to its option requests, each given once.
    pub(crate) answers: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { state: State::Data, answered: BTreeSet::new(), answers: Vec::new() }
    }

    /// Appends the payload of `input` to `output`.
    pub(crate) fn decode(&mut self, mut input: &[u8], output: &mut Vec<u8>) {
        while let Some((&first, rest)) = input.split_first() {
            match self.state {
                State::Data => {
                    let plain = input.iter().position(|&byte| byte == IAC).unwrap_or(input.len());
                    output.extend_from_slice(&input[..plain]);
                    input = &input[plain..];
                    if let Some((_, rest)) = input.split_first() {
                        self.state = State::Command;
                        input = rest;
                    }
                    continue;
                }
                State::Command => {
                    self.state = match first {
                        WILL | WONT | DO | DONT => State::Option(first),
                        SB => State::Subnegotiation,
                        _ => State::Data,
                    };
                    if first == IAC {
                        output.push(IAC);
                    }
                }
                State::Option(request) => {
                    self.answer(request, first);
                    self.state = State::Data;
                }
                State::Subnegotiation if first == IAC => self.state = State::SubnegotiationCommand,
                State::Subnegotiation => {}
                State::SubnegotiationCommand => {
                    self.state = if first == SE { State::Data } else { State::Subnegotiation };
                }
            }
            input = rest;
        }
    }

    fn answer(&mut self, request: u8, option: u8) {
        let wanted = matches!(option, BINARY | SUPPRESS_GO_AHEAD);
        let answer = match request {
            WILL if wanted => DO,
            WILL => DONT,
            DO if wanted => WILL,
            DO => WONT,
            _ => return,
        };
        if self.answered.insert((request, option)) {
            self.answers.extend([IAC, answer, option]);
        }
    }
}

/// Appends `payload` as it goes on the wire, every 0xFF doubled.
pub(crate) fn escape(payload: &[u8], output: &mut Vec<u8>) {
    for part in payload.split_inclusive(|&byte| byte == IAC) {
        output.extend_from_slice(part);
        if part.ends_with(&[IAC]) {
            output.push(IAC);
        }
    }
}
