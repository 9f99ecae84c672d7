//! A pseudo terminal that stands for a serial line with something at its far end.

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{FlushArg, SetArg, cfmakeraw, tcflush, tcgetattr, tcsetattr};
use nix::unistd::ttyname;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The far end of the line.
///
/// The near end is held open too. Otherwise the kernel reports a hang-up (EIO) here whenever nobody
/// has the device open, and there is no event for its being opened again.
#[derive(Debug)]
pub(super) struct FarEnd {
    // tokio's pipe type does what is needed for any descriptor that epoll takes and read(2) works on
    reader: pipe::Receiver,
    // never waited for, so there is no readiness to keep
    writer: File,
    near: OwnedFd,
    path: PathBuf,
}

impl FarEnd {
    /// Makes the pair; the near end is in raw mode, as a serial port without a getty is of use.
    /// Needs a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let pair = openpty(None, None)?;
        for end in [pair.master.as_fd(), pair.slave.as_fd()] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
        let mut settings = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
        let path = ttyname(&pair.slave)?;
        let writer = File::from(pair.master.try_clone()?);
        let reader = pipe::Receiver::from_owned_fd_unchecked(pair.master)?;
        Ok(Self { reader, writer, near: pair.slave, path })
    }

    /// The device node of the near end.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was written to the device; waits for at least one byte. Cancel safe.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).await
    }

    /// Sends towards the device without waiting. What finds no place is lost, as on a wire. Returns
    /// how many bytes found a place.
    pub(super) fn send(&self, bytes: &[u8]) -> usize {
        (&self.writer).write(bytes).unwrap_or(0)
    }

    /// Discards bytes that nobody has read. A UART that is not open keeps nothing, but the pty does, and
    /// the next reader would get old data.
    pub(super) fn discard_unread(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.near.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO)? > 0 {
            tcflush(&self.near, FlushArg::TCIFLUSH)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::time::Duration;
    use tokio_serial::SerialPortBuilderExt;

    #[tokio::test]
    async fn unread_bytes_are_discarded_and_later_ones_arrive() {
        let mut far = FarEnd::new().unwrap();
        let path = far.path().to_str().unwrap().to_owned();
        assert_eq!(far.send(b"old"), 3);
        // a pty hands bytes over in a kernel task: wait until they can be read
        let mut fds = [PollFd::new(far.near.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(5000u16)).unwrap(), 1);
        far.discard_unread().unwrap();
        far.discard_unread().unwrap();
        assert_eq!(far.send(b"new"), 3);
        let mut near = tokio_serial::new(&path, 9600).timeout(Duration::from_secs(5)).open().unwrap();
        let mut seen = [0; 3];
        near.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"new");
        near.write_all(b"up").unwrap();
        let mut got = [0; 8];
        assert_eq!(far.read(&mut got).await.unwrap(), 2);
        drop(near);
        // with nobody at the near end the far end is neither hung up nor blocked
        let full = vec![b'x'; 100_000];
        assert!(far.send(&full) < full.len());
        assert_eq!(far.send(&full), 0);
        let near = tokio_serial::new(&path, 9600).open_native_async();
        assert!(near.is_ok());
    }
}
