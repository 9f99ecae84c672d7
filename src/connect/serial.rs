//! A serial device below filters, or one that an accepter connects to. Without filters a port has its device itself, and no table of
//! calls in between.

use super::open;
use super::{Channel, ConnectError};
use crate::serial::settings::DeviceConfig;
use crate::serial::{Device, IoFailure, OpenError};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How often the driver is asked whether its output is out. Whoever closes the channel has a limit for
/// output that does not move.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// A serial device as a channel. What a device can do besides moving bytes is done by the device
/// itself, which [`Channel::device`] finds below any filters.
#[derive(Debug)]
pub(super) struct Line {
    device: Device,
    /// Until the driver is asked again whether its output is out.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Line {
    /// Opens the device, with its claims, locks and settings.
    pub(super) async fn open(config: &DeviceConfig) -> Result<Self, ConnectError> {
        let wanted = config.clone();
        let opened = open::device(config.path.to_string(), move || Ok(Device::open(&wanted)?)).await?;
        match opened.register() {
            Ok(device) => Ok(Self { device, pause: None }),
            Err(error) => Err(OpenError::other(&config.path, "watch the device", error).into()),
        }
    }
}

impl From<OpenError> for ConnectError {
    fn from(error: OpenError) -> Self {
        Self::new(error.to_string(), error.client_text(), error.failure())
    }
}

impl Channel for Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        self.device.poll_read(cx, buf)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<IoFailure> {
        self.device.poll_gone(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        self.device.poll_write(cx, data)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a device that cannot tell has been given everything: it is done
        while self.device.left_to_send().is_ok_and(|left| left > 0) {
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(DRAIN_LOOK)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn can_wait(&mut self) -> bool {
        self.device.can_wait()
    }

    fn device(&mut self) -> Option<&mut Device> {
        Some(&mut self.device)
    }
}
