//! Devices that come and go: clients that stay meanwhile (`on-device-loss: hold`), devices that stay
//! open without clients (`device-open: always`), and the look-out for a device that is away.
//!
//! A device that is away is looked for when [`Hotplug`](crate::hotplug::Hotplug) calls, and by a timer
//! whose pauses grow from [`FIRST`] to `connector-retry-time`: the node of an adapter may be there
//! before udev has given it its owner. Looking opens nothing. Only when the device is there, and
//! somebody wants it, it is opened.
//!
//! What held clients send meanwhile is read and dropped (`device_away` in the metrics). It could wait
//! instead, as far as the sockets hold it; but the device that comes back has been reset, and half a
//! message of before, which then arrives first, is worse for most protocols than one that never came.
//! A client that is read is also seen to leave.

use super::actor::{Phase, Port};
use super::device::{DeviceState, Last, Refused};
use crate::config::Cable;
use crate::config::connector::Target;
use crate::hotplug::{Ticket, Wanted};
use crate::metrics::{CloseReason, DeviceFailure, PortState};
use crate::serial::modem::ModemLines;
use crate::serial::request::Notice;
use crate::serial::settings::{DeviceConfig, LineSettings};
use crate::serial::{self, OpenError};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tracing::info;

/// Pause before the first look; doubled with each one in vain.
const FIRST: Duration = Duration::from_millis(100);
/// Shortest time between two looks, however often is called.
const LEAST: Duration = Duration::from_millis(50);
/// A device that was open for so long works; one that is lost sooner is not opened again at once.
const STEADY: Duration = Duration::from_secs(5);

/// What is known of a device that is away, or is to be open always.
#[derive(Debug)]
pub(super) struct Lookout {
    /// Since when clients stay without it.
    away: Option<Instant>,
    /// Next look.
    next: Option<Instant>,
    /// Not even a call makes it sooner.
    not_before: Instant,
    /// Pause after the next look in vain.
    pause: Duration,
    /// A look: it may read many files.
    looking: Option<JoinHandle<Result<(), OpenError>>>,
    ticket: Option<Ticket>,
    /// What is in force again when it is back.
    resume: Option<Resume>,
}

/// The state of a line as its clients know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resume {
    line: LineSettings,
    /// DTR and RTS, where there are any.
    outputs: Option<(bool, bool)>,
}

impl Lookout {
    fn new(next: Instant) -> Self {
        Self {
            away: None,
            next: Some(next),
            not_before: next,
            pause: FIRST,
            looking: None,
            ticket: None,
            resume: None,
        }
    }
}

impl Port {
    fn cable(&self) -> Cable {
        self.conn.options.cable.as_deref().copied().unwrap_or_default()
    }

    /// The device is to be open although nobody is connected.
    pub(super) fn keeps_device(&self) -> bool {
        let running = matches!(self.phase, Phase::Running) && !self.overrides.off;
        running && self.next.is_none() && (self.callback.is_some() || self.cable().keeps_open)
    }

    /// Clients stay while the device is away.
    pub(super) fn is_holding(&self) -> bool {
        self.lookout.as_ref().is_some_and(|lookout| lookout.away.is_some())
    }

    /// It is read although nobody listens: what it sends then is dropped, and does not wait for the
    /// next client.
    pub(super) fn drains_device(&self) -> bool {
        self.callback.is_none()
            && self.cable().keeps_open
            && !self.sessions.iter().any(|s| s.greeted && s.ending.is_none())
    }

    /// The port begins with its configuration: a device that is not there is told of.
    pub(super) fn begin_lookout(&mut self) {
        self.lookout = None;
        let unsure = self.conn.connector.device().is_some_and(|device| !serial::seems_there(device));
        if self.cable().keeps_open || unsure {
            self.lookout = Some(Box::new(Lookout::new(self.now)));
        }
    }

    /// Somebody waits for the device.
    fn wants_device(&self) -> bool {
        let held = self.is_holding() && self.sessions.iter().any(|session| session.ending.is_none());
        held || (self.keeps_device() && self.cable().keeps_open)
    }

