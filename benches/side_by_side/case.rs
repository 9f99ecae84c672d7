//! The cases and one measurement of one of them.

use std::time::Instant;

use crate::client::{Client, Wire};
use crate::ends::Device;
use crate::exchange::open;
use crate::fault::Fault;
use crate::measured::{Effort, Measured, Work, percentiles};
use crate::pattern::Pattern;
use crate::peer::{Peer, Setup};
use crate::process::Running;
use crate::{churn, fanout, roundtrip, transfer};

/// Clients of the fan-out cases.
const MANY: usize = 16;

/// What is measured, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) wire: Wire,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ToNet,
    ToDevice,
    Both,
    /// Round trips of so many bytes.
    RoundTrip(usize),
    /// One connection after the other.
    Churn,
    /// The device to many clients.
    FanOut,
    /// The same, with a client that stops reading.
    FanOutStalled,
}

const fn raw(kind: Kind) -> Case {
    Case { wire: Wire::Raw, kind }
}

const fn telnet(kind: Kind) -> Case {
    Case { wire: Wire::Telnet, kind }
}

const fn tls(kind: Kind) -> Case {
    Case { wire: Wire::Tls, kind }
}

impl Case {
    /// All cases, in the order of the tables.
    pub(crate) const ALL: [Self; 16] = [
        raw(Kind::ToNet),
        raw(Kind::ToDevice),
        raw(Kind::Both),
        raw(Kind::RoundTrip(1)),
        raw(Kind::RoundTrip(8)),
        raw(Kind::RoundTrip(256)),
        telnet(Kind::ToNet),
        telnet(Kind::RoundTrip(1)),
        telnet(Kind::RoundTrip(256)),
        tls(Kind::ToNet),
        tls(Kind::ToDevice),
        tls(Kind::RoundTrip(1)),
        tls(Kind::RoundTrip(256)),
        raw(Kind::Churn),
        raw(Kind::FanOut),
        raw(Kind::FanOutStalled),
    ];

