//! Times that are waited for by one timer of the kernel.
//!
//! While a timer of the runtime's own is pending, the runtime reads the clock at each wait and gives the
//! kernel a timeout, for which that starts and cancels a timer: about a tenth of the processor time of a small
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
    /// Given back before a waker is woken or dropped: it may run what belongs to others.
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
    /// The task that waits for the earliest; none before [`Alarms::start`] or the first alarm.
    driver: Option<JoinHandle<()>>,
}

impl Alarms {
    /// Takes the descriptor now; without this it is taken for the first alarm, when there may be none left.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its drivers.
    pub fn start(&self) {
        self.0.lock().start(&self.0);
    }

    /// Is over at `at`, or at once if that is past.
    pub fn until(&self, at: Instant) -> Alarm {
        let mut table = self.0.lock();
        table.next += 1;
        Alarm { shared: Arc::clone(&self.0), number: table.next, at }
    }

    /// A beat every `period`, the first at once; without a period there is none ever.
    pub fn pulse(&self, period: Option<Duration>) -> Pulse {
        Pulse { period, next: self.until(Instant::now()) }
    }
}

impl Table {
    /// Has `alarms`, of which this is the table, woken from now on.
    fn start(&mut self, alarms: &Arc<Shared>) {
        // the driver of a runtime that has ended is of no use in another
        if self.driver.as_ref().is_none_or(JoinHandle::is_finished) {
            self.driver = Some(tokio::spawn(Arc::clone(alarms).drive(PreciseTimer::new().ok())));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `waker` woken at the time in `key`.
    fn put(self: &Arc<Self>, key: (Instant, u64), waker: &Waker) {
        let mut table = self.lock();
        let before = table.waiting.insert(key, waker.clone());
        let earlier =
            before.is_none() && table.waiting.first_key_value().is_some_and(|(&first, _)| first == key);
        if earlier {
            table.start(self);
            self.earlier.notify_one();
        }
        // and only then `before`
        drop(table);
    }

    /// Wakes whoever waits, at the time that it waits for.
    async fn drive(self: Arc<Self>, mut timer: Option<PreciseTimer>) {
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

/// A time that is waited for, made by [`Alarms::until`]. Polling it panics outside a tokio runtime that has its
/// drivers.
#[derive(Debug)]
pub struct Alarm {
    shared: Arc<Shared>,
    number: u64,
    at: Instant,
}

impl Alarm {
    /// The time that is waited for.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Changes it. Whoever waits has to poll again.
    pub fn reset(&mut self, at: Instant) {
        if self.at != at {
            self.take_back();
            self.at = at;
        }
    }

    fn take_back(&self) {
        let waker = self.shared.lock().waiting.remove(&(self.at, self.number));
        drop(waker);
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            self.take_back();
            return Poll::Ready(());
        }
        self.shared.put((self.at, self.number), cx.waker());
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Made by [`Alarms::pulse`].
#[derive(Debug)]
pub struct Pulse {
    period: Option<Duration>,
    next: Alarm,
}

impl Pulse {
    /// Waits for the next beat. Nothing is lost when the future is dropped before.
    pub async fn beat(&mut self) {
        let Some(period) = self.period else { return pending().await };
        (&mut self.next).await;
        self.next.reset(Instant::now() + period);
    }

    /// There is no further beat.
    pub fn stop(&mut self) {
        self.period = None;
        self.next.take_back();
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
    async fn one_that_was_put_off_or_brought_forward_keeps_its_new_time() {
        let alarms = Alarms::default();
        let start = Instant::now();
        let mut alarm = alarms.until(start + SOON);
        assert!(timeout(Duration::ZERO, &mut alarm).await.is_err());
        alarm.reset(start + SOON * 4);
        timeout(LIMIT, &mut alarm).await.unwrap();
        assert!(start.elapsed() >= SOON * 4);

        alarm.reset(Instant::now() + FAR);
        assert!(timeout(SOON, &mut alarm).await.is_err());
        let start = Instant::now();
        alarm.reset(start + SOON);
        timeout(LIMIT, &mut alarm).await.unwrap();
        assert!(start.elapsed() >= SOON);

        alarm.reset(Instant::now() + FAR);
        assert!(timeout(Duration::ZERO, &mut alarm).await.is_err());
        assert_eq!(alarms.0.lock().waiting.len(), 1);
        drop(alarm);
        assert!(alarms.0.lock().waiting.is_empty());
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
