//! A serial device below filters. Without filters a port has its device itself, and no table of
//! calls in between.

use super::open;
use super::{Channel, ConnectError};
use crate::serial::settings::DeviceConfig;
use crate::serial::{Device, IoFailure, OpenError};
use std::task::{Context, Poll};

/// A serial device as a channel. What a device can do besides moving bytes is done by the device
/// itself, which [`Channel::device`] finds below any filters.
#[derive(Debug)]
pub(super) struct Line(Device);

impl Line {
    /// Opens the device, with its claims, locks and settings.
    pub(super) async fn open(config: &DeviceConfig) -> Result<Self, ConnectError> {
        let wanted = config.clone();
        let opened = open::device(config.path.to_string(), move || Ok(Device::open(&wanted)?)).await?;
        match opened.register() {
            Ok(device) => Ok(Self(device)),
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
        self.0.poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        self.0.poll_write(cx, data)
    }

    fn can_wait(&mut self) -> bool {
        self.0.can_wait()
    }

    fn device(&mut self) -> Option<&mut Device> {
        Some(&mut self.0)
    }
}
