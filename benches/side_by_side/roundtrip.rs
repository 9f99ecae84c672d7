//! Request and answer: the client sends some bytes, the device answers with as many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::ends::{Device, End, wait};
use crate::exchange::Effort;
use crate::pattern::Pattern;
use crate::pump::{receive_exact, send_all};

/// Longest time one round trip may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest wait of the device, in milliseconds, before it looks whether the client has finished.
const IDLE: i64 = 20;

/// Runs round trips of `size` bytes for the time and number asked for. The device answers when it has
/// the whole request, with bytes of its own, so that neither an echo of the tty nor a mixed-up
/// direction can pass. Gives the time of each round trip, in order.
pub(crate) fn run(
    client: &mut dyn End,
    device: &mut Device,
    size: usize,
    effort: Effort,
    [requests, answers]: [&Pattern; 2],
) -> Result<Vec<Duration>, String> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let answering = scope.spawn(|| answer(device, size, [requests, answers], &done));
        let asked = ask(client, size, effort, [requests, answers]);
        done.store(true, Ordering::Relaxed);
        let answered = answering.join().map_err(|_| "the device thread panicked".to_string())?;
        // the device's error is the cause when both sides have one
        answered.map_err(|error| format!("device: {error}"))?;
        asked.map_err(|error| format!("client: {error}"))
    })
}

fn ask(
    client: &mut dyn End,
    size: usize,
    effort: Effort,
    [requests, answers]: [&Pattern; 2],
) -> Result<Vec<Duration>, String> {
    let (mut requests, mut answers) = (requests.stream(), answers.stream());
    let (mut times, until) = (Vec::new(), Instant::now() + effort.time);
    while times.len() < effort.round_trips || Instant::now() < until {
        let start = Instant::now();
        send_all(client, &requests.upcoming()[..size], start + LIMIT)?;
        receive_exact(client, size, start + LIMIT, |bytes| answers.verify(bytes))?;
        times.push(start.elapsed());
        requests.advance(size);
    }
    Ok(times)
}

fn answer(
    device: &mut Device,
    size: usize,
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
        let deadline = Instant::now() + LIMIT;
        receive_exact(device, size, deadline, |bytes| requests.verify(bytes))?;
        send_all(device, &answers.upcoming()[..size], deadline)?;
        answers.advance(size);
    }
}
