//! One administrator: bytes in, commands done one after the other, answers out.
//!
//! While answers wait for a client that does not read, nothing more is read from it, so what is kept
//! is bounded: [`OUT_LIMIT`] and one answer. What is shown without being asked for has bounds of its
//! own: bytes that a monitor has no room for are left out, and a client that is behind with
//! [`EVENTS_LIMIT`] events is closed.
//!
//! [`EVENTS_LIMIT`]: crate::port::ask::EVENTS_LIMIT

use super::command::{After, Commands, words};
use super::document;
use super::line::{CHUNK, Entry, Input};
use super::reply::{PROMPT, Reply};
use super::request::Requests;
use crate::net::stream::Stream;
use crate::port::ask::{Event, Events};
use crate::port::outbuf::OutBuf;
use crate::port::tap::Monitor;
use crate::telnet::{Codec, Item};
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes that wait for a client before nothing more is done for it.
pub const OUT_LIMIT: usize = 64 * 1024;
/// A client that takes nothing for so long while answers wait for it is closed: there are few
/// places for administrators.
pub const STALL_LIMIT: Duration = Duration::from_secs(120);
/// Time in which a client that is closed can take what is left for it.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// A client, with what could not be sent to it yet.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    codec: Option<Box<Codec>>,
    out: OutBuf,
    /// TLS holds bytes that are not on the wire yet.
    unflushed: bool,
    /// The last read filled its buffer.
    unread: bool,
    /// Last time that bytes went out, or that there were none to send.
    moved: Instant,
}

/// What came of waiting for a client.
enum Io {
    Read(usize),
    Wrote,
    /// It sends nothing more.
    End,
    Gone,
}

impl Link {
    /// A client whose handshake is done; telnet's opening is on its way.
    pub(super) fn new(stream: Stream, codec: Option<Box<Codec>>) -> Self {
        let (out, moved) = (OutBuf::default(), Instant::now());
        let mut link = Self { stream, codec, out, unflushed: false, unread: false, moved };
        if let Some(codec) = &mut link.codec {
            let mut opening = Vec::new();
            codec.opening(&mut opening);
            link.wire(&opening);
        }
        link
    }

    fn wire(&mut self, bytes: &[u8]) {
        if self.out.is_empty() {
            self.moved = Instant::now();
        }
        self.out.push(bytes);
    }

    /// Queues text, escaped as telnet needs it.
    pub(super) fn send(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        match &self.codec {
            Some(codec) => {
                let mut wire = Vec::with_capacity(text.len());
                codec.encode(text, &mut wire);
                self.wire(&wire);
            }
            None => self.wire(text),
        }
    }

    /// Takes telnet off what was read; its answers are queued.
    fn decode<'a>(&mut self, mut input: &'a [u8], text: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(codec) = &mut self.codec else { return input };
        text.clear();
        let mut answers = Vec::new();
        while let Some(item) = codec.next(&mut input, &mut answers) {
            if let Item::Data(data) = item {
                text.extend_from_slice(data);
            }
        }
        self.wire(&answers);
        text
    }

    /// Writes what the socket takes; true when some went.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        let mut moved = false;
        while !self.out.is_empty() {
            match self.stream.poll_write(cx, self.out.pending()) {
                Poll::Ready(Ok(n)) => {
                    self.out.consume(n);
                    self.unflushed = true;
                    moved = true;
                }
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Pending => break,
            }
        }
        if self.unflushed {
            match self.stream.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Pending => {}
            }
        }
        if moved {
            self.moved = Instant::now();
        }
        Ok(moved)
    }

    fn poll_io(&mut self, cx: &mut Context<'_>, buf: Option<&mut [u8]>) -> Poll<Io> {
        let Ok(moved) = self.poll_write(cx) else { return Poll::Ready(Io::Gone) };
        if let Some(buf) = buf {
            let length = buf.len();
            // the urgent byte of a telnet synch is read like all others
            match self.stream.poll_read_urgent(cx, buf, self.unread) {
                Poll::Ready(Ok((0, _))) => return Poll::Ready(Io::End),
                Poll::Ready(Ok((n, _))) => {
                    self.unread = n == length;
                    return Poll::Ready(Io::Read(n));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Io::Gone),
                Poll::Pending => {}
            }
        }
        if moved { Poll::Ready(Io::Wrote) } else { Poll::Pending }
    }

    fn is_done(&self) -> bool {
        self.out.is_empty() && !self.unflushed
    }

    /// Sends what is left and says goodbye, within [`LEAVE_LIMIT`].
    pub(super) async fn leave(mut self) {
        let all = poll_fn(|cx| {
            if self.poll_write(cx).is_err() {
                return Poll::Ready(());
            }
            if !self.is_done() {
                return Poll::Pending;
            }
            self.stream.poll_goodbye(cx).map(drop)
        });
        // what it does not take is lost to it
        let _ = timeout(LEAVE_LIMIT, all).await;
    }
}

/// Why a session ended, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// `exit`, or the client sends nothing more.
    Left,
    /// The socket failed.
    Gone,
    /// The client took nothing for [`STALL_LIMIT`] or was behind with too many events.
    TooSlow,
    /// The program ends or the admin port was removed.
    Stopped,
}

