//! Why the task of a port was woken.
//!
//! A task has one waker for all that it waits for, and cannot tell what it was woken by. Most wake-ups
//! bring bytes, and a port that then asks everything else as well (commands, listener, timers, and the
//! side that the bytes do not come from) spends more on that than on the bytes. So each gets a waker of
//! its own, which rings a bell before it wakes the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// The bells of the task of a port.
#[derive(Debug)]
pub(super) struct Bells {
    /// What the clients send, and what keeps it from being passed on.
    pub(super) clients: Bell,
    /// What the device sends, and what keeps it from being passed on.
    pub(super) device: Bell,
    /// Whatever is no byte of the device or a client.
    pub(super) rest: Bell,
}

impl Bells {
    /// Bells for the task with this waker.
    pub(super) fn new(task: &Waker) -> Self {
        let [clients, device, rest] = std::array::from_fn(|_| Bell::new(task));
        Self { clients, device, rest }
    }
}

/// A bell. It has rung when it is made: the first look is at everything.
#[derive(Debug)]
pub(super) struct Bell {
    inner: Arc<Inner>,
    waker: Waker,
}

#[derive(Debug)]
struct Inner {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // seen by the poll that the next line brings about, wherever that runs
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Bell {
    /// A bell for the task with this waker.
    fn new(task: &Waker) -> Self {
        let inner = Arc::new(Inner { rung: AtomicBool::new(true), task: task.clone() });
        let waker = Waker::from(Arc::clone(&inner));
        Self { inner, waker }
    }

    /// For what is to ring it.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Whether it has rung since the last call.
    pub(super) fn has_rung(&self) -> bool {
        // a store is dearer, and seldom needed
        self.inner.rung.load(Ordering::Relaxed) && self.inner.rung.swap(false, Ordering::Acquire)
    }

    /// Lets the next poll take it for rung, without waking the task.
    pub(super) fn keep_rung(&self) {
        self.inner.rung.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_its_own_waker_rings_it_and_each_wakes_the_task() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let Bells { clients: bell, device, rest } = Bells::new(&waker);
        let others = [device, rest];
        assert!(bell.has_rung() && !bell.has_rung());
        assert!(others.iter().all(Bell::has_rung));
        waker.wake_by_ref();
        assert!(!bell.has_rung());
        bell.context().waker().wake_by_ref();
        let clone = bell.context().waker().clone();
        clone.wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 3);
        assert!(bell.has_rung() && !bell.has_rung());
        bell.keep_rung();
        assert_eq!(task.0.load(Ordering::SeqCst), 3);
        assert!(bell.has_rung());
        assert!(!others.iter().any(Bell::has_rung));
    }
}
