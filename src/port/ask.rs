//! What administrators ask of a running port, and its answers.
//!
//! Every question carries the place for its answer. The port answers in its own task, in the order
//! in which it is asked, and never waits for the one who asked.

use super::actor::{Phase, Port};
use super::device::DeviceState;
use super::mailbox::Contact;
use super::tap::Tap;
use super::template;
use crate::metrics::{CloseReason, PortMetrics};
use crate::net::peer::Peer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::oneshot::Sender;
use tracing::info;

/// One port, as it is at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name of the connection.
    pub name: Arc<str>,
    /// The accepter as written.
    pub accepter: Arc<str>,
    /// The connector as written.
    pub connector: Arc<str>,
    /// Path of the device.
    pub device: Arc<str>,
    /// It is not switched off.
    pub enabled: bool,
    /// The idle timeout in force.
    pub timeout: Option<Duration>,
    /// The attached clients, oldest first.
    pub clients: Vec<ClientSnapshot>,
    /// What is known of the line.
    pub line: LineState,
    /// Nobody is connected, but the device is still given what it has not taken yet.
    pub closing: bool,
    /// Bytes read from and written to the device since it was opened for the first of `clients`.
    pub device_bytes: (u64, u64),
}

/// One attached client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSnapshot {
    /// Its address as ser2net writes it: `ipv4,127.0.0.1,40000`.
    pub peer: String,
    /// Payload received from it and sent to it, without what telnet adds.
    pub bytes: (u64, u64),
}

/// What is known of the line of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineState {
    /// The device is not open; the settings are those of the configuration: `9600N81,CLOCAL`.
    Configured(String),
    /// The device is open, or being opened or closed, and has no modem lines (or does not tell).
    Unknown,
    /// The device is open: settings in force, RTS, DTR.
    Open(String, bool, bool),
}

/// A change of one modem line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// DTR on or off.
    Dtr(bool),
    /// RTS on or off.
    Rts(bool),
}

/// A question or an order, with the place for the answer.
#[derive(Debug)]
pub enum Ask {
    /// What the port is now.
    Snapshot(Sender<Snapshot>),
    /// This timeout counts from now on; clients start to count anew.
    Timeout(Option<Duration>, Sender<()>),
    /// Sets modem lines one after the other; false when nobody is connected.
    Control(Vec<Control>, Sender<bool>),
    /// Closes all clients; false when there is none.
    Disconnect(Sender<bool>),
    /// Shows the bytes of one side to somebody; false when they are shown to somebody already.
    Monitor(Tap, Sender<bool>),
    /// Switches the port on or off; false when it was so already.
    Enable(bool, Sender<bool>),
    /// What administrators changed counts no more.
    Restore(Sender<()>),
}

impl Ask {
    /// Nobody waits for the answer any more.
    pub(super) fn is_forgotten(&self) -> bool {
        match self {
            Self::Snapshot(answer) => answer.is_closed(),
            Self::Timeout(_, answer) | Self::Restore(answer) => answer.is_closed(),
            Self::Control(_, answer)
            | Self::Disconnect(answer)
            | Self::Monitor(_, answer)
            | Self::Enable(_, answer) => answer.is_closed(),
        }
    }
}

impl Contact {
    /// The port as it is now. This and all below: `None` when the port has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        self.ask(Ask::Snapshot).await
    }

    /// See [`Ask::Timeout`].
    pub async fn set_timeout(&self, timeout: Option<Duration>) -> Option<()> {
        self.ask(|answer| Ask::Timeout(timeout, answer)).await
    }

    /// See [`Ask::Control`].
    pub async fn control(&self, controls: Vec<Control>) -> Option<bool> {
        self.ask(|answer| Ask::Control(controls, answer)).await
    }

    /// See [`Ask::Disconnect`].
    pub async fn disconnect(&self) -> Option<bool> {
        self.ask(Ask::Disconnect).await
    }

    /// See [`Ask::Monitor`].
    pub async fn monitor(&self, tap: Tap) -> Option<bool> {
        self.ask(|answer| Ask::Monitor(tap, answer)).await
    }

    /// See [`Ask::Enable`].
    pub async fn enable(&self, on: bool) -> Option<bool> {
        self.ask(|answer| Ask::Enable(on, answer)).await
    }

    /// See [`Ask::Restore`].
    pub async fn restore(&self) -> Option<()> {
        self.ask(Ask::Restore).await
    }
}

/// What administrators changed about a port, and what they are shown of it.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// Switched off.
    pub(super) off: bool,
    /// In place of the configured timeout; 0 is never.
    pub(super) timeout: Option<Duration>,
    /// Bytes read from and written to the device before it was opened.
    base: (u64, u64),
}

impl Overrides {
    /// The device is open: bytes count from now on.
    pub(super) fn opened(&mut self, metrics: &PortMetrics) {
        self.base = device_bytes(metrics);
    }
}

fn device_bytes(metrics: &PortMetrics) -> (u64, u64) {
    let counters = metrics.counters();
    (counters.bytes_from_device, counters.bytes_to_device)
}

impl Port {
    /// The idle timeout in force.
    pub(super) fn timeout(&self) -> Option<Duration> {
        match self.overrides.timeout {
            Some(timeout) => Some(timeout).filter(|timeout| !timeout.is_zero()),
            None => self.conn.timeout,
        }
    }

