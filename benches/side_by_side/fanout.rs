//! One device and many clients, all reading, or all but one.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::client::Client;
use crate::ends::{Device, End, wait};
use crate::measured::{Measured, Work, throughput};
use crate::pattern::{Pattern, Stream};
use crate::pump::{Direction, GIVEN_UP, Outgoing, STALLED, Shared, TICK, expect_silence, pump};
use crate::transfer::both;

/// How long nothing must come before nothing more is expected, in milliseconds.
const LATE: i64 = 200;

/// A client that reads, and how far it has come.
struct Reader<'a> {
    client: &'a mut Client,
    stream: Stream<'a>,
}

/// The device sends for three times `time`, and all clients read; or with `stalled` all but the first. The
/// rate is the sum of those that read over the last third, when the buffers toward the first one are full.
/// Then that one reads what it gets and is closed, and every byte sent must arrive at the others.
pub(crate) fn run(
    clients: &mut Vec<Client>,
    device: &mut Device,
    time: Duration,
    pattern: &Pattern,
    stalled: bool,
) -> Result<Measured, String> {
    let silent = if stalled { Some(clients.remove(0)) } else { None };
    let mut readers: Vec<_> =
        clients.iter_mut().map(|client| Reader { client, stream: pattern.stream() }).collect();
    let start = Instant::now();
    let (bytes, took, note) = feed(device, pattern, start + 3 * time, |shared| {
        read(&mut readers, shared, Some(start + 2 * time))?;
        let (before, begun) = (total(&readers), Instant::now());
        read(&mut readers, shared, Some(start + 3 * time))?;
        let (bytes, took) = (total(&readers) - before, begun.elapsed());
        let note = silent.map(|client| fate(client, pattern)).transpose()?;
        read(&mut readers, shared, None)?;
        readers.iter_mut().try_for_each(|reader| expect_silence(reader.client))?;
        Ok((bytes, took, note))
    })?;
    let mut round = per_client(bytes, took, readers.len());
    // a client that had not got every byte in order would have been an error
    round.insert("bytes lost", 0.0);
    Ok(Measured { round, work: Work::Payload(total(&readers)), note: note.unwrap_or_default() })
}

fn total(readers: &[Reader<'_>]) -> u64 {
    readers.iter().map(|reader| reader.stream.offset()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "there are few clients")]
fn per_client(bytes: u64, time: Duration, clients: usize) -> crate::table::Round {
    let mut round = throughput(bytes, time);
    let rate = round.get("MB/s").copied().unwrap_or_default();
    round.insert("MB/s a client", rate / clients as f64);
    round
}

/// Sends from the device until `until`, in a thread of its own, while `reading` goes on.
fn feed<T>(
    device: &mut Device,
    pattern: &Pattern,
    until: Instant,
    reading: impl FnOnce(&Shared) -> Result<T, String>,
) -> Result<T, String> {
    let shared = Shared::new();
    let (sent, read) = thread::scope(|scope| {
        let driving = scope.spawn(|| {
            let outgoing = Outgoing { direction: Direction::ToNet, stream: pattern.stream(), until };
            pump(device, Some(outgoing), None, &shared)
        });
        let read = reading(&shared);
        if read.is_err() {
            shared.fail();
        }
        let sent = driving.join().unwrap_or_else(|_| Err("the device thread panicked".into()));
        (sent, read)
    });
    both(sent, read).map(|(_, read)| read)
}

/// Reads at all clients until `until`, or without it until each has got what the device sent. Gives the
/// time of the last arrival.
fn read(readers: &mut [Reader<'_>], shared: &Shared, until: Option<Instant>) -> Result<Instant, String> {
    let mut last = Instant::now();
    loop {
        if shared.failed() {
            return Err(GIVEN_UP.into());
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(last);
        }
        let due = shared.due(Direction::ToNet);
        let behind = |reader: &Reader<'_>| reader.stream.offset() != due;
        if until.is_none() {
            if !readers.iter().any(behind) {
                return Ok(last);
            }
            if last.elapsed() > STALLED {
                let least = readers.iter().map(|reader| reader.stream.offset()).min().unwrap_or_default();
                return Err(format!("stalled: a client has got {least} bytes only"));
            }
        }
        for number in ready(readers)? {
            let reader = &mut readers[number];
            match reader.client.receive() {
                Ok(bytes) => {
                    reader.stream.verify(bytes)?;
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("receive: {error}")),
            }
            if reader.stream.offset() > shared.due(Direction::ToNet) {
                return Err("too many bytes".into());
            }
        }
    }
}

/// The readers that have something to read, after a tick at most.
fn ready(readers: &[Reader<'_>]) -> Result<Vec<usize>, String> {
    let fds = readers.iter().map(|reader| PollFd::from_borrowed_fd(reader.client.fd(), PollFlags::IN));
    let mut fds: Vec<_> = fds.collect();
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK * 1_000_000 };
    match poll(&mut fds, Some(&tick)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(format!("poll: {error}")),
    }
    Ok((0..fds.len()).filter(|&number| !fds[number].revents().is_empty()).collect())
}

/// Reads at the client that did not read until nothing more comes, and says what became of it.
fn fate(mut client: Client, pattern: &Pattern) -> Result<String, String> {
    let (mut stream, mut whole) = (pattern.stream(), true);
    let mut bytes = 0;
    let end = loop {
        // what its window kept back comes when there is room; so does the end behind it
        if wait(&client, PollFlags::IN, LATE).map_err(|error| format!("poll: {error}"))?.is_empty() {
            break "still connected";
        }
        match client.receive() {
            Ok(received) => {
                bytes += received.len();
                whole = whole && stream.verify(received).is_ok();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break "closed by the peer",
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break "reset by the peer",
            Err(error) => return Err(format!("the client that stopped reading: {error}")),
        }
    };
    let data = if whole { "without a gap" } else { "with a gap" };
    Ok(format!("{end}, {} KiB {data}", bytes / 1024))
}
