//! Request and answer: the client sends some bytes, the device answers with as many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::client::Client;
use crate::ends::{Device, wait};
use crate::measured::Effort;
use crate::pattern::Pattern;
use crate::pump::{receive_exact, send_all};

/// Longest wait of the device, in milliseconds, before it looks whether the client has finished.
const IDLE: i64 = 20;

/// Runs round trips of `size` bytes for the time and number asked for. The device answers when it has
/// the whole request, with bytes of its own, so that neither an echo of the tty nor a mixed-up
/// direction can pass. Gives the time of each round trip, in order.
pub(crate) fn run(
    client: &mut Client,
    device: &mut Device,
    size: usize,
    effort: Effort,
    [requests, answers]: [&Pattern; 2],
) -> Result<Vec<Duration>, String> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let answering = scope.spawn(|| answer(device, size, effort.patience, [requests, answers], &done));
        let asked = ask(client, size, effort, [requests, answers]);
        done.store(true, Ordering::Relaxed);
        let answered = answering.join().map_err(|_| "the device thread panicked".to_string())?;
        // the device's error is the cause when both sides have one
        answered.map_err(|error| format!("device: {error}"))?;
        asked.map_err(|error| format!("client: {error}"))
    })
}

fn ask(
    client: &mut Client,
    size: usize,
    effort: Effort,
    [requests, answers]: [&Pattern; 2],
) -> Result<Vec<Duration>, String> {
    let (mut requests, mut answers) = (requests.stream(), answers.stream());
    let (mut times, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < effort.time
        || (times.len() < effort.round_trips && begun.elapsed() < effort.limit)
    {
        let start = Instant::now();
        send_all(client, &requests.upcoming()[..size], start + effort.patience)?;
        receive_exact(client, size, start + effort.patience, |bytes| answers.verify(bytes))?;
        times.push(start.elapsed());
        requests.advance(size);
    }
    Ok(times)
}

/// Answers requests of `size` bytes until `done`.
pub(crate) fn answer(
    device: &mut Device,
    size: usize,
    patience: Duration,
    [requests, answers]: [&Pattern; 2],
    done: &AtomicBool,
) -> Result<(), String> {
    let (mut requests, mut answers) = (requests.stream(), answers.stream());
    loop {
        while wait(device, PollFlags::IN, IDLE).map_err(|error| format!("poll: {error}"))?.is_empty() {
            if done.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        let deadline = Instant::now() + patience;
        receive_exact(device, size, deadline, |bytes| requests.verify(bytes))?;
        send_all(device, &answers.upcoming()[..size], deadline)?;
        answers.advance(size);
    }
}
