//! Port numbers for the cases, and which of them something listens on.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};

/// Below the range from which the kernel takes source ports (32768 on), so that no client of anybody sits
/// on a number that was handed out.
const FIRST: u16 = 12_000;
const COUNT: u16 = 19_900;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Starts the numbering somewhere else in each run, so that two runs at the same time rarely meet.
pub(crate) fn shuffle() {
    NEXT.store((std::process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16, Ordering::Relaxed);
}

/// A port number that nothing uses, TCP or UDP, IPv4 or IPv6.  All jobs of this process get different ones.
pub(crate) fn free_port() -> io::Result<u16> {
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let taken = [Domain::IPV4, Domain::IPV6].iter().any(|&domain| {
            [Type::STREAM, Type::DGRAM].iter().any(|&kind| {
                matches!(try_bind(domain, kind, port), Err(e) if matches!(
                    e.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ))
            })
        });
        if !taken {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port"))
}

fn try_bind(domain: Domain, kind: Type, port: u16) -> io::Result<()> {
    let socket = Socket::new(domain, kind, None)?;
    let address: SocketAddr = if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
        (Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, port).into()
    };
    socket.bind(&address.into())
}

/// A listening IPv4 socket that does not wait in `accept`.
pub(crate) fn listener(address: Ipv4Addr, port: u16, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((address, port)).into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// `("tcp" or "udp", port)` of everything that listens on this machine.
pub(crate) fn listening() -> BTreeSet<(&'static str, u16)> {
    const LISTEN: &str = "0A";
    let mut out = BTreeSet::new();
    for (table, kind) in [("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")] {
        let Ok(text) = std::fs::read_to_string(format!("/proc/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (Some(local), Some(_remote), Some(state)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if kind == "tcp" && state != LISTEN {
                continue;
            }
            let port = local.rsplit_once(':').and_then(|(_, p)| u16::from_str_radix(p, 16).ok());
            out.extend(port.map(|p| (kind, p)));
        }
    }
    out
}