    /// Begins to look for a device that is away; first in a moment, as one that was lost may not be
    /// gone from `/dev` yet.
    fn look_out(&mut self, cx: &mut Context<'_>) {
        let now = self.now;
        if self.conn.connector.device().is_none() && !self.wants_device() {
            return;
        }
        let hotplug = &self.env.hotplug;
        let lookout = self.lookout.get_or_insert_with(|| Box::new(Lookout::new(now)));
        if lookout.ticket.is_none()
            && let Some(wanted) = wanted(&self.conn.connector.target)
        {
            lookout.ticket = Some(hotplug.wait(wanted, cx.waker().clone()));
        }
        // a call that came during a look counts: what it is about may have come behind the look
        let at = now + lookout.pause;
        lookout.next = Some(lookout.next.map_or(at, |called| called.min(at)));
        lookout.pause = (lookout.pause * 2).min(self.conn.options.connector_retry.max(FIRST));
    }

    /// When [`Port::poll_lookout`] has something to do by time.
    pub(super) fn lookout_deadline(&self) -> Option<Instant> {
        let idle = matches!(self.dev, DeviceState::Closed) && !self.overrides.off;
        let lookout = self.lookout.as_ref().filter(|lookout| idle && lookout.looking.is_none())?;
        lookout.next
    }

    /// Looks for a device that is away, and opens it when it is back.
    pub(super) fn poll_lookout(&mut self, cx: &mut Context<'_>) {
        if self.lookout.is_none() {
            if !self.cable().keeps_open || !self.wants_device() {
                return;
            }
            self.lookout = Some(Box::new(Lookout::new(self.now)));
        }
        if !matches!(self.dev, DeviceState::Closed) {
            return;
        }
        let wanted = self.wants_device();
        let Some(lookout) = &mut self.lookout else { return };
        if matches!(self.phase, Phase::Ending(_)) {
            self.lookout = None;
            return;
        }
        if lookout.ticket.as_ref().is_some_and(Ticket::was_called) {
            lookout.pause = FIRST;
            lookout.next = Some(lookout.not_before.max(self.now));
        }
        if wanted && lookout.next.is_none() && lookout.looking.is_none() {
            // it was closed without a loss: the port was switched off for a while
            lookout.next = Some(self.now);
        }
        if let Some(look) = &mut lookout.looking {
            let Poll::Ready(result) = Pin::new(look).poll(cx) else { return };
            lookout.looking = None;
            self.moved = true;
            // a look that died is one in vain
            return match result {
                Ok(result) => self.looked(cx, result.err()),
                Err(_) => self.look_out(cx),
            };
        }
        if lookout.next.is_none_or(|at| at > self.now) || self.overrides.off {
            return;
        }
        lookout.next = None;
        lookout.not_before = self.now + LEAST;
        self.moved = true;
        match self.conn.connector.device().cloned() {
            Some(device) => {
                // what is known already is not told again
                let known = self.report.fault().is_some();
                lookout.looking = Some(tokio::task::spawn_blocking(move || {
                    serial::look(&device).map_err(|error| if known { error } else { error.with_present() })
                }));
            }
            None => self.looked(cx, None),
        }
    }

    /// The device was looked for.
    fn looked(&mut self, cx: &mut Context<'_>, error: Option<OpenError>) {
        if let Some(error) = error {
            let (failure, text) = (error.failure(), error.to_string());
            // that it was lost says more than that it is missing since
            let fault = self.report.fault();
            let known = fault == Some(failure)
                || fault == Some(DeviceFailure::Lost) && failure == DeviceFailure::Missing;
            if !known {
                self.complain(error.kind.name(), &text);
                self.report.absent(failure, text);
            }
            self.look_out(cx);
        } else if !self.wants_device() {
            if self.report.fault().is_some() {
                info!(port = %self.name, device = %self.conn.connector.label(), "device is there");
            }
            self.troubles_over();
            self.report.state(PortState::Closed);
            self.lookout = None;
            self.reopen_now();
        } else if self.env.claims.take(&self.conn.connector.text) {
            self.begin_open();
        } else {
            self.complain("claim", "the device is in use by another connection: it is tried again");
            self.look_out(cx);
        }
    }

