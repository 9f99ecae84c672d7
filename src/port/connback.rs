//! Connections that the port makes itself (`connback`): when the device sends something, the
//! addresses of the option are connected to.
//!
//! A port with such addresses keeps its device open. What the device sends is kept until every
//! address is connected, the newest [`KEPT`] bytes of it; then it is sent to all of them. They take
//! places of `max-connections` whether they are connected or not.

use super::actor::Port;
use super::device::DeviceState;
use super::session::Session;
use crate::config::{ConnectBack, Destination, Family, Keepalive, Options};
use crate::metrics::{CloseReason, DropDirection, DropReason};
use crate::net::names::Names;
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::net::{care, dial};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::info;

/// Bytes of the device that are kept while not all addresses are connected.
const KEPT: usize = 64 * 1024;
/// Time for looking up a name and connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a failed attempt, doubled with each up to `connector-retry-time`; and the shortest
/// time between two attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Where one address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Not connected.
    Free {
        /// Not to be tried before this time.
        not_before: Option<Instant>,
    },
    Connecting,
    Connected,
}

/// What became of an attempt: a connection, or what stands in the way.
type Attempt = Result<(Stream, Peer), String>;

/// The connections that a port makes.
#[derive(Debug)]
pub(super) struct CallBack {
    lines: Vec<Line>,
    /// Pause after the next failure.
    pause: Duration,
    attempts: JoinSet<(usize, Attempt)>,
    /// What the device sent while not all were connected.
    kept: Vec<u8>,
    /// The device has sent something that is to be heard.
    wanted: bool,
    /// Next attempt to open the device.
    open_at: Option<Instant>,
}

impl CallBack {
    /// For the addresses of these options, if there are any.
    pub(super) fn new(options: &Options) -> Option<Box<Self>> {
        let count = options.connback.len();
        (count > 0).then(|| {
            Box::new(Self {
                lines: vec![Line::Free { not_before: None }; count],
                pause: FIRST_PAUSE,
                attempts: JoinSet::new(),
                kept: Vec::new(),
                wanted: false,
                open_at: None,
            })
        })
    }

    /// All addresses are connected: data flows.
    pub(super) fn complete(&self) -> bool {
        self.lines.iter().all(|line| *line == Line::Connected)
    }

    /// Keeps data for the time when all are connected; returns how many older bytes were dropped.
    fn keep(&mut self, data: &[u8]) -> usize {
        self.wanted = true;
        self.kept.extend_from_slice(data);
        let over = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..over);
        over
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let lines = self.lines.iter().filter_map(|line| match line {
            Line::Free { not_before } if self.wanted => *not_before,
            _ => None,
        });
        lines.chain(self.open_at)
    }
}

/// Connects.
async fn connect(to: ConnectBack, keepalive: Option<Keepalive>, names: Arc<Names>) -> Attempt {
    let attempt = async {
        match to.to {
            Destination::Tcp { family, host, port } => {
                let (stream, peer) = tcp(family, &host, port, keepalive).await.map_err(|e| e.to_string())?;
                // telnet's urgent byte is read where it stands
                SockRef::from(&stream).set_out_of_band_inline(to.telnet).map_err(|e| e.to_string())?;
                Ok((Stream::Tcp(stream), peer.into()))
            }
            Destination::Other(dial) => dial::once(dial, names).await.map_err(|e| e.to_string()),
        }
    };
    let late = || Err(format!("no answer in {} s", CONNECT_LIMIT.as_secs()));
    tokio::time::timeout(CONNECT_LIMIT, attempt).await.unwrap_or_else(|_| late())
}

