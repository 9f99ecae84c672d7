//! The listening sockets of one accepter, with retries and without a busy loop.

use super::care::INHERITED;
use super::names::Names;
use crate::config::{Family, Keepalive, TcpListen};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;
/// Wait after the first failed attempt to bind.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Pause after `accept` failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Silence after which a peer is asked whether it is still there, how often, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = {
    let Keepalive { idle, interval, count } = INHERITED;
    (Duration::from_secs(idle as u64), Duration::from_secs(interval as u64), count)
};

/// What a listener has to tell.
#[derive(Debug)]
pub enum Event {
    /// A client came.
    Client(TcpStream, SocketAddr),
    /// All sockets are bound now.
    Up,
    /// Binding failed; it is tried again after the retry time.
    Down(io::Error),
    /// `accept` failed; listening goes on after a pause.
    AcceptFailed(io::Error),
}

#[derive(Debug)]
enum State {
    /// Host names are being looked up.
    Resolving(JoinHandle<io::Result<Vec<SocketAddr>>>),
    /// Waiting for clients.
    Bound(Vec<TcpListener>),
    /// Waiting for the next attempt.
    Waiting,
    /// Asked to stop.
    Stopped,
}

/// The sockets of one accepter.
#[derive(Debug)]
pub struct Listener {
    config: TcpListen,
    names: Arc<Names>,
    /// Urgent bytes stay in the stream, as telnet wants it; on a raw port they are not data and
    /// vanish, as with ser2net.
    inline_urgent: bool,
    /// Longest wait between two attempts.
    retry: Duration,
    /// Wait before the next attempt: from [`FIRST_RETRY`], doubled up to `retry`.
    next_retry: Duration,
    state: State,
    /// Next attempt to bind, or end of the pause after a failed `accept`.
    timer: Option<Pin<Box<Sleep>>>,
    /// An event that was found before anybody polled.
    early: Option<Event>,
}

impl Listener {
    /// Starts to listen. Numeric and omitted hosts are bound before this returns; names are looked
    /// up in the background. Failures are told by [`Listener::poll`] and tried again every `retry`.
    ///
    /// `inline_urgent`: clients' urgent bytes are read like all others, which telnet needs.
    pub fn start(config: TcpListen, inline_urgent: bool, retry: Duration, names: Arc<Names>) -> Self {
        let mut listener = Self::stopped(config, names);
        (listener.inline_urgent, listener.retry, listener.state) = (inline_urgent, retry, State::Waiting);
        listener.attempt();
        listener
    }

    /// A listener that listens to nothing.
    pub fn stopped(config: TcpListen, names: Arc<Names>) -> Self {
        Self {
            config,
            names,
            inline_urgent: false,
            retry: Duration::MAX,
            next_retry: FIRST_RETRY,
            state: State::Stopped,
            timer: None,
            early: None,
        }
    }

    /// What it was started with.
    pub fn config(&self) -> &TcpListen {
        &self.config
    }

