//! Connections one after the other: connect, one byte through the device and another back, close.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::client::{Client, Wire};
use crate::ends::{Device, End};
use crate::measured::{Effort, Measured, Work, percentiles};
use crate::pattern::{Pattern, Stream};
use crate::process::Running;
use crate::pump::{send_all, wait_before};
use crate::roundtrip::answer;

/// How the refusal of a port begins that has not yet got rid of the client before.
const BUSY: &[u8] = b"Port already in use";

/// Opens one connection after the other for the time and number asked for. A connection that the peer
/// refuses, because the one before has not ended for it, is made again; the time counts.
#[expect(clippy::cast_precision_loss, reason = "a run opens far fewer than 2^52 connections")]
pub(crate) fn run(
    running: &mut Running,
    device: &mut Device,
    effort: Effort,
    [requests, answers]: [&Pattern; 2],
) -> Result<Measured, String> {
    let done = AtomicBool::new(false);
    let start = Instant::now();
    let (times, refused) = thread::scope(|scope| {
        let answering = scope.spawn(|| answer(device, 1, effort.patience, [requests, answers], &done));
        let connected = connect(running, effort, [requests, answers]);
        done.store(true, Ordering::Relaxed);
        let answered = answering.join().map_err(|_| "the device thread panicked".to_string())?;
        // the device's error is the cause when both sides have one
        answered.map_err(|error| format!("device: {error}"))?;
        connected.map_err(|error| format!("client: {error}"))
    })?;
    let (count, time) = (times.len(), start.elapsed());
    let mut round = percentiles(times);
    round.insert("connections/s", count as f64 / time.as_secs_f64());
    round.insert("refused/connection", refused as f64 / count as f64);
    Ok(Measured { round, work: Work::Connections(count), note: String::new() })
}

fn connect(
    running: &mut Running,
    effort: Effort,
    [requests, answers]: [&Pattern; 2],
) -> Result<(Vec<Duration>, usize), String> {
    let (mut requests, mut answers) = (requests.stream(), answers.stream());
    let (mut times, mut refused, begun) = (Vec::new(), 0, Instant::now());
    while begun.elapsed() < effort.time || (times.is_empty() && begun.elapsed() < effort.limit) {
        let start = Instant::now();
        while !once(running.connect()?, &requests, &mut answers, start + effort.patience)? {
            refused += 1;
        }
        times.push(start.elapsed());
        requests.advance(1);
    }
    Ok((times, refused))
}

/// Says that nothing more will be sent and waits until the peer has closed too.
pub(crate) fn close(mut client: Client, deadline: Instant) -> Result<(), String> {
    client.finish().map_err(|error| format!("close: {error}"))?;
    loop {
        wait_before(&client, PollFlags::IN, deadline, "no close")?;
        match client.receive() {
            Ok(bytes) => return Err(format!("{} bytes too many", bytes.len())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if ended(&error) => return Ok(()),
            Err(error) => return Err(format!("receive: {error}")),
        }
    }
}

fn ended(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// One connection, until the peer has closed it too; whether it was served.
fn once(
    stream: TcpStream,
    requests: &Stream<'_>,
    answers: &mut Stream<'_>,
    deadline: Instant,
) -> Result<bool, String> {
    let mut client = Client::new(stream, Wire::Raw, "".as_ref()).map_err(|error| error.to_string())?;
    // a refused connection may be closed before this: what came of it is seen in what arrives
    let sent = send_all(&mut client, &requests.upcoming()[..1], deadline);
    let (mut received, mut finished) = (Vec::new(), false);
    loop {
        let what = if finished { "no close" } else { "no answer" };
        wait_before(&client, PollFlags::IN, deadline, what)?;
        match client.receive() {
            Ok(bytes) => received.extend_from_slice(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if ended(&error) => break,
            Err(error) => return Err(format!("receive: {error}")),
        }
        if received.len() == 1 && !finished && received[0] == answers.upcoming()[0] {
            client.finish().map_err(|error| format!("close: {error}"))?;
            finished = true;
        }
    }
    if !finished && (received.is_empty() || received.starts_with(BUSY)) {
        return Ok(false);
    }
    sent?;
    match received.as_slice() {
        [one] => answers.verify(&[*one]).map(|()| true),
        more => Err(format!("{} bytes too many", more.len() - 1)),
    }
}
