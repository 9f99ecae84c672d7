//! Calls that open devices: open(2) may hang in a driver for as long as it likes.
//!
//! Almost all opens take less than a millisecond, and some dozens at a time open a thousand devices
//! as fast as hundreds would, without the stacks and allocator arenas of hundreds; so their number is
//! bounded. One that hangs costs a thread, but no place among them, and so only its own port waits.

use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::{info, warn};

/// Opens that have just begun, at the same time.
pub const AT_A_TIME: usize = 48;
/// An open that takes longer is no longer counted among them.
const BRIEF: Duration = Duration::from_secs(1);
/// An open that takes longer is told in the log, and to the clients who wait for it.
pub const HANGS: Duration = Duration::from_secs(5);

/// All opens of the program.
static OPENS: Opens = Opens::new(AT_A_TIME, BRIEF, HANGS);

/// Opens that share a bound.
#[derive(Debug)]
struct Opens {
    places: Semaphore,
    brief: Duration,
    hangs: Duration,
}

/// Runs `work`, which opens `path`, on a thread where it may block. Dropping or aborting the handle gives up
/// waiting for it; once it has begun it goes on to its end, and the result is dropped.
pub fn begin<T: Send + 'static>(
    path: impl fmt::Display + Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<Result<T, JoinError>> {
    tokio::spawn(OPENS.run(path, work))
}

impl Opens {
    const fn new(at_a_time: usize, brief: Duration, hangs: Duration) -> Self {
        Self { places: Semaphore::const_new(at_a_time), brief, hangs }
    }

    async fn run<T: Send + 'static>(
        &'static self,
        path: impl fmt::Display,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // never closed, so there is always a place in the end
        let place = self.places.acquire().await;
        let begun = Instant::now();
        let mut task = tokio::task::spawn_blocking(work);
        if let Ok(done) = timeout(self.brief, &mut task).await {
            return done;
        }
        drop(place);
        if let Ok(done) = timeout(self.hangs.saturating_sub(self.brief), &mut task).await {
            return done;
        }
        warn!("{path}: open(2) has not returned for {} s: its driver hangs", self.hangs.as_secs());
        let done = task.await;
        info!("{path}: open(2) returned after {} s", begun.elapsed().as_secs());
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn opens(at_a_time: usize) -> &'static Opens {
        Box::leak(Box::new(Opens::new(at_a_time, Duration::from_millis(20), Duration::from_millis(40))))
    }

    #[tokio::test]
    async fn those_that_hang_keep_nobody_else_from_opening() {
        let opens = opens(2);
        let mut gates = Vec::new();
        let mut hanging = Vec::new();
        for number in 0..20 {
            let (gate, shut) = channel::<()>();
            gates.push(gate);
            hanging.push(tokio::spawn(opens.run("/dev/hangs", move || (shut.recv().is_err(), number))));
        }
        let well = opens.run("/dev/well", || 7).await;
        assert_eq!(well.unwrap(), 7);
        assert!(hanging.iter().all(|task| !task.is_finished()));
        drop(gates);
        for (number, task) in hanging.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap(), (true, number), "it ends when its driver lets it");
        }
        assert_eq!(opens.places.available_permits(), 2);
    }

    #[tokio::test]
    async fn brief_ones_are_bounded() {
        let opens = opens(1);
        let (gate, shut) = channel::<()>();
        let first = tokio::spawn(opens.run("a", move || shut.recv().is_err()));
        while opens.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn(opens.run("b", || ()));
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "the first has the only place");
        drop(gate);
        assert!(first.await.unwrap().unwrap());
        second.await.unwrap().unwrap();
    }
}
