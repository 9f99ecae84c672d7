//! UDP as a channel: every piece that is written is a datagram.

use super::open::Stack;
use super::{Channel, ConnectError};
use crate::config::connector::UdpConnect;
use crate::serial::IoFailure;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Most bytes of a datagram that IPv4 carries.
const DATAGRAM_MAX: usize = 65_507;

/// A UDP socket with one peer to send to.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    /// Where datagrams go when the socket takes those of everybody, and so is not connected.
    to: Option<SocketAddr>,
}

impl Datagrams {
    pub(super) async fn open(stack: &Stack, options: &UdpConnect) -> Result<Self, ConnectError> {
        let UdpConnect { remote, local, groups, ttl, loopback, from_all, reuseaddr } = options;
        let mut addresses = stack.addresses(remote).await?;
        let to = addresses.remove(0);
        let from = match local {
            Some(local) => stack.local(local, to).await?,
            None if to.is_ipv4() => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            None => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        let make = || {
            let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(*reuseaddr)?;
            if to.is_ipv4() {
                socket.set_multicast_ttl_v4((*ttl).into())?;
                socket.set_multicast_loop_v4(*loopback)?;
            } else {
                socket.set_multicast_hops_v6((*ttl).into())?;
                socket.set_multicast_loop_v6(*loopback)?;
            }
            socket.bind(&from.into())?;
            for group in groups {
                match group {
                    IpAddr::V4(group) => socket.join_multicast_v4(group, &Ipv4Addr::UNSPECIFIED)?,
                    IpAddr::V6(group) => socket.join_multicast_v6(group, 0)?,
                }
            }
            if !from_all {
                socket.connect(&to.into())?;
            }
            UdpSocket::from_std(socket.into())
        };
        let failed = |error| ConnectError::io(&format!("cannot set up UDP from {from} to {to}"), &error);
        let socket = make().map_err(failed)?;
        // what is written first would wait for this, and become one datagram with what comes next
        socket.writable().await.map_err(failed)?;
        Ok(Self { socket, to: from_all.then_some(to) })
    }
}

/// An earlier datagram found nobody, which the stream does not end of: somebody may be there later.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

impl Channel for Datagrams {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        loop {
            let mut read = ReadBuf::new(buf);
            let result = if self.to.is_some() {
                ready!(self.socket.poll_recv_from(cx, &mut read)).map(drop)
            } else {
                ready!(self.socket.poll_recv(cx, &mut read))
            };
            match result {
                // an empty datagram adds nothing to a stream
                Ok(()) if read.filled().is_empty() => {}
                Ok(()) => return Poll::Ready(Ok(read.filled().len())),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Poll::Ready(Err(IoFailure::Failed(error))),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        let piece = &data[..data.len().min(DATAGRAM_MAX)];
        let result = match self.to {
            Some(to) => ready!(self.socket.poll_send_to(cx, piece, to)),
            None => ready!(self.socket.poll_send(cx, piece)),
        };
        Poll::Ready(match result {
            Err(error) if !is_passing(&error) => Err(IoFailure::Failed(error)),
            // what finds nobody is lost, as datagrams are
            _ => Ok(piece.len()),
        })
    }

    fn can_wait(&mut self) -> bool {
        false
    }
}
