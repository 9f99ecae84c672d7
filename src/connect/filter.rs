//! What filters have in common: whatever a filter does not do itself, the channel below it does.

use super::{Channel, Event, FarLine};
use crate::net::stream::Stream;
use crate::serial::request::Request;
use crate::serial::{Device, IoFailure};
use std::fmt::Debug;
use std::task::{Context, Poll};

/// A channel on top of another one. Every filter is a [`Channel`]; what its methods promise stands
/// there.
pub(super) trait Filter: Debug + Send {
    /// The channel below.
    fn below(&mut self) -> &mut dyn Channel;

    /// See [`Channel::poll_read`].
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        self.below().poll_read(cx, buf)
    }

    /// See [`Channel::poll_write`].
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        self.below().poll_write(cx, data)
    }

    /// See [`Channel::poll_flush`].
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        self.below().poll_flush(cx)
    }

    /// See [`Channel::poll_close`].
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.below().poll_close(cx)
    }

    /// See [`Channel::line`].
    fn line(&mut self) -> FarLine {
        self.below().line()
    }

    /// See [`Channel::request`].
    fn request(&mut self, request: &Request) -> bool {
        self.below().request(request)
    }

    /// See [`Channel::window`].
    fn window(&mut self, columns: u16, rows: u16) {
        self.below().window(columns, rows);
    }

    /// See [`Channel::event`].
    fn event(&mut self) -> Option<Event> {
        self.below().event()
    }
}

impl<F: Filter> Channel for F {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        Filter::poll_read(self, cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        Filter::poll_write(self, cx, data)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        Filter::poll_flush(self, cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Filter::poll_close(self, cx)
    }

    fn line(&mut self) -> FarLine {
        Filter::line(self)
    }

    fn request(&mut self, request: &Request) -> bool {
        Filter::request(self, request)
    }

    fn event(&mut self) -> Option<Event> {
        Filter::event(self)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<IoFailure> {
        self.below().poll_gone(cx)
    }

    fn window(&mut self, columns: u16, rows: u16) {
        Filter::window(self, columns, rows);
    }

    fn can_wait(&mut self) -> bool {
        self.below().can_wait()
    }

    fn device(&mut self) -> Option<&mut Device> {
        self.below().device()
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.below().stream()
    }
}
