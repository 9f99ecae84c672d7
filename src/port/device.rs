//! The device of a port through its life: opening, open, draining, closed, lost.

use super::actor::Port;
use super::attached::Attached;
use super::batch::Batch;
use super::drain::Drain;
use super::matcher::Matcher;
use super::notices::Looks;
use super::template;
use crate::clock::LocalTime;
use crate::config::Template;
use crate::config::connector::Target;
use crate::connect::{self, ConnectError, Opening, Stack};
use crate::metrics::{CloseReason, DeviceFailure, DropDirection, DropReason, PortState};
use crate::net::peer::Peer;
use crate::opening;
use crate::serial::settings::LineSettings;
use crate::serial::{Counters, Device, IoFailure, ModemLines, OpenError, OpenErrorKind, Opened};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinHandle};
use tracing::info;

/// A client that has gone keeps its place for so long while the device takes nothing.
const GONE_LIMIT: Duration = Duration::from_secs(5);
/// Where the device of a port stands.
pub(super) enum DeviceState {
    Closed,
    /// open(2) of a tty may block: it runs on a thread of its own.
    ///
    /// The time is when those who wait are told that it hangs; `None`: they were.
    Opening(JoinHandle<Result<Result<Opened, OpenError>, JoinError>>, Option<Instant>),
    /// Another connector is being opened.
    Connecting(Opening),
    Open(Box<OpenDevice>),
    /// No client any more; the device is given what it has not taken yet.
    Closing(Box<OpenDevice>, Drain),
}

impl fmt::Debug for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Opening(task, hangs_at) => f.debug_tuple("Opening").field(task).field(hangs_at).finish(),
            Self::Connecting(_) => f.write_str("Connecting"),
            Self::Open(open) => f.debug_tuple("Open").field(open).finish(),
            Self::Closing(open, drain) => f.debug_tuple("Closing").field(open).field(drain).finish(),
        }
    }
}

/// An open device and what is known of it.
#[derive(Debug)]
pub(super) struct OpenDevice {
    pub(super) device: Attached,
    /// In force now, as far as it is known.
    pub(super) line: LineSettings,
    pub(super) break_on: bool,
    /// End of a break of fixed length.
    pub(super) break_until: Option<Instant>,
    /// When DTR is raised although RTS did not follow (`dtr-with-rts`).
    pub(super) dtr_at: Option<Instant>,
    /// What clients were told last.
    pub(super) modem: ModemLines,
    /// The driver has modem lines.
    pub(super) has_modem: bool,
    /// Modem state that the far end of a connector told last, without its changes.
    pub(super) far_modem: u8,
    /// DTR and RTS as they were asked for last: a device that is opened again gets them.
    pub(super) outputs: (Option<bool>, Option<bool>),
    /// What is below `keepopen` is not open at present.
    pub(super) lost: bool,
    /// What the driver counted when it was asked last; `None`: it does not count.
    pub(super) counters: Option<Counters>,
    opened_at: Instant,
    pub(super) looks: Looks,
    /// While it takes nothing: next look at who has gone meanwhile.
    stalled: Option<Instant>,
    /// A client asked for other line settings.
    pub(super) line_changed: bool,
}

/// What is remembered of a device that was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// For how long it was open.
    pub(super) open_for: Duration,
    /// The settings of its line, where it has one.
    pub(super) line: Option<LineSettings>,
    /// Its modem lines, where it has any.
    pub(super) modem: Option<ModemLines>,
}

impl OpenDevice {
    /// It takes nothing at present. True: that is new, and has a deadline.
    pub(super) fn stalls(&mut self, now: Instant) -> bool {
        let begins = self.stalled.is_none();
        self.stalled.get_or_insert(now + GONE_LIMIT);
        begins
    }

    /// It took something.
    pub(super) fn moves(&mut self) {
        self.stalled = None;
    }

    fn last(&mut self, now: Instant) -> Last {
        Last {
            open_for: now.saturating_duration_since(self.opened_at),
            line: self.device.settings().map(|_| self.line),
            modem: self.has_modem.then_some(self.modem),
        }
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
            Self::Open(open) => [open.break_until, open.dtr_at, open.looks.due(), open.stalled],
            Self::Closing(_, drain) => [Some(drain.look_at), None, None, None],
            Self::Opening(_, hangs_at) => [*hangs_at, None, None, None],
            _ => [None; 4],
        };
        times.into_iter().flatten()
    }
}

impl Port {
    /// Starts to open the device; its claim is already taken.
    pub(super) fn begin_open(&mut self) {
        let connector = &self.conn.connector;
        self.dev = if let (Target::Serial(config), true) = (&connector.target, connector.filters.is_empty()) {
            let config = self.resumed(config);
            let path = Arc::clone(&config.path);
            let task = opening::begin(path, move || Device::open(&config));
            DeviceState::Opening(task, Some(self.now + opening::HANGS))
        } else {
            let stack = Stack::new(Arc::clone(&self.conn), Arc::clone(&self.env.names));
            DeviceState::Connecting(connect::open(stack))
        };
        self.report.state(PortState::Opening);
        self.moved = true;
    }

