//! What goes through a connection under test: the opening exchange, and a timed stream.

use std::thread;
use std::time::{Duration, Instant};

use crate::ends::{Device, End};
use crate::pattern::Pattern;
use crate::pump::{Arrived, Direction, GIVEN_UP, Incoming, Outgoing, Shared};
use crate::pump::{pump, receive_exact, send_all};

/// Time for the first bytes of a connection, which wait for the peer to open the device.
pub(crate) const OPENING: Duration = Duration::from_secs(10);
/// The opening exchange. No byte of it means anything to telnet.
pub(crate) const GREETING: [&[u8]; 2] = [b"to the device", b"to the net"];

/// How long one measurement lasts.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Time bytes are sent or round trips are made for.
    pub(crate) time: Duration,
    /// Round trips that are made even if it takes longer.
    pub(crate) round_trips: usize,
}

/// What a timed stream moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    /// Payload bytes, device to net.
    pub(crate) to_net: u64,
    /// Payload bytes, net to device.
    pub(crate) to_device: u64,
    /// Time until the last byte arrived.
    pub(crate) time: Duration,
}

/// Sends a few bytes each way, so that what is measured begins with the device open, its input flushed
/// and, with telnet, the options settled.
pub(crate) fn open(client: &mut dyn End, device: &mut Device) -> Result<(), String> {
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
pub(crate) fn transfer(
    client: &mut dyn End,
    device: &mut Device,
    time: Duration,
    up: Option<&Pattern>,
    down: Option<&Pattern>,
) -> Result<Moved, String> {
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
    Ok(Moved {
        to_net: bytes(to_net),
        to_device: bytes(to_device),
        time: last.unwrap_or(start).saturating_duration_since(start),
    })
}
