//! What the broker counts, and its text form for Prometheus.
//!
//! [`Metrics`] is an object, not a global, so that tests (and several brokers in one process) do not
//! share counters. A port gets its [`PortMetrics`] by name; the series vanish with the last handle.
//! The few series of the process are in a registry of the `prometheus` crate. Those of ports are
//! plain numbers (see `family`), because a port has about sixty of them.
//! Names and units follow <https://prometheus.io/docs/practices/naming/>, checked by `promtool`.

mod family;
mod labels;
mod port;
mod rotator;
mod usage;

pub use labels::{
    CloseReason, DeviceFailure, Direction, DropDirection, DropReason, PortState, Refusal, ReloadOutcome,
    RotatorRefusal, SerialError, TraceDrop,
};
pub use port::{PortCounters, PortMetrics};
pub use rotator::{RotatorMetrics, RotatorStatus};

use labels::Label;
use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Content type of [`Metrics::render`]: the Prometheus text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a broker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    ports: Arc<port::Live>,
    rotators: Arc<rotator::Live>,
    started: Instant,
    reloads: Box<[IntCounter]>,
    reload_ok: IntGauge,
    reload_time: Gauge,
    config_errors: IntGauge,
    config_warnings: IntGauge,
    accept_errors: IntCounter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    resident: IntGauge,
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Metrics {
    /// A registry with every process-wide series at its start value and no ports.
    ///
    /// # Errors
    ///
    /// A family's name or label is not valid, or is used twice: a fault of this crate, which its
    /// tests would show.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| add(&registry, IntGauge::new(name, help));

        let build = Opts::new("serbroker_build_info", "1; the labels tell which program this is.");
        let build = add(&registry, IntGaugeVec::new(build, &["version"]))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // the process metrics have the names that every Prometheus client library gives them
        let start = "Start time of the process since the Unix epoch, in seconds.";
        add(&registry, Gauge::new("process_start_time_seconds", start))?.set(unix_seconds());

        let reloads =
            Opts::new("serbroker_config_reloads_total", "Readings of the configuration, by outcome.");
        let reloads = add(&registry, IntCounterVec::new(reloads, &["outcome"]))?;
        Ok(Self {
            ports: Arc::default(),
            rotators: Arc::default(),
            started: Instant::now(),
            reloads: ReloadOutcome::VALUES
                .iter()
                .map(|outcome| reloads.with_label_values(&[outcome.as_str()]))
                .collect(),
            reload_ok: gauge(
                "serbroker_config_last_reload_successful",
                "1 when the last reading of the configuration was applied.",
            )?,
            reload_time: add(
                &registry,
                Gauge::new(
                    "serbroker_config_last_reload_success_timestamp_seconds",
                    "When a configuration was last applied, since the Unix epoch.",
                ),
            )?,
            config_errors: gauge("serbroker_config_errors", "Errors in the configuration read last.")?,
            config_warnings: gauge(
                "serbroker_config_warnings",
                "Warnings about the configuration read last.",
            )?,
            accept_errors: add(
                &registry,
                IntCounter::new(
                    "serbroker_accept_errors_total",
                    "Clients that the kernel could not hand over (out of file descriptors or memory).",
                ),
            )?,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            max_fds: gauge("process_max_fds", "Most file descriptors that may be open.")?,
            resident: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            registry,
        })
    }

    /// The series of the port `name`, made when they are not there yet.
    pub fn port(&self, name: impl Into<Arc<str>>) -> Arc<PortMetrics> {
        PortMetrics::for_port(&self.ports, name.into())
    }

    /// The series of the rotator `name`, made when they are not there yet.
    pub fn rotator(&self, name: impl Into<Arc<str>>) -> Arc<RotatorMetrics> {
        RotatorMetrics::for_rotator(&self.rotators, name.into())
    }

    /// Every rotator as it is now, sorted by name.
    pub fn rotators(&self) -> Vec<RotatorStatus> {
        rotator::all(&self.rotators).iter().map(|rotator| rotator.status()).collect()
    }

    /// A configuration was read (the first one too): whether it is in force now, and how many
    /// errors and warnings it had.
    pub fn config_read(&self, outcome: ReloadOutcome, errors: usize, warnings: usize) {
        self.reloads[outcome.index()].inc();
        self.reload_ok.set(i64::from(outcome == ReloadOutcome::Applied));
        if outcome == ReloadOutcome::Applied {
            self.reload_time.set(unix_seconds());
        }
        self.config_errors.set(i64::try_from(errors).unwrap_or(i64::MAX));
        self.config_warnings.set(i64::try_from(warnings).unwrap_or(i64::MAX));
    }

    /// `accept` failed for want of resources, on any listener.
    pub fn accept_error(&self) {
        self.accept_errors.inc();
    }

    /// Seconds since this object was made.
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Everything in the Prometheus text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> prometheus::Result<String> {
        let usage = usage::Usage::now();
        for (gauge, value) in [
            (&self.open_fds, usage.open_fds),
            (&self.max_fds, usage.max_fds),
            (&self.resident, usage.resident_bytes),
        ] {
            // without /proc the last value stays; at the start that is 0
            if let Some(value) = value {
                gauge.set(value);
            }
        }
        let mut text = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        family::write(&port::all(&self.ports), &mut text);
        rotator::write(&rotator::all(&self.rotators), &mut text);
        Ok(text)
    }
}

