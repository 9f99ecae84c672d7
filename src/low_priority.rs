//! Work that takes a processor for milliseconds, such as reading a large configuration. It gets a thread
//! of its own, and of low priority: on a machine whose processors are all in use, bytes are moved first.
//!
//! Not for work that holds a lock which a port may want, but for the log's while it copies a line: the port
//! would wait for the low priority too.

use crate::serial::sys;
use std::io;
use std::thread;
use tokio::sync::oneshot;

/// How much lower than the program's, as in nice(2). With 10 the thread still gets a tenth of what one
/// gets that never rests (sched(7)), so it comes to its end.
const LOWER_BY: i32 = 10;

/// Runs `work`, from the first poll to its end, whether somebody waits for it or not. `name` is the thread's, of
/// at most 15 bytes.
///
/// # Errors
/// When no thread can be started, or `work` panicked.
pub async fn run<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new().name(name.into()).spawn(move || {
        // a system that does not allow it has it done with the priority of the rest
        let _ = sys::lower_priority(LOWER_BY);
        // nobody may wait any more
        let _ = done.send(work());
    })?;
    outcome.await.map_err(|_| io::Error::other("it panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The nice value of this thread: field 19 of proc_pid_stat(5).
    fn nice() -> i32 {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_the_name = stat.rsplit_once(')').unwrap().1;
        behind_the_name.split_ascii_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn only_the_thread_of_the_work_has_a_low_priority() {
        let before = nice();
        assert_eq!(run("test", nice).await.unwrap(), (before + LOWER_BY).min(19));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let outcome = run("test", || panic!("on purpose")).await;
        assert_eq!(outcome.unwrap_err().to_string(), "it panicked");
    }
}
