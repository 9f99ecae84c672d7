//! One measurement of a peer with so many ports: start, memory, idleness, paced traffic.

use std::thread;
use std::time::Duration;

use super::bed::{Bed, Memory};
use super::grid::{Column, Show};
use super::paced::{self, Load, Outcome, percentile};
use crate::peer::Peer;

/// Share of what was wanted that must be offered or delivered to count as all.
const ALL: f64 = 0.99;
/// Lateness of the generator, p99, from which the figures are as much its own as the peer's.
const LATE_MS: f64 = 5.0;

/// What a peer costs that waits.
pub(crate) struct Waiting {
    pub(crate) start_up: Duration,
    pub(crate) idle: Memory,
    /// Processor time of the idle window; `None` when there was none.
    pub(crate) idle_cpu: Option<Duration>,
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
        idle_cpu = Some(bed.running.cpu()?.saturating_sub(before));
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

/// Names of [`Waiting::values`].
pub(crate) const WAITING: [&str; 7] = [
    "start_up_ms",
    "idle_rss_mib",
    "idle_pss_mib",
    "idle_cpu_ms",
    "connected_rss_mib",
    "connected_pss_mib",
    "rss_a_connected_port_kib",
];

/// Their columns.
pub(crate) const WAITING_COLUMNS: [Column; 10] = [
    Column { heading: "start-up ms (lowest–highest)", of: 0, show: Show::Range },
    Column { heading: "÷ floor", of: 0, show: Show::Ratio("floor") },
    Column { heading: "÷ ser2net", of: 0, show: Show::Ratio("ser2net") },
    Column { heading: "idle RSS MiB", of: 1, show: Show::Median },
    Column { heading: "idle PSS MiB", of: 2, show: Show::Median },
    Column { heading: "idle CPU ms in 2 s", of: 3, show: Show::Range },
    Column { heading: "RSS connected MiB", of: 4, show: Show::Range },
    Column { heading: "÷ floor", of: 4, show: Show::Ratio("floor") },
    Column { heading: "÷ ser2net", of: 4, show: Show::Ratio("ser2net") },
    Column { heading: "KiB a connected port", of: 6, show: Show::Median },
];

impl Waiting {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand ports")]
    pub(crate) fn values(&self, count: usize) -> Vec<f64> {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        vec![
            ms(self.start_up),
            self.idle.rss / 1024.0,
            self.idle.pss / 1024.0,
            self.idle_cpu.map_or(f64::NAN, ms),
            self.connected.rss / 1024.0,
            self.connected.pss / 1024.0,
            (self.connected.rss - self.idle.rss) / count as f64,
        ]
    }
}

/// Names of [`Loaded::values`].
pub(crate) const LOADED: [&str; 12] = [
    "one_way_p50_ms",
    "one_way_p99_ms",
    "one_way_p999_ms",
    "round_trip_p50_ms",
    "round_trip_p99_ms",
    "round_trip_p999_ms",
    "cpu_percent",
    "wanted_mb_s",
    "offered_percent",
    "delivered_mb_s",
    "generator_late_p99_ms",
    "pieces_refused_by_the_device_queue",
];

/// Their columns.
pub(crate) const LOADED_COLUMNS: [Column; 15] = [
    Column { heading: "p50 ms (lowest–highest)", of: 0, show: Show::Range },
    Column { heading: "p99 ms (lowest–highest)", of: 1, show: Show::Range },
    Column { heading: "p99.9 ms", of: 2, show: Show::Median },
    Column { heading: "p99 ÷ floor", of: 1, show: Show::Ratio("floor") },
    Column { heading: "p99 ÷ ser2net", of: 1, show: Show::Ratio("ser2net") },
    Column { heading: "request p50 ms", of: 3, show: Show::Median },
    Column { heading: "request p99 ms", of: 4, show: Show::Median },
    Column { heading: "request p99.9 ms", of: 5, show: Show::Median },
    Column { heading: "CPU % (lowest–highest)", of: 6, show: Show::Range },
    Column { heading: "CPU ÷ floor", of: 6, show: Show::Ratio("floor") },
    Column { heading: "CPU ÷ ser2net", of: 6, show: Show::Ratio("ser2net") },
    Column { heading: "wanted MB/s", of: 7, show: Show::Median },
    Column { heading: "offered %", of: 8, show: Show::Median },
    Column { heading: "delivered MB/s", of: 9, show: Show::Range },
    Column { heading: "generator late p99 ms", of: 10, show: Show::Median },
];

impl Loaded {
    #[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
    pub(crate) fn values(&self, time: Duration) -> Vec<f64> {
        let Outcome { one_way, round_trip, lateness, wanted, offered, delivered, refused, elapsed } =
            &self.outcome;
        let rate = |bytes: u64| bytes as f64 / 1e6 / time.as_secs_f64();
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| percentile(one_way, part));
        let [rt50, rt99, rt999] = [0.5, 0.99, 0.999].map(|part| percentile(round_trip, part));
        let cpu = self.cpu.as_secs_f64() / elapsed.as_secs_f64().max(time.as_secs_f64()) * 100.0;
        vec![
            p50,
            p99,
            p999,
            rt50,
            rt99,
            rt999,
            cpu,
            rate(*wanted),
            *offered as f64 / *wanted as f64 * 100.0,
            rate(*delivered),
            percentile(lateness, 0.99),
            *refused as f64,
        ]
    }
}

/// Who set the limit, from the medians of a row's values as [`Loaded::values`] gives them; nothing when
/// all went as wanted.
pub(crate) fn limit(wanted: f64, offered: f64, delivered: f64, late: f64, refused: f64) -> String {
    let mut parts = Vec::new();
    if refused > 0.0 {
        parts.push("the peer let the device's queue fill up");
    }
    if offered / 100.0 < ALL || late > LATE_MS {
        parts.push("the generator was late: machine at its limit");
    } else if delivered < wanted * ALL {
        parts.push("the peer did not keep up");
    }
    parts.join("; ")
}
