//! A timer with the resolution of the kernel's high resolution timers.
//!
//! The runtime's own timers count in whole milliseconds, which is longer than one character at
//! 9600 baud; the delays between characters that a port waits for need about a tenth of that.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::serial::sys::ReactorTimer;

/// A one-shot timer on a timerfd(2) of its own; whoever needs one makes it when it first does.
///
/// Bytes of a device put the time off again and again, so the kernel's timer is set as seldom as
/// can be: while it runs for an earlier time it is left alone, and set for the rest when it has
/// fired. It is never read either: the clock tells whether the time has come, and both setting it
/// and its next expiry are seen by the reactor, which waits for changes only.
#[derive(Debug)]
pub struct PreciseTimer {
    fd: AsyncFd<ReactorTimer>,
    /// The time that is waited for; `None`: disarmed.
    due: Option<Instant>,
    /// When the kernel's timer fires or fired, as far as that was not seen yet. While armed it is
    /// not later than `due`.
    set: Option<Instant>,
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
        Ok(Self { fd: ReactorTimer::register(timer)?, due: None, set: None })
    }

    /// Lets the timer expire once, at `due`; an earlier setting is forgotten, expired or not.
    /// [`poll_expired`](Self::poll_expired) must be called again before the task sleeps.
    ///
    /// # Errors
    /// When `due` is farther away than the kernel can count (hundreds of years).
    pub fn arm(&mut self, due: Instant) -> io::Result<()> {
        self.due = Some(due);
        if self.set.is_none_or(|at| at > due) {
            self.set_kernel_timer(due)?;
        }
        Ok(())
    }

    /// Stops the timer; it does not expire until it is armed again.
    pub fn disarm(&mut self) {
        // The kernel's timer is left running: it may serve for the next `arm`, and one spurious
        // wake-up costs less than a system call for each disarming.
        self.due = None;
    }

    /// Ready once after each expiry; pending for as long as the timer is disarmed.
    ///
    /// # Errors
    /// As [`arm`](Self::arm), and when the reactor is gone; none is expected.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(due) = self.due else { return Poll::Pending };
        loop {
            let now = Instant::now();
            if due <= now {
                self.due = None;
                return Poll::Ready(Ok(()));
            }
            if self.set.is_none_or(|at| at <= now) {
                self.set_kernel_timer(due)?;
            }
            // an expiry before `due`, or one that was not waited for
            ready!(self.fd.poll_read_ready(cx))?.clear_ready();
        }
    }

    fn set_kernel_timer(&mut self, at: Instant) -> io::Result<()> {
        // a time of zero would disarm a timerfd instead of firing at once
        let after = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let after = Expiration::OneShot(TimeSpec::from_duration(after));
        self.fd.get_ref().timer().set(after, TimerSetTimeFlags::empty())?;
        self.set = Some(at);
        Ok(())
    }

    /// Whether it is waited for an expiry.
    #[cfg(test)]
    fn is_armed(&self) -> bool {
        self.due.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn expiry(timer: &mut PreciseTimer) {
        poll_fn(|cx| timer.poll_expired(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn expires_near_the_asked_time_and_only_once() {
        let mut timer = PreciseTimer::new().unwrap();
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            timer.arm(start + Duration::from_micros(700)).unwrap();
            expiry(&mut timer).await;
            let took = start.elapsed();
            assert!(took >= Duration::from_micros(700), "fired early: {took:?}");
            assert!(!timer.is_armed());
            best = best.min(took);
        }
        // a millisecond timer would never be below 1 ms; the best of many runs tells it from load
        assert!(best < Duration::from_micros(950), "best of 20 runs: {best:?}");
    }

    #[tokio::test]
    async fn past_times_expire_and_disarmed_does_not() {
        let mut timer = PreciseTimer::new().unwrap();
        timer.arm(Instant::now()).unwrap();
        expiry(&mut timer).await;

        timer.arm(Instant::now() + Duration::from_micros(1)).unwrap();
        timer.disarm();
        let waited = tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| timer.poll_expired(cx)));
        assert!(waited.await.is_err(), "a disarmed timer expired");

        // the expiry that was missed is not taken for the new one
        let start = Instant::now();
        timer.arm(start + Duration::from_millis(5)).unwrap();
        expiry(&mut timer).await;
        assert!(start.elapsed() >= Duration::from_millis(5));
    }

    #[tokio::test]
    async fn a_time_may_be_put_off_and_moved_forward() {
        let mut timer = PreciseTimer::new().unwrap();
        // every setting is later than the one before: the kernel's timer fires for the first
        let mut due = Instant::now();
        for _ in 0..20 {
            due = Instant::now() + Duration::from_millis(5);
            timer.arm(due).unwrap();
            let early = tokio::time::timeout(Duration::from_millis(1), expiry(&mut timer)).await;
            assert!(early.is_err() || Instant::now() >= due);
        }
        if timer.is_armed() {
            expiry(&mut timer).await;
        }
        assert!(Instant::now() >= due);

        timer.arm(Instant::now() + Duration::from_secs(3600)).unwrap();
        let start = Instant::now();
        timer.arm(start + Duration::from_millis(1)).unwrap();
        tokio::time::timeout(Duration::from_secs(20), expiry(&mut timer)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(1));
    }
}