    pub(super) fn poll_device_state(&mut self, cx: &mut Context<'_>) {
        match &mut self.dev {
            DeviceState::Opening(task, _) => {
                let Poll::Ready(result) = Pin::new(task).poll(cx) else { return };
                self.moved = true;
                let path = self.conn.connector.label();
                let failed = |step, error| OpenError::other(path, step, error);
                let opened = result
                    .and_then(|done| done)
                    .unwrap_or_else(|join| Err(failed("open the device", std::io::Error::other(join))));
                match opened.and_then(|o| o.register().map_err(|e| failed("watch the device", e))) {
                    Ok(device) => {
                        let line = device.settings();
                        self.opened(cx, Attached::Serial(device), line);
                    }
                    Err(error) => self.open_failed(cx, &error.into()),
                }
            }
            DeviceState::Connecting(opening) => {
                let Poll::Ready(result) = opening.as_mut().poll(cx) else { return };
                self.moved = true;
                match result {
                    Ok(channel) => {
                        let mut channel = Attached::Channel(channel);
                        let line = channel.settings().unwrap_or_else(|| self.conn.connector.line());
                        self.opened(cx, channel, line);
                    }
                    Err(error) => self.open_failed(cx, &error.into()),
                }
            }
            DeviceState::Closing(..) => self.poll_drain(cx),
            DeviceState::Closed | DeviceState::Open(_) => {}
        }
    }

    fn opened(&mut self, cx: &mut Context<'_>, mut device: Attached, line: LineSettings) {
        let lines = device.modem_lines();
        let has_modem = lines.is_ok();
        self.overrides.opened(self.report.metrics());
        let was_holding = self.is_holding();
        let resume = self.over_with_lookout();
        self.dev = DeviceState::Open(Box::new(OpenDevice {
            counters: device.error_counters(),
            line,
            break_on: false,
            break_until: None,
            dtr_at: None,
            modem: lines.unwrap_or_default(),
            has_modem,
            far_modem: 0,
            outputs: (None, None),
            lost: false,
            opened_at: self.now,
            looks: Looks::default(),
            stalled: None,
            line_changed: resume.is_some(),
            device,
        }));
        let text = |port: &Self, t: &Option<Template>| t.as_ref().map(|t| port.fill(t, None, None));
        let sendon = text(self, &self.conn.options.sendon);
        self.batch = Some(Box::new(Batch::new(&self.conn.options, sendon, &line)));
        if let Some(resume) = resume {
            self.resume(resume);
        }
        self.closeon = text(self, &self.conn.options.closeon).filter(|t| !t.is_empty()).map(Matcher::new);
        self.begin_trace();
        self.troubles_over();
        self.report.state(PortState::Open);
        let device = Arc::clone(self.conn.connector.label());
        if self.conn.connector.device().is_some() {
            let node = self.dev.open().and_then(|open| open.device.node());
            let found = node.filter(|node| *node != &*device).map(|node| format!(" as {node}"));
            let found = found.unwrap_or_default();
            info!(port = %self.name, device = %device, "device open{found} at {line}");
        } else {
            info!(port = %self.name, device = %device, "connector open");
        }
        let first = self.sessions.first().map(|s| s.peer.clone());
        if let Some(template) = self.conn.options.openstr.clone() {
            let text = self.fill(&template, first.as_ref(), None);
            self.write_device(cx, &text);
        }
        for i in 0..self.sessions.len() {
            if self.sessions[i].greeted {
                self.taps.client_opened(&self.sessions[i].peer);
            } else if self.sessions[i].dialled.is_none() {
                self.greet(cx, i);
            }
        }
        if was_holding && has_modem {
            let lines = self.dev.open().map_or_else(ModemLines::default, |open| open.modem);
            self.tell_lines(cx, lines, ModemLines::default());
        }
        self.schedule_look();
    }

    /// Troubles with the device are news again.
    pub(super) fn troubles_over(&mut self) {
        for trouble in OpenErrorKind::NAMES.into_iter().chain(DeviceFailure::ALL.iter().map(|f| f.as_str())) {
            self.settled(trouble);
        }
    }

    fn open_failed(&mut self, cx: &mut Context<'_>, error: &Refused) {
        self.dev = DeviceState::Closed;
        self.env.claims.give_back(&self.conn.connector.text);
        self.complain(error.name, &error.message);
        self.reopen_later();
        self.report.failed(error.failure, error.message.clone());
        if self.hold_after_refusal(cx, error) {
            return;
        }
        self.tell_open_failure(cx, error);
    }

    fn tell_open_failure(&mut self, cx: &mut Context<'_>, error: &Refused) {
        let text = error.client_text.map(|text| format!("Device open failure: {text}\r\n"));
        for session in self.sessions.iter_mut().filter(|session| session.ending.is_none()) {
            self.moved = true;
            // one that was held is in the middle of its data
            if self.conn.options.refusal_text
                && !session.greeted
                && let Some(text) = &text
            {
                session.send_text(cx, text.as_bytes());
            }
            session.ending.get_or_insert(CloseReason::OpenFailed);
        }
    }

