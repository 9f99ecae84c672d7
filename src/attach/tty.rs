//! The local device as a pseudo-terminal.
//!
//! What its master end can tell of the programs at the other end:
//!
//! - That one has opened it: nothing of the terminal itself says so, inotify(7) does. That nobody has
//!   it open (any more): a hang-up, by poll(2). Both are looked at together, because what inotify
//!   reports may be over by then.
//! - The settings: `TCGETS2` on the master end returns those of the other. No event tells of changes
//!   without `EXTPROC`, which would take line editing and CR-LF translation away from the programs that
//!   want them, so they are looked at with all data that comes, and a few times a second besides, while
//!   a program has the terminal open.
//! - Not size and even parity (the kernel forces CS8 and takes PARENB away), not breaks, flushes and
//!   modem lines: such calls end in the kernel.
//!
//! glibc tells a program that its tcsetattr(3) failed (`EINVAL`) when none of the changes that it asked
//! for was carried out, as when a program sets 7E1 on a terminal that has all but that already.
//! `OPOST` is therefore set again and again: every program that wants raw mode takes it away, and with
//! that something has changed. Alone it does nothing. Its absence also tells that a program has set
//! the line at all.

use super::Attach;
use super::line::{Ledger, Wanted};
use super::link::Link;
use super::local::{Local, Step};
use super::terminal::{Make, create, fresh, is_own, open_slave};
use crate::connect::{Event, pty};
use crate::serial::request::Request;
use crate::serial::settings::{Flow, LineSettings, Parity};
use crate::serial::{line_settings, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem::replace;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use sys::Termios2;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep};
use tracing::{debug, warn};

/// How often the settings are looked at after the terminal was opened or they were changed, and for
/// how long that is done.
const QUICK: Duration = Duration::from_millis(10);
const QUICK_FOR: Duration = Duration::from_secs(2);
/// How often they are looked at later. Each look is two system calls.
const SLOW: Duration = Duration::from_millis(100);
/// Settings that have stayed for so long are not being changed at this moment.
const SETTLED: Duration = Duration::from_millis(50);
/// What a program wrote before it closed the terminal is kept for so long when the far end cannot be
/// reached: the kernel's `closing_wait` of serial ports.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of inotify events that are read at a time.
const EVENTS: usize = 4096;
/// Steps without a result before others have their turn.
const ROUNDS: usize = 16;

/// The master end.
#[derive(Debug)]
enum Master {
    /// Nobody has the other end open. It cannot be watched meanwhile: the reactor would report the
    /// hang-up for ever.
    Resting(OwnedFd),
    Watched(AsyncFd<OwnedFd>),
    /// On its way from one to the other.
    Moving,
}

/// A pseudo-terminal with a link.
pub(super) struct Tty {
    master: Master,
    slave: PathBuf,
    /// inotify(7): somebody opened or closed the terminal.
    opens: AsyncFd<OwnedFd>,
    link: Link,
    make: Make,
    is_open: bool,
    /// Whether it is open has to be looked at.
    look: bool,
    /// It was opened or closed since that was done.
    passed: bool,
    /// All programs have left since, and what they wrote is still there.
    left: Option<Instant>,
    tick: Pin<Box<Sleep>>,
    /// Settings in force.
    termios: Termios2,
    /// When they were seen to change, or the terminal to be opened.
    changed: Instant,
    /// A program has made settings.
    touched: bool,
    /// Mark, space or odd parity was seen, which programs take away again.
    parity_seen: bool,
    /// Size and parity, which programs cannot tell.
    given: Option<LineSettings>,
    wanted: Wanted,
    /// The speed is 0: DTR and RTS are off.
    hung_up: bool,
    /// DTR and RTS follow the terminal's being open.
    raises: bool,
    /// There is a far end that obeys requests.
    live: bool,
    asks: VecDeque<Request>,
    ledger: Ledger,
}

impl std::fmt::Debug for Tty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `termios2` has no Debug
        f.debug_struct("Tty").field("slave", &self.slave).field("open", &self.is_open).finish_non_exhaustive()
    }
}

