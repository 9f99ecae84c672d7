//! Long waits, away from the thread that moves bytes.
//!
//! While a timer is pending in a runtime, that reads the clock and gives the kernel a timeout each time
//! that it waits for bytes, for a time that may be 20 seconds away (docs/data-path.md has what that takes).
//! So times that are far away are waited for by a runtime of their own, which has nothing else to do. Its
//! thread begins with the first of them.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::time::{Sleep, sleep_until};

/// From here on a time is far away: what happens less often than this may cost the wake-up of another thread.
const FAR: Duration = Duration::from_secs(1);

/// The runtime for times that are far away; `None`: there can be no thread for it.
static FAR_AWAY: LazyLock<Option<Handle>> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build().ok()?;
    let handle = runtime.handle().clone();
    let wait = move || runtime.block_on(pending::<()>());
    thread::Builder::new().name("alarm".into()).spawn(wait).ok().map(|_| handle)
});

/// Wakes a task at a time that can be changed. To the millisecond, like the timers of the runtime.
#[derive(Debug)]
pub struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// The timer is one of [`FAR_AWAY`].
    far: bool,
}

impl Alarm {
    /// An alarm at `at`; `now` is the time at present, or was lately.
    ///
    /// # Panics
    /// Outside a tokio runtime that has timers.
    pub fn new(at: Instant, now: Instant) -> Self {
        let other = if is_far(at, now) { FAR_AWAY.as_ref() } else { None };
        let _of_which = other.map(Handle::enter);
        Self { sleep: Box::pin(sleep_until(at.into())), far: other.is_some() }
    }

    /// The time that it was set for last.
    pub fn at(&self) -> Instant {
        self.sleep.deadline().into_std()
    }

    /// Sets it for another time.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn set(&mut self, at: Instant, now: Instant) {
        if self.at() == at {
            return;
        }
        if self.far == is_far(at, now) {
            self.sleep.as_mut().reset(at.into());
        } else {
            *self = Self::new(at, now);
        }
    }

    /// Ready from when the time has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

fn is_far(at: Instant, now: Instant) -> bool {
    at.saturating_duration_since(now) >= FAR
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::timeout;

    async fn rings(alarm: &mut Alarm) -> Instant {
        timeout(Duration::from_secs(20), poll_fn(|cx| alarm.poll(cx))).await.expect("it never rings");
        Instant::now()
    }

    #[tokio::test]
    async fn rings_at_its_time_near_and_far_and_when_that_changes() {
        let begin = Instant::now();
        let near = begin + Duration::from_millis(30);
        let far = begin + FAR + Duration::from_millis(200);
        let mut alarm = Alarm::new(near, begin);
        assert!(!alarm.far && alarm.at() == near);
        assert!(rings(&mut alarm).await >= near);
        alarm.set(far, begin);
        assert!(alarm.far && alarm.at() == far);
        assert!(rings(&mut alarm).await >= far);
        // a task that waits for a time far away is woken for one that is near
        let now = Instant::now();
        let (near, far) = (now + Duration::from_millis(30), now + Duration::from_secs(3600));
        alarm.set(far, now);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        alarm.set(near, now);
        assert!(!alarm.far);
        assert!(rings(&mut alarm).await >= near);
    }
}
