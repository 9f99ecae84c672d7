//! Calls of programs that have not returned: what each waits for, and when it is there.

use super::device::{Device, IN_MAX, Item};
use super::wire;
use crate::serial::request::{Purge, Request};
use std::collections::VecDeque;
use std::io;
use tokio::time::Instant;

/// Longest line that is waited for.
const LINE_MAX: usize = 4096;

/// A call of a program that has not returned.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) unique: u64,
    pub(super) what: What,
    /// When it returns at the latest.
    pub(super) until: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum What {
    Open,
    Read {
        size: usize,
        nonblocking: bool,
        seen: usize,
    },
    /// What goes out, and how many bytes the program wrote for it.
    Write(Vec<u8>, usize),
    /// All that was written before is sent, and then perhaps input is flushed.
    Drain {
        flush: bool,
    },
    /// A break ends with it.
    Break,
    Flush,
    Wait(u32),
}

impl Device {
    /// What poll(2) finds.
    pub(super) fn events(&self) -> u32 {
        let mut events = 0;
        if self.readable() {
            events |= libc::POLLIN | libc::POLLRDNORM;
        }
        if self.room() > 0 {
            events |= libc::POLLOUT | libc::POLLWRNORM;
        }
        u32::from(events.cast_unsigned())
    }

    pub(super) fn readable(&self) -> bool {
        if self.state.is_canonical() {
            return self.line_length().is_some();
        }
        let (least, time) = self.state.read_limits();
        let wanted = if time.is_zero() { least.max(1) } else { 1 };
        self.input.len() >= wanted.min(IN_MAX)
    }

    /// Length of the first line of the input, with its end.
    pub(super) fn line_length(&self) -> Option<usize> {
        let end = self.input.iter().take(LINE_MAX).position(|&byte| byte == b'\n');
        end.map(|at| at + 1).or_else(|| (self.input.len() >= LINE_MAX).then_some(LINE_MAX))
    }

    /// Tells all who poll; they look again.
    pub(super) fn tell(&mut self) -> io::Result<()> {
        for kernel_handle in std::mem::take(&mut self.polls).into_values() {
            self.answer(&wire::changed(kernel_handle))?;
        }
        Ok(())
    }

    /// Ends the calls that can end.
    pub(super) fn serve_held(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut rest = VecDeque::new();
        let mut writing = false;
        for mut held in std::mem::take(&mut self.held) {
            let over = held.until.is_some_and(|until| until <= now);
            let unique = held.unique;
            let answer = match &mut held.what {
                What::Open if self.ready || over => {
                    self.handles += 1;
                    Some(wire::opened(unique, self.handles))
                }
                What::Read { size, nonblocking, seen } => {
                    let count = self.read_count(*size, *nonblocking, seen, over, &mut held.until);
                    match count {
                        Some(Ok(count)) => {
                            let bytes: Vec<u8> = self.input.drain(..count).collect();
                            self.wake_writer();
                            Some(wire::bytes(unique, &bytes))
                        }
                        Some(Err(errno)) => Some(wire::failure(unique, errno)),
                        None => None,
                    }
                }
                // one after the other, so that they are not mixed
                What::Write(data, count) if !writing && self.room() > 0 => {
                    let data = std::mem::take(data);
                    self.queued += data.len();
                    self.queue.push_back(Item::Data(data));
                    Some(wire::written(unique, *count))
                }
                What::Write(..) => {
                    writing = true;
                    None
                }
                What::Drain { flush } if self.queued == 0 && !self.unsent => {
                    if *flush {
                        self.flush(Purge::Receive);
                    }
                    Some(wire::controlled(unique, &[]))
                }
                What::Break if over => {
                    self.ask(Request::Break(Some(false)));
                    Some(wire::controlled(unique, &[]))
                }
                What::Flush if over => Some(wire::controlled(unique, &[])),
                What::Open | What::Drain { .. } | What::Break | What::Flush | What::Wait(_) => None,
            };
            match answer {
                Some(message) => self.answer(&message)?,
                None => rest.push_back(held),
            }
        }
        // nothing was added meanwhile
        self.held = rest;
        Ok(())
    }

    /// How many bytes a read(2) gets now; `None`: it waits (`VMIN`, `VTIME` of termios(3)).
    pub(super) fn read_count(
        &self,
        size: usize,
        nonblocking: bool,
        seen: &mut usize,
        over: bool,
        until: &mut Option<Instant>,
    ) -> Option<Result<usize, i32>> {
        let there = self.input.len();
        if self.state.is_canonical() {
            return match self.line_length() {
                Some(length) => Some(Ok(length.min(size))),
                None if nonblocking => Some(Err(libc::EAGAIN)),
                None => None,
            };
        }
        let (least, time) = self.state.read_limits();
        if there > 0 && (there >= least.min(size) || over || nonblocking) {
            return Some(Ok(there.min(size)));
        }
        if there == 0 && least == 0 && (over || time.is_zero()) {
            return Some(Ok(0));
        }
        if nonblocking {
            return Some(Err(libc::EAGAIN));
        }
        if over {
            // what the time began with was flushed
            (*until, *seen) = (None, 0);
        }
        if least > 0 && !time.is_zero() && there > std::mem::replace(seen, there) {
            // between bytes
            *until = Some(Instant::now() + time);
        }
        None
    }
}
