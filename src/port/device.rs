//! The device of a port through its life: opening, open, draining, closed, lost.

use super::actor::{Phase, Port};
use super::batch::Batch;
use super::matcher::Matcher;
use super::template;
use crate::clock::LocalTime;
use crate::config::Template;
use crate::metrics::{CloseReason, DeviceFailure, DropDirection, DropReason, PortState, SerialError};
use crate::serial::request::Notice;
use crate::serial::settings::LineSettings;
use crate::serial::{Counters, Device, IoFailure, ModemLines, OpenError, OpenErrorKind, Opened};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// How often modem lines and error counters are looked at; ser2net looks once a second too.
const LOOK: Duration = Duration::from_secs(1);
/// How often the driver is asked whether its output is out while a device is being closed.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// A device that takes nothing for so long while it is being closed is given up.
const DRAIN_STALL: Duration = Duration::from_secs(5);

/// Where the device of a port stands.
#[derive(Debug)]
pub(super) enum DeviceState {
    Closed,
    /// open(2) of a tty may block: it runs on a thread of its own.
    Opening(JoinHandle<Result<Opened, OpenError>>),
    Open(Box<OpenDevice>),
    /// No client any more; the device is given what it has not taken yet.
    Closing(Box<OpenDevice>, Drain),
}

/// An open device and what is known of it.
#[derive(Debug)]
pub(super) struct OpenDevice {
    pub(super) device: Device,
    /// In force now.
    pub(super) line: LineSettings,
    pub(super) break_on: bool,
    /// End of a break of fixed length.
    pub(super) break_until: Option<Instant>,
    /// What clients were told last.
    pub(super) modem: ModemLines,
    /// The driver has modem lines.
    pub(super) has_modem: bool,
    /// What the driver counted when it was asked last; `None`: it does not count.
    counters: Option<Counters>,
    opened_at: Instant,
    /// Next look at modem lines and counters.
    look_at: Option<Instant>,
}

/// Progress of the last output before a device is closed.
#[derive(Debug)]
pub(super) struct Drain {
    /// Bytes that were still on their way when something moved last, and when that was.
    left: usize,
    begun_at: Instant,
    moved_at: Instant,
    look_at: Instant,
}

impl OpenDevice {
    /// Bytes that the driver has yet to send; 1 while only the last character is on its way.
    fn left_to_send(&mut self) -> usize {
        // a device that cannot tell has been given everything: it is done
        self.device.left_to_send().unwrap_or(0)
    }
}

impl DeviceState {
    pub(super) fn open(&mut self) -> Option<&mut OpenDevice> {
        match self {
            Self::Open(open) => Some(open),
            _ => None,
        }
    }

    pub(super) fn opened_at(&self) -> Option<Instant> {
        match self {
            Self::Open(open) => Some(open.opened_at),
            _ => None,
        }
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let times = match self {
            Self::Open(open) => [open.break_until, open.look_at],
            Self::Closing(_, drain) => [Some(drain.look_at), None],
            _ => [None, None],
        };
        times.into_iter().flatten()
    }
}

impl Port {
    /// Starts to open the device; its claim is already taken.
    pub(super) fn begin_open(&mut self) {
        let config = self.conn.connector.device.clone();
        self.dev = DeviceState::Opening(tokio::task::spawn_blocking(move || Device::open(&config)));
        self.report.state(PortState::Opening);
        self.moved = true;
    }

    pub(super) fn poll_device_state(&mut self, cx: &mut Context<'_>) {
        match &mut self.dev {
            DeviceState::Opening(task) => {
                let Poll::Ready(result) = Pin::new(task).poll(cx) else { return };
                self.moved = true;
                let path = &self.conn.connector.device.path;
                let failed = |step, error| OpenError::other(path, step, error);
                let opened =
                    result.unwrap_or_else(|join| Err(failed("open the device", std::io::Error::other(join))));
                match opened.and_then(|o| o.register().map_err(|e| failed("watch the device", e))) {
                    Ok(device) => self.opened(cx, device),
                    Err(error) => self.open_failed(cx, &error),
                }
            }
            DeviceState::Closing(..) => self.poll_drain(cx),
            DeviceState::Closed | DeviceState::Open(_) => {}
        }
    }

