//! Clients that take less than the device sends.
//!
//! A client that is alone holds the device back. With others beside it, its bytes are kept, up to
//! `slow-client-limit`. Beyond that somebody has to give way, and `slow-client` says who:
//!
//! * `backpressure`: the device waits, and with it all other clients.
//! * `drop-oldest`: nobody waits. The client loses what it did not read in time, the oldest bytes
//!   first; the device is read also when such a client is alone.
//! * `disconnect`:
//!   * For a client that still reads the device waits, if it can ([`Device::can_wait`]): then nobody
//!     loses anything, and everybody gets the pace of the slowest. To be behind for a moment is no
//!     fault, and a burst of a fast device must not cost a client its connection.
//!   * A client that takes less than [`PACE`] in [`PATIENCE`] is closed: the others would wait for
//!     it for ever, or have to go at a pace below that of common lines. Bytes count as taken when its
//!     system acknowledges them: a long send buffer says for seconds that nothing can be written
//!     although the client reads all the time.
//!   * A device that cannot wait goes on sending, and what is not read in time is lost for everybody.
//!     There every client beyond the limit is closed.
//!
//! The look at what a client takes begins at half of the limit, so that with the default limit and a
//! line of up to 4 Mbit/s it is over before the limit is reached: a client that stopped reading does
//! not make the others wait there, and with a faster device it does so once, for [`PATIENCE`].
//!
//! [`Device::can_wait`]: crate::serial::Device::can_wait

use super::actor::Port;
use super::session::Session;
use crate::config::SlowClient;
use crate::metrics::CloseReason;
use std::time::{Duration, Instant};

/// How long a client is watched before it is decided whether it still reads.
const PATIENCE: Duration = Duration::from_millis(250);
/// Bytes that a client beyond the limit takes in [`PATIENCE`], or is closed: as many as a line with
/// 460,800 baud would send.
const PACE: usize = 460_800 / 10 / 4;

/// What a client that is far behind takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    since: Instant,
    /// Bytes that were on their way when the watch began, and that were sent after that.
    given: usize,
}

impl Watch {
    #[cold]
    fn begin(session: &mut Session, now: Instant) -> Self {
        Self { since: now, given: session.stream.unacknowledged() }
    }

    /// When it is decided.
    fn ends(self) -> Instant {
        self.since + PATIENCE
    }
}

impl Session {
    /// Begins to watch a client that is far behind, or ends it for one that is not (any more).
    /// To be called when data was queued for it.
    pub(super) fn watch(&mut self, now: Instant) {
        if self.backlog() <= self.care.limit / 2 {
            self.watch = None;
        } else if self.watch.is_none() {
            self.watch = Some(Watch::begin(self, now));
        }
    }

    /// Of what waited, `count` bytes were written.
    pub(super) fn wrote(&mut self, count: usize, now: Instant) {
        if let Some(watch) = &mut self.watch {
            watch.given += count;
        }
        self.watch(now);
    }

    /// Data goes to the client, and it has taken all that there was.
    fn takes_more(&self) -> bool {
        self.greeted && self.ending.is_none() && self.can_take()
    }

    /// More waits for the client than is kept for it.
    fn beyond_limit(&self) -> bool {
        self.backlog() > self.care.limit && self.greeted && self.ending.is_none() && self.deaf.is_none()
    }

    /// Closes a client beyond the limit if it takes too little.
    fn judge(&mut self, now: Instant) {
        self.watch(now);
        let Some(watch) = self.watch.filter(|watch| watch.ends() <= now) else { return };
        let again = Watch::begin(self, now);
        if watch.given.saturating_sub(again.given) >= PACE {
            self.watch = Some(again);
        } else {
            self.ending = Some(CloseReason::SlowReader);
        }
    }
}

impl Port {
    /// Somebody has taken everything and wants more.
    fn somebody_can_take(&self) -> bool {
        self.sessions.iter().any(|session| session.takes_more())
    }

    /// The device is read while at least one client has taken everything, and nobody needs it to
    /// wait: one that stops reading holds the device back when it is alone, but not when others
    /// keep up.
    pub(super) fn device_may_send(&self) -> bool {
        if self.drains_device() {
            return true;
        }
        if self.conn.options.slow_client == SlowClient::DropOldest {
            return self.collects() || self.sessions.iter().any(|s| s.greeted && s.ending.is_none());
        }
        let mut somebody = self.collects();
        for session in &self.sessions {
            if session.beyond_limit() {
                return false;
            }
            somebody |= session.takes_more();
        }
        somebody
    }

    /// Decides about the clients that others wait for.
    pub(super) fn judge_slow(&mut self) {
        if self.conn.options.slow_client != SlowClient::Disconnect || !self.somebody_can_take() {
            return;
        }
        let can_wait = self.dev.open().is_none_or(|open| open.device.can_wait());
        for session in self.sessions.iter_mut().filter(|s| s.beyond_limit()) {
            if can_wait {
                session.judge(self.now);
            } else {
                session.ending = Some(CloseReason::SlowReader);
            }
            self.moved |= session.ending.is_some();
        }
    }

    /// When [`Port::judge_slow`] has to look again.
    pub(super) fn slow_deadline(&self) -> Option<Instant> {
        if self.conn.options.slow_client != SlowClient::Disconnect {
            return None;
        }
        let watches = self.sessions.iter().filter(|s| s.beyond_limit()).filter_map(|s| s.watch);
        let first = watches.map(Watch::ends).min()?;
        self.somebody_can_take().then_some(first)
    }
}