/// Serves one administrator until the end.
pub(super) async fn serve(
    mut link: Link,
    requests: Requests,
    events: Arc<Events>,
    stall: Duration,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let mut session = Session { input: Input::new(), commands: Commands::new(requests), events: None };
    link.send(PROMPT);
    let ended = session.run(&mut link, &events, stall, &mut stop).await;
    if ended != Ended::Gone && ended != Ended::TooSlow {
        link.leave().await;
    }
    ended
}

struct Session {
    input: Input,
    commands: Commands,
    /// Clients that come and go, once answers are YAML.
    events: Option<mpsc::Receiver<Event>>,
}

impl Session {
    async fn run(
        &mut self,
        link: &mut Link,
        events: &Events,
        stall: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        let (mut chunk, mut text) = (vec![0; CHUNK], Vec::new());
        let mut over = false;
        loop {
            if !self.work(link).await {
                return Ended::Left;
            }
            if self.input.is_yaml() && self.events.is_none() {
                self.events = Some(events.listen());
            }
            let room = link.out.len() < OUT_LIMIT;
            if over && self.input.is_empty() {
                return Ended::Left;
            }
            let readable = room && !over && self.input.is_empty();
            let deadline = (!link.out.is_empty()).then(|| link.moved + stall);
            tokio::select! {
                // commands first: what is watched comes without end
                biased;
                _ = stop.changed() => return Ended::Stopped,
                io = poll_fn(|cx| link.poll_io(cx, readable.then_some(&mut chunk[..]))) => match io {
                    Io::Read(n) => {
                        let mut echo = Vec::new();
                        let typed = link.decode(&chunk[..n], &mut text);
                        self.input.push(typed, &mut echo);
                        link.send(&echo);
                    }
                    Io::Wrote => {}
                    Io::End => over = true,
                    Io::Gone => return Ended::Gone,
                },
                seen = watched(&mut self.commands.monitor), if room => match seen {
                    Some(bytes) => link.send(&bytes),
                    None => self.commands.monitor = None,
                },
                event = next_event(&mut self.events), if room => match event {
                    Some(event) => link.send(&event_text(&event)),
                    None => return Ended::TooSlow,
                },
                () = at(deadline) => return Ended::TooSlow,
            }
        }
    }

    /// Does what was typed as far as there is room for answers; false when the session is over.
    async fn work(&mut self, link: &mut Link) -> bool {
        while link.out.len() < OUT_LIMIT && !self.input.is_empty() {
            let mut answer = Vec::new();
            let Some(entry) = self.input.next(&mut answer) else {
                link.send(&answer);
                return true;
            };
            let after = match entry {
                Entry::Line(line) => self.line(&line, &mut answer).await,
                Entry::Document(text) => self.document(&text, &mut answer).await,
                Entry::DocumentTooLong => {
                    let mut reply = Reply::new(&mut answer, true);
                    reply.begin("response");
                    reply.error(b"Input too long");
                    reply.end();
                    link.send(&answer);
                    return false;
                }
            };
            match after {
                After::GoOn => {}
                After::TurnToYaml => self.input.turn_to_yaml(),
                // nor is the word itself echoed
                After::Leave => return false,
            }
            link.send(&answer);
        }
        true
    }

    async fn line(&mut self, line: &[u8], answer: &mut Vec<u8>) -> After {
        let words = words(line);
        let yaml = self.input.is_yaml();
        let Some(name) = words.first() else {
            if !yaml {
                answer.extend_from_slice(PROMPT);
            }
            return After::GoOn;
        };
        let mut reply = Reply::new(answer, yaml);
        reply.begin("response");
        if yaml {
            reply.field(1, "name", name);
        }
        let after = self.commands.run(&words, yaml, &mut reply).await;
        if after == After::GoOn {
            reply.end();
        }
        after
    }

    async fn document(&mut self, text: &[u8], answer: &mut Vec<u8>) -> After {
        let document::Command { name, id, words } = document::command(text);
        let mut reply = Reply::new(answer, true);
        reply.begin("response");
        for (key, value) in [("name", &name), ("id", &id)] {
            if let Some(value) = value {
                reply.field(1, key, value.as_bytes());
            }
        }
        let after = if let Some(words) = words {
            self.commands.run(&words, true, &mut reply).await
        } else {
            reply.error(b"Invalid yaml command");
            After::GoOn
        };
        // ser2net leaves a wrong command's answer without its end; the manual promises one to all
        reply.end();
        after
    }
}

async fn watched(monitor: &mut Option<Monitor>) -> Option<Vec<u8>> {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => pending().await,
    }
}

async fn next_event(events: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn event_text(event: &Event) -> Vec<u8> {
    let mut text = Vec::new();
    let mut reply = Reply::new(&mut text, true);
    reply.begin(if event.joined { "new connection" } else { "disconnect" });
    reply.field(1, "name", event.port.as_bytes());
    reply.field(1, "remaddr", event.peer.as_bytes());
    reply.end();
    text
}
