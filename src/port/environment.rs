//! What the ports of a program share.

use super::ask::Events;
use super::offer::Doors;
use crate::alarm::Alarms;
use crate::hotplug::Hotplug;
use crate::led::Leds;
use crate::metrics::Metrics;
use crate::net::names::Names;
use crate::net::wrap;
use crate::status::StatusTable;
use crate::trace::Traces;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What all ports share; one for the program, behind an [`Arc`].
#[derive(Debug)]
pub struct Environment {
    /// Who wakes ports up when something is due.
    pub alarms: Alarms,
    /// Connector texts in use: two connections with the same text share a device.
    pub claims: Arc<Claims>,
    /// Where metrics are registered.
    pub metrics: Arc<Metrics>,
    /// Where ports show their state.
    pub status: Arc<StatusTable>,
    /// Where rotators find ports.
    pub doors: Arc<Doors>,
    /// Look-ups of the names that listeners are bound to.
    pub names: Arc<Names>,
    /// Who is told of clients that come and go.
    pub events: Arc<Events>,
    /// Who may connect by hosts_access(5).
    pub wrap: wrap::Files,
    /// Told when the client on standard input and output has left: the program ends then.
    pub stdio_left: Arc<Notify>,
    /// RFC 2217 signature of ports without the option.
    pub signature: Arc<str>,
    /// Who writes trace files.
    pub traces: Arc<Traces>,
    /// Who lights LEDs.
    pub leds: Arc<Leds>,
    /// Who tells of devices that come.
    pub hotplug: Arc<Hotplug>,
}

/// Connector texts that are in use.
#[derive(Debug, Default)]
pub struct Claims(Mutex<HashSet<Arc<str>>>);

impl Claims {
    /// Takes `text`; false when it is taken.
    pub(super) fn take(&self, text: &Arc<str>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(text))
    }

    /// Gives `text` back.
    pub(super) fn give_back(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(text);
    }
}
