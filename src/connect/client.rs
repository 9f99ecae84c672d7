//! Filters on the streams of clients: those of an accepter.

use super::delim::Delimited;
use super::rate::Limited;
use super::trace::{Copies, Traced};
use super::{Channel, ConnectError, closed};
use crate::config::ClientFilters;
use crate::config::connector::Filter;
use crate::net::stream::Stream;
use crate::serial::IoFailure;
use std::io;
use std::task::{Context, Poll, ready};

/// The stream of a client with filters on it.
#[derive(Debug)]
pub struct Filtered {
    top: Box<dyn Channel>,
    /// What sees data without telnet, outermost first.
    above: Vec<Copies>,
    is_datagrams: bool,
}

impl Filtered {
    /// Puts filters on a stream, whose TLS handshake is done.
    ///
    /// # Errors
    /// When a trace file cannot be opened: with gensio, too, such a client is closed.
    pub async fn over(stream: Stream, filters: Option<&ClientFilters>) -> Result<Stream, ConnectError> {
        let Some(ClientFilters { above, below }) = filters else { return Ok(stream) };
        let is_datagrams = stream.is_datagrams();
        let mut top: Box<dyn Channel> = Box::new(Bottom(stream));
        for filter in below.iter().rev() {
            top = match filter {
                Filter::Trace(options) => Box::new(Traced::new(top, options).await?),
                Filter::RateLimit(options) => Box::new(Limited::new(top, options)),
                Filter::MsgDelim(options) => Box::new(Delimited::new(top, options.crc)),
                // accepters have no others
                Filter::Telnet(_) | Filter::Tls(_) | Filter::KeepOpen(_) => top,
            };
        }
        let mut taps = Vec::new();
        for filter in above {
            if let Filter::Trace(options) = filter {
                taps.push(Copies::open(options).await?);
            }
        }
        Ok(Stream::Filtered(Box::new(Self { top, above: taps, is_datagrams })))
    }

    /// See [`Stream::is_datagrams`].
    pub(crate) fn is_datagrams(&self) -> bool {
        self.is_datagrams
    }

    /// The stream below the filters.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.top.stream()
    }

    /// Shows data of the client to what is above telnet; false when it is to be thrown away.
    pub(crate) fn passes_up(&mut self, data: &[u8]) -> bool {
        self.above.iter_mut().rev().all(|copies| copies.passes_up(data))
    }

    /// The same for data to the client.
    pub(crate) fn passes_down(&mut self, data: &[u8]) -> bool {
        self.above.iter_mut().all(|copies| copies.passes_down(data))
    }

    /// See [`Stream::poll_read`].
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match ready!(self.top.poll_read(cx, buf)) {
            Err(IoFailure::Ended(_)) => Poll::Ready(Ok(0)),
            result => Poll::Ready(result.map_err(error)),
        }
    }

    /// See [`Stream::poll_write`].
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.top.poll_write(cx, data).map_err(error)
    }

    /// See [`Stream::poll_flush`].
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.top.poll_flush(cx).map_err(error)
    }

    /// See [`Stream::poll_goodbye`].
    pub(crate) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.top.poll_close(cx).map(Ok)
    }
}

fn error(failure: IoFailure) -> io::Error {
    match failure {
        IoFailure::Failed(error) => error,
        other => io::Error::new(io::ErrorKind::BrokenPipe, other),
    }
}

/// A client's stream as a channel.
#[derive(Debug)]
struct Bottom(Stream);

impl Channel for Bottom {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        Poll::Ready(match ready!(self.0.poll_read(cx, buf)) {
            Ok(0) => Err(closed()),
            result => result.map_err(IoFailure::Failed),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        self.0.poll_write(cx, data).map_err(IoFailure::Failed)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        self.0.poll_flush(cx).map_err(IoFailure::Failed)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a client that is gone already needs no goodbye
        self.0.poll_goodbye(cx).map(drop)
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        Some(&mut self.0)
    }
}
