//! The admin port: a place where administrators look at ports and change them, as ser2net's.
//!
//! [`Server`] listens and starts a task for each session ([`session`]); [`line`] takes input apart,
//! [`command`] does what it says, [`show`] renders ports. Sessions know ports and broker only by
//! the messages that they send to them ([`request`], [`crate::port::ask`]).

pub mod command;
pub mod document;
pub mod line;
pub mod reply;
pub mod request;
pub mod session;
pub mod show;

use crate::config::{Accepter, Admin};
use crate::connect::Filtered;
use crate::log::{LeftOut, RepeatLimiter};
use crate::net::listener::{self, Event, Listener};
use crate::net::names::Names;
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::net::tls::{self, Acceptor};
use crate::net::wrap;
use crate::port::ask::Events;
use crate::port::reception;
use crate::telnet::Codec;
use request::Requests;
use session::{Ended, Link, STALL_LIMIT, serve};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// Administrators at a time.
pub const SESSIONS: usize = 4;
/// What the next one is told; scripts look for it.
const FULL: &[u8] = b"Too many controller ports\r\n";
/// Clients that are being told so, or that have not finished their TLS handshake; above it a
/// client is closed without a word.
const WAITING: usize = 16;
/// Longest wait between attempts to listen.
const RETRY: Duration = Duration::from_secs(10);
/// A complaint that comes again is logged once in this time, with a count.
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);
/// Time that sessions have to end when the program does.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(300);

/// What listener and sessions share.
#[derive(Clone, Debug)]
struct Shared {
    requests: Requests,
    events: Arc<Events>,
    names: Arc<Names>,
    stall: Duration,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// True for sessions that are to end.
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Listening {
    config: Arc<Admin>,
    tls: Option<Arc<Mutex<Acceptor>>>,
    task: JoinHandle<()>,
}

/// The admin port of the program, if it has one.
#[derive(Debug)]
pub struct Server {
    shared: Shared,
    listening: Option<Listening>,
}

impl Server {
    /// No admin port yet. Sessions ask with `requests` and hear of clients from `events`.
    pub fn new(requests: Requests, events: Arc<Events>, names: Arc<Names>) -> Self {
        Self::with_stall_limit(requests, events, names, STALL_LIMIT)
    }

    /// The same; sessions that take nothing for `stall` are closed.
    pub fn with_stall_limit(
        requests: Requests,
        events: Arc<Events>,
        names: Arc<Names>,
        stall: Duration,
    ) -> Self {
        let places = Arc::new(Semaphore::new(SESSIONS));
        let waiting = Arc::new(Semaphore::new(WAITING));
        let stop = watch::Sender::new(false);
        Self { shared: Shared { requests, events, names, stall, places, waiting, stop }, listening: None }
    }

    /// Listens as configured, and nowhere else. An unchanged accepter keeps its socket; sessions
    /// stay, unless there is to be no admin port any more.
    pub async fn apply(&mut self, config: Option<Arc<Admin>>) {
        if let (Some(now), Some(config)) = (&self.listening, &config)
            && now.config == *config
            && !now.task.is_finished()
        {
            refresh(now);
            return;
        }
        if let Some(old) = self.listening.take() {
            old.task.abort();
            // its sockets are closed when it has ended; the end of an aborted task is no news
            let _ = old.task.await;
        }
        let Some(config) = config else {
            self.shared.stop.send_replace(true);
            // sessions of an admin port that comes later do not see this
            self.shared.stop = watch::Sender::new(false);
            return;
        };
        let tls = match config.accepter.tls.as_ref().map(|options| tls::acceptor(options)).transpose() {
            Ok(acceptor) => acceptor.map(|acceptor| Arc::new(Mutex::new(acceptor))),
            Err(e) => {
                error!("no admin port: {e}");
                return;
            }
        };
        let accepter = &config.accepter;
        let names = Arc::clone(&self.shared.names);
        let listener = Listener::start(accepter.listen.clone(), accepter.telnet.is_some(), RETRY, names);
        let door = Door {
            listener,
            config: Arc::clone(&config),
            tls: tls.clone(),
            shared: self.shared.clone(),
            complaints: RepeatLimiter::new(COMPLAINT_WINDOW, 4),
        };
        let task = tokio::spawn(door.run());
        self.listening = Some(Listening { config, tls, task });
    }

