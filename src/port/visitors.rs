//! Clients come and go: accepting, refusing, kicking, greeting, leaving.

use super::actor::{Phase, Port};
use super::client_text;
use super::device::DeviceState;
use super::duel::Verdict;
use super::reception::{self, Reception};
use super::session::{Care, Session};
use crate::config::TelnetOptions;
use crate::log::{LeftOut, RepeatLimiter};
use crate::metrics::{CloseReason, DropDirection, DropReason, Refusal};
use crate::net::allow;
use crate::net::care;
use crate::net::listener::{self, Event};
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::telnet::Codec;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Time that a client which leaves has for taking what was already sent to it.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
/// Clients that are leaving at the same time; above it the oldest is cut.
const LEAVING_LIMIT: usize = 32;

/// A client that is off the port but has bytes to take.
#[derive(Debug)]
pub(super) struct Leaving {
    session: Box<Session>,
    deadline: Instant,
}

impl Leaving {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// A complaint that comes again is logged once in this time, with a count.
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);
/// Kinds of complaints that are remembered.
const COMPLAINTS: usize = 16;

impl Port {
    pub(super) fn poll_listener(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(event) = self.listener.poll(cx) {
            self.moved = true;
            match event {
                Event::Up => {
                    info!(port = %self.name, "listening on {}", listener::places(&self.listener));
                    self.report.listening();
                    self.settled("bind");
                }
                Event::Down(error) => {
                    let text = listener::bind_error_text(self.listener.config(), &error);
                    self.complain("bind", &text);
                    self.report.not_listening(Some(text));
                }
                Event::AcceptFailed(error) => {
                    self.env.metrics.accept_error();
                    self.complain("accept", &format!("cannot accept clients for now: {error}"));
                }
                Event::NotReached(why) => self.complain("dial", &why),
                Event::Client(stream, peer) => {
                    if matches!(peer, Peer::Dialled(_)) {
                        self.settled("dial");
                    }
                    self.welcome(cx, stream, peer);
                }
                // another round comes, with everybody's turn before the next datagrams
                Event::Data => return,
                Event::Lost(count) => {
                    self.dropped(DropDirection::ToDevice, DropReason::Overrun, count);
                    return;
                }
            }
        }
    }

    /// Logs a problem that may come again and again: at once, then once a minute with a count.
    pub(super) fn complain(&mut self, kind: &'static str, text: &str) {
        let errors =
            self.errors.get_or_insert_with(|| Box::new(RepeatLimiter::new(COMPLAINT_WINDOW, COMPLAINTS)));
        if let Some(left_out) = errors.occurs(&kind, self.now) {
            warn!(port = %self.name, "{text}{}", LeftOut(left_out));
        }
    }

    /// The problem is over: when it comes again, it is logged at once.
    pub(super) fn settled(&mut self, kind: &'static str) {
        if let Some(errors) = &mut self.errors {
            errors.over(&kind);
        }
    }

    /// A fresh stream: address limits first, then what takes time, in a task of its own.
    fn welcome(&mut self, cx: &mut Context<'_>, stream: Stream, peer: Peer) {
        let permitted = peer.ip().is_none_or(|address| allow::permitted(&self.conn.options, &address));
        care::apply(&stream, &self.conn.options);
        if !permitted && self.tls.is_none() {
            return self.refuse(cx, stream, peer, Refusal::NotAllowed);
        }
        if !permitted {
            return self.note_refusal(&peer, Refusal::NotAllowed);
        }
        let tell = self.conn.options.refusal_text;
        let wrapped = reception::wrapped(&self.env.wrap, &self.conn.accepter, tell, &peer);
        let filters = self.conn.accepter.filters.clone();
        let reception = Reception { tls: self.tls.clone(), wrapped, filters };
        if reception.is_needed() {
            let (own, metrics) = (self.inbox.sender(), self.report.metrics().clone());
            tokio::spawn(reception.receive(stream, peer, self.name.clone(), own, metrics));
        } else {
            self.attach(cx, stream, peer);
        }
    }

