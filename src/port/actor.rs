//! The task of a port: its state, and the one poll function that moves everything on.

use super::Command;
use super::ask::Overrides;
use super::batch::Batch;
use super::bell::Bells;
use super::cable::Lookout;
use super::connback::CallBack;
use super::data::UPLINK_CHUNK;
use super::device::DeviceState;
use super::duel::Duels;
use super::environment::Environment;
use super::mailbox::{Handle, Inbox, mailbox};
use super::matcher::Matcher;
use super::outbuf::OutBuf;
use super::session::Session;
use super::tap::Tap;
use super::taps::Taps;
use super::visitors::Leaving;
use crate::alarm::Alarm;
use crate::config::Connection;
use crate::log::RepeatLimiter;
use crate::metrics::{CloseReason, PortState};
use crate::net::listener::Listener;
use crate::net::tls::{self, Acceptor};
use crate::status::{PortInfo, PortReporter};
use crate::timer::PreciseTimer;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, unconstrained};
use tracing::{error, info};

/// Rounds of one poll, with a chunk of each source in each, before the reactor is asked what else is
/// ready. A device that has always more to read would keep the rest waiting: what is to be written
/// to it, its clients, and all other ports of the thread.
const ROUNDS: usize = 2;
/// Time in which everything is closed after [`Command::Shutdown`].
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(800);

/// Whether the port goes on.
#[derive(Debug)]
pub(super) enum Phase {
    Running,
    /// Ends when the last client has left.
    Retiring,
    /// Ends now, by this time at the latest.
    Ending(Instant),
}

/// Everything that a port is.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) env: Arc<Environment>,
    /// Name of the connection; it never changes.
    pub(super) name: Arc<str>,
    pub(super) conn: Arc<Connection>,
    /// Takes the place of `conn` when nobody is connected.
    pub(super) next: Option<Arc<Connection>>,
    pub(super) inbox: Inbox,
    pub(super) listener: Listener,
    pub(super) tls: Option<Acceptor>,
    /// Each in a box: a vector of its own would keep room for four where most ports have one.
    #[allow(clippy::vec_box)]
    pub(super) sessions: Vec<Box<Session>>,
    pub(super) leaving: Vec<Leaving>,
    pub(super) dev: DeviceState,
    /// Bytes for the device that it did not take yet; clients are read only while it is empty, so
    /// one chunk ([`UPLINK_CHUNK`], or `net-to-dev-bufsize`) and the open or close string are the most.
    pub(super) to_dev: OutBuf,
    /// Bytes asked of a client at a time, within `net-to-dev-bufsize`: more while the device takes all of it.
    pub(super) uplink: usize,
    /// Made when the device is opened; `None`: nothing was gathered so far.
    pub(super) batch: Option<Box<Batch>>,
    pub(super) batch_due: Option<Instant>,
    pub(super) batch_timer: Option<Box<PreciseTimer>>,
    pub(super) closeon: Option<Matcher>,
    /// Clients that keep throwing each other out.
    pub(super) duels: Duels,
    /// The connections that the port makes itself.
    pub(super) callback: Option<Box<CallBack>>,
    /// While the device is away, or if it is to be open always.
    pub(super) lookout: Option<Box<Lookout>>,
    /// Those that only watch: trace files and LEDs.
    pub(super) taps: Taps,
    pub(super) phase: Phase,
    pub(super) report: PortReporter,
    /// Complaints of late; none until the first.
    pub(super) errors: Option<Box<RepeatLimiter<&'static str>>>,
    /// What administrators changed.
    pub(super) overrides: Overrides,
    /// Who watches the bytes.
    pub(super) tap: Option<Tap>,
    /// Set by whatever changed the state of the port, clients or device, and what is to happen by
    /// time. A poll ends when a round sets neither this nor `carried`.
    pub(super) moved: bool,
    /// Set when bytes went somewhere, there may be more, and nothing else changed by it.
    pub(super) carried: bool,
    /// Time of this poll.
    pub(super) now: Instant,
    /// For the earliest thing that is to happen by time; an idle port has none.
    pub(super) alarm: Option<Box<Alarm>>,
}

/// Starts the task of a port. Its sockets are bound when this returns, unless a host name must be
/// looked up or binding failed (then it is tried again).
pub fn start(connection: Arc<Connection>, env: impl Into<Arc<Environment>>) -> (Handle, JoinHandle<()>) {
    let (handle, inbox) = mailbox();
    let mut port = Port::new(connection, env.into(), inbox);
    port.start_listening();
    port.begin_lookout();
    port.env.doors.open(&port.name, port.inbox.sender());
    // `ROUNDS` is what keeps a busy port from taking the thread; the runtime's own budget would make
    // sockets look unready in the middle of a round, and bytes would be kept back for nothing
    let task = tokio::spawn(unconstrained(async move {
        let bells = poll_fn(|cx| Poll::Ready(Bells::new(cx.waker()))).await;
        poll_fn(|cx| port.poll(cx, &bells)).await;
        port.env.doors.close(&port.name, &port.inbox.sender());
        info!(port = %port.name, "stopped");
    }));
    (handle, task)
}

