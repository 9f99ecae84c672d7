//! The tasks that play the devices.

use super::pty::FarEnd;
use super::tic::{CHARACTER, Reading};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// Wait after an error that has no business to happen, so that it cannot become a busy loop.
const PAUSE: Duration = Duration::from_secs(1);
/// After this time without a reader, echoed bytes are lost.
const ECHO_LIFE: Duration = Duration::from_secs(1);

/// A meter that sends a frame every second, character by character at the pace of its line. What is
/// sent to it goes nowhere.
pub(super) async fn meter(mut line: FarEnd) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ignored = [0; 256];
    for second in 0u32.. {
        loop {
            tokio::select! {
                _ = seconds.tick() => break,
                read = line.read(&mut ignored) => if read.is_err() { sleep(PAUSE).await },
            }
        }
        // whoever has the device open has read the last frame by now
        if let Err(error) = line.discard_unread() {
            tracing::debug!("simulated meter: {error}");
        }
        let begun = Instant::now();
        for (character, count) in Reading::at(second).frame().chunks(1).zip(1u32..) {
            line.send(character);
            sleep_until(begun + CHARACTER * count).await;
        }
    }
}

/// A device that sends back what it gets.
pub(super) async fn echo(mut line: FarEnd) {
    let mut buffer = [0; 4096];
    let mut expiry = None;
    loop {
        tokio::select! {
            read = line.read(&mut buffer) => match read {
                Ok(count) => {
                    line.send(&buffer[..count]);
                    expiry = Some(Instant::now() + ECHO_LIFE);
                }
                Err(error) => {
                    tracing::debug!("simulated echo device: {error}");
                    sleep(PAUSE).await;
                }
            },
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                expiry = None;
                if let Err(error) = line.discard_unread() {
                    tracing::debug!("simulated echo device: {error}");
                }
            }
        }
    }
}