    /// A client whose handshake is done wants to use the port.
    pub(super) fn attach(&mut self, cx: &mut Context<'_>, stream: Stream, peer: Peer) {
        if !matches!(self.phase, Phase::Running) || self.overrides.off {
            return self.refuse(cx, stream, peer, Refusal::Closing);
        }
        if self.is_full() {
            // one of them may have closed before this one came, which nobody has looked at yet
            self.poll_up(cx);
            if self.is_full()
                && let Err(why) = self.kick(&peer)
            {
                return self.refuse(cx, stream, peer, why);
            }
        }
        if matches!(self.dev, DeviceState::Closed) && !self.env.claims.take(&self.conn.connector.text) {
            return self.refuse(cx, stream, peer, Refusal::DeviceBusy);
        }
        let telnet = self.conn.accepter.telnet;
        self.join(cx, stream, peer, telnet);
    }

    /// A client is on the port from now on; the device's claim is taken.
    pub(super) fn join(
        &mut self,
        cx: &mut Context<'_>,
        stream: Stream,
        peer: Peer,
        telnet: Option<TelnetOptions>,
    ) {
        self.join_as(cx, stream, peer, telnet, None);
    }

    /// The same for a connection that the port made itself: it is greeted when all are there.
    pub(super) fn join_as(
        &mut self,
        cx: &mut Context<'_>,
        stream: Stream,
        peer: Peer,
        telnet: Option<TelnetOptions>,
        dialled: Option<usize>,
    ) {
        let others = self.staying();
        if dialled.is_none() {
            info!(port = %self.name, %peer, "client connected");
        }
        self.env.events.tell(true, &self.name, &peer);
        let report = self.report.client_joined(peer.clone());
        let mut session = self.session(cx, stream, peer, telnet);
        session.dialled = dialled;
        session.report = Some(report);
        self.sessions.push(session);
        self.moved = true;
        match self.dev {
            DeviceState::Closed => self.begin_open(),
            DeviceState::Opening(_, None) => self.opening_hangs(cx),
            _ if dialled.is_some() => {}
            DeviceState::Open(_) if others > 0 || self.keeps_device() => {
                self.greet(cx, self.sessions.len() - 1);
            }
            // greeted when the device is open (again)
            _ => {}
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.guests() + self.reserved() >= self.conn.options.max_connections
    }

    /// Clients that are not about to leave.
    pub(super) fn staying(&self) -> usize {
        self.sessions.iter().filter(|s| s.ending.is_none()).count()
    }

    /// Clients that came by themselves and are not about to leave.
    pub(super) fn guests(&self) -> usize {
        self.sessions.iter().filter(|s| s.ending.is_none() && s.dialled.is_none()).count()
    }

    /// A session with telnet's opening already on its way.
    fn session(
        &mut self,
        cx: &mut Context<'_>,
        stream: Stream,
        peer: Peer,
        telnet: Option<TelnetOptions>,
    ) -> Box<Session> {
        let codec = telnet.map(|options| Box::new(Codec::new(options)));
        let datagram = stream.is_datagrams().then_some(self.conn.options.dev_to_net_bufsize);
        let mut session =
            Box::new(Session::new(peer, stream, codec, Care::new(&self.conn.options), self.now));
        session.datagram = datagram;
        if let Some(codec) = &mut session.codec {
            let mut opening = Vec::new();
            codec.opening(&mut opening);
            session.send_wire(cx, &opening);
        }
        session
    }

    /// Makes room for a newer client: the one goes that has sent nothing for the longest time, the
    /// oldest of those. `Err` with the reason when nobody is to go.
    fn kick(&mut self, newcomer: &Peer) -> Result<(), Refusal> {
        if !self.conn.options.kickolduser {
            return Err(Refusal::PortBusy);
        }
        let candidates = self.sessions.iter_mut().filter(|s| s.ending.is_none() && s.dialled.is_none());
        // the oldest come first, and of equals the first is taken
        let Some(old) = candidates.min_by_key(|s| s.heard) else { return Err(Refusal::PortBusy) };
        let peer = old.peer.clone();
        // only addresses can be told apart
        let verdict = match (newcomer.ip(), peer.ip()) {
            (Some(new), Some(old)) => self.duels.judge(new.ip(), old.ip(), self.now),
            _ => Verdict::Kick,
        };
        match verdict {
            Verdict::Kick => {
                info!(port = %self.name, %peer, "kicked for {newcomer}");
                old.ending = Some(CloseReason::Kicked);
                self.moved = true;
                Ok(())
            }
            Verdict::Begins(length) => {
                warn!(
                    port = %self.name,
                    "{newcomer} and {peer} keep throwing each other out: newcomers of the two are refused for \
                     {length:?}"
                );
                Err(Refusal::HeldOff)
            }
            Verdict::Refuse => Err(Refusal::HeldOff),
        }
    }

    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, stream: Stream, peer: Peer, why: Refusal) {
        self.note_refusal(&peer, why);
        let text = client_text(why);
        if self.conn.options.refusal_text && !text.is_empty() {
            let telnet = self.conn.accepter.telnet;
            let mut session = self.session(cx, stream, peer, telnet);
            session.send_text(cx, text.as_bytes());
            self.let_go(cx, session);
        }
    }