    /// Listens no more and ends all sessions, which may still take what was answered to them.
    pub async fn shutdown(self) {
        if let Some(old) = self.listening {
            old.task.abort();
        }
        self.shared.stop.send_replace(true);
        let all = u32::try_from(SESSIONS).unwrap_or(u32::MAX);
        // what is left then ends with the program
        let _ = tokio::time::timeout(SHUTDOWN_LIMIT, self.shared.places.acquire_many(all)).await;
    }
}

/// Reads certificate and key again; when they are bad the old ones stay.
fn refresh(listening: &Listening) {
    if let (Some(options), Some(acceptor)) = (&listening.config.accepter.tls, &listening.tls) {
        match tls::acceptor(options) {
            Ok(new) => *acceptor.lock().unwrap_or_else(PoisonError::into_inner) = new,
            Err(e) => error!("the admin port's old certificate stays in use: {e}"),
        }
    }
}

/// The task that takes clients in.
struct Door {
    listener: Listener,
    config: Arc<Admin>,
    tls: Option<Arc<Mutex<Acceptor>>>,
    shared: Shared,
    complaints: RepeatLimiter<&'static str>,
}

impl Door {
    async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.listener.poll(cx)).await {
                Event::Up => {
                    info!("admin port on {}", listener::places(&self.listener));
                    self.complaints.over(&"bind");
                }
                Event::Down(e) => {
                    let text = listener::bind_error_text(self.listener.config(), &e);
                    self.complain("bind", &text);
                }
                Event::AcceptFailed(e) => {
                    self.complain("accept", &format!("cannot accept clients for now: {e}"));
                }
                Event::NotReached(why) => self.complain("dial", &why),
                Event::Client(stream, peer) => self.welcome(stream, peer),
                // whose bytes they are is woken by them; what is lost is typed again
                Event::Data | Event::Lost(_) => {}
            }
        }
    }

    fn complain(&mut self, kind: &'static str, text: &str) {
        if let Some(left_out) = self.complaints.occurs(&kind, Instant::now()) {
            warn!("admin port: {text}{}", LeftOut(left_out));
        }
    }

    fn welcome(&mut self, stream: Stream, peer: Peer) {
        let allowed = match (peer.ip(), &self.config.allow) {
            (Some(address), Some(nets)) => nets.iter().any(|net| net.contains(&address.ip().to_canonical())),
            _ => true,
        };
        if !allowed {
            return self.complain("allow", &format!("{} is not allowed", peer.host()));
        }
        let Ok(waits) = Arc::clone(&self.shared.waiting).try_acquire_owned() else {
            return self.complain("waiting", "too many clients at once");
        };
        let acceptor =
            self.tls.as_ref().map(|tls| tls.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let telnet = self.config.accepter.telnet;
        let config = Arc::clone(&self.config);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let Some(stream) = vetted(&config.accepter, stream, &peer).await else { return };
            let Some(stream) = handshake(acceptor, stream, &peer).await else { return };
            let Some(stream) = filtered(&config.accepter, stream, &peer).await else { return };
            let mut link = Link::new(stream, telnet.map(|options| Box::new(Codec::new(options))));
            let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
                warn!(%peer, "admin port: all {SESSIONS} places are taken");
                link.send(FULL);
                return link.leave().await;
            };
            drop(waits);
            info!(%peer, "admin connected");
            let stop = shared.stop.subscribe();
            let ended = serve(link, shared.requests, shared.events, shared.stall, stop).await;
            let why = match ended {
                Ended::Left => "closed",
                Ended::Gone => "gone",
                Ended::TooSlow => "closed because it does not read",
                Ended::Stopped => "closed because the admin port is",
            };
            info!(%peer, "admin {why}");
            drop(place);
        });
    }
}

