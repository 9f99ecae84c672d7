//! The task of one rotator.

use crate::config::{ClientFilters, Rotator};
use crate::connect::Filtered;
use crate::log::{LeftOut, RepeatLimiter};
use crate::metrics::{RotatorMetrics, RotatorRefusal};
use crate::net::listener::{self, Event, Listener};
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::net::tls::{self, Acceptor};
use crate::net::{allow, care};
use crate::port::reception::{self, Wrapped};
use crate::port::{Environment, Guest};
use crate::telnet::Codec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

/// What ser2net tells a client when every connection is in use.
const NO_FREE_PORT: &[u8] = b"No free port found\r\n";
/// What ser2net tells a client whose address is not let in.
const NOT_ALLOWED: &[u8] = b"Accessed denied due to your net address\r\n";
/// Time that a refused client has for taking the reason.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// Refused clients that are told why at the same time; more are closed without a word.
const FAREWELLS: usize = 32;
/// TLS handshakes at the same time; more are closed.
const HANDSHAKES: usize = 128;
/// A complaint that comes again is logged once in this time, with a count.
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);

/// Everything that a rotator is.
pub(super) struct Runner {
    rotator: Arc<Rotator>,
    env: Arc<Environment>,
    told: watch::Receiver<Arc<Rotator>>,
    listener: Listener,
    tls: Option<Acceptor>,
    /// Index of the member that the next client is offered to first.
    next: usize,
    metrics: Arc<RotatorMetrics>,
    errors: RepeatLimiter<&'static str>,
    farewells: JoinSet<()>,
    handshakes: JoinSet<()>,
    /// Clients whose handshake is done.
    shaken: (mpsc::Sender<Guest>, mpsc::Receiver<Guest>),
}

impl Runner {
    /// A rotator whose sockets are bound, unless a name must be looked up or binding failed.
    pub(super) fn new(
        rotator: Arc<Rotator>,
        env: Arc<Environment>,
        told: watch::Receiver<Arc<Rotator>>,
    ) -> Self {
        let mut runner = Self {
            listener: Listener::stopped(rotator.accepter.listen.clone(), Arc::clone(&env.names)),
            metrics: env.metrics.rotator(rotator.name.clone()),
            tls: None,
            next: 0,
            errors: RepeatLimiter::new(COMPLAINT_WINDOW, 16),
            farewells: JoinSet::new(),
            handshakes: JoinSet::new(),
            shaken: mpsc::channel(1),
            rotator,
            env,
            told,
        };
        runner.listen();
        runner
    }

    fn listen(&mut self) {
        if let Some(options) = &self.rotator.accepter.tls {
            match tls::acceptor(options) {
                Ok(acceptor) => self.tls = Some(acceptor),
                Err(e) => {
                    // without TLS it would be open to everybody: rather not at all
                    error!(rotator = %self.rotator.name, "not listening: {e}");
                    return self.metrics.listening(false, Some(e.to_string()));
                }
            }
        }
        self.listener = Listener::start(
            self.rotator.accepter.listen.clone(),
            self.rotator.accepter.telnet.is_some(),
            self.rotator.options.accepter_retry,
            Arc::clone(&self.env.names),
        );
        self.metrics.listening(self.listener.is_up(), None);
    }

