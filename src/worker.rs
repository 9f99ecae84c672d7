//! A thread for work that may block on a slow disk or driver, so that nothing that moves bytes ever
//! waits for it.
//!
//! The thread begins with the first item and ends when there was nothing to do for a while. Whoever
//! queues an item sees to it that it is not queued a second time before it is handled, so the
//! queue is never longer than there are things that can be queued.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::error;

/// The thread ends when it had nothing to do for so long.
const KEPT: Duration = Duration::from_secs(10);

/// Hands items to a thread of its own.
pub struct Worker<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    name: &'static str,
    /// Time that the thread waits after it was woken, so that more can come together.
    gather: Duration,
    handle: fn(T),
    state: Mutex<State<T>>,
    /// There is something to do, or it is urgent now.
    wake: Condvar,
    /// Everything is done.
    done: Condvar,
}

struct State<T> {
    queue: VecDeque<T>,
    /// There is a thread.
    running: bool,
    /// It is handling an item.
    busy: bool,
    /// Somebody waits for the end: no more gathering.
    urgent: bool,
}

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // what is behind this lock is valid after every single assignment
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Worker<T> {
    /// A worker that has no thread yet. `name` is the thread's, of at most 15 bytes.
    pub fn new(name: &'static str, gather: Duration, handle: fn(T)) -> Self {
        let state = State { queue: VecDeque::new(), running: false, busy: false, urgent: false };
        let inner = Inner {
            name,
            gather,
            handle,
            state: Mutex::new(state),
            wake: Condvar::new(),
            done: Condvar::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Queues an item. It is handled after all that were queued before it.
    pub fn push(&self, item: T) {
        let mut state = self.inner.lock();
        state.queue.push_back(item);
        if !state.running {
            let inner = Arc::clone(&self.inner);
            let thread = std::thread::Builder::new().name(self.inner.name.to_owned());
            match thread.spawn(move || inner.work()) {
                Ok(_) => state.running = true,
                // the next item tries again
                Err(e) => error!("no thread for {}: {e}", self.inner.name),
            }
        }
        let first = state.queue.len() == 1;
        drop(state);
        if first {
            self.inner.wake.notify_one();
        }
    }

    /// Waits until everything is handled, but not longer than `limit`; false when that was too short.
    pub fn finish(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.inner.lock();
        state.urgent = true;
        self.inner.wake.notify_one();
        while state.running && (state.busy || !state.queue.is_empty()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.inner.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.urgent = false;
        !state.busy && state.queue.is_empty()
    }
}

impl<T> Inner<T> {
    fn work(&self) {
        let mut state = self.lock();
        loop {
            while let Some(item) = state.queue.pop_front() {
                state.busy = true;
                drop(state);
                (self.handle)(item);
                state = self.lock();
                state.busy = false;
            }
            self.done.notify_all();
            let wait = self.wake.wait_timeout_while(state, KEPT, |state| state.queue.is_empty());
            let (back, waited) = wait.unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() && state.queue.is_empty() {
                state.running = false;
                return;
            }
            if !self.gather.is_zero() {
                let wait = self.wake.wait_timeout_while(state, self.gather, |state| !state.urgent);
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Job {
        number: usize,
        gate: Option<Receiver<()>>,
        out: Sender<usize>,
    }

    fn handle(job: Job) {
        if let Some(gate) = job.gate {
            gate.recv().unwrap();
        }
        job.out.send(job.number).unwrap();
    }

    #[test]
    fn items_are_handled_in_order_while_one_blocks_nobody() {
        let worker = Worker::new("test", Duration::from_millis(1), handle);
        let (out, done) = channel();
        let (open, gate) = channel();
        worker.push(Job { number: 0, gate: Some(gate), out: out.clone() });
        for number in 1..100 {
            worker.push(Job { number, gate: None, out: out.clone() });
        }
        assert!(!worker.finish(Duration::from_millis(20)), "the first one waits");
        open.send(()).unwrap();
        assert!(worker.finish(Duration::from_secs(20)));
        assert_eq!(done.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        // and again
        worker.push(Job { number: 7, gate: None, out });
        assert!(worker.finish(Duration::from_secs(20)));
        assert_eq!(done.recv().unwrap(), 7);
    }

    #[test]
    fn who_waits_for_the_end_does_not_wait_for_more_to_come() {
        let worker = Worker::new("test", Duration::from_secs(600), handle);
        let (out, done) = channel();
        worker.push(Job { number: 1, gate: None, out });
        assert!(worker.finish(Duration::from_secs(20)));
        assert_eq!(done.recv().unwrap(), 1);
        assert!(worker.finish(Duration::ZERO), "nothing is left to do");
    }
}
