//! What rotators count, and their series.

use super::labels::Label;
use super::labels::RotatorRefusal;
use super::port::{Counter, Counters};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The rotators that have series now, by name.
pub(super) type Live = Mutex<BTreeMap<Arc<str>, Weak<RotatorMetrics>>>;

/// The metrics of one rotator, and what is wrong with its listener. The series exist as long as
/// this does.
#[derive(Debug)]
pub struct RotatorMetrics {
    name: Arc<str>,
    live: Arc<Live>,
    listening: AtomicBool,
    trouble: Mutex<Option<String>>,
    connections: Counter,
    refusals: Counters<RotatorRefusal, { RotatorRefusal::ALL.len() }>,
}

/// One rotator, as it is at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RotatorStatus {
    /// Its name.
    pub name: String,
    /// Its socket listens.
    pub listening: bool,
    /// What is wrong with the listener, for people.
    pub detail: Option<String>,
    /// Clients that were given to a connection.
    pub connections: u64,
    /// Clients that were turned away.
    pub refusals: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what is behind these locks is valid after every single call
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rotators that have series now, sorted by name.
pub(super) fn all(live: &Live) -> Vec<Arc<RotatorMetrics>> {
    // the last handle must not be dropped under the lock: its drop takes the same one
    lock(live).values().filter_map(Weak::upgrade).collect()
}

impl RotatorMetrics {
    /// The handle for `name`: the live one when there is one.
    pub(super) fn for_rotator(live: &Arc<Live>, name: Arc<str>) -> Arc<Self> {
        let mut entries = lock(live);
        if let Some(existing) = entries.get(&name).and_then(Weak::upgrade) {
            return existing;
        }
        let created = Arc::new(Self {
            name: Arc::clone(&name),
            live: Arc::clone(live),
            listening: AtomicBool::new(false),
            trouble: Mutex::default(),
            connections: Counter::default(),
            refusals: Counters::default(),
        });
        entries.insert(name, Arc::downgrade(&created));
        created
    }

    /// It listens, or does not; `why` when that is not as it should be.
    pub fn listening(&self, up: bool, why: Option<String>) {
        self.listening.store(up, Relaxed);
        *lock(&self.trouble) = why;
    }

    /// A client was given to a connection.
    pub fn connected(&self) {
        self.connections.add(1);
    }

    /// A client was turned away.
    pub fn refused(&self, reason: RotatorRefusal) {
        self.refusals.add(reason, 1);
    }

    /// As it is now.
    pub fn status(&self) -> RotatorStatus {
        RotatorStatus {
            name: self.name.to_string(),
            listening: self.listening.load(Relaxed),
            detail: lock(&self.trouble).clone(),
            connections: self.connections.get(),
            refusals: self.refusals.sum(),
        }
    }
}

impl Drop for RotatorMetrics {
    fn drop(&mut self) {
        let mut entries = lock(&self.live);
        // a new one of the same name may have taken the place
        if entries.get(&self.name).is_some_and(|entry| entry.strong_count() == 0) {
            entries.remove(&self.name);
        }
    }
}

/// Appends the series of all `rotators`, zero or not. Labels are sorted.
pub(super) fn write(rotators: &[Arc<RotatorMetrics>], text: &mut String) {
    if rotators.is_empty() {
        return;
    }
    let mut family = |name: &str,
                      kind: &str,
                      help: &str,
                      series: &dyn Fn(&RotatorMetrics, &str, &mut String)| {
        // writing to a String does not fail
        let _ =
            write!(text, "# HELP serbroker_rotator_{name} {help}\n# TYPE serbroker_rotator_{name} {kind}\n");
        for rotator in rotators {
            series(rotator, &super::family::escaped(&rotator.name), text);
        }
    };
    family(
        "connections_total",
        "counter",
        "Clients that were given to a connection.",
        &|rotator, name, text| {
            let count = rotator.connections.get();
            let _ = writeln!(text, "serbroker_rotator_connections_total{{rotator=\"{name}\"}} {count}");
        },
    );
    family("listener_up", "gauge", "1 when the rotator listens for clients.", &|rotator, name, text| {
        let up = u8::from(rotator.listening.load(Relaxed));
        let _ = writeln!(text, "serbroker_rotator_listener_up{{rotator=\"{name}\"}} {up}");
    });
    family(
        "refusals_total",
        "counter",
        "Clients that were turned away, by reason.",
        &|rotator, name, text| {
            for reason in RotatorRefusal::VALUES {
                let count = rotator.refusals.of(*reason);
                let _ = writeln!(
                    text,
                    "serbroker_rotator_refusals_total{{reason=\"{reason}\",rotator=\"{name}\"}} {count}"
                );
            }
        },
    );
}
