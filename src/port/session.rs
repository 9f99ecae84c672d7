//! One client of a port: its stream, its codec and what could not be sent to it yet.

use super::far::Owed;
use super::outbuf::OutBuf;
use super::scratch;
use super::slow::Watch;
use crate::config::{Options, SlowClient};
use crate::metrics::CloseReason;
use crate::net::peer::Peer;
use crate::net::stream::{PeerState, Stream};
use crate::serial::request::{Notice, Reply, Request};
use crate::status::ClientReporter;
use crate::telnet::{Codec, escape};
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A request that waits until the data before it is written, and the input behind it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) request: Request,
    /// Undecoded input; at most one chunk ([`scratch::READ_SIZE`]).
    pub(super) rest: Vec<u8>,
    pub(super) since: Instant,
}

/// An attached client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) stream: Stream,
    pub(super) codec: Option<Box<Codec>>,
    /// Ready for the wire (escaped), not written yet.
    pub(super) out: OutBuf,
    /// Escaped data that came while the client wanted silence.
    parked: OutBuf,
    pub(super) held: Option<Held>,
    /// Its part of metrics and status; none for a client that is only told why it is refused.
    pub(super) report: Option<ClientReporter>,
    /// Payload received from it and text and payload sent to it, without what telnet adds.
    pub(super) payload: (u64, u64),
    /// Last time that data went either way.
    pub(super) active: Instant,
    /// The device is open and the banner is sent: data flows.
    pub(super) greeted: bool,
    /// The client asked for silence (RFC 2217 FLOWCONTROL-SUSPEND).
    suspended: bool,
    /// Malformed subnegotiations that metrics were told of.
    pub(super) malformed: u64,
    /// Which of the `connback` addresses it is; `None`: it came by itself.
    pub(super) dialled: Option<usize>,
    /// Why it is to be taken off the port; looked at when the poll is over.
    pub(super) ending: Option<CloseReason>,
    /// The stream holds bytes that are not on the wire yet.
    unflushed: bool,
    /// Answers that it waits for from the far end of a connector.
    pub(super) owed: Owed,
    /// Most payload bytes in a datagram, where the stream is one of datagrams.
    pub(super) datagram: Option<usize>,
    /// While it is far behind.
    pub(super) watch: Option<Watch>,
    /// Payload that is dropped from the front when it gets too long (`slow-client: drop-oldest`). It
    /// is not escaped yet, so that nothing on the wire is ever cut.
    raw: OutBuf,
    pub(super) care: Care,
    /// Last time that it sent something; when it came if it never did.
    pub(super) heard: Instant,
    pub(super) joined: Instant,
    /// While bytes are on their way to it: when they are to be acknowledged, and since when that
    /// is waited for.
    acks: Option<(Instant, Instant)>,
    /// It does not take anything any more; what it sent before is still read, until this time.
    pub(super) deaf: Option<(CloseReason, Instant)>,
    /// Bytes that it never got, because it went.
    pub(super) lost: usize,
    /// It was looked at whether it speaks what the port expects.
    pub(super) recognised: bool,
    /// It sent data.
    pub(super) spoke: bool,
    /// The last read that looked for an urgent byte filled its buffer.
    pub(super) unread: bool,
    /// The first byte that was read last is urgent.
    pub(super) urgent: bool,
    /// Something is to happen by time that was not to happen before, or later.
    pub(super) rearm: bool,
}

/// How a client is cared for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Care {
    pub(super) slow: SlowClient,
    /// Bytes that are kept for it.
    pub(super) limit: usize,
    user_timeout: Option<Duration>,
}

impl Care {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            slow: options.slow_client,
            limit: options.slow_client_limit,
            user_timeout: options.user_timeout,
        }
    }
}

