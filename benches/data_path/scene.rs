//! What is sent: one chunk at a time, or streams.

use std::time::{Duration, Instant};

use crate::client::{Client, Wire};
use crate::ends::{Device, End};
use crate::keys::Keys;
use crate::measured::{Effort, Work};
use crate::pattern::{Pattern, Stream};
use crate::pump::{receive_exact, send_all};
use crate::subject::Subject;
use crate::tls::{CERTIFICATE, KEY};
use crate::{roundtrip, transfer};

/// Bytes of a chunk that is sent alone.
const CHUNK: usize = 1024;
/// Clients of the fan-out.
const CLIENTS: usize = 16;
/// Longest time one step may take, also for a program that is being watched.
const LIMIT: Duration = Duration::from_secs(10);
const MIB: f64 = 1_048_576.0;

/// What is sent, and through what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    ChunkToNet,
    ChunkToDevice,
    RoundTrip,
    BulkToNet,
    BulkToDevice,
    BulkBoth,
    TelnetChunkToNet,
    TelnetRoundTrip,
    TelnetBulkToNet,
    TlsChunkToNet,
    TlsChunkToDevice,
    TlsRoundTrip,
    TlsBulkToNet,
    TlsBulkToDevice,
    FanOut,
}

/// How much is sent.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    /// Chunks or round trips.
    pub(crate) steps: usize,
    /// Time of a stream.
    pub(crate) time: Duration,
}