impl Tty {
    /// Makes the terminal and the link.
    ///
    /// # Errors
    /// Text for the user.
    pub(super) fn new(options: &Attach) -> Result<Self, String> {
        let (owner, group) = pty::owner_ids(options.owner.as_deref(), options.group.as_deref())?;
        let mode = options.mode.unwrap_or(if group.is_some() { 0o660 } else { 0o600 });
        let make = Make { owner, group, mode };
        let termios =
            fresh(options.line).map_err(|error| format!("cannot make a pseudo-terminal: {error}"))?;
        let (master, slave, opens) = create(&make, &termios)?;
        // as the kernel has it: a terminal has no size and parity of its own
        let termios =
            sys::termios(&master).map_err(|error| format!("cannot read {}: {error}", slave.display()))?;
        let link = Link::new(&options.link, &slave)?;
        Ok(Self {
            master: Master::Resting(master),
            slave,
            opens,
            link,
            make,
            is_open: false,
            look: true,
            passed: false,
            left: None,
            tick: Box::pin(sleep(SLOW)),
            termios,
            changed: Instant::now(),
            touched: false,
            parity_seen: false,
            given: options.line,
            wanted: options.line.as_ref().map(Wanted::of_mode).unwrap_or_default(),
            hung_up: false,
            raises: options.keep && options.dtr.is_none() && options.rts.is_none(),
            live: false,
            asks: VecDeque::new(),
            ledger: Ledger::default(),
        })
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.master {
            Master::Resting(fd) => Ok(fd.as_fd()),
            Master::Watched(fd) => Ok(fd.get_ref().as_fd()),
            Master::Moving => Err(io::Error::other("the pseudo-terminal could not be watched")),
        }
    }

    /// Takes the master end to the reactor anew, which forgets what that knew of it; or from it.
    fn watch(&mut self, on: bool) -> io::Result<()> {
        let fd = match replace(&mut self.master, Master::Moving) {
            Master::Resting(fd) => fd,
            Master::Watched(fd) => fd.into_inner(),
            Master::Moving => return Err(io::Error::other("the pseudo-terminal could not be watched")),
        };
        self.master = if on {
            Master::Watched(sys::watch(fd).map_err(|(_, error)| error)?)
        } else {
            Master::Resting(fd)
        };
        Ok(())
    }

