//! What listens for one accepter, with retries and without a busy loop.

use super::bind::{self, Kind, Target};
use super::dial::{self, Dialler};
use super::names::Names;
use super::peer::Peer;
use super::stdio::Stdio;
use super::stream::Stream;
use super::{udp, unix};
use crate::config::Listen;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

/// Wait after the first failed attempt to bind.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Pause after `accept` failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a listener has to tell.
#[derive(Debug)]
pub enum Event {
    /// A client came.
    Client(Stream, Peer),
    /// Clients of UDP have something to read.
    Data,
    /// So many bytes of a UDP client were lost: they came faster than they could be taken.
    Lost(usize),
    /// What is to be connected to could not be reached; it is tried again.
    NotReached(String),
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
    Resolving(JoinHandle<io::Result<Vec<Target>>>),
    /// Waiting for clients.
    Bound(Sockets),
    /// Waiting for the next attempt.
    Waiting,
    /// Asked to stop.
    Stopped,
}

/// What is bound. What is seldom is in a box, because every port has room for it.
#[derive(Debug)]
enum Sockets {
    Tcp(Box<[TcpListener]>),
    Udp(Box<udp::Bound>),
    Unix(Box<unix::Bound>),
    /// Standard input and output, until they are the client.
    Stdio(Option<Box<Stdio>>),
    /// What connects.
    Dial(Box<Dialler>),
    Dummy,
}

/// The sockets of one accepter.
#[derive(Debug)]
pub struct Listener {
    config: Arc<Listen>,
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
    early: Option<Box<Event>>,
}

impl Listener {
    /// Starts to listen. What needs no look-up of a name is bound before this returns; names are
    /// looked up in the background. Failures are told by [`Listener::poll`] and tried again every
    /// `retry`.
    ///
    /// `inline_urgent`: clients' urgent bytes are read like all others, which telnet needs.
    pub fn start(config: Arc<Listen>, inline_urgent: bool, retry: Duration, names: Arc<Names>) -> Self {
        let mut listener = Self::stopped(config, names);
        (listener.inline_urgent, listener.retry, listener.state) = (inline_urgent, retry, State::Waiting);
        listener.attempt();
        listener
    }

    /// A listener that listens to nothing.
    pub fn stopped(config: Arc<Listen>, names: Arc<Names>) -> Self {
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
    pub fn config(&self) -> &Listen {
        &self.config
    }

    /// True while the sockets are bound.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    /// The addresses that are bound; none where there are no addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.state {
            State::Bound(Sockets::Tcp(sockets)) => {
                sockets.iter().filter_map(|s| s.local_addr().ok()).collect()
            }
            State::Bound(Sockets::Udp(udp)) => udp.addresses(),
            _ => Vec::new(),
        }
    }

    fn attempt(&mut self) {
        self.timer = None;
        if let Some(targets) = bind::numeric(self.config.addresses()) {
            self.bind(&targets);
        } else {
            let (names, config) = (Arc::clone(&self.names), self.config.clone());
            let look_up = async move { bind::resolve(&names, config.addresses()).await };
            self.state = State::Resolving(tokio::spawn(look_up));
        }
    }

    fn bind(&mut self, targets: &[Target]) {
        match self.sockets(targets) {
            Ok(sockets) => {
                self.state = State::Bound(sockets);
                self.early = Some(Box::new(Event::Up));
            }
            Err(error) => self.failed(error),
        }
    }

    fn sockets(&self, targets: &[Target]) -> io::Result<Sockets> {
        Ok(match &*self.config {
            Listen::Tcp(tcp) => {
                let (nodelay, reuseaddr) = (tcp.nodelay, tcp.reuseaddr);
                let kind = Kind::Tcp { nodelay, inline_urgent: self.inline_urgent, reuseaddr };
                let bound = bind::all(targets, kind)?.into_iter();
                Sockets::Tcp(bound.map(|s| TcpListener::from_std(s.into())).collect::<io::Result<_>>()?)
            }
            Listen::Udp(config) => {
                let kind = Kind::Udp { reuseaddr: config.reuseaddr };
                Sockets::Udp(Box::new(udp::Bound::new(bind::all(targets, kind)?)?))
            }
            Listen::Unix(config) => Sockets::Unix(Box::new(unix::Bound::new(config)?)),
            Listen::Stdio(config) => Sockets::Stdio(Some(Box::new(Stdio::take(*config)?))),
            Listen::Dial(dial) => {
                let names = Arc::clone(&self.names);
                Sockets::Dial(Box::new(Dialler::new(Arc::clone(dial), names, self.retry)))
            }
            Listen::Dummy => Sockets::Dummy,
        })
    }

    fn failed(&mut self, error: io::Error) {
        self.state = State::Waiting;
        self.timer = Some(Box::pin(tokio::time::sleep(self.next_retry.min(self.retry))));
        self.next_retry = self.next_retry.saturating_mul(2);
        self.early = Some(Box::new(Event::Down(error)));
    }

    /// The next event. Pending while there is nothing to tell.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.early.take() {
                return Poll::Ready(*event);
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
            let State::Bound(sockets) = &mut self.state else { return self.poll_resolved(cx) };
            return match sockets.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(event)) => Poll::Ready(event),
                Poll::Ready(Err(e)) => {
                    self.timer = Some(Box::pin(tokio::time::sleep_until(Instant::now() + ACCEPT_PAUSE)));
                    cx.waker().wake_by_ref();
                    Poll::Ready(Event::AcceptFailed(e))
                }
            };
        }
    }

    fn poll_resolved(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let State::Resolving(task) = &mut self.state else { return Poll::Pending };
        let Poll::Ready(result) = Pin::new(task).poll(cx) else { return Poll::Pending };
        match result {
            Ok(Ok(targets)) => self.bind(&targets),
            Ok(Err(error)) => self.failed(error),
            Err(join) => self.failed(io::Error::other(join)),
        }
        self.early.take().map_or(Poll::Pending, |event| Poll::Ready(*event))
    }
}

