//! What is below is opened again when it ends, and nobody above notices (`keepopen`).

use super::open::{self, Opening, Stack};
use super::{Channel, ConnectError, Event, FarLine};
use crate::config::connector::{KeepOpen, Target};
use crate::metrics::DeviceFailure;
use crate::net::stream::Stream;
use crate::serial::request::Request;
use crate::serial::{Device, IoFailure};
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::discriminant;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};
use tracing::{info, warn};

/// Time in which a device that is there is open.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
/// Attempts in one poll before others have their turn, for a retry time of nothing.
const ATTEMPTS: usize = 4;

/// A channel that is always open, for those above it.
pub(super) struct Kept {
    options: KeepOpen,
    stack: Stack,
    depth: usize,
    state: State,
    /// Line settings that were asked for last, one of each kind: a line that is open again gets them.
    settings: Vec<Request>,
    /// Something was wrong and that was logged.
    complained: bool,
    /// There were line settings at the far end when it was open last.
    had_line: bool,
    /// What the port is to be told: how it stands now, nothing older.
    news: Option<Event>,
    /// Bytes that were thrown away and that the port was not told of.
    discarded: usize,
}

enum State {
    Open(Box<dyn Channel>),
    Opening(Opening),
    Waiting(Pin<Box<Sleep>>),
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Open(channel) => channel,
            State::Opening(_) => &"opening",
            State::Waiting(_) => &"waiting",
        };
        f.debug_struct("Kept").field("stack", &self.stack).field("state", state).finish_non_exhaustive()
    }
}

impl Kept {
    /// Opens the part of `stack` from its filter number `depth` on, now and whenever it has ended.
    pub(super) fn new(options: KeepOpen, stack: Stack, depth: usize) -> Self {
        let state = State::Opening(open::below(stack.clone(), depth));
        Self {
            options,
            stack,
            depth,
            state,
            settings: Vec::new(),
            complained: false,
            had_line: false,
            news: None,
            discarded: 0,
        }
    }

    /// Waits for the end of the first attempt, but not long: line settings that clients ask for are in
    /// force when they are told so, unless the device is not there.
    pub(super) async fn first_attempt(&mut self) {
        let attempt = poll_fn(|cx| {
            if let State::Opening(opening) = &mut self.state {
                match ready!(opening.as_mut().poll(cx)) {
                    Ok(channel) => self.opened(channel),
                    Err(error) => self.refused(&error),
                }
            }
            Poll::Ready(())
        });
        // an attempt that takes longer goes on
        let _ = timeout(FIRST_LIMIT, attempt).await;
    }

    /// What is below, if it is open.
    fn open(&mut self) -> Option<&mut Box<dyn Channel>> {
        match &mut self.state {
            State::Open(channel) => Some(channel),
            State::Opening(_) | State::Waiting(_) => None,
        }
    }

    /// What is below, if it is open or comes to be so now.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Option<&mut Box<dyn Channel>> {
        for _ in 0..ATTEMPTS {
            match &mut self.state {
                State::Open(_) => break,
                State::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(Ok(channel)) => self.opened(channel),
                    Poll::Ready(Err(error)) => self.refused(&error),
                },
                State::Waiting(pause) => {
                    if pause.as_mut().poll(cx).is_pending() {
                        return None;
                    }
                    self.state = State::Opening(open::below(self.stack.clone(), self.depth));
                }
            }
        }
        if let State::Open(channel) = &mut self.state {
            return Some(channel);
        }
        cx.waker().wake_by_ref();
        None
    }

    fn opened(&mut self, mut channel: Box<dyn Channel>) {
        if std::mem::take(&mut self.complained) {
            info!(port = %self.stack.port(), "{} is open again", self.stack.text());
        }
        for request in &self.settings {
            // a far end without a line needs no settings
            let _ = channel.request(request);
        }
        self.state = State::Open(channel);
        self.news = Some(Event::Back);
    }

    /// It could not be opened.
    fn refused(&mut self, error: &ConnectError) {
        self.news = Some(Event::Lost(error.failure, error.message.clone()));
        self.wait(error);
    }

    /// It was open, and is not any more.
    fn lost(&mut self, cause: &IoFailure) {
        if let State::Open(channel) = &mut self.state {
            self.had_line = channel.line() == FarLine::There;
        }
        let is_device = matches!(self.stack.target(), Target::Serial(_));
        if is_device || !matches!(cause, IoFailure::Ended(_)) {
            let text = format!("{} lost: {cause}; it is opened again", self.stack.text());
            self.news = Some(Event::Lost(DeviceFailure::Lost, text));
        }
        self.wait(cause);
    }

    /// Waits for the next attempt. What goes wrong is logged once, until it goes well again.
    fn wait(&mut self, cause: &dyn fmt::Display) {
        if !std::mem::replace(&mut self.complained, true) {
            let every = self.options.retry;
            warn!(port = %self.stack.port(), "{}: {cause}; tried again every {every:?}", self.stack.text());
        }
        self.state = State::Waiting(Box::pin(sleep(self.options.retry)));
    }
}

