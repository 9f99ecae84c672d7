//! The client's end of a telnet session, without any I/O.

use super::framing::{Framing, Piece};
use super::option::{Change, Options};
use super::{code, comport, comport_client, escape};
use crate::config::TelnetOptions;
use crate::serial::request::{Notice, Reply, Request};

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Data of the device: a run of the input, never empty.
    Data(&'a [u8]),
    /// The server agreed to COM-PORT (`true`): from now on requests reach it. Or it refused or ended
    /// it.
    ComPort(bool),
    /// The answer to a request.
    Reply(Reply),
    /// A modem or line state.
    Notice(Notice),
    /// The server wants (`false`) or does not want (`true`) data for now.
    Suspend(bool),
}

/// The client's end of one telnet session.
#[derive(Debug)]
pub struct ClientCodec {
    framing: Framing,
    options: Options,
    /// COM-PORT was asked for.
    rfc2217: bool,
    /// The server has said whether it speaks COM-PORT.
    agreed: Option<bool>,
}

impl ClientCodec {
    /// A codec for a new session. [`ClientCodec::opening`] comes before everything else.
    pub fn new(options: TelnetOptions) -> Self {
        let TelnetOptions { rfc2217, client: _, winsize: _ } = options;
        Self { framing: Framing::new(), options: Options::client(rfc2217), rfc2217, agreed: None }
    }

    /// Appends the bytes that open the session.
    pub fn opening(&self, out: &mut Vec<u8>) {
        self.options.client_opening(out);
    }

    /// Whether the server speaks COM-PORT; `None` while it was asked and has not answered.
    pub fn agreed(&self) -> Option<bool> {
        if self.rfc2217 { self.agreed } else { Some(false) }
    }

    /// The server had its time to answer: it does not speak COM-PORT, unless it says so later.
    pub fn give_up(&mut self) {
        self.agreed.get_or_insert(false);
    }

    /// Takes the next thing off `input` and moves `input` behind it. Answers that need nobody else
    /// are appended to `out`. `None`: the input is used up. An input may end anywhere.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], out: &mut Vec<u8>) -> Option<Heard<'a>> {
        loop {
            match self.framing.next(input)? {
                Piece::Data(run) => {
                    self.options.data();
                    return Some(Heard::Data(run));
                }
                Piece::Command(_) => {}
                Piece::Option(verb, option) => {
                    let change = self.options.receive(verb, option, out);
                    if option != comport::OPTION {
                        continue;
                    }
                    match change {
                        Change::OursOn => {
                            self.agreed = Some(true);
                            comport_client::greet(out);
                            return Some(Heard::ComPort(true));
                        }
                        Change::OursOff => {
                            self.agreed = Some(false);
                            return Some(Heard::ComPort(false));
                        }
                        Change::FarOn | Change::FarOff | Change::None => {}
                    }
                }
                Piece::Sub => {
                    let broken = self.framing.sub_overlong || self.framing.sub_malformed;
                    if let Some((comport::OPTION, body)) = self.framing.sub()
                        && !broken
                        && self.agreed == Some(true)
                        && let Some(heard) = comport_client::heard(body)
                    {
                        return Some(heard);
                    }
                }
            }
        }
    }

    /// Appends data for the device, every IAC doubled.
    pub fn encode(&self, data: &[u8], out: &mut Vec<u8>) {
        escape::append(data, out);
    }

    /// Appends a request. False, and nothing appended: the server cannot be asked that.
    pub fn request(&self, request: &Request, out: &mut Vec<u8>) -> bool {
        if matches!(request, Request::SendBreak(_)) {
            // every telnet server knows it, and those with a line send it
            out.extend_from_slice(&[code::IAC, code::BREAK]);
            return true;
        }
        self.agreed() == Some(true) && comport_client::ask(request, out)
    }
}

#[cfg(test)]
mod tests;
