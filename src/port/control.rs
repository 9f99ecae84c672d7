//! Requests of clients to the device, and their answers.

use super::actor::Port;
use super::device::OpenDevice;
use crate::metrics::{DropDirection, DropReason};
use crate::serial::request::{Purge, Reply, Request};
use crate::serial::settings::{Flow, LineSettings};
use std::task::Context;
use std::time::Duration;
use tracing::debug;

/// How long DTR waits for RTS at most (`dtr-with-rts`): a client that waits for the answer to one
/// before it sends the other takes a round trip of the network, and pyserial up to 0.1 s more.
const DTR_WAITS: Duration = Duration::from_millis(500);

impl Port {
    /// Does what a client asks and answers with what is in force now. As with ser2net, every
    /// client of the port is told of line settings that one of them asks for.
    pub(super) fn request(&mut self, cx: &mut Context<'_>, index: usize, request: Request) {
        self.moved = true;
        if self.ask_far_line(cx, index, &request) {
            return;
        }
        self.answer(cx, index, request);
    }

    /// A client tells the size of its window. Of several clients the last one counts.
    pub(super) fn window(&mut self, columns: u16, rows: u16) {
        if let Some(channel) = self.dev.open().and_then(|open| open.device.channel()) {
            channel.window(columns, rows);
        }
    }

    /// Does what a client asks here.
    pub(super) fn answer(&mut self, cx: &mut Context<'_>, index: usize, request: Request) {
        let line = match self.dev.open() {
            Some(open) => open.line,
            None => self.held_line(),
        };
        let reply = match request {
            Request::Signature => {
                let text = self.signature();
                return self.sessions[index].send_reply(cx, &Reply::Signature(text));
            }
            Request::ClientSignature(text) => {
                return debug!(port = %self.name, "client signature: {}", String::from_utf8_lossy(&text));
            }
            Request::Baud(value) => {
                Reply::Baud(self.set_line(value.map(|baud| LineSettings { baud, ..line }), line).baud)
            }
            Request::Size(value) => {
                Reply::Size(self.set_line(value.map(|size| LineSettings { size, ..line }), line).size)
            }
            Request::Parity(value) => {
                Reply::Parity(self.set_line(value.map(|parity| LineSettings { parity, ..line }), line).parity)
            }
            Request::Stop(value) => {
                Reply::Stop(self.set_line(value.map(|stop| LineSettings { stop, ..line }), line).stop)
            }
            Request::Flow(value) => Reply::Flow(self.set_flow(value, line)),
            Request::InboundFlow(value) => Reply::InboundFlow(self.set_flow(value, line)),
            Request::Break(value) => Reply::Break(self.set_break(value)),
            Request::SendBreak(length) => return self.send_break(length),
            Request::Dtr(Some(true)) if self.dtr_waits() => Reply::Dtr(true),
            Request::Dtr(value) => Reply::Dtr(self.set_modem(value, None).0),
            Request::Rts(value) => Reply::Rts(self.set_modem(None, value).1),
            Request::DtrRts(dtr, rts) => {
                let (dtr, rts) = self.set_modem(Some(dtr), Some(rts));
                self.tell_all(cx, index, &Reply::Dtr(dtr));
                Reply::Rts(rts)
            }
            Request::RtsDtr(rts, dtr) => {
                let (dtr, rts) = self.set_modem(Some(dtr), Some(rts));
                self.tell_all(cx, index, &Reply::Rts(rts));
                Reply::Dtr(dtr)
            }
            Request::Purge(what) => {
                self.purge(what);
                return self.sessions[index].send_reply(cx, &Reply::Purge(what));
            }
            Request::Suspend(suspended) => return self.sessions[index].suspend(cx, suspended),
            Request::ModemMask(mask) => {
                // the codec keeps the mask, and asks for the state next
                return self.sessions[index].send_reply(cx, &Reply::ModemMask(mask));
            }
            Request::LineMask(mask) => {
                self.schedule_look();
                return self.sessions[index].send_reply(cx, &Reply::LineMask(mask));
            }
            Request::PollModem => return self.tell_modem(cx, index),
            Request::PollLine => return self.tell_line(cx, index),
        };
        self.tell_all(cx, index, &reply);
    }

    /// Answers the client that asked and lets the others know.
    pub(super) fn tell_all(&mut self, cx: &mut Context<'_>, asker: usize, reply: &Reply) {
        for (i, session) in self.sessions.iter_mut().enumerate() {
            if i == asker {
                session.send_reply(cx, reply);
            } else {
                session.inform(cx, reply);
            }
        }
    }

    fn signature(&self) -> Vec<u8> {
        match &self.conn.options.signature {
            Some(text) => text.0.clone(),
            None => self.env.signature.as_bytes().to_vec(),
        }
    }

