//! A pseudo-terminal as a serial device: the test has the far end of the line.

use super::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A device. Its near end is held open, so that the far end never sees a hang-up.
pub(crate) struct Pty {
    master: OwnedFd,
    near: File,
    path: String,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        fcntl_setfl(&master, fcntl_getfl(&master).unwrap() | OFlags::NONBLOCK).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let near = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&path).unwrap();
        // no echo: the far end shall not read its own words before the device is opened
        let mut raw = tcgetattr(&near).unwrap();
        raw.make_raw();
        tcsetattr(&near, OptionalActions::Now, &raw).unwrap();
        Self { master, near, path }
    }

    /// The device node.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Number of the node.
    pub(crate) fn number(&self) -> u32 {
        self.path.rsplit('/').next().unwrap().parse().unwrap()
    }

    /// Makes (or moves) a link that leads to the node.
    pub(crate) fn link(&self, link: &Path) {
        let new = link.with_extension("new");
        std::os::unix::fs::symlink(&self.path, &new).unwrap();
        std::fs::rename(&new, link).unwrap();
    }

    /// The settings in force.
    pub(crate) fn termios(&self) -> Termios {
        tcgetattr(&self.master).unwrap()
    }

    fn ready(&self, events: PollFlags, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.master, events)];
        poll(&mut fds, Some(&timeout)).unwrap() > 0
    }

    /// Reads what is there, at most until `deadline`; nothing when nothing came.
    pub(crate) fn read_some(&self, deadline: Instant) -> Vec<u8> {
        let mut buffer = [0; 16 * 1024];
        while self.ready(PollFlags::IN, deadline) {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(count) => return buffer[..count].to_vec(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => panic!("read from the far end: {error}"),
            }
        }
        Vec::new()
    }

    /// Reads exactly `length` bytes.
    #[track_caller]
    pub(crate) fn read(&self, length: usize) -> Vec<u8> {
        let got = self.read_to(|got| got.len() >= length);
        assert_eq!(got.len(), length, "more than expected: {:?}", String::from_utf8_lossy(&got[length..]));
        got
    }

    /// Reads until `enough`.
    #[track_caller]
    pub(crate) fn read_to(&self, mut enough: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let mut got = Vec::new();
        while !enough(&got) {
            let some = self.read_some(deadline);
            assert!(!some.is_empty(), "only {} bytes came to {}", got.len(), self.path);
            got.extend(some);
        }
        got
    }

    /// Asserts that nothing arrives for this time.
    #[track_caller]
    pub(crate) fn silent_for(&self, time: Duration) {
        let got = self.read_some(Instant::now() + time);
        assert!(got.is_empty(), "{:?}", String::from_utf8_lossy(&got));
    }

    /// Sends everything, as fast as it is taken.
    #[track_caller]
    pub(crate) fn write(&self, mut data: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while !data.is_empty() {
            assert!(self.ready(PollFlags::OUT, deadline), "{} bytes not taken by {}", data.len(), self.path);
            data = &data[self.try_write(data)..];
        }
    }

    /// Sends what is taken now and says how much that was.
    pub(crate) fn try_write(&self, data: &[u8]) -> usize {
        match rustix::io::write(&self.master, data) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => panic!("write to the far end: {error}"),
        }
    }

    /// Waits for room, sends what fits, until `deadline`; returns how much was sent.
    pub(crate) fn write_some(&self, data: &[u8], deadline: Instant) -> usize {
        if self.ready(PollFlags::OUT, deadline) { self.try_write(data) } else { 0 }
    }

    /// From now on everything that comes goes back, until the value is dropped.
    pub(crate) fn echo(self) -> Echo {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let path = self.path.clone();
        let number = self.number();
        let near = self.near.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let some = self.read_some(Instant::now() + Duration::from_millis(50));
                if !some.is_empty() {
                    self.write(&some);
                }
            }
        });
        Echo { stop, thread: Some(thread), path, number, near }
    }
}

/// A device that sends back what comes.
pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    path: String,
    number: u32,
    near: File,
}

impl Echo {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Number of the node.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The settings in force.
    pub(crate) fn termios(&self) -> Termios {
        tcgetattr(self.near.as_fd()).unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // its panic is the test's
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the echo device failed");
        }
    }
}