    /// Runs until the task is aborted, or nobody can tell it anything any more.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                event = poll_fn(|cx| self.listener.poll(cx)) => self.event(event).await,
                Some(guest) = self.shaken.1.recv() => self.place(guest).await,
                changed = self.told.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.rotator = self.told.borrow_and_update().clone();
                    self.refresh_tls();
                }
                Some(_) = self.farewells.join_next() => {}
                Some(_) = self.handshakes.join_next() => {}
            }
        }
    }

    fn refresh_tls(&mut self) {
        let Some(options) = &self.rotator.accepter.tls else { return };
        match tls::acceptor(options) {
            Ok(acceptor) if self.tls.is_some() => self.tls = Some(acceptor),
            Ok(_) => self.listen(),
            Err(e) => error!(rotator = %self.rotator.name, "the old certificate stays in use: {e}"),
        }
    }

    async fn event(&mut self, event: Event) {
        let name = &self.rotator.name;
        match event {
            Event::Up => {
                let addresses: Vec<_> = self.listener.addresses().iter().map(ToString::to_string).collect();
                info!(rotator = %name, "listening on {}", addresses.join(" and "));
                self.metrics.listening(true, None);
                self.errors.over(&"bind");
            }
            Event::Down(error) => {
                let text = listener::bind_error_text(self.listener.config(), &error);
                self.complain("bind", &text);
                self.metrics.listening(false, Some(text));
            }
            Event::AcceptFailed(error) => {
                self.env.metrics.accept_error();
                self.complain("accept", &format!("cannot accept clients for now: {error}"));
            }
            Event::NotReached(why) => self.complain("dial", &why),
            Event::Client(stream, peer) => self.welcome(stream, peer).await,
            // whose bytes they are is woken by them
            Event::Data => {}
            Event::Lost(count) => {
                self.complain("overrun", &format!("{count} bytes of datagrams came too fast and are lost"));
            }
        }
    }

    fn complain(&mut self, kind: &'static str, text: &str) {
        if let Some(left_out) = self.errors.occurs(&kind, Instant::now()) {
            warn!(rotator = %self.rotator.name, "{text}{}", LeftOut(left_out));
        }
    }

    async fn welcome(&mut self, stream: Stream, peer: Peer) {
        let accepter = &self.rotator.accepter;
        let options = &self.rotator.options;
        let permitted = peer.ip().is_none_or(|address| allow::permitted(options, &address));
        care::apply(&stream, options);
        let telnet = accepter.telnet;
        let wrapped = reception::wrapped(&self.env.wrap, accepter, options.refusal_text, &peer);
        let tls = self.tls.clone();
        if !permitted && tls.is_some() {
            return self.note_refusal(&peer, RotatorRefusal::NotAllowed);
        }
        if !permitted {
            return self.refuse(Guest { stream, peer, telnet }, RotatorRefusal::NotAllowed, NOT_ALLOWED);
        }
        let filters = accepter.filters.clone();
        if tls.is_none() && wrapped.is_none() && filters.is_none() {
            return self.place(Guest { stream, peer, telnet }).await;
        }
        if self.handshakes.len() >= HANDSHAKES {
            return self.note_refusal(&peer, RotatorRefusal::Tls);
        }
        let (ready, metrics, name) = (self.shaken.0.clone(), self.metrics.clone(), self.rotator.name.clone());
        self.handshakes.spawn(async move {
            match received(stream, &peer, wrapped, tls, filters).await {
                Ok(stream) => {
                    // a rotator that has ended drops the client
                    let _ = ready.send(Guest { stream, peer, telnet }).await;
                }
                Err((why, text)) => {
                    metrics.refused(why);
                    warn!(rotator = %name, %peer, "{text}");
                }
            }
        });
    }

    /// Gives the client to the first connection that is free, beginning behind the one used last.
    async fn place(&mut self, mut guest: Guest) {
        let rotator = Arc::clone(&self.rotator);
        let peer = guest.peer.clone();
        for turn in 0..rotator.members.len() {
            let index = (self.next + turn) % rotator.members.len();
            let member = &rotator.members[index];
            match self.env.doors.offer(member, guest).await {
                None => {
                    self.next = index + 1;
                    self.metrics.connected();
                    info!(rotator = %rotator.name, %peer, "client goes to {member}");
                    return;
                }
                Some(back) => guest = back,
            }
        }
        self.refuse(guest, RotatorRefusal::NoFreePort, NO_FREE_PORT);
    }

    fn note_refusal(&mut self, peer: &Peer, why: RotatorRefusal) {
        self.metrics.refused(why);
        self.complain(why.as_str(), &format!("client {} refused: {why}", peer.host()));
    }

    /// Tells the client why it is turned away, as telnet wants it, and closes it.
    fn refuse(&mut self, guest: Guest, why: RotatorRefusal, text: &[u8]) {
        self.note_refusal(&guest.peer, why);
        if !self.rotator.options.refusal_text || self.farewells.len() >= FAREWELLS {
            return;
        }
        let mut words = Vec::new();
        if let Some(telnet) = guest.telnet {
            Codec::new(telnet).opening(&mut words);
        }
        // nothing in the texts would have to be escaped
        words.extend_from_slice(text);
        let mut stream = guest.stream;
        self.farewells.spawn(async move {
            let mut sent = 0;
            let told = poll_fn(|cx| farewell(cx, &mut stream, &words, &mut sent));
            // a client that does not listen is closed all the same
            let _ = tokio::time::timeout(FAREWELL_LIMIT, told).await;
        });
    }
}

/// What takes time before a client can be given to a port: hosts_access(5), then TLS and filters. `Err` with what is
/// to be counted and logged.
async fn received(
    mut stream: Stream,
    peer: &Peer,
    wrapped: Option<Wrapped>,
    tls: Option<Acceptor>,
    filters: Option<Box<ClientFilters>>,
) -> Result<Stream, (RotatorRefusal, String)> {
    if let Some(wrapped) = wrapped
        && let Some(why) = wrapped.objection(&mut stream).await
    {
        return Err((RotatorRefusal::NotAllowed, format!("client {} refused by {why}", peer.host())));
    }
    if let Some(acceptor) = tls {
        stream = acceptor.shake_hands(stream).await.map_err(|why| (RotatorRefusal::Tls, why))?;
    }
    let filtered = Filtered::over(stream, filters.as_deref()).await;
    filtered.map_err(|why| (RotatorRefusal::Filter, why.to_string()))
}

/// Writes `words` from `sent` on and says goodbye. Errors end it: the client has gone.
fn farewell(cx: &mut Context<'_>, stream: &mut Stream, words: &[u8], sent: &mut usize) -> Poll<()> {
    while *sent < words.len() {
        match ready!(stream.poll_write(cx, &words[*sent..])) {
            Ok(count) if count > 0 => *sent += count,
            _ => return Poll::Ready(()),
        }
    }
    if ready!(stream.poll_flush(cx)).is_err() {
        return Poll::Ready(());
    }
    stream.poll_goodbye(cx).map(|_| ())
}
