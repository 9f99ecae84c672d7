//! What the two ends of a connection under test have in common, and the pty master.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use rustix::time::Timespec;

use crate::fault::{Fault, Spoiler};
use crate::pattern::CHUNK;

/// One end, non-blocking.
pub(crate) trait End {
    /// The descriptor to wait on.
    fn fd(&self) -> BorrowedFd<'_>;
    /// One read; the payload that came with it, which may be empty. `WouldBlock` when nothing waits,
    /// `UnexpectedEof` when the other side has closed.
    fn receive(&mut self) -> io::Result<&[u8]>;
    /// One write; how much of `bytes` was taken. `WouldBlock` when there is no room.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Passes on what was taken and is held back; whether nothing is held back any more.
    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Waits for `flags` on `end` for at most `millis` milliseconds; says what is ready.
pub(crate) fn wait(end: &dyn End, flags: PollFlags, millis: i64) -> io::Result<PollFlags> {
    let fd = end.fd();
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(fds[0].revents()),
        Err(error) => Err(error.into()),
    }
}

/// The side of a pty that plays the serial device.
pub(crate) struct Device {
    master: File,
    path: PathBuf,
    /// Kept open so that the master does not report a hang-up while no peer has the device open.
    _slave: File,
    buffer: Vec<u8>,
    /// Of what is received, and of what is sent.
    spoilers: Option<[Spoiler; 2]>,
}

impl Device {
    /// A new raw pty pair; with a fault each direction gets it once.
    pub(crate) fn create(fault: Option<Fault>) -> io::Result<Self> {
        let (master, slave, path) = pty()?;
        let spoilers = fault.map(|fault| [Spoiler::new(fault), Spoiler::new(fault)]);
        // one byte more than is read, for the fault that doubles one
        Ok(Self { master, path, _slave: slave, buffer: vec![0; CHUNK + 1], spoilers })
    }

    /// Path of the device a peer opens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A new raw pty pair, both ends non-blocking: master, slave and the slave's path.
pub(crate) fn pty() -> io::Result<(File, File, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_bytes();
    let path = PathBuf::from(std::ffi::OsString::from_vec(name));
    let slave = open_raw(&path)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((File::from(master), slave, path))
}

/// Opens a terminal non-blocking and makes it raw.
pub(crate) fn open_raw(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let tty =
        OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let mut settings = tcgetattr(&tty)?;
    settings.make_raw();
    tcsetattr(&tty, OptionalActions::Now, &settings)?;
    Ok(tty)
}

impl End for Device {
    fn fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        let count = self.master.read(&mut self.buffer[..CHUNK])?;
        filled(&self.buffer, count)?;
        let count = match &mut self.spoilers {
            Some([spoiler, _]) => spoiler.spoil(&mut self.buffer, count),
            None => count,
        };
        Ok(&self.buffer[..count])
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some([_, spoiler]) = &mut self.spoilers else { return self.master.write(bytes) };
        let (piece, whole) = spoiler.piece(bytes);
        let written = if piece.is_empty() { 0 } else { self.master.write(&piece)? };
        let count = if written == piece.len() { whole } else { written };
        spoiler.advance(count);
        Ok(count)
    }
}

/// What one read gave; none of it means that the other side has closed.
pub(crate) fn filled(buffer: &[u8], count: usize) -> io::Result<&[u8]> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(&buffer[..count]) }
}