    /// Those who wait for a device whose open(2) hangs in its driver are told and closed. The device is
    /// not opened a second time meanwhile.
    pub(super) fn opening_hangs(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.dev, DeviceState::Opening(..)) {
            return;
        }
        let late = format!("no answer in {} s", opening::HANGS.as_secs());
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, late);
        let error = Refused::from(OpenError::other(self.conn.connector.label(), "open the device", late));
        if let DeviceState::Opening(_, hangs_at @ Some(_)) = &mut self.dev {
            if hangs_at.is_some_and(|at| at > self.now) {
                return;
            }
            *hangs_at = None;
            self.complain(error.name, &error.message);
            self.report.failed(error.failure, error.message.clone());
        }
        if !self.hold_while_opening(cx) {
            self.tell_open_failure(cx, &error);
        }
    }

    /// Nobody waits any more for what is being opened. The opening of a serial device is left alone:
    /// the thread that does it cannot be called back.
    pub(super) fn give_opening_up(&mut self) {
        let blocks = self.conn.connector.device().is_some();
        if matches!(self.dev, DeviceState::Connecting(_)) && self.sessions.is_empty() && !blocks {
            self.dev = DeviceState::Closed;
            self.env.claims.give_back(&self.conn.connector.text);
            self.report.state(PortState::Closed);
            self.moved = true;
        }
    }

    /// The device is gone: clients get what it sent before, then they are closed.
    #[cold]
    pub(super) fn device_lost(&mut self, cx: &mut Context<'_>, cause: &IoFailure) {
        let state = std::mem::replace(&mut self.dev, DeviceState::Closed);
        let (DeviceState::Open(mut open) | DeviceState::Closing(mut open, _)) = state else {
            self.dev = state;
            return;
        };
        let last = open.last(self.now);
        // its descriptor and locks are free from here on
        drop(open);
        self.env.claims.give_back(&self.conn.connector.text);
        self.taps.port_closed("dev read error");
        self.send_batch(cx);
        let unsent = self.to_dev.len();
        self.dropped(DropDirection::ToDevice, DropReason::DeviceClosed, unsent);
        self.to_dev.clear();
        let label = Arc::clone(self.conn.connector.label());
        let held = self.hold_after_loss(cx, &last);
        let next = match (held, self.keeps_device()) {
            (true, _) => "its clients stay and wait for it",
            (false, true) => "it is opened again when it is back",
            (false, false) => "it is opened again for the next client",
        };
        if let (IoFailure::Ended(_), None) = (cause, self.conn.connector.device()) {
            // what ends in peace will be there again for the next client
            info!(port = %self.name, "{label}: {cause}; {next}");
            self.report.state(PortState::Closed);
        } else {
            let text = format!("device {label} lost: {cause}; {next}");
            self.complain("lost", &text);
            self.report.failed(DeviceFailure::Lost, text);
        }
        self.reopen_later();
        if held {
            self.moved = true;
        } else {
            self.end_all(CloseReason::DeviceLost);
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
        if open.dtr_at.take_if(|at| *at <= now).is_some() {
            self.set_modem(Some(true), None);
            self.moved = true;
        }
        let Some(open) = self.dev.open() else { return };
        if open.stalled.is_some_and(|at| at <= now) {
            open.stalled = None;
            if !self.to_dev.is_empty() {
                open.stalls(now);
                self.end_those_who_left();
            }
        }
        self.poll_notices(cx);
    }

    /// Ends clients that have gone while the device takes nothing: what they sent last could only be
    /// kept for them, and with it their place, for ever.
    fn end_those_who_left(&mut self) {
        for session in &mut self.sessions {
            if session.ending.is_none() && session.stream.has_left() {
                // so what it sent is counted as lost
                session.deaf.get_or_insert((CloseReason::Peer, self.now));
                session.ending = Some(CloseReason::Peer);
                self.moved = true;
            }
        }
    }

    /// Fills in the escapes of a string. `line`: the settings for `\B`, where there are any yet.
    pub(super) fn fill(
        &self,
        template: &Template,
        peer: Option<&Peer>,
        line: Option<LineSettings>,
    ) -> Vec<u8> {
        let peer = peer.map(Peer::gensio_text).unwrap_or_default();
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

/// Why a device or another connector could not be opened.
#[derive(Debug)]
pub(super) struct Refused {
    /// Kind of trouble, for the limit of log lines.
    name: &'static str,
    message: String,
    /// What follows `Device open failure: `; `None`: clients are told nothing.
    client_text: Option<&'static str>,
    pub(super) failure: DeviceFailure,
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        Self {
            name: error.kind.name(),
            message: error.to_string(),
            client_text: Some(error.client_text()),
            failure: error.failure(),
        }
    }
}

impl From<ConnectError> for Refused {
    fn from(error: ConnectError) -> Self {
        let ConnectError { message, client_text, failure } = error;
        Self { name: failure.as_str(), message, client_text, failure }
    }
}