    /// The device was lost. True: its clients stay.
    pub(super) fn hold_after_loss(&mut self, cx: &mut Context<'_>, last: &Last) -> bool {
        let held = self.cable().holds
            && !matches!(self.phase, Phase::Ending(_))
            && self.sessions.iter().any(|session| session.ending.is_none());
        if let Some(lookout) = &mut self.lookout
            && last.open_for >= STEADY
        {
            lookout.pause = FIRST;
        }
        if held {
            self.hold(cx);
            if let Some(lookout) = &mut self.lookout
                && let Some(line) = last.line
            {
                lookout.resume = Some(Resume { line, outputs: last.modem.map(|m| (m.dtr, m.rts)) });
            }
            if let Some(modem) = last.modem {
                // the lines of a cable that nothing is plugged into
                self.tell_lines(cx, ModemLines::default(), modem);
            }
        }
        self.look_out(cx);
        if let Some(lookout) = &mut self.lookout {
            lookout.not_before = self.now + FIRST;
        }
        held
    }

    fn hold(&mut self, cx: &mut Context<'_>) {
        let now = self.now;
        self.lookout.get_or_insert_with(|| Box::new(Lookout::new(now))).away.get_or_insert(now);
        for i in 0..self.sessions.len() {
            if !self.sessions[i].greeted && self.sessions[i].dialled.is_none() {
                self.greet(cx, i);
            }
        }
    }

    /// The device could not be opened. True: clients stay and wait for it.
    pub(super) fn hold_after_refusal(&mut self, cx: &mut Context<'_>, error: &Refused) -> bool {
        let resumed = self.lookout.as_mut().and_then(|lookout| lookout.resume.take());
        // what does not go away by waiting
        let settings = error.failure == DeviceFailure::Settings;
        let lasting = error.failure == DeviceFailure::NotATty || (settings && resumed.is_none());
        let held = self.cable().holds
            && !lasting
            && !matches!(self.phase, Phase::Ending(_))
            && self.sessions.iter().any(|session| session.ending.is_none());
        if held {
            self.hold(cx);
            if let Some(lookout) = &mut self.lookout {
                // the device that came may be another one, that cannot have the settings of before
                lookout.resume = resumed.filter(|_| !settings);
            }
        } else if let Some(lookout) = &mut self.lookout {
            lookout.away = None;
        }
        let absent =
            matches!(error.failure, DeviceFailure::Missing | DeviceFailure::Stale | DeviceFailure::Ambiguous);
        if absent || self.wants_device() {
            self.look_out(cx);
        }
        held
    }

    /// The device as it is to be opened: as its held clients know it.
    pub(super) fn resumed(&self, config: &DeviceConfig) -> DeviceConfig {
        let mut config = config.clone();
        if let Some(Resume { line, outputs }) = self.lookout.as_ref().and_then(|lookout| lookout.resume) {
            config.line = line;
            if let Some((dtr, rts)) = outputs {
                (config.dtr, config.rts) = (Some(dtr), Some(rts));
            }
        }
        config
    }

    /// The device is open: nobody waits for it any more. Returns what its clients expect of it.
    pub(super) fn over_with_lookout(&mut self) -> Option<Resume> {
        let lookout = self.lookout.as_mut()?;
        lookout.ticket = None;
        lookout.looking = None;
        lookout.next = None;
        let resume = lookout.resume.take();
        let away = lookout.away.take();
        if !self.conn.options.cable.as_ref().is_some_and(|cable| cable.holds || cable.keeps_open) {
            self.lookout = None;
        }
        if let Some(since) = away {
            let time = self.now.saturating_duration_since(since).as_secs_f64();
            info!(port = %self.name, "device is back after {time:.1} s: its clients go on");
        }
        resume
    }

    /// Sets what clients expect of a device that is back, where it was not opened so.
    pub(super) fn resume(&mut self, Resume { line, outputs }: Resume) {
        let Some(open) = self.dev.open() else { return };
        if open.device.is_plain() {
            return;
        }
        let now = open.line;
        self.set_line(Some(line), now);
        if let Some((dtr, rts)) = outputs {
            self.set_modem(Some(dtr), Some(rts));
        }
    }

