//! The state of every port, as health checks and (later) the admin port show it.
//!
//! A port owns a [`PortReporter`]; what it tells there goes to the metrics and to the table that
//! [`StatusSource`] reads, so that the two cannot disagree. Locks are held for a few assignments
//! only, never across an await, so reading the table does not wait for a port.

use crate::metrics::{
    CloseReason, DeviceFailure, Direction, Metrics, PortCounters, PortMetrics, PortState, Refusal,
};
use crate::net::peer::Peer;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One port, as it is at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortStatus {
    /// Name of the connection.
    pub name: String,
    /// The accepter as written.
    pub accepter: String,
    /// Path of the device.
    pub device: String,
    /// The configuration wants the port to run.
    pub enabled: bool,
    /// Its socket listens.
    pub listening: bool,
    /// See [`PortStatus::is_ready`].
    pub ready: bool,
    /// What it does with its device.
    pub state: PortState,
    /// Why the device is bad; `None` while it is not known to be.
    pub reason: Option<DeviceFailure>,
    /// What is wrong with listener or device, for people; `None` when nothing is.
    pub detail: Option<String>,
    /// The attached clients, oldest first.
    pub clients: Vec<ClientStatus>,
    /// Totals since the port's series began.
    pub counters: PortCounters,
}

/// One attached client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientStatus {
    /// Its address and port, `unix` or `stdio`.
    pub peer: Peer,
    /// When it was let in: seconds since the Unix epoch.
    pub since: u64,
    /// Bytes received from it.
    pub bytes_from_client: u64,
    /// Bytes sent to it.
    pub bytes_to_client: u64,
}

impl PortStatus {
    /// A port is ready when it is switched off, or when it listens and its device is not known to be
    /// bad. A device that nobody has asked for yet has not been opened and counts as good.
    fn is_ready(enabled: bool, listening: bool, state: PortState) -> bool {
        !enabled || (listening && state != PortState::Failed)
    }
}

/// Where the health endpoints get their answer. Both methods return at once.
pub trait StatusSource: Send + Sync {
    /// Every port, in the order in which they came to be.
    fn status(&self) -> Vec<PortStatus>;
    /// The first configuration has been applied: before that nothing is ready.
    fn started(&self) -> bool;
}

/// The table of all ports.
#[derive(Debug, Default)]
pub struct StatusTable {
    ports: Mutex<Vec<Arc<Shared>>>,
    started: AtomicBool,
}

/// What the configuration says of a port.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// Name of the connection.
    pub name: Arc<str>,
    /// The accepter as written.
    pub accepter: Arc<str>,
    /// Path of the device.
    pub device: Arc<str>,
    /// The configuration wants the port to run.
    pub enabled: bool,
}

#[derive(Debug)]
struct Shared {
    info: Mutex<PortInfo>,
    metrics: Arc<PortMetrics>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    listening: bool,
    listen_error: Option<String>,
    state: PortState,
    fault: Option<(DeviceFailure, String)>,
    clients: Vec<Arc<Client>>,
}

#[derive(Debug)]
struct Client {
    peer: Peer,
    since: SystemTime,
    from: AtomicU64,
    to: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what is behind these locks is valid after every single assignment
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn status(&self) -> PortStatus {
        let counters = self.metrics.counters();
        let info = lock(&self.info).clone();
        let now = lock(&self.now);
        let fault = now.fault.as_ref();
        PortStatus {
            name: info.name.to_string(),
            accepter: info.accepter.to_string(),
            device: info.device.to_string(),
            enabled: info.enabled,
            listening: now.listening,
            ready: PortStatus::is_ready(info.enabled, now.listening, now.state),
            state: now.state,
            reason: fault.map(|(reason, _)| *reason),
            detail: now.listen_error.clone().or_else(|| fault.map(|(_, text)| text.clone())),
            clients: now.clients.iter().map(|client| client.status()).collect(),
            counters,
        }
    }
}

impl Client {
    fn status(&self) -> ClientStatus {
        ClientStatus {
            peer: self.peer.clone(),
            since: self.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            bytes_from_client: self.from.load(Ordering::Relaxed),
            bytes_to_client: self.to.load(Ordering::Relaxed),
        }
    }
}

impl StatusTable {
    /// An empty table: not started, no ports.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Enters a port into table and metrics; it leaves both when the reporter is dropped.
    pub fn register(self: &Arc<Self>, metrics: &Metrics, info: PortInfo) -> PortReporter {
        let state = if info.enabled { PortState::Closed } else { PortState::Disabled };
        let shared = Arc::new(Shared {
            metrics: metrics.port(Arc::clone(&info.name)),
            info: Mutex::new(info),
            now: Mutex::new(Now {
                listening: false,
                listen_error: None,
                state,
                fault: None,
                clients: Vec::new(),
            }),
        });
        shared.metrics.listening(false);
        shared.metrics.state(state, None);
        lock(&self.ports).push(Arc::clone(&shared));
        PortReporter { table: Arc::clone(self), shared }
    }

