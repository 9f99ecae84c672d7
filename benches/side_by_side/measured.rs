//! What one measurement gives.

use std::collections::BTreeMap;
use std::time::Duration;

/// The figures of one peer in one round, by name. A name ends in its unit: `p50 ms`, `CPU s/GiB`.
pub(crate) type Round = BTreeMap<&'static str, f64>;

/// Round trips (or connections) the 99th percentile needs, and the 99.9th.
pub(crate) const FOR_P99: usize = 100;
pub(crate) const FOR_P999: usize = 1000;

const GIB: f64 = 1_073_741_824.0;

/// How long one measurement lasts.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Time bytes are sent, round trips made or connections opened for.
    pub(crate) time: Duration,
    /// Round trips that are made even if it takes longer…
    pub(crate) round_trips: usize,
    /// …but not longer than this.
    pub(crate) limit: Duration,
    /// Longest time one of them may take.
    pub(crate) patience: Duration,
}

/// The figures of one measurement, and what its processor time is shared among.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) round: Round,
    pub(crate) work: Work,
    /// What figures cannot say.
    pub(crate) note: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Bytes taken from one end and given to the other; each copy counts.
    Payload(u64),
    RoundTrips(usize),
    Connections(usize),
}

impl Measured {
    /// Adds what the work cost the peer: its processor time, and its resident memory in KiB.
    #[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
    pub(crate) fn cost(&mut self, cpu: Duration, resident: u64) {
        let cpu = cpu.as_secs_f64();
        self.round.insert("CPU s", cpu);
        self.round.insert("RSS MiB", resident as f64 / 1024.0);
        let (name, value) = match self.work {
            Work::Payload(bytes) => ("CPU s/GiB", cpu * GIB / bytes as f64),
            Work::RoundTrips(count) => ("CPU µs/round trip", cpu * 1e6 / count as f64),
            Work::Connections(count) => ("CPU µs/connection", cpu * 1e6 / count as f64),
        };
        self.round.insert(name, value);
    }
}

/// The figures of a transfer of so many payload bytes.
#[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
pub(crate) fn throughput(bytes: u64, time: Duration) -> Round {
    let rate = bytes as f64 / 1e6 / time.as_secs_f64();
    Round::from([("bytes", bytes as f64), ("seconds", time.as_secs_f64()), ("MB/s", rate)])
}

/// Percentiles of `times`, as far as there are enough of them for each, and their number.
#[expect(clippy::cast_precision_loss, reason = "a run makes far fewer than 2^52 round trips")]
pub(crate) fn percentiles(mut times: Vec<Duration>) -> Round {
    times.sort_unstable();
    let mut round = Round::from([("samples", times.len() as f64)]);
    for (name, permille, needed) in
        [("p50 ms", 500, 1), ("p99 ms", 990, FOR_P99), ("p99.9 ms", 999, FOR_P999)]
    {
        if times.len() >= needed {
            round.insert(name, percentile(&times, permille).as_secs_f64() * 1e3);
        }
    }
    round
}

/// The smallest of the sorted `times` that so many thousandths of them do not exceed (nearest rank).
fn percentile(times: &[Duration], permille: usize) -> Duration {
    let rank = (times.len() * permille).div_ceil(1000).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}
