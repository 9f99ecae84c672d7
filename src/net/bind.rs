//! From the addresses of a configuration to bound sockets.

use super::care::INHERITED;
use super::names::Names;
use crate::config::{Family, Keepalive, ListenAddress};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;
/// Silence after which a peer is asked whether it is still there, how often, and how many times:
/// a peer that died silently is noticed within 30 seconds.
pub(super) const KEEPALIVE: (Duration, Duration, u32) = {
    let Keepalive { idle, interval, count } = INHERITED;
    (Duration::from_secs(idle as u64), Duration::from_secs(interval as u64), count)
};
/// Attempts to find a port that is free at all addresses, where the kernel chooses it.
const PORT_ATTEMPTS: usize = 16;

/// What the sockets are to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// TCP listeners. All but `reuseaddr` is inherited by the sockets of clients.
    Tcp {
        /// `TCP_NODELAY`.
        nodelay: bool,
        /// `SO_OOBINLINE`: clients' urgent bytes are read like all others.
        inline_urgent: bool,
        /// `SO_REUSEADDR`.
        reuseaddr: bool,
    },
    /// UDP sockets.
    Udp {
        /// `SO_REUSEADDR`.
        reuseaddr: bool,
    },
}

/// One socket that is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    address: SocketAddr,
    /// An IPv6 socket that takes no IPv4.
    v6_only: bool,
    /// All addresses of the machine: IPv4 alone where there is no IPv6.
    any: bool,
    /// One of several addresses of a name.
    of_name: bool,
}

impl Target {
    fn new(ip: IpAddr, port: u16, family: Family) -> Self {
        let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let v6_only = ip.is_ipv6() && family != Family::V6Mapped && !mapped;
        Self { address: SocketAddr::new(ip, port), v6_only, any: false, of_name: false }
    }
}

/// The sockets of addresses that need no look-up; `None` when one does.
pub(super) fn numeric(addresses: &[ListenAddress]) -> Option<Vec<Target>> {
    addresses.iter().map(one_numeric).collect()
}

fn one_numeric(address: &ListenAddress) -> Option<Target> {
    let ListenAddress { family, host, port } = address;
    Some(match (host, family) {
        (None, Family::Any) => Target {
            v6_only: false,
            any: true,
            ..Target::new(Ipv6Addr::UNSPECIFIED.into(), *port, Family::Any)
        },
        (None, Family::V4) => Target::new(Ipv4Addr::UNSPECIFIED.into(), *port, *family),
        (None, _) => Target::new(Ipv6Addr::UNSPECIFIED.into(), *port, *family),
        (Some(host), _) => match host.parse::<IpAddr>().ok()? {
            IpAddr::V4(v4) if matches!(family, Family::V6 | Family::V6Mapped) => {
                Target::new(v4.to_ipv6_mapped().into(), *port, *family)
            }
            ip => Target::new(ip, *port, *family),
        },
    })
}

/// The sockets of any addresses; names are looked up.
///
/// # Errors
/// Those of the look-up, or a name without an address of the wanted family.
pub(super) async fn resolve(names: &Names, addresses: &[ListenAddress]) -> io::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for address in addresses {
        if let Some(target) = one_numeric(address) {
            targets.push(target);
            continue;
        }
        let ListenAddress { family, host, port } = address;
        let host = host.clone().unwrap_or_default();
        let mut found = of_family(&names.find(&host).await?, *family);
        if found.is_empty() {
            let kind = if *family == Family::V4 { "IPv4" } else { "IPv6" };
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("'{host}' has no {kind} address")));
        }
        found.sort();
        found.dedup();
        for mut socket in found {
            socket.set_port(*port);
            // the whole address, which may have a scope
            targets.push(Target {
                address: socket,
                of_name: true,
                ..Target::new(socket.ip(), *port, *family)
            });
        }
    }
    Ok(targets)
}

fn of_family(found: &[SocketAddr], family: Family) -> Vec<SocketAddr> {
    let v4 = found.iter().filter_map(|a| match a.ip() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    match family {
        Family::Any => found.to_vec(),
        Family::V4 => found.iter().copied().filter(SocketAddr::is_ipv4).collect(),
        Family::V6 => found.iter().copied().filter(SocketAddr::is_ipv6).collect(),
        // what IPv4 clients reach, as gensio(5) says; else what there is
        Family::V6Mapped => {
            let mapped: Vec<_> = v4.map(|v4| SocketAddr::new(v4.to_ipv6_mapped().into(), 0)).collect();
            if mapped.is_empty() { found.to_vec() } else { mapped }
        }
    }
}

/// Binds all of them. Where the kernel chooses the port, it is the same for all.
///
/// # Errors
/// Of the first that cannot be bound. IPv6 addresses of a name are left out on a machine without
/// IPv6, as long as something is left.
pub(super) fn all(targets: &[Target], kind: Kind) -> io::Result<Vec<Socket>> {
    let chosen = targets.len() > 1 && targets.iter().any(|t| t.address.port() == 0);
    let mut attempts = if chosen { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match once(targets, kind) {
            Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) && attempts > 0 => {}
            other => return other,
        }
    }
}

