//! Clients that keep throwing each other out (`kickolduser`).
//!
//! Two clients that both connect again as soon as they are kicked would take the port from each other
//! for ever, and open and close the device each time. When it has gone to and fro [`SWAPS`] times
//! within [`WINDOW`], the one that has the port keeps it: newcomers from the two addresses are
//! refused for a while.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Kicks between two addresses within [`WINDOW`] that are no accident.
const SWAPS: usize = 3;
/// Time in which kicks are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// How long newcomers of the two are refused, the first time.
const FIRST_HOLD: Duration = Duration::from_secs(10);
/// The time is doubled up to this when the same two begin again.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Two addresses, the smaller one first.
type Pair = (IpAddr, IpAddr);

fn pair(a: IpAddr, b: IpAddr) -> Pair {
    if a <= b { (a, b) } else { (b, a) }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    pair: Pair,
    until: Instant,
    length: Duration,
}

/// What a port remembers of its kicks, from the first on.
#[derive(Debug, Default)]
pub(super) struct Duels(Option<Box<Memory>>);

/// At most [`SWAPS`] kicks.
#[derive(Debug, Default)]
struct Memory {
    kicks: VecDeque<(Instant, Pair)>,
    hold: Option<Hold>,
}

/// Whether a newcomer may throw somebody out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Kick,
    /// The hold-off begins, for this time: worth a line in the log.
    Begins(Duration),
    /// It is held off.
    Refuse,
}

impl Duels {
    /// A client at `newcomer` would throw out the one at `old`. [`Verdict::Kick`] is remembered.
    pub(super) fn judge(&mut self, newcomer: IpAddr, old: IpAddr, now: Instant) -> Verdict {
        let both = pair(newcomer, old);
        let memory = self.0.get_or_insert_default();
        if let Some(hold) = &memory.hold
            && hold.until > now
            && (hold.pair.0 == newcomer || hold.pair.1 == newcomer)
        {
            return Verdict::Refuse;
        }
        memory.kicks.retain(|(when, _)| now.saturating_duration_since(*when) < WINDOW);
        if memory.kicks.iter().filter(|(_, pair)| *pair == both).count() >= SWAPS {
            // those that begin again soon are held off longer
            let again = memory.hold.filter(|hold| hold.pair == both && now < hold.until + LONGEST_HOLD);
            let length = again.map_or(FIRST_HOLD, |hold| (hold.length * 2).min(LONGEST_HOLD));
            memory.hold = Some(Hold { pair: both, until: now + length, length });
            memory.kicks.clear();
            return Verdict::Begins(length);
        }
        if memory.kicks.len() >= SWAPS {
            memory.kicks.pop_front();
        }
        memory.kicks.push_back((now, both));
        Verdict::Kick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn two_that_keep_swapping_are_held_off_for_longer_and_longer() {
        let start = Instant::now();
        let mut duels = Duels::default();
        let mut at = start;
        for (length, want) in [(10, 10), (20, 20), (40, 40), (60, 60), (60, 60)] {
            for (new, old) in [(B, A), (A, B), (B, A)] {
                assert_eq!(duels.judge(new, old, at), Verdict::Kick);
                at += second(1);
            }
            assert_eq!(duels.judge(A, B, at), Verdict::Begins(second(length)));
            assert_eq!(duels.judge(A, B, at + second(want - 1)), Verdict::Refuse);
            assert_eq!(duels.judge(B, B, at + second(want - 1)), Verdict::Refuse);
            at += second(want);
        }
        // long after, it is forgotten
        at += second(61);
        for _ in 0..SWAPS {
            assert_eq!(duels.judge(A, B, at), Verdict::Kick);
        }
        assert_eq!(duels.judge(A, B, at), Verdict::Begins(FIRST_HOLD));
    }

    #[test]
    fn others_are_not_hit_and_slow_swaps_are_no_duel() {
        let start = Instant::now();
        let mut duels = Duels::default();
        for _ in 0..SWAPS {
            duels.judge(A, B, start);
        }
        assert_eq!(duels.judge(A, B, start), Verdict::Begins(FIRST_HOLD));
        assert_eq!(duels.judge(C, B, start), Verdict::Kick);
        let mut duels = Duels::default();
        for n in 0..20 {
            assert_eq!(duels.judge(A, B, start + second(4 * n)), Verdict::Kick, "{n}");
        }
        // three at one port, each taking it once
        let mut duels = Duels::default();
        for (new, old) in [(B, A), (C, B), (A, C), (B, A), (C, B)] {
            assert_eq!(duels.judge(new, old, start), Verdict::Kick);
        }
        assert!(duels.0.unwrap().kicks.len() <= SWAPS);
    }
}
