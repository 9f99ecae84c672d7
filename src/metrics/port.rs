//! The counters of one port: plain atomics, so that the hot path is one atomic add.

use super::labels::{
    CloseReason, DeviceFailure, Direction, DropDirection, DropReason, Label, PortState, Refusal, SerialError,
    TraceDrop,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// The ports that have series now, by name.
pub(super) type Live = Mutex<BTreeMap<Arc<str>, Weak<PortMetrics>>>;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A counter for each value of a label.
#[derive(Debug)]
pub(super) struct Counters<L, const N: usize>([Counter; N], PhantomData<L>);

impl<L: Label, const N: usize> Default for Counters<L, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Label, const N: usize> Counters<L, N> {
    const fn new() -> Self {
        const { assert!(N == L::VALUES.len()) }
        Self([const { Counter(AtomicU64::new(0)) }; N], PhantomData)
    }

    #[inline]
    pub(super) fn add(&self, label: L, count: u64) {
        self.0[label.index()].add(count);
    }

    pub(super) fn of(&self, label: L) -> u64 {
        self.at(label.index())
    }

    /// The counter of the label's value at `index`.
    pub(super) fn at(&self, index: usize) -> u64 {
        self.0[index].get()
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// One value of a label, or none.
#[derive(Debug)]
pub(super) struct Choice<L>(AtomicU8, PhantomData<L>);

impl<L: Label> Choice<L> {
    const NONE: u8 = u8::MAX;

    fn none() -> Self {
        const { assert!(L::VALUES.len() < Self::NONE as usize) }
        Self(AtomicU8::new(Self::NONE), PhantomData)
    }

    fn set(&self, chosen: Option<L>) {
        self.0.store(chosen.map_or(Self::NONE, |label| label.index() as u8), Relaxed);
    }

    /// 1 when the label's value at `index` is the one, else 0.
    pub(super) fn is(&self, index: usize) -> u64 {
        u64::from(usize::from(self.0.load(Relaxed)) == index)
    }
}

/// The metrics of one port. The series exist as long as this does.
#[derive(Debug)]
pub struct PortMetrics {
    name: Arc<str>,
    live: Arc<Live>,
    pub(super) bytes: Counters<Direction, { Direction::ALL.len() }>,
    pub(super) connections: Counter,
    pub(super) opens: Counter,
    /// Made when the first of them counts.
    seldom: OnceLock<Box<Seldom>>,
    pub(super) state: Choice<PortState>,
    pub(super) fault: Choice<DeviceFailure>,
    listening: AtomicBool,
}

/// What happens to few ports, and to most never: it would be most of the memory of a [`PortMetrics`].
#[derive(Debug)]
pub(super) struct Seldom {
    pub(super) refusals: Counters<Refusal, { Refusal::ALL.len() }>,
    pub(super) disconnects: Counters<CloseReason, { CloseReason::ALL.len() }>,
    pub(super) open_failures: Counters<DeviceFailure, { DeviceFailure::ALL.len() }>,
    pub(super) dropped: [Counters<DropReason, { DropReason::ALL.len() }>; DropDirection::ALL.len()],
    pub(super) serial_errors: Counters<SerialError, { SerialError::ALL.len() }>,
    pub(super) telnet_malformed: Counter,
    pub(super) trace_dropped: Counters<TraceDrop, { TraceDrop::ALL.len() }>,
}

impl Seldom {
    const fn new() -> Self {
        Self {
            refusals: Counters::new(),
            disconnects: Counters::new(),
            open_failures: Counters::new(),
            dropped: [const { Counters::new() }; DropDirection::ALL.len()],
            serial_errors: Counters::new(),
            telnet_malformed: Counter(AtomicU64::new(0)),
            trace_dropped: Counters::new(),
        }
    }
}

/// What is read of a port to which none of it has happened; never counted in.
static NEVER: Seldom = Seldom::new();

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

fn lock(live: &Live) -> MutexGuard<'_, BTreeMap<Arc<str>, Weak<PortMetrics>>> {
    // what is behind this lock is valid after every single call
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ports that have series now, sorted by name.
pub(super) fn all(live: &Live) -> Vec<Arc<PortMetrics>> {
    // the last handle must not be dropped under the lock: its drop takes the same one
    lock(live).values().filter_map(Weak::upgrade).collect()
}

impl PortMetrics {
    /// The handle for `name`: the live one when there is one, so that a port that is replaced under
    /// its name goes on counting where it was.
    pub(super) fn for_port(live: &Arc<Live>, name: Arc<str>) -> Arc<Self> {
        // held until the entry is in place: the drop of an older handle takes the same lock
        let mut entries = lock(live);
        if let Some(existing) = entries.get(&name).and_then(Weak::upgrade) {
            return existing;
        }
        let created = Arc::new(Self {
            name: Arc::clone(&name),
            live: Arc::clone(live),
            bytes: Counters::default(),
            connections: Counter::default(),
            opens: Counter::default(),
            seldom: OnceLock::new(),
            state: Choice::none(),
            fault: Choice::none(),
            listening: AtomicBool::new(false),
        });
        entries.insert(name, Arc::downgrade(&created));
        created
    }

    /// Name of the port, the value of the label `port`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens seldom, to be read.
    pub(super) fn seldom(&self) -> &Seldom {
        self.seldom.get().map_or(&NEVER, |seldom| seldom)
    }

    /// What happens seldom, to be counted in.
    fn count(&self) -> &Seldom {
        self.seldom.get_or_init(|| Box::new(Seldom::new()))
    }

    /// Counts bytes that moved.
    #[inline]
    pub fn bytes(&self, direction: Direction, count: usize) {
        self.bytes.add(direction, count as u64);
    }

    /// Counts bytes that did not arrive.
    #[cold]
    pub fn dropped(&self, direction: DropDirection, reason: DropReason, count: usize) {
        self.count().dropped[direction.index()].add(reason, count as u64);
    }

    /// A client was let in.
    pub fn client_joined(&self) {
        self.connections.add(1);
    }

    /// A client that had been let in is gone.
    pub fn client_left(&self, reason: CloseReason) {
        self.count().disconnects.add(reason, 1);
    }

    /// A client was turned away.
    pub fn refused(&self, reason: Refusal) {
        self.count().refusals.add(reason, 1);
    }

    /// The port's socket listens, or does not.
    pub fn listening(&self, up: bool) {
        self.listening.store(up, Relaxed);
    }

    /// What the port does with its device, and the reason while the device is known to be bad.
    pub fn state(&self, state: PortState, fault: Option<DeviceFailure>) {
        self.state.set(Some(state));
        self.fault.set(fault);
    }

    /// The device was opened.
    pub fn device_opened(&self) {
        self.opens.add(1);
    }

    /// An attempt to open the device failed.
    pub fn device_open_failed(&self, reason: DeviceFailure) {
        self.count().open_failures.add(reason, 1);
    }

    /// The UART counted this many more errors.
    pub fn serial_errors(&self, kind: SerialError, count: u64) {
        self.count().serial_errors.add(kind, count);
    }

    /// A client sent telnet that is malformed or endless.
    pub fn telnet_malformed(&self, count: u64) {
        self.count().telnet_malformed.add(count);
    }

    /// Bytes are missing in trace files.
    pub fn trace_dropped(&self, reason: TraceDrop, count: usize) {
        self.count().trace_dropped.add(reason, count as u64);
    }

    /// Clients that were let in and are not gone.
    pub(super) fn clients(&self) -> u64 {
        // who leaves was counted when it came; read in this order the difference is never negative
        let left = self.seldom().disconnects.sum();
        self.connections.get().saturating_sub(left)
    }

    /// 1 when the port's socket listens, else 0.
    pub(super) fn is_listening(&self) -> u64 {
        u64::from(self.listening.load(Relaxed))
    }

    /// The counters as numbers. They are read one after the other, not at one instant.
    pub fn counters(&self) -> PortCounters {
        PortCounters {
            bytes_from_device: self.bytes.of(Direction::FromDevice),
            bytes_to_device: self.bytes.of(Direction::ToDevice),
            bytes_from_clients: self.bytes.of(Direction::FromClients),
            bytes_to_clients: self.bytes.of(Direction::ToClients),
            bytes_dropped: self.seldom().dropped.iter().map(Counters::sum).sum(),
            connections: self.connections.get(),
            refusals: self.seldom().refusals.sum(),
            kicks: self.seldom().disconnects.of(CloseReason::Kicked),
            device_opens: self.opens.get(),
            device_open_failures: self.seldom().open_failures.sum(),
        }
    }
}

impl Drop for PortMetrics {
    fn drop(&mut self) {
        let mut entries = lock(&self.live);
        // a successor may have taken the name after our count reached zero
        if entries.get(&self.name).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
            entries.remove(&self.name);
        }
    }
}
