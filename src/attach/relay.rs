//! The way between the local device and the far end: one poll, in both directions.

use super::local::{Local, Step};
use crate::connect::{Channel, Event, FarLine, Opening, Stack, open};
use crate::log::RepeatLimiter;
use crate::notify::Manager;
use crate::serial::request::Request;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{debug, info, warn};

/// Bytes moved at a time, in each direction.
const CHUNK: usize = 16 * 1024;
/// A program that opens the device again within this time finds the connection of the last one, as
/// when a script sets the line with stty(1) and then reads it.
const LINGER: Duration = Duration::from_millis(300);
/// Bytes of a program that has left are kept for so long when the far end does not take them.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// A far end with a line that has answered nothing by then gets data all the same.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Time for the end of a connection to be told to the far end.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A connection that lasted so long was a good one: the next pause is the first again.
const GOOD: Duration = Duration::from_secs(5);
/// One trouble is told so often.
const REPEATED: Duration = Duration::from_secs(60);
/// Kinds of trouble that are told apart.
const TROUBLES: usize = 16;
/// Rounds before others have their turn.
const ROUNDS: usize = 16;
/// Characters of a far end's refusal that are logged.
const REFUSAL_MAX: usize = 120;

/// How the far end is treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// The connection stays while no program has the device open.
    pub(super) keep: bool,
    /// State of DTR after each connecting.
    pub(super) dtr: Option<bool>,
    /// State of RTS after each connecting.
    pub(super) rts: Option<bool>,
    /// The far end is expected to speak RFC 2217.
    pub(super) line: bool,
}

/// The connection to the far end.
enum Far {
    /// Nobody needs it.
    Idle,
    /// Until the next attempt.
    Waiting(Pin<Box<Sleep>>),
    Opening(Opening),
    Open(Box<dyn Channel>),
    /// It is told that this is the end, until then at the latest.
    Closing(Box<dyn Channel>, Pin<Box<Sleep>>),
}

/// How far a connection has come. A server that refuses us accepts the connection all the same, agrees to
/// all options of telnet, says why in plain text and closes; so what it says is neither believed to be
/// data, nor given any, before it has answered a question about its line.
enum Stage {
    /// It is not known whether it has a line.
    Asking,
    /// It was told the settings and has not answered.
    Telling(Pin<Box<Sleep>>),
    /// Data passes.
    Settled,
}

/// Bytes that wait.
#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    waiting: Range<usize>,
}

