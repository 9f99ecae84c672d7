//! The cases and one measurement of one of them.

use std::thread;
use std::time::{Duration, Instant};

use crate::ends::{Client, Device};
use crate::pattern::Pattern;
use crate::peer::Peer;
use crate::process::Running;
use crate::pump::{Arrived, Direction, GIVEN_UP, Incoming, Outgoing, Shared};
use crate::pump::{pump, receive_exact, send_all};
use crate::roundtrip;

/// Time for the first bytes of a connection, which wait for the peer to open the device.
const OPENING: Duration = Duration::from_secs(5);
/// The opening exchange. No byte of it means anything to telnet.
const GREETING: [&[u8]; 2] = [b"to the device", b"to the net"];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    ToNet,
    ToDevice,
    Both,
    TelnetToNet,
    /// Round trips of so many bytes.
    RoundTrip(usize),
}

/// How long one measurement lasts.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Time bytes are sent or round trips are made for.
    pub(crate) time: Duration,
    /// Round trips that are made even if it takes longer.
    pub(crate) round_trips: usize,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) figures: Figures,
    /// Processor time of the peer over the measurement.
    pub(crate) cpu: Duration,
    /// Resident memory of the peer right after it, in KiB.
    pub(crate) resident: u64,
}

/// What one measurement is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figures {
    /// Payload bytes device to net and net to device, and the time until the last one arrived.
    Throughput { to_net: u64, to_device: u64, time: Duration },
    /// Number of round trips, the median and the 99th percentile.
    RoundTrip { count: usize, p50: Duration, p99: Duration },
}

impl Case {
    /// All cases, in the order of the tables.
    pub(crate) const ALL: [Self; 7] = [
        Self::ToNet,
        Self::ToDevice,
        Self::Both,
        Self::TelnetToNet,
        Self::RoundTrip(1),
        Self::RoundTrip(8),
        Self::RoundTrip(256),
    ];

    /// Name in options and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ToNet => "device-to-net",
            Self::ToDevice => "net-to-device",
            Self::Both => "both",
            Self::TelnetToNet => "telnet-device-to-net",
            Self::RoundTrip(1) => "round-trip-1",
            Self::RoundTrip(8) => "round-trip-8",
            Self::RoundTrip(_) => "round-trip-256",
        }
    }

    /// Heading of the table.
    pub(crate) fn title(self) -> String {
        match self {
            Self::ToNet => "Throughput, device to net, raw".into(),
            Self::ToDevice => "Throughput, net to device, raw".into(),
            Self::Both => "Throughput, both directions at once (sum), raw".into(),
            Self::TelnetToNet => "Throughput, device to net, telnet, 1 in 15 bytes 0xFF".into(),
            Self::RoundTrip(1) => "Round trip, 1 byte, raw".into(),
            Self::RoundTrip(size) => format!("Round trip, {size} bytes, raw"),
        }
    }

    /// Whether the client speaks telnet.
    pub(crate) fn telnet(self) -> bool {
        self == Self::TelnetToNet
    }

    /// Whether `peer` takes part at all.
    pub(crate) fn suits(self, peer: Peer) -> bool {
        !self.telnet() || peer.speaks_telnet()
    }

    /// Starts `peer`, opens a connection and measures. The error says what went wrong.
    pub(crate) fn measure(self, peer: Peer, effort: Effort) -> Result<Sample, String> {
        let mut device = Device::create().map_err(|error| format!("no pty: {error}"))?;
        let mut running = Running::start(peer, device.path(), self.telnet())?;
        let stream = running.connect()?;
        let mut client = Client::new(stream, self.telnet()).map_err(|error| format!("client: {error}"))?;
        open(&mut client, &mut device).map_err(|error| format!("{error}{}", running.last_words()))?;
        let before = running.cpu()?;
        let figures = self.run(&mut client, &mut device, effort)?;
        let cpu = running.cpu()?.saturating_sub(before);
        Ok(Sample { figures, cpu, resident: running.resident()? })
    }

    fn run(self, client: &mut Client, device: &mut Device, effort: Effort) -> Result<Figures, String> {
        let (up, down) = (Pattern::even(1), Pattern::even(2));
        match self {
            Self::ToNet => transfer(client, device, effort.time, None, Some(&down)),
            Self::ToDevice => transfer(client, device, effort.time, Some(&up), None),
            Self::Both => transfer(client, device, effort.time, Some(&up), Some(&down)),
            Self::TelnetToNet => transfer(client, device, effort.time, None, Some(&Pattern::rich_in_ff(3))),
            Self::RoundTrip(size) => {
                let mut times = roundtrip::run(client, device, size, effort, [&up, &down])?;
                times.sort_unstable();
                let (count, p50, p99) = (times.len(), percentile(&times, 50), percentile(&times, 99));
                Ok(Figures::RoundTrip { count, p50, p99 })
            }
        }
    }
}

