//! Option negotiation by the Q method of RFC 1143, for both ends: ours and the far one.
//!
//! Neither server nor client ever switches off an option that it switched on, so the states WANTNO
//! and the queue bits of the RFC cannot come about, and three states are left. On top of the method stand two
//! bounds, because a peer that keeps to no rule could still make it answer for ever.

use super::code;
use super::comport;

const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;
/// Negotiate About Window Size (RFC 1073).
pub(super) const WINDOW_SIZE: u8 = 31;

/// Refusals of one option in one direction and session; later requests are met with silence.
const MAX_REFUSALS: u8 = 8;

/// Answers to changes of agreed options with no data between them; after that, states are followed
/// in silence.
const MAX_ANSWERS: u8 = 64;

/// The verbs of option negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Will,
    Wont,
    Do,
    Dont,
}

/// What a verb changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// The option is now on at the far end.
    FarOn,
    /// The option was on at the far end and is now off.
    FarOff,
    /// The option is now on at our end.
    OursOn,
    /// The option is off at our end, or was refused to us.
    OursOff,
}

/// State of one option at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    No,
    /// As `No`, but a refusal that nothing was asked for is acknowledged, once: ser2net does so for
    /// COM-PORT.
    Unspoken,
    /// We have asked for it.
    WantYes,
    Yes,
}

/// One option at one end.
#[derive(Clone, Copy, Debug)]
struct Side {
    state: State,
    /// We take part if asked.
    allowed: bool,
}

/// All options of a session.
#[derive(Debug)]
pub(super) struct Options {
    rfc2217: bool,
    /// At the far end (WILL and WONT are received, DO and DONT sent), by [`index`].
    far: [Side; 5],
    /// At our end.
    ours: [Side; 5],
    refused_far: [u8; 256],
    refused_ours: [u8; 256],
    answers: u8,
}

/// Place of an option in the tables; others are always refused.
fn index(option: u8) -> Option<usize> {
    match option {
        BINARY => Some(0),
        ECHO => Some(1),
        SUPPRESS_GO_AHEAD => Some(2),
        comport::OPTION => Some(3),
        WINDOW_SIZE => Some(4),
        _ => None,
    }
}

impl Options {
    pub(super) fn new(rfc2217: bool, winsize: bool) -> Self {
        let side = |state, allowed| Side { state, allowed };
        let comport = if rfc2217 { State::WantYes } else { State::Unspoken };
        Self {
            rfc2217,
            // Suppress go-ahead is No although the opening asks for it: as in ser2net, the first
            // WILL is acknowledged by a second DO, which a client that follows RFC 854 ignores.
            far: [
                side(State::WantYes, true),
                side(State::No, false),
                side(State::No, true),
                side(comport, rfc2217),
                side(if winsize { State::WantYes } else { State::No }, winsize),
            ],
            ours: [
                side(State::WantYes, true),
                side(State::WantYes, true),
                side(State::WantYes, true),
                side(State::Unspoken, false),
                side(State::No, false),
            ],
            refused_far: [0; 256],
            refused_ours: [0; 256],
            answers: 0,
        }
    }

    /// The states of a client. It may be asked for everything that a server can offer; it does not
    /// echo and is no COM-PORT server.
    pub(super) fn client(rfc2217: bool) -> Self {
        let side = |state, allowed| Side { state, allowed };
        let comport = if rfc2217 { State::WantYes } else { State::No };
        Self {
            rfc2217,
            far: [
                side(State::WantYes, true),
                side(State::No, true),
                side(State::WantYes, true),
                side(State::No, false),
                side(State::No, false),
            ],
            ours: [
                side(State::WantYes, true),
                side(State::No, false),
                side(State::No, true),
                side(comport, rfc2217),
                side(State::No, false),
            ],
            refused_far: [0; 256],
            refused_ours: [0; 256],
            answers: 0,
        }
    }

    /// The states of a client that waits to be asked, as the client's end in an accepter does; only
    /// COM-PORT is asked for, where that is wanted. ser2net answers the same to everything but the far
    /// end's echo and suppress go-ahead, which it refuses, and to being asked to echo, which it agrees to.
    pub(super) fn waiting_client(rfc2217: bool) -> Self {
        let mut options = Self::client(rfc2217);
        for side in options.far.iter_mut().chain(&mut options.ours[..3]) {
            side.state = State::No;
        }
        options
    }