    /// Number of ports that listen. Cheaper than [`StatusSource::status`], which copies every text.
    pub fn listening(&self) -> usize {
        lock(&self.ports).iter().filter(|port| lock(&port.now).listening).count()
    }

    /// The first configuration has been applied.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }
}

impl StatusSource for StatusTable {
    fn status(&self) -> Vec<PortStatus> {
        let ports = lock(&self.ports).clone();
        ports.iter().map(|port| port.status()).collect()
    }

    fn started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }
}

/// A port's pen: table and metrics say what is told here.
#[derive(Debug)]
pub struct PortReporter {
    table: Arc<StatusTable>,
    shared: Arc<Shared>,
}

impl PortReporter {
    /// The port's metrics, for what has no place in the table (bytes, drops, line errors).
    pub fn metrics(&self) -> &Arc<PortMetrics> {
        &self.shared.metrics
    }

    /// The port runs with another configuration under the same name.
    pub fn describe(&self, info: PortInfo) {
        *lock(&self.shared.info) = info;
    }

    /// The port listens.
    pub fn listening(&self) {
        self.shared.metrics.listening(true);
        let mut now = lock(&self.shared.now);
        now.listening = true;
        now.listen_error = None;
    }

    /// The port does not listen (any more); `why` when that is not as it should be.
    pub fn not_listening(&self, why: Option<String>) {
        self.shared.metrics.listening(false);
        let mut now = lock(&self.shared.now);
        now.listening = false;
        now.listen_error = why;
    }

    /// The port went to `state`. An earlier failure is forgotten once the device is open; going to
    /// `Closed` forgets it too. Use [`PortReporter::failed`] for failures.
    pub fn state(&self, state: PortState) {
        let mut now = lock(&self.shared.now);
        if matches!(state, PortState::Open | PortState::Closed | PortState::Disabled) {
            now.fault = None;
        }
        now.state = state;
        let fault = now.fault.as_ref().map(|(reason, _)| *reason);
        drop(now);
        self.shared.metrics.state(state, fault);
        if state == PortState::Open {
            self.shared.metrics.device_opened();
        }
    }

    /// The device could not be opened, or ([`DeviceFailure::Lost`]) was lost while it was open.
    /// `detail` is for people: it names path, mode, owner, whatever helps.
    pub fn failed(&self, reason: DeviceFailure, detail: String) {
        if reason != DeviceFailure::Lost {
            self.shared.metrics.device_open_failed(reason);
        }
        self.absent(reason, detail);
    }

    /// The device was looked for and is not there, or not to be used. Nobody has tried to open it.
    pub fn absent(&self, reason: DeviceFailure, detail: String) {
        let mut now = lock(&self.shared.now);
        now.fault = Some((reason, detail));
        now.state = PortState::Failed;
        drop(now);
        self.shared.metrics.state(PortState::Failed, Some(reason));
    }

    /// Why the device is bad; `None` while it is not known to be.
    pub fn fault(&self) -> Option<DeviceFailure> {
        lock(&self.shared.now).fault.as_ref().map(|(reason, _)| *reason)
    }

    /// A client was turned away.
    pub fn refused(&self, reason: Refusal) {
        self.shared.metrics.refused(reason);
    }

    /// A client was let in. It counts as attached as long as the returned value lives.
    pub fn client_joined(&self, peer: Peer) -> ClientReporter {
        let client = Arc::new(Client {
            peer,
            since: SystemTime::now(),
            from: AtomicU64::new(0),
            to: AtomicU64::new(0),
        });
        self.shared.metrics.client_joined();
        lock(&self.shared.now).clients.push(Arc::clone(&client));
        ClientReporter {
            shared: Arc::clone(&self.shared),
            client,
            joined: Instant::now(),
            reason: CloseReason::Peer,
        }
    }
}

impl Drop for PortReporter {
    fn drop(&mut self) {
        lock(&self.table.ports).retain(|port| !Arc::ptr_eq(port, &self.shared));
    }
}

/// One attached client's part of table and metrics; dropping it takes the client out.
#[derive(Debug)]
pub struct ClientReporter {
    shared: Arc<Shared>,
    client: Arc<Client>,
    joined: Instant,
    reason: CloseReason,
}