/// The stream of a client that hosts_access(5) lets in; `None`, told in the log, for others.
async fn vetted(accepter: &Accepter, mut stream: Stream, peer: &Peer) -> Option<Stream> {
    let Some(wrapped) = reception::wrapped(&wrap::Files::default(), accepter, true, peer) else {
        return Some(stream);
    };
    let Some(why) = wrapped.objection(&mut stream).await else { return Some(stream) };
    warn!(%peer, "admin port: refused by {why}");
    None
}

/// The stream of a client; `None`, told in the log, when its TLS handshake fails.
async fn handshake(acceptor: Option<Acceptor>, stream: Stream, peer: &Peer) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(stream) };
    acceptor.shake_hands(stream).await.inspect_err(|why| warn!(%peer, "admin port: {why}")).ok()
}

/// The stream of a client with the filters of the accepter; `None`, told in the log, when one of them
/// cannot be.
async fn filtered(accepter: &Accepter, stream: Stream, peer: &Peer) -> Option<Stream> {
    let result = Filtered::over(stream, accepter.filters.as_deref()).await;
    result.inspect_err(|why| warn!(%peer, "admin port: {why}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Family, Listen, ListenAddress, TcpListen, Wrap};
    use request::{Known, Request};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc::Receiver;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A port that nobody listens on.
    async fn free_port() -> u16 {
        tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port()
    }

    fn admin(port: u16) -> Arc<Admin> {
        let host = Some("127.0.0.1".into());
        let addresses = [ListenAddress { family: Family::Any, host, port }].into();
        let (wrap, wrap_name) = (Wrap::Off, "ser2net-control".into());
        let listen = Listen::Tcp(TcpListen { addresses, nodelay: true, reuseaddr: true, wrap, wrap_name });
        let accepter =
            Accepter { text: "x".into(), telnet: None, tls: None, filters: None, listen: Arc::new(listen) };
        Arc::new(Admin { accepter, allow: None })
    }

    /// Answers every question as a broker without ports.
    async fn no_ports(mut requests: Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            if let Request::Ports(answer) = request {
                let _ = answer.send(Vec::<Known>::new());
            }
        }
    }

    async fn start(stall: Duration) -> (Server, u16) {
        let (asking, requests) = Requests::channel();
        tokio::spawn(no_ports(requests));
        let mut server = Server::with_stall_limit(asking, Arc::default(), Arc::default(), stall);
        let port = free_port().await;
        server.apply(Some(admin(port))).await;
        (server, port)
    }

    #[tokio::test]
    async fn who_takes_nothing_loses_its_place() {
        let (server, port) = start(Duration::from_millis(200)).await;
        let mut deaf = Vec::new();
        for _ in 0..SESSIONS {
            let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // until its answers are more than the sockets take and nothing more is read
            let question = "help\r".repeat(1000);
            while let Ok(done) =
                tokio::time::timeout(Duration::from_millis(100), client.write_all(question.as_bytes())).await
            {
                if done.is_err() {
                    break;
                }
            }
            deaf.push(client);
        }
        let again = async {
            loop {
                let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let mut text = [0; 3];
                client.read_exact(&mut text).await.unwrap();
                if text == *PROMPT_TEXT {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, again).await.unwrap();
        drop(deaf);
        server.shutdown().await;
    }

    const PROMPT_TEXT: &[u8; 3] = b"-> ";

    #[tokio::test]
    async fn who_waits_without_a_question_keeps_its_place() {
        let stall = Duration::from_millis(50);
        let (server, port) = start(stall).await;
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::time::sleep(stall * 4).await;
        client.write_all(b"showport x\r").await.unwrap();
        let answer = b"-> showport x\r\nerror: Invalid port number - x\r\n-> ";
        let mut text = vec![0; answer.len()];
        tokio::time::timeout(LIMIT, client.read_exact(&mut text)).await.unwrap().unwrap();
        assert_eq!(text, answer);
        server.shutdown().await;
        let mut rest = Vec::new();
        tokio::time::timeout(LIMIT, client.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert_eq!(rest, b"");
    }
}
