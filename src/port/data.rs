//! Payload between the device and the clients: the hot path.

use super::actor::Port;
use super::batch::Decision;
use super::device::DeviceState;
use super::scratch;
use super::session::Held;
use super::tap::Side;
use crate::metrics::{CloseReason, Direction, DropDirection, DropReason};
use crate::serial::IoFailure;
use crate::serial::request::Request;
use crate::telnet::{Item, TELNET_BREAK};
use crate::timer::PreciseTimer;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Bytes taken from a client at a time, at the least. ser2net's `net-to-dev-bufsize` is 64 by default;
/// the option raises this bound but does not lower it, because small reads only cost time.
pub(super) const UPLINK_CHUNK: usize = 8 * 1024;
/// A client with so many bytes of answers to take is not read: it could otherwise ask without end
/// and never listen.
const ANSWERS_LIMIT: usize = 64 * 1024;
/// A request waits so long for the data before it; a device that takes nothing must not keep
/// a client from resetting it.
pub(super) const HELD_LIMIT: Duration = Duration::from_secs(1);

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// Nothing: the task is woken when there is something. Or the end, which is seen to elsewhere.
    Nothing,
    /// Less than was asked for, so all that there was.
    Short,
    /// There may be more.
    Full,
}

impl Chunk {
    fn of(count: usize, asked: usize) -> Self {
        if count < asked { Self::Short } else { Self::Full }
    }
}

impl Port {
    /// Clients to device, a chunk of each. Clients are read only while nothing waits for the device.
    pub(super) fn poll_up(&mut self, cx: &mut Context<'_>) {
        self.flush_to_device(cx);
        for i in 0..self.sessions.len() {
            if self.sessions[i].held.is_some() {
                self.resume_held(cx, i);
            }
            if !self.sessions[i].greeted {
                self.look_who_waits(cx, i);
            }
            let chunk = self.read_client(cx, i);
            self.carried |= self.goes_on(chunk, |port| port.read_client(cx, i));
        }
    }

    /// Whether another round is to follow because of `chunk`. After a short one that is found out by
    /// reading `again`: mostly there is nothing, and the task is woken for more, which would otherwise
    /// take the round. While something waits for the device it may have room by then.
    fn goes_on(&mut self, chunk: Chunk, again: impl FnOnce(&mut Self) -> Chunk) -> bool {
        match chunk {
            Chunk::Nothing => false,
            Chunk::Short if self.to_dev.is_empty() => again(self) != Chunk::Nothing,
            Chunk::Short | Chunk::Full => true,
        }
    }

    /// More of a client is read now.
    fn may_say(&self, index: usize) -> bool {
        let session = &self.sessions[index];
        self.to_dev.is_empty()
            && session.greeted
            && session.ending.is_none()
            && session.held.is_none()
            && session.out.len() <= ANSWERS_LIMIT
    }

    /// A client that has gone while it waited for the device to be opened. One that has sent something
    /// waits on: that is to arrive.
    #[cold]
    fn look_who_waits(&mut self, cx: &mut Context<'_>, index: usize) {
        let session = &mut self.sessions[index];
        let waits = session.ending.is_none() && session.dialled.is_none();
        if waits && session.stream.poll_gone(cx).is_ready() {
            session.ending = Some(CloseReason::Peer);
            self.moved = true;
        }
    }

    /// Reads one chunk of a client, if it may say something now.
    fn read_client(&mut self, cx: &mut Context<'_>, index: usize) -> Chunk {
        if !self.may_say(index) {
            return Chunk::Nothing;
        }
        let most = UPLINK_CHUNK.max(self.conn.options.net_to_dev_bufsize).min(scratch::READ_SIZE);
        let chunk = self.uplink.min(most);
        let brk_on_sync = self.conn.options.brk_on_sync;
        scratch::with_read(|buf| {
            let session = &mut self.sessions[index];
            let synch = session.codec.as_ref().is_some_and(|codec| brk_on_sync || codec.awaits_command());
            let synch = synch || session.unread;
            let read = if synch {
                session.stream.poll_read_urgent(cx, &mut buf[..chunk], session.unread)
            } else {
                session.stream.poll_read(cx, &mut buf[..chunk]).map_ok(|count| (count, false))
            };
            let Poll::Ready(result) = read else { return Chunk::Nothing };
            let result = result.map(|(count, urgent)| {
                session.urgent = urgent && brk_on_sync;
                session.unread = synch && count == chunk;
                count
            });
            match result {
                Ok(0) => {
                    self.moved = true;
                    session.ending.get_or_insert(session.end_reason());
                    Chunk::Nothing
                }
                Ok(n) => {
                    if let Some(report) = &session.report {
                        report.received(n);
                    }
                    self.take_apart(cx, index, &buf[..n]);
                    let read = Chunk::of(n, chunk);
                    if !self.to_dev.is_empty() {
                        // what the device does not take at once has to be copied
                        self.uplink = UPLINK_CHUNK;
                    } else if read == Chunk::Full {
                        self.uplink = most.min(2 * chunk);
                    }
                    read
                }
                Err(e) => {
                    self.moved = true;
                    session.failed(&e);
                    Chunk::Nothing
                }
            }
        })
    }

