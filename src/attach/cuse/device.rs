//! The device: requests of the kernel, what waits for an answer, and the data in between.

use super::held::{Held, What};
use super::state::{KNOWN_MACHINE, Outcome, State};
use super::wire::{self, Body, Ioctl, REQUEST_MAX, Request as Call};
use crate::attach::Attach;
use crate::attach::line::Ledger;
use crate::attach::link::{claim, whole};
use crate::connect::pty;
use crate::serial::request::{Purge, Request};
use crate::serial::sys;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};
use std::collections::{BTreeMap, VecDeque};
use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep};
use tracing::warn;

/// Bytes that wait for the far end, at the most; programs wait when there are as many.
const OUT_MAX: usize = 64 * 1024;
/// Bytes that wait for programs; the far end waits.
pub(super) const IN_MAX: usize = 64 * 1024;
/// open(2) returns when the far end is there, or after this time.
const OPEN_LIMIT: Duration = Duration::from_secs(3);
/// Time for the far end to say that it has discarded what it had.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// What a program wrote before it closed the device is kept for so long when the far end cannot be
/// reached: the kernel's `closing_wait` of serial ports.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Version of the protocol that we speak, 7.31: nothing later concerns us.
const MINOR: u32 = 31;

/// Something for the far end.
#[derive(Debug)]
pub(super) enum Item {
    Data(Vec<u8>),
    Ask(Request),
}

/// The device.
pub(in crate::attach) struct Device {
    pub(super) file: AsyncFd<OwnedFd>,
    pub(super) buf: Box<[u8]>,
    pub(super) path: PathBuf,
    pub(super) _claim: UnixListener,
    pub(super) state: State,
    pub(super) handles: u64,
    /// How often it is open.
    pub(super) opens: usize,
    /// It is open as far as the relay knows.
    pub(super) told_open: bool,
    /// When the last program closed it.
    pub(super) left: Instant,
    pub(super) queue: VecDeque<Item>,
    /// Bytes in `queue`.
    pub(super) queued: usize,
    /// Data that was handed on is not sent yet.
    pub(super) unsent: bool,
    pub(super) stopped: bool,
    pub(super) input: VecDeque<u8>,
    pub(super) held: VecDeque<Held>,
    /// Who polls: the file's handle, and the kernel's for telling.
    pub(super) polls: BTreeMap<u64, u64>,
    pub(super) alarm: Pin<Box<Sleep>>,
    /// The far end waits for room in `input`.
    pub(super) writer: Option<Waker>,
    /// There is a far end that obeys requests.
    pub(super) live: bool,
    /// Data passes.
    pub(super) ready: bool,
    /// DTR and RTS follow the device's being open.
    pub(super) raises: bool,
    pub(super) ledger: Ledger,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("path", &self.path).field("opens", &self.opens).finish_non_exhaustive()
    }
}

