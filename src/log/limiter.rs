//! Repeated messages: the first at once, then at most one a minute with the number left out.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines of one key.
const WINDOW: Duration = Duration::from_secs(60);
/// Keys remembered by one [`RepeatLog`].
const KEYS: usize = 64;

/// Decides which of many equal messages are written. Time is an argument, so there is no clock here.
///
/// Memory is bounded: at most `most_keys` keys are remembered. While all of them are fresh, further
/// keys share one entry, so that a flood of ever new keys makes no flood of lines either.
#[derive(Debug)]
pub struct RepeatLimiter<K> {
    window: Duration,
    most_keys: usize,
    entries: HashMap<K, Entry>,
    others: Option<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    written: Instant,
    left_out: u64,
}

impl Entry {
    /// Counts one occurrence: how many were left out when it is to be written, `None` when not.
    fn occurs(&mut self, window: Duration, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.written) >= window {
            self.written = now;
            Some(std::mem::take(&mut self.left_out))
        } else {
            self.left_out = self.left_out.saturating_add(1);
            None
        }
    }
}

impl<K: Eq + Hash> RepeatLimiter<K> {
    /// One line per key and `window`; at most `most_keys` keys.
    pub fn new(window: Duration, most_keys: usize) -> Self {
        Self { window, most_keys, entries: HashMap::new(), others: None }
    }

    /// The message `key` occurs at `now`: `Some` when it is to be written, with the number of
    /// occurrences that were left out since it was written last.
    pub fn occurs<Q>(&mut self, key: &Q, now: Instant) -> Option<u64>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let window = self.window;
        if let Some(entry) = self.entries.get_mut(key) {
            return entry.occurs(window, now);
        }
        if self.entries.len() >= self.most_keys {
            // an entry with a count is kept for one more window, so that the count is not lost at once
            self.entries.retain(|_, entry| {
                let age = now.saturating_duration_since(entry.written);
                age < window || (entry.left_out > 0 && age < window.saturating_mul(2))
            });
        }
        if self.entries.len() >= self.most_keys {
            return match &mut self.others {
                Some(entry) => entry.occurs(window, now),
                empty => {
                    *empty = Some(Entry { written: now, left_out: 0 });
                    Some(0)
                }
            };
        }
        self.entries.insert(key.to_owned(), Entry { written: now, left_out: 0 });
        Some(0)
    }

    /// The trouble behind `key` is over: the next occurrence is a first one. Returns how many were
    /// left out at the end.
    pub fn over<Q>(&mut self, key: &Q) -> u64
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        self.entries.remove(key).map_or(0, |entry| entry.left_out)
    }
}

/// A [`RepeatLimiter`] with the window of a minute, shared by tasks, for [`log_repeated!`].
///
/// [`log_repeated!`]: crate::log_repeated
#[derive(Debug)]
pub struct RepeatLog(Mutex<RepeatLimiter<String>>);

impl Default for RepeatLog {
    fn default() -> Self {
        Self(Mutex::new(RepeatLimiter::new(WINDOW, KEYS)))
    }
}

impl RepeatLog {
    /// Whether the message `key` is to be written now; the value is shown after the message. Keys
    /// name a kind of trouble (`open`, `write`), not a peer or a number.
    pub fn occurs(&self, key: &str) -> Option<LeftOut> {
        let mut limiter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.occurs(key, Instant::now()).map(LeftOut)
    }

    /// The trouble `key` is over; how often it was left out of the log at the end.
    pub fn over(&self, key: &str) -> LeftOut {
        LeftOut(self.0.lock().unwrap_or_else(PoisonError::into_inner).over(key))
    }
}

/// The number of messages that were left out; shows as nothing when there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut(pub u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (and once more since the last such message)"),
            n => write!(f, " (and {n} times more since the last such message)"),
        }
    }
}

/// Writes a message that may come again and again: `log_repeated!(limiter, "key", warn, "text {x}")`.
/// The limiter is a [`RepeatLog`](crate::log::RepeatLog), the third argument a macro of `tracing`.
#[macro_export]
macro_rules! log_repeated {
    ($limiter:expr, $key:expr, $level:ident, $($text:tt)+) => {
        if let Some(left_out) = $limiter.occurs($key) {
            ::tracing::$level!("{}{left_out}", format_args!($($text)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn first_at_once_then_one_a_minute_with_the_count() {
        let mut limiter = RepeatLimiter::<String>::new(MINUTE, 4);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limiter.occurs("open", at(0)), Some(0));
        for second in 1..60 {
            assert_eq!(limiter.occurs("open", at(second)), None);
        }
        assert_eq!(limiter.occurs("write", at(59)), Some(0), "keys do not disturb each other");
        assert_eq!(limiter.occurs("open", at(60)), Some(59));
        assert_eq!(limiter.occurs("open", at(61)), None);
        assert_eq!(limiter.over("open"), 1);
        assert_eq!(limiter.occurs("open", at(62)), Some(0), "a new trouble is told at once");
        assert_eq!(limiter.over("never"), 0);
    }

    #[test]
    fn new_keys_beyond_the_bound_share_one_line() {
        let mut limiter = RepeatLimiter::<String>::new(MINUTE, 2);
        let start = Instant::now();
        assert_eq!(limiter.occurs("a", start), Some(0));
        assert_eq!(limiter.occurs("b", start), Some(0));
        assert_eq!(limiter.occurs("c", start), Some(0));
        assert_eq!(limiter.occurs("d", start), None);
        assert_eq!(limiter.occurs("e", start + MINUTE / 2), None);
        assert_eq!(limiter.occurs("f", start + MINUTE), Some(0), "old entries make room");
    }

    #[test]
    fn left_out_reads_well() {
        assert_eq!(LeftOut(0).to_string(), "");
        assert_eq!(LeftOut(1).to_string(), " (and once more since the last such message)");
        assert_eq!(LeftOut(5).to_string(), " (and 5 times more since the last such message)");
    }

    proptest! {
        #[test]
        fn bounded_in_keys_and_lines(steps in prop::collection::vec((0u16..500, 0u64..5000), 1..400)) {
            let mut limiter = RepeatLimiter::<String>::new(MINUTE, 8);
            let mut now = Instant::now();
            let (start, mut written, mut counted) = (now, 0u64, 0u64);
            for (key, wait) in &steps {
                now += Duration::from_millis(*wait);
                if let Some(left_out) = limiter.occurs(&key.to_string(), now) {
                    written += 1;
                    counted += left_out + 1;
                }
                prop_assert!(limiter.entries.len() <= 8);
            }
            let windows = (now - start).as_secs() / 60 + 1;
            prop_assert!(written <= windows * 2 * 9, "{written} lines in {windows} windows");
            prop_assert!(counted <= steps.len() as u64);
        }
    }
}
