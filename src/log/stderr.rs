//! Log lines on standard error, which may be a pipe that nobody reads or a terminal that was stopped
//! with Ctrl-S. Writing there waits, and with it all ports would.
//!
//! A line is written at once when there is room for it. If not, a thread waits in its place, and with it
//! all lines that follow, up to [`LIMIT`]; what is more is left out, and said how much.

use crate::worker::Worker;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait.
const LIMIT: usize = 256 * 1024;
/// What poll(2) promises room for: `PIPE_BUF`. A longer line goes by way of the thread.
const AT_ONCE: usize = 4096;

/// Standard error, or what stands for it.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    worker: Worker<Item>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: OwnedFd,
    /// Bytes that the thread has yet to write.
    waiting: AtomicUsize,
    /// Lines that were left out since the last one that was not.
    lost: AtomicUsize,
}

#[derive(Debug)]
struct Item {
    line: Vec<u8>,
    shared: Arc<Shared>,
}

impl Lines {
    pub(super) fn new(to: OwnedFd) -> Self {
        let shared = Shared { to, waiting: AtomicUsize::new(0), lost: AtomicUsize::new(0) };
        Self { worker: Worker::new("log", Duration::ZERO, Item::write), shared: Arc::new(shared) }
    }

    /// Waits until all lines are written, but not longer than `limit`.
    pub(super) fn finish(&self, limit: Duration) {
        if self.shared.waiting.load(Ordering::Acquire) > 0 {
            self.worker.finish(limit);
        }
        // in vain when still nobody reads
        self.tell_gap();
    }

    /// Says how many lines are missing, once there is room again.
    fn tell_gap(&self) {
        let room = self.shared.waiting.load(Ordering::Acquire) < LIMIT / 2;
        if self.shared.lost.load(Ordering::Acquire) > 0 && room {
            let lost = self.shared.lost.swap(0, Ordering::AcqRel);
            self.give(
                format!("{lost} lines of the log are missing here, because nobody read it\n").as_bytes(),
            );
        }
    }

    fn take(&self, line: &[u8]) {
        self.tell_gap();
        self.give(line);
    }

    fn give(&self, line: &[u8]) {
        let waiting = self.shared.waiting.load(Ordering::Acquire);
        if waiting == 0 && line.len() <= AT_ONCE && self.shared.has_room() {
            self.shared.write(line);
        } else if waiting + line.len() <= LIMIT {
            self.shared.waiting.fetch_add(line.len(), Ordering::AcqRel);
            self.worker.push(Item { line: line.to_vec(), shared: Arc::clone(&self.shared) });
        } else {
            self.shared.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        let mut asked = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
        // whatever is wrong with it, writing does not wait then
        !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(0))
    }

    fn write(&self, mut line: &[u8]) {
        while !line.is_empty() {
            match nix::unistd::write(&self.to, line) {
                Ok(count) => line = &line[count..],
                Err(nix::Error::EINTR) => {}
                // somebody else's setting of what we share with them
                Err(nix::Error::EAGAIN) => {
                    let mut asked = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut asked, PollTimeout::NONE);
                }
                // there is nowhere to say so
                Err(_) => return,
            }
        }
    }
}

impl Item {
    fn write(self) {
        self.shared.write(&self.line);
        self.shared.waiting.fetch_sub(self.line.len(), Ordering::AcqRel);
    }
}

/// One event on its way.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    /// Takes a whole event, as tracing-subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.take(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up_and_what_is_missing_is_said() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let lines = Lines::new(writer);
        let text = |number: usize| format!("{number:>99}\n");
        // a pipe has 64 KiB, and four times as much waits
        let begun = Instant::now();
        for number in 0..10_000 {
            lines.take(text(number).as_bytes());
        }
        lines.finish(Duration::from_millis(1));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let mut read = BufReader::new(File::from(reader)).lines().map(Result::unwrap);
        let mut count = 0;
        let kept = (64 + 256) * 1024 / 100 - 100;
        for number in 0..kept {
            assert_eq!(read.next().unwrap(), text(number).trim_end_matches('\n'));
            count += 1;
        }
        // there is room again: the next line comes behind the gap
        lines.take(b"later\n");
        drop(lines);
        let rest: Vec<String> = read.collect();
        let (gap, last) = (&rest[rest.len() - 2], &rest[rest.len() - 1]);
        count += rest.len() - 2;
        assert_eq!(
            *gap,
            format!("{} lines of the log are missing here, because nobody read it", 10_000 - count)
        );
        assert_eq!(last, "later");
    }

    #[test]
    fn lines_are_written_at_once_while_somebody_reads() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let lines = Lines::new(writer);
        writeln!(lines.make_writer(), "one").unwrap();
        assert_eq!(lines.shared.waiting.load(Ordering::Acquire), 0);
        let long = "x".repeat(AT_ONCE + 1);
        lines.take(format!("{long}\n").as_bytes());
        lines.finish(Duration::from_secs(20));
        drop(lines);
        let read: Vec<String> = BufReader::new(File::from(reader)).lines().map(Result::unwrap).collect();
        assert_eq!(read, ["one".to_owned(), long]);
    }
}
