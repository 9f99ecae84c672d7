//! What clients are told unasked: changes of the modem lines and line errors (RFC 2217
//! NOTIFY-MODEMSTATE and NOTIFY-LINESTATE). Error counters go to the metrics by the same look.

use super::actor::Port;
use super::device::OpenDevice;
use crate::metrics::SerialError;
use crate::serial::request::Notice;
use crate::serial::{Changes, Counters, Look};
use std::task::Context;
use std::time::{Duration, Instant};

/// How often the device is looked at when nobody is in a hurry; ser2net looks once a second too.
const SELDOM: Duration = Duration::from_secs(1);
/// How often counters are looked at while a client wants to know of line errors: no driver tells of
/// them by itself.
const OFTEN: Duration = Duration::from_millis(10);
/// Time until the look behind an edge, which finds those that came while the watch was busy with it.
const AGAIN: Duration = Duration::from_millis(10);

/// Looks that are to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looks {
    /// Time between two of them; `None`: there is nothing to look for.
    pace: Option<Duration>,
    /// The next one.
    at: Option<Instant>,
    /// The modem lines are looked at, and the device tells of their edges.
    modem: bool,
    changes: Changes,
}

impl Looks {
    pub(super) fn due(self) -> Option<Instant> {
        self.at
    }
}

/// Who has asked for the state, and gets it as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Nobody,
    Modem(usize),
    Line(usize),
}

impl Port {
    /// Decides what is to be looked at, and how often. To be called when clients come or go, or
    /// change their minds.
    pub(super) fn schedule_look(&mut self) {
        let mut codecs = self.sessions.iter().filter_map(|s| s.codec.as_ref());
        let modem = codecs.clone().any(|codec| codec.wants_modem());
        let line = codecs.any(|codec| codec.wants_line());
        let now = self.now;
        // edges of the lines are asked for where everything is
        self.moved = true;
        let Some(open) = self.dev.open() else { return };
        let modem = modem && open.has_modem;
        let pace = match (open.counters.is_some(), modem) {
            (true, _) if line => Some(OFTEN),
            (false, false) => None,
            _ => Some(SELDOM),
        };
        let begins = modem && !open.looks.modem;
        let watched = open.device.watch_modem(modem);
        let next = pace.map(|pace| if begins { AGAIN } else { pace }).and_then(|time| now.checked_add(time));
        let at = if pace == open.looks.pace && !begins { open.looks.at.or(next) } else { next };
        // what was owed before nobody looked is not owed any more
        let changes = if begins { Changes::default() } else { open.looks.changes };
        open.looks = Looks { pace, at, modem, changes };
        if let Err(e) = watched {
            let text = format!("changes of the modem lines are told late, they cannot be watched: {e}");
            self.complain("watch", &text);
        }
    }

    /// Tells clients and metrics what is new, if it is time or the device has noticed something.
    pub(super) fn poll_notices(&mut self, cx: &mut Context<'_>) {
        let now = self.now;
        let Some(open) = self.dev.open() else { return };
        let edges = open.device.poll_edges(cx).is_ready();
        if !edges && open.looks.at.is_none_or(|at| at > now) {
            return;
        }
        let Looks { pace, modem, .. } = open.looks;
        let next = pace.map(|pace| if edges { AGAIN.min(pace) } else { pace });
        open.looks.at = next.and_then(|time| now.checked_add(time));
        // A filter may have opened its device anew; a watch that goes on is not touched. Without one
        // this look is all there is, as `schedule_look` has said.
        let _ = open.device.watch_modem(modem);
        // the device is asked again for edges in the next round
        self.moved |= edges;
        self.look(cx, modem, Asker::Nobody);
    }

    /// Answers a client that asks for the state of the modem lines.
    pub(super) fn tell_modem(&mut self, cx: &mut Context<'_>, index: usize) {
        if self.dev.open().is_some_and(|open| open.has_modem) {
            self.look(cx, true, Asker::Modem(index));
        }
        let state = self.dev.open().map_or(0, |open| open.modem.state(None) | open.far_modem);
        self.sessions[index].send_notice(cx, Notice::Modem(state), true);
        self.schedule_look();
    }

    /// Answers a client that asks for line errors with those that nobody was told of yet.
    pub(super) fn tell_line(&mut self, cx: &mut Context<'_>, index: usize) {
        let modem = self.dev.open().is_some_and(|open| open.looks.modem);
        let state = self.look(cx, modem, Asker::Line(index));
        self.sessions[index].send_notice(cx, Notice::Line(state), true);
    }

    /// Looks at counters, and at the modem lines if `modem`. All but the one who asked are told what
    /// is new, as far as they want to know. Returns the line errors.
    fn look(&mut self, cx: &mut Context<'_>, modem: bool, asker: Asker) -> u8 {
        let Some(open) = self.dev.open() else { return 0 };
        let mut errors = 0;
        for look in open.device.look(modem) {
            let Some(open) = self.dev.open() else { break };
            let before = open.seen(look);
            let moved = look.lines.is_some().then(|| open.looks.changes.state(&before, &look));
            let line = match (before.counters, look.counters) {
                (Some(before), Some(after)) => {
                    self.count_errors(before, after);
                    after.state_since(before)
                }
                _ => 0,
            };
            errors |= line;
            for (i, session) in self.sessions.iter_mut().enumerate() {
                if let Some(state) = moved
                    && asker != Asker::Modem(i)
                {
                    // the codec sends it if a line that the client cares about has changed
                    session.send_notice(cx, Notice::Modem(state), false);
                }
                if line != 0 && asker != Asker::Line(i) {
                    session.send_notice(cx, Notice::Line(line), false);
                }
            }
        }
        errors
    }

    fn count_errors(&self, before: Counters, after: Counters) {
        for (kind, count) in [
            (SerialError::Overrun, after.overrun.wrapping_sub(before.overrun)),
            (SerialError::Frame, after.frame.wrapping_sub(before.frame)),
            (SerialError::Parity, after.parity.wrapping_sub(before.parity)),
            (SerialError::Break, after.breaks.wrapping_sub(before.breaks)),
            (SerialError::BufferOverrun, after.buffer_overrun.wrapping_sub(before.buffer_overrun)),
        ] {
            if count > 0 {
                self.report.metrics().serial_errors(kind, count.into());
            }
        }
    }
}

impl OpenDevice {
    /// Remembers `look` and returns what was remembered before it.
    fn seen(&mut self, look: Look) -> Look {
        let before = Look { lines: Some(self.modem), counters: self.counters };
        if let Some(lines) = look.lines {
            self.modem = lines;
        }
        if self.counters.is_some() && look.counters.is_some() {
            self.counters = look.counters;
        }
        before
    }
}
