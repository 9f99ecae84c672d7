//! The device: requests of the kernel, what waits for an answer, and the data in between.

use super::state::{KNOWN_MACHINE, Outcome, State};
use super::wire::{self, Body, Ioctl, REQUEST_MAX, Request as Call};
use crate::attach::Attach;
use crate::attach::line::Ledger;
use crate::attach::link::{claim, whole};
use crate::attach::local::{Local, Step};
use crate::connect::{Event, pty};
use crate::serial::request::{Purge, Reply, Request};
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
use tracing::{debug, warn};

/// Bytes that wait for the far end, at the most; programs wait when there are as many.
const OUT_MAX: usize = 64 * 1024;
/// Bytes that wait for programs; the far end waits.
const IN_MAX: usize = 64 * 1024;
/// Longest line that is waited for.
const LINE_MAX: usize = 4096;
/// open(2) returns when the far end is there, or after this time.
const OPEN_LIMIT: Duration = Duration::from_secs(3);
/// Time for the far end to say that it has discarded what it had.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// What a program wrote before it closed the device is kept for so long when the far end cannot be
/// reached: the kernel's `closing_wait` of serial ports.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Requests of the kernel before others have their turn.
const ROUNDS: usize = 64;
/// Version of the protocol that we speak, 7.31: nothing later concerns us.
const MINOR: u32 = 31;

/// Something for the far end.
#[derive(Debug)]
enum Item {
    Data(Vec<u8>),
    Ask(Request),
}

/// A call of a program that has not returned.
#[derive(Debug)]
struct Held {
    unique: u64,
    what: What,
    /// When it returns at the latest.
    until: Option<Instant>,
}

#[derive(Debug)]
enum What {
    Open,
    Read {
        size: usize,
        nonblocking: bool,
        seen: usize,
    },
    /// What goes out, and how many bytes the program wrote for it.
    Write(Vec<u8>, usize),
    /// All that was written before is sent, and then perhaps input is flushed.
    Drain {
        flush: bool,
    },
    /// A break ends with it.
    Break,
    Flush,
    Wait(u32),
}

