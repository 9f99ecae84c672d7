//! A pause after each piece that is written (`ratelimit`).

use super::Channel;
use super::filter::Filter;
use crate::config::connector::RateLimit;
use crate::serial::IoFailure;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// A channel that is written to slowly.
#[derive(Debug)]
pub(super) struct Limited {
    below: Box<dyn Channel>,
    length: usize,
    delay: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Limited {
    pub(super) fn new(below: Box<dyn Channel>, options: &RateLimit) -> Self {
        let RateLimit { length, delay } = *options;
        Self { below, length: length.max(1), delay, pause: None }
    }
}

impl Filter for Limited {
    fn below(&mut self) -> &mut dyn Channel {
        &mut *self.below
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let piece = &data[..data.len().min(self.length)];
        let count = ready!(self.below.poll_write(cx, piece))?;
        self.pause = Some(Box::pin(sleep(self.delay)));
        Poll::Ready(Ok(count))
    }
}