    /// Takes apart what a client sent.
    fn take_apart(&mut self, cx: &mut Context<'_>, index: usize, input: &[u8]) {
        if !self.sessions[index].recognised {
            self.recognise(index, input);
        }
        if self.sessions[index].codec.is_none() {
            return self.payload(cx, index, input);
        }
        scratch::with_encode(|data| self.decode(cx, index, input, data));
        let session = &mut self.sessions[index];
        let malformed = session.codec.as_ref().map_or(0, |codec| codec.dropped());
        if malformed > session.malformed {
            self.report.metrics().telnet_malformed(malformed - session.malformed);
            session.malformed = malformed;
        }
    }

    /// Decodes what a telnet client sent. The runs of data between two commands are put together in
    /// `gathered`, or else every 0xFF in the data would cost a write of its own.
    fn decode(&mut self, cx: &mut Context<'_>, index: usize, mut input: &[u8], gathered: &mut Vec<u8>) {
        let mut wire = Vec::new();
        loop {
            let session = &mut self.sessions[index];
            let Some(codec) = &mut session.codec else { return };
            let mut item = codec.next(&mut input, &mut wire);
            // RFC 854: a data mark that is the urgent byte makes it a synch
            if std::mem::take(&mut session.urgent) && item == Some(Item::DataMark) {
                item = Some(Item::Request(Request::SendBreak(TELNET_BREAK)));
            }
            if !wire.is_empty() {
                session.send_wire(cx, &wire);
                wire.clear();
            }
            match item {
                Some(Item::Data(data)) if gathered.is_empty() && input.is_empty() => {
                    self.payload(cx, index, data);
                    continue;
                }
                Some(Item::Data(data)) => {
                    gathered.extend_from_slice(data);
                    continue;
                }
                _ if gathered.is_empty() => {}
                _ => {
                    self.payload(cx, index, gathered);
                    gathered.clear();
                }
            }
            match item {
                None => break,
                Some(Item::Request(request)) => {
                    if waits_for_data(&request) && self.has_undelivered(cx) {
                        let held = Held { request, rest: input.to_vec(), since: self.now };
                        self.sessions[index].held = Some(held);
                        self.moved = true;
                        break;
                    }
                    self.request(cx, index, request);
                }
                Some(Item::ComPort(_)) => self.schedule_look(),
                Some(Item::Window(columns, rows)) => self.window(columns, rows),
                // part of a synch: what was before it is not thrown away, as with ser2net
                Some(Item::Data(_) | Item::DataMark) => {}
            }
        }
    }

    /// Goes on with a client whose request had to wait.
    #[cold]
    fn resume_held(&mut self, cx: &mut Context<'_>, index: usize) {
        let now = self.now;
        let ready = |h: &mut Held| now.saturating_duration_since(h.since) >= HELD_LIMIT;
        let empty = !self.has_undelivered(cx);
        let Some(held) = self.sessions[index].held.take_if(|h| empty || ready(h)) else { return };
        self.moved = true;
        self.request(cx, index, held.request);
        self.take_apart(cx, index, &held.rest);
    }

    /// Something that clients sent is neither in the device nor thrown away.
    fn has_undelivered(&mut self, cx: &mut Context<'_>) -> bool {
        !self.to_dev.is_empty() || self.dev.open().is_some_and(|open| open.device.holds_back(cx))
    }

