//! Device nodes that are no terminals, and FIFOs (`dev`); pseudo-terminals use the same file.

use super::open;
use super::{Channel, ConnectError};
use crate::config::connector::DevNode;
use crate::metrics::DeviceFailure;
use crate::serial::{IoFailure, sys};
use libc::{O_NOCTTY, O_NONBLOCK};
use nix::unistd::{read, write};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;

/// A file that reads and writes without blocking.
#[derive(Debug)]
pub(super) enum Watched {
    /// The reactor knows when it is ready.
    ByReactor(AsyncFd<OwnedFd>),
    /// It cannot be watched (`/dev/null`), because it is always ready.
    Always(OwnedFd),
}

impl Watched {
    /// Gives a non-blocking file to the reactor, if that takes it.
    pub(super) fn new(file: OwnedFd) -> io::Result<Self> {
        match sys::watch(file) {
            Ok(file) => Ok(Self::ByReactor(file)),
            Err((file, error)) if error.raw_os_error() == Some(libc::EPERM) => Ok(Self::Always(file)),
            Err((_, error)) => Err(error),
        }
    }

    /// Sets the size of the window, where the file is a terminal.
    pub(super) fn set_window(&self, columns: u16, rows: u16) -> io::Result<()> {
        match self {
            Self::Always(file) => sys::set_window(file, columns, rows),
            Self::ByReactor(file) => sys::set_window(file, columns, rows),
        }
    }

    /// Reads; 0 is the end of the file.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Always(file) => Poll::Ready(read(file, buf).map_err(io::Error::from)),
            Self::ByReactor(file) => loop {
                let mut ready = ready!(file.poll_read_ready(cx))?;
                if let Ok(result) = ready.try_io(|file| read(file, buf).map_err(io::Error::from)) {
                    return Poll::Ready(result);
                }
            },
        }
    }

    /// Writes what the file takes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Always(file) => Poll::Ready(write(file, data).map_err(io::Error::from)),
            Self::ByReactor(file) => loop {
                let mut ready = ready!(file.poll_write_ready(cx))?;
                if let Ok(result) = ready.try_io(|file| write(file, data).map_err(io::Error::from)) {
                    return Poll::Ready(result);
                }
            },
        }
    }
}

/// An open device node.
#[derive(Debug)]
pub(super) struct Node {
    file: Watched,
    reads: bool,
    writes: bool,
}

impl Node {
    pub(super) async fn open(options: &DevNode) -> Result<Self, ConnectError> {
        let DevNode { path, reads, writes } = options.clone();
        let what = format!("cannot open {}", path.display());
        let named = what.clone();
        let file = open::device(path.display().to_string(), move || {
            let failed = |error: io::Error| ConnectError::io(&named, &error);
            let mut how = OpenOptions::new();
            how.read(reads).write(writes).custom_flags(O_NONBLOCK | O_NOCTTY);
            let file = how.open(&path).map_err(failed)?;
            let kind = file.metadata().map_err(failed)?.file_type();
            if kind.is_file() || kind.is_dir() {
                let message = format!("{}: no device; use the connector file for files", path.display());
                return Err(ConnectError::new(message, "Invalid data to parameter", DeviceFailure::Settings));
            }
            Ok(OwnedFd::from(file))
        })
        .await?;
        let file = Watched::new(file).map_err(|error| ConnectError::io(&what, &error))?;
        Ok(Self { file, reads, writes })
    }
}

impl Channel for Node {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        if !self.reads {
            return Poll::Pending;
        }
        Poll::Ready(match ready!(self.file.poll_read(cx, buf)) {
            Ok(0) => Err(IoFailure::Ended("the device has no more to read".into())),
            other => other.map_err(IoFailure::from_io),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        if !self.writes {
            // as on a serial device that is only read: what clients say is of no interest
            return Poll::Ready(Ok(data.len()));
        }
        self.file.poll_write(cx, data).map_err(IoFailure::from_io)
    }
}
