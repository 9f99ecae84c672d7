//! The series of one port, with every handle cached: the hot path is one atomic add.

use super::labels::{
    CloseReason, DeviceFailure, Direction, DropDirection, DropReason, Label, PortState, Refusal, SerialError,
};
use super::registry::Families;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The ports that have series now, by name.
pub(super) type Live = Mutex<std::collections::HashMap<String, Weak<PortMetrics>>>;

/// The metrics of one port. The series exist as long as this does.
#[derive(Debug)]
pub struct PortMetrics {
    name: String,
    families: Arc<Families>,
    live: Arc<Live>,
    bytes: Box<[IntCounter]>,
    clients: IntGauge,
    connections: IntCounter,
    refusals: Box<[IntCounter]>,
    kicks: IntCounter,
    disconnects: Box<[IntCounter]>,
    listener_up: IntGauge,
    device_up: IntGauge,
    state: Box<[IntGauge]>,
    fault: Box<[IntGauge]>,
    opens: IntCounter,
    open_failures: Box<[IntCounter]>,
    dropped: Box<[Box<[IntCounter]>]>,
    serial_errors: Box<[IntCounter]>,
    telnet_malformed: IntCounter,
}

/// The counters of a port as numbers, for JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortCounters {
    /// Bytes read from the device.
    pub bytes_from_device: u64,
    /// Bytes written to the device.
    pub bytes_to_device: u64,
    /// Bytes received from clients.
    pub bytes_from_clients: u64,
    /// Bytes sent to clients.
    pub bytes_to_clients: u64,
    /// Bytes that were dropped, for any reason.
    pub bytes_dropped: u64,
    /// Clients that were let in.
    pub connections: u64,
    /// Clients that were turned away.
    pub refusals: u64,
    /// Clients thrown out for a newer one.
    pub kicks: u64,
    /// Successful opens of the device.
    pub device_opens: u64,
    /// Failed opens of the device.
    pub device_open_failures: u64,
}

fn cached_counters<L: Label>(family: &IntCounterVec, port: &str) -> Box<[IntCounter]> {
    L::VALUES.iter().map(|value| family.with_label_values(&[port, value.text()])).collect()
}

fn cached_gauges<L: Label>(family: &IntGaugeVec, port: &str) -> Box<[IntGauge]> {
    L::VALUES.iter().map(|value| family.with_label_values(&[port, value.text()])).collect()
}

/// Sets the gauge at `chosen` to 1 and the others to 0.
fn choose<L: Label>(gauges: &[IntGauge], chosen: Option<L>) {
    let chosen = chosen.map(Label::index);
    for (position, gauge) in gauges.iter().enumerate() {
        gauge.set(i64::from(Some(position) == chosen));
    }
}

fn sum(counters: &[IntCounter]) -> u64 {
    counters.iter().map(IntCounter::get).sum()
}

impl PortMetrics {
    /// The handle for `name`: the live one when there is one, so that a port that is replaced under
    /// its name goes on counting where it was.
    pub(super) fn for_port(families: &Arc<Families>, live: &Arc<Live>, name: &str) -> Arc<Self> {
        // held until the entry is in place: the drop of an older handle takes the same lock
        let mut entries = live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = entries.get(name).and_then(Weak::upgrade) {
            return existing;
        }
        let f = families;
        let created = Arc::new(Self {
            name: name.to_owned(),
            families: Arc::clone(families),
            live: Arc::clone(live),
            bytes: cached_counters::<Direction>(&f.bytes, name),
            clients: f.clients.with_label_values(&[name]),
            connections: f.connections.with_label_values(&[name]),
            refusals: cached_counters::<Refusal>(&f.refusals, name),
            kicks: f.kicks.with_label_values(&[name]),
            disconnects: cached_counters::<CloseReason>(&f.disconnects, name),
            listener_up: f.listener_up.with_label_values(&[name]),
            device_up: f.device_up.with_label_values(&[name]),
            state: cached_gauges::<PortState>(&f.state, name),
            fault: cached_gauges::<DeviceFailure>(&f.fault, name),
            opens: f.opens.with_label_values(&[name]),
            open_failures: cached_counters::<DeviceFailure>(&f.open_failures, name),
            dropped: DropDirection::VALUES
                .iter()
                .map(|direction| {
                    DropReason::VALUES
                        .iter()
                        .map(|why| f.dropped.with_label_values(&[name, direction.text(), why.text()]))
                        .collect()
                })
                .collect(),
            serial_errors: cached_counters::<SerialError>(&f.serial_errors, name),
            telnet_malformed: f.telnet_malformed.with_label_values(&[name]),
        });
        entries.insert(name.to_owned(), Arc::downgrade(&created));
        created
    }

    /// Name of the port, the value of the label `port`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts bytes that moved.
    #[inline]
    pub fn bytes(&self, direction: Direction, count: usize) {
        self.bytes[direction.index()].inc_by(count as u64);
    }

    /// Counts bytes that did not arrive.
    pub fn dropped(&self, direction: DropDirection, reason: DropReason, count: usize) {
        self.dropped[direction.index()][reason.index()].inc_by(count as u64);
    }

    /// A client was let in.
    pub fn client_joined(&self) {
        self.connections.inc();
        self.clients.inc();
    }

    /// A client that had been let in is gone.
    pub fn client_left(&self, reason: CloseReason) {
        self.clients.dec();
        self.disconnects[reason.index()].inc();
        if reason == CloseReason::Kicked {
            self.kicks.inc();
        }
    }

    /// A client was turned away.
    pub fn refused(&self, reason: Refusal) {
        self.refusals[reason.index()].inc();
    }

    /// The port's socket listens, or does not.
    pub fn listening(&self, up: bool) {
        self.listener_up.set(i64::from(up));
    }

    /// What the port does with its device, and the reason while the device is known to be bad.
    pub fn state(&self, state: PortState, fault: Option<DeviceFailure>) {
        choose(&self.state, Some(state));
        choose(&self.fault, fault);
        self.device_up.set(i64::from(state == PortState::Open));
    }

    /// The device was opened.
    pub fn device_opened(&self) {
        self.opens.inc();
    }

    /// An attempt to open the device failed.
    pub fn device_open_failed(&self, reason: DeviceFailure) {
        self.open_failures[reason.index()].inc();
    }

    /// The UART counted this many more errors.
    pub fn serial_errors(&self, kind: SerialError, count: u64) {
        self.serial_errors[kind.index()].inc_by(count);
    }

    /// A client sent telnet that is malformed or endless.
    pub fn telnet_malformed(&self, count: u64) {
        self.telnet_malformed.inc_by(count);
    }

    /// The counters as numbers. They are read one after the other, not at one instant.
    pub fn counters(&self) -> PortCounters {
        PortCounters {
            bytes_from_device: self.bytes[Direction::FromDevice.index()].get(),
            bytes_to_device: self.bytes[Direction::ToDevice.index()].get(),
            bytes_from_clients: self.bytes[Direction::FromClients.index()].get(),
            bytes_to_clients: self.bytes[Direction::ToClients.index()].get(),
            bytes_dropped: self.dropped.iter().map(|reasons| sum(reasons)).sum(),
            connections: self.connections.get(),
            refusals: sum(&self.refusals),
            kicks: self.kicks.get(),
            device_opens: self.opens.get(),
            device_open_failures: sum(&self.open_failures),
        }
    }
}

impl Drop for PortMetrics {
    fn drop(&mut self) {
        let mut entries = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        // a successor may have taken the name (and with it the series) after our count reached zero
        if entries.get(&self.name).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
            entries.remove(&self.name);
            self.families.forget_port(&self.name);
        }
    }
}
