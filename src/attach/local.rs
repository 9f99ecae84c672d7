//! What both kinds of local device have in common.

use crate::connect::Event;
use crate::serial::request::Request;
use std::fmt::Debug;
use std::io;
use std::task::{Context, Poll};

/// What local programs did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first program opened the device.
    Opened,
    /// The last one closed it, and all that they wrote has been read.
    Closed,
    /// So many bytes for the far end are in the buffer; [`Local::asks_before`] has what comes before.
    Data(usize),
    /// Requests are waiting.
    Asks,
}

/// A device that local programs open.
pub(super) trait Local: Debug + Send {
    /// What local programs did. Data is only read when it is wanted.
    ///
    /// # Errors
    /// The device cannot go on.
    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut [u8], wants: bool) -> Poll<io::Result<Step>>;

    /// The requests of programs that come before the data that was read last.
    fn asks_before(&mut self) -> Vec<Request>;

    /// The next request of a program; it comes after all data that was read.
    fn next_ask(&mut self) -> Option<Request>;

    /// All settings as they are to be, for a far end that knows none; requests that wait are taken back.
    fn settings(&mut self) -> Vec<Request>;

    /// Gives bytes of the far end to the programs; without one that has it open they are lost. The
    /// count is not 0.
    ///
    /// # Errors
    /// The device cannot go on.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;

    /// What the far line said.
    fn told(&mut self, event: &Event);

    /// Whether there is a far end that obeys requests.
    fn connected(&mut self, on: bool);

    /// From now on data passes.
    fn ready(&mut self) {}

    /// What was read from programs is on its way.
    fn sent(&mut self) {}
}
