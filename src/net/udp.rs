//! UDP accepters: every address that sends a datagram is a client, until it is closed or silent for
//! too long.

use super::peer::Peer;
use super::stream::Stream;
use crate::port::scratch;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::Socket;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut, Read};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{Interest, ReadBuf};
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
    sockets: Vec<Watched>,
    /// By socket and address. Those of clients that are gone are dead.
    clients: HashMap<(usize, SocketAddr), Weak<Waiting>>,
}

/// A socket, and what tells that its queue of errors has something.
struct Watched {
    socket: Arc<UdpSocket>,
    errors: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl Watched {
    fn new(socket: Socket) -> io::Result<Self> {
        // without it nobody would say whose port is closed; a kernel that cannot has no queue
        let wanted = [
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true),
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true),
        ];
        if wanted.iter().all(Result::is_err) {
            debug!("clients of UDP that are gone will not be noticed: {wanted:?}");
        }
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        Ok(Self { errors: errors(Arc::clone(&socket)), socket })
    }
}

/// Ready when the queue of errors has something.
fn errors(socket: Arc<UdpSocket>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        // a reactor that is shutting down tells nothing more
        let _ = socket.ready(Interest::ERROR).await;
    })
}

/// The next address whose port is closed, by the answer of ICMP to an earlier datagram (ip(7),
/// `IP_RECVERR`); other errors are passed over. `WouldBlock`: there is no more.
fn next_closed(socket: &UdpSocket) -> io::Result<SocketAddr> {
    let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    loop {
        // what was sent comes back, which is of no interest
        let mut none = [IoSliceMut::new(&mut [])];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let told = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut none, Some(&mut space), flags)?;
        let refused = told.cmsgs()?.any(|message| match message {
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                i32::try_from(error.ee_errno) == Ok(libc::ECONNREFUSED)
            }
            _ => false,
        });
        let Some(address) = told.address.filter(|_| refused) else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            return Ok(SocketAddrV4::from(*v4).into());
        }
        if let Some(v6) = address.as_sockaddr_in6() {
            return Ok(SocketAddrV6::from(*v6).into());
        }
    }
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: VecDeque<u8>,
    /// It ends like this when it is read to its end.
    ended: Option<io::ErrorKind>,
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

    fn end(&self, how: io::ErrorKind) {
        let mut inner = self.lock();
        inner.ended.get_or_insert(how);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Bound {
    pub(super) fn new(sockets: Vec<Socket>) -> io::Result<Self> {
        let sockets: io::Result<Vec<_>> = sockets.into_iter().map(Watched::new).collect();
        Ok(Self { sockets: sockets?, clients: HashMap::new() })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|s| s.socket.local_addr().ok()).collect()
    }

    /// Takes in what has come. Errors are those of the sockets, except those about datagrams that
    /// were sent earlier.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        let mut ended = false;
        for index in 0..self.sockets.len() {
            ended |= self.poll_errors(cx, index);
        }
        if ended {
            // those are off before somebody new asks for their place
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(Event::Data));
        }
        scratch::with_read(|buf| {
            let mut taken = 0;
            for index in 0..self.sockets.len() {
                while taken < TURN {
                    let mut datagram = ReadBuf::new(buf);
                    match self.sockets[index].socket.poll_recv_from(cx, &mut datagram) {
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

    /// Ends clients whose ports are closed; true when there was one.
    fn poll_errors(&mut self, cx: &mut Context<'_>, index: usize) -> bool {
        let mut found = false;
        while self.sockets[index].errors.as_mut().poll(cx).is_ready() {
            let socket = Arc::clone(&self.sockets[index].socket);
            // whatever else may be wrong there shows when something is sent or received
            let next = || next_closed(&socket).map_err(|_| io::ErrorKind::WouldBlock.into());
            while let Ok(address) = socket.try_io(Interest::ERROR, next) {
                // what else belongs to an IPv6 address need not be the same
                let same = |other: &SocketAddr| (other.ip(), other.port()) == (address.ip(), address.port());
                let clients = self.clients.iter().filter(|((at, other), _)| *at == index && same(other));
                for client in clients.filter_map(|(_, client)| client.upgrade()) {
                    client.end(io::ErrorKind::ConnectionReset);
                    found = true;
                }
                self.clients.retain(|(at, other), _| *at != index || !same(other));
            }
            self.sockets[index].errors = errors(socket);
        }
        found
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
        let client = Client { socket: Arc::clone(&self.sockets[index].socket), address: from, waiting };
        Event::Client(Stream::Udp(Box::new(client)), Peer::Ip(from))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        for client in self.clients.values().filter_map(Weak::upgrade) {
            client.end(io::ErrorKind::ConnectionAborted);
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
        if let Some(how) = inner.ended {
            return Poll::Ready(Err(how.into()));
        }
        if !inner.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            inner.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends a datagram. One that the network does not take is lost without an error; that the client's
    /// port is closed shows when it is read.
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
        bound_to("127.0.0.1")
    }

    fn bound_to(host: &str) -> Bound {
        let place = ListenAddress { family: Family::Any, host: Some(host.into()), port: 0 };
        let targets = bind::numeric(&[place]).unwrap();
        Bound::new(bind::all(&targets, bind::Kind::Udp { reuseaddr: false }).unwrap()).unwrap()
    }

    async fn next(bound: &mut Bound) -> Event {
        poll_fn(|cx| bound.poll(cx)).await.unwrap()
    }

    fn sender(to: SocketAddr) -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind((to.ip(), 0)).unwrap();
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

    async fn who_has_gone_is_ended_and_nobody_else(host: &str) {
        let mut bound = bound_to(host);
        let (gone, stays) = (sender(bound.addresses()[0]), sender(bound.addresses()[0]));
        let mut clients = Vec::new();
        for sender in [&gone, &stays] {
            sender.send(b"x").unwrap();
            let Event::Client(Stream::Udp(client), _) = next(&mut bound).await else { panic!("no client") };
            clients.push(client);
        }
        drop(gone);
        for client in &clients {
            let sent = poll_fn(|cx| client.poll_write(cx, b"anybody there?")).await;
            assert_eq!(sent.unwrap(), 14);
        }
        // it is told without anything more being sent or received
        assert!(matches!(next(&mut bound).await, Event::Data));
        let mut buf = [0; 8];
        assert_eq!(poll_fn(|cx| clients[0].poll_read(cx, &mut buf)).await.unwrap(), 1, "what it sent before");
        let end = poll_fn(|cx| clients[0].poll_read(cx, &mut buf)).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        // the other one, and those that come, notice nothing
        stays.send(b"y").unwrap();
        assert!(matches!(next(&mut bound).await, Event::Data));
        assert_eq!(poll_fn(|cx| clients[1].poll_read(cx, &mut buf)).await.unwrap(), 2);
        sender(bound.addresses()[0]).send(b"z").unwrap();
        assert!(matches!(next(&mut bound).await, Event::Client(..)));
    }

    #[tokio::test]
    async fn a_closed_port_ends_its_client_and_no_other() {
        who_has_gone_is_ended_and_nobody_else("127.0.0.1").await;
    }

    #[tokio::test]
    async fn a_closed_port_ends_its_client_over_ipv6_too() {
        who_has_gone_is_ended_and_nobody_else("::1").await;
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
