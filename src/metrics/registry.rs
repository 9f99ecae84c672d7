//! The metric families of ports: names, help texts and labels.

use super::labels::{CloseReason, DeviceFailure, Direction, DropDirection, DropReason, Label, PortState};
use super::labels::{Refusal, SerialError};
use prometheus::core::{Collector, Metric, MetricVec, MetricVecBuilder};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Every family with a `port` label.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) bytes: IntCounterVec,
    pub(super) clients: IntGaugeVec,
    pub(super) connections: IntCounterVec,
    pub(super) refusals: IntCounterVec,
    pub(super) kicks: IntCounterVec,
    pub(super) disconnects: IntCounterVec,
    pub(super) listener_up: IntGaugeVec,
    pub(super) device_up: IntGaugeVec,
    pub(super) state: IntGaugeVec,
    pub(super) fault: IntGaugeVec,
    pub(super) opens: IntCounterVec,
    pub(super) open_failures: IntCounterVec,
    pub(super) dropped: IntCounterVec,
    pub(super) serial_errors: IntCounterVec,
    pub(super) telnet_malformed: IntCounterVec,
}

/// Adds a family to the registry. Fails only on two families of one name or on a bad name.
pub(super) fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

impl Families {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            add(registry, IntCounterVec::new(Opts::new(format!("serbroker_{name}"), help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            add(registry, IntGaugeVec::new(Opts::new(format!("serbroker_{name}"), help), labels))
        };
        Ok(Self {
            bytes: counter("port_bytes_total", "Bytes moved, by direction.", &["port", "direction"])?,
            clients: gauge("port_clients", "Clients attached now.", &["port"])?,
            connections: counter("port_connections_total", "Clients that were let in.", &["port"])?,
            refusals: counter(
                "port_refusals_total",
                "Clients that were turned away, by reason.",
                &["port", "reason"],
            )?,
            kicks: counter("port_kicks_total", "Clients thrown out for a newer one.", &["port"])?,
            disconnects: counter(
                "port_disconnects_total",
                "Clients that are gone after having been let in, by reason.",
                &["port", "reason"],
            )?,
            listener_up: gauge("port_listener_up", "1 when the port listens for clients.", &["port"])?,
            device_up: gauge("port_device_up", "1 when the device is open.", &["port"])?,
            state: gauge(
                "port_state",
                "1 for the state that the port is in, 0 for the others.",
                &["port", "state"],
            )?,
            fault: gauge(
                "port_device_fault",
                "1 for the reason why the device is known to be bad; all 0 when it is not.",
                &["port", "reason"],
            )?,
            opens: counter("port_device_opens_total", "Successful opens of the device.", &["port"])?,
            open_failures: counter(
                "port_device_open_failures_total",
                "Failed opens of the device, by reason.",
                &["port", "reason"],
            )?,
            dropped: counter(
                "port_dropped_bytes_total",
                "Bytes that did not arrive, by direction and reason.",
                &["port", "direction", "reason"],
            )?,
            serial_errors: counter(
                "port_serial_errors_total",
                "Errors and breaks counted by the UART, by kind.",
                &["port", "kind"],
            )?,
            telnet_malformed: counter(
                "port_telnet_malformed_total",
                "Malformed or endless telnet sequences from clients.",
                &["port"],
            )?,
        })
    }

    /// Drops all series of a port.
    pub(super) fn forget_port(&self, port: &str) {
        // written out field by field so that a new family does not compile until it is dropped here
        let Self {
            bytes,
            clients,
            connections,
            refusals,
            kicks,
            disconnects,
            listener_up,
            device_up,
            state,
            fault,
            opens,
            open_failures,
            dropped,
            serial_errors,
            telnet_malformed,
        } = self;
        for family in [connections, kicks, opens, telnet_malformed] {
            forget(family, &[port]);
        }
        for family in [clients, listener_up, device_up] {
            forget(family, &[port]);
        }
        forget_each::<Direction, _>(bytes, port);
        forget_each::<Refusal, _>(refusals, port);
        forget_each::<CloseReason, _>(disconnects, port);
        forget_each::<PortState, _>(state, port);
        forget_each::<DeviceFailure, _>(fault, port);
        forget_each::<DeviceFailure, _>(open_failures, port);
        forget_each::<SerialError, _>(serial_errors, port);
        for direction in DropDirection::VALUES {
            for reason in DropReason::VALUES {
                forget(dropped, &[port, direction.text(), reason.text()]);
            }
        }
    }
}

fn forget<B>(family: &MetricVec<B>, labels: &[&str])
where
    B: MetricVecBuilder,
    B::M: Metric,
{
    // the only error is that there is no such series, which is what is wanted
    let _ = family.remove_label_values(labels);
}

fn forget_each<L: Label, B>(family: &MetricVec<B>, port: &str)
where
    B: MetricVecBuilder,
    B::M: Metric,
{
    for value in L::VALUES {
        forget(family, &[port, value.text()]);
    }
}