/// Adds a family to the registry. Fails only on two families of one name or on a bad name.
fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a series, rounded.
    fn value(text: &str, series: &str) -> Option<i64> {
        let number = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        number.parse().ok().or_else(|| number.split('.').next()?.parse().ok())
    }

    #[test]
    fn a_port_counts_under_its_name() {
        let metrics = Metrics::new().unwrap();
        let port = metrics.port("heat\"pump");
        port.bytes(Direction::FromDevice, 7);
        port.bytes(Direction::FromDevice, 5);
        port.client_joined();
        port.client_joined();
        port.client_left(CloseReason::Kicked);
        port.refused(Refusal::PortBusy);
        port.dropped(DropDirection::ToClients, DropReason::SlowReader, 3);
        port.serial_errors(SerialError::Parity, 2);
        port.listening(true);
        port.state(PortState::Failed, Some(DeviceFailure::Missing));
        let text = metrics.render().unwrap();
        let of = |family: &str, labels: &str| {
            value(&text, &format!("serbroker_port_{family}{{{labels}}}"))
                .unwrap_or_else(|| panic!("{family} {labels}\n{text}"))
        };
        let p = r#"port="heat\"pump""#;
        assert_eq!(of("bytes_total", &format!("direction=\"from_device\",{p}")), 12);
        assert_eq!(of("clients", p), 1);
        assert_eq!(of("connections_total", p), 2);
        assert_eq!(of("kicks_total", p), 1);
        assert_eq!(of("disconnects_total", &format!("{p},reason=\"kicked\"")), 1);
        assert_eq!(of("refusals_total", &format!("{p},reason=\"port_busy\"")), 1);
        let dropped = format!("direction=\"to_clients\",{p},reason=\"slow_reader\"");
        assert_eq!(of("dropped_bytes_total", &dropped), 3);
        assert_eq!(of("serial_errors_total", &format!("kind=\"parity\",{p}")), 2);
        assert_eq!(of("state", &format!("{p},state=\"failed\"")), 1);
        assert_eq!(of("state", &format!("{p},state=\"open\"")), 0);
        assert_eq!(of("device_fault", &format!("{p},reason=\"missing\"")), 1);
        assert_eq!(of("device_up", p), 0);

        port.state(PortState::Open, None);
        let text = metrics.render().unwrap();
        assert_eq!(value(&text, &format!("serbroker_port_device_up{{{p}}}")), Some(1));
        assert_eq!(value(&text, &format!("serbroker_port_device_fault{{{p},reason=\"missing\"}}")), Some(0));
        let counters = port.counters();
        assert_eq!(counters.bytes_from_device, 12);
        assert_eq!((counters.bytes_dropped, counters.kicks, counters.refusals), (3, 1, 1));
    }

    #[test]
    fn series_go_with_the_last_handle_and_survive_a_replacement() {
        let metrics = Metrics::new().unwrap();
        let old = metrics.port("a");
        old.bytes(Direction::ToDevice, 1);
        let new = metrics.port("a");
        drop(old);
        new.bytes(Direction::ToDevice, 1);
        assert_eq!(new.counters().bytes_to_device, 2);
        assert!(metrics.render().unwrap().contains("port=\"a\""));
        let other = metrics.port("b");
        drop(new);
        let text = metrics.render().unwrap();
        assert!(!text.contains("port=\"a\""), "{text}");
        assert!(text.contains("port=\"b\""));
        drop(other);
        assert_eq!(metrics.port("a").counters(), PortCounters::default());
    }

    #[test]
    fn reloads_are_told_apart() {
        let metrics = Metrics::new().unwrap();
        metrics.config_read(ReloadOutcome::Applied, 0, 2);
        let applied =
            value(&metrics.render().unwrap(), "serbroker_config_last_reload_success_timestamp_seconds");
        assert!(applied.is_some_and(|t| t > 1_600_000_000), "{applied:?}");
        metrics.config_read(ReloadOutcome::Rejected, 1, 0);
        let text = metrics.render().unwrap();
        assert_eq!(value(&text, "serbroker_config_last_reload_successful"), Some(0));
        assert_eq!(value(&text, "serbroker_config_last_reload_success_timestamp_seconds"), applied);
        assert_eq!(value(&text, "serbroker_config_errors"), Some(1));
        assert_eq!(value(&text, "serbroker_config_warnings"), Some(0));
        assert_eq!(value(&text, "serbroker_config_reloads_total{outcome=\"rejected\"}"), Some(1));
    }

    #[test]
    fn process_figures_are_real() {
        let text = Metrics::new().unwrap().render().unwrap();
        for series in ["process_open_fds", "process_max_fds", "process_resident_memory_bytes"] {
            assert!(value(&text, series).is_some_and(|v| v > 0), "{series}");
        }
    }
}
