//! What a port has open: a serial device, or the channel of another connector or of a device with
//! filters.

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

    /// See [`Device::poll_gone`]. The end of other connectors, and of devices below filters, is noticed
    /// by reading.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<IoFailure> {
        match self {
            Self::Serial(device) => device.poll_gone(cx),
            Self::Channel(channel) => channel.poll_gone(cx),
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

    /// Filters in front of a serial device hold something that it has not taken yet.
    pub(super) fn holds_back(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Serial(_) => false,
            Self::Channel(channel) => channel.device().is_some() && channel.poll_flush(cx).is_pending(),
        }
    }

    /// Bytes that the driver of a serial device has yet to send, and 1 more while a channel is being
    /// closed.
    pub(super) fn left_to_send(&mut self, cx: &mut Context<'_>) -> usize {
        let (held, device) = match self {
            Self::Serial(device) => (false, Some(device)),
            Self::Channel(channel) => (channel.poll_close(cx).is_pending(), channel.device()),
        };
        // a device that cannot tell has been given everything: it is done
        usize::from(held) + device.and_then(|device| device.left_to_send().ok()).unwrap_or(0)
    }

    /// The serial device whose line the clients have: not one that only carries telnet to a far line.
    fn device(&mut self) -> Option<&mut Device> {
        match self {
            Self::Serial(device) => Some(device),
            Self::Channel(channel) => {
                if channel.line() == FarLine::None {
                    channel.device()
                } else {
                    None
                }
            }
        }
    }

    /// Line settings in force, where there is a serial device and it is open.
    pub(super) fn settings(&mut self) -> Option<LineSettings> {
        self.device().map(|device| device.settings())
    }

    /// It is a serial device without filters.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    /// The device node that is open.
    pub(super) fn node(&mut self) -> Option<&str> {
        match self {
            Self::Serial(device) => Some(device.path()),
            Self::Channel(channel) => channel.device().map(|device| device.path()),
        }
    }

    pub(super) fn can_wait(&mut self) -> bool {
        match self {
            Self::Serial(device) => device.can_wait(),
            Self::Channel(channel) => channel.can_wait(),
        }
    }

    /// The channel, when it has line settings at its far end or may yet turn out to have some.
    pub(super) fn far(&mut self) -> Option<&mut Box<dyn Channel>> {
        let channel = self.channel()?;
        if channel.line() == FarLine::None { None } else { Some(channel) }
    }

    /// The channel, where it is not a device without filters.
    pub(super) fn channel(&mut self) -> Option<&mut Box<dyn Channel>> {
        match self {
            Self::Channel(channel) => Some(channel),
            Self::Serial(_) => None,
        }
    }

    pub(super) fn modem_lines(&mut self) -> io::Result<ModemLines> {
        self.device().map_or_else(|| Err(io::ErrorKind::Unsupported.into()), |device| device.modem_lines())
    }

    pub(super) fn error_counters(&mut self) -> Option<Counters> {
        self.device()?.error_counters()
    }

    /// See [`Device::watch_modem`].
    pub(super) fn watch_modem(&mut self, on: bool) -> io::Result<()> {
        self.device().map_or(Ok(()), |device| device.watch_modem(on))
    }

    /// See [`Device::poll_edges`].
    pub(super) fn poll_edges(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.device().map_or(Poll::Pending, |device| device.poll_edges(cx))
    }

    /// See [`Device::look`].
    pub(super) fn look(&mut self, modem: bool) -> Vec<Look> {
        self.device().map_or_else(Vec::new, |device| device.look(modem))
    }

    /// Programs the line. Where there is none, the settings are taken as they are: clients of RFC 2217
    /// go on only when they are told that they are in force.
    pub(super) fn apply(&mut self, line: &LineSettings) -> io::Result<LineSettings> {
        self.device().map_or(Ok(*line), |device| device.apply(line))
    }

    pub(super) fn set_modem(&mut self, dtr: Option<bool>, rts: Option<bool>) -> io::Result<()> {
        self.device().map_or(Ok(()), |device| device.set_modem(dtr, rts))
    }

    pub(super) fn set_break(&mut self, on: bool) -> io::Result<()> {
        self.device().map_or(Ok(()), |device| device.set_break(on))
    }

    pub(super) fn purge(&mut self, what: Purge) -> io::Result<()> {
        self.device().map_or(Ok(()), |device| device.purge(what))
    }
}