fn once(targets: &[Target], kind: Kind) -> io::Result<Vec<Socket>> {
    // mostly there is one; what grows by itself would have room for four
    let mut sockets = Vec::with_capacity(targets.len());
    let mut chosen = 0;
    let mut left_out = None;
    for target in targets {
        let mut target = *target;
        if target.address.port() == 0 {
            target.address.set_port(chosen);
        }
        match bind(&target, kind) {
            Ok(socket) => {
                if chosen == 0 && target.address.port() == 0 {
                    chosen = socket.local_addr()?.as_socket().map_or(0, |a| a.port());
                }
                sockets.push(socket);
            }
            Err(e) if target.of_name && target.address.is_ipv6() && is_about_family(&e) => {
                left_out = Some(e);
            }
            Err(e) => return Err(e),
        }
    }
    match left_out {
        Some(e) if sockets.is_empty() => Err(e),
        _ => Ok(sockets),
    }
}

/// What bind(2) and socket(2) say on a machine without IPv6, or where it is switched off.
fn is_about_family(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind(target: &Target, kind: Kind) -> io::Result<Socket> {
    match bind_socket(target, kind) {
        Err(e) if target.any && is_about_family(&e) => {
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), target.address.port());
            bind_socket(&Target { address: any, ..*target }, kind)
        }
        other => other,
    }
}

fn bind_socket(target: &Target, kind: Kind) -> io::Result<Socket> {
    let (kernel_type, protocol) = match kind {
        Kind::Tcp { .. } => (Type::STREAM, Protocol::TCP),
        Kind::Udp { .. } => (Type::DGRAM, Protocol::UDP),
    };
    let domain = Domain::for_address(target.address);
    let socket = Socket::new(domain, kernel_type.nonblocking(), Some(protocol))?;
    if target.address.is_ipv6() {
        socket.set_only_v6(target.v6_only)?;
    }
    let (Kind::Tcp { reuseaddr, .. } | Kind::Udp { reuseaddr }) = kind;
    if reuseaddr {
        socket.set_reuse_address(true)?;
    }
    if let Kind::Tcp { nodelay, inline_urgent, .. } = kind {
        set_for_clients(&socket, nodelay, inline_urgent)?;
    }
    socket.bind(&SockAddr::from(target.address))?;
    if matches!(kind, Kind::Tcp { .. }) {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Sets what every client's socket is to have: accepted sockets inherit it, so that it costs
/// nothing when a client comes (tcp(7), and socket(7) for the rest; Linux does so for all of these).
fn set_for_clients(socket: &Socket, nodelay: bool, inline_urgent: bool) -> io::Result<()> {
    let (idle, interval, probes) = KEEPALIVE;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes),
    )?;
    socket.set_tcp_nodelay(nodelay)?;
    socket.set_out_of_band_inline(inline_urgent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(family: Family, host: Option<&str>, port: u16) -> ListenAddress {
        ListenAddress { family, host: host.map(Into::into), port }
    }

    #[test]
    fn what_is_bound() {
        use Family::{Any, V4, V6, V6Mapped};
        for (family, host, want, v6_only) in [
            (Any, None, "[::]:7", false),
            (V4, None, "0.0.0.0:7", false),
            (V6, None, "[::]:7", true),
            (V6Mapped, None, "[::]:7", false),
            (Any, Some("127.0.0.1"), "127.0.0.1:7", false),
            (Any, Some("::1"), "[::1]:7", true),
            (V6, Some("::1"), "[::1]:7", true),
            (V6Mapped, Some("127.0.0.1"), "[::ffff:127.0.0.1]:7", false),
            (V6Mapped, Some("::1"), "[::1]:7", false),
        ] {
            let targets = numeric(&[at(family, host, 7)]).unwrap();
            assert_eq!(targets[0].address, want.parse().unwrap(), "{family:?} {host:?}");
            assert_eq!(targets[0].v6_only, v6_only, "{family:?} {host:?}");
        }
        assert!(numeric(&[at(Any, None, 7), at(Any, Some("localhost"), 7)]).is_none());
    }

    #[test]
    fn families_of_names() {
        let found: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
        let text = |family| {
            of_family(&found, family).iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(Family::Any), "127.0.0.1 ::1");
        assert_eq!(text(Family::V4), "127.0.0.1");
        assert_eq!(text(Family::V6), "::1");
        assert_eq!(text(Family::V6Mapped), "::ffff:127.0.0.1");
        assert_eq!(of_family(&found[1..], Family::V6Mapped), &found[1..]);
    }

    #[tokio::test]
    async fn a_scope_is_kept() {
        let targets = resolve(&Names::default(), &[at(Family::Any, Some("fe80::1%lo"), 9)]).await.unwrap();
        assert!(matches!(targets[0].address, SocketAddr::V6(v6) if v6.scope_id() != 0 && v6.port() == 9));
    }

    #[test]
    fn a_chosen_port_is_one_for_all() {
        let targets =
            numeric(&[at(Family::Any, Some("127.0.0.1"), 0), at(Family::Any, Some("127.0.0.2"), 0)]);
        for kind in [
            Kind::Tcp { nodelay: true, inline_urgent: false, reuseaddr: true },
            Kind::Udp { reuseaddr: false },
        ] {
            let sockets = all(&targets.clone().unwrap(), kind).unwrap();
            let ports: Vec<_> =
                sockets.iter().map(|s| s.local_addr().unwrap().as_socket().unwrap().port()).collect();
            assert_eq!(ports.len(), 2);
            assert!(ports[0] != 0 && ports[0] == ports[1], "{ports:?}");
        }
    }
}
