//! The line at the far end of a connector: requests of clients go there, answers come back.

use super::actor::Port;
use super::device::DeviceState;
use crate::connect::Event;
use crate::metrics::{DropDirection, DropReason, PortState};
use crate::serial::request::{Notice, Reply, Request};
use std::task::Context;
use std::time::{Duration, Instant};

/// Answers that the far end owes a client at the most; beyond it the oldest is forgotten.
const OWED_MAX: usize = 128;
/// A far end that has not answered by then is answered for: ser2net says nothing to DTR and RTS where
/// there are no modem lines, and clients such as pyserial give up after three seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Which answers a client waits for, oldest first.
#[derive(Debug, Default)]
pub(super) struct Owed(Vec<Debt>);

/// An answer that is owed.
#[derive(Debug)]
struct Debt {
    kind: Kind,
    request: Request,
    due: Instant,
}

/// What an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Baud,
    Size,
    Parity,
    Stop,
    Flow,
    InboundFlow,
    Break,
    Dtr,
    Rts,
    Purge,
}

impl Kind {
    /// The answers to a request that is made to a line; none when it is for nobody but us.
    fn of_request(request: &Request) -> &'static [Self] {
        match request {
            Request::Baud(_) => &[Self::Baud],
            Request::Size(_) => &[Self::Size],
            Request::Parity(_) => &[Self::Parity],
            Request::Stop(_) => &[Self::Stop],
            Request::Flow(_) => &[Self::Flow],
            Request::InboundFlow(_) => &[Self::InboundFlow],
            Request::Break(_) => &[Self::Break],
            Request::Dtr(_) => &[Self::Dtr],
            Request::Rts(_) => &[Self::Rts],
            Request::DtrRts(..) => &[Self::Dtr, Self::Rts],
            Request::RtsDtr(..) => &[Self::Rts, Self::Dtr],
            Request::Purge(_) => &[Self::Purge],
            Request::Signature
            | Request::ClientSignature(_)
            | Request::SendBreak(_)
            | Request::Suspend(_)
            | Request::ModemMask(_)
            | Request::LineMask(_)
            | Request::PollModem
            | Request::PollLine => &[],
        }
    }

    fn of_reply(reply: &Reply) -> Option<Self> {
        Some(match reply {
            Reply::Baud(_) => Self::Baud,
            Reply::Size(_) => Self::Size,
            Reply::Parity(_) => Self::Parity,
            Reply::Stop(_) => Self::Stop,
            Reply::Flow(_) => Self::Flow,
            Reply::InboundFlow(_) => Self::InboundFlow,
            Reply::Break(_) => Self::Break,
            Reply::Dtr(_) => Self::Dtr,
            Reply::Rts(_) => Self::Rts,
            Reply::Purge(_) => Self::Purge,
            Reply::Signature(_) | Reply::ModemMask(_) | Reply::LineMask(_) => return None,
        })
    }
}

impl Owed {
    fn add(&mut self, request: &Request, due: Instant) {
        let single = |kind| match (request, kind) {
            (Request::DtrRts(dtr, _) | Request::RtsDtr(_, dtr), Kind::Dtr) => Request::Dtr(Some(*dtr)),
            (Request::DtrRts(_, rts) | Request::RtsDtr(rts, _), Kind::Rts) => Request::Rts(Some(*rts)),
            _ => request.clone(),
        };
        let kinds = Kind::of_request(request).iter();
        self.0.extend(kinds.map(|&kind| Debt { kind, request: single(kind), due }));
        let excess = self.0.len().saturating_sub(OWED_MAX);
        self.0.drain(..excess);
    }

    /// Takes one answer off; false when none of the kind was owed.
    fn pay(&mut self, kind: Kind) -> bool {
        let found = self.0.iter().position(|owed| owed.kind == kind);
        found.map(|at| self.0.remove(at)).is_some()
    }

    /// When the oldest answer is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.first().map(|debt| debt.due)
    }

    /// Takes the oldest request off whose answer is overdue.
    fn overdue(&mut self, now: Instant) -> Option<Request> {
        self.due().filter(|due| *due <= now).map(|_| self.0.remove(0).request)
    }
}

impl Port {
    /// Passes a request on to the line at the far end. False: there is none, or the request is
    /// answered here.
    pub(super) fn ask_far_line(&mut self, cx: &mut Context<'_>, index: usize, request: &Request) -> bool {
        let kinds = Kind::of_request(request);
        let is_break = matches!(request, Request::SendBreak(_));
        let DeviceState::Open(open) = &mut self.dev else { return false };
        // a telnet break reaches far ends that have no RFC 2217
        let channel = if is_break { open.device.channel() } else { open.device.far() };
        let Some(channel) = channel else { return false };
        if (kinds.is_empty() && !is_break) || !channel.request(request) {
            return false;
        }
        self.sessions[index].owed.add(request, self.now + ANSWER_LIMIT);
        if let Request::Purge(what) = request {
            self.purge(*what);
        }
        // requests go out by flushing, and after the data before them
        self.flush_to_device(cx);
        true
    }

