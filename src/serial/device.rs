//! One open serial device.
//!
//! Opening may block, so it is split in two: [`Device::open`] does everything that may take time
//! and is run on a thread where that is allowed (`tokio::task::spawn_blocking`); the
//! [`Opened`] device that it returns becomes a [`Device`] by [`Opened::register`], which is quick
//! and must run inside the runtime.
//!
//! The open file belongs to mio-serial, the lower half of tokio-serial; its reads and writes go
//! straight to read(2) and write(2). What tokio-serial adds is the reactor, and that is done here,
//! because fewer wake-ups and calls a message are possible ([`Device::poll_read`],
//! [`Device::poll_write`]). The crate does not open the file itself and its line settings are not
//! used, because it opens for reading and writing only, takes the exclusive flag
//! before the lock (so that a refused second opener clears the flag of the first), switches
//! `CLOCAL` on for a moment whatever is configured, loses the reason of a refusal, and knows neither
//! mark and space parity nor a close that puts the settings back.

use std::fs::Metadata;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::task::{Context, Poll, ready};

use mio_serial::SerialStream;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serialport::TTYPort;
use tokio::io::unix::AsyncFd;

use super::error::{IoFailure, OpenError, OpenErrorKind};
use super::find::SYSFS;
use super::lock::{Claim, DeviceIdentity, LockRefusal, UUCP_LOCK_DIR, UucpLock, describe_process, find_user};
use super::modem::{Counters, ModemLines};
use super::presence;
use super::request::Purge;
use super::settings::{DeviceConfig, LineSettings, Rs485};
use super::sys::{self, Termios2, rs485_flag};
use super::termios;

/// An open device that does not yet belong to a reactor. Dropping it closes the device.
#[derive(Debug)]
pub struct Opened(Option<Parts<TTYPort>>);

/// An open device in the reactor. Dropping it closes the device: what is not yet sent is discarded,
/// and the line settings and modem lines are put back as they were found.
#[derive(Debug)]
pub struct Device {
    parts: Parts<AsyncFd<SerialStream>>,
    /// The file once more, watched for room to write; none until a write had to wait.
    room: Option<AsyncFd<OwnedFd>>,
    /// And once more, watched for a hang-up; only while nobody reads.
    hangup: Option<Box<AsyncFd<OwnedFd>>>,
}

/// A read that returns less has taken all there was: most that one read(2) of a terminal returns
/// (N_TTY_BUF_SIZE less one; newer kernels may return more).
const FULL_READ: usize = 4095;

/// The file and what must be known to use and close it. The fields are dropped in this order, so
/// the locks go last.
#[derive(Debug)]
struct Parts<F: AsRawFd> {
    file: F,
    state: State,
}

#[derive(Debug)]
struct State {
    path: String,
    is_pty: bool,
    write_only: bool,
    /// The settings that were last asked for.
    asked: LineSettings,
    /// What the driver made of them.
    in_force: LineSettings,
    /// `None`: a device that is only written to is taken for a printer, and its settings are left
    /// alone, as ser2net does (`rawlp`, `wronly`); it need not be a terminal.
    saved: Option<Saved>,
    /// A break is being sent.
    in_break: bool,
    /// Set by a drain that came to its end: nothing is left that a flush could discard.
    drained: bool,
    _uucp: Option<UucpLock>,
    _claim: Claim,
}

/// What is put back at close.
struct Saved {
    termios: Termios2,
    modem: Option<libc::c_int>,
    rs485: Option<sys::RawRs485>,
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `termios2` has no Debug
        f.debug_struct("Saved").field("modem", &self.modem).finish_non_exhaustive()
    }
}

impl Device {
    /// Opens and configures the device. May block for a while (open(2) of a terminal may).
    ///
    /// In this order: claim inside the process, UUCP lock, open(2), flock(2), `TIOCEXCL`, DTR and
    /// RTS, raw mode at the old speed, the configured settings, RS-485, end of break.
    ///
    /// # Errors
    /// See [`OpenErrorKind`]. Whatever had been changed by then is put back.
    pub fn open(config: &DeviceConfig) -> Result<Opened, OpenError> {
        Self::open_with_lock_dir(config, Path::new(UUCP_LOCK_DIR))
    }

