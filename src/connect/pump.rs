//! Streams of the runtime (TCP, Unix sockets, TLS) as channels.

use super::open::Stack;
use super::{Channel, ConnectError, closed};
use crate::config::connector::TcpConnect;
use crate::metrics::DeviceFailure;
use crate::serial::IoFailure;
use socket2::{SockRef, TcpKeepalive};
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Time in which a TCP service has to answer before the next address is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Silence after which a far end is asked whether it is still there, the time between such questions, and how
/// many of them without an answer are its end.
const QUIET: Duration = Duration::from_secs(20);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 4;

/// A stream as a channel.
#[derive(Debug)]
pub(super) struct Pump<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(stream)
    }

    /// The stream.
    pub(super) fn inner(&mut self) -> &mut S {
        &mut self.0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Debug> Channel for Pump<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        let mut read = ReadBuf::new(buf);
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_read(cx, &mut read)) {
            Ok(()) if read.filled().is_empty() => Err(closed()),
            Ok(()) => Ok(read.filled().len()),
            // TLS without close_notify
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(closed()),
            Err(error) => Err(failure(error)),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_write(cx, data)) {
            Ok(0) => Err(closed()),
            other => other.map_err(failure),
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(failure)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a far end that is gone already needs no goodbye
        Pin::new(&mut self.0).poll_shutdown(cx).map(drop)
    }
}

/// An error of a socket, whose words say more than that a device is gone.
fn failure(error: io::Error) -> IoFailure {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            IoFailure::Ended("the far end broke the connection off".into())
        }
        _ => IoFailure::Failed(error),
    }
}

/// Connects to the first address that answers.
pub(super) async fn tcp(stack: &Stack, options: &TcpConnect) -> Result<Box<dyn Channel>, ConnectError> {
    let TcpConnect { remotes, local: _, nodelay: _ } = options;
    let mut first_error = None;
    for remote in remotes {
        let addresses = match stack.addresses(remote).await {
            Ok(list) => list,
            Err(error) => {
                first_error.get_or_insert(error);
                continue;
            }
        };
        for address in addresses {
            match connect(stack, options, address).await {
                Ok(stream) => return Ok(Box::new(Pump::new(stream))),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    Err(first_error.unwrap_or_else(|| {
        ConnectError::new("there is no address to connect to", "Data was missing", DeviceFailure::Settings)
    }))
}

async fn connect(
    stack: &Stack,
    options: &TcpConnect,
    address: SocketAddr,
) -> Result<TcpStream, ConnectError> {
    let what = format!("cannot connect to {address}");
    let failed = |error: io::Error| ConnectError::io(&what, &error);
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(local) = &options.local {
        let from = stack.local(local, address).await?;
        if from.port() != 0 {
            // the last connection may linger on the same port
            socket.set_reuseaddr(true).map_err(failed)?;
        }
        socket.bind(from).map_err(|error| ConnectError::io(&format!("cannot bind laddr {from}"), &error))?;
    }
    // a far end that vanished without a word is noticed some day
    socket.set_keepalive(true).map_err(failed)?;
    if stack.is_alone() {
        // and soon where somebody waits for what it sends, and would wait for ever
        let sockopts = SockRef::from(&socket);
        let probes = TcpKeepalive::new().with_time(QUIET).with_interval(PROBE_INTERVAL).with_retries(PROBES);
        sockopts.set_tcp_keepalive(&probes).map_err(failed)?;
        sockopts.set_tcp_user_timeout(Some(QUIET + PROBE_INTERVAL * PROBES)).map_err(failed)?;
    }
    let Ok(result) = tokio::time::timeout(CONNECT_LIMIT, socket.connect(address)).await else {
        let late = format!("no answer in {} s", CONNECT_LIMIT.as_secs());
        return Err(failed(io::Error::new(io::ErrorKind::TimedOut, late)));
    };
    let stream = result.map_err(failed)?;
    stream.set_nodelay(options.nodelay).map_err(failed)?;
    Ok(stream)
}