/// Payload that is escaped at a time when a client that is behind takes some again.
const RAW_PIECE: usize = 16 * 1024;
/// Answers and notices that wait for a client that does not read; beyond it is closed.
const CONTROL_LIMIT: usize = 256 * 1024;
/// Reads of what a client that is given up has left in the system.
const DISCARD_READS: usize = 1024;
/// Time in which what a client sent before it was gone must have been read.
const DEAF_LIMIT: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn new(
        peer: Peer,
        stream: Stream,
        codec: Option<Box<Codec>>,
        care: Care,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            stream,
            codec,
            out: OutBuf::default(),
            parked: OutBuf::default(),
            held: None,
            report: None,
            payload: (0, 0),
            active: now,
            greeted: false,
            suspended: false,
            malformed: 0,
            dialled: None,
            ending: None,
            unflushed: false,
            owed: Owed::default(),
            datagram: None,
            watch: None,
            raw: OutBuf::default(),
            care,
            heard: now,
            joined: now,
            acks: None,
            deaf: None,
            lost: 0,
            recognised: false,
            spoke: false,
            unread: false,
            urgent: false,
            rearm: false,
        }
    }

    /// Sends payload: escapes it where telnet needs that and writes what the socket takes now.
    /// Returns how many bytes of payload had to be dropped.
    pub(super) fn send_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> usize {
        if self.deaf.is_some() {
            return data.len();
        }
        if self.care.slow == SlowClient::DropOldest && (self.suspended || self.unsent() > 0) {
            self.raw.push(data);
            let over = self.raw.len().saturating_sub(self.care.limit);
            self.raw.consume(over);
            return over;
        }
        self.send_now(cx, data);
        0
    }

    fn send_now(&mut self, cx: &mut Context<'_>, data: &[u8]) {
        if let Some(report) = &self.report {
            report.sent(data.len());
        }
        match self.datagram {
            Some(size) => data.chunks(size.max(1)).for_each(|datagram| self.send_escaping(cx, datagram)),
            None => self.send_escaping(cx, data),
        }
    }

    /// Sends text of ours, escaped as telnet needs it but not counted as payload.
    pub(super) fn send_text(&mut self, cx: &mut Context<'_>, text: &[u8]) {
        self.send_escaping(cx, text);
    }

    fn send_escaping(&mut self, cx: &mut Context<'_>, data: &[u8]) {
        self.payload.1 += data.len() as u64;
        if !self.stream.passes_down(data) {
            return;
        }
        if self.codec.is_some() && escape::needs_escape(data) {
            scratch::with_encode(|buf| {
                escape::append(data, buf);
                self.send_escaped(cx, buf);
            });
        } else {
            self.send_escaped(cx, data);
        }
    }

    fn send_escaped(&mut self, cx: &mut Context<'_>, wire: &[u8]) {
        if self.suspended {
            self.parked.push(wire);
        } else {
            self.send_wire(cx, wire);
        }
    }

    /// Holds payload back from now on, or sends what was held back.
    pub(super) fn suspend(&mut self, cx: &mut Context<'_>, suspended: bool) {
        self.suspended = suspended;
        if !suspended {
            let parked = std::mem::take(&mut self.parked);
            self.send_wire(cx, parked.pending());
        }
    }

    /// Sends bytes that are ready for the wire: text, control, escaped payload.
    pub(super) fn send_wire(&mut self, cx: &mut Context<'_>, mut wire: &[u8]) {
        if self.deaf.is_some() || wire.is_empty() {
            return;
        }
        if let (None, Some(limit)) = (self.acks, self.care.user_timeout) {
            let now = Instant::now();
            self.acks = now.checked_add(limit).map(|at| (at, now));
            self.rearm = true;
        }
        while self.out.is_empty() && !wire.is_empty() {
            match self.stream.poll_write(cx, wire) {
                Poll::Ready(Ok(n)) => wire = &wire[n..],
                Poll::Ready(Err(e)) => {
                    self.cannot_send(&e);
                    return;
                }
                Poll::Pending => break,
            }
        }
        self.out.push(wire);
        if self.stream.holds_back() {
            self.unflushed = true;
            let _ = self.poll_out(cx);
        }
    }

    /// Sends an answer; nothing on a client without telnet.
    pub(super) fn send_reply(&mut self, cx: &mut Context<'_>, reply: &Reply) {
        self.send_control(cx, |codec, out| codec.reply(reply, out));
    }

    /// Tells of the answer to another client's request.
    pub(super) fn inform(&mut self, cx: &mut Context<'_>, reply: &Reply) {
        self.send_control(cx, |codec, out| codec.inform(reply, out));
    }

    /// Sends a notice, if the client's mask lets it through or it is `forced`.
    pub(super) fn send_notice(&mut self, cx: &mut Context<'_>, notice: Notice, forced: bool) {
        self.send_control(cx, |codec, out| codec.notice(notice, forced, out));
    }

    fn send_control(&mut self, cx: &mut Context<'_>, encode: impl FnOnce(&mut Codec, &mut Vec<u8>)) {
        let Some(codec) = &mut self.codec else { return };
        let mut wire = Vec::new();
        encode(codec, &mut wire);
        if !wire.is_empty() {
            self.send_wire(cx, &wire);
            // what others of the port ask for is told to this one too, whether it reads or not
            if self.out.len() > CONTROL_LIMIT {
                self.ending.get_or_insert(CloseReason::SlowReader);
            }
        }
    }

    /// Writes what waits. Ready when nothing waits any more (or the client is gone).
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while !self.out.is_empty() {
                match self.stream.poll_write(cx, self.out.pending()) {
                    Poll::Ready(Ok(n)) => self.out.consume(n),
                    Poll::Ready(Err(e)) => {
                        self.cannot_send(&e);
                        return Poll::Ready(());
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.raw.is_empty() || self.suspended {
                break;
            }
            let length = self.raw.len().min(RAW_PIECE);
            let piece = self.raw.pending()[..length].to_vec();
            self.raw.consume(length);
            self.send_now(cx, &piece);
        }
        if self.unflushed {
            match self.stream.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(e)) => self.cannot_send(&e),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// The client took everything and wants more.
    pub(super) fn can_take(&self) -> bool {
        !self.suspended && self.deaf.is_none() && self.backlog() == 0
    }

    /// Bytes that could not be written yet.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() + self.parked.len() + self.raw.len()
    }

    /// Like [`Session::unsent`], but not 0 either while the stream holds something back.
    pub(super) fn backlog(&self) -> usize {
        self.unsent() + usize::from(self.unflushed)
    }

    /// The stream is at its end.
    #[cold]
    pub(super) fn failed(&mut self, error: &io::Error) {
        self.unflushed = false;
        self.ending.get_or_insert(reason(error));
    }

    /// Nothing can be sent any more. What the client sent before may still be in the system.
    #[cold]
    fn cannot_send(&mut self, error: &io::Error) {
        self.unflushed = false;
        if self.deaf.is_none() {
            self.deaf = Some((reason(error), Instant::now() + DEAF_LIMIT));
            self.rearm = true;
        }
        self.lost += self.unsent();
        for queue in [&mut self.out, &mut self.parked, &mut self.raw] {
            queue.clear();
        }
    }

    /// Reads what is left of a client that is given up, and counts it.
    pub(super) fn discard_input(&mut self, cx: &mut Context<'_>) -> usize {
        scratch::with_read(|buf| {
            let mut count = 0;
            // what a socket holds is bounded, and nobody sends any more
            for _ in 0..DISCARD_READS {
                match self.stream.poll_read(cx, buf) {
                    Poll::Ready(Ok(n)) if n > 0 => count += n,
                    _ => break,
                }
            }
            count
        })
    }

    /// Why a client whose stream has ended is gone.
    pub(super) fn end_reason(&self) -> CloseReason {
        self.deaf.map_or(CloseReason::Peer, |(reason, _)| reason)
    }

    /// Whether something may have to happen sooner than was known. What others of the port do counts for
    /// one that is watched.
    pub(super) fn sooner(&self) -> bool {
        self.rearm || self.watch.is_some()
    }

    /// When [`Session::look_at_peer`] has something to do.
    pub(super) fn look_due(&self) -> Option<Instant> {
        [self.acks.map(|(at, _)| at), self.deaf.map(|(_, until)| until)].into_iter().flatten().min()
    }

    /// Takes a client for dead that has not acknowledged anything for `user-timeout`, and ends one
    /// that can neither be sent to nor read to its end.
    pub(super) fn look_at_peer(&mut self, now: Instant) {
        if let Some((reason, until)) = self.deaf {
            if until <= now {
                self.ending.get_or_insert(reason);
            }
            self.acks = None;
            return;
        }
        let (Some((at, since)), Some(limit)) = (self.acks, self.care.user_timeout) else { return };
        if at > now {
            return;
        }
        self.acks = match self.stream.peer_state() {
            PeerState::UpToDate => None,
            PeerState::Closed => now.checked_add(limit).map(|at| (at, now)),
            PeerState::Silent(time) => {
                // what was acknowledged before the bytes were sent says nothing about them
                let silent = time.min(now.saturating_duration_since(since));
                if let Some(left) = limit.checked_sub(silent).filter(|left| !left.is_zero()) {
                    now.checked_add(left.max(LOOK_AGAIN)).map(|at| (at, since))
                } else {
                    self.ending.get_or_insert(CloseReason::PeerTimeout);
                    None
                }
            }
        };
    }
}

/// Shortest time between two looks at what a client acknowledged.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::TimedOut => CloseReason::PeerTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::PeerReset,
        _ => CloseReason::PeerError,
    }
}