impl Chunk {
    fn new() -> Self {
        Self { bytes: vec![0; CHUNK].into(), waiting: 0..0 }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn pending(&self) -> &[u8] {
        &self.bytes[self.waiting.clone()]
    }

    fn consume(&mut self, count: usize) {
        self.waiting.start += count;
    }

    fn clear(&mut self) {
        self.waiting = 0..0;
    }
}

/// The relay.
pub(super) struct Relay {
    local: Box<dyn Local>,
    stack: Stack,
    habits: Habits,
    far: Far,
    stage: Stage,
    /// It was connected at that time.
    since: Instant,
    pause: Duration,
    troubles: RepeatLimiter<String>,
    manager: Manager,
    /// Something was wrong since it was connected last.
    troubled: bool,
    /// A program has the device open.
    used: bool,
    /// When the last one closed it.
    left: Instant,
    /// Wakes up when a connection that nobody uses is to end.
    end: Pin<Box<Sleep>>,
    /// From programs to the far end.
    up: Chunk,
    /// Requests that come before what is in `up`.
    before: VecDeque<Request>,
    /// The far end's channel may still hold something.
    unflushed: bool,
    /// From the far end to programs.
    down: Chunk,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("stack", &self.stack)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl Relay {
    pub(super) fn new(local: Box<dyn Local>, stack: Stack, habits: Habits, manager: Manager) -> Self {
        Self {
            local,
            stack,
            habits,
            far: Far::Idle,
            stage: Stage::Asking,
            since: Instant::now(),
            pause: FIRST_PAUSE,
            troubles: RepeatLimiter::new(REPEATED, TROUBLES),
            manager,
            troubled: false,
            used: false,
            left: Instant::now(),
            end: Box::pin(sleep(Duration::ZERO)),
            up: Chunk::new(),
            before: VecDeque::new(),
            unflushed: false,
            down: Chunk::new(),
        }
    }

    /// Ends the connection, so that a new one is made if it is needed.
    pub(super) fn begin_again(&mut self) {
        self.disconnected();
        self.far = Far::Idle;
        self.pause = FIRST_PAUSE;
    }

    /// Works until the local device fails; the text says how.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        for _ in 0..ROUNDS {
            let moved = match self.poll_local(cx) {
                Ok(moved) => moved | self.poll_far(cx) | self.poll_up(cx),
                Err(error) => return Poll::Ready(format!("the terminal cannot go on: {error}")),
            };
            match self.poll_down(cx) {
                Ok(more) if moved | more => {}
                Ok(_) => return Poll::Pending,
                Err(error) => return Poll::Ready(format!("the terminal cannot go on: {error}")),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the far end that this is the end. What waits gets a moment.
    pub(super) async fn close(mut self) {
        if let Far::Open(channel) | Far::Closing(channel, _) = &mut self.far {
            // a far end that does not take it has had its time
            let _ = timeout(CLOSE_LIMIT, poll_fn(|cx| channel.poll_close(cx))).await;
        }
    }

    fn is_settled(&self) -> bool {
        matches!((&self.far, &self.stage), (Far::Open(_), Stage::Settled))
    }

    /// Somebody needs the connection.
    fn is_wanted(&mut self, cx: &mut Context<'_>) -> bool {
        if self.habits.keep || self.used {
            return true;
        }
        let limit = if self.up.is_empty() { LINGER } else { DRAIN_LIMIT };
        let idle = matches!(self.far, Far::Idle) && self.up.is_empty();
        if idle || self.left.elapsed() >= limit {
            if !self.up.is_empty() {
                warn!("{} bytes of a program that has left are lost", self.up.pending().len());
                self.up.clear();
                self.local.sent();
            }
            return false;
        }
        self.end.as_mut().reset(self.left + limit);
        // it is polled for its waking us up
        let _ = self.end.as_mut().poll(cx);
        true
    }

    fn poll_local(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let idle = self.up.is_empty() && self.before.is_empty();
        let wants = self.is_settled() && idle;
        let Poll::Ready(step) = self.local.poll_next(cx, &mut self.up.bytes, wants) else { return Ok(false) };
        match step? {
            Step::Opened => {
                debug!("{}: a program opened it", self.stack.name());
                self.used = true;
                if let Far::Waiting(_) = self.far {
                    // whoever opened it does not want to wait for the end of a long pause
                    self.pause = FIRST_PAUSE;
                    self.far = Far::Waiting(Box::pin(sleep(FIRST_PAUSE)));
                }
            }
            Step::Closed => {
                debug!("{}: no program has it open any more", self.stack.name());
                self.used = false;
                self.left = Instant::now();
                self.down.clear();
            }
            Step::Data(count) => {
                self.before.extend(self.local.asks_before());
                self.up.waiting = 0..count;
            }
            Step::Asks => {}
        }
        Ok(true)
    }

    fn connect(&mut self) {
        self.far = Far::Opening(open(self.stack.clone()));
    }

    /// The connection's own life, and what it brings.
    fn poll_far(&mut self, cx: &mut Context<'_>) -> bool {
        let wanted = self.is_wanted(cx);
        match &mut self.far {
            Far::Idle if wanted => self.connect(),
            Far::Waiting(_) | Far::Opening(_) if !wanted => self.far = Far::Idle,
            Far::Open(_) if !wanted => {
                let Far::Open(channel) = std::mem::replace(&mut self.far, Far::Idle) else { return true };
                self.disconnected();
                self.far = Far::Closing(channel, Box::pin(sleep(CLOSE_LIMIT)));
            }
            Far::Idle => return false,
            Far::Waiting(pause) => {
                if pause.as_mut().poll(cx).is_pending() {
                    return false;
                }
                self.connect();
            }
            Far::Opening(opening) => match opening.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(channel)) => {
                    self.far = Far::Open(channel);
                    self.since = Instant::now();
                }
                Poll::Ready(Err(error)) => self.failed(&error.message),
            },
            Far::Closing(channel, limit) => {
                if channel.poll_close(cx).is_pending() && limit.as_mut().poll(cx).is_pending() {
                    return false;
                }
                debug!("{}: disconnected", self.stack.name());
                self.far = Far::Idle;
            }
            Far::Open(_) => return self.poll_channel(cx),
        }
        true
    }

    /// Reads from the far end.
    fn poll_channel(&mut self, cx: &mut Context<'_>) -> bool {
        let settled = self.is_settled();
        let Far::Open(channel) = &mut self.far else { return false };
        // before it is clear what the far end speaks, all that it says is kept
        if settled && !self.down.is_empty() {
            return false;
        }
        if self.down.is_empty() {
            self.down.clear();
        }
        let end = self.down.waiting.end;
        let read = channel.poll_read(cx, &mut self.down.bytes[end..]);
        let mut answered = false;
        while let Some(event) = channel.event() {
            answered |= matches!(event, Event::Reply(_));
            self.local.told(&event);
        }
        let line = channel.line();
        let moved = match read {
            Poll::Ready(Ok(count)) => {
                self.down.waiting.end += count;
                true
            }
            Poll::Ready(Err(cause)) => {
                self.lost(&cause.to_string());
                return true;
            }
            Poll::Pending => false,
        };
        let full = self.down.waiting.end == CHUNK;
        match &mut self.stage {
            Stage::Settled => return moved,
            Stage::Asking if line == FarLine::Asked && !full => return moved,
            Stage::Asking => self.tell(line == FarLine::There),
            Stage::Telling(limit) => {
                if !answered && !full && limit.as_mut().poll(cx).is_pending() {
                    return moved;
                }
                self.settled();
            }
        }
        true
    }