/// The smallest of the sorted `times` that `percent` per cent of them do not exceed (nearest rank).
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

/// Sends a few bytes each way, so that what is measured begins with the device open, its input flushed
/// and, with telnet, the options settled.
fn open(client: &mut Client, device: &mut Device) -> Result<(), String> {
    let deadline = Instant::now() + OPENING;
    let [to_device, to_net] = GREETING;
    let exact = |mut due: &'static [u8]| {
        move |bytes: &[u8]| {
            due = due.strip_prefix(bytes).ok_or("wrong data in the opening exchange")?;
            Ok(())
        }
    };
    send_all(client, to_device, deadline)?;
    receive_exact(device, to_device.len(), deadline, exact(to_device))
        .map_err(|error| format!("opening, at the device: {error}"))?;
    send_all(device, to_net, deadline)?;
    receive_exact(client, to_net.len(), deadline, exact(to_net))
        .map_err(|error| format!("opening, at the client: {error}"))
}

/// Sends `up` to the device and `down` to the net, as far as given, for `time`.
fn transfer(
    client: &mut Client,
    device: &mut Device,
    time: Duration,
    up: Option<&Pattern>,
    down: Option<&Pattern>,
) -> Result<Figures, String> {
    let shared = Shared::new();
    let start = Instant::now();
    let until = start + time;
    let (at_device, at_client) = thread::scope(|scope| {
        let shared = &shared;
        let driving = scope.spawn(move || {
            let outgoing =
                down.map(|down| Outgoing { direction: Direction::ToNet, stream: down.stream(), until });
            let incoming = up.map(|up| Incoming { direction: Direction::ToDevice, stream: up.stream() });
            pump(device, outgoing, incoming, shared)
        });
        let outgoing = up.map(|up| Outgoing { direction: Direction::ToDevice, stream: up.stream(), until });
        let incoming = down.map(|down| Incoming { direction: Direction::ToNet, stream: down.stream() });
        let at_client = pump(client, outgoing, incoming, shared);
        let at_device = driving.join().unwrap_or_else(|_| Err("the device thread panicked".into()));
        (at_device, at_client)
    });
    let (to_device, to_net) = match (at_device, at_client) {
        (Ok(device), Ok(client)) => (device, client),
        (device, client) => {
            let texts = [("device", device.err()), ("client", client.err())];
            let texts = texts.into_iter().filter_map(|(end, error)| Some((end, error?)));
            let causes = texts.filter(|(_, error)| error != GIVEN_UP);
            let texts = causes.map(|(end, error)| format!("{end}: {error}"));
            return Err(texts.collect::<Vec<_>>().join("; "));
        }
    };
    let last = [&to_device, &to_net].into_iter().flatten().map(|arrived| arrived.last).max();
    let bytes = |arrived: Option<Arrived>| arrived.map_or(0, |arrived| arrived.bytes);
    Ok(Figures::Throughput {
        to_net: bytes(to_net),
        to_device: bytes(to_device),
        time: last.unwrap_or(start).saturating_duration_since(start),
    })
}
