//! One measurement of a peer with so many ports: start, memory, idleness, paced traffic.

use std::thread;
use std::time::Duration;

use super::bed::{Bed, Memory};
use super::paced::{self, Load, Outcome, percentile};
use crate::peer::Peer;
use crate::table::{Better, Column, Reference, Round, Row, Show, median};

/// Per cent of what was wanted that must be offered or delivered to count as all.
const ALL: f64 = 99.0;
/// Lateness of the generator, p99, from which the figures are as much its own as the peer's.
const LATE_MS: f64 = 5.0;

/// What a peer costs that waits.
pub(crate) struct Waiting {
    pub(crate) start_up: Duration,
    pub(crate) idle: Memory,
    /// Processor time of the idle window, and its length; `None` when there was none.
    pub(crate) idle_cpu: Option<(Duration, Duration)>,
    pub(crate) connected: Memory,
}

/// What it does under load.
pub(crate) struct Loaded {
    pub(crate) outcome: Outcome,
    /// Processor time over the whole of it.
    pub(crate) cpu: Duration,
}

/// Starts `peer` with `count` ports, looks at it idle for the time `idle`, if any, and connects a client
/// to each port.
pub(crate) fn wait(peer: Peer, count: usize, idle: Option<Duration>) -> Result<(Bed, Waiting), String> {
    let mut bed = Bed::start(peer, count, &[])?;
    bed.settle()?;
    let memory = bed.memory()?;
    let mut idle_cpu = None;
    if let Some(window) = idle {
        let before = bed.running.cpu()?;
        thread::sleep(window);
        idle_cpu = Some((bed.running.cpu()?.saturating_sub(before), window));
    }
    bed.connect(0..count)?;
    bed.settle()?;
    let connected = bed.memory()?;
    let waiting = Waiting { start_up: bed.start_up, idle: memory, idle_cpu, connected };
    Ok((bed, waiting))
}

/// Runs the load on all ports of the bed.
pub(crate) fn load(bed: &Bed, load: Load) -> Result<Loaded, String> {
    let before = bed.running.cpu()?;
    let outcome = paced::run(bed, load)?;
    Ok(Loaded { outcome, cpu: bed.running.cpu()?.saturating_sub(before) })
}

const FLOOR: Reference = Reference::BestFloor(Better::Lower);
const SER2NET: Reference = Reference::Named("ser2net");

/// The columns of [`Waiting::figures`].
pub(crate) fn waiting_columns() -> Vec<Column> {
    vec![
        Column::new("start ms (lowest–highest)", "start ms", Show::Range),
        Column::against("÷ floor", "start ms", FLOOR),
        Column::against("÷ ser2net", "start ms", SER2NET),
        Column::new("idle RSS MiB", "idle RSS MiB", Show::Median),
        Column::new("idle PSS MiB", "idle PSS MiB", Show::Median),
        Column::new("idle CPU ms/s", "idle CPU ms/s", Show::Range),
        Column::new("connected RSS MiB", "connected RSS MiB", Show::Range),
        Column::against("÷ floor", "connected RSS MiB", FLOOR),
        Column::against("÷ ser2net", "connected RSS MiB", SER2NET),
        Column::new("KiB a connected port", "KiB/connected port", Show::Median),
    ]
}

impl Waiting {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand ports")]
    pub(crate) fn figures(&self, count: usize) -> Round {
        let mut round = Round::from([
            ("start ms", self.start_up.as_secs_f64() * 1e3),
            ("idle RSS MiB", self.idle.rss / 1024.0),
            ("idle PSS MiB", self.idle.pss / 1024.0),
            ("connected RSS MiB", self.connected.rss / 1024.0),
            ("connected PSS MiB", self.connected.pss / 1024.0),
            ("KiB/connected port", (self.connected.rss - self.idle.rss) / count as f64),
        ]);
        if let Some((cpu, window)) = self.idle_cpu {
            round.insert("idle CPU ms/s", cpu.as_secs_f64() * 1e3 / window.as_secs_f64());
        }
        round
    }
}

/// The columns of [`Loaded::figures`].
pub(crate) fn loaded_columns() -> Vec<Column> {
    vec![
        Column::new("p50 ms (lowest–highest)", "p50 ms", Show::Range),
        Column::new("p99 ms (lowest–highest)", "p99 ms", Show::Range),
        Column::new("p99.9 ms", "p99.9 ms", Show::Median),
        Column::against("p99 ÷ floor", "p99 ms", FLOOR),
        Column::against("p99 ÷ ser2net", "p99 ms", SER2NET),
        Column::new("request p50 ms", "request p50 ms", Show::Median),
        Column::new("request p99 ms", "request p99 ms", Show::Median),
        Column::new("request p99.9 ms", "request p99.9 ms", Show::Median),
        Column::new("CPU s (lowest–highest)", "CPU s", Show::Range),
        Column::against("CPU ÷ floor", "CPU s", FLOOR),
        Column::against("CPU ÷ ser2net", "CPU s", SER2NET),
        Column::new("wanted MB/s", "wanted MB/s", Show::Median),
        Column::new("offered in time %", "offered %", Show::Median),
        Column::new("delivered in time %", "delivered %", Show::Range),
        Column::new("generator late p99 ms", "late p99 ms", Show::Median),
    ]
}

impl Loaded {
    #[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
    pub(crate) fn figures(&self, time: Duration) -> Round {
        let Outcome { one_way, round_trip, lateness, wanted, offered, delivered, refused, elapsed } =
            &self.outcome;
        let percent = |bytes: u64| bytes as f64 / *wanted as f64 * 100.0;
        Round::from([
            ("p50 ms", percentile(one_way, 0.5)),
            ("p99 ms", percentile(one_way, 0.99)),
            ("p99.9 ms", percentile(one_way, 0.999)),
            ("request p50 ms", percentile(round_trip, 0.5)),
            ("request p99 ms", percentile(round_trip, 0.99)),
            ("request p99.9 ms", percentile(round_trip, 0.999)),
            ("CPU s", self.cpu.as_secs_f64()),
            ("CPU %", self.cpu.as_secs_f64() / elapsed.max(&time).as_secs_f64() * 100.0),
            ("wanted MB/s", *wanted as f64 / 1e6 / time.as_secs_f64()),
            ("offered %", percent(*offered)),
            ("delivered %", percent(*delivered)),
            ("late p99 ms", percentile(lateness, 0.99)),
            ("pieces refused", *refused as f64),
        ])
    }
}

/// Who set the limit; nothing when all went as wanted.
pub(crate) fn limit(row: &Row) -> String {
    let middle = |figure| median(row.values(figure)).unwrap_or_default();
    let mut parts = Vec::new();
    if row.rounds.as_ref().map_or(0, Vec::len) == 0 {
        return String::new();
    }
    if middle("pieces refused") > 0.0 {
        parts.push("peer let devices' queues fill up");
    }
    if middle("offered %") < ALL || middle("late p99 ms") > LATE_MS {
        parts.push("generator late: not the peer's figures alone");
    } else if middle("delivered %") < ALL {
        parts.push("peer behind");
    }
    parts.join("; ")
}