    fn opened(&mut self, cx: &mut Context<'_>, device: Device) {
        let line = device.settings();
        let lines = device.modem_lines();
        let has_modem = lines.is_ok();
        self.dev = DeviceState::Open(Box::new(OpenDevice {
            counters: device.error_counters(),
            line,
            break_on: false,
            break_until: None,
            modem: lines.unwrap_or_default(),
            has_modem,
            opened_at: self.now,
            look_at: None,
            device,
        }));
        let text = |port: &Self, t: &Option<Template>| t.as_ref().map(|t| port.fill(t, None, None));
        let sendon = text(self, &self.conn.options.sendon);
        self.batch = Batch::new(&self.conn.options, sendon, &line);
        self.closeon = text(self, &self.conn.options.closeon).filter(|t| !t.is_empty()).map(Matcher::new);
        for trouble in OpenErrorKind::NAMES {
            self.errors.over(&trouble);
        }
        self.report.state(PortState::Open);
        info!(port = %self.name, device = %self.conn.connector.device.path, "device open at {line}");
        let first = self.sessions.first().map(|s| s.peer);
        if let Some(template) = self.conn.options.openstr.clone() {
            let text = self.fill(&template, first, None);
            self.write_device(cx, &text);
        }
        for i in 0..self.sessions.len() {
            if self.sessions[i].dialled.is_none() {
                self.greet(cx, i);
            }
        }
        self.schedule_look();
    }

    fn open_failed(&mut self, cx: &mut Context<'_>, error: &OpenError) {
        self.dev = DeviceState::Closed;
        self.env.claims.give_back(&self.conn.connector.text);
        self.complain(error.kind.name(), &error.to_string());
        self.reopen_later();
        self.report.failed(error.failure(), error.to_string());
        let text = format!("Device open failure: {}\r\n", error.client_text());
        for session in &mut self.sessions {
            if self.conn.options.refusal_text {
                session.send_text(cx, text.as_bytes());
            }
            session.ending.get_or_insert(CloseReason::OpenFailed);
        }
    }

