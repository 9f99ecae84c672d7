//! One client of a port: its stream, its codec and what could not be sent to it yet.

use super::outbuf::OutBuf;
use super::scratch;
use super::slow::{SLOW_LIMIT, Watch};
use crate::metrics::CloseReason;
use crate::net::stream::Stream;
use crate::serial::request::{Notice, Reply, Request};
use crate::status::ClientReporter;
use crate::telnet::{Codec, escape};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

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
    pub(super) peer: SocketAddr,
    pub(super) stream: Stream,
    pub(super) codec: Option<Box<Codec>>,
    /// Ready for the wire (escaped), not written yet.
    pub(super) out: OutBuf,
    /// Escaped data that came while the client wanted silence.
    parked: OutBuf,
    pub(super) held: Option<Held>,
    /// Its part of metrics and status; none for a client that is only told why it is refused.
    pub(super) report: Option<ClientReporter>,
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
    /// TLS holds bytes that are not on the wire yet.
    unflushed: bool,
    /// While it is far behind.
    pub(super) watch: Option<Watch>,
}

impl Session {
    pub(super) fn new(peer: SocketAddr, stream: Stream, codec: Option<Box<Codec>>, now: Instant) -> Self {
        Self {
            peer,
            stream,
            codec,
            out: OutBuf::default(),
            parked: OutBuf::default(),
            held: None,
            report: None,
            active: now,
            greeted: false,
            suspended: false,
            malformed: 0,
            dialled: None,
            ending: None,
            unflushed: false,
            watch: None,
        }
    }

    /// Sends payload: escapes it where telnet needs that and writes what the socket takes now.
    pub(super) fn send_data(&mut self, cx: &mut Context<'_>, data: &[u8]) {
        if let Some(report) = &self.report {
            report.sent(data.len());
        }
        self.send_escaping(cx, data);
    }

    /// Sends text of ours, escaped as telnet needs it but not counted as payload.
    pub(super) fn send_text(&mut self, cx: &mut Context<'_>, text: &[u8]) {
        self.send_escaping(cx, text);
    }

    fn send_escaping(&mut self, cx: &mut Context<'_>, data: &[u8]) {
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
        while self.out.is_empty() && !wire.is_empty() {
            match self.stream.poll_write(cx, wire) {
                Poll::Ready(Ok(n)) => wire = &wire[n..],
                Poll::Ready(Err(e)) => {
                    self.failed(&e);
                    break;
                }
                Poll::Pending => break,
            }
        }
        self.out.push(wire);
        if matches!(self.stream, Stream::Tls(_)) {
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
            if self.out.len() > SLOW_LIMIT {
                self.ending.get_or_insert(CloseReason::SlowReader);
            }
        }
    }

    /// Writes what waits. Ready when nothing waits any more (or the client is gone).
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.out.is_empty() {
            match self.stream.poll_write(cx, self.out.pending()) {
                Poll::Ready(Ok(n)) => self.out.consume(n),
                Poll::Ready(Err(e)) => {
                    self.failed(&e);
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            match self.stream.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(e)) => self.failed(&e),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// The client took everything and wants more.
    pub(super) fn can_take(&self) -> bool {
        !self.suspended && self.backlog() == 0
    }

    /// Bytes that could not be written yet.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() + self.parked.len()
    }

    /// Like [`Session::unsent`], but not 0 either while TLS holds something back.
    pub(super) fn backlog(&self) -> usize {
        self.unsent() + usize::from(self.unflushed)
    }

    pub(super) fn failed(&mut self, error: &io::Error) {
        self.unflushed = false;
        self.ending.get_or_insert(match error.kind() {
            io::ErrorKind::TimedOut => CloseReason::PeerTimeout,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::PeerReset,
            _ => CloseReason::PeerError,
        });
    }
}