    /// Does what an administrator asks. Whoever does not wait for the answer any more gets none.
    pub(super) fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Snapshot(answer) => {
                let _ = answer.send(self.snapshot());
            }
            Ask::Timeout(timeout, answer) => {
                self.overrides.timeout = Some(timeout.unwrap_or_default());
                let now = self.now;
                self.sessions.iter_mut().for_each(|session| session.active = now);
                let _ = answer.send(());
            }
            Ask::Control(controls, answer) => {
                let connected = self.connected() > 0;
                for control in controls.into_iter().filter(|_| connected) {
                    match control {
                        Control::Dtr(on) => self.set_modem(Some(on), None),
                        Control::Rts(on) => self.set_modem(None, Some(on)),
                    };
                }
                let _ = answer.send(connected);
            }
            Ask::Disconnect(answer) => {
                let connected = self.connected() > 0;
                if connected {
                    self.end_all(CloseReason::Admin);
                }
                let _ = answer.send(connected);
            }
            Ask::Monitor(tap, answer) => {
                let free = !self.tap.as_ref().is_some_and(Tap::is_watched);
                if free {
                    self.tap = Some(tap);
                }
                let _ = answer.send(free);
            }
            Ask::Enable(on, answer) => {
                let _ = answer.send(self.enable(on));
            }
            Ask::Restore(answer) => {
                self.overrides.timeout = None;
                self.enable(true);
                let _ = answer.send(());
            }
        }
    }

    /// Clients that are not about to leave.
    fn connected(&self) -> usize {
        self.sessions.iter().filter(|session| session.ending.is_none()).count()
    }

    fn enable(&mut self, on: bool) -> bool {
        if self.overrides.off != on {
            return false;
        }
        self.overrides.off = !on;
        self.describe();
        if on {
            info!(port = %self.name, "switched on from the admin port");
            if matches!(self.phase, Phase::Running) {
                self.start_listening();
            }
        } else {
            info!(port = %self.name, "switched off from the admin port");
            self.stop_listening();
            self.end_all(CloseReason::Admin);
        }
        true
    }

    fn snapshot(&mut self) -> Snapshot {
        let staying = self.sessions.iter().filter(|session| session.ending.is_none());
        let clients: Vec<_> =
            staying.map(|s| ClientSnapshot { peer: s.peer.gensio_text(), bytes: s.payload }).collect();
        let (read, written) = device_bytes(self.report.metrics());
        let base = self.overrides.base;
        let device_bytes = match self.dev {
            DeviceState::Open(_) | DeviceState::Closing(..) => (read - base.0, written - base.1),
            DeviceState::Closed | DeviceState::Opening(..) | DeviceState::Connecting(_) => (0, 0),
        };
        Snapshot {
            name: self.name.clone(),
            accepter: self.conn.accepter.text.clone(),
            connector: self.conn.connector.text.clone(),
            device: self.conn.connector.label().clone(),
            enabled: !self.overrides.off,
            timeout: self.timeout(),
            closing: clients.is_empty() && matches!(self.dev, DeviceState::Closing(..)),
            line: self.line_state(clients.is_empty()),
            clients,
            device_bytes,
        }
    }

    fn line_state(&mut self, unused: bool) -> LineState {
        if unused {
            return configured(&self.conn.connector.line());
        }
        match self.dev.open() {
            Some(open) if open.has_modem => {
                let (dtr, rts) = open.remember_outputs(None, None);
                LineState::Open(settings(&open.line), rts, dtr)
            }
            _ => LineState::Unknown,
        }
    }
}

/// The state of a device that is not open.
pub fn configured(line: &crate::serial::settings::LineSettings) -> LineState {
    LineState::Configured(settings(line))
}

fn settings(line: &crate::serial::settings::LineSettings) -> String {
    // `\B` has a comma in front
    template::settings_text(line).trim_start_matches(',').to_owned()
}

/// A client came to a port or left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// It came.
    pub joined: bool,
    /// Name of the port.
    pub port: Arc<str>,
    /// The client, as ser2net writes it: `ipv4,127.0.0.1,40000`.
    pub peer: String,
}

/// Events that wait for one listener; it is dropped when it does not keep up.
pub const EVENTS_LIMIT: usize = 1024;

/// Who is told of clients that come and go.
#[derive(Debug, Default)]
pub struct Events {
    listeners: Mutex<Vec<mpsc::Sender<Event>>>,
    /// There are some: so that a port does not need the lock when there are none.
    any: AtomicBool,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Event>>> {
        // what is behind this lock is valid after every single assignment
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events from now on. They end when [`EVENTS_LIMIT`] of them were not read.
    pub fn listen(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(EVENTS_LIMIT);
        let mut listeners = self.lock();
        listeners.retain(|listener| !listener.is_closed());
        listeners.push(sender);
        self.any.store(true, Ordering::Release);
        receiver
    }

    /// Tells of a client.
    pub(super) fn tell(&self, joined: bool, port: &Arc<str>, peer: &Peer) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let event = Event { joined, port: port.clone(), peer: peer.gensio_text() };
        let mut listeners = self.lock();
        listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
        self.any.store(!listeners.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_does_not_read_is_let_go() {
        let events = Events::default();
        let (name, peer): (Arc<str>, _) = ("a".into(), Peer::Ip("127.0.0.1:7".parse().unwrap()));
        events.tell(true, &name, &peer);
        let mut slow = events.listen();
        let mut quick = events.listen();
        for _ in 0..=EVENTS_LIMIT {
            events.tell(true, &name, &peer);
            assert_eq!(quick.try_recv().map(|e| e.peer).as_deref(), Ok("ipv4,127.0.0.1,7"));
        }
        assert_eq!(std::iter::from_fn(|| slow.try_recv().ok()).count(), EVENTS_LIMIT);
        assert_eq!(slow.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        events.tell(false, &name, &peer);
        assert_eq!(quick.try_recv().map(|e| e.joined), Ok(false));
    }
}