impl Port {
    fn new(conn: Arc<Connection>, env: Arc<Environment>, inbox: Inbox) -> Self {
        let report = env.status.register(&env.metrics, info(&conn));
        Self {
            listener: Listener::stopped(conn.accepter.listen.clone(), Arc::clone(&env.names)),
            tls: None,
            sessions: Vec::new(),
            leaving: Vec::new(),
            dev: DeviceState::Closed,
            to_dev: OutBuf::default(),
            uplink: UPLINK_CHUNK,
            batch: None,
            batch_due: None,
            batch_timer: None,
            closeon: None,
            duels: Duels::default(),
            callback: CallBack::new(&conn.options),
            lookout: None,
            taps: Taps::new(&conn.options, &env.leds),
            phase: Phase::Running,
            report,
            errors: None,
            overrides: Overrides::default(),
            tap: None,
            moved: false,
            carried: false,
            now: Instant::now(),
            alarm: None,
            next: None,
            name: conn.name.clone(),
            env,
            conn,
            inbox,
        }
    }

    /// Listens as `conn` says.
    pub(super) fn start_listening(&mut self) {
        if self.overrides.off {
            return;
        }
        self.tls = None;
        if let Some(options) = &self.conn.accepter.tls {
            match tls::acceptor(options) {
                Ok(acceptor) => self.tls = Some(acceptor),
                Err(e) => {
                    // without TLS the port would be open to everybody: rather not at all
                    error!(port = %self.name, "not listening: {e}");
                    self.report.not_listening(Some(e.to_string()));
                    self.listener =
                        Listener::stopped(self.conn.accepter.listen.clone(), Arc::clone(&self.env.names));
                    return;
                }
            }
        }
        self.listener = Listener::start(
            self.conn.accepter.listen.clone(),
            self.conn.accepter.telnet.is_some(),
            self.conn.options.accepter_retry,
            Arc::clone(&self.env.names),
        );
        if self.listener.is_up() {
            self.report.listening();
        }
    }

    /// Reads certificate and key again; new clients get the new ones.
    fn refresh_tls(&mut self) {
        let Some(options) = &self.conn.accepter.tls else { return };
        match tls::acceptor(options) {
            Ok(acceptor) if self.tls.is_some() => self.tls = Some(acceptor),
            Ok(_) => self.start_listening(),
            Err(e) => error!(port = %self.name, "the old certificate stays in use: {e}"),
        }
    }

    /// Moves everything on that can be, and looks at what has rung its bell. While bytes change nothing
    /// else that is one side mostly; what they do change is looked at in another round.
    fn poll(&mut self, cx: &mut Context<'_>, bells: &Bells) -> Poll<()> {
        self.now = Instant::now();
        let mut everything = bells.rest.has_rung() || !self.is_steady();
        let (mut up, mut down) = (bells.clients.has_rung(), bells.device.has_rung());
        if everything || up == down || !self.sides_are_apart() {
            (up, down) = (true, true);
        }
        let mut rearm = false;
        for _ in 0..ROUNDS {
            (self.moved, self.carried) = (false, false);
            if everything {
                self.poll_sources(&mut bells.rest.context());
            }
            if up {
                self.poll_up(&mut bells.clients.context());
            }
            if down {
                self.poll_down(&mut bells.device.context());
            }
            everything |= self.moved;
            rearm |= everything;
            if everything && self.settle(&mut bells.rest.context()) {
                return Poll::Ready(());
            }
            if !self.moved && !self.carried {
                if rearm || self.sessions.iter().any(|session| session.sooner()) {
                    self.set_alarm(&mut bells.rest.context());
                }
                debug_assert!(self.is_armed(), "nothing wakes the port for {:?}", self.next_deadline());
                return Poll::Pending;
            }
            everything = self.moved || !self.is_steady();
            (up, down) = (true, true);
        }
        if rearm {
            bells.rest.keep_rung();
        }
        // there may be more on either, of which nobody tells
        bells.clients.keep_rung();
        bells.device.keep_rung();
        // A task that wakes itself is polled again at once, dozens of times before the reactor is
        // looked at. One that yields comes after the reactor; the yield is pending, and wakes `cx`.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// A side that has not rung its bell has nothing to do: its last look found nothing more, what it
    /// waits for rings its own bell, and nothing is half done. Other connectors, and streams with
    /// filters, read when they are to write, for whichever side that was.
    fn sides_are_apart(&self) -> bool {
        matches!(&self.dev, DeviceState::Open(open) if open.device.is_plain())
            && self.sessions.iter().all(|session| session.backlog() == 0 && session.stream.is_socket())
    }

    /// Bytes go to and fro and nothing else is under way: what is neither byte nor deadline rings the
    /// bell.
    fn is_steady(&self) -> bool {
        matches!(self.dev, DeviceState::Open(_))
            && matches!(self.phase, Phase::Running)
            && self.callback.is_none()
            && self.leaving.is_empty()
    }

    /// Everything that brings something but bytes.
    #[cold]
    fn poll_sources(&mut self, cx: &mut Context<'_>) {
        self.poll_commands(cx);
        self.poll_listener(cx);
        self.poll_device_state(cx);
        self.poll_callback(cx);
        self.poll_lookout(cx);
    }

    /// Does what is due by time, and what follows from all that has happened. True: the port has ended.
    #[cold]
    fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_timers(cx);
        self.reap(cx);
        self.over(cx)
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) {
        // once it ends, a port obeys nobody; its queue, when all handles are gone, is ready for ever
        while !matches!(self.phase, Phase::Ending(_))
            && let Poll::Ready(command) = self.inbox.poll(cx)
        {
            self.moved = true;
            match command {
                Some(Command::Attach(stream, peer)) => self.attach(cx, stream, peer),
                Some(Command::TurnedAway(why, text)) => self.turned_away(why, &text),
                Some(Command::Offer(offer)) => self.offered(cx, *offer),
                Some(Command::Replace(connection)) => {
                    self.next = Some(connection);
                    if !self.sessions.is_empty() {
                        info!(port = %self.name, "configuration changed: takes effect when the last client leaves");
                    }
                }
                Some(Command::Retire(done)) => self.retire(done),
                Some(Command::Disable(done)) => {
                    self.retire(done);
                    self.end_all(CloseReason::Disabled);
                }
                Some(Command::Refresh) => self.refresh_tls(),
                Some(Command::Ask(ask)) => self.asked(ask),
                // nobody can talk to the port any more: end as if asked to
                Some(Command::Shutdown) | None => {
                    self.phase = Phase::Ending(self.now + SHUTDOWN_LIMIT);
                    self.stop_listening();
                    self.taps.port_closed("program shutdown");
                    self.end_all(CloseReason::Shutdown);
                }
            }
        }
    }

