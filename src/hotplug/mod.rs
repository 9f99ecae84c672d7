//! Tells ports that wait for their device when it may be worth to look for it again.
//!
//! There is one watcher for the whole program, and only while somebody waits. It listens to what the
//! kernel says of devices (uevents), and watches the directories of the device nodes by inotify(7),
//! because uevents do not reach every container, and because links like those in `/dev/serial/by-id`
//! come after the kernel has spoken. Where it can do neither, it calls every second. It opens nothing
//! and decides nothing: a call is only a retry timer that fires early.

mod paths;

use crate::serial::sys;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use socket2::Socket;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::debug;

/// What comes within this time is one call: a plugged adapter makes a dozen events.
const GATHER: Duration = Duration::from_millis(10);
/// How often is called when nothing can be watched.
const BLIND: Duration = Duration::from_secs(1);
/// Longest uevent (the kernel's buffer is 2 KiB).
const UEVENT: usize = 8 * 1024;

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A device node or a link to one.
    Path(PathBuf),
    /// Any terminal.
    Terminal,
}

/// The watcher, which runs while somebody waits.
#[derive(Debug, Default)]
pub struct Hotplug {
    inner: Mutex<Inner>,
    /// Somebody came to wait, or the last one left.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Vec<Arc<Slot>>,
    running: bool,
}

#[derive(Debug)]
struct Slot {
    wanted: Wanted,
    /// The watcher is at work for it.
    served: AtomicBool,
    called: AtomicBool,
    waker: Waker,
}

/// Somebody who waits; it is over when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    slot: Arc<Slot>,
    hotplug: Arc<Hotplug>,
}

impl Ticket {
    /// Whether there was a call since this was asked last.
    pub fn was_called(&self) -> bool {
        self.slot.called.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.hotplug.lock();
        inner.waiting.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        if inner.waiting.is_empty() {
            inner.waiting.shrink_to_fit();
            drop(inner);
            self.hotplug.stirred.notify_one();
        }
    }
}

impl Hotplug {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // what is behind this lock is valid after every single assignment
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a device: `waker` is woken when it may be there. The first call comes when the
    /// watcher is at work: what happened before it was is found by looking then.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its I/O driver and its clock.
    pub fn wait(self: &Arc<Self>, wanted: Wanted, waker: Waker) -> Ticket {
        let (served, called) = (AtomicBool::new(false), AtomicBool::new(false));
        let slot = Arc::new(Slot { wanted, served, called, waker });
        let mut inner = self.lock();
        inner.waiting.push(Arc::clone(&slot));
        if !std::mem::replace(&mut inner.running, true) {
            tokio::spawn(watch(Arc::clone(self)));
        }
        drop(inner);
        self.stirred.notify_one();
        Ticket { slot, hotplug: Arc::clone(self) }
    }

    /// Calls who waits: everybody, or those whom the watcher did not know yet.
    fn call(&self, everybody: bool) {
        let waiting = self.lock().waiting.clone();
        debug!(waiting = waiting.len(), everybody, "a device may have come");
        for slot in waiting {
            if slot.served.swap(true, Ordering::AcqRel) && !everybody {
                continue;
            }
            slot.called.store(true, Ordering::Release);
            slot.waker.wake_by_ref();
        }
    }

    /// What is waited for; `None`, and the watcher ends, when nobody waits.
    fn wanted(&self) -> Option<Vec<Wanted>> {
        let mut inner = self.lock();
        inner.running = !inner.waiting.is_empty();
        inner.running.then(|| inner.waiting.iter().map(|slot| slot.wanted.clone()).collect())
    }
}

/// What the watcher listens to.
struct Ears {
    /// What the kernel says.
    uevents: Option<AsyncFd<Socket>>,
    /// Directories, and the descriptor once more for the reactor.
    directories: Option<(Inotify, AsyncFd<OwnedFd>)>,
    /// At least one directory is watched.
    watches: bool,
    /// Names that are of interest in directories.
    names: HashSet<OsString>,
    /// Any terminal is.
    terminals: bool,
}

impl Ears {
    fn new() -> Self {
        let uevents = sys::uevents();
        if let Err(error) = &uevents {
            debug!("no uevents: {error}");
        }
        let directories = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let directories = directories.map_err(std::io::Error::from).and_then(|inotify| {
            let again = sys::watch_again(&inotify.as_fd())?;
            Ok((inotify, again))
        });
        if let Err(error) = &directories {
            debug!("no inotify: {error}");
        }
        Self {
            uevents: uevents.ok(),
            directories: directories.ok(),
            watches: false,
            names: HashSet::new(),
            terminals: false,
        }
    }

    /// Watches the directories of what is wanted. A directory that is watched already stays so.
    fn turn_to(&mut self, wanted: &[Wanted]) {
        self.names.clear();
        self.terminals = wanted.contains(&Wanted::Terminal);
        let mut directories = HashSet::new();
        if self.terminals {
            directories.insert(PathBuf::from("/dev"));
        }
        for wanted in wanted {
            if let Wanted::Path(path) = wanted {
                paths::on_the_way(path, &mut directories, &mut self.names);
            }
        }
        let Some((inotify, _)) = &self.directories else { return };
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        for directory in &directories {
            match inotify.add_watch(directory, flags) {
                Ok(_) => self.watches = true,
                Err(error) => debug!("{}: not watched: {error}", directory.display()),
            }
        }
    }

    /// Waits until something happened that may concern somebody.
    async fn listen(&self) {
        tokio::select! {
            () = self.hear_uevent() => {}
            () = self.hear_directory() => {}
            () = sleep(BLIND), if self.is_blind() => {}
        }
    }