    /// Payload of a client.
    fn payload(&mut self, cx: &mut Context<'_>, index: usize, data: &[u8]) {
        let session = &mut self.sessions[index];
        session.active = self.now;
        session.heard = self.now;
        session.spoke = true;
        session.payload.0 += data.len() as u64;
        let passes = session.stream.passes_up(data);
        self.show(Side::Clients, data);
        if let Some(batch) = &mut self.batch {
            batch.spoken_to();
        }
        if self.is_holding() {
            self.dropped(DropDirection::ToDevice, DropReason::DeviceAway, data.len());
        } else if self.conn.options.no_acc_to_con || !passes {
            self.dropped(DropDirection::ToDevice, DropReason::OneWay, data.len());
        } else {
            self.taps.client_said(data);
            self.write_device(cx, data);
        }
    }

    /// Writes to the device what it takes now and keeps the rest.
    pub(super) fn write_device(&mut self, cx: &mut Context<'_>, mut data: &[u8]) {
        while self.to_dev.is_empty() && !data.is_empty() {
            let DeviceState::Open(open) = &mut self.dev else { break };
            match open.device.poll_write(cx, data) {
                Poll::Ready(Ok(n)) => {
                    self.report.metrics().bytes(Direction::ToDevice, n);
                    self.taps.wrote_device(self.now);
                    data = &data[n..];
                }
                Poll::Ready(Err(e)) => return self.write_failed(cx, &e, data.len()),
                Poll::Pending => {
                    self.moved |= open.stalls(self.now);
                    break;
                }
            }
        }
        self.to_dev.push(data);
    }

    /// Writes what waits for the device.
    pub(super) fn flush_to_device(&mut self, cx: &mut Context<'_>) {
        while !self.to_dev.is_empty() {
            let (DeviceState::Open(open) | DeviceState::Closing(open, _)) = &mut self.dev else { return };
            match open.device.poll_write(cx, self.to_dev.pending()) {
                Poll::Ready(Ok(n)) => {
                    self.report.metrics().bytes(Direction::ToDevice, n);
                    self.taps.wrote_device(self.now);
                    self.to_dev.consume(n);
                    self.carried = true;
                    open.moves();
                }
                Poll::Ready(Err(e)) => return self.write_failed(cx, &e, 0),
                Poll::Pending => {
                    self.moved |= open.stalls(self.now);
                    return;
                }
            }
        }
        if let DeviceState::Open(open) = &mut self.dev
            && let Err(e) = open.device.poll_flush(cx)
        {
            self.write_failed(cx, &e, 0);
        }
    }

    #[cold]
    fn write_failed(&mut self, cx: &mut Context<'_>, error: &IoFailure, unsent: usize) {
        self.dropped(DropDirection::ToDevice, DropReason::DeviceClosed, unsent);
        self.device_lost(cx, error);
    }

    /// Device to clients: first what waits for clients, then a chunk of new data if somebody can
    /// take it.
    pub(super) fn poll_down(&mut self, cx: &mut Context<'_>) {
        for session in &mut self.sessions {
            if session.backlog() > 0 && session.ending.is_none() {
                let before = session.backlog();
                let _ = session.poll_out(cx);
                let written = before.saturating_sub(session.backlog());
                if written > 0 {
                    session.wrote(written, self.now);
                    self.carried = true;
                }
                self.moved |= session.ending.is_some();
            }
        }
        self.poll_batch(cx);
        let chunk = self.read_device(cx);
        self.carried |= self.goes_on(chunk, |port| port.read_device(cx));
        // for what is gathered now the timer was set anew, and does not wake anybody yet
        self.poll_batch(cx);
        self.hear_far_line(cx);
        self.judge_slow();
    }

    /// Reads one chunk of the device, if somebody can take it. It is sent on before the next is read: a
    /// terminal gives at most 4,095 bytes a read(2), and while they are sent the kernel brings
    /// up more; reading on at once would wait for that.
    fn read_device(&mut self, cx: &mut Context<'_>) -> Chunk {
        if !self.device_may_send() {
            self.look_for_loss(cx);
            return Chunk::Nothing;
        }
        scratch::with_read(|buf| {
            let DeviceState::Open(open) = &mut self.dev else { return Chunk::Nothing };
            match open.device.poll_read(cx, buf) {
                Poll::Pending => Chunk::Nothing,
                Poll::Ready(Ok(n)) => {
                    self.report.metrics().bytes(Direction::FromDevice, n);
                    self.taps.read_device(self.now);
                    self.device_sent(cx, &buf[..n]);
                    Chunk::of(n, buf.len())
                }
                Poll::Ready(Err(e)) => {
                    self.device_lost(cx, &e);
                    Chunk::Nothing
                }
            }
        })
    }