    /// Whether nobody has the terminal open, and whether there is something to read.
    fn state(&self) -> io::Result<(bool, bool)> {
        let mut fds = [PollFd::new(self.fd()?, PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO)?;
        let found = fds[0].revents().unwrap_or(PollFlags::empty());
        Ok((found.contains(PollFlags::POLLHUP), found.contains(PollFlags::POLLIN)))
    }

    /// Takes note of all opens and closes until now.
    fn poll_opens(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Poll::Ready(ready) = self.opens.poll_read_ready(cx) {
            let mut events = [0; EVENTS];
            let Ok(result) = ready?.try_io(|fd| read(fd, &mut events).map_err(io::Error::from)) else {
                continue;
            };
            result?;
            self.look = true;
            self.passed = true;
        }
        Ok(())
    }

    /// Takes the events off that our own opening and closing made. Others come in between only if a
    /// program did the same just then.
    fn forget_own(&mut self) -> io::Result<()> {
        let mut events = [0; EVENTS];
        let count = match read(self.opens.get_ref(), &mut events) {
            Err(Errno::EAGAIN) => 0,
            other => other?,
        };
        // equal events in a row are one, so that a program's opening may be among these
        self.look = true;
        self.passed |= !is_own(&events[..count]);
        Ok(())
    }

    /// Looks whether it is open; `Some` when that has changed.
    fn poll_open(&mut self) -> io::Result<Option<Step>> {
        if !replace(&mut self.look, false) {
            return Ok(None);
        }
        let (nobody, readable) = self.state()?;
        self.left = match (nobody, readable) {
            (true, true) => self.left.or_else(|| Some(Instant::now())),
            _ => None,
        };
        match (self.is_open, nobody && !readable) {
            (false, false) => {
                self.watch(true)?;
                self.is_open = true;
                self.passed = false;
                self.quick();
                self.tick.as_mut().reset(Instant::now() + QUICK);
                self.check_line()?;
                if self.raises && !self.hung_up {
                    self.ask(Request::DtrRts(true, true));
                }
                Ok(Some(Step::Opened))
            }
            (true, true) => {
                self.check_line()?;
                self.watch(false)?;
                self.is_open = false;
                self.passed = false;
                self.freshen()?;
                if self.raises && self.termios.c_cflag & libc::HUPCL != 0 {
                    self.ask(Request::DtrRts(false, false));
                }
                Ok(Some(Step::Closed))
            }
            // a program was there, too short to be seen; what it set is wanted all the same
            (false, true) if replace(&mut self.passed, false) => {
                self.check_line()?;
                self.freshen()?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn quick(&mut self) {
        self.changed = Instant::now();
    }

    /// All programs have left: the next one finds the terminal as a serial port would be, with its
    /// settings, but without old bytes and without another's claim (`TIOCEXCL`).
    fn freshen(&mut self) -> io::Result<()> {
        match open_slave(&self.slave) {
            Ok(slave) => {
                // neither can fail on a terminal that is open
                let _ = sys::share(&slave);
                let _ = sys::flush(&slave, libc::TCIFLUSH);
                drop(slave);
                self.forget_own()?;
                self.mark()
            }
            // only root may take the claim back, so others need another terminal
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => self.renew(),
            Err(error) => Err(error),
        }
    }

    /// Another pseudo-terminal takes the place of this one.
    fn renew(&mut self) -> io::Result<()> {
        let (master, slave, opens) = create(&self.make, &self.termios).map_err(io::Error::other)?;
        self.link.lead_to(&slave).map_err(io::Error::other)?;
        debug!("{} is {} now", self.link.path().display(), slave.display());
        self.master = Master::Resting(master);
        self.slave = slave;
        self.opens = opens;
        self.look = true;
        self.mark()
    }

    /// Sets the mark again that programs take away.
    fn mark(&mut self) -> io::Result<()> {
        let mut now = sys::termios(&self.fd()?)?;
        if now.c_oflag == 0 {
            now.c_oflag = libc::OPOST;
            sys::set_termios(&self.fd()?, &now)?;
        }
        self.termios = now;
        Ok(())
    }

    /// Looks at the settings; changes become requests.
    fn check_line(&mut self) -> io::Result<()> {
        let now = sys::termios(&self.fd()?)?;
        let old = replace(&mut self.termios, now);
        let seen = (now.c_cflag, now.c_iflag, now.c_ospeed, now.c_oflag);
        if seen == (old.c_cflag, old.c_iflag, old.c_ospeed, old.c_oflag) {
            let settled = self.changed.elapsed() >= SETTLED;
            return if settled && now.c_oflag == 0 { self.mark() } else { Ok(()) };
        }
        self.quick();
        self.touched = true;
        let wanted = self.wanted_of(&now);
        for request in wanted.changes(&self.wanted) {
            self.ask(request);
        }
        self.wanted = wanted;
        let hung_up = now.c_ospeed == 0;
        if replace(&mut self.hung_up, hung_up) != hung_up {
            self.ask(Request::DtrRts(!hung_up, !hung_up));
        }
        Ok(())
    }

    /// A far end that is not there, or comes to be there later, gets [`Local::settings`].
    fn ask(&mut self, request: Request) {
        if self.live {
            self.asks.push_back(request);
        }
    }

    fn wanted_of(&mut self, now: &Termios2) -> Wanted {
        let line = line_settings(now, &LineSettings::default(), false);
        let visible = match (now.c_cflag & libc::PARODD != 0, now.c_cflag & libc::CMSPAR != 0) {
            (true, true) => Some(Parity::Mark),
            (true, false) => Some(Parity::Odd),
            (false, true) => Some(Parity::Space),
            (false, false) => None,
        };
        self.parity_seen |= visible.is_some();
        let given = self.given.map(|line| line.parity);
        let flow = Flow { rtscts: line.flow.rtscts, xonxoff: line.flow.xonxoff };
        Wanted {
            // 0 is no speed but the order to hang up
            baud: Some(line.baud).filter(|baud| *baud > 0).or(self.wanted.baud),
            size: self.given.map(|line| line.size),
            parity: visible.or(given).or(self.parity_seen.then_some(Parity::None)),
            stop: Some(line.stop),
            flow: Some(flow),
        }
    }

    /// What was written and nobody can be found for.
    fn give_up_old(&mut self) -> io::Result<()> {
        if self.left.is_none_or(|left| left.elapsed() < DRAIN_LIMIT) {
            return Ok(());
        }
        self.left = None;
        let mut lost = 0;
        let mut buf = [0; 4096];
        // a terminal holds less than that
        for _ in 0..64 {
            match read(self.fd()?, &mut buf) {
                Ok(count @ 1..) => lost += count,
                _ => break,
            }
        }
        warn!(
            "{lost} bytes that a program wrote before it closed the terminal are lost: the far end could not be \
             reached in {} s",
            DRAIN_LIMIT.as_secs()
        );
        self.look = true;
        Ok(())
    }

    /// Reads from the terminal. `None`: nothing is there, or nobody has it open.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Master::Watched(fd) = &self.master else { return Ok(None) };
        while let Poll::Ready(ready) = fd.poll_read_ready(cx) {
            let mut ready = ready?;
            match read(fd.get_ref(), buf) {
                Ok(count @ 1..) => return Ok(Some(count)),
                Err(Errno::EAGAIN) if ready.ready().is_read_closed() => {
                    // a hang-up that is over stays known to the reactor
                    self.look = true;
                    self.watch(true)?;
                    cx.waker().wake_by_ref();
                    return Ok(None);
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EIO) => {
                    self.look = true;
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

impl Local for Tty {
    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut [u8], wants: bool) -> Poll<io::Result<Step>> {
        for _ in 0..ROUNDS {
            self.poll_opens(cx)?;
            if let Some(step) = self.poll_open()? {
                return Poll::Ready(Ok(step));
            }
            if !self.is_open {
                if self.look {
                    continue;
                }
                return Poll::Pending;
            }
            if self.tick.as_mut().poll(cx).is_ready() {
                let waiting = self.asks.len();
                self.check_line()?;
                self.give_up_old()?;
                self.look = true;
                let pause = if self.changed.elapsed() < QUICK_FOR { QUICK } else { SLOW };
                self.tick.as_mut().reset(Instant::now() + pause);
                if self.asks.len() > waiting {
                    return Poll::Ready(Ok(Step::Asks));
                }
                continue;
            }
            if !wants {
                return Poll::Pending;
            }
            if let Some(count) = self.poll_read(cx, buf)? {
                // whatever the program set before it wrote comes before what it wrote
                self.check_line()?;
                return Poll::Ready(Ok(Step::Data(count)));
            }
            if !self.look {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn asks_before(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.next_ask()).collect()
    }

    fn next_ask(&mut self) -> Option<Request> {
        let ask = self.asks.pop_front()?;
        self.ledger.asked(&ask);
        Some(ask)
    }

    fn settings(&mut self) -> Vec<Request> {
        self.asks.clear();
        self.ledger.clear();
        let mut all = self.wanted.changes(&Wanted::default());
        if self.hung_up {
            all.push(Request::DtrRts(false, false));
        } else if self.raises {
            let on = self.is_open || self.termios.c_cflag & libc::HUPCL == 0;
            all.push(Request::DtrRts(on, on));
        }
        for request in &all {
            self.ledger.asked(request);
        }
        all
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let Master::Watched(fd) = &self.master else { return Poll::Ready(Ok(data.len())) };
            let mut ready = ready!(fd.poll_write_ready(cx))?;
            match write(fd.get_ref(), data) {
                Ok(count @ 1..) => return Poll::Ready(Ok(count)),
                Ok(_) | Err(Errno::EAGAIN) if ready.ready().is_write_closed() => {
                    self.look = true;
                    self.watch(true)?;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(_) | Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                // nobody is there to read it
                Err(Errno::EIO) => {
                    self.look = true;
                    return Poll::Ready(Ok(data.len()));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn told(&mut self, event: &Event) {
        if let Some(complaint) = self.ledger.heard(event) {
            warn!("{}: the far end was asked for {complaint}", self.link.path().display());
        }
    }

    fn connected(&mut self, on: bool) {
        self.live = on;
        if !on {
            self.asks.clear();
        }
    }
}
