//! Copies of what passes (`trace`), in the form of gensio.

use super::filter::Filter;
use super::open::blocking;
use super::{Channel, ConnectError};
use crate::config::connector::{Directions, TraceFile, TraceTap};
use crate::serial::IoFailure;
use nix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll, ready};
use tracing::warn;

/// Pieces that wait for being written; when a disk is slower than that, pieces are left out.
const WAITING_MAX: usize = 256;

/// What a `trace` filter does with what passes.
#[derive(Debug)]
pub(super) struct Copies {
    copied: Directions,
    blocks: Directions,
    raw: bool,
    /// To the thread that writes; it ends with this.
    copy: Option<SyncSender<Vec<u8>>>,
    /// Pieces were left out, which was logged.
    behind: bool,
}

impl Copies {
    pub(super) async fn open(options: &TraceTap) -> Result<Self, ConnectError> {
        let TraceTap { copies, blocks, raw, file, empties } = options.clone();
        let copy = match file.filter(|_| copies != Directions::default()) {
            Some(file) => Some(blocking(move || start(file, empties)).await?),
            None => None,
        };
        Ok(Self { copied: copies, blocks, raw, copy, behind: false })
    }

    /// Takes what goes up, to whoever opened or accepted; false when it is to be thrown away.
    pub(super) fn passes_up(&mut self, data: &[u8]) -> bool {
        if self.copied.read && !self.blocks.read {
            self.copy("Read", data);
        }
        !self.blocks.read
    }

    /// Takes what goes down; false when it is to be thrown away.
    pub(super) fn passes_down(&mut self, data: &[u8]) -> bool {
        if self.copied.write && !self.blocks.write {
            self.copy("Write", data);
        }
        !self.blocks.write
    }

    fn copy(&mut self, what: &str, data: &[u8]) {
        let Some(copy) = &self.copy else { return };
        let piece = if self.raw { data.to_vec() } else { columns(what, data).into_bytes() };
        match copy.try_send(piece) {
            Ok(()) => self.behind = false,
            Err(TrySendError::Full(_)) if !self.behind => {
                self.behind = true;
                warn!("a trace file cannot be written as fast as data comes; some of it is left out");
            }
            Err(_) => {}
        }
    }
}

/// A channel whose data is copied, or thrown away.
#[derive(Debug)]
pub(super) struct Traced {
    below: Box<dyn Channel>,
    copies: Copies,
}

impl Traced {
    pub(super) async fn new(below: Box<dyn Channel>, options: &TraceTap) -> Result<Self, ConnectError> {
        Ok(Self { below, copies: Copies::open(options).await? })
    }
}

/// Starts the thread that writes the copies.
fn start(file: TraceFile, empties: bool) -> Result<SyncSender<Vec<u8>>, ConnectError> {
    let (mut sink, name): (Box<dyn Write + Send>, String) = match file {
        TraceFile::Stdout => (Box::new(io::stdout()), "standard output".to_owned()),
        TraceFile::Stderr => (Box::new(io::stderr()), "standard error output".to_owned()),
        TraceFile::Path(path) => {
            let mut how = OpenOptions::new();
            how.create(true);
            if empties {
                how.write(true).truncate(true)
            } else {
                how.append(true)
            };
            let what = format!("cannot open the trace file {}", path.display());
            let file = how.open(&path).map_err(|error| ConnectError::io(&what, &error))?;
            (Box::new(file), path.display().to_string())
        }
    };
    let (sender, pieces) = sync_channel::<Vec<u8>>(WAITING_MAX);
    let write = move || {
        for piece in pieces {
            if let Err(error) = sink.write_all(&piece).and_then(|()| sink.flush()) {
                warn!("no more is written to the trace file {name}: {error}");
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("trace".to_owned()).spawn(write);
    thread.map_err(|error| ConnectError::io("cannot start a thread for the trace file", &error))?;
    Ok(sender)
}

/// A piece with its time since the start of the system, and in columns.
fn columns(what: &str, data: &[u8]) -> String {
    // this clock is there wherever Linux is
    let (seconds, micros) =
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec() / 1000));
    let mut text = format!("{seconds}:{micros:06} {what} ({}):\n", data.len());
    for (number, line) in data.chunks(16).enumerate() {
        // writing to a String cannot fail
        let _ = write!(text, " {:04x}:", number * 16);
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        let shown = line.iter().map(|&b| if (0x20..0x7f).contains(&b) { char::from(b) } else { '.' });
        let _ = writeln!(text, "{:1$}  {2}", "", (16 - line.len()) * 3, shown.collect::<String>());
    }
    text
}

impl Filter for Traced {
    fn below(&mut self) -> &mut dyn Channel {
        &mut *self.below
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        let count = ready!(self.below.poll_read(cx, buf))?;
        if self.copies.passes_up(&buf[..count]) {
            return Poll::Ready(Ok(count));
        }
        // others have their turn before the next piece is thrown away
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        if self.copies.blocks.write {
            return Poll::Ready(Ok(data.len()));
        }
        let count = ready!(self.below.poll_write(cx, data))?;
        self.copies.passes_down(&data[..count]);
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_as_gensio_writes_them() {
        let text = columns("Write", b"hello world 0123456789\x00\x01\xff");
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.ends_with(" Write (25):"), "{first}");
        assert_eq!(
            rest,
            " 0000: 68 65 6c 6c 6f 20 77 6f 72 6c 64 20 30 31 32 33  hello world 0123\n \
             0010: 34 35 36 37 38 39 00 01 ff                       456789...\n"
        );
    }
}
