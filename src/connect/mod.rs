//! Connectors other than plain serial devices: what a port opens for its clients by a network, a
//! program, a file; and a serial device with filters in front of it.
//!
//! Every one is a [`Channel`]: a two-way stream of bytes with poll functions, perhaps with line
//! settings at its far end. Filters are channels on top of channels. [`open`] opens a whole stack;
//! nothing in it blocks the runtime, and dropping it gives the attempt up.

mod client;
mod delim;
mod echo;
mod error;
mod file;
mod filter;
mod keep;
mod node;
mod open;
mod program;
pub(crate) mod pty;
mod pump;
mod rate;
mod reaper;
mod serial;
mod telnet;
mod tls;
mod trace;
mod udp;

pub use client::Filtered;
pub use error::ConnectError;
pub use open::{Opening, Stack, open};

use crate::metrics::DeviceFailure;
use crate::net::stream::Stream;
use crate::serial::request::{Notice, Reply, Request};
use crate::serial::{Device, IoFailure};
use std::fmt::Debug;
use std::task::{Context, Poll};

/// An open connector, or a filter on one. Dropping it closes it at once.
pub trait Channel: Debug + Send {
    /// Reads what there is, at most `buf`; the count is never 0. The end of the stream is an error.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>>;

    /// Ready when the device at the bottom is gone, for those who do not read; it takes nothing.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<IoFailure> {
        let _ = cx;
        Poll::Pending
    }

    /// Writes some of `data`, which is not empty; the count is never 0.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>>;

    /// Brings on the way what was written and is still held.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Ends the stream: what was written is on its way, and the far end knows that no more comes.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_flush(cx).map(drop)
    }

    /// Whether there are line settings at the far end.
    fn line(&mut self) -> FarLine {
        FarLine::None
    }

    /// Passes a request on to the far line; its answer is an [`Event`]. False: it was not taken,
    /// because there is no line or too much is waiting for it.
    fn request(&mut self, request: &Request) -> bool {
        let _ = request;
        false
    }

    /// What the far line said; asked for after each [`poll_read`](Self::poll_read).
    fn event(&mut self) -> Option<Event> {
        None
    }

    /// The size of a client's window, for what shows text in it.
    fn window(&mut self, columns: u16, rows: u16) {
        let _ = (columns, rows);
    }

    /// Whether what the far end sends waits, and is not lost, while nobody reads it.
    fn can_wait(&mut self) -> bool {
        true
    }

    /// The serial device at the bottom, while it is open.
    fn device(&mut self) -> Option<&mut Device> {
        None
    }

    /// The client's stream at the bottom, where there is one.
    fn stream(&mut self) -> Option<&mut Stream> {
        None
    }
}

/// Whether there are line settings at the far end of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarLine {
    /// There are none.
    None,
    /// The far end was asked and has not said it yet; requests are kept for it meanwhile.
    Asked,
    /// There are.
    There,
}

/// Something that a far line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to a request.
    Reply(Reply),
    /// News.
    Notice(Notice),
    /// There is no far line after all, and this request was kept for it.
    Unheard(Request),
    /// What is below was lost, or could not be opened, and is tried again: why, and in words.
    Lost(DeviceFailure, String),
    /// What is below is open, for the first time or again.
    Back,
    /// So many bytes that were written are thrown away, because nothing is open.
    Discarded(usize),
}

/// The far end closed the connection.
fn closed() -> IoFailure {
    IoFailure::Ended("the far end closed the connection".into())
}