impl Sockets {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        match self {
            Self::Tcp(sockets) => {
                for socket in sockets {
                    let accepted =
                        socket.poll_accept(cx).map_ok(|(s, peer)| (Stream::Tcp(s), Peer::Ip(peer)));
                    if let Poll::Ready(result) = client(cx, accepted) {
                        return Poll::Ready(result);
                    }
                }
                Poll::Pending
            }
            Self::Unix(socket) => {
                let accepted = socket.poll_accept(cx).map_ok(|(s, peer)| (Stream::Unix(s), peer));
                client(cx, accepted)
            }
            Self::Udp(sockets) => sockets.poll(cx).map_ok(|event| match event {
                udp::Event::Client(stream, peer) => Event::Client(stream, peer),
                udp::Event::Data => Event::Data,
                udp::Event::Lost(count) => Event::Lost(count),
            }),
            Self::Stdio(stdio) => match stdio.take() {
                Some(stdio) => Poll::Ready(Ok(Event::Client(Stream::Stdio(stdio), Peer::Stdio))),
                None => Poll::Pending,
            },
            Self::Dial(dialler) => dialler.poll(cx).map(|event| {
                Ok(match event {
                    dial::Event::Client(stream, peer) => Event::Client(stream, peer),
                    dial::Event::Failed(error) => Event::NotReached(error.to_string()),
                })
            }),
            Self::Dummy => Poll::Pending,
        }
    }
}

/// A client that was accepted, or an error that concerns more than the client.
fn client(cx: &Context<'_>, accepted: Poll<io::Result<(Stream, Peer)>>) -> Poll<io::Result<Event>> {
    match accepted {
        Poll::Ready(Err(e)) if is_about_one_client(&e) => {
            // the next in the queue may be well: look again at once
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        other => other.map_ok(|(stream, peer)| Event::Client(stream, peer)),
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

/// Where a listener listens, for people.
pub fn places(listener: &Listener) -> String {
    match listener.config() {
        Listen::Unix(unix) => unix.path.to_string(),
        Listen::Stdio(_) => "standard input and output".to_owned(),
        Listen::Dial(dial) => format!("what it connects to, {}", dial.connector.text),
        Listen::Dummy => "nothing, as it is a dummy".to_owned(),
        Listen::Tcp(_) | Listen::Udp(_) => {
            listener.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        }
    }
}

/// A text for a bind error that says what to do.
pub fn bind_error_text(config: &Listen, error: &io::Error) -> String {
    if let Listen::Unix(unix) = config {
        return format!("cannot listen on {}: {error}: {}", unix.path, unix::hint(unix, error));
    }
    let addresses = config.addresses();
    let Some(first) = addresses.first() else { return format!("cannot use standard input: {error}") };
    let hint = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            let flag = if matches!(config, Listen::Udp(_)) { 'u' } else { 't' };
            format!("another program listens there; 'ss -ln{flag}p' tells which")
        }
        Some(libc::EACCES) => format!(
            "ports below 1024 are reserved: use a higher one or give the program CAP_NET_BIND_SERVICE (port {})",
            first.port
        ),
        Some(libc::EADDRNOTAVAIL) => "this machine does not have that address (yet)".to_owned(),
        _ => "it is tried again".to_owned(),
    };
    let places: Vec<_> =
        addresses.iter().map(|a| format!("{},{}", a.host.as_deref().unwrap_or("*"), a.port)).collect();
    format!("cannot listen on {}: {error}: {hint}", places.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Family, ListenAddress, TcpListen, Wrap};
    use socket2::SockRef;
    use std::future::poll_fn;
    use std::net::IpAddr;
    use tokio::net::TcpStream;

    fn tcp(host: Option<&str>, family: Family, port: u16) -> TcpListen {
        let addresses = [ListenAddress { family, host: host.map(Into::into), port }].into();
        let wrap_name = "ser2net".into();
        TcpListen { addresses, nodelay: true, reuseaddr: true, wrap: Wrap::Off, wrap_name }
    }

    fn config(host: Option<&str>, family: Family, port: u16) -> Arc<Listen> {
        Arc::new(Listen::Tcp(tcp(host, family, port)))
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
            let config =
                Arc::new(Listen::Tcp(TcpListen { nodelay, ..tcp(Some("127.0.0.1"), Family::Any, 0) }));
            let mut listener = Listener::start(config, inline_urgent, Duration::from_secs(1), Arc::default());
            assert!(matches!(first(&mut listener).await, Event::Up));
            let _client = TcpStream::connect(listener.addresses()[0]).await.unwrap();
            let Event::Client(Stream::Tcp(stream), _) = first(&mut listener).await else {
                panic!("no client")
            };
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_nodelay().unwrap(), nodelay);
            assert_eq!(socket.out_of_band_inline().unwrap(), inline_urgent);
            assert!(socket.keepalive().unwrap());
            let probing = (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
            );
            assert_eq!(probing, bind::KEEPALIVE);
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
