//! Gathering what a device sends into batches (`chardelay`, `sendon`), without a clock inside.
//!
//! ser2net waits for a pause of about two characters before it sends what it gathered, so that a
//! message of the device travels in one segment. The rule, with its defaults:
//!
//! * every arrival starts a wait of `chardelay-scale / 10` characters (2), at least
//!   `chardelay-min` microseconds (1,000);
//! * no byte waits longer than `chardelay-max` microseconds (20,000);
//! * as soon as `dev-to-net-bufsize` bytes (64) are there, or the `sendon` string came, all of it
//!   is sent at once.
//!
//! `chardelay: adaptive` keeps these rules for what follows something, and sends the first bytes
//! at once: those after a pause as long as the wait, and those after a client has spoken, which
//! are its answer or echo. So a stream without pauses is sent in the same pieces and one more, and
//! the end of a message comes no later than without it.

use super::matcher::Matcher;
use crate::config::{CharDelay, Options};
use crate::serial::settings::LineSettings;
use std::time::{Duration, Instant};

/// What is to be done with bytes that just came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send all that is gathered, and these bytes after it, now.
    Send,
    /// Keep them ([`Batch::hold`]) and send at this time unless more comes.
    Wait(Instant),
}

/// The gathering state of one port.
#[derive(Debug)]
pub struct Batch {
    mode: CharDelay,
    /// Tenths of characters.
    scale: u32,
    min: Duration,
    max: Duration,
    limit: usize,
    /// The wait at the present line settings.
    wait: Duration,
    sendon: Option<Matcher>,
    held: Vec<u8>,
    /// When the first held byte came.
    first: Option<Instant>,
    /// When the device was heard last; `None`: not since a client spoke.
    heard: Option<Instant>,
}

impl Batch {
    /// A batch with the options of a connection at these line settings.
    /// `sendon` is the option's text with its escapes filled in.
    pub fn new(options: &Options, sendon: Option<Vec<u8>>, line: &LineSettings) -> Self {
        let mut batch = Self {
            mode: options.chardelay,
            scale: options.chardelay_scale,
            min: Duration::from_micros(options.chardelay_min.into()),
            max: Duration::from_micros(options.chardelay_max.into()),
            limit: options.dev_to_net_bufsize.max(1),
            wait: Duration::ZERO,
            sendon: sendon.filter(|s| !s.is_empty()).map(Matcher::new),
            held: Vec::new(),
            first: None,
            heard: None,
        };
        batch.set_line(line);
        batch
    }

    /// The line settings changed: a character takes another time now.
    pub fn set_line(&mut self, line: &LineSettings) {
        let time = char_time(line) * self.scale / 10;
        self.wait = time.max(self.min).min(self.max.max(self.min));
    }

    /// Looks at `data`, which comes after all that is held.
    pub fn decide(&mut self, data: &[u8], now: Instant) -> Decision {
        let sendon = self.sendon.as_mut().is_some_and(|m| m.feed(data));
        let heard = self.heard.replace(now);
        let leads = heard.is_none_or(|at| now.saturating_duration_since(at) >= self.wait);
        let at_once = match self.mode {
            CharDelay::Off => true,
            CharDelay::On => false,
            CharDelay::Adaptive => leads,
        };
        if at_once || sendon || self.held.len() + data.len() >= self.limit {
            return Decision::Send;
        }
        let first = *self.first.get_or_insert(now);
        Decision::Wait((now + self.wait).min(first + self.max.max(self.wait)))
    }

    /// A client spoke: what the device says next may be the answer.
    pub fn spoken_to(&mut self) {
        self.heard = None;
    }

    /// Keeps `data` behind what is held. At most `dev-to-net-bufsize` bytes are ever held, because
    /// [`Batch::decide`] says `Send` before there can be more.
    pub fn hold(&mut self, data: &[u8]) {
        self.held.extend_from_slice(data);
    }

    /// What is held.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes out what is held; [`Batch::reuse`] gives the memory back.
    pub fn take(&mut self) -> Vec<u8> {
        self.first = None;
        std::mem::take(&mut self.held)
    }

    /// Keeps the memory of what [`Batch::take`] gave.
    pub fn reuse(&mut self, mut memory: Vec<u8>) {
        memory.clear();
        self.held = memory;
    }

    /// Forgets what is held and tells how many bytes it was.
    pub fn clear(&mut self) -> usize {
        let n = self.held.len();
        self.held.clear();
        self.first = None;
        n
    }
}

/// Time that one character takes on the line: start bit, data, parity and stop bits.
pub(super) fn char_time(line: &LineSettings) -> Duration {
    let parity = u64::from(line.parity != crate::serial::settings::Parity::None);
    let bits = 1 + u64::from(line.size) + parity + u64::from(line.stop);
    Duration::from_nanos(bits * 1_000_000_000 / u64::from(line.baud.max(1)))
}

#[cfg(test)]
mod tests;