    /// The request that the states of [`Options::waiting_client`] stand for.
    pub(super) fn waiting_opening(&self, out: &mut Vec<u8>) {
        if self.rfc2217 {
            send(Verb::Will, comport::OPTION, out);
        }
    }

    /// The requests that the states of [`Options::client`] stand for.
    pub(super) fn client_opening(&self, out: &mut Vec<u8>) {
        send(Verb::Do, SUPPRESS_GO_AHEAD, out);
        send(Verb::Will, BINARY, out);
        send(Verb::Do, BINARY, out);
        if self.rfc2217 {
            send(Verb::Will, comport::OPTION, out);
        }
    }

    /// The requests that the states of [`Options::new`] stand for.
    pub(super) fn opening(&self, out: &mut Vec<u8>) {
        send(Verb::Will, SUPPRESS_GO_AHEAD, out);
        send(Verb::Do, SUPPRESS_GO_AHEAD, out);
        send(Verb::Will, ECHO, out);
        send(Verb::Dont, ECHO, out);
        send(Verb::Do, BINARY, out);
        send(Verb::Will, BINARY, out);
        if self.rfc2217 {
            send(Verb::Do, comport::OPTION, out);
        }
        if self.far[4].state == State::WantYes {
            send(Verb::Do, WINDOW_SIZE, out);
        }
    }

    /// Takes a verb of the far end and appends the answer, if one is due.
    pub(super) fn receive(&mut self, verb: Verb, option: u8, out: &mut Vec<u8>) -> Change {
        let of_far = matches!(verb, Verb::Will | Verb::Wont);
        let on = matches!(verb, Verb::Will | Verb::Do);
        let (sides, refused, accept, refuse) = if of_far {
            (&mut self.far, &mut self.refused_far, Verb::Do, Verb::Dont)
        } else {
            (&mut self.ours, &mut self.refused_ours, Verb::Will, Verb::Wont)
        };
        let mut none = Side { state: State::No, allowed: false };
        let side = index(option).map_or(&mut none, |at| &mut sides[at]);
        let (next, answer) = match (side.state, on) {
            (State::No | State::Unspoken, true) if side.allowed => (State::Yes, Some(accept)),
            (State::No | State::Unspoken, true) => {
                side.state = State::No;
                let count = &mut refused[usize::from(option)];
                if *count < MAX_REFUSALS {
                    *count += 1;
                    send(refuse, option, out);
                }
                return Change::None;
            }
            (State::WantYes | State::Yes, true) => (State::Yes, None),
            (State::No | State::WantYes, false) => (State::No, None),
            (State::Unspoken | State::Yes, false) => (State::No, Some(refuse)),
        };
        let before = std::mem::replace(&mut side.state, next);
        if let Some(verb) = answer
            && self.answers < MAX_ANSWERS
        {
            self.answers += 1;
            send(verb, option, out);
        }
        match (of_far, before == State::Yes, next == State::Yes) {
            (true, false, true) => Change::FarOn,
            (true, true, false) => Change::FarOff,
            (false, false, true) => Change::OursOn,
            (false, true, false) => Change::OursOff,
            (false, false, false) if before == State::WantYes => Change::OursOff,
            _ => Change::None,
        }
    }

    /// The far end has sent data: what follows is not a mere loop of negotiation.
    pub(super) fn data(&mut self) {
        self.answers = 0;
    }

    /// The client used COM-PORT. If it has asked for the option, though at the wrong end, and has not
    /// said whether it will, this says that it does; true: it is news.
    ///
    /// pyserial needs this. It asks for COM-PORT at both ends, but when the server's DO reaches it
    /// before it has sent its own WILL, it takes the option as agreed upon and never sends WILL.
    pub(super) fn imply_comport(&mut self) -> bool {
        let asked = self.refused_ours[usize::from(comport::OPTION)] > 0;
        let side = &mut self.far[3];
        let news = asked && side.state == State::WantYes;
        if news {
            side.state = State::Yes;
        }
        news
    }

    /// The far end tells the size of its window.
    pub(super) fn window_agreed(&self) -> bool {
        self.far[4].state == State::Yes
    }

    pub(super) fn comport_agreed(&self) -> bool {
        self.far[3].state == State::Yes
    }
}

fn send(verb: Verb, option: u8, out: &mut Vec<u8>) {
    let verb = match verb {
        Verb::Will => code::WILL,
        Verb::Wont => code::WONT,
        Verb::Do => code::DO,
        Verb::Dont => code::DONT,
    };
    out.extend_from_slice(&[code::IAC, verb, option]);
}