    fn is_blind(&self) -> bool {
        self.uevents.is_none() && !self.watches
    }

    async fn hear_uevent(&self) {
        let Some(socket) = &self.uevents else { return std::future::pending().await };
        let mut buffer = [0; UEVENT];
        loop {
            let Ok(mut ready) = socket.readable().await else { return std::future::pending().await };
            match ready.try_io(|socket| socket.get_ref().read(&mut buffer)) {
                Ok(Ok(count)) if is_arrival(&buffer[..count]) => return,
                // more came than could be kept: it may have been among that
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => return,
                Ok(Err(error)) if error.kind() != std::io::ErrorKind::Interrupted => {
                    debug!("no more uevents: {error}");
                    return std::future::pending().await;
                }
                _ => {}
            }
        }
    }

    async fn hear_directory(&self) {
        let Some((inotify, again)) = &self.directories else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = again.readable().await else { return std::future::pending().await };
            match inotify.read_events() {
                Ok(events) => {
                    let concerns = |name: Option<&OsString>| match name {
                        Some(name) => {
                            self.names.contains(name)
                                || self.terminals && name.as_encoded_bytes().starts_with(b"tty")
                        }
                        // the directory itself, or events that were lost
                        None => true,
                    };
                    if events.iter().any(|event| concerns(event.name.as_ref())) {
                        return;
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    debug!("no more of inotify: {error}");
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Whether a uevent says that a terminal came or changed: texts that end with a zero byte, of which one
/// is `ACTION=…` and one `SUBSYSTEM=…` (lib/kobject_uevent.c of the kernel).
fn is_arrival(event: &[u8]) -> bool {
    let has = |text: &[u8]| event.split(|byte| *byte == 0).any(|field| field == text);
    has(b"SUBSYSTEM=tty") && !has(b"ACTION=remove")
}

async fn watch(hotplug: Arc<Hotplug>) {
    let mut ears = Ears::new();
    debug!(uevents = ears.uevents.is_some(), inotify = ears.directories.is_some(), "waiting for devices");
    while let Some(wanted) = hotplug.wanted() {
        ears.turn_to(&wanted);
        tokio::select! {
            () = ears.listen() => {
                sleep(GATHER).await;
                hotplug.call(true);
            }
            // whoever came looks once the directories are watched
            () = hotplug.stirred.notified() => {
                if let Some(wanted) = hotplug.wanted() {
                    ears.turn_to(&wanted);
                    hotplug.call(false);
                } else {
                    break;
                }
            }
        }
    }
    debug!("no device is waited for");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::future::poll_fn;
    use std::os::unix::fs::symlink;
    use std::task::Poll;

    #[test]
    fn uevents_of_terminals_that_come_are_told_from_others() {
        let event = |action: &str, subsystem: &str| {
            format!("{action}@/devices/x/tty/ttyUSB0\0ACTION={action}\0SUBSYSTEM={subsystem}\0SEQNUM=1\0")
                .into_bytes()
        };
        assert!(is_arrival(&event("add", "tty")));
        assert!(is_arrival(&event("change", "tty")));
        assert!(!is_arrival(&event("remove", "tty")));
        assert!(!is_arrival(&event("add", "usb")));
        assert!(!is_arrival(&event("add", "ttyx")));
        assert!(!is_arrival(b""));
    }

    /// Waits until the ticket is called; panics when it is not within ten seconds.
    async fn called(hotplug: &Arc<Hotplug>, wanted: Wanted) -> Ticket {
        let mut ticket = None;
        let wait = poll_fn(|cx| {
            let ticket = ticket.get_or_insert_with(|| hotplug.wait(wanted.clone(), cx.waker().clone()));
            if ticket.was_called() { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
        ticket.unwrap()
    }

    async fn called_again(ticket: &Ticket) {
        // the waker is that of the task, and the task is this one
        let wait = poll_fn(|_| if ticket.was_called() { Poll::Ready(()) } else { Poll::Pending });
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }

    #[tokio::test]
    async fn a_link_that_comes_or_moves_calls_and_other_names_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let hotplug = Arc::<Hotplug>::default();
        let link = dir.path().join("serial/by-id/adapter");
        // the first call says that the watcher is at work
        let ticket = called(&hotplug, Wanted::Path(link.clone())).await;
        fs::create_dir(dir.path().join("serial")).unwrap();
        called_again(&ticket).await;
        fs::create_dir(dir.path().join("serial/by-id")).unwrap();
        called_again(&ticket).await;
        symlink("/dev/null", &link).unwrap();
        called_again(&ticket).await;
        fs::write(dir.path().join("serial/by-id/other"), "").unwrap();
        let moved = dir.path().join("new");
        symlink("/dev/zero", &moved).unwrap();
        sleep(GATHER * 5).await;
        assert!(!ticket.was_called(), "nobody waits for these names");
        fs::rename(&moved, &link).unwrap();
        called_again(&ticket).await;
    }

    #[tokio::test]
    async fn the_watcher_ends_with_the_last_who_waits_and_comes_again() {
        let hotplug = Arc::<Hotplug>::default();
        for _ in 0..2 {
            let first = called(&hotplug, Wanted::Terminal).await;
            let second = called(&hotplug, Wanted::Path("/nonexistent/tty".into())).await;
            drop(first);
            assert!(hotplug.lock().running);
            drop(second);
            let ended = async {
                while hotplug.lock().running {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_can_hear_nothing_calls_all_the_same() {
        let mut ears = Ears::new();
        ears.uevents = None;
        ears.directories = None;
        ears.turn_to(&[Wanted::Terminal]);
        assert!(ears.is_blind());
        tokio::time::timeout(BLIND * 10, ears.listen()).await.unwrap();
    }
}
