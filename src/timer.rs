//! A timer with the resolution of the kernel's high resolution timers.
//!
//! The runtime's own timers count in whole milliseconds, which is longer than one character at
//! 9600 baud; the delays between characters that a port waits for need about a tenth of that.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::serial::sys::ReactorTimer;

/// A one-shot timer on a timerfd(2) of its own; whoever needs one makes it when it first does.
#[derive(Debug)]
pub struct PreciseTimer {
    fd: AsyncFd<ReactorTimer>,
    armed: bool,
}

impl PreciseTimer {
    /// A disarmed timer on the reactor of the current runtime.
    ///
    /// # Errors
    /// When the process or the system is out of file descriptors.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its I/O driver.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { fd: ReactorTimer::register(timer)?, armed: false })
    }

    /// Lets the timer expire once, `after` from now; an earlier setting is forgotten, expired or
    /// not. [`poll_expired`](Self::poll_expired) must be called again before the task sleeps.
    ///
    /// # Errors
    /// When `after` is beyond what the kernel can count (hundreds of years).
    pub fn arm(&mut self, after: Duration) -> io::Result<()> {
        // a time of zero would disarm a timerfd instead of firing at once
        let after = TimeSpec::from_duration(after.max(Duration::from_nanos(1)));
        self.fd.get_ref().timer().set(Expiration::OneShot(after), TimerSetTimeFlags::empty())?;
        self.armed = true;
        Ok(())
    }

    /// Stops the timer; it does not expire until it is armed again.
    pub fn disarm(&mut self) {
        // The kernel's timer is left running: should it fire, the stale expiry is cleared by the
        // next `arm`, and one spurious wake-up costs less than a system call for each disarming.
        self.armed = false;
    }

    /// Whether the timer runs and its expiry has not been seen yet.
    #[cfg(test)]
    fn is_armed(&self) -> bool {
        self.armed
    }

    /// Ready once after each expiry; pending for as long as the timer is disarmed.
    ///
    /// # Errors
    /// As [`arm`](Self::arm) and `read(2)`; none is expected.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.armed {
            return Poll::Pending;
        }
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            match guard.try_io(|fd| fd.get_ref().timer().wait().map_err(io::Error::from)) {
                Ok(result) => {
                    // the read took every expiry: without this the next wait would begin with a
                    // read that finds nothing
                    guard.clear_ready();
                    self.armed = false;
                    return Poll::Ready(result);
                }
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Instant;

    #[tokio::test]
    async fn expires_near_the_asked_time_and_only_once() {
        let mut timer = PreciseTimer::new().unwrap();
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            timer.arm(Duration::from_micros(700)).unwrap();
            poll_fn(|cx| timer.poll_expired(cx)).await.unwrap();
            let took = start.elapsed();
            assert!(took >= Duration::from_micros(700), "fired early: {took:?}");
            assert!(!timer.is_armed());
            best = best.min(took);
        }
        // a millisecond timer would never be below 1 ms; the best of many runs tells it from load
        assert!(best < Duration::from_micros(950), "best of 20 runs: {best:?}");
    }

    #[tokio::test]
    async fn zero_fires_and_disarmed_does_not() {
        let mut timer = PreciseTimer::new().unwrap();
        timer.arm(Duration::ZERO).unwrap();
        poll_fn(|cx| timer.poll_expired(cx)).await.unwrap();

        timer.arm(Duration::from_micros(1)).unwrap();
        timer.disarm();
        let waited = tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| timer.poll_expired(cx)));
        assert!(waited.await.is_err(), "a disarmed timer expired");

        // the expiry that was missed is not taken for the new one
        let start = Instant::now();
        timer.arm(Duration::from_millis(5)).unwrap();
        poll_fn(|cx| timer.poll_expired(cx)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}
