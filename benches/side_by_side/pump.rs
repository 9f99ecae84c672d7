//! Moving and checking a timed stream of bytes through a peer, and small exact exchanges.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::ends::{End, wait};
use crate::pattern::Stream;

/// A stream that makes no progress for this long counts as lost.
pub(crate) const STALLED: Duration = Duration::from_secs(5);
/// How long to listen for bytes that should not come once all have arrived.
const SILENCE: i64 = 20;
/// Longest single wait, after which deadlines and the other side's failure are looked at.
pub(crate) const TICK: i64 = 10;
/// Error of an end that stopped only because the other one had failed.
pub(crate) const GIVEN_UP: &str = "given up";
/// Total of a direction whose sender has not finished.
const UNKNOWN: u64 = u64::MAX;

/// What the two ends of a transfer tell each other beside the bytes.
pub(crate) struct Shared {
    totals: [AtomicU64; 2],
    failed: AtomicBool,
}

/// The two directions of a transfer, as indices of [`Shared`]'s totals.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    ToNet,
    ToDevice,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { totals: [UNKNOWN, UNKNOWN].map(AtomicU64::new), failed: AtomicBool::new(false) }
    }

    /// Tells both ends to give up.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The total of a direction; more than any number of bytes while it is being sent.
    pub(crate) fn due(&self, direction: Direction) -> u64 {
        self.total(direction).load(Ordering::Acquire)
    }

    fn total(&self, direction: Direction) -> &AtomicU64 {
        &self.totals[direction as usize]
    }
}

/// A direction as its sender sees it.
pub(crate) struct Outgoing<'a> {
    pub(crate) direction: Direction,
    pub(crate) stream: Stream<'a>,
    /// When to stop sending.
    pub(crate) until: Instant,
}

/// A direction as its receiver sees it.
pub(crate) struct Incoming<'a> {
    pub(crate) direction: Direction,
    pub(crate) stream: Stream<'a>,
}

/// Payload received at one end.
pub(crate) struct Arrived {
    pub(crate) bytes: u64,
    pub(crate) last: Instant,
}

/// Sends one direction until its time is up, receives the other until everything its sender sent has
/// arrived, and checks every byte. A wrong, missing, surplus or stuck byte is an error.
pub(crate) fn pump(
    end: &mut dyn End,
    outgoing: Option<Outgoing<'_>>,
    incoming: Option<Incoming<'_>>,
    shared: &Shared,
) -> Result<Option<Arrived>, String> {
    let result = run(end, outgoing, incoming, shared);
    if result.is_err() {
        shared.fail();
    }
    result
}

fn run(
    end: &mut dyn End,
    mut outgoing: Option<Outgoing<'_>>,
    mut incoming: Option<Incoming<'_>>,
    shared: &Shared,
) -> Result<Option<Arrived>, String> {
    let mut arrived = None;
    let (mut sent_at, mut received_at) = (Instant::now(), Instant::now());
    loop {
        if shared.failed() {
            return Err(GIVEN_UP.into());
        }
        if let Some(job) = &outgoing
            && Instant::now() >= job.until
            && end.flush().map_err(|error| format!("send: {error}"))?
        {
            shared.total(job.direction).store(job.stream.offset(), Ordering::Release);
            outgoing = None;
        }
        if let Some(job) = &incoming {
            let (got, due) = (job.stream.offset(), shared.due(job.direction));
            if got == due {
                expect_silence(end)?;
                arrived = Some(Arrived { bytes: got, last: received_at });
                incoming = None;
            } else if got > due {
                return Err(format!("{} bytes too many", got - due));
            } else if received_at.elapsed() > STALLED {
                let due = if due == UNKNOWN { "more".to_string() } else { due.to_string() };
                return Err(format!("stalled: {got} bytes arrived of {due}"));
            }
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, outgoing.is_some());
        flags.set(PollFlags::IN, incoming.is_some());
        if flags.is_empty() {
            return Ok(arrived);
        }
        let ready = wait(end, flags, TICK).map_err(|error| format!("poll: {error}"))?;
        if let Some(job) = &mut incoming
            && ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
        {
            match end.receive() {
                Ok(bytes) => {
                    job.stream.verify(bytes)?;
                    received_at = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
        if let Some(job) = &mut outgoing {
            if ready.contains(PollFlags::OUT) && Instant::now() < job.until {
                match end.send(job.stream.upcoming()) {
                    Ok(count) => {
                        job.stream.advance(count);
                        sent_at = Instant::now();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(format!("send: {error}")),
                }
            }
            if sent_at.elapsed() > STALLED {
                return Err(format!("stalled: nothing taken after {} bytes", job.stream.offset()));
            }
        }
    }
}

/// All has arrived: anything more is an error.
pub(crate) fn expect_silence(end: &mut dyn End) -> Result<(), String> {
    if wait(end, PollFlags::IN, SILENCE).map_err(|error| format!("poll: {error}"))?.is_empty() {
        return Ok(());
    }
    match end.receive() {
        Ok([]) => Ok(()),
        Ok(surplus) => Err(format!("{} bytes too many", surplus.len())),
        Err(error) => Err(format!("receive: {error}")),
    }
}

/// Sends all of `bytes` before `deadline`.
pub(crate) fn send_all(end: &mut dyn End, mut bytes: &[u8], deadline: Instant) -> Result<(), String> {
    while !bytes.is_empty() {
        match end.send(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_before(end, PollFlags::OUT, deadline, "nothing taken")?;
            }
            Err(error) => return Err(format!("send: {error}")),
        }
    }
    while !end.flush().map_err(|error| format!("send: {error}"))? {
        wait_before(end, PollFlags::OUT, deadline, "nothing taken")?;
    }
    Ok(())
}

/// Receives `count` payload bytes before `deadline`, each handed to `check`. More is an error.
pub(crate) fn receive_exact(
    end: &mut dyn End,
    count: usize,
    deadline: Instant,
    mut check: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut missing = count;
    while missing > 0 {
        wait_before(end, PollFlags::IN, deadline, "no answer")?;
        match end.receive() {
            Ok(bytes) => {
                check(bytes)?;
                missing = missing.checked_sub(bytes.len()).ok_or("more bytes than were sent")?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("receive: {error}")),
        }
    }
    Ok(())
}

/// Waits for `flags`; past the deadline it is an error that begins with `late`.
pub(crate) fn wait_before(
    end: &dyn End,
    flags: PollFlags,
    deadline: Instant,
    late: &str,
) -> Result<(), String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(format!("{late} in time"));
    }
    let millis = i64::try_from(left.as_millis()).unwrap_or(i64::MAX).max(1);
    wait(end, flags, millis).map(drop).map_err(|error| format!("poll: {error}"))
}