    /// Programs `wanted`, if anything, and tells what is in force.
    pub(super) fn set_line(&mut self, wanted: Option<LineSettings>, line: LineSettings) -> LineSettings {
        let Some(wanted) = wanted else { return line };
        let Some(open) = self.dev.open() else {
            if !self.is_holding() {
                return line;
            }
            self.hold_line(wanted);
            return wanted;
        };
        match open.device.apply(&wanted) {
            Ok(actual) => {
                open.line = actual;
                open.line_changed = true;
                if let Some(batch) = &mut self.batch {
                    batch.set_line(&actual);
                }
                actual
            }
            Err(e) => {
                self.complain("settings", &format!("the device refuses {wanted}: {e}"));
                line
            }
        }
    }

    fn set_flow(&mut self, value: Option<Flow>, line: LineSettings) -> Flow {
        self.set_line(value.map(|flow| LineSettings { flow, ..line }), line).flow
    }

    fn set_break(&mut self, value: Option<bool>) -> bool {
        let Some(open) = self.dev.open() else { return false };
        if let Some(on) = value {
            open.break_until = None;
            match open.device.set_break(on) {
                Ok(()) => open.break_on = on,
                Err(e) => self.complain("break", &format!("the device refuses a break: {e}")),
            }
        }
        self.dev.open().is_some_and(|open| open.break_on)
    }

    fn send_break(&mut self, length: Duration) {
        if self.set_break(Some(true)) {
            let end = self.now + length;
            if let Some(open) = self.dev.open() {
                open.break_until = Some(end);
            }
        }
    }

    /// Whether DTR, which is to be raised, waits for RTS to go down. The circuit of development boards
    /// takes RTS alone for a reset and DTR alone for the choice of the boot loader; both together are
    /// nothing, so a chip that sees them between the two starts its program. RFC 2217 has no request
    /// for both, and a client whose requests come one by one can say it in no other way.
    fn dtr_waits(&mut self) -> bool {
        let now = self.now;
        let wanted = self.conn.options.dtr_with_rts;
        let Some(open) = self.dev.open().filter(|open| wanted && open.has_modem) else { return false };
        let waits = open.dtr_at.is_some() || (open.modem.rts && !open.modem.dtr);
        if waits {
            open.dtr_at = Some(now + DTR_WAITS);
        }
        waits
    }

    /// Sets DTR and RTS in one call and tells their state. A device without modem lines is
    /// answered as if it had them, because clients wait for the answer.
    pub(super) fn set_modem(&mut self, dtr: Option<bool>, rts: Option<bool>) -> (bool, bool) {
        let Some(open) = self.dev.open() else { return self.hold_outputs(dtr, rts) };
        // a DTR that waited goes with RTS, and not at all when it is to be low again
        let waited = (dtr.is_some() || rts.is_some()) && open.dtr_at.take().is_some();
        let dtr = dtr.or(waited.then_some(true));
        open.outputs = (dtr.or(open.outputs.0), rts.or(open.outputs.1));
        if (dtr.is_some() || rts.is_some())
            && let Err(e) = open.device.set_modem(dtr, rts)
            && open.has_modem
        {
            self.complain("modem", &format!("the device refuses DTR or RTS: {e}"));
        }
        self.dev.open().map_or((true, true), |open| open.remember_outputs(dtr, rts))
    }

    pub(super) fn purge(&mut self, what: Purge) {
        if matches!(what, Purge::Receive | Purge::Both) {
            let gone = self.batch.as_mut().map_or(0, |batch| batch.clear());
            self.batch_due = None;
            self.dropped(DropDirection::ToClients, DropReason::Purged, gone);
        }
        if matches!(what, Purge::Transmit | Purge::Both) {
            let gone = self.to_dev.len();
            self.to_dev.clear();
            self.dropped(DropDirection::ToDevice, DropReason::Purged, gone);
        }
        let Some(open) = self.dev.open() else { return };
        if let Err(e) = open.device.purge(what) {
            self.complain("purge", &format!("the device refuses to purge: {e}"));
        }
    }
}

impl OpenDevice {
    /// State of DTR and RTS after they were set; what the driver says where it has modem lines.
    pub(super) fn remember_outputs(&mut self, dtr: Option<bool>, rts: Option<bool>) -> (bool, bool) {
        if self.has_modem
            && let Ok(lines) = self.device.modem_lines()
        {
            self.modem.dtr = lines.dtr;
            self.modem.rts = lines.rts;
        } else {
            self.modem.dtr = dtr.unwrap_or(self.modem.dtr);
            self.modem.rts = rts.unwrap_or(self.modem.rts);
        }
        (self.modem.dtr, self.modem.rts)
    }
}
