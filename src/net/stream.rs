//! One accepted stream, plain or TLS, with poll functions that go straight to the socket.

use crate::serial::sys;
use socket2::SockRef;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Probes of a closed window without an answer after which the client is taken for dead; they are
/// sent at growing intervals.
const LOST_PROBES: u8 = 4;

/// What is known of the other end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It has acknowledged all.
    UpToDate,
    /// It takes nothing at present, and says so.
    Closed,
    /// Something is on its way, and nothing was acknowledged for this time.
    Silent(Duration),
}

/// A stream that a client came in on.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP, handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads into `buf`; `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// Those of the socket. A TLS peer that closes without `close_notify` counts as a plain end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buf);
        let result = match self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, &mut read),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, &mut read),
        };
        Poll::Ready(match ready!(result) {
            Ok(()) => Ok(read.filled().len()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(e) => Err(e),
        })
    }

    /// Writes some of `data`; with TLS they may stay in its buffer until [`Stream::poll_flush`].
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, data),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, data),
        }
    }

    /// Like [`Stream::poll_read`], and tells whether the first byte is the urgent one (RFC 9293,
    /// section 3.8.5). A read ends before an urgent byte, as if there were no more; so that one is
    /// asked for without waiting for an event.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_read_urgent(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, bool)>> {
        if let Self::Tcp(stream) = self
            && sys::at_urgent_mark(stream)
        {
            match (&*SockRef::from(&*stream)).read(buf) {
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return Poll::Ready(result.map(|count| (count, true))),
            }
        }
        self.poll_read(cx, buf).map_ok(|count| (count, false))
    }

    /// Whether a client that has not acknowledged what was sent is still there.
    pub fn peer_state(&self) -> PeerState {
        let socket = match self {
            Self::Tcp(s) => s,
            Self::Tls(s) => s.get_ref().0,
        };
        match sys::peer_info(socket) {
            Ok(info) if info.unacknowledged > 0 => {
                PeerState::Silent(Duration::from_millis(info.last_ack.into()))
            }
            // its window is closed, and it does not even say so any more
            Ok(info) if info.probes >= LOST_PROBES => PeerState::Silent(Duration::MAX),
            Ok(_) if self.unacknowledged() > 0 => PeerState::Closed,
            Ok(_) | Err(_) => PeerState::UpToDate,
        }
    }

    /// Bytes that the client's system has not acknowledged; 0 when nobody can tell.
    pub fn unacknowledged(&self) -> usize {
        let socket = match self {
            Self::Tcp(s) => s,
            Self::Tls(s) => s.get_ref().0,
        };
        sys::unacknowledged(socket).unwrap_or(0)
    }

    /// Brings what TLS holds onto the wire; nothing to do on plain TCP.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    /// Says goodbye: `close_notify` with TLS. The FIN of plain TCP comes from dropping the stream,
    /// so that unread input turns it into a reset, as with ser2net.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