    /// The driver does not answer while the device is being opened. True: clients stay all the same.
    pub(super) fn hold_while_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let held = self.cable().holds && !matches!(self.phase, Phase::Ending(_));
        if held && self.sessions.iter().any(|session| session.ending.is_none()) {
            self.hold(cx);
        }
        held
    }

    /// The held clients learn of the modem lines of the device that is back.
    pub(super) fn tell_lines(&mut self, cx: &mut Context<'_>, lines: ModemLines, before: ModemLines) {
        let state = lines.state(Some(before));
        if state != before.state(None) {
            for session in &mut self.sessions {
                session.send_notice(cx, Notice::Modem(state), false);
            }
        }
    }

    /// The last client of a device that stays open has left: the next one finds the line as configured.
    pub(super) fn reset_line(&mut self) {
        let line = self.conn.connector.line();
        let Some(open) = self.dev.open() else { return };
        if open.break_on {
            open.break_on = false;
            open.break_until = None;
            // a device that refuses this keeps its break
            let _ = open.device.set_break(false);
        }
        if open.line_changed {
            open.line_changed = false;
            match open.device.apply(&line) {
                Ok(actual) => {
                    open.line = actual;
                    if let Some(batch) = &mut self.batch {
                        batch.set_line(&actual);
                    }
                }
                Err(e) => self.complain("settings", &format!("the device refuses {line}: {e}")),
            }
        }
    }

    /// The line settings while the device is away.
    pub(super) fn held_line(&self) -> LineSettings {
        let resume = self.lookout.as_ref().and_then(|lookout| lookout.resume);
        resume.map_or_else(|| self.conn.connector.line(), |resume| resume.line)
    }

    /// A client that stays asks for line settings: they are in force when the device is back.
    pub(super) fn hold_line(&mut self, line: LineSettings) {
        self.change_resume(|resume| resume.line = line);
    }

    /// The same for DTR and RTS; returns what will be.
    pub(super) fn hold_outputs(&mut self, dtr: Option<bool>, rts: Option<bool>) -> (bool, bool) {
        let mut now = (dtr.unwrap_or(true), rts.unwrap_or(true));
        if dtr.is_some() || rts.is_some() {
            self.change_resume(|resume| {
                if let Some((old_dtr, old_rts)) = resume.outputs {
                    now = (dtr.unwrap_or(old_dtr), rts.unwrap_or(old_rts));
                    resume.outputs = Some(now);
                }
            });
        } else if let Some((dtr, rts)) =
            self.lookout.as_ref().and_then(|lookout| lookout.resume).and_then(|resume| resume.outputs)
        {
            now = (dtr, rts);
        }
        now
    }

    fn change_resume(&mut self, change: impl FnOnce(&mut Resume)) {
        let line = self.conn.connector.line();
        if let Some(lookout) = self.lookout.as_mut().filter(|lookout| lookout.away.is_some()) {
            change(lookout.resume.get_or_insert(Resume { line, outputs: None }));
        }
    }

    /// When the first of the held clients has waited long enough.
    pub(super) fn hold_deadline(&self) -> Option<Instant> {
        let away = self.lookout.as_ref()?.away?;
        let limit = self.cable().hold_time;
        let staying = self.sessions.iter().filter(|session| session.ending.is_none());
        staying.filter_map(|session| session.joined.max(away).checked_add(limit)).min()
    }

    /// Closes those who have waited long enough.
    pub(super) fn end_held(&mut self) {
        let Some(away) = self.lookout.as_ref().and_then(|lookout| lookout.away) else { return };
        let (limit, now) = (self.cable().hold_time, self.now);
        for session in self.sessions.iter_mut().filter(|session| session.ending.is_none()) {
            if session.joined.max(away).checked_add(limit).is_some_and(|end| end <= now) {
                session.ending = Some(CloseReason::DeviceLost);
                self.moved = true;
            }
        }
    }

    /// Nobody is left who would wait for the device.
    pub(super) fn forget_held(&mut self) {
        if let Some(lookout) = &mut self.lookout
            && self.sessions.is_empty()
        {
            lookout.away = None;
            lookout.resume = None;
        }
    }
}

/// What has to come for the device to be there.
fn wanted(target: &Target) -> Option<Wanted> {
    match target {
        Target::Serial(DeviceConfig { rule: Some(_), .. }) => Some(Wanted::Terminal),
        Target::Serial(device) => Some(Wanted::Path((*device.path).into())),
        _ => None,
    }
}