    /// As [`open`](Self::open), with another directory for the UUCP lock.
    pub fn open_with_lock_dir(config: &DeviceConfig, lock_dir: &Path) -> Result<Opened, OpenError> {
        let path = &*presence::node(config).map_err(OpenError::with_present)?;
        let refuse = |operation, kind| OpenError { path: path.to_owned(), operation, kind };
        let meta =
            std::fs::metadata(path).map_err(|error| OpenError::from_open(path, "open the device", error))?;
        if !meta.file_type().is_char_device() {
            return Err(refuse("use it", OpenErrorKind::NotATty));
        }
        let identity = DeviceIdentity::of(&meta);
        let claim = Claim::device(identity, path).map_err(|other| {
            let by = Some(format!("the connection that has {other} open, which is this device"));
            refuse("open the device", OpenErrorKind::InUse { by })
        })?;
        let uucp = if config.uucp_lock {
            UucpLock::acquire(lock_dir, path).map_err(|refusal| {
                let kind = match refusal {
                    LockRefusal::Held { pid } => OpenErrorKind::InUse { by: Some(describe_process(pid)) },
                    LockRefusal::Garbage { file } => {
                        OpenErrorKind::BadLockFile { file: file.display().to_string() }
                    }
                };
                refuse("lock the device", kind)
            })?
        } else {
            None
        };
        let file = open_file(config, path, &meta).map_err(|error| match &error.kind {
            OpenErrorKind::Other(cause) if gone(cause) => {
                presence::stale(path, &meta, Path::new(SYSFS)).unwrap_or(error)
            }
            _ => error,
        })?;

        let failed = |operation| move |error| refuse(operation, OpenErrorKind::Other(error));
        let saved = if config.write_only {
            None
        } else {
            let termios = sys::termios(&file).map_err(failed("read its settings"))?;
            Some(Saved { termios, modem: sys::modem_bits(&file).ok(), rs485: None })
        };
        let mut parts = Parts {
            file,
            state: State {
                path: path.to_owned(),
                is_pty: identity.is_pty(),
                write_only: config.write_only,
                asked: config.line,
                in_force: config.line,
                saved,
                in_break: false,
                drained: false,
                _uucp: uucp,
                _claim: claim,
            },
        };
        match parts.configure(config) {
            Ok(()) => Ok(Opened(Some(parts))),
            Err((operation, error)) => {
                parts.put_back();
                Err(failed(operation)(error))
            }
        }
    }
}

/// An error of open(2) that says that the driver has no such device.
fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::EIO))
}

/// Opens the file and takes the locks that go with it.
fn open_file(config: &DeviceConfig, path: &str, expected: &Metadata) -> Result<TTYPort, OpenError> {
    let identity = DeviceIdentity::of(expected);
    let in_use = || OpenError {
        path: path.to_owned(),
        operation: "open the device",
        kind: OpenErrorKind::InUse { by: find_user(expected).map(describe_process) },
    };
    let access = match (config.write_only, config.read_only) {
        (true, _) => OFlag::O_WRONLY,
        (false, true) => OFlag::O_RDONLY,
        (false, false) => OFlag::O_RDWR,
    };
    let flags = access | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| {
        if errno == nix::errno::Errno::EBUSY {
            in_use()
        } else {
            OpenError::from_open(path, "open the device", errno.into())
        }
    })?;
    let other = |error| OpenError {
        path: path.to_owned(),
        operation: "lock the device",
        kind: OpenErrorKind::Other(error),
    };
    let file = std::fs::File::from(fd);
    let found = file.metadata().map_err(other)?;
    if DeviceIdentity::of(&found) != identity || found.ino() != expected.ino() {
        return Err(other(io::Error::other("the path became another device just now")));
    }
    // What is no terminal is not ours to lock: others use /dev/null too.
    if !config.write_only
        && let Err(error) = sys::termios(&file)
        && matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL))
    {
        return Err(OpenError { path: path.to_owned(), operation: "use it", kind: OpenErrorKind::NotATty });
    }
    // Only who has the lock may touch the exclusive flag: the flag belongs to the device, not to
    // the open file, and closing clears it.
    match sys::flock_exclusive(&file) {
        Ok(()) => Ok(sys::adopt(file.into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use()),
        Err(error) => Err(other(error)),
    }
}

