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

use super::matcher::Matcher;
use crate::config::Options;
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
    enabled: bool,
    /// Tenths of characters.
    scale: u32,
    min: Duration,
    max: Duration,
    limit: usize,
    /// The wait at the present line settings.
    wait: Duration,
    sendon: Option<Matcher>,
    held: Vec<u8>,
    first: Option<Instant>,
}

impl Batch {
    /// A batch with the options of a connection at these line settings.
    /// `sendon` is the option's text with its escapes filled in.
    pub fn new(options: &Options, sendon: Option<Vec<u8>>, line: &LineSettings) -> Self {
        let mut batch = Self {
            enabled: options.chardelay,
            scale: options.chardelay_scale,
            min: Duration::from_micros(options.chardelay_min.into()),
            max: Duration::from_micros(options.chardelay_max.into()),
            limit: options.dev_to_net_bufsize.max(1),
            wait: Duration::ZERO,
            sendon: sendon.filter(|s| !s.is_empty()).map(Matcher::new),
            held: Vec::new(),
            first: None,
        };
        batch.set_line(line);
        batch
    }

    /// The line settings changed: a character takes another time now.
    pub fn set_line(&mut self, line: &LineSettings) {
        let tenths = u64::from(self.scale) * char_nanos(line) / 10;
        self.wait = Duration::from_nanos(tenths).max(self.min).min(self.max.max(self.min));
    }

    /// Looks at `data`, which comes after all that is held.
    pub fn decide(&mut self, data: &[u8], now: Instant) -> Decision {
        let sendon = self.sendon.as_mut().is_some_and(|m| m.feed(data));
        if !self.enabled || sendon || self.held.len() + data.len() >= self.limit {
            return Decision::Send;
        }
        let first = *self.first.get_or_insert(now);
        Decision::Wait((now + self.wait).min(first + self.max.max(self.wait)))
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

/// Nanoseconds that one character takes on the line: start bit, data, parity and stop bits.
fn char_nanos(line: &LineSettings) -> u64 {
    let parity = u64::from(line.parity != crate::serial::settings::Parity::None);
    let bits = 1 + u64::from(line.size) + parity + u64::from(line.stop);
    bits * 1_000_000_000 / u64::from(line.baud.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(enabled: bool, sendon: Option<&str>, baud: u32) -> Batch {
        let options = Options { chardelay: enabled, ..Options::default() };
        let line = LineSettings { baud, ..LineSettings::default() };
        Batch::new(&options, sendon.map(|s| s.as_bytes().to_vec()), &line)
    }

    #[test]
    fn waits_two_characters_but_at_least_the_minimum() {
        let t = Instant::now();
        assert_eq!(
            batch(true, None, 9600).decide(b"x", t),
            Decision::Wait(t + Duration::from_nanos(2_083_332))
        );
        assert_eq!(batch(true, None, 115_200).decide(b"x", t), Decision::Wait(t + Duration::from_millis(1)));
    }

    #[test]
    fn no_byte_waits_longer_than_the_maximum() {
        let t = Instant::now();
        let mut b = batch(true, None, 9600);
        b.decide(b"x", t);
        b.hold(b"x");
        let late = t + Duration::from_micros(19_500);
        assert_eq!(b.decide(b"y", late), Decision::Wait(t + Duration::from_millis(20)));
    }

    #[test]
    fn a_full_buffer_goes_at_once() {
        let t = Instant::now();
        let mut b = batch(true, None, 9600);
        assert!(matches!(b.decide(&[0; 63], t), Decision::Wait(_)));
        b.hold(&[0; 63]);
        assert_eq!(b.decide(b"x", t), Decision::Send);
        assert_eq!(b.clear(), 63);
        assert!(matches!(b.decide(b"x", t), Decision::Wait(_)));
    }

    #[test]
    fn sendon_ends_a_batch_even_when_it_comes_in_pieces() {
        let t = Instant::now();
        let mut b = batch(true, Some("\r\n"), 9600);
        assert!(matches!(b.decide(b"abc\r", t), Decision::Wait(_)));
        b.hold(b"abc\r");
        assert_eq!(b.decide(b"\n", t), Decision::Send);
    }

    #[test]
    fn without_chardelay_everything_goes_at_once() {
        assert_eq!(batch(false, None, 9600).decide(b"x", Instant::now()), Decision::Send);
    }

    #[test]
    fn absurd_speeds_do_not_overflow() {
        for baud in [0, 1, u32::MAX] {
            let t = Instant::now();
            assert!(
                matches!(batch(true, None, baud).decide(b"x", t), Decision::Wait(at) if at <= t + Duration::from_millis(20))
            );
        }
    }
}