    /// It is known what the far end speaks.
    fn tell(&mut self, line: bool) {
        self.local.connected(line);
        self.before.clear();
        if !line {
            if self.habits.line {
                let name = self.stack.name();
                warn!("{name}: the far end does not speak RFC 2217: its line settings stay as they are");
            }
            self.settled();
            return;
        }
        self.before.extend(self.local.settings());
        let Habits { dtr, rts, .. } = self.habits;
        self.before.extend(dtr.map(|on| Request::Dtr(Some(on))));
        self.before.extend(rts.map(|on| Request::Rts(Some(on))));
        if self.before.is_empty() {
            // something that every line has an answer to
            self.before.push_back(Request::Baud(None));
        }
        self.stage = Stage::Telling(Box::pin(sleep(ANSWER_LIMIT)));
    }

    /// From now on data passes.
    fn settled(&mut self) {
        self.stage = Stage::Settled;
        self.local.ready();
        let name = self.stack.name();
        let again = std::mem::take(&mut self.troubled);
        let told = again.then(|| self.troubles.occurs("connected", std::time::Instant::now())).flatten();
        if told.is_some() {
            info!("{name}: connected again");
        } else {
            debug!("{name}: connected");
        }
        self.manager.status(&format!("{name}: connected"));
    }

    /// An attempt to connect failed.
    fn failed(&mut self, cause: &str) {
        self.disconnected();
        self.troubled = true;
        let name = self.stack.name().to_owned();
        let pause = self.pause;
        if let Some(left_out) = self.troubles.occurs(cause, std::time::Instant::now()) {
            let again = if left_out > 0 { format!(" ({left_out} times before)") } else { String::new() };
            warn!("{name}: {cause}{again}; tried again after pauses of up to {} s", LONGEST_PAUSE.as_secs());
        }
        self.manager.status(&format!("{name}: {cause}"));
        self.far = Far::Waiting(Box::pin(sleep(pause)));
        self.pause = (pause * 2).min(LONGEST_PAUSE);
    }

    /// The connection ended by itself.
    fn lost(&mut self, cause: &str) {
        let refusal = (!self.is_settled() && !self.down.is_empty()).then(|| readable(self.down.pending()));
        if self.since.elapsed() >= GOOD {
            self.pause = FIRST_PAUSE;
        }
        match refusal {
            Some(text) => self.failed(&format!("the far end says '{text}' and ends the connection")),
            None => self.failed(cause),
        }
    }

    /// What belonged to the connection goes with it. Data for the far end stays, and so does data
    /// from it that a program may still read.
    fn disconnected(&mut self) {
        if !matches!(std::mem::replace(&mut self.stage, Stage::Asking), Stage::Settled) {
            self.down.clear();
        }
        self.before.clear();
        self.unflushed = false;
        self.local.connected(false);
    }

    /// Requests and data to the far end, in order.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        let settled = self.is_settled();
        while !matches!(self.stage, Stage::Asking)
            && let Far::Open(channel) = &mut self.far
        {
            if let Some(request) = self.before.front() {
                if !channel.request(request) && channel.line() == FarLine::There {
                    // there was no room for it, or there are no words for it
                    match channel.poll_flush(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Err(cause)) => {
                            self.lost(&cause.to_string());
                            return true;
                        }
                        Poll::Ready(Ok(())) => {
                            channel.request(request);
                        }
                    }
                }
                self.before.pop_front();
            } else if !settled {
                break;
            } else if !self.up.is_empty() {
                match channel.poll_write(cx, self.up.pending()) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(count)) => {
                        self.up.consume(count);
                        if self.up.is_empty() {
                            self.local.sent();
                        }
                    }
                    Poll::Ready(Err(cause)) => {
                        self.lost(&cause.to_string());
                        return true;
                    }
                }
            } else if let Some(ask) = self.local.next_ask() {
                self.before.push_back(ask);
            } else {
                break;
            }
            moved = true;
        }
        self.unflushed |= moved;
        if self.unflushed
            && let Far::Open(channel) = &mut self.far
        {
            match channel.poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(cause)) => self.lost(&cause.to_string()),
            }
        }
        moved
    }

    /// Data to the programs.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let known = matches!(self.stage, Stage::Settled) || !matches!(self.far, Far::Open(_));
        if self.down.is_empty() || !known {
            return Ok(false);
        }
        match self.local.poll_write(cx, self.down.pending()) {
            Poll::Ready(count) => {
                self.down.consume(count?);
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }
}

/// The text of a far end for the log.
fn readable(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).trim().chars().take(REFUSAL_MAX).collect();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