    /// The last client has left: `closestr`, then wait until everything is out.
    pub(super) fn begin_close(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.dev, DeviceState::Open(_)) {
            return;
        }
        let held = self.batch.clear();
        self.dropped(DropDirection::ToClients, DropReason::ClientClosed, held);
        self.batch_due = None;
        if let Some(template) = self.conn.options.closestr.clone() {
            let text = self.fill(&template, None, None);
            self.write_device(cx, &text);
        }
        // writing closestr may have shown that the device is gone
        let DeviceState::Open(mut open) = std::mem::replace(&mut self.dev, DeviceState::Closed) else {
            return;
        };
        if open.break_on {
            // a device that refuses this is closed all the same
            let _ = open.device.set_break(false);
        }
        let drain = Drain { left: usize::MAX, begun_at: self.now, moved_at: self.now, look_at: self.now };
        self.dev = DeviceState::Closing(open, drain);
        self.report.state(PortState::Closing);
        self.moved = true;
        self.poll_drain(cx);
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) {
        self.flush_to_device(cx);
        let millis = |ms: u32| Duration::from_millis(ms.into());
        let device = &self.conn.connector.device;
        let (limit, stall) = (device.drain_ms.map(millis), device.stall_ms.map_or(DRAIN_STALL, millis));
        let DeviceState::Closing(open, drain) = &mut self.dev else { return };
        let left = self.to_dev.len() + open.left_to_send();
        if left < drain.left {
            drain.left = left;
            drain.moved_at = self.now;
        }
        drain.look_at = self.now + DRAIN_LOOK;
        let since = |when: Instant| self.now.saturating_duration_since(when);
        let late = limit.is_some_and(|limit| since(drain.begun_at) >= limit);
        if left == 0 || late || since(drain.moved_at) >= stall {
            self.finish_close(left);
        }
    }

    /// Closes the device with `left` bytes that it did not take.
    fn finish_close(&mut self, left: usize) {
        let DeviceState::Closing(open, _) = std::mem::replace(&mut self.dev, DeviceState::Closed) else {
            return;
        };
        if left > 0 {
            warn!(port = %self.name, "device closed with {left} bytes that it did not take");
            self.dropped(DropDirection::ToDevice, DropReason::DeviceClosed, left);
        }
        drop(open);
        self.to_dev.clear();
        self.env.claims.give_back(&self.conn.connector.text);
        self.report.state(PortState::Closed);
        info!(port = %self.name, "device closed");
        self.moved = true;
        if !self.sessions.is_empty() && !matches!(self.phase, Phase::Ending(_)) {
            // somebody came meanwhile
            if self.env.claims.take(&self.conn.connector.text) {
                self.begin_open();
            } else {
                self.end_all(CloseReason::OpenFailed);
            }
        }
    }

    /// The program ends and cannot wait any longer for the device.
    pub(super) fn abandon_device(&mut self) {
        match std::mem::replace(&mut self.dev, DeviceState::Closed) {
            DeviceState::Open(mut open) | DeviceState::Closing(mut open, _) => {
                let left = self.to_dev.len() + open.left_to_send();
                self.dev = DeviceState::Closing(
                    open,
                    Drain { left, begun_at: self.now, moved_at: self.now, look_at: self.now },
                );
                self.finish_close(left);
            }
            // the thread that opens it closes it again
            DeviceState::Opening(task) => task.abort(),
            DeviceState::Closed => {}
        }
    }

    /// The device is gone: clients get what it sent before, then they are closed.
    pub(super) fn device_lost(&mut self, cx: &mut Context<'_>, cause: &IoFailure) {
        let state = std::mem::replace(&mut self.dev, DeviceState::Closed);
        let (DeviceState::Open(open) | DeviceState::Closing(open, _)) = state else {
            self.dev = state;
            return;
        };
        drop(open);
        self.env.claims.give_back(&self.conn.connector.text);
        self.send_batch(cx);
        let unsent = self.to_dev.len();
        self.dropped(DropDirection::ToDevice, DropReason::DeviceClosed, unsent);
        self.to_dev.clear();
        let path = &self.conn.connector.device.path;
        let text = format!("device {path} lost: {cause}; it is opened again for the next client");
        self.complain("lost", &text);
        self.report.failed(DeviceFailure::Lost, text);
        self.reopen_later();
        self.end_all(CloseReason::DeviceLost);
    }

    /// Decides whether modem lines and counters are to be looked at.
    pub(super) fn schedule_look(&mut self) {
        let watched = self.sessions.iter().any(|s| s.codec.as_ref().is_some_and(|codec| codec.agreed()));
        let now = self.now;
        if let Some(open) = self.dev.open() {
            let wanted = open.counters.is_some() || (watched && open.has_modem);
            match (wanted, open.look_at) {
                (true, None) => open.look_at = Some(now + LOOK),
                (false, Some(_)) => open.look_at = None,
                _ => {}
            }
        }
    }

    pub(super) fn poll_device_timers(&mut self, cx: &mut Context<'_>) {
        let now = self.now;
        let Some(open) = self.dev.open() else { return };
        if open.break_until.is_some_and(|at| at <= now) {
            open.break_until = None;
            open.break_on = false;
            // a driver that took the break takes its end; if not there is nothing more to try
            let _ = open.device.set_break(false);
            self.moved = true;
        }
        let Some(open) = self.dev.open() else { return };
        if open.look_at.is_some_and(|at| at <= now) {
            open.look_at = Some(now + LOOK);
            self.look(cx);
        }
    }

    /// Looks at modem lines and error counters and tells clients and metrics what is new.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) {
        let Some(open) = self.dev.open() else { return };
        let mut notices = Vec::new();
        if open.has_modem
            && let Ok(lines) = open.device.modem_lines()
        {
            let state = lines.state(Some(open.modem));
            if state != open.modem.state(None) {
                notices.push(Notice::Modem(state));
            }
            open.modem = lines;
        }
        if let Some(before) = open.counters
            && let Some(after) = open.device.error_counters()
        {
            let line = after.state_since(before);
            if line != 0 {
                notices.push(Notice::Line(line));
            }
            open.counters = Some(after);
            for (kind, count) in [
                (SerialError::Overrun, after.overrun.wrapping_sub(before.overrun)),
                (SerialError::Frame, after.frame.wrapping_sub(before.frame)),
                (SerialError::Parity, after.parity.wrapping_sub(before.parity)),
                (SerialError::Break, after.breaks.wrapping_sub(before.breaks)),
                (SerialError::BufferOverrun, after.buffer_overrun.wrapping_sub(before.buffer_overrun)),
            ] {
                if count > 0 {
                    self.report.metrics().serial_errors(kind, count.into());
                }
            }
        }
        for notice in notices {
            for session in &mut self.sessions {
                session.send_notice(cx, notice, false);
            }
        }
    }

    /// Fills in the escapes of a string. `line`: the settings for `\B`, where there are any yet.
    pub(super) fn fill(
        &self,
        template: &Template,
        peer: Option<SocketAddr>,
        line: Option<LineSettings>,
    ) -> Vec<u8> {
        let peer = peer.map(template::peer_text).unwrap_or_default();
        let settings = line.map(|line| template::settings_text(&line)).unwrap_or_default();
        let context = template::Context {
            connector: &self.conn.connector.text,
            name: &self.name,
            accepter: &self.conn.accepter.text,
            settings: &settings,
            peer: &peer,
            time: LocalTime::now(),
        };
        template::fill(&template.0, &context)
    }

    pub(super) fn dropped(&self, direction: DropDirection, reason: DropReason, count: usize) {
        if count > 0 {
            self.report.metrics().dropped(direction, reason, count);
        }
    }
}