/// Connects to an address; a name's addresses are tried one after the other.
async fn tcp(
    family: Family,
    host: &str,
    port: u16,
    keepalive: Option<Keepalive>,
) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address of that family");
    for address in tokio::net::lookup_host((host, port)).await? {
        let fits = match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 | Family::V6Mapped => address.is_ipv6(),
        };
        if !fits {
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                care::set(&stream, keepalive);
                let peer = stream.peer_addr()?;
                return Ok((stream, peer));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Port {
    /// Device data is wanted for addresses that are not all connected yet.
    pub(super) fn collects(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| !callback.complete()) && self.keeps_device()
    }

    /// The places of `max-connections` that are not for clients.
    pub(super) fn reserved(&self) -> usize {
        self.conn.options.connback.len()
    }

    /// The device could not be opened or was lost: it is tried again later.
    pub(super) fn reopen_later(&mut self) {
        let at = self.now.checked_add(self.conn.options.connector_retry);
        if let Some(callback) = &mut self.callback {
            callback.open_at = at;
        }
    }

    /// The device is there: it need not be waited for any longer.
    pub(super) fn reopen_now(&mut self) {
        if let Some(callback) = &mut self.callback {
            callback.open_at = None;
        }
    }

    /// When [`Port::poll_callback`] has something to do by time.
    pub(super) fn callback_deadline(&self) -> Option<Instant> {
        let callback = self.callback.as_ref().filter(|_| self.keeps_device())?;
        let now = self.now;
        callback.deadlines().filter(|at| *at > now).min()
    }

    /// Opens the device, begins connections and takes those that were made.
    pub(super) fn poll_callback(&mut self, cx: &mut Context<'_>) {
        if self.callback.is_none() {
            return;
        }
        if !self.keeps_device() {
            // aborts the attempts
            if let Some(callback) = &mut self.callback {
                callback.attempts.abort_all();
                callback.wanted = false;
            }
            if self.guests() == 0 {
                // nobody else would ever close them
                let dialled = |s: &&mut Box<Session>| s.dialled.is_some() && s.ending.is_none();
                for session in self.sessions.iter_mut().filter(dialled) {
                    session.ending = Some(CloseReason::Reloaded);
                    self.moved = true;
                }
            }
            return;
        }
        self.keep_open();
        self.take_connected(cx);
        let Some(callback) = &mut self.callback else { return };
        if !callback.wanted || !matches!(self.dev, DeviceState::Open(_)) {
            return;
        }
        for (index, line) in callback.lines.iter_mut().enumerate() {
            if let Line::Free { not_before } = *line
                && not_before.is_none_or(|at| at <= self.now)
                && let Some(to) = self.conn.options.connback.get(index)
            {
                *line = Line::Connecting;
                let (to, keepalive) = (to.clone(), self.conn.options.keepalive);
                let names = Arc::clone(&self.env.names);
                callback.attempts.spawn(async move { (index, connect(to, keepalive, names).await) });
                self.moved = true;
            }
        }
    }

    fn keep_open(&mut self) {
        let Some(callback) = &mut self.callback else { return };
        if !matches!(self.dev, DeviceState::Closed) || callback.open_at.is_some_and(|at| at > self.now) {
            return;
        }
        callback.open_at = None;
        if self.env.claims.take(&self.conn.connector.text) {
            self.begin_open();
        } else {
            self.complain("claim", "the device is in use by another connection: it is tried again");
            self.reopen_later();
        }
    }

    fn take_connected(&mut self, cx: &mut Context<'_>) {
        while let Some(callback) = &mut self.callback
            && let Poll::Ready(Some(done)) = callback.attempts.poll_join_next(cx)
        {
            self.moved = true;
            let now = self.now;
            // an attempt that was aborted or died has no index: its line is looked for below
            let Ok((index, result)) = done else {
                for line in &mut callback.lines {
                    if *line == Line::Connecting {
                        *line = Line::Free { not_before: Some(now + FIRST_PAUSE) };
                    }
                }
                continue;
            };
            let Some(to) = self.conn.options.connback.get(index).cloned() else { continue };
            match result {
                Ok((stream, peer)) => self.connected_back(cx, index, &to, stream, peer),
                Err(error) => {
                    let pause = callback.pause;
                    callback.pause = (pause * 2).min(self.conn.options.connector_retry.max(FIRST_PAUSE));
                    callback.lines[index] = Line::Free { not_before: Some(now + pause) };
                    self.complain("connback", &format!("cannot connect back to {to}: {error}"));
                }
            }
        }
    }

    fn connected_back(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        to: &ConnectBack,
        stream: Stream,
        peer: Peer,
    ) {
        let Some(callback) = &mut self.callback else { return };
        callback.lines[index] = Line::Connected;
        callback.pause = FIRST_PAUSE;
        info!(port = %self.name, %peer, "connected back to {to}");
        self.settled("connback");
        let telnet = to.telnet.then(|| self.conn.accepter.telnet.unwrap_or_default());
        self.join_as(cx, stream, peer, telnet, Some(index));
        let Some(callback) = &mut self.callback else { return };
        if !callback.complete() {
            return;
        }
        callback.wanted = false;
        let kept = std::mem::take(&mut callback.kept);
        for i in 0..self.sessions.len() {
            if self.sessions[i].dialled.is_some() && !self.sessions[i].greeted {
                self.greet(cx, i);
                self.sessions[i].send_data(cx, &kept);
            }
        }
    }

    /// Keeps what the device sent for addresses that are not connected.
    pub(super) fn keep_for_callback(&mut self, data: &[u8]) {
        if !self.collects() {
            return;
        }
        if let Some(callback) = &mut self.callback {
            let dropped = callback.keep(data);
            self.moved = true;
            self.dropped(DropDirection::ToClients, DropReason::NoClient, dropped);
        }
    }

    /// A connection that the port made has ended.
    pub(super) fn callback_left(&mut self, index: usize) {
        let not_before = self.now.checked_add(FIRST_PAUSE);
        if let Some(line) = self.callback.as_mut().and_then(|callback| callback.lines.get_mut(index)) {
            *line = Line::Free { not_before };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_kept() {
        let to = Destination::Tcp { family: Family::Any, host: "h".into(), port: 1 };
        let options = Options { connback: vec![ConnectBack { telnet: false, to }], ..Options::default() };
        let mut callback = CallBack::new(&options).unwrap();
        assert_eq!(callback.keep(b"old"), 0);
        assert_eq!(callback.keep(&vec![b'n'; KEPT - 1]), 2);
        assert_eq!((callback.kept.len(), callback.kept[0], callback.kept[1]), (KEPT, b'd', b'n'));
        assert!(CallBack::new(&Options::default()).is_none());
    }
}
