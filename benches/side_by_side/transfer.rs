//! Throughput: a timed stream each way, as far as asked for.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::ends::Device;
use crate::measured::{Measured, Work, throughput};
use crate::pattern::Pattern;
use crate::pump::{Arrived, Direction, GIVEN_UP, Incoming, Outgoing, Shared, pump};

/// Sends `up` to the device and `down` to the net, as far as given, for `time`.
#[expect(clippy::cast_precision_loss, reason = "a run moves far less than 2^52 bytes")]
pub(crate) fn run(
    client: &mut Client,
    device: &mut Device,
    time: Duration,
    up: Option<&Pattern>,
    down: Option<&Pattern>,
) -> Result<Measured, String> {
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
    let (to_device, to_net) = both(at_device, at_client)?;
    let last = [&to_device, &to_net].into_iter().flatten().map(|arrived| arrived.last).max();
    let bytes = |arrived: Option<Arrived>| arrived.map_or(0, |arrived| arrived.bytes);
    let (to_net, to_device) = (bytes(to_net), bytes(to_device));
    let time = last.unwrap_or(start).saturating_duration_since(start);
    let mut round = throughput(to_net + to_device, time);
    round.insert("bytes to net", to_net as f64);
    round.insert("bytes to device", to_device as f64);
    Ok(Measured { round, work: Work::Payload(to_net + to_device), note: String::new() })
}

/// What both ends gave, or the error that is the cause when one has given up for the other's.
pub(crate) fn both<T, U>(
    at_device: Result<T, String>,
    at_client: Result<U, String>,
) -> Result<(T, U), String> {
    match (at_device, at_client) {
        (Ok(device), Ok(client)) => Ok((device, client)),
        (device, client) => {
            let texts = [("device", device.err()), ("client", client.err())];
            let texts = texts.into_iter().filter_map(|(end, error)| Some((end, error?)));
            let causes = texts.filter(|(_, error)| error != GIVEN_UP);
            let texts = causes.map(|(end, error)| format!("{end}: {error}"));
            Err(texts.collect::<Vec<_>>().join("; "))
        }
    }
}