impl Scene {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 15] = [
        Self::ChunkToNet,
        Self::ChunkToDevice,
        Self::RoundTrip,
        Self::BulkToNet,
        Self::BulkToDevice,
        Self::BulkBoth,
        Self::TelnetChunkToNet,
        Self::TelnetRoundTrip,
        Self::TelnetBulkToNet,
        Self::TlsChunkToNet,
        Self::TlsChunkToDevice,
        Self::TlsRoundTrip,
        Self::TlsBulkToNet,
        Self::TlsBulkToDevice,
        Self::FanOut,
    ];

    /// Name in options.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ChunkToNet => "chunk-to-net",
            Self::ChunkToDevice => "chunk-to-device",
            Self::RoundTrip => "round-trip",
            Self::BulkToNet => "bulk-to-net",
            Self::BulkToDevice => "bulk-to-device",
            Self::BulkBoth => "bulk-both",
            Self::TelnetChunkToNet => "telnet-chunk-to-net",
            Self::TelnetRoundTrip => "telnet-round-trip",
            Self::TelnetBulkToNet => "telnet-bulk-to-net",
            Self::TlsChunkToNet => "tls-chunk-to-net",
            Self::TlsChunkToDevice => "tls-chunk-to-device",
            Self::TlsRoundTrip => "tls-round-trip",
            Self::TlsBulkToNet => "tls-bulk-to-net",
            Self::TlsBulkToDevice => "tls-bulk-to-device",
            Self::FanOut => "fan-out-16",
        }
    }

    /// Heading of its table.
    pub(crate) fn title(self) -> String {
        let filter = match self {
            _ if self.telnet() => ", telnet, 1 in 15 bytes 0xFF",
            _ if self.tls() => ", TLS",
            _ => "",
        };
        match self {
            Self::ChunkToNet | Self::TelnetChunkToNet | Self::TlsChunkToNet => {
                format!("{CHUNK} bytes at a time, device to net{filter}")
            }
            Self::ChunkToDevice | Self::TlsChunkToDevice => {
                format!("{CHUNK} bytes at a time, net to device{filter}")
            }
            Self::TelnetRoundTrip => "Round trip of 1 byte, telnet".into(),
            Self::RoundTrip | Self::TlsRoundTrip => format!("Round trip of 1 byte{filter}"),
            Self::BulkToNet | Self::TelnetBulkToNet | Self::TlsBulkToNet => {
                format!("Stream, device to net{filter}")
            }
            Self::BulkToDevice | Self::TlsBulkToDevice => format!("Stream, net to device{filter}"),
            Self::BulkBoth => "Streams both ways".into(),
            Self::FanOut => format!("{CHUNK} bytes at a time, device to {CLIENTS} clients"),
        }
    }

    /// What the figures are for one of.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::RoundTrip | Self::TelnetRoundTrip | Self::TlsRoundTrip => "round trip",
            _ if self.bulk() => "MiB",
            _ => "chunk",
        }
    }

    /// A stream, whose chunks are as large as they come.
    pub(crate) fn bulk(self) -> bool {
        matches!(
            self,
            Self::BulkToNet
                | Self::BulkToDevice
                | Self::BulkBoth
                | Self::TelnetBulkToNet
                | Self::TlsBulkToNet
                | Self::TlsBulkToDevice
        )
    }

    pub(crate) fn telnet(self) -> bool {
        matches!(self, Self::TelnetChunkToNet | Self::TelnetRoundTrip | Self::TelnetBulkToNet)
    }

    /// What the clients speak.
    pub(crate) fn wire(self) -> Wire {
        match self {
            _ if self.telnet() => Wire::Telnet,
            _ if self.tls() => Wire::Tls,
            _ => Wire::Raw,
        }
    }

    pub(crate) fn tls(self) -> bool {
        matches!(
            self,
            Self::TlsChunkToNet
                | Self::TlsChunkToDevice
                | Self::TlsRoundTrip
                | Self::TlsBulkToNet
                | Self::TlsBulkToDevice
        )
    }

    /// Instructions are counted in it: not in what is the sum of two others.
    pub(crate) fn profiled(self) -> bool {
        self != Self::BulkBoth
    }

    /// Whether `subject` can take part.
    pub(crate) fn suits(self, subject: Subject) -> bool {
        subject.is_broker() || !(self.telnet() || self.tls() || self.clients() > 1)
    }

    /// Number of clients.
    pub(crate) fn clients(self) -> usize {
        if self == Self::FanOut { CLIENTS } else { 1 }
    }

    /// The accepter without host and port.
    pub(crate) fn stack(self, keys: &Keys) -> Result<String, String> {
        if self.tls() {
            let dir = keys.dir()?;
            let [key, cert] = [KEY, CERTIFICATE].map(|name| dir.join(name));
            return Ok(format!("ssl(key={},cert={}),tcp", key.display(), cert.display()));
        }
        Ok(if self.telnet() { "telnet,tcp" } else { "tcp" }.into())
    }

    /// Sends `amount`; gives the number of units that were moved.
    pub(crate) fn run(
        self,
        clients: &mut [Client],
        device: &mut Device,
        amount: Amount,
    ) -> Result<f64, String> {
        let up = if self.telnet() { Pattern::ascii(1) } else { Pattern::even(1) };
        let down = if self.telnet() { Pattern::rich_in_ff(3) } else { Pattern::even(2) };
        let first = clients.first_mut().ok_or("no client")?;
        let bulk = |up, down, first: &mut Client, device: &mut Device| match transfer::run(
            first,
            device,
            amount.time,
            up,
            down,
        )?
        .work
        {
            Work::Payload(bytes) => Ok(units(bytes) / MIB),
            work => Err(format!("a stream counted as {work:?}")),
        };
        match self {
            Self::BulkToNet | Self::TelnetBulkToNet | Self::TlsBulkToNet => {
                bulk(None, Some(&down), first, device)
            }
            Self::BulkToDevice | Self::TlsBulkToDevice => bulk(Some(&up), None, first, device),
            Self::BulkBoth => bulk(Some(&up), Some(&down), first, device),
            Self::RoundTrip | Self::TelnetRoundTrip | Self::TlsRoundTrip => {
                let time = Duration::ZERO;
                let effort =
                    Effort { time, round_trips: amount.steps, limit: Duration::MAX, patience: LIMIT };
                roundtrip::run(first, device, 1, effort, [&up, &down]).map(|times| units(times.len() as u64))
            }
            Self::ChunkToDevice | Self::TlsChunkToDevice => {
                let (mut sent, mut got) = (up.stream(), up.stream());
                for _ in 0..amount.steps {
                    step(first, &mut sent)?;
                    arrive(device, &mut got)?;
                }
                Ok(units(amount.steps as u64))
            }
            Self::ChunkToNet | Self::TelnetChunkToNet | Self::TlsChunkToNet | Self::FanOut => {
                let mut sent = down.stream();
                let mut got: Vec<Stream<'_>> = clients.iter().map(|_| down.stream()).collect();
                for _ in 0..amount.steps {
                    step(device, &mut sent)?;
                    for (client, got) in clients.iter_mut().zip(&mut got) {
                        arrive(client, got)?;
                    }
                }
                Ok(units(amount.steps as u64))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
fn units(count: u64) -> f64 {
    count as f64
}

fn step(end: &mut dyn End, stream: &mut Stream<'_>) -> Result<(), String> {
    send_all(end, &stream.upcoming()[..CHUNK], Instant::now() + LIMIT)?;
    stream.advance(CHUNK);
    Ok(())
}

fn arrive(end: &mut dyn End, stream: &mut Stream<'_>) -> Result<(), String> {
    receive_exact(end, CHUNK, Instant::now() + LIMIT, |bytes| stream.verify(bytes))
}
