//! Watching the modem lines: a thread that sleeps in the driver until one of them moves.
//!
//! `TIOCMIWAIT` (ioctl_tty(2)) returns at the next edge of an input line, so a change is known at
//! once, costs nothing until it comes, and a pulse is noticed that no look would catch. It blocks,
//! so it has a thread of its own, and only while a client wants to be told. Drivers without it
//! are looked at every [`LOOK`] by the same thread: asking a USB adapter for its lines takes a
//! millisecond, in which a port should be moving data.
//!
//! Nothing but an edge, the loss of the device or a signal ends the call. The descriptor of the
//! thread keeps the device open, so the thread must have ended before a close is one: it is sent
//! a signal until it says that it has. (A single one could come just before the call and be lost.)

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;

use super::modem::Look;
use super::sys;

/// Time between two looks at a driver that does not tell of edges, and longest time between an edge
/// and the look at one that tells of edges that are none.
const LOOK: Duration = Duration::from_millis(10);
/// After an edge: others often follow in its wake, and a line that chatters is not to take all of a
/// processor.
const SETTLE: Duration = Duration::from_millis(1);
/// Most looks that wait to be fetched; more are put together, which loses no edge of those that the
/// driver counts.
const MOST: usize = 32;
/// Stack of the thread: it calls nothing deep.
const STACK: usize = 64 * 1024;
/// Time between two signals to a thread that is to end.
const INSIST: Duration = Duration::from_millis(1);
/// After so long a thread that does not end is left alone; it sleeps in a driver that heeds no signal.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running watch. Dropping it ends the thread, and waits until it has closed its descriptor.
#[derive(Debug)]
pub(super) struct EdgeWatch {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The watch is to end, or has.
    turned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Look>,
    waker: Option<Waker>,
    /// The thread is to end.
    ending: bool,
    /// The thread has closed its descriptor.
    ended: bool,
}

impl EdgeWatch {
    /// Begins to watch the lines of an open device.
    ///
    /// # Errors
    /// When there are no descriptors or threads left.
    pub(super) fn start(file: &impl AsRawFd) -> io::Result<Self> {
        sys::let_signal_interrupt(Signal::SIGURG)?;
        let file = sys::duplicate(file)?;
        let shared = Arc::new(Shared::default());
        let thread = Builder::new().name("modem-lines".into()).stack_size(STACK).spawn({
            let shared = Arc::clone(&shared);
            move || {
                watch(&shared, &file);
                drop(file);
                shared.lock().ended = true;
                shared.turned.notify_all();
            }
        })?;
        Ok(Self { shared, thread })
    }

    /// Ready when there is something to [`take`](Self::take).
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if !state.seen.is_empty() {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// What was seen since the last call and, at the end, what `now` sees.
    pub(super) fn take(&self, now: impl FnOnce() -> Look) -> Vec<Look> {
        let mut state = self.shared.lock();
        let mut seen = std::mem::take(&mut state.seen);
        // no look of the thread can come between
        seen.push(now());
        seen
    }

    /// To be called when the line was programmed anew: some drivers forget by it that they are to
    /// tell of edges (8250 with `CLOCAL`), until they are asked again.
    pub(super) fn begin_again(&self) {
        self.interrupt();
    }

    fn interrupt(&self) {
        // a thread that has ended is joined by nobody, so its number is still its own
        if let Err(error) = pthread_kill(self.thread.as_pthread_t(), Signal::SIGURG)
            && error != Errno::ESRCH
        {
            tracing::debug!("the watch of modem lines takes no signal: {error}");
        }
    }
}

impl Drop for EdgeWatch {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.turned.notify_all();
        let begun = Instant::now();
        let mut state = self.shared.lock();
        while !state.ended {
            drop(state);
            self.interrupt();
            if begun.elapsed() > PATIENCE {
                tracing::warn!("the driver does not let go of the watch of its modem lines");
                return;
            }
            state = self.shared.wait(INSIST, |state| state.ended);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // nothing that is done under the lock leaves it half done
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, time: Duration, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.turned.wait_timeout_while(self.lock(), time, |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits; true when the thread is to end.
    fn pause(&self, time: Duration) -> bool {
        self.wait(time, |state| state.ending).ending
    }

    /// Looks, and tells of what is new since `last`. An error means that the device is gone.
    fn look(&self, file: &OwnedFd, last: &mut Look) -> Result<bool, ()> {
        let mut state = self.lock();
        let now = Look::at(file, true);
        if now.lines.is_none() {
            return Err(());
        }
        let moved = now.moved_since(last);
        *last = now;
        if moved {
            if state.seen.len() >= MOST {
                state.seen.pop();
            }
            state.seen.push(now);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
        Ok(moved)
    }
}

/// What the thread does until it is told to end or the device is gone.
fn watch(shared: &Shared, file: &OwnedFd) {
    let mut last = Look::at(file, true);
    let mut told = true;
    loop {
        if told {
            match sys::wait_for_edge(file).map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
                Ok(()) => {}
                // to end, or to ask the driver again
                Err(Some(Errno::EINTR)) if shared.lock().ending => return,
                Err(Some(Errno::EINTR)) => continue,
                Err(Some(Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP)) => told = false,
                Err(_) => return,
            }
        }
        let Ok(moved) = shared.look(file, &mut last) else { return };
        let pause = if told && moved { SETTLE } else { LOOK };
        if shared.pause(pause) {
            return;
        }
        if told && shared.look(file, &mut last).is_err() {
            return;
        }
    }
}