    fn note_refusal(&mut self, peer: &Peer, why: Refusal) {
        self.turned_away(why, &format!("client {} refused: {why}", peer.host()));
    }

    pub(super) fn turned_away(&mut self, why: Refusal, text: &str) {
        self.report.refused(why);
        self.complain(why.as_str(), text);
    }

    /// The device is open: the banner, then data.
    pub(super) fn greet(&mut self, cx: &mut Context<'_>, index: usize) {
        let is_serial = self.conn.connector.device().is_some();
        let line = match self.dev.open() {
            Some(open) => is_serial.then_some(open.line),
            None => is_serial.then(|| self.held_line()),
        };
        let peer = self.sessions[index].peer.clone();
        let banner = self.conn.options.banner.as_ref().map(|t| self.fill(t, Some(&peer), line));
        let session = &mut self.sessions[index];
        if let Some(text) = banner {
            session.send_text(cx, &text);
        }
        session.greeted = true;
        self.taps.client_opened(&peer);
        let session = &mut self.sessions[index];
        session.active = self.now;
        self.moved = true;
    }

    /// Takes a client off the port: logged, counted, and given time to take what is on its way.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>, mut session: Box<Session>, reason: CloseReason) {
        if let Some(mut report) = session.report.take() {
            self.env.events.tell(false, &self.name, &session.peer);
            report.set_reason(reason);
            let (time, from_client, to_client) = report.summary();
            let seconds = time.as_secs_f64();
            info!(
                port = %self.name, peer = %session.peer, from_client, to_client,
                "client left after {seconds:.1} s: {}", reason.describe()
            );
        }
        if session.greeted {
            self.taps.client_closed(reason);
        }
        if session.peer == Peer::Stdio {
            self.env.stdio_left.notify_one();
        }
        if let Some(index) = session.dialled {
            self.callback_left(index);
        }
        self.recognise_at_the_end(&session);
        if session.deaf.is_some() {
            let unread = session.discard_input(cx);
            self.dropped(DropDirection::ToDevice, DropReason::ClientClosed, unread);
        }
        let unsent = session.unsent() + session.lost;
        match reason {
            CloseReason::Kicked
            | CloseReason::PeerReset
            | CloseReason::PeerTimeout
            | CloseReason::PeerError => {
                self.dropped(DropDirection::ToClients, DropReason::ClientClosed, unsent);
            }
            CloseReason::SlowReader => self.dropped(DropDirection::ToClients, DropReason::SlowReader, unsent),
            _ => self.let_go(cx, session),
        }
        self.schedule_look();
    }

    fn let_go(&mut self, cx: &mut Context<'_>, session: Box<Session>) {
        if self.leaving.len() >= LEAVING_LIMIT {
            self.cut(0);
        }
        self.leaving.push(Leaving { session, deadline: self.now + LEAVE_LIMIT });
        self.poll_leaving(cx);
    }

    fn cut(&mut self, index: usize) {
        let left = self.leaving.remove(index).session.unsent();
        self.dropped(DropDirection::ToClients, DropReason::ClientClosed, left);
    }

    pub(super) fn poll_leaving(&mut self, cx: &mut Context<'_>) {
        let mut i = 0;
        while i < self.leaving.len() {
            let Leaving { session, deadline } = &mut self.leaving[i];
            let gone = session.poll_out(cx).is_ready() && session.stream.poll_goodbye(cx).is_ready();
            if gone || *deadline <= self.now {
                self.cut(i);
                self.moved = true;
            } else {
                i += 1;
            }
        }
    }
}
