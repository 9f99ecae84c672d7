//! UDP accepters: every address that sends a datagram is a client, until it is closed or silent for
//! too long.

use super::peer::Peer;
use super::stream::Stream;
use crate::port::scratch;
use socket2::Socket;
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tracing::debug;

/// Bytes of a client that wait to be read. A datagram that does not fit any more is lost, as it
/// would be if the kernel's buffer were full; other clients are not held up.
pub const WAITING_LIMIT: usize = 64 * 1024;
/// Most bytes in a datagram (RFC 768, over IPv4).
const DATAGRAM_LIMIT: usize = 65_507;
/// Datagrams that are taken in before others have their turn.
const TURN: usize = 64;
/// A client without a `timeout` that neither sends nor gets anything for this long is forgotten:
/// nobody tells when a UDP client goes away.
pub const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// What the sockets have to tell.
#[derive(Debug)]
pub(super) enum Event {
    /// An address sent that had not been heard of.
    Client(Stream, Peer),
    /// Clients have something to read.
    Data,
    /// A datagram of so many bytes was lost, because its client's are not read fast enough.
    Lost(usize),
}

/// The sockets of an accepter.
#[derive(Debug)]
pub(super) struct Bound {
    sockets: Vec<Arc<UdpSocket>>,
    /// By socket and address. Those of clients that are gone are dead.
    clients: HashMap<(usize, SocketAddr), Weak<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: VecDeque<u8>,
    /// Nobody listens any more.
    closed: bool,
    reader: Option<Waker>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // what is behind this lock is valid after every single assignment
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a datagram; false when there is no room.
    fn add(&self, datagram: &[u8]) -> bool {
        let mut inner = self.lock();
        if inner.bytes.len() + datagram.len() > WAITING_LIMIT {
            return false;
        }
        inner.bytes.extend(datagram);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }
}

impl Bound {
    pub(super) fn new(sockets: Vec<Socket>) -> io::Result<Self> {
        let sockets: io::Result<Vec<_>> =
            sockets.into_iter().map(|s| UdpSocket::from_std(s.into()).map(Arc::new)).collect();
        Ok(Self { sockets: sockets?, clients: HashMap::new() })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|s| s.local_addr().ok()).collect()
    }

    /// Takes in what has come. Errors are those of the sockets, except those about datagrams that
    /// were sent earlier.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        scratch::with_read(|buf| {
            let mut taken = 0;
            for index in 0..self.sockets.len() {
                while taken < TURN {
                    let mut datagram = ReadBuf::new(buf);
                    match self.sockets[index].poll_recv_from(cx, &mut datagram) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(from)) => match self.sort(index, from, datagram.filled()) {
                            Event::Data => taken += 1,
                            other => return Poll::Ready(Ok(other)),
                        },
                        Poll::Ready(Err(e)) if is_about_sending(&e) => taken += 1,
                        Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    }
                }
            }
            if taken > 0 { Poll::Ready(Ok(Event::Data)) } else { Poll::Pending }
        })
    }

    fn sort(&mut self, index: usize, from: SocketAddr, datagram: &[u8]) -> Event {
        if let Some(client) = self.clients.get(&(index, from)).and_then(Weak::upgrade) {
            return if client.add(datagram) { Event::Data } else { Event::Lost(datagram.len()) };
        }
        let waiting = Arc::<Waiting>::default();
        // an empty queue has room for any datagram
        waiting.add(datagram);
        self.clients.retain(|_, client| client.strong_count() > 0);
        self.clients.insert((index, from), Arc::downgrade(&waiting));
        let client = Client { socket: Arc::clone(&self.sockets[index]), address: from, waiting };
        Event::Client(Stream::Udp(Box::new(client)), Peer::Ip(from))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        for client in self.clients.values().filter_map(Weak::upgrade) {
            let mut inner = client.lock();
            inner.closed = true;
            if let Some(reader) = inner.reader.take() {
                reader.wake();
            }
        }
    }
}

/// ICMP's answers to earlier datagrams (ip(7), `IP_RECVERR` and RFC 1122 section 4.1.3.3): the
/// socket is well.
fn is_about_sending(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        e.kind(),
        K::ConnectionRefused
            | K::ConnectionReset
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::Interrupted
    ) || matches!(e.raw_os_error(), Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EMSGSIZE))
}

/// One client. Reading takes what has come for it, writing makes a datagram of each call.
#[derive(Debug)]
pub struct Client {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    waiting: Arc<Waiting>,
}