    /// Name in options and JSON.
    pub(crate) fn name(self) -> &'static str {
        match (self.wire, self.kind) {
            (Wire::Raw, Kind::ToNet) => "device-to-net",
            (Wire::Raw, Kind::ToDevice) => "net-to-device",
            (_, Kind::Both) => "both",
            (Wire::Raw, Kind::RoundTrip(1)) => "round-trip-1",
            (Wire::Raw, Kind::RoundTrip(8)) => "round-trip-8",
            (Wire::Raw, Kind::RoundTrip(_)) => "round-trip-256",
            (Wire::Telnet, Kind::ToNet | Kind::ToDevice) => "telnet-device-to-net",
            (Wire::Telnet, Kind::RoundTrip(1)) => "telnet-round-trip-1",
            (Wire::Telnet, Kind::RoundTrip(_)) => "telnet-round-trip-256",
            (Wire::Tls, Kind::ToNet) => "tls-device-to-net",
            (Wire::Tls, Kind::ToDevice) => "tls-net-to-device",
            (Wire::Tls, Kind::RoundTrip(1)) => "tls-round-trip-1",
            (Wire::Tls, Kind::RoundTrip(_)) => "tls-round-trip-256",
            (_, Kind::Churn) => "churn",
            (_, Kind::FanOut) => "fan-out-16",
            (_, Kind::FanOutStalled) => "fan-out-stalled",
        }
    }

    /// Heading of the table.
    pub(crate) fn title(self) -> String {
        let wire = match self.wire {
            Wire::Raw => "raw",
            Wire::Telnet => "telnet, 1 in 15 bytes 0xFF",
            Wire::Tls => "TLS 1.3, AES-128-GCM",
        };
        match self.kind {
            Kind::ToNet => format!("Throughput, device to net, {wire}"),
            Kind::ToDevice => format!("Throughput, net to device, {wire}"),
            Kind::Both => format!("Throughput, both directions at once (sum), {wire}"),
            Kind::RoundTrip(1) => format!("Round trip, 1 byte, {wire}"),
            Kind::RoundTrip(size) => format!("Round trip, {size} bytes, {wire}"),
            Kind::Churn => "Connections one after the other: connect, 1 byte there and back, close".into(),
            Kind::FanOut => format!("Device to {MANY} clients (sum), {wire}"),
            Kind::FanOutStalled => {
                format!("Device to {MANY} clients, one of which has stopped reading (sum of the others)")
            }
        }
    }

    /// What the case asks of a peer.
    pub(crate) fn setup(self) -> Setup {
        let clients = if matches!(self.kind, Kind::FanOut | Kind::FanOutStalled) { MANY } else { 1 };
        Setup { wire: self.wire, clients, again: self.kind == Kind::Churn }
    }

    /// Whether a peer can be measured again afterwards: nothing was closed.
    pub(crate) fn leaves_all_open(self) -> bool {
        match self.kind {
            Kind::ToNet | Kind::ToDevice | Kind::Both | Kind::RoundTrip(_) => true,
            Kind::Churn | Kind::FanOut | Kind::FanOutStalled => false,
        }
    }

    /// Starts `peer`, opens the connections and measures. The error says what went wrong. A fault is
    /// the device's.
    pub(crate) fn measure(
        self,
        peer: Peer,
        effort: Effort,
        fault: Option<Fault>,
    ) -> Result<Measured, String> {
        self.begin(peer, fault)?.measure(effort)
    }

    /// Starts `peer` and opens the connections.
    pub(crate) fn begin(self, peer: Peer, fault: Option<Fault>) -> Result<Scene, String> {
        let mut device = Device::create(fault).map_err(|error| format!("no pty: {error}"))?;
        let setup = self.setup();
        let mut running = Running::start(peer, device.path(), setup)?;
        let stalled = self.kind == Kind::FanOutStalled;
        let mut clients = Vec::with_capacity(setup.clients);
        for number in 0..setup.clients {
            let stream = if stalled && number == 0 { running.connect_narrow() } else { running.connect() }?;
            let client = Client::new(stream, self.wire, running.dir());
            clients.push(client.map_err(|error| format!("client: {error}{}", running.last_words()))?);
        }
        open(&mut clients, &mut device).map_err(|error| format!("{error}{}", running.last_words()))?;
        Ok(Scene { case: self, device, running, clients })
    }

    fn run(
        self,
        running: &mut Running,
        clients: &mut Vec<Client>,
        device: &mut Device,
        effort: Effort,
    ) -> Result<Measured, String> {
        let pattern = if self.wire == Wire::Telnet { Pattern::rich_in_ff } else { Pattern::even };
        let (up, down) = (pattern(1), pattern(2));
        let client = clients.first_mut().ok_or("no client")?;
        match self.kind {
            Kind::ToNet => transfer::run(client, device, effort.time, None, Some(&down)),
            Kind::ToDevice => transfer::run(client, device, effort.time, Some(&up), None),
            Kind::Both => transfer::run(client, device, effort.time, Some(&up), Some(&down)),
            Kind::RoundTrip(size) => {
                let times = roundtrip::run(client, device, size, effort, [&up, &down])?;
                let work = Work::RoundTrips(times.len());
                Ok(Measured { round: percentiles(times), work, note: String::new() })
            }
            Kind::Churn => {
                for client in clients.drain(..) {
                    churn::close(client, Instant::now() + effort.patience)?;
                }
                churn::run(running, device, effort, [&up, &down])
            }
            Kind::FanOut => fanout::run(clients, device, effort.time, &down, false),
            Kind::FanOutStalled => fanout::run(clients, device, effort.time, &down, true),
        }
    }
}

/// A peer that runs, with both of its ends.
pub(crate) struct Scene {
    case: Case,
    device: Device,
    running: Running,
    clients: Vec<Client>,
}

impl Scene {
    /// Measures once.
    pub(crate) fn measure(&mut self, effort: Effort) -> Result<Measured, String> {
        let Self { case, device, running, clients } = self;
        let before = running.cpu()?;
        let measured = case.run(running, clients, device, effort);
        // a client that the peer has closed: the peer may have said why
        let mut measured = measured.map_err(|error| {
            let closed = error.contains("end of file");
            if closed { format!("{error}{}", running.last_words()) } else { error }
        })?;
        let cpu = running.cpu()?.saturating_sub(before);
        measured.cost(cpu, running.resident()?);
        Ok(measured)
    }
}