impl Device {
    /// Makes the device.
    ///
    /// # Errors
    /// Text for the user.
    pub(in crate::attach) fn new(options: &Attach) -> Result<Self, String> {
        if !KNOWN_MACHINE {
            return Err("--cuse is not there for this kind of machine; leave it out".to_owned());
        }
        let path = whole(&options.link)?;
        let shown = path.display();
        let name = match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
            (Some(parent), Some(name)) if parent == Path::new("/dev") => name.to_owned(),
            _ => {
                return Err(format!("{shown}: with --cuse the device is /dev/NAME, for instance /dev/ttyV0"));
            }
        };
        let (owner, group) = pty::owner_ids(options.owner.as_deref(), options.group.as_deref())?;
        let claim = claim(&path)?;
        if path.symlink_metadata().is_ok() {
            return Err(format!(
                "{shown} is there already and is left alone: choose another name, or remove it"
            ));
        }
        let blank = pty::create().and_then(|(master, _)| sys::termios(&master));
        let blank = blank.map_err(|error| format!("cannot make a pseudo-terminal to learn from: {error}"))?;
        let fd = make(&name).map_err(|error| {
            let cure = match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => "; load the module: modprobe cuse",
                Some(libc::EACCES | libc::EPERM) => "; start as root, or leave --cuse out",
                _ => "",
            };
            format!("cannot make {shown} with /dev/cuse: {error}{cure}")
        })?;
        let mode = options.mode.unwrap_or(if group.is_some() { 0o660 } else { 0o600 });
        let given = std::fs::set_permissions(&path, Permissions::from_mode(mode))
            .and_then(|()| chown(&path, owner, group));
        given.map_err(|error| format!("cannot set owner and mode of {shown}: {error}"))?;
        let file = sys::watch(fd).map_err(|(_, error)| format!("cannot watch /dev/cuse: {error}"))?;
        Ok(Self {
            file,
            buf: vec![0; REQUEST_MAX].into(),
            path,
            _claim: claim,
            state: State::new(&blank, options.line),
            handles: 0,
            opens: 0,
            told_open: false,
            left: Instant::now(),
            queue: VecDeque::new(),
            queued: 0,
            unsent: false,
            stopped: false,
            input: VecDeque::new(),
            held: VecDeque::new(),
            polls: BTreeMap::new(),
            alarm: Box::pin(sleep(Duration::ZERO)),
            writer: None,
            live: false,
            ready: false,
            raises: options.keep && options.dtr.is_none() && options.rts.is_none(),
            ledger: Ledger::default(),
        })
    }

    /// An answer to the kernel.
    pub(super) fn answer(&self, message: &[u8]) -> io::Result<()> {
        match write(self.file.get_ref(), message) {
            // the program has been killed meanwhile
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn fail(&self, unique: u64, errno: i32) -> io::Result<()> {
        self.answer(&wire::failure(unique, errno))
    }

    /// A call of a program.
    fn call(&mut self, count: usize) -> io::Result<()> {
        let buf = std::mem::take(&mut self.buf);
        let result = match Call::parse(&buf[..count]) {
            Some(call) => self.serve(&call),
            None => Ok(()),
        };
        self.buf = buf;
        result
    }

    fn serve(&mut self, call: &Call<'_>) -> io::Result<()> {
        let unique = call.unique;
        match &call.body {
            Body::Open => self.open(unique, call.uid),
            Body::Release { handle } => {
                self.polls.remove(handle);
                self.closed();
                self.answer(&wire::bytes(unique, &[]))
            }
            Body::Read { size, nonblocking } => {
                let what = What::Read { size: *size, nonblocking: *nonblocking, seen: 0 };
                let (least, time) = self.state.read_limits();
                let first = least == 0 && !self.state.is_canonical();
                let until = first.then(|| Instant::now() + time);
                self.hold(unique, what, until);
                self.serve_held()
            }
            Body::Write { data, nonblocking } => {
                if *nonblocking && self.room() == 0 {
                    return self.fail(unique, libc::EAGAIN);
                }
                let output = self.state.output(data);
                self.hold(unique, What::Write(output, data.len()), None);
                self.serve_held()
            }
            Body::Ioctl(ioctl) => self.control(unique, ioctl),
            Body::Poll { handle, kernel_handle, notify } => {
                if *notify {
                    self.polls.insert(*handle, *kernel_handle);
                }
                self.answer(&wire::polled(unique, self.events()))
            }
            Body::Interrupt { unique } => {
                let Some(at) = self.held.iter().position(|held| held.unique == *unique) else {
                    return Ok(());
                };
                match self.held.remove(at).map(|held| held.what) {
                    Some(What::Break) => self.ask(Request::Break(Some(false))),
                    Some(What::Open) => self.closed(),
                    _ => {}
                }
                self.fail(*unique, libc::EINTR)
            }
            Body::Init { .. } | Body::Unknown => self.fail(unique, libc::ENOSYS),
        }
    }

    fn open(&mut self, unique: u64, uid: u32) -> io::Result<()> {
        if self.state.exclusive && uid != 0 {
            return self.fail(unique, libc::EBUSY);
        }
        self.opens += 1;
        if self.opens == 1 {
            self.input.clear();
            self.state.open(self.raises);
            self.take_asks();
        }
        self.hold(unique, What::Open, Some(Instant::now() + OPEN_LIMIT));
        self.serve_held()
    }

    /// One program less has it open.
    fn closed(&mut self) {
        self.opens = self.opens.saturating_sub(1);
        if self.opens == 0 {
            self.state.close(self.raises);
            self.left = Instant::now();
            self.input.clear();
            self.stopped = false;
            self.take_asks();
        }
    }

    fn control(&mut self, unique: u64, ioctl: &Ioctl<'_>) -> io::Result<()> {
        self.state.waiting = (self.queued, self.input.len());
        let outcome = self.state.control(ioctl);
        self.take_asks();
        let now = Instant::now();
        match outcome {
            Outcome::Failed(errno) => return self.fail(unique, errno),
            Outcome::Done(bytes) => return self.answer(&wire::controlled(unique, &bytes)),
            Outcome::Again(input, output) => {
                return self.answer(&wire::again(unique, ioctl.argument, input, output));
            }
            Outcome::Drain => self.hold(unique, What::Drain { flush: false }, None),
            Outcome::DrainAndFlush => self.hold(unique, What::Drain { flush: true }, None),
            Outcome::Break(length) => {
                self.ask(Request::Break(Some(true)));
                self.hold(unique, What::Break, Some(now + length));
            }
            Outcome::Flush(what) => {
                self.flush(what);
                let until = if self.live { now + FLUSH_LIMIT } else { now };
                self.hold(unique, What::Flush, Some(until));
            }
            Outcome::Wait(lines) => self.hold(unique, What::Wait(lines), None),
            Outcome::Stop(on) => {
                self.stopped = on;
                return self.answer(&wire::controlled(unique, &[]));
            }
            Outcome::Send(byte) => {
                self.queue.push_front(Item::Data(vec![byte]));
                self.queued += 1;
                return self.answer(&wire::controlled(unique, &[]));
            }
        }
        self.serve_held()
    }

    fn hold(&mut self, unique: u64, what: What, until: Option<Instant>) {
        self.held.push_back(Held { unique, what, until });
    }

    /// A far end that is not there, or comes to be there later, gets [`Local::settings`].
    pub(super) fn ask(&mut self, request: Request) {
        if self.live {
            self.queue.push_back(Item::Ask(request));
        }
    }

    fn take_asks(&mut self) {
        for request in std::mem::take(&mut self.state.asks) {
            self.ask(request);
        }
    }

    pub(super) fn flush(&mut self, what: Purge) {
        if what != Purge::Transmit {
            self.input.clear();
            self.wake_writer();
        }
        if what != Purge::Receive {
            self.queue.retain(|item| !matches!(item, Item::Data(_)));
            self.queued = 0;
        }
        self.ask(Request::Purge(what));
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Bytes that programs may still write.
    pub(super) fn room(&self) -> usize {
        OUT_MAX.saturating_sub(self.queued)
    }

    /// Wakes up for the next call that ends by time.
    pub(super) fn poll_alarm(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let leaving = (self.opens == 0 && self.queued > 0).then(|| self.left + DRAIN_LIMIT);
        let next = self.held.iter().filter_map(|held| held.until).chain(leaving).min();
        let Some(next) = next else { return Ok(()) };
        if next > Instant::now() {
            self.alarm.as_mut().reset(next);
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
        }
        if leaving.is_some_and(|limit| limit <= Instant::now()) {
            warn!(
                "{} bytes that a program wrote before it closed {} are lost",
                self.queued,
                self.path.display()
            );
            self.queue.clear();
            self.queued = 0;
        }
        self.serve_held()?;
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Data for the far end, up to the next request.
    pub(super) fn take_data(&mut self, buf: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buf.len()
            && let Some(Item::Data(data)) = self.queue.front_mut()
        {
            let count = data.len().min(buf.len() - filled);
            buf[filled..filled + count].copy_from_slice(&data[..count]);
            filled += count;
            if count == data.len() {
                self.queue.pop_front();
            } else {
                data.drain(..count);
            }
        }
        self.queued -= filled;
        filled
    }

    pub(super) fn poll_call(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        while let Poll::Ready(ready) = self.file.poll_read_ready(cx) {
            let mut ready = ready?;
            match read(self.file.get_ref(), &mut self.buf) {
                Ok(count) => {
                    self.call(count)?;
                    return Ok(true);
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // the program was killed before its call could be read
                Err(Errno::EINTR | Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// Has the kernel make the device `name`; it goes with the descriptor.
fn make(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = open("/dev/cuse", flags, Mode::empty())?;
    let mut buf = vec![0; REQUEST_MAX];
    let count = read(&fd, &mut buf)?;
    let Some(Call { unique, body: Body::Init { major: 7, minor }, .. }) = Call::parse(&buf[..count]) else {
        return Err(io::Error::other("the kernel speaks another version of the protocol"));
    };
    write(&fd, &wire::initialized(unique, minor.min(MINOR), name))?;
    // it was read once without waiting; from now on nobody waits for it
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    Ok(fd)
}
