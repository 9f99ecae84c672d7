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

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use mio_serial::SerialStream;
use serialport::TTYPort;
use tokio::io::unix::AsyncFd;

use super::edges::EdgeWatch;
use super::error::IoFailure;
use super::modem::{Counters, Look, ModemLines};
use super::parts::{Parts, program, set_lines};
use super::request::Purge;
use super::settings::LineSettings;
use super::sys;

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
    /// Who looks for changes of the modem lines, while anybody wants to know of them.
    edges: Option<EdgeWatch>,
    /// And once more, watched for a hang-up; none until it could not be read for the first time.
    hangup: Option<Box<AsyncFd<OwnedFd>>>,
}

/// A read that returns less has taken all there was: most that one read(2) of a terminal returns
/// (N_TTY_BUF_SIZE less one; newer kernels may return more).
const FULL_READ: usize = 4095;

impl Opened {
    pub(super) fn new(parts: Parts<TTYPort>) -> Self {
        Self(Some(parts))
    }

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
        Ok(Device { parts: Parts { file, state }, room: None, hangup: None, edges: None })
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
        // it has the file open as well, and a close is none until the last one
        self.edges = None;
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
            if let Some(edges) = &self.edges {
                edges.begin_again();
            }
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

    /// Begins or ends to watch the modem lines; [`poll_edges`](Self::poll_edges) tells of changes.
    ///
    /// # Errors
    /// When there are no descriptors or threads left.
    pub fn watch_modem(&mut self, on: bool) -> io::Result<()> {
        match (on, &self.edges) {
            (true, None) => self.edges = Some(EdgeWatch::start(&self.parts.file)?),
            (false, Some(_)) => self.edges = None,
            _ => {}
        }
        Ok(())
    }

    /// Ready when the watch has seen something; [`look`](Self::look) tells what. The task is woken
    /// when it has.
    pub fn poll_edges(&self, cx: &Context<'_>) -> Poll<()> {
        self.edges.as_ref().map_or(Poll::Pending, |edges| edges.poll(cx))
    }

    /// Looks at counters, and at the modem lines too if `modem`. Behind what the watch has seen comes
    /// what is so now.
    pub fn look(&self, modem: bool) -> Vec<Look> {
        let now = || Look::at(&self.parts.file, modem);
        self.edges.as_ref().map_or_else(|| vec![now()], |edges| edges.take(now))
    }
}
