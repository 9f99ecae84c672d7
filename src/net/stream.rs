//! One accepted stream, plain or TLS, with poll functions that go straight to the socket.

use crate::serial::sys;
use socket2::SockRef;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Begins telnet's commands.
const IAC: u8 = 255;

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
            Ok(()) => Ok(self.behind_urgent_mark(&mut read)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(e) => Err(e),
        })
    }

    /// A read ends in front of an urgent byte, which with telnet is the one behind an IAC (RFC 854,
    /// SYNCH). The runtime takes a short read for the last one and would wait for news, although
    /// more is there: it is read here. Returns how much is in `read`.
    fn behind_urgent_mark(&self, read: &mut ReadBuf<'_>) -> usize {
        if let Self::Tcp(stream) = self
            && read.filled().last() == Some(&IAC)
            && let Ok(more) = (&*SockRef::from(stream)).read(read.initialize_unfilled())
        {
            read.advance(more);
        }
        read.filled().len()
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
