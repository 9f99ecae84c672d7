//! Times that are waited for by one timer of the kernel.
//!
//! While a timer of the runtime's own is pending, the runtime reads the clock at each wait and gives the
//! kernel a timeout, for which that starts and cancels a timer: an eighth of the processor time of a small
//! request ("The data path" in the documentation has the figures). A port with a client nearly always
//! has something to do in some seconds. So what may be far off is kept in a table, whose earliest entry
//! is the time of a timerfd(2): that costs nothing while bytes go to and fro.
//!
//! It takes one descriptor for the program. When there is none left the runtime's timers serve.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::timer::PreciseTimer;

/// All alarms of a program. Copies are the same table.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Told of an alarm before all others.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// By time, and by the number of the alarm: at most one entry for each.
    waiting: BTreeMap<(Instant, u64), Waker>,
    /// Number of the next alarm that is made.
    next: u64,
    /// The task that waits for the earliest; none until there is an alarm.
    driver: Option<JoinHandle<()>>,
}

impl Alarms {
    /// An alarm that is not set.
    pub fn alarm(&self) -> Alarm {
        let mut table = self.0.lock();
        table.next += 1;
        Alarm { shared: Arc::clone(&self.0), number: table.next, at: None }
    }

    /// Is over at `at`, or at once if that is past.
    pub fn until(&self, at: Instant) -> Until {
        Until { alarm: self.alarm(), at }
    }