impl<F: AsRawFd> Parts<F> {
    fn configure(&mut self, config: &DeviceConfig) -> Result<(), (&'static str, io::Error)> {
        let (file, state) = (&self.file, &mut self.state);
        let Some(saved) = &mut state.saved else { return Ok(()) };
        // The kernel has raised both lines in open(2); the sooner they are as configured, the
        // less the device notices. One call, so that they move together.
        if config.dtr.is_some() || config.rts.is_some() {
            set_lines(file, config.dtr, config.rts).map_err(|error| ("set DTR and RTS", error))?;
        }
        let raw = termios::raw(&saved.termios);
        sys::set_termios(file, &raw).map_err(|error| ("make it raw", error))?;
        state.in_force =
            program(file, &config.line, state.is_pty).map_err(|error| ("set the line settings", error))?;
        if let Some(rs485) = &config.rs485 {
            // only a device that has the setting can have an old one
            saved.rs485 = sys::rs485(file).ok();
            let mut raw = raw_rs485(rs485);
            let asked = raw.flags;
            sys::set_rs485(file, &mut raw)
                .map_err(|error| ("set RS-485 mode (does the driver have it?)", error))?;
            if raw.flags & rs485_flag::ENABLED == 0 {
                let error = io::Error::other("the driver left it switched off");
                return Err(("set RS-485 mode", error));
            }
            if raw.flags != asked {
                tracing::warn!(
                    "{}: the driver changed the RS-485 flags from {asked:#x} to {:#x}",
                    state.path,
                    raw.flags
                );
            }
        }
        if !config.nobreak
            && let Err(error) = sys::set_break(file, false)
        {
            tracing::debug!("{}: break not cleared: {error}", state.path);
        }
        Ok(())
    }

    /// Discards what is not sent and puts the settings back. Errors are of no interest: either the
    /// device is gone, or the next one to open it makes its own settings.
    fn put_back(&self) {
        let (file, state) = (&self.file, &self.state);
        let Some(saved) = &state.saved else { return };
        // A close with output pending waits for it, up to half a minute. After a drain, though,
        // the last characters may still be in a FIFO that this would clear.
        let queue = if state.drained { libc::TCIFLUSH } else { libc::TCIOFLUSH };
        let mut results = vec![("flush", sys::flush(file, queue))];
        if state.in_break {
            results.push(("break", sys::set_break(file, false)));
        }
        if let Some(mut rs485) = saved.rs485 {
            results.push(("RS-485", sys::set_rs485(file, &mut rs485)));
        }
        if let Some(bits) = saved.modem {
            results.push(("modem lines", sys::set_modem_bits(file, bits)));
        }
        let termios = termios::restored(&saved.termios, state.asked.hangup_when_done);
        results.push(("line settings", sys::set_termios(file, &termios)));
        for (what, result) in results {
            if let Err(error) = result {
                tracing::trace!("{}: {what} at close: {error}", state.path);
            }
        }
    }
}

/// Programs the line and reads back what the driver made of it.
fn program(file: &impl AsRawFd, line: &LineSettings, is_pty: bool) -> io::Result<LineSettings> {
    if line.baud == 0 {
        // the kernel takes speed 0 as the order to hang up
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the speed must not be 0"));
    }
    let now = sys::termios(file)?;
    sys::set_termios(file, &termios::configured(&now, line))?;
    Ok(termios::settings(&sys::termios(file)?, line, is_pty))
}

/// Sets the given lines by one `TIOCMSET`, the others stay.
fn set_lines(file: &impl AsRawFd, dtr: Option<bool>, rts: Option<bool>) -> io::Result<()> {
    let mut bits = sys::modem_bits(file)?;
    for (line, mask) in [(dtr, libc::TIOCM_DTR), (rts, libc::TIOCM_RTS)] {
        match line {
            Some(true) => bits |= mask,
            Some(false) => bits &= !mask,
            None => {}
        }
    }
    sys::set_modem_bits(file, bits)
}