    /// True while the sockets are bound.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    /// The addresses that are bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.state {
            State::Bound(sockets) => sockets.iter().filter_map(|s| s.local_addr().ok()).collect(),
            _ => Vec::new(),
        }
    }

    fn attempt(&mut self) {
        self.timer = None;
        if let Some(addresses) = numeric_addresses(&self.config) {
            self.bind(&addresses);
        } else {
            let (names, config) = (Arc::clone(&self.names), self.config.clone());
            self.state = State::Resolving(tokio::spawn(async move { resolve(&names, &config).await }));
        }
    }

    fn bind(&mut self, addresses: &[SocketAddr]) {
        let result: io::Result<Vec<_>> = match (self.config.host.is_none(), self.config.family) {
            (true, Family::Any) => bind_any(&self.config, self.inline_urgent).map(|s| vec![s]),
            _ => bind_all(addresses, &self.config, self.inline_urgent),
        };
        match result {
            Ok(sockets) => {
                self.state = State::Bound(sockets);
                self.early = Some(Event::Up);
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: io::Error) {
        self.state = State::Waiting;
        self.timer = Some(Box::pin(tokio::time::sleep(self.next_retry.min(self.retry))));
        self.next_retry = self.next_retry.saturating_mul(2);
        self.early = Some(Event::Down(error));
    }

    /// The next event. Pending while there is nothing to tell.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.early.take() {
                return Poll::Ready(event);
            }
            if let Some(timer) = &mut self.timer {
                if timer.as_mut().poll(cx).is_pending() {
                    return self.poll_resolved(cx);
                }
                self.timer = None;
                if matches!(self.state, State::Waiting) {
                    self.attempt();
                    continue;
                }
            }
            let State::Bound(sockets) = &self.state else { return self.poll_resolved(cx) };
            for socket in sockets {
                match socket.poll_accept(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok((stream, peer))) => return Poll::Ready(Event::Client(stream, peer)),
                    Poll::Ready(Err(e)) if is_about_one_client(&e) => {
                        // the next in the queue may be well: look again at once
                        cx.waker().wake_by_ref();
                    }
                    Poll::Ready(Err(e)) => {
                        self.timer = Some(Box::pin(tokio::time::sleep_until(Instant::now() + ACCEPT_PAUSE)));
                        cx.waker().wake_by_ref();
                        return Poll::Ready(Event::AcceptFailed(e));
                    }
                }
            }
            return Poll::Pending;
        }
    }

    fn poll_resolved(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let State::Resolving(task) = &mut self.state else { return Poll::Pending };
        let Poll::Ready(result) = Pin::new(task).poll(cx) else { return Poll::Pending };
        match result {
            Ok(Ok(addresses)) => self.bind(&addresses),
            Ok(Err(error)) => self.failed(error),
            Err(join) => self.failed(io::Error::other(join)),
        }
        self.early.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Errors of `accept` that concern only the client that was to be accepted (accept(2)).
fn is_about_one_client(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(e.kind(), K::ConnectionAborted | K::ConnectionReset | K::Interrupted | K::TimedOut)
        || matches!(
            e.raw_os_error(),
            Some(libc::EPROTO | libc::ENETDOWN | libc::EHOSTUNREACH | libc::ENETUNREACH)
        )
}

/// The addresses of a listener whose host needs no look-up.
fn numeric_addresses(config: &TcpListen) -> Option<Vec<SocketAddr>> {
    let ip = match (&config.host, config.family) {
        (None, Family::V4) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (None, _) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (Some(host), family) => match host.parse::<IpAddr>().ok()? {
            IpAddr::V4(v4) if matches!(family, Family::V6 | Family::V6Mapped) => {
                IpAddr::V6(v4.to_ipv6_mapped())
            }
            ip => ip,
        },
    };
    Some(vec![SocketAddr::new(ip, config.port)])
}

async fn resolve(names: &Names, config: &TcpListen) -> io::Result<Vec<SocketAddr>> {
    let host = config.host.clone().unwrap_or_default();
    let fits = |a: &SocketAddr| match config.family {
        Family::Any => true,
        Family::V4 => a.is_ipv4(),
        Family::V6 | Family::V6Mapped => a.is_ipv6(),
    };
    let mut found: Vec<SocketAddr> = names.find(&host).await?.iter().copied().filter(fits).collect();
    for address in &mut found {
        address.set_port(config.port);
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        let kind = if config.family == Family::V4 { "IPv4" } else { "IPv6" };
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("'{host}' has no {kind} address")));
    }
    Ok(found)
}

/// All addresses of the machine: one dual-stack socket, or IPv4 alone where there is no IPv6.
fn bind_any(config: &TcpListen, inline_urgent: bool) -> io::Result<TcpListener> {
    let dual = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), config.port);
    match bind_socket(dual, config, inline_urgent, false) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), config.port);
            bind_socket(any, config, inline_urgent, true)
        }
        other => other,
    }
}

fn bind_all(
    addresses: &[SocketAddr],
    config: &TcpListen,
    inline_urgent: bool,
) -> io::Result<Vec<TcpListener>> {
    // mostly there is one; what grows by itself would have room for four
    let mut sockets = Vec::with_capacity(addresses.len());
    for addr in addresses {
        sockets.push(bind_one(*addr, config, inline_urgent)?);
    }
    Ok(sockets)
}

fn bind_one(addr: SocketAddr, config: &TcpListen, inline_urgent: bool) -> io::Result<TcpListener> {
    let mapped = matches!(addr.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    bind_socket(addr, config, inline_urgent, config.family != Family::V6Mapped && !mapped)
}

fn bind_socket(
    addr: SocketAddr,
    config: &TcpListen,
    inline_urgent: bool,
    v6_only: bool,
) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    if config.reuseaddr {
        socket.set_reuse_address(true)?;
    }
    set_for_clients(&socket, config, inline_urgent)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets what every client's socket is to have: accepted sockets inherit it, so that it costs
/// nothing when a client comes (tcp(7), and socket(7) for the rest; Linux does so for all of these).
fn set_for_clients(socket: &Socket, config: &TcpListen, inline_urgent: bool) -> io::Result<()> {
    let (idle, interval, probes) = KEEPALIVE;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes),
    )?;
    socket.set_tcp_nodelay(config.nodelay)?;
    socket.set_out_of_band_inline(inline_urgent)
}