    /// A device that is not read may be gone.
    #[cold]
    fn look_for_loss(&mut self, cx: &mut Context<'_>) {
        if let Some(open) = self.dev.open()
            && let Poll::Ready(error) = open.device.poll_gone(cx)
        {
            self.device_lost(cx, &error);
        }
    }

    /// Sends on what the device sent, at once or gathered.
    fn device_sent(&mut self, cx: &mut Context<'_>, data: &[u8]) {
        self.show(Side::Device, data);
        if self.conn.options.no_con_to_acc {
            return self.dropped(DropDirection::ToClients, DropReason::OneWay, data.len());
        }
        self.taps.device_said(data);
        let over = self.closeon.as_mut().is_some_and(|m| m.feed(data));
        match &mut self.batch {
            None => self.publish(cx, data),
            Some(batch) => match batch.decide(data, self.now) {
                Decision::Wait(due) if !over => {
                    batch.hold(data);
                    self.wait_for_batch(due);
                }
                _ if batch.held().is_empty() => self.publish(cx, data),
                _ => {
                    batch.hold(data);
                    self.send_batch(cx);
                }
            },
        }
        if over {
            self.end_all(CloseReason::CloseOn);
        }
    }

    /// Hands data to every client.
    fn publish(&mut self, cx: &mut Context<'_>, data: &[u8]) {
        if self.callback.is_some() {
            self.keep_for_callback(data);
        }
        if self.drains_device() {
            return self.dropped(DropDirection::ToClients, DropReason::Unheard, data.len());
        }
        let mut dropped = 0;
        for session in &mut self.sessions {
            if !session.greeted || session.ending.is_some() {
                continue;
            }
            session.active = self.now;
            dropped += session.send_data(cx, data);
            session.watch(self.now);
            self.moved |= session.ending.is_some();
        }
        self.dropped(DropDirection::ToClients, DropReason::DropOldest, dropped);
    }

    /// Sends what is gathered.
    pub(super) fn send_batch(&mut self, cx: &mut Context<'_>) {
        self.batch_due = None;
        if let Some(timer) = &mut self.batch_timer {
            timer.disarm();
        }
        let Some(batch) = &mut self.batch else { return };
        let held = batch.take();
        if !held.is_empty() {
            self.publish(cx, &held);
        }
        if let Some(batch) = &mut self.batch {
            batch.reuse(held);
        }
    }

    fn wait_for_batch(&mut self, due: Instant) {
        self.batch_due = Some(due);
        if self.batch_timer.is_none() {
            // without a timer descriptor the runtime's clock does, a millisecond coarser
            self.batch_timer = PreciseTimer::new().ok().map(Box::new);
        }
        if let Some(timer) = &mut self.batch_timer
            && timer.arm(due).is_err()
        {
            self.batch_timer = None;
        }
        self.moved |= self.batch_timer.is_none();
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) {
        let Some(due) = self.batch_due else { return };
        if due <= self.now || self.batch_timer.as_mut().is_some_and(|t| t.poll_expired(cx).is_ready()) {
            self.send_batch(cx);
        }
    }
}

/// Whether a request keeps its place behind the data that was sent before it. Settings of the
/// line do; what is meant to help with a stuck device, and what only asks, does not.
fn waits_for_data(request: &Request) -> bool {
    matches!(
        request,
        Request::Baud(Some(_))
            | Request::Size(Some(_))
            | Request::Parity(Some(_))
            | Request::Stop(Some(_))
            | Request::Flow(Some(_))
            | Request::InboundFlow(Some(_))
            | Request::Break(Some(_))
            | Request::SendBreak(_)
            | Request::Dtr(Some(_))
            | Request::Rts(Some(_))
            | Request::DtrRts(..)
            | Request::RtsDtr(..)
    )
}
