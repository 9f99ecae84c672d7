//! An accepter that connects: what it reaches is its client (`conacc`).

use super::names::Names;
use super::peer::{Peer, Reached};
use super::stream::Stream;
use crate::config::Dial;
use crate::config::connector::Target;
use crate::connect::{self, Channel, ConnectError, Opening, Stack};
use crate::serial::IoFailure;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

/// Wait after the first failed attempt, or after a connection that did not last; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How often a serial device that is being closed is asked whether its output is out.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// A connection that lasted so long was one: the next attempt follows at once.
const LASTED: Duration = Duration::from_secs(1);

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Event {
    /// Connected.
    Client(Stream, Peer),
    /// It failed; it is tried again.
    Failed(ConnectError),
}

/// Connects again and again, one connection at a time.
pub(super) struct Dialler {
    dial: Arc<Dial>,
    stack: Stack,
    pauses: Pauses,
    state: State,
}

/// How long is waited between two attempts.
#[derive(Debug)]
struct Pauses {
    /// `retry-time`: always that long.
    fixed: Option<Duration>,
    /// Else growing ones, up to this.
    longest: Duration,
    next: Duration,
}

impl Pauses {
    /// The wait after a connection that lasted, or after one that did not or could not be made.
    /// `None`: none.
    fn after(&mut self, lasted: bool) -> Option<Duration> {
        if self.fixed.is_some() {
            return self.fixed;
        }
        if lasted {
            self.next = FIRST_PAUSE;
            return None;
        }
        let pause = self.next.min(self.longest);
        self.next = self.next.saturating_mul(2);
        Some(pause)
    }
}

enum State {
    Opening(Opening),
    /// Ends when whoever has the connection lets it go.
    Connected(oneshot::Receiver<()>, Instant),
    Waiting(Pin<Box<Sleep>>),
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Opening(_) => "opening",
            State::Connected(..) => "connected",
            State::Waiting(_) => "waiting",
        };
        f.debug_struct("Dialler").field("dial", &self.dial).field("state", &state).finish_non_exhaustive()
    }
}

impl Dialler {
    /// Begins the first attempt. `longest` bounds the growing waits after failures.
    pub(super) fn new(dial: Arc<Dial>, names: Arc<Names>, longest: Duration) -> Self {
        let stack = Stack::dial(Arc::clone(&dial), names);
        let state = State::Opening(connect::open(stack.clone()));
        let pauses = Pauses { fixed: dial.retry, longest, next: FIRST_PAUSE };
        Self { dial, stack, pauses, state }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            match &mut self.state {
                State::Opening(opening) => {
                    let result = ready!(opening.as_mut().poll(cx));
                    return Poll::Ready(match result {
                        Ok(channel) => self.connected(channel),
                        Err(error) => {
                            let pause = self.pauses.after(false).unwrap_or(FIRST_PAUSE);
                            self.wait(pause);
                            // the wait is looked at in this poll
                            cx.waker().wake_by_ref();
                            Event::Failed(error)
                        }
                    });
                }
                State::Connected(gone, since) => {
                    // it is never sent to: it only shows that the other half was dropped
                    let _ = ready!(Pin::new(gone).poll(cx));
                    let lasted = since.elapsed() >= LASTED;
                    match self.pauses.after(lasted) {
                        None => self.begin(),
                        Some(pause) => self.wait(pause),
                    }
                }
                State::Waiting(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    self.begin();
                }
            }
        }
    }

    fn begin(&mut self) {
        self.state = State::Opening(connect::open(self.stack.clone()));
    }

    fn wait(&mut self, pause: Duration) {
        self.state = State::Waiting(Box::pin(sleep(pause)));
    }

    fn connected(&mut self, channel: Box<dyn Channel>) -> Event {
        let (held, gone) = oneshot::channel();
        self.state = State::Connected(gone, Instant::now());
        let (stream, peer) = client(channel, &self.dial, Some(held));
        Event::Client(stream, peer)
    }
}

/// Connects once.
///
/// # Errors
/// What stands in the way.
pub async fn once(dial: Arc<Dial>, names: Arc<Names>) -> Result<(Stream, Peer), ConnectError> {
    let channel = connect::open(Stack::dial(Arc::clone(&dial), names)).await?;
    Ok(client(channel, &dial, None))
}

