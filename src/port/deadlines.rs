//! What happens to a port by time: the earliest of it, and what is due.

use super::actor::{Phase, Port};
use super::data::HELD_LIMIT;
use super::session::Session;
use super::visitors::Leaving;
use crate::metrics::CloseReason;
use crate::net::udp;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

impl Port {
    /// The task wakes up for the earliest thing that is to happen by time, or earlier: what bytes put
    /// off is seen to be put off when its old time has come.
    pub(super) fn is_armed(&self) -> bool {
        self.next_deadline().is_none_or(|at| self.alarm.as_ref().is_some_and(|alarm| alarm.at() <= at))
    }

    /// Makes sure that the task wakes up for the earliest thing that is to happen by time.
    #[cold]
    pub(super) fn set_alarm(&mut self, cx: &mut Context<'_>) {
        for session in &mut self.sessions {
            session.rearm = false;
        }
        let Some(at) = self.next_deadline() else {
            self.alarm = None;
            return;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::new(self.env.alarms.until(at)));
        alarm.reset(at);
        if Pin::new(alarm).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let ending = match self.phase {
            Phase::Ending(at) => Some(at),
            _ => None,
        };
        let leaving = self.leaving.iter().map(Leaving::deadline);
        let idle = self.sessions.iter().filter_map(|s| self.idle_deadline(s));
        let held = self.sessions.iter().filter_map(|s| s.held.as_ref()).map(|h| h.since + HELD_LIMIT);
        let batch = self.batch_due.filter(|_| self.batch_timer.is_none());
        ending
            .into_iter()
            .chain(batch)
            .chain(leaving)
            .chain(idle)
            .chain(held)
            .chain(self.slow_deadline())
            .chain(self.callback_deadline())
            .chain(self.lookout_deadline())
            .chain(self.hold_deadline())
            .chain(self.sessions.iter().filter_map(|s| s.look_due()))
            .chain(self.dev.deadlines())
            .chain(self.sessions.iter().filter_map(|s| s.owed.due()))
            .min()
    }

    pub(super) fn poll_timers(&mut self, cx: &mut Context<'_>) {
        for i in 0..self.sessions.len() {
            if self.sessions[i].look_due().is_some_and(|at| at <= self.now) {
                self.sessions[i].look_at_peer(self.now);
                self.moved |= self.sessions[i].ending.is_some();
            }
            let due = self.idle_deadline(&self.sessions[i]).is_some_and(|at| at <= self.now);
            if due && self.sessions[i].ending.is_none() {
                let session = &mut self.sessions[i];
                let mut waits = || session.backlog() > 0 || session.stream.unacknowledged() > 0;
                if self.conn.options.timeout_on_os_queue && waits() {
                    session.active = self.now;
                } else {
                    session.ending = Some(CloseReason::Idle);
                    self.moved = true;
                }
            }
        }
        self.opening_hangs(cx);
        self.end_held();
        self.poll_device_timers(cx);
        self.answer_for_far_line(cx);
    }

    /// When an idle client is closed: ser2net counts whole seconds from when the device was
    /// opened, and closes at the first tick after more than `timeout` of them. Clients of UDP do not
    /// stay for ever in any case: nobody tells when they go away.
    fn idle_deadline(&self, session: &Session) -> Option<Instant> {
        let timeout = match (session.dialled, self.conn.options.connback_timeout) {
            (Some(_), Some(timeout)) => Some(timeout).filter(|t| !t.is_zero()),
            _ => self.timeout(),
        };
        let Some(timeout) = timeout else {
            return session.stream.is_datagrams().then(|| session.active + udp::IDLE_LIMIT);
        };
        let epoch = self.dev.opened_at()?;
        let ticks = session.active.saturating_duration_since(epoch).as_secs();
        epoch.checked_add(Duration::from_secs(ticks.checked_add(1)?)).and_then(|t| t.checked_add(timeout))
    }
}