    /// A beat every `period`, the first at once; without a period there is none ever.
    pub fn pulse(&self, period: Option<Duration>) -> Pulse {
        Pulse { period, next: self.until(Instant::now()) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(self: &Arc<Self>, key: (Instant, u64), waker: &Waker) {
        let mut table = self.lock();
        table.waiting.insert(key, waker.clone());
        if table.waiting.first_key_value().is_some_and(|(&first, _)| first == key) {
            // the driver of a runtime that has ended is of no use in another
            if table.driver.as_ref().is_none_or(JoinHandle::is_finished) {
                table.driver = Some(tokio::spawn(Arc::clone(self).drive()));
            }
            drop(table);
            self.earlier.notify_one();
        }
    }

    /// Wakes whoever waits, at the time that it waits for.
    async fn drive(self: Arc<Self>) {
        let mut timer = PreciseTimer::new().ok();
        let mut rung = Vec::new();
        loop {
            let first = self.ring(&mut rung);
            tokio::select! {
                () = self.earlier.notified() => {}
                () = wait(&mut timer, first) => {}
            }
        }
    }

    /// Wakes those whose time has come, by way of `rung`, which is empty before and after; then the earliest of
    /// the others.
    fn ring(&self, rung: &mut Vec<Waker>) -> Option<Instant> {
        let now = Instant::now();
        let mut table = self.lock();
        while let Some(first) = table.waiting.first_entry()
            && first.key().0 <= now
        {
            rung.push(first.remove());
        }
        let first = table.waiting.first_key_value().map(|((at, _), _)| *at);
        // with the lock given back: a waker may run what belongs to others
        drop(table);
        rung.drain(..).for_each(Waker::wake);
        first
    }
}

/// Is over at `until`, or later if that is too far away for the kernel.
async fn wait(timer: &mut Option<PreciseTimer>, until: Option<Instant>) {
    let Some(until) = until else { return pending().await };
    if let Some(timer) = timer
        && timer.arm(until).is_ok()
        && poll_fn(|cx| timer.poll_expired(cx)).await.is_ok()
    {
        return;
    }
    tokio::time::sleep_until(until.into()).await;
}

/// One time that is waited for, which may be changed.
#[derive(Debug)]
pub struct Alarm {
    shared: Arc<Shared>,
    number: u64,
    at: Option<Instant>,
}

impl Alarm {
    /// The time that it was set to.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Sets it to another time, or to none. Ready when the time has come; else the task of `cx` is woken then,
    /// once.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its drivers.
    pub fn set(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at != at {
            self.take_back();
            self.at = at;
        }
        match at {
            None => Poll::Pending,
            Some(at) if at <= Instant::now() => {
                self.take_back();
                Poll::Ready(())
            }
            Some(at) => {
                self.shared.put((at, self.number), cx.waker());
                Poll::Pending
            }
        }
    }

    fn take_back(&self) {
        if let Some(at) = self.at {
            // a waker may run what belongs to others, when it is dropped too
            let waker = self.shared.lock().waiting.remove(&(at, self.number));
            drop(waker);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Made by [`Alarms::until`].
#[derive(Debug)]
pub struct Until {
    alarm: Alarm,
    at: Instant,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.alarm.set(Some(at), cx)
    }
}

/// Made by [`Alarms::pulse`].
#[derive(Debug)]
pub struct Pulse {
    period: Option<Duration>,
    next: Until,
}

impl Pulse {
    /// Waits for the next beat. Nothing is lost when the future is dropped before.
    pub async fn beat(&mut self) {
        let Some(period) = self.period else { return pending().await };
        (&mut self.next).await;
        self.next.at = Instant::now() + period;
    }

    /// There is no further beat.
    pub fn stop(&mut self) {
        self.period = None;
        self.next.alarm.take_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(20);
    const FAR: Duration = Duration::from_secs(3600);
    /// Longer than any of these tests waits for what must come.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn set(alarm: &mut Alarm, at: Option<Instant>) -> Poll<()> {
        poll_fn(|cx| Poll::Ready(alarm.set(at, cx))).await
    }

    #[tokio::test]
    async fn times_come_in_their_order_and_not_too_early() {
        let alarms = Alarms::default();
        let start = Instant::now();
        let after = |times: u32| {
            let until = alarms.until(start + SOON * times);
            async move {
                until.await;
                assert!(start.elapsed() >= SOON * times);
                Instant::now()
            }
        };
        // a far one first, so that each that follows comes before the one that the timer was set to
        let far = tokio::spawn(alarms.until(start + FAR));
        let (third, second, first, past) =
            timeout(LIMIT, async { tokio::join!(after(3), after(2), after(1), after(0)) }).await.unwrap();
        assert!(past <= first && first <= second && second <= third);
        assert!(!far.is_finished());
        far.abort();
        assert!(far.await.unwrap_err().is_cancelled());
        assert!(alarms.0.lock().waiting.is_empty(), "an alarm that is gone is still waited for");
    }

    #[tokio::test]
    async fn one_that_was_put_off_or_taken_back_does_not_go_off() {
        let alarms = Alarms::default();
        let mut alarm = alarms.alarm();
        let start = Instant::now();
        assert!(set(&mut alarm, Some(start + SOON)).await.is_pending());
        let put_off = poll_fn(|cx| alarm.set(Some(start + SOON * 4), cx));
        timeout(LIMIT, put_off).await.unwrap();
        assert!(start.elapsed() >= SOON * 4);
        // and forward again
        let start = Instant::now();
        assert!(set(&mut alarm, Some(start + FAR)).await.is_pending());
        timeout(LIMIT, poll_fn(|cx| alarm.set(Some(start + SOON), cx))).await.unwrap();
        assert!(start.elapsed() >= SOON);
        assert!(set(&mut alarm, Some(start + FAR)).await.is_pending());
        assert!(set(&mut alarm, None).await.is_pending());
        assert_eq!((alarm.at(), alarms.0.lock().waiting.len()), (None, 0));
    }

    #[tokio::test]
    async fn without_a_descriptor_the_runtime_keeps_the_time() {
        let start = Instant::now();
        timeout(LIMIT, wait(&mut None, Some(start + SOON))).await.unwrap();
        assert!(start.elapsed() >= SOON);
    }

    #[tokio::test]
    async fn a_pulse_begins_at_once_and_one_without_a_period_never() {
        let alarms = Alarms::default();
        let start = Instant::now();
        let mut pulse = alarms.pulse(Some(SOON));
        for _ in 0..3 {
            timeout(LIMIT, pulse.beat()).await.unwrap();
        }
        assert!(start.elapsed() >= SOON * 2);
        assert!(timeout(Duration::ZERO, pulse.beat()).await.is_err());
        pulse.stop();
        assert!(alarms.0.lock().waiting.is_empty());
        for mut none in [pulse, alarms.pulse(None)] {
            assert!(timeout(SOON * 2, none.beat()).await.is_err());
        }
    }

    #[test]
    fn the_table_outlives_a_runtime() {
        let alarms = Alarms::default();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let until = alarms.until(Instant::now() + SOON);
            runtime.block_on(async { timeout(LIMIT, until).await }).unwrap();
        }
    }
}
