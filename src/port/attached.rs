//! What a port has open: a serial device, or the channel of another connector.

use crate::connect::{Channel, FarLine};
use crate::serial::modem::{Counters, Look, ModemLines};
use crate::serial::request::Purge;
use crate::serial::settings::LineSettings;
use crate::serial::{Device, IoFailure};
use std::io;
use std::task::{Context, Poll};

/// An open connector. The calls for data go straight to a serial device; only other connectors are
/// called by way of a table.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it stands in a box already, and a serial device is not to cost another"
)]
pub(super) enum Attached {
    Serial(Device),
    Channel(Box<dyn Channel>),
}

impl Attached {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, IoFailure>> {
        match self {
            Self::Serial(device) => device.poll_read(cx, buf),
            Self::Channel(channel) => channel.poll_read(cx, buf),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        match self {
            Self::Serial(device) => device.poll_write(cx, data),
            Self::Channel(channel) => channel.poll_write(cx, data),
        }
    }

    /// Brings on the way what a channel holds; a serial device holds nothing.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), IoFailure> {
        match self {
            Self::Serial(_) => Ok(()),
            Self::Channel(channel) => match channel.poll_flush(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Ok(()),
            },
        }
    }

    /// Bytes that the driver of a serial device has yet to send; 1 while a channel is being closed.
    pub(super) fn left_to_send(&mut self, cx: &mut Context<'_>) -> usize {
        match self {
            // a device that cannot tell has been given everything: it is done
            Self::Serial(device) => device.left_to_send().unwrap_or(0),
            Self::Channel(channel) => usize::from(channel.poll_close(cx).is_pending()),
        }
    }

    pub(super) fn is_serial(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    pub(super) fn can_wait(&self) -> bool {
        match self {
            Self::Serial(device) => device.can_wait(),
            Self::Channel(channel) => channel.can_wait(),
        }
    }

    /// The channel, when it has line settings at its far end or may yet turn out to have some.
    pub(super) fn far(&mut self) -> Option<&mut Box<dyn Channel>> {
        match self {
            Self::Channel(channel) if channel.line() != FarLine::None => Some(channel),
            _ => None,
        }
    }

    /// The channel of a connector that is not serial.
    pub(super) fn channel(&mut self) -> Option<&mut Box<dyn Channel>> {
        match self {
            Self::Channel(channel) => Some(channel),
            Self::Serial(_) => None,
        }
    }

    pub(super) fn modem_lines(&self) -> io::Result<ModemLines> {
        match self {
            Self::Serial(device) => device.modem_lines(),
            Self::Channel(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn error_counters(&self) -> Option<Counters> {
        match self {
            Self::Serial(device) => device.error_counters(),
            Self::Channel(_) => None,
        }
    }

    /// Begins or ends to watch the modem lines; [`poll_edges`](Self::poll_edges) tells of changes.
    pub(super) fn watch_modem(&mut self, on: bool) -> io::Result<()> {
        match self {
            Self::Serial(device) => device.watch_modem(on),
            Self::Channel(_) => Ok(()),
        }
    }

    pub(super) fn poll_edges(&self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Self::Serial(device) => device.poll_edges(cx),
            Self::Channel(_) => Poll::Pending,
        }
    }

    /// What the watch has seen, and behind it what is so now.
    pub(super) fn look(&self, modem: bool) -> Vec<Look> {
        match self {
            Self::Serial(device) => device.look(modem),
            Self::Channel(_) => Vec::new(),
        }
    }

    /// Programs the line. Where there is none, the settings are taken as they are: clients of RFC 2217
    /// go on only when they are told that they are in force.
    pub(super) fn apply(&mut self, line: &LineSettings) -> io::Result<LineSettings> {
        match self {
            Self::Serial(device) => device.apply(line),
            Self::Channel(_) => Ok(*line),
        }
    }

    pub(super) fn set_modem(&mut self, dtr: Option<bool>, rts: Option<bool>) -> io::Result<()> {
        match self {
            Self::Serial(device) => device.set_modem(dtr, rts),
            Self::Channel(_) => Ok(()),
        }
    }

    pub(super) fn set_break(&mut self, on: bool) -> io::Result<()> {
        match self {
            Self::Serial(device) => device.set_break(on),
            Self::Channel(_) => Ok(()),
        }
    }

    pub(super) fn purge(&mut self, what: Purge) -> io::Result<()> {
        match self {
            Self::Serial(device) => device.purge(what),
            Self::Channel(_) => Ok(()),
        }
    }
}