fn raw_rs485(config: &Rs485) -> sys::RawRs485 {
    let flags = [
        (true, rs485_flag::ENABLED),
        (config.rts_on_send, rs485_flag::RTS_ON_SEND),
        (config.rts_after_send, rs485_flag::RTS_AFTER_SEND),
        (config.rx_during_tx, rs485_flag::RX_DURING_TX),
        (config.terminate_bus, rs485_flag::TERMINATE_BUS),
    ];
    let mut raw = sys::RawRs485::default();
    raw.flags = flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
    raw.delay_rts_before_send = config.delay_before_ms;
    raw.delay_rts_after_send = config.delay_after_ms;
    raw
}

impl Opened {
    /// Gives the device to the reactor of the current runtime. Does not block.
    ///
    /// # Errors
    /// When the reactor cannot watch one more file. The device is closed then, without its old
    /// settings being put back.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its I/O driver.
    #[expect(clippy::expect_used, reason = "the parts are taken nowhere else, and this consumes")]
    pub fn register(mut self) -> io::Result<Device> {
        let Parts { file, state } = self.0.take().expect("invariant: only this takes the parts");
        let file = sys::watch_input(SerialStream::try_from(file)?)?;
        Ok(Device { parts: Parts { file, state }, room: None, hangup: None })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(parts) = &self.0 {
            parts.put_back();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.parts.put_back();
    }
}

impl Device {
    /// Path of its node: as configured, or as the rule found it.
    pub fn path(&self) -> &str {
        &self.parts.state.path
    }

    /// Line settings in force, as the driver reported them.
    pub fn settings(&self) -> LineSettings {
        self.parts.state.in_force
    }

