//! The cases and one measurement of one of them.

use std::time::Duration;

use crate::ends::{Client, Device};
use crate::exchange::{Effort, Moved, open, transfer};
use crate::pattern::Pattern;
use crate::peer::Peer;
use crate::process::Running;
use crate::roundtrip;

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
            Self::ToNet => transfer(client, device, effort.time, None, Some(&down)).map(throughput),
            Self::ToDevice => transfer(client, device, effort.time, Some(&up), None).map(throughput),
            Self::Both => transfer(client, device, effort.time, Some(&up), Some(&down)).map(throughput),
            Self::TelnetToNet => {
                transfer(client, device, effort.time, None, Some(&Pattern::rich_in_ff(3))).map(throughput)
            }
            Self::RoundTrip(size) => {
                let mut times = roundtrip::run(client, device, size, effort, [&up, &down])?;
                times.sort_unstable();
                let (count, p50, p99) = (times.len(), percentile(&times, 50), percentile(&times, 99));
                Ok(Figures::RoundTrip { count, p50, p99 })
            }
        }
    }
}

fn throughput(moved: Moved) -> Figures {
    Figures::Throughput { to_net: moved.to_net, to_device: moved.to_device, time: moved.time }
}

/// The smallest of the sorted `times` that `percent` per cent of them do not exceed (nearest rank).
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}
