//! The derived figures of a sample, and the JSON file of a run.

use serde_json::{Value, json};

use crate::case::{Figures, Sample};
use crate::peer::Peer;
use crate::rounds::{Plan, Series};
use crate::scale::grid::Grid;

const GIB: f64 = 1_073_741_824.0;

impl Sample {
    /// Payload in 10^6 bytes a second, both directions together; `None` for round trips.
    #[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
    pub(crate) fn megabytes_per_second(&self) -> Option<f64> {
        let Figures::Throughput { to_net, to_device, time } = self.figures else { return None };
        Some((to_net + to_device) as f64 / 1e6 / time.as_secs_f64())
    }

    /// Processor seconds for 2^30 payload bytes; `None` for round trips.
    #[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
    pub(crate) fn cpu_per_gib(&self) -> Option<f64> {
        let Figures::Throughput { to_net, to_device, .. } = self.figures else { return None };
        Some(self.cpu.as_secs_f64() * GIB / (to_net + to_device) as f64)
    }

    /// Median and 99th percentile in milliseconds; `None` for throughput.
    pub(crate) fn milliseconds(&self) -> Option<[f64; 2]> {
        let Figures::RoundTrip { p50, p99, .. } = self.figures else { return None };
        Some([p50, p99].map(|time| time.as_secs_f64() * 1e3))
    }

    /// Processor microseconds for one round trip; `None` for throughput.
    #[expect(clippy::cast_precision_loss, reason = "a run makes far fewer than 2^52 round trips")]
    pub(crate) fn cpu_per_round_trip(&self) -> Option<f64> {
        let Figures::RoundTrip { count, .. } = self.figures else { return None };
        Some(self.cpu.as_secs_f64() * 1e6 / count as f64)
    }

    /// Resident memory in MiB.
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
    pub(crate) fn resident_mib(&self) -> f64 {
        self.resident as f64 / 1024.0
    }

    fn json(&self) -> Value {
        let [cpu, resident] = [json!(self.cpu.as_secs_f64()), json!(self.resident)];
        match self.figures {
            Figures::Throughput { to_net, to_device, time } => json!({
                "bytes_to_net": to_net,
                "bytes_to_device": to_device,
                "seconds": time.as_secs_f64(),
                "cpu_seconds": cpu,
                "rss_kib": resident,
            }),
            Figures::RoundTrip { count, p50, p99 } => json!({
                "round_trips": count,
                "p50_seconds": p50.as_secs_f64(),
                "p99_seconds": p99.as_secs_f64(),
                "cpu_seconds": cpu,
                "rss_kib": resident,
            }),
        }
    }
}

/// The middle of `values`, or the mean of the middle two; `None` of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[values.len() / 2 - 1], upper)) }
}

/// The machine and the programs: kernel, processors, versions.
pub(crate) fn setting() -> Vec<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let number = release.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let mut parts = vec![format!("Linux {number}")];
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    parts.push(format!("{count} processors"));
    parts.extend(Peer::ALL.into_iter().filter_map(Peer::version));
    parts
}

/// Every figure of every round, as JSON text.
pub(crate) fn json(plan: &Plan, results: &[Series], many: &[Grid]) -> String {
    let series: Vec<Value> = results
        .iter()
        .map(|series| {
            let mut object = json!({ "case": series.case.name(), "peer": series.peer.name() });
            match &series.outcome {
                Ok(samples) => object["rounds"] = samples.iter().map(Sample::json).collect(),
                Err(reason) => object["missing"] = json!(reason),
            }
            object
        })
        .collect();
    let many: Vec<Value> = many.iter().map(Grid::json).collect();
    format!(
        "{:#}\n",
        json!({ "setting": setting(), "rounds": plan.rounds, "series": series, "many_ports": many })
    )
}