fn client(channel: Box<dyn Channel>, dial: &Dial, held: Option<oneshot::Sender<()>>) -> (Stream, Peer) {
    let reached =
        Reached { connector: dial.connector.text.to_string(), address: dial.connector.remote_text() };
    let is_datagrams = matches!(dial.connector.target, Target::Udp(_));
    let dialled = Dialled { channel, is_datagrams, _held: held, look: None };
    (Stream::Dialled(Box::new(dialled)), Peer::Dialled(Arc::new(reached)))
}

/// A connection that was made, as a client. Dropping it has it made again.
#[derive(Debug)]
pub struct Dialled {
    channel: Box<dyn Channel>,
    is_datagrams: bool,
    _held: Option<oneshot::Sender<()>>,
    /// Next look at what a serial device has yet to send, while it is being closed.
    look: Option<Pin<Box<Sleep>>>,
}

impl Dialled {
    /// Each write is a datagram.
    pub(super) fn is_datagrams(&self) -> bool {
        self.is_datagrams
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let result = self.channel.poll_read(cx, buf);
        // news of a line at its far end are for nobody: this is the side of the clients
        while self.channel.event().is_some() {}
        Poll::Ready(match ready!(result) {
            Err(IoFailure::Ended(_) | IoFailure::Gone) => Ok(0),
            other => other.map_err(broken),
        })
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.channel.poll_write(cx, data).map_err(broken)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channel.poll_flush(cx).map_err(broken)
    }

    /// Ends the connection behind what was written, and a serial device when it has sent that.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.channel.poll_close(cx));
        while let Some(device) = self.channel.device()
            && device.left_to_send().is_ok_and(|left| left > 0)
        {
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(DRAIN_LOOK)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
        }
        Poll::Ready(())
    }
}

fn broken(failure: IoFailure) -> io::Error {
    match failure {
        IoFailure::Failed(error) => error,
        other => io::Error::new(io::ErrorKind::BrokenPipe, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Connector;
    use crate::config::connector::{Echo, TcpConnect};
    use std::future::poll_fn;

    fn dial(target: Target, retry: Option<Duration>) -> Arc<Dial> {
        let connector = Connector { text: "far".into(), filters: Vec::new(), target };
        Arc::new(Dial { owner: "t".into(), connector, retry })
    }

    fn echo() -> Target {
        Target::Echo(Echo { echoes: true, data: None })
    }

    async fn next(dialler: &mut Dialler) -> Event {
        poll_fn(|cx| dialler.poll(cx)).await
    }

    #[tokio::test]
    async fn one_connection_at_a_time() {
        let mut dialler = Dialler::new(dial(echo(), None), Arc::default(), Duration::from_secs(1));
        let Event::Client(stream, peer) = next(&mut dialler).await else { panic!("no client") };
        assert_eq!(peer.to_string(), "far");
        let idle = poll_fn(|cx| Poll::Ready(dialler.poll(cx).is_pending())).await;
        assert!(idle, "it waits for the end of the first");
        drop(stream);
        assert!(matches!(next(&mut dialler).await, Event::Client(..)));
    }

    #[tokio::test]
    async fn a_failure_is_told_and_it_is_tried_again() {
        let nothing = TcpConnect { remotes: Vec::new(), local: None, nodelay: true };
        let dial = dial(Target::Tcp(nothing), Some(Duration::from_millis(30)));
        let mut dialler = Dialler::new(dial, Arc::default(), Duration::from_secs(60));
        assert!(matches!(next(&mut dialler).await, Event::Failed(_)));
        let begun = Instant::now();
        assert!(matches!(next(&mut dialler).await, Event::Failed(_)));
        assert!(begun.elapsed() >= Duration::from_millis(30), "the retry time is kept");
    }

    #[test]
    fn what_does_not_last_is_tried_less_and_less_often() {
        let ms = Duration::from_millis;
        let mut pauses = Pauses { fixed: None, longest: ms(350), next: FIRST_PAUSE };
        let waits: Vec<_> =
            [false, false, false, false, true, false].map(|lasted| pauses.after(lasted)).into();
        assert_eq!(waits, [Some(ms(100)), Some(ms(200)), Some(ms(350)), Some(ms(350)), None, Some(ms(100))]);
        pauses.fixed = Some(ms(7));
        assert_eq!([true, false, true].map(|lasted| pauses.after(lasted)), [Some(ms(7)); 3]);
    }
}