impl ClientReporter {
    /// Bytes were received from the client. Two atomic adds.
    #[inline]
    pub fn received(&self, count: usize) {
        self.shared.metrics.bytes(Direction::FromClients, count);
        self.client.from.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Bytes were sent to the client. Two atomic adds.
    #[inline]
    pub fn sent(&self, count: usize) {
        self.shared.metrics.bytes(Direction::ToClients, count);
        self.client.to.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Why the client will be gone; [`CloseReason::Peer`] when nothing was said.
    pub fn set_reason(&mut self, reason: CloseReason) {
        self.reason = reason;
    }

    /// For the log line at the end: time attached, bytes received from and sent to the client.
    pub fn summary(&self) -> (Duration, u64, u64) {
        let status = self.client.status();
        (self.joined.elapsed(), status.bytes_from_client, status.bytes_to_client)
    }
}

impl Drop for ClientReporter {
    fn drop(&mut self) {
        lock(&self.shared.now).clients.retain(|client| !Arc::ptr_eq(client, &self.client));
        self.shared.metrics.client_left(self.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str) -> PortInfo {
        let accepter = "tcp,127.0.0.1,2000".into();
        PortInfo { name: name.into(), accepter, device: "/dev/ttyUSB0".into(), enabled: true }
    }

    fn setup() -> (Arc<StatusTable>, Metrics) {
        (StatusTable::new(), Metrics::new().unwrap())
    }

    #[test]
    fn ready_follows_listener_and_device() {
        let (table, metrics) = setup();
        let port = table.register(&metrics, info("a"));
        let now = || table.status().remove(0);
        assert!(!now().ready, "does not listen yet");
        port.listening();
        assert!(now().ready, "the device has not been asked for yet");
        assert_eq!(table.listening(), 1);
        port.state(PortState::Opening);
        assert!(now().ready);
        port.failed(DeviceFailure::Missing, "/dev/ttyUSB0: no such file".to_owned());
        let failed = now();
        assert!(!failed.ready);
        assert_eq!(failed.reason, Some(DeviceFailure::Missing));
        assert_eq!(failed.detail.as_deref(), Some("/dev/ttyUSB0: no such file"));
        assert_eq!(failed.counters.device_open_failures, 1);
        port.state(PortState::Opening);
        assert_eq!(now().reason, Some(DeviceFailure::Missing), "a new attempt proves nothing");
        port.state(PortState::Open);
        assert!(now().ready && now().reason.is_none());
        port.failed(DeviceFailure::Lost, "unplugged".to_owned());
        let lost = now();
        assert!(!lost.ready);
        assert_eq!((lost.counters.device_opens, lost.counters.device_open_failures), (1, 1));
        port.state(PortState::Closed);
        port.not_listening(Some("127.0.0.1:2000: address in use".to_owned()));
        let deaf = now();
        assert!(!deaf.ready);
        assert_eq!(table.listening(), 0);
        assert_eq!(deaf.detail.as_deref(), Some("127.0.0.1:2000: address in use"));
        assert!(!table.started());
        table.set_started();
        assert!(table.started());
    }

    #[test]
    fn disabled_is_ready_and_says_so() {
        let (table, metrics) = setup();
        let _port = table.register(&metrics, PortInfo { enabled: false, ..info("off") });
        let status = table.status().remove(0);
        assert!(status.ready && !status.listening);
        assert_eq!(status.state, PortState::Disabled);
    }

    #[test]
    fn clients_come_and_go_with_their_counts() {
        let (table, metrics) = setup();
        let port = table.register(&metrics, info("a"));
        let peer = Peer::Ip("[::1]:4000".parse().unwrap());
        let mut client = port.client_joined(peer.clone());
        client.received(3);
        client.sent(10);
        client.sent(1);
        let seen = table.status().remove(0);
        assert_eq!(seen.clients.len(), 1);
        assert_eq!(seen.clients[0].peer, peer);
        assert_eq!((seen.clients[0].bytes_from_client, seen.clients[0].bytes_to_client), (3, 11));
        assert_eq!((seen.counters.bytes_from_clients, seen.counters.bytes_to_clients), (3, 11));
        assert_eq!((client.summary().1, client.summary().2), (3, 11));
        client.set_reason(CloseReason::Kicked);
        drop(client);
        let after = table.status().remove(0);
        assert!(after.clients.is_empty());
        assert_eq!((after.counters.connections, after.counters.kicks), (1, 1));
        drop(port);
        assert!(table.status().is_empty());
        assert!(!metrics.render().unwrap().contains("port=\"a\""));
    }

    #[test]
    fn json_has_labels_as_text() {
        let (table, metrics) = setup();
        let port = table.register(&metrics, info("a"));
        port.failed(DeviceFailure::Permission, "x".to_owned());
        let json = serde_json::to_value(table.status()).unwrap();
        assert_eq!(json[0]["state"], "failed");
        assert_eq!(json[0]["reason"], "permission");
        assert_eq!(json[0]["counters"]["bytes_from_device"], 0);
        assert_eq!(json[0]["clients"], serde_json::json!([]));
    }
}