    /// Reads what there is, at most `buf`; the count is never 0 unless `buf` is empty. A device
    /// opened for writing only is never ready.
    ///
    /// A short read saves the next one, which would only say that nothing is left: at some moment of
    /// it the terminal was empty, and whatever comes after that moment is a new event for epoll(7).
    /// Even if that event is delivered before `clear_ready`, it is not lost, because the guard
    /// clears only the event that it was made for.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        if self.parts.state.write_only {
            return Poll::Pending;
        }
        self.hangup = None;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let mut ready = ready!(self.parts.file.poll_read_ready(cx)).map_err(IoFailure::from_io)?;
            let Ok(result) = ready.try_io(|file| file.get_ref().read(buf)) else { continue };
            let count = result.map_err(IoFailure::from_io)?;
            if (1..FULL_READ.min(buf.len())).contains(&count) {
                ready.clear_ready();
            }
            // the end of a file that has no end: the terminal was hung up
            return Poll::Ready(if count == 0 { Err(IoFailure::Gone) } else { Ok(count) });
        }
    }

    /// Ready when the device is gone; to be asked instead of [`poll_read`](Self::poll_read) while what it
    /// sends cannot be taken. What it had sent is lost then, as the kernel discards it at a hang-up. A
    /// pseudo-terminal is never gone in this way: it keeps what was sent before its other end closed.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<IoFailure> {
        if self.parts.state.write_only || self.parts.state.is_pty {
            return Poll::Pending;
        }
        if self.hangup.is_none() {
            // without another descriptor it is noticed by reading, later
            self.hangup = sys::watch_again(&self.parts.file).ok().map(Box::new);
        }
        let Some(hangup) = &self.hangup else { return Poll::Pending };
        loop {
            let Ok(mut ready) = ready!(hangup.poll_read_ready(cx)) else { return Poll::Pending };
            if ready.ready().is_read_closed() {
                return Poll::Ready(IoFailure::Gone);
            }
            // more input, for later
            ready.clear_ready();
        }
    }

    /// Writes what the driver takes of `buf`.
    ///
    /// A terminal wakes those who watch for room after each message that has left it. Whoever never
    /// had to wait does not want to know, so room is watched for from the first time on that there
    /// is none; registering reports room that has come meanwhile.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoFailure>> {
        self.parts.state.drained = false;
        if self.room.is_none() {
            match self.parts.file.get_ref().write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.room = Some(sys::watch_room(&self.parts.file).map_err(IoFailure::from_io)?);
                }
                result => return Poll::Ready(result.map_err(IoFailure::from_io)),
            }
        }
        let Some(room) = &self.room else { return Poll::Pending };
        loop {
            let mut ready = ready!(room.poll_write_ready(cx)).map_err(IoFailure::from_io)?;
            if let Ok(result) = ready.try_io(|_| self.parts.file.get_ref().write(buf)) {
                return Poll::Ready(result.map_err(IoFailure::from_io));
            }
        }
    }

    /// [`poll_read`](Self::poll_read) as a future; nothing is lost when it is dropped.
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<usize, IoFailure> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// [`poll_write`](Self::poll_write) as a future; when it is dropped, nothing was written.
    pub async fn write(&mut self, buf: &[u8]) -> Result<usize, IoFailure> {
        poll_fn(|cx| self.poll_write(cx, buf)).await
    }

    /// Bytes that the driver has taken and not yet sent (`TIOCOUTQ`).
    pub fn out_queue(&self) -> io::Result<usize> {
        sys::out_queue(&self.parts.file)
    }

    /// Bytes that the driver has yet to send; 1 while only the last character is on its way. Once
    /// it is 0, closing discards nothing.
    ///
    /// # Errors
    /// When the driver cannot tell.
    pub fn left_to_send(&mut self) -> io::Result<usize> {
        let left = match sys::out_queue(&self.parts.file) {
            Ok(0) => Ok(usize::from(sys::transmitter_empty(&self.parts.file) == Some(false))),
            other => other,
        };
        self.parts.state.drained = matches!(left, Ok(0));
        left
    }

    /// Whether all output has left.
    pub fn is_drained(&mut self) -> bool {
        matches!(self.left_to_send(), Ok(0))
    }

    /// Whether what the device sends waits, and is not lost, while nobody reads it: the line has
    /// flow control, or there is no line.
    pub fn can_wait(&self) -> bool {
        let flow = self.parts.state.in_force.flow;
        self.parts.state.is_pty || flow.rtscts || flow.xonxoff
    }

    /// Programs the line, and returns what the driver made of it: the speed that it really runs at,
    /// and size and parity where it has them. Nothing is called when nothing changes.
    ///
    /// # Errors
    /// `InvalidInput` for speed 0, and what `TCSETS2` returns; the settings in force stay then.
    pub fn apply(&mut self, line: &LineSettings) -> io::Result<LineSettings> {
        let Parts { file, state } = &mut self.parts;
        if *line != state.asked && *line != state.in_force && state.saved.is_some() {
            state.in_force = program(file, line, state.is_pty)?;
            state.asked = *line;
        }
        Ok(state.in_force)
    }

    /// State of the modem lines. Fails with `ENOTTY` where there are none (pseudo-terminals).
    pub fn modem_lines(&self) -> io::Result<ModemLines> {
        sys::modem_bits(&self.parts.file).map(ModemLines::from_bits)
    }

    /// Sets DTR and RTS, together when both are given; `None` leaves a line as it is.
    pub fn set_modem(&mut self, dtr: Option<bool>, rts: Option<bool>) -> io::Result<()> {
        set_lines(&self.parts.file, dtr, rts)
    }

    /// Begins or ends a break. It lasts until it is ended or the device is closed.
    pub fn set_break(&mut self, on: bool) -> io::Result<()> {
        sys::set_break(&self.parts.file, on)?;
        self.parts.state.in_break = on;
        Ok(())
    }

    /// Discards what the kernel holds. Receive and transmit are seen from here: received from the
    /// device, to be transmitted to it.
    pub fn purge(&mut self, what: Purge) -> io::Result<()> {
        let queue = match what {
            Purge::Receive => libc::TCIFLUSH,
            Purge::Transmit => libc::TCOFLUSH,
            Purge::Both => libc::TCIOFLUSH,
        };
        sys::flush(&self.parts.file, queue)
    }

    /// Error counters; `None` where the driver does not count.
    pub fn error_counters(&self) -> Option<Counters> {
        sys::counters(&self.parts.file).ok().map(|raw| Counters::from_raw(&raw))
    }
}