/// Requests that a line that is opened again is to be given.
fn lasts(request: &Request) -> bool {
    matches!(
        request,
        Request::Baud(Some(_))
            | Request::Size(Some(_))
            | Request::Parity(Some(_))
            | Request::Stop(Some(_))
            | Request::Flow(Some(_))
            | Request::Dtr(Some(_))
            | Request::Rts(Some(_))
    )
}

impl Channel for Kept {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        for _ in 0..ATTEMPTS {
            let Some(channel) = self.poll_open(cx) else { return Poll::Pending };
            match channel.poll_read(cx, buf) {
                Poll::Ready(Err(cause)) => self.lost(&cause),
                other => return other,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<IoFailure> {
        if let Some(channel) = self.poll_open(cx)
            && let Poll::Ready(cause) = channel.poll_gone(cx)
        {
            self.lost(&cause);
            // the pause has to be polled to end
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        if let Some(channel) = self.poll_open(cx) {
            match channel.poll_write(cx, data) {
                Poll::Ready(Err(cause)) => {
                    self.lost(&cause);
                    // the pause has to be polled to end
                    cx.waker().wake_by_ref();
                }
                other => return other,
            }
        }
        if !self.options.discards {
            return Poll::Pending;
        }
        self.discarded += data.len();
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        if let State::Open(channel) = &mut self.state
            && let Poll::Ready(Err(cause)) = channel.poll_flush(cx)
        {
            self.lost(&cause);
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.open().map_or(Poll::Ready(()), |channel| channel.poll_close(cx))
    }

    fn line(&mut self) -> FarLine {
        // what is asked for meanwhile is kept for a line that was there
        let closed = if self.had_line { FarLine::Asked } else { FarLine::None };
        self.open().map_or(closed, |channel| channel.line())
    }

    fn request(&mut self, request: &Request) -> bool {
        let both = match *request {
            Request::DtrRts(dtr, rts) | Request::RtsDtr(rts, dtr) => {
                vec![Request::Dtr(Some(dtr)), Request::Rts(Some(rts))]
            }
            _ => vec![request.clone()],
        };
        for request in both.into_iter().filter(lasts) {
            self.settings.retain(|old| discriminant(old) != discriminant(&request));
            self.settings.push(request);
        }
        let had_line = self.had_line;
        match self.open() {
            Some(channel) => channel.request(request),
            None => had_line && lasts(request),
        }
    }

    fn event(&mut self) -> Option<Event> {
        if let Some(news) = self.news.take() {
            return Some(news);
        }
        match std::mem::take(&mut self.discarded) {
            0 => self.open()?.event(),
            count => Some(Event::Discarded(count)),
        }
    }

    fn window(&mut self, columns: u16, rows: u16) {
        if let Some(channel) = self.open() {
            channel.window(columns, rows);
        }
    }

    fn can_wait(&mut self) -> bool {
        self.open().is_none_or(|channel| channel.can_wait())
    }

    fn device(&mut self) -> Option<&mut Device> {
        self.open()?.device()
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.open()?.stream()
    }
}