impl Client {
    pub(super) fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.waiting.lock();
        if !inner.bytes.is_empty() {
            return Poll::Ready(inner.bytes.read(buf));
        }
        if inner.closed {
            let gone = io::Error::new(io::ErrorKind::ConnectionAborted, "the port does not listen any more");
            return Poll::Ready(Err(gone));
        }
        if !inner.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            inner.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends a datagram. One that the network does not take is lost without an error: the client may
    /// be there again for the next.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let datagram = &data[..data.len().min(DATAGRAM_LIMIT)];
        match ready!(self.socket.poll_send_to(cx, datagram, self.address)) {
            Ok(_) => {}
            // that was about an earlier one
            Err(e) if is_about_sending(&e) => {
                let _ = self.socket.try_send_to(datagram, self.address);
            }
            Err(e) => debug!(peer = %self.address, "datagram lost: {e}"),
        }
        Poll::Ready(Ok(datagram.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Family, ListenAddress};
    use crate::net::bind;
    use std::future::poll_fn;
    use std::task::Waker;

    fn bound() -> Bound {
        let place = ListenAddress { family: Family::Any, host: Some("127.0.0.1".into()), port: 0 };
        let targets = bind::numeric(&[place]).unwrap();
        Bound::new(bind::all(&targets, bind::Kind::Udp { reuseaddr: false }).unwrap()).unwrap()
    }

    async fn next(bound: &mut Bound) -> Event {
        poll_fn(|cx| bound.poll(cx)).await.unwrap()
    }

    fn sender(to: SocketAddr) -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        socket
    }

    fn read(client: &Stream) -> Vec<u8> {
        let Stream::Udp(client) = client else { panic!("another stream") };
        let mut buf = [0; 256];
        match client.poll_read(&Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(Ok(n)) => buf[..n].to_vec(),
            _ => Vec::new(),
        }
    }

    #[tokio::test]
    async fn every_address_is_a_client() {
        let mut bound = bound();
        let senders = [sender(bound.addresses()[0]), sender(bound.addresses()[0])];
        let mut clients = Vec::new();
        for (sender, text) in senders.iter().zip(["one", "two"]) {
            sender.send(text.as_bytes()).unwrap();
            let Event::Client(client, peer) = next(&mut bound).await else { panic!("no client") };
            assert_eq!(peer.ip(), sender.local_addr().ok());
            assert_eq!(read(&client), text.as_bytes());
            clients.push(client);
        }
        senders[0].send(b"more").unwrap();
        assert!(matches!(next(&mut bound).await, Event::Data));
        assert_eq!((read(&clients[0]), read(&clients[1])), (b"more".to_vec(), Vec::new()));
        clients.clear();
        senders[0].send(b"again").unwrap();
        assert!(matches!(next(&mut bound).await, Event::Client(..)), "forgotten, so it is new");
        assert_eq!(bound.clients.len(), 1, "those that are gone take no room");
    }

    #[tokio::test]
    async fn what_is_not_read_is_bounded() {
        let mut bound = bound();
        let sender = sender(bound.addresses()[0]);
        sender.send(&vec![7; 40_000]).unwrap();
        let Event::Client(client, _) = next(&mut bound).await else { panic!("no client") };
        sender.send(&vec![7; 40_000]).unwrap();
        assert!(matches!(next(&mut bound).await, Event::Lost(40_000)));
        drop(client);
    }

    #[tokio::test]
    async fn an_icmp_error_stops_nobody() {
        let mut bound = bound();
        let gone = sender(bound.addresses()[0]);
        gone.send(b"x").unwrap();
        let Event::Client(client, _) = next(&mut bound).await else { panic!("no client") };
        drop(gone);
        let Stream::Udp(client) = client else { panic!("another stream") };
        for _ in 0..3 {
            let sent = poll_fn(|cx| client.poll_write(cx, b"anybody there?")).await;
            assert_eq!(sent.unwrap(), 14);
        }
        sender(bound.addresses()[0]).send(b"y").unwrap();
        assert!(matches!(next(&mut bound).await, Event::Client(..)));
    }

    #[tokio::test]
    async fn clients_end_with_the_sockets() {
        let mut bound = bound();
        sender(bound.addresses()[0]).send(b"").unwrap();
        let Event::Client(Stream::Udp(client), _) = next(&mut bound).await else { panic!("no client") };
        drop(bound);
        let end = poll_fn(|cx| client.poll_read(cx, &mut [0; 8])).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