    fn retire(&mut self, done: oneshot::Sender<()>) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Retiring;
        }
        self.stop_listening();
        // nobody waiting for it is nobody's loss
        let _ = done.send(());
    }

    pub(super) fn stop_listening(&mut self) {
        self.listener = Listener::stopped(self.conn.accepter.listen.clone(), Arc::clone(&self.env.names));
        self.report.not_listening(None);
    }

    /// Nobody is connected and the device is closed.
    fn idle(&self) -> bool {
        self.sessions.is_empty() && matches!(self.dev, DeviceState::Closed)
    }

    /// Takes what has ended off the port and starts what follows from it.
    fn reap(&mut self, cx: &mut Context<'_>) {
        let mut i = 0;
        while i < self.sessions.len() {
            if let Some(reason) = self.sessions[i].ending {
                let session = self.sessions.remove(i);
                self.leave(cx, session, reason);
                self.moved = true;
            } else {
                i += 1;
            }
        }
        self.poll_leaving(cx);
        if !self.keeps_device() && !self.sessions.iter().any(|s| s.greeted) {
            // newcomers that took the place of kicked clients wait until the device is open again
            self.begin_close(cx);
            self.end_trace();
            self.give_opening_up();
        } else if self.drains_device() {
            self.reset_line();
        }
        self.forget_held();
        if self.idle()
            && let Some(next) = self.next.take()
        {
            self.switch(next);
        }
    }

    /// Runs with `next` from now on; nobody is connected.
    fn switch(&mut self, next: Arc<Connection>) {
        let rebind = next.accepter != self.conn.accepter
            || next.options.accepter_retry != self.conn.options.accepter_retry
            || next.accepter.tls.is_some();
        self.callback = CallBack::new(&next.options);
        if next.connector != self.conn.connector {
            // what is known of a device is not true of another one
            self.report.state(PortState::Closed);
        }
        self.conn = next;
        self.begin_lookout();
        self.taps = Taps::new(&self.conn.options, &self.env.leds);
        self.overrides.timeout = None;
        self.describe();
        self.moved = true;
        if rebind && matches!(self.phase, Phase::Running) {
            // the old sockets go first: the new ones may want the same port
            self.stop_listening();
            self.start_listening();
        }
        info!(port = %self.name, "runs with its new configuration");
    }

    fn over(&mut self, cx: &mut Context<'_>) -> bool {
        match self.phase {
            Phase::Running => false,
            Phase::Retiring => self.idle() && self.leaving.is_empty(),
            Phase::Ending(deadline) => {
                if self.now >= deadline {
                    self.abandon_device(cx);
                    self.leaving.clear();
                }
                self.idle() && self.leaving.is_empty()
            }
        }
    }

    /// Marks every client for leaving.
    #[cold]
    pub(super) fn end_all(&mut self, reason: CloseReason) {
        for session in &mut self.sessions {
            session.ending.get_or_insert(reason);
        }
        self.moved = true;
    }

    /// Tells the table of all ports what this one is.
    pub(super) fn describe(&self) {
        let info = info(&self.conn);
        self.report.describe(PortInfo { enabled: info.enabled && !self.overrides.off, ..info });
    }
}

fn info(conn: &Connection) -> PortInfo {
    PortInfo {
        name: conn.name.clone(),
        accepter: conn.accepter.text.clone(),
        device: conn.connector.label().clone(),
        enabled: conn.enabled,
    }
}