/// A text for a bind error that says what to do.
pub fn bind_error_text(config: &TcpListen, error: &io::Error) -> String {
    let host = config.host.as_deref().unwrap_or("*");
    let hint = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "another program listens there; 'ss -ltnp' tells which".to_owned(),
        Some(libc::EACCES) => format!(
            "ports below 1024 are reserved: use a higher one or give the program CAP_NET_BIND_SERVICE (port {})",
            config.port
        ),
        Some(libc::EADDRNOTAVAIL) => "this machine does not have that address (yet)".to_owned(),
        _ => "it is tried again".to_owned(),
    };
    format!("cannot listen on {host},{}: {error}: {hint}", config.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::future::poll_fn;

    fn config(host: Option<&str>, family: Family, port: u16) -> TcpListen {
        TcpListen { family, host: host.map(Into::into), port, nodelay: true, reuseaddr: true }
    }

    async fn first(listener: &mut Listener) -> Event {
        poll_fn(|cx| listener.poll(cx)).await
    }

    #[tokio::test]
    async fn omitted_host_takes_both_families() {
        let mut listener =
            Listener::start(config(None, Family::Any, 0), false, Duration::from_secs(1), Arc::default());
        assert!(matches!(first(&mut listener).await, Event::Up));
        let port = listener.addresses()[0].port();
        for host in ["127.0.0.1", "::1"] {
            let ip: IpAddr = host.parse().unwrap();
            let _client = TcpStream::connect((ip, port)).await.unwrap();
            assert!(matches!(first(&mut listener).await, Event::Client(..)), "{host}");
        }
    }

    #[tokio::test]
    async fn clients_have_what_the_listening_socket_has() {
        for (nodelay, inline_urgent) in [(true, false), (false, true)] {
            let config = TcpListen { nodelay, ..config(Some("127.0.0.1"), Family::Any, 0) };
            let mut listener = Listener::start(config, inline_urgent, Duration::from_secs(1), Arc::default());
            assert!(matches!(first(&mut listener).await, Event::Up));
            let _client = TcpStream::connect(listener.addresses()[0]).await.unwrap();
            let Event::Client(stream, _) = first(&mut listener).await else { panic!("no client") };
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_nodelay().unwrap(), nodelay);
            assert_eq!(socket.out_of_band_inline().unwrap(), inline_urgent);
            assert!(socket.keepalive().unwrap());
            let probing = (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
            );
            assert_eq!(probing, KEEPALIVE);
        }
    }

    #[tokio::test]
    async fn families_are_kept_apart() {
        let mut v6 = Listener::start(
            config(Some("::1"), Family::V6, 0),
            false,
            Duration::from_secs(1),
            Arc::default(),
        );
        assert!(matches!(first(&mut v6).await, Event::Up));
        let port = v6.addresses()[0].port();
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
        let mut v4 = Listener::start(
            config(Some("127.0.0.1"), Family::Any, port),
            false,
            Duration::from_secs(1),
            Arc::default(),
        );
        assert!(matches!(first(&mut v4).await, Event::Up));
    }

    #[tokio::test]
    async fn names_are_resolved_and_a_wrong_one_is_told() {
        let mut listener = Listener::start(
            config(Some("localhost"), Family::V4, 0),
            false,
            Duration::from_secs(1),
            Arc::default(),
        );
        assert!(matches!(first(&mut listener).await, Event::Up));
        let mut wrong = Listener::start(
            config(Some("no.such.host.invalid"), Family::Any, 1),
            false,
            Duration::from_secs(60),
            Arc::default(),
        );
        assert!(matches!(first(&mut wrong).await, Event::Down(_)));
    }

    #[tokio::test]
    async fn a_taken_port_is_tried_again() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let mut listener = Listener::start(
            config(Some("127.0.0.1"), Family::Any, port),
            false,
            Duration::from_millis(10),
            Arc::default(),
        );
        let Event::Down(error) = first(&mut listener).await else { panic!("bound twice") };
        assert!(bind_error_text(listener.config(), &error).contains("another program"));
        drop(holder);
        loop {
            if let Event::Up = first(&mut listener).await {
                break;
            }
        }
    }
}
