//! The end of a device: its last output, within limits, and the close.

use super::actor::{Phase, Port};
use super::batch::char_time;
use super::device::DeviceState;
use crate::metrics::{CloseReason, DropDirection, DropReason, PortState};
use std::task::Context;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often the driver is asked whether its output is out while a device is being closed.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// Drivers of USB adapters count what is left in packets of so many characters; the time that one
/// takes on the line is no stop.
const DRAIN_PACKET: u32 = 64;

/// A connector that is no serial device and takes nothing for so long (milliseconds) is closed all the same.
const CHANNEL_STALL_MS: u32 = 5_000;

/// Progress of the last output before a device is closed.
#[derive(Debug)]
pub(super) struct Drain {
    /// Bytes that were still on their way when something moved last, and when that was.
    left: usize,
    begun_at: Instant,
    moved_at: Instant,
    pub(super) look_at: Instant,
}

impl Drain {
    fn new(left: usize, now: Instant) -> Self {
        Self { left, moved_at: now, begun_at: now, look_at: now }
    }
}

impl Port {
    /// The last client has left: `closestr`, then wait until everything is out.
    pub(super) fn begin_close(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.dev, DeviceState::Open(_)) {
            return;
        }
        self.taps.port_closed("All users disconnected");
        let held = self.batch.as_mut().map_or(0, |batch| batch.clear());
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
        let drain = Drain::new(usize::MAX, self.now);
        self.dev = DeviceState::Closing(open, drain);
        self.report.state(PortState::Closing);
        self.moved = true;
        self.poll_drain(cx);
    }

    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) {
        self.flush_to_device(cx);
        let now = self.now;
        // a channel has a limit of stalling alone
        let (total, stall) =
            self.conn.connector.device().map_or((None, Some(CHANNEL_STALL_MS)), |d| (d.drain_ms, d.stall_ms));
        let DeviceState::Closing(open, drain) = &mut self.dev else { return };
        // where filters make pauses on purpose, one of them is no stop either
        let packet = (char_time(&open.line) * DRAIN_PACKET).max(self.conn.connector.pause());
        let over = |limit: Option<u32>, least: Duration, since: Instant| {
            limit.is_some_and(|ms| {
                now.saturating_duration_since(since) >= Duration::from_millis(ms.into()).max(least)
            })
        };
        // a channel is closed behind the last byte
        let left = match self.to_dev.len() {
            0 => open.device.left_to_send(cx),
            waiting => waiting,
        };
        if left < drain.left {
            drain.left = left;
            drain.moved_at = self.now;
        }
        drain.look_at = self.now + DRAIN_LOOK;
        let given_up = over(total, Duration::ZERO, drain.begun_at) || over(stall, packet, drain.moved_at);
        if left == 0 || given_up {
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
    pub(super) fn abandon_device(&mut self, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.dev, DeviceState::Closed) {
            DeviceState::Open(mut open) | DeviceState::Closing(mut open, _) => {
                let left = self.to_dev.len() + open.device.left_to_send(cx);
                self.dev = DeviceState::Closing(open, Drain::new(left, self.now));
                self.finish_close(left);
            }
            // the thread that opens it closes it again
            DeviceState::Opening(task, _) => task.abort(),
            DeviceState::Connecting(_) | DeviceState::Closed => {}
        }
    }
}
