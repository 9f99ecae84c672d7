//! The client's end of telnet, with RFC 2217 where it was asked for (`telnet`).

use super::filter::Filter;
use super::{Channel, Event, FarLine};
use crate::config::TelnetOptions;
use crate::port::outbuf::OutBuf;
use crate::serial::IoFailure;
use crate::serial::request::Request;
use crate::telnet::{ClientCodec, Heard, escape};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// A server that has not said by then whether it speaks COM-PORT is taken for one that does not.
const NEGOTIATION_LIMIT: Duration = Duration::from_secs(5);
/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;
/// Data escaped at a time.
const ESCAPED: usize = 4 * 1024;
/// Requests kept while the server is asked.
const KEPT_MAX: usize = 64;
/// Events kept for the port; it takes them after every read.
const EVENTS_MAX: usize = 1024;
/// Bytes of requests on their way; with more, requests are not taken.
const OUT_MAX: usize = 16 * 1024;
/// Rounds of reading without data before others have their turn.
const ROUNDS: usize = 16;

/// A channel through telnet.
#[derive(Debug)]
pub(super) struct Telnet {
    below: Box<dyn Channel>,
    codec: ClientCodec,
    /// Ready for the wire.
    out: OutBuf,
    raw: Box<[u8]>,
    events: VecDeque<Event>,
    /// Requests made before the server had answered.
    kept: VecDeque<Request>,
    limit: Option<Pin<Box<Sleep>>>,
    /// The server wants no data for now.
    suspended: bool,
    writer: Option<Waker>,
}

impl Telnet {
    pub(super) fn new(below: Box<dyn Channel>, options: TelnetOptions) -> Self {
        let codec = ClientCodec::new(options);
        let mut opening = Vec::new();
        codec.opening(&mut opening);
        let mut out = OutBuf::default();
        out.push(&opening);
        let limit = codec.agreed().is_none().then(|| Box::pin(sleep(NEGOTIATION_LIMIT)));
        Self {
            below,
            codec,
            out,
            raw: vec![0; CHUNK].into(),
            events: VecDeque::new(),
            kept: VecDeque::new(),
            limit,
            suspended: false,
            writer: None,
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        while !self.out.is_empty() {
            let count = ready!(self.below.poll_write(cx, self.out.pending()))?;
            self.out.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the first `count` bytes of `raw` apart; data goes to `buf`, which has room for them.
    fn decode(&mut self, count: usize, buf: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut wire = Vec::new();
        let raw = std::mem::take(&mut self.raw);
        let mut input = &raw[..count];
        while let Some(heard) = self.codec.next(&mut input, &mut wire) {
            match heard {
                Heard::Data(run) => {
                    buf[filled..filled + run.len()].copy_from_slice(run);
                    filled += run.len();
                }
                Heard::Reply(reply) => self.tell(Event::Reply(reply)),
                Heard::Notice(notice) => self.tell(Event::Notice(notice)),
                Heard::Suspend(suspended) => {
                    self.suspended = suspended;
                    if let Some(writer) = self.writer.take().filter(|_| !suspended) {
                        writer.wake();
                    }
                }
                Heard::ComPort(on) => {
                    self.out.push(&wire);
                    wire.clear();
                    self.settle(on);
                }
            }
        }
        self.raw = raw;
        self.out.push(&wire);
        filled
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        }
    }

    /// The server has said whether it speaks COM-PORT: what was kept for it goes its way.
    fn settle(&mut self, agreed: bool) {
        self.limit = None;
        for request in std::mem::take(&mut self.kept) {
            if !agreed || !self.send(&request) {
                self.tell(Event::Unheard(request));
            }
        }
    }

    fn send(&mut self, request: &Request) -> bool {
        let mut wire = Vec::new();
        let sent = self.out.len() < OUT_MAX && self.codec.request(request, &mut wire);
        self.out.push(&wire);
        sent
    }
}

impl Filter for Telnet {
    fn below(&mut self) -> &mut dyn Channel {
        &mut *self.below
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        if let Some(limit) = &mut self.limit
            && limit.as_mut().poll(cx).is_ready()
        {
            self.codec.give_up();
            self.settle(false);
        }
        for _ in 0..ROUNDS {
            if let Poll::Ready(Err(failure)) = self.poll_out(cx) {
                return Poll::Ready(Err(failure));
            }
            let most = buf.len().min(self.raw.len());
            let count = ready!(self.below.poll_read(cx, &mut self.raw[..most]))?;
            let filled = self.decode(count, buf);
            if filled > 0 {
                // a failure shows with the next call
                let _ = self.poll_out(cx);
                return Poll::Ready(Ok(filled));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        if self.suspended {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ready!(self.poll_out(cx))?;
        let clean = escape::find_iac(data).unwrap_or(data.len());
        if clean > 0 {
            return self.below.poll_write(cx, &data[..clean]);
        }
        let piece = &data[..data.len().min(ESCAPED)];
        let mut wire = Vec::with_capacity(piece.len() * 2);
        self.codec.encode(piece, &mut wire);
        self.out.push(&wire);
        if let Poll::Ready(Err(failure)) = self.poll_out(cx) {
            return Poll::Ready(Err(failure));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        ready!(self.poll_out(cx))?;
        self.below.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a far end that is gone already needs nothing more
        let _ = ready!(self.poll_out(cx));
        self.below.poll_close(cx)
    }

    fn line(&mut self) -> FarLine {
        match self.codec.agreed() {
            Some(true) => FarLine::There,
            Some(false) => FarLine::None,
            None => FarLine::Asked,
        }
    }

    fn request(&mut self, request: &Request) -> bool {
        match Filter::line(self) {
            FarLine::Asked if !matches!(request, Request::SendBreak(_)) => {
                let room = self.kept.len() < KEPT_MAX;
                if room {
                    self.kept.push_back(request.clone());
                }
                room
            }
            _ => self.send(request),
        }
    }

    fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
