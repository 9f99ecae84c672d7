//! One client's stream, with poll functions that go straight to the socket.

use super::{dial, stdio, udp};
use crate::connect::Filtered;
use crate::serial::sys;
use socket2::SockRef;
use std::future::Future;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};
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
    /// A Unix domain socket.
    Unix(UnixStream),
    /// TLS, handshake done.
    Tls(Box<TlsStream<Socket>>),
    /// The datagrams of one address.
    Udp(Box<udp::Client>),
    /// Our standard input and output.
    Stdio(Box<stdio::Stdio>),
    /// What an accepter has connected to.
    Dialled(Box<dial::Dialled>),
    /// One of the others with filters on it.
    Filtered(Box<Filtered>),
}

/// What TLS runs on.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
}

impl Stream {
    /// The stream as something that TLS runs on.
    ///
    /// # Errors
    /// The stream itself, when it is nothing of that kind.
    pub fn into_socket(self) -> Result<Socket, Self> {
        match self {
            Self::Tcp(s) => Ok(Socket::Tcp(s)),
            Self::Unix(s) => Ok(Socket::Unix(s)),
            other => Err(other),
        }
    }

    /// Reads into `buf`; `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// Those of the socket. A TLS peer that closes without `close_notify` counts as a plain end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buf);
        let result = match self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, &mut read),
            Self::Unix(s) => Pin::new(s).poll_read(cx, &mut read),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, &mut read),
            Self::Udp(s) => return s.poll_read(cx, buf),
            Self::Stdio(s) => return s.poll_read(cx, buf),
            Self::Dialled(s) => return s.poll_read(cx, buf),
            Self::Filtered(s) => return s.poll_read(cx, buf),
        };
        Poll::Ready(match ready!(result) {
            Ok(()) => Ok(read.filled().len()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(e) => Err(e),
        })
    }

    /// Writes some of `data`; where [`Stream::holds_back`], they may stay in a buffer until
    /// [`Stream::poll_flush`].
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, data),
            Self::Unix(s) => Pin::new(s).poll_write(cx, data),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, data),
            Self::Udp(s) => s.poll_write(cx, data),
            Self::Stdio(s) => s.poll_write(cx, data),
            Self::Dialled(s) => s.poll_write(cx, data),
            Self::Filtered(s) => s.poll_write(cx, data),
        }
    }

    /// A socket, with TLS or without: nothing but reading reads it.
    pub fn is_socket(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_) | Self::Tls(_))
    }

    /// What is written may wait for [`Stream::poll_flush`].
    pub fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Stdio(_) | Self::Dialled(_) | Self::Filtered(_))
    }

    /// Each write is a datagram.
    pub fn is_datagrams(&self) -> bool {
        match self {
            Self::Udp(_) => true,
            Self::Filtered(s) => s.is_datagrams(),
            Self::Dialled(s) => s.is_datagrams(),
            _ => false,
        }
    }

    /// Shows data of the client, telnet taken off, to filters above telnet; false when one of them
    /// throws it away.
    pub fn passes_up(&mut self, data: &[u8]) -> bool {
        match self {
            Self::Filtered(s) => s.passes_up(data),
            _ => true,
        }
    }

    /// The same for data to the client that telnet is yet to be put on.
    pub fn passes_down(&mut self, data: &[u8]) -> bool {
        match self {
            Self::Filtered(s) => s.passes_down(data),
            _ => true,
        }
    }

    /// Like [`Stream::poll_read`], and tells whether the first byte is the urgent one (RFC 9293,
    /// section 3.8.5). A read ends before an urgent byte, as if there were no more; so that one is
    /// asked for without waiting for an event. `again`: the last read of this kind filled its buffer,
    /// and there may be more that no event tells of.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_read_urgent(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        again: bool,
    ) -> Poll<io::Result<(usize, bool)>> {
        if let Self::Tcp(stream) = self {
            let urgent = sys::at_urgent_mark(stream);
            if urgent || again {
                match (&*SockRef::from(&*stream)).read(buf) {
                    Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                    result => return Poll::Ready(result.map(|count| (count, urgent))),
                }
            }
        }
        self.poll_read(cx, buf).map_ok(|count| (count, false))
    }

    /// Whether a client that has not acknowledged what was sent is still there.
    pub fn peer_state(&mut self) -> PeerState {
        let info = match self {
            Self::Tcp(s) => sys::peer_info(s),
            Self::Tls(s) => match s.get_ref().0 {
                Socket::Tcp(s) => sys::peer_info(s),
                Socket::Unix(_) => return PeerState::UpToDate,
            },
            // the other end is on this machine, or there are no acknowledgements
            Self::Unix(_) | Self::Udp(_) | Self::Stdio(_) | Self::Dialled(_) => return PeerState::UpToDate,
            Self::Filtered(s) => return s.stream().map_or(PeerState::UpToDate, Self::peer_state),
        };
        match info {
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
    pub fn unacknowledged(&mut self) -> usize {
        let count = match self {
            Self::Tcp(s) => sys::unacknowledged(s),
            Self::Unix(s) => sys::unacknowledged(s),
            Self::Tls(s) => match s.get_ref().0 {
                Socket::Tcp(s) => sys::unacknowledged(s),
                Socket::Unix(s) => sys::unacknowledged(s),
            },
            Self::Udp(_) | Self::Stdio(_) | Self::Dialled(_) => Ok(0),
            Self::Filtered(s) => return s.stream().map_or(0, Self::unacknowledged),
        };
        count.unwrap_or(0)
    }

    /// The other end has closed or broken the connection off. What it sent before may still be there to
    /// be read.
    pub fn has_left(&mut self) -> bool {
        let left = |ready: Poll<io::Result<Ready>>| matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed());
        // only looked at: whoever reads is woken
        let cx = &mut Context::from_waker(Waker::noop());
        let tcp = |s: &TcpStream, cx: &mut Context<'_>| left(pin!(s.ready(Interest::READABLE)).poll(cx));
        let unix = |s: &UnixStream, cx: &mut Context<'_>| left(pin!(s.ready(Interest::READABLE)).poll(cx));
        match self {
            Self::Tcp(s) => tcp(s, cx),
            Self::Unix(s) => unix(s, cx),
            Self::Tls(s) => match s.get_ref().0 {
                Socket::Tcp(s) => tcp(s, cx),
                Socket::Unix(s) => unix(s, cx),
            },
            Self::Filtered(s) => s.stream().is_some_and(Self::has_left),
            Self::Udp(_) | Self::Stdio(_) | Self::Dialled(_) => false,
        }
    }

    /// Ready when the other end has gone and left nothing to be read. Nothing is taken off the stream.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(s) => poll_tcp_gone(s, cx),
            Self::Unix(s) => poll_unix_gone(s, cx),
            Self::Tls(s) => match s.get_ref().0 {
                Socket::Tcp(s) => poll_tcp_gone(s, cx),
                Socket::Unix(s) => poll_unix_gone(s, cx),
            },
            Self::Filtered(s) => s.stream().map_or(Poll::Pending, |inner| inner.poll_gone(cx)),
            Self::Udp(_) | Self::Stdio(_) | Self::Dialled(_) => Poll::Pending,
        }
    }

    /// Brings what is held back onto the wire; nothing to do on plain sockets.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Udp(_) => Poll::Ready(Ok(())),
            Self::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
            Self::Stdio(s) => s.poll_flush(cx),
            Self::Dialled(s) => s.poll_flush(cx),
            Self::Filtered(s) => s.poll_flush(cx),
        }
    }

    /// Says goodbye: `close_notify` with TLS. The FIN of plain TCP comes from dropping the stream,
    /// so that unread input turns it into a reset, as with ser2net.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
            Self::Dialled(s) => s.poll_close(cx).map(Ok),
            Self::Filtered(s) => s.poll_goodbye(cx),
            other => other.poll_flush(cx),
        }
    }
}

fn poll_tcp_gone(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    match ready!(stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]))) {
        Ok(0) | Err(_) => Poll::Ready(()),
        Ok(_) => Poll::Pending,
    }
}

fn poll_unix_gone(stream: &UnixStream, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if ready!(stream.poll_read_ready(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut byte = [MaybeUninit::uninit()];
        match stream.try_io(Interest::READABLE, || SockRef::from(stream).peek(&mut byte)) {
            Ok(0) => return Poll::Ready(()),
            Ok(_) => return Poll::Pending,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return Poll::Ready(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, data),
            Self::Unix(s) => Pin::new(s).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(s) => s.is_write_vectored(),
            Self::Unix(s) => s.is_write_vectored(),
        }
    }
}