    /// Takes what the far line says to the clients. Line settings of one client are told to all of
    /// them, as those of a serial device are.
    pub(super) fn hear_far_line(&mut self, cx: &mut Context<'_>) {
        loop {
            let DeviceState::Open(open) = &mut self.dev else { return };
            let Some(event) = open.device.channel().and_then(|channel| channel.event()) else { return };
            self.moved = true;
            match event {
                Event::Reply(reply) => self.far_reply(cx, &reply),
                Event::Notice(notice) => {
                    if let Notice::Modem(state) = notice {
                        open.far_modem = state & 0xf0;
                    }
                    for session in &mut self.sessions {
                        session.send_notice(cx, notice, false);
                    }
                }
                Event::Unheard(request) => self.unheard(cx, &request),
                Event::Lost(failure, text) => {
                    open.lost = true;
                    self.report.failed(failure, text);
                }
                Event::Back => self.line_is_back(cx),
                Event::Discarded(count) => {
                    self.dropped(DropDirection::ToDevice, DropReason::DeviceClosed, count);
                }
            }
        }
    }

    /// What is below `keepopen` is open, perhaps again: a serial device there gets what was asked of
    /// the line while it was another one, or while there was none.
    fn line_is_back(&mut self, cx: &mut Context<'_>) {
        let DeviceState::Open(open) = &mut self.dev else { return };
        if std::mem::take(&mut open.lost) {
            self.report.state(PortState::Open);
        }
        if open.device.settings().is_none() {
            return;
        }
        let (told, (dtr, rts)) = (open.line, open.outputs);
        let lines = open.device.modem_lines();
        open.has_modem = lines.is_ok();
        open.counters = open.device.error_counters();
        if open.break_on && open.device.set_break(true).is_err() {
            open.break_on = false;
        }
        if dtr.is_some() || rts.is_some() {
            self.set_modem(dtr, rts);
        }
        let line = self.set_line(Some(told), told);
        if line.baud != told.baud {
            for session in &mut self.sessions {
                session.inform(cx, &Reply::Baud(line.baud));
            }
        }
        self.schedule_look();
    }

    /// Answers what the far end has not answered in time.
    pub(super) fn answer_for_far_line(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.sessions.len() {
            while let Some(request) = self.sessions[index].owed.overdue(self.now) {
                self.answer(cx, index, request);
            }
        }
    }

    fn far_reply(&mut self, cx: &mut Context<'_>, reply: &Reply) {
        let Some(kind) = Kind::of_reply(reply) else { return };
        self.remember(reply);
        for session in &mut self.sessions {
            if session.owed.pay(kind) {
                session.send_reply(cx, reply);
            } else if kind != Kind::Purge {
                session.inform(cx, reply);
            }
        }
    }

    /// There is no line after all: whoever asked is answered here.
    fn unheard(&mut self, cx: &mut Context<'_>, request: &Request) {
        let kinds = Kind::of_request(request);
        let asker = self.sessions.iter_mut().position(|session| {
            kinds.iter().map(|kind| session.owed.pay(*kind)).fold(false, |found, paid| found | paid)
        });
        if let Some(index) = asker {
            self.answer(cx, index, request.clone());
        }
    }

    /// What the far line has in force now.
    fn remember(&mut self, reply: &Reply) {
        let DeviceState::Open(open) = &mut self.dev else { return };
        match *reply {
            Reply::Baud(baud) => open.line.baud = baud,
            Reply::Size(size) => open.line.size = size,
            Reply::Parity(parity) => open.line.parity = parity,
            Reply::Stop(stop) => open.line.stop = stop,
            Reply::Flow(flow) => open.line.flow = flow,
            _ => return,
        }
        let line = open.line;
        if let Some(batch) = &mut self.batch {
            batch.set_line(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_owed_once() {
        let mut owed = Owed::default();
        let now = Instant::now();
        owed.add(&Request::DtrRts(true, false), now);
        assert!(owed.pay(Kind::Rts) && owed.pay(Kind::Dtr) && !owed.pay(Kind::Dtr));
        owed.add(&Request::RtsDtr(true, false), now + ANSWER_LIMIT);
        assert_eq!(owed.overdue(now), None);
        assert_eq!(owed.overdue(now + ANSWER_LIMIT), Some(Request::Rts(Some(true))));
        assert_eq!(owed.overdue(now + ANSWER_LIMIT), Some(Request::Dtr(Some(false))));
        assert_eq!(owed.overdue(now + ANSWER_LIMIT), None);
        for _ in 0..OWED_MAX {
            owed.add(&Request::Baud(None), now);
        }
        owed.add(&Request::Stop(None), now);
        assert_eq!(owed.0.len(), OWED_MAX);
        assert!(owed.pay(Kind::Stop));
    }
}
