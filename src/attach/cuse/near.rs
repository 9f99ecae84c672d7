//! The device as the relay sees it.

use super::device::{Device, IN_MAX, Item};
use super::held::{Held, What};
use super::wire;
use crate::attach::local::{Local, Step};
use crate::connect::Event;
use crate::serial::request::{Purge, Reply, Request};
use std::io;
use std::task::{Context, Poll};
use tracing::{debug, warn};

/// Requests of the kernel before others have their turn.
const ROUNDS: usize = 64;

impl Local for Device {
    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut [u8], wants: bool) -> Poll<io::Result<Step>> {
        for _ in 0..ROUNDS {
            if self.opens > 0 && !self.told_open {
                self.told_open = true;
                return Poll::Ready(Ok(Step::Opened));
            }
            if wants && !self.stopped {
                if matches!(self.queue.front(), Some(Item::Ask(_))) {
                    return Poll::Ready(Ok(Step::Asks));
                }
                let count = self.take_data(buf);
                if count > 0 {
                    self.unsent = true;
                    self.serve_held()?;
                    self.tell()?;
                    return Poll::Ready(Ok(Step::Data(count)));
                }
            }
            if self.opens == 0 && self.told_open && self.queued == 0 {
                self.told_open = false;
                return Poll::Ready(Ok(Step::Closed));
            }
            self.poll_alarm(cx)?;
            if !self.poll_call(cx)? {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn asks_before(&mut self) -> Vec<Request> {
        Vec::new()
    }

    fn next_ask(&mut self) -> Option<Request> {
        match self.queue.pop_front()? {
            Item::Ask(request) => {
                self.ledger.asked(&request);
                Some(request)
            }
            data @ Item::Data(_) => {
                self.queue.push_front(data);
                None
            }
        }
    }

    fn settings(&mut self) -> Vec<Request> {
        self.queue.retain(|item| matches!(item, Item::Data(_)));
        self.ledger.clear();
        let all = self.state.all();
        for request in &all {
            self.ledger.asked(request);
        }
        all
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.opens == 0 {
            return Poll::Ready(Ok(data.len()));
        }
        let count = data.len().min(IN_MAX.saturating_sub(self.input.len()));
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for &byte in &data[..count] {
            self.input.extend(self.state.input(byte));
        }
        self.serve_held()?;
        if self.readable() {
            self.tell()?;
        }
        Poll::Ready(Ok(count))
    }

    fn told(&mut self, event: &Event) {
        if let Some(complaint) = self.ledger.heard(event) {
            warn!("{}: the far end was asked for {complaint}", self.path.display());
        }
        let ended: Box<dyn Fn(&What) -> bool> = match event {
            Event::Reply(Reply::Purge(what)) => {
                if *what != Purge::Transmit {
                    // what was on its way when the program asked
                    self.input.clear();
                }
                Box::new(|what| matches!(what, What::Flush))
            }
            Event::Notice(notice) => {
                let changed = self.state.notice(*notice);
                Box::new(move |what| matches!(what, What::Wait(lines) if lines & changed != 0))
            }
            _ => return,
        };
        let (ended, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| ended(&held.what));
        self.held = rest.into();
        for Held { unique, .. } in ended {
            if let Err(error) = self.answer(&wire::controlled(unique, &[])) {
                // the next call fails in the same way, and is told
                debug!("{}: {error}", self.path.display());
            }
        }
    }

    fn connected(&mut self, on: bool) {
        self.live = on;
        if !on {
            self.ready = false;
            self.queue.retain(|item| matches!(item, Item::Data(_)));
        }
    }

    fn ready(&mut self) {
        self.ready = true;
        if let Err(error) = self.serve_held() {
            debug!("{}: {error}", self.path.display());
        }
    }

    fn sent(&mut self) {
        self.unsent = false;
        if let Err(error) = self.serve_held() {
            debug!("{}: {error}", self.path.display());
        }
    }
}
