//! Those that watch a port and never hold it up: trace files and LEDs.

use super::actor::Port;
use super::device::DeviceState;
use super::template::peer_text;
use crate::config::{self, Options};
use crate::led::{Leds, Light};
use crate::metrics::CloseReason;
use crate::trace::format::{Side, Style};
use crate::trace::{Output, Tracer};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Instant;

/// The taps of a port.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// While the device is open, and until its clients are gone.
    tracer: Option<Box<Tracer>>,
    led_tx: Option<Light>,
    led_rx: Option<Light>,
}

impl Taps {
    /// The LEDs of a connection; trace files come with [`Port::begin_trace`].
    pub(super) fn new(options: &Options, leds: &Leds) -> Self {
        let light = |led: &Option<Arc<config::Led>>| led.as_ref().map(|led| leds.light(led));
        Self { tracer: None, led_tx: light(&options.led_tx), led_rx: light(&options.led_rx) }
    }

    /// Bytes of the device that go to the clients.
    #[inline]
    pub(super) fn device_said(&self, data: &[u8]) {
        if let Some(tracer) = &self.tracer {
            tracer.data(Side::Device, data);
        }
    }

    /// Bytes of a client that go to the device.
    #[inline]
    pub(super) fn client_said(&self, data: &[u8]) {
        if let Some(tracer) = &self.tracer {
            tracer.data(Side::Clients, data);
        }
    }

    /// The device sent something.
    #[inline]
    pub(super) fn read_device(&self, now: Instant) {
        if let Some(led) = &self.led_rx {
            led.flash(now);
        }
    }

    /// The device took something.
    #[inline]
    pub(super) fn wrote_device(&self, now: Instant) {
        if let Some(led) = &self.led_tx {
            led.flash(now);
        }
    }

    pub(super) fn client_opened(&self, peer: SocketAddr) {
        if let Some(tracer) = &self.tracer {
            tracer.client_opened(&peer_text(peer));
        }
    }

    pub(super) fn client_closed(&self, reason: CloseReason) {
        if let Some(tracer) = &self.tracer {
            tracer.client_closed(words(reason));
        }
    }

    /// The port closes, and this is the first reason for it.
    pub(super) fn port_closed(&mut self, why: &str) {
        if let Some(tracer) = &mut self.tracer {
            tracer.port_closed(why);
        }
    }
}

impl Port {
    /// The device was opened: opens the trace files. Their names are filled in for the first client.
    pub(super) fn begin_trace(&mut self) {
        let config::Traces { read, write, both } = &self.conn.options.traces;
        let first = self.sessions.first().map(|session| session.peer);
        let outputs: Vec<Output> = [(read, true, false), (write, false, true), (both, true, true)]
            .into_iter()
            .filter_map(|(file, device, clients)| {
                let name = self.fill(file.name.as_ref()?, first, None);
                let style = Style { hexdump: file.hexdump, timestamp: file.timestamp };
                Some(Output { path: OsString::from_vec(name).into(), device, clients, style })
            })
            .collect();
        self.taps.tracer = (!outputs.is_empty())
            .then(|| Box::new(self.env.traces.open(outputs, Arc::clone(self.report.metrics()))));
    }

    /// Closes the trace files once the device is closed and all clients that used it are gone.
    pub(super) fn end_trace(&mut self) {
        if !matches!(self.dev, DeviceState::Open(_)) {
            self.taps.tracer = None;
        }
    }
}

/// Why a client left, in ser2net's words where it has some; programs may look for them.
fn words(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Peer | CloseReason::PeerReset | CloseReason::PeerTimeout | CloseReason::PeerError => {
            "network read close"
        }
        CloseReason::Kicked => "kicked off, new user is coming",
        CloseReason::Idle => "timeout",
        CloseReason::CloseOn | CloseReason::DeviceLost | CloseReason::Disabled | CloseReason::Shutdown => {
            "port closing"
        }
        other => other.describe(),
    }
}