/// The device.
pub(in crate::attach) struct Device {
    file: AsyncFd<OwnedFd>,
    buf: Box<[u8]>,
    path: PathBuf,
    _claim: UnixListener,
    state: State,
    handles: u64,
    /// How often it is open.
    opens: usize,
    /// It is open as far as the relay knows.
    told_open: bool,
    /// When the last program closed it.
    left: Instant,
    queue: VecDeque<Item>,
    /// Bytes in `queue`.
    queued: usize,
    /// Data that was handed on is not sent yet.
    unsent: bool,
    stopped: bool,
    input: VecDeque<u8>,
    held: VecDeque<Held>,
    /// Who polls: the file's handle, and the kernel's for telling.
    polls: BTreeMap<u64, u64>,
    alarm: Pin<Box<Sleep>>,
    /// The far end waits for room in `input`.
    writer: Option<Waker>,
    /// There is a far end that obeys requests.
    live: bool,
    /// Data passes.
    ready: bool,
    /// DTR and RTS follow the device's being open.
    raises: bool,
    ledger: Ledger,
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
    fn answer(&self, message: &[u8]) -> io::Result<()> {
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
    fn ask(&mut self, request: Request) {
        if self.live {
            self.queue.push_back(Item::Ask(request));
        }
    }

    fn take_asks(&mut self) {
        for request in std::mem::take(&mut self.state.asks) {
            self.ask(request);
        }
    }

    fn flush(&mut self, what: Purge) {
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

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Bytes that programs may still write.
    fn room(&self) -> usize {
        OUT_MAX.saturating_sub(self.queued)
    }

    /// What poll(2) finds.
    fn events(&self) -> u32 {
        let mut events = 0;
        if self.readable() {
            events |= libc::POLLIN | libc::POLLRDNORM;
        }
        if self.room() > 0 {
            events |= libc::POLLOUT | libc::POLLWRNORM;
        }
        u32::from(events.cast_unsigned())
    }

    fn readable(&self) -> bool {
        if self.state.is_canonical() {
            return self.line_length().is_some();
        }
        let (least, time) = self.state.read_limits();
        let wanted = if time.is_zero() { least.max(1) } else { 1 };
        self.input.len() >= wanted.min(IN_MAX)
    }

    /// Length of the first line of the input, with its end.
    fn line_length(&self) -> Option<usize> {
        let end = self.input.iter().take(LINE_MAX).position(|&byte| byte == b'\n');
        end.map(|at| at + 1).or_else(|| (self.input.len() >= LINE_MAX).then_some(LINE_MAX))
    }

    /// Tells all who poll; they look again.
    fn tell(&mut self) -> io::Result<()> {
        for kernel_handle in std::mem::take(&mut self.polls).into_values() {
            self.answer(&wire::changed(kernel_handle))?;
        }
        Ok(())
    }

    /// Ends the calls that can end.
    fn serve_held(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut rest = VecDeque::new();
        let mut writing = false;
        for mut held in std::mem::take(&mut self.held) {
            let over = held.until.is_some_and(|until| until <= now);
            let unique = held.unique;
            let answer = match &mut held.what {
                What::Open if self.ready || over => {
                    self.handles += 1;
                    Some(wire::opened(unique, self.handles))
                }
                What::Read { size, nonblocking, seen } => {
                    let count = self.read_count(*size, *nonblocking, seen, over, &mut held.until);
                    match count {
                        Some(Ok(count)) => {
                            let bytes: Vec<u8> = self.input.drain(..count).collect();
                            self.wake_writer();
                            Some(wire::bytes(unique, &bytes))
                        }
                        Some(Err(errno)) => Some(wire::failure(unique, errno)),
                        None => None,
                    }
                }
                // one after the other, so that they are not mixed
                What::Write(data, count) if !writing && self.room() > 0 => {
                    let data = std::mem::take(data);
                    self.queued += data.len();
                    self.queue.push_back(Item::Data(data));
                    Some(wire::written(unique, *count))
                }
                What::Write(..) => {
                    writing = true;
                    None
                }
                What::Drain { flush } if self.queued == 0 && !self.unsent => {
                    if *flush {
                        self.flush(Purge::Receive);
                    }
                    Some(wire::controlled(unique, &[]))
                }
                What::Break if over => {
                    self.ask(Request::Break(Some(false)));
                    Some(wire::controlled(unique, &[]))
                }
                What::Flush if over => Some(wire::controlled(unique, &[])),
                What::Open | What::Drain { .. } | What::Break | What::Flush | What::Wait(_) => None,
            };
            match answer {
                Some(message) => self.answer(&message)?,
                None => rest.push_back(held),
            }
        }
        // nothing was added meanwhile
        self.held = rest;
        Ok(())
    }

    /// How many bytes a read(2) gets now; `None`: it waits (`VMIN`, `VTIME` of termios(3)).
    fn read_count(
        &self,
        size: usize,
        nonblocking: bool,
        seen: &mut usize,
        over: bool,
        until: &mut Option<Instant>,
    ) -> Option<Result<usize, i32>> {
        let there = self.input.len();
        if self.state.is_canonical() {
            return match self.line_length() {
                Some(length) => Some(Ok(length.min(size))),
                None if nonblocking => Some(Err(libc::EAGAIN)),
                None => None,
            };
        }
        let (least, time) = self.state.read_limits();
        if there > 0 && (there >= least.min(size) || over || nonblocking) {
            return Some(Ok(there.min(size)));
        }
        if there == 0 && least == 0 && (over || time.is_zero()) {
            return Some(Ok(0));
        }
        if nonblocking {
            return Some(Err(libc::EAGAIN));
        }
        if over {
            // what the time began with was flushed
            (*until, *seen) = (None, 0);
        }
        if least > 0 && !time.is_zero() && there > std::mem::replace(seen, there) {
            // between bytes
            *until = Some(Instant::now() + time);
        }
        None
    }

    /// Wakes up for the next call that ends by time.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
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
    fn take_data(&mut self, buf: &mut [u8]) -> usize {
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

    fn poll_call(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
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

impl Local for Device {
    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut [u8], wants: bool) -> Poll<io::Result<Step>> {
        for _ in 0..ROUNDS {
            if self.opens > 0 && !self.told_open {
                self.told_open = true;
                return Poll::Ready(Ok(Step::Opened));
            }
            if wants && !self.stopped {
                if matches!(self.queue.front(), Some(Item::Ask(_))) {
                    return Poll::Ready(Ok(Step::Asks));
                }
                let count = self.take_data(buf);
                if count > 0 {
                    self.unsent = true;
                    self.serve_held()?;
                    self.tell()?;
                    return Poll::Ready(Ok(Step::Data(count)));
                }
            }
            if self.opens == 0 && self.told_open && self.queued == 0 {
                self.told_open = false;
                return Poll::Ready(Ok(Step::Closed));
            }
            self.poll_alarm(cx)?;
            if !self.poll_call(cx)? {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn asks_before(&mut self) -> Vec<Request> {
        Vec::new()
    }

    fn next_ask(&mut self) -> Option<Request> {
        match self.queue.pop_front()? {
            Item::Ask(request) => {
                self.ledger.asked(&request);
                Some(request)
            }
            data @ Item::Data(_) => {
                self.queue.push_front(data);
                None
            }
        }
    }

    fn settings(&mut self) -> Vec<Request> {
        self.queue.retain(|item| matches!(item, Item::Data(_)));
        self.ledger.clear();
        let all = self.state.all();
        for request in &all {
            self.ledger.asked(request);
        }
        all
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.opens == 0 {
            return Poll::Ready(Ok(data.len()));
        }
        let count = data.len().min(IN_MAX.saturating_sub(self.input.len()));
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for &byte in &data[..count] {
            self.input.extend(self.state.input(byte));
        }
        self.serve_held()?;
        if self.readable() {
            self.tell()?;
        }
        Poll::Ready(Ok(count))
    }

    fn told(&mut self, event: &Event) {
        if let Some(complaint) = self.ledger.heard(event) {
            warn!("{}: the far end was asked for {complaint}", self.path.display());
        }
        let ended: Box<dyn Fn(&What) -> bool> = match event {
            Event::Reply(Reply::Purge(what)) => {
                if *what != Purge::Transmit {
                    // what was on its way when the program asked
                    self.input.clear();
                }
                Box::new(|what| matches!(what, What::Flush))
            }
            Event::Notice(notice) => {
                let changed = self.state.notice(*notice);
                Box::new(move |what| matches!(what, What::Wait(lines) if lines & changed != 0))
            }
            _ => return,
        };
        let (ended, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| ended(&held.what));
        self.held = rest.into();
        for Held { unique, .. } in ended {
            if let Err(error) = self.answer(&wire::controlled(unique, &[])) {
                // the next call fails in the same way, and is told
                debug!("{}: {error}", self.path.display());
            }
        }
    }

    fn connected(&mut self, on: bool) {
        self.live = on;
        if !on {
            self.ready = false;
            self.queue.retain(|item| matches!(item, Item::Data(_)));
        }
    }

    fn ready(&mut self) {
        self.ready = true;
        if let Err(error) = self.serve_held() {
            debug!("{}: {error}", self.path.display());
        }
    }

    fn sent(&mut self) {
        self.unsent = false;
        if let Err(error) = self.serve_held() {
            debug!("{}: {error}", self.path.display());
        }
    }
}
