//! Paced traffic on every port of a bed: what is sent when, and what came of it.
//!
//! Each device sends pieces at a steady rate, each client requests that its device answers; the ports take
//! turns, evenly spread over time. Two threads drive it all, one for the devices, one for the clients.
//! Both keep to a timetable; how late the first of them is, is measured with the rest.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::bed::Bed;
use super::frame::{Kind, Piece, Reader, SIZE};

/// Interval at which a thread looks at its timetable.
const TICK_NANOS: i64 = 250_000;
/// Nothing arriving for this long means that the rest is lost.
const STALLED: Duration = Duration::from_secs(5);
/// Longest time that what was sent may take to arrive once sending has ended.
const DRAIN: Duration = Duration::from_secs(60);
/// How long to listen for bytes that should not come.
const SILENCE: Duration = Duration::from_millis(20);
/// Bytes taken by one read.
const CHUNK: usize = 16 * 1024;
const EVENTS: usize = 256;
/// Event of the timer.
const TIMER: u64 = u64::MAX;

/// What to send.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Bytes a second from each device.
    pub(crate) rate: f64,
    /// Requests a second from each client.
    pub(crate) requests: f64,
    /// How long.
    pub(crate) time: Duration,
}

/// What came of it. Times are nanoseconds, sorted.
pub(crate) struct Outcome {
    /// From a piece being written at the device until it was read at the client.
    pub(crate) one_way: Vec<u64>,
    /// From a request being written by the client until its answer was read there.
    pub(crate) round_trip: Vec<u64>,
    /// How late after its time each piece was given to the device.
    pub(crate) lateness: Vec<u64>,
    /// Bytes the devices were to send, had sent in time, and that had arrived in time.
    pub(crate) wanted: u64,
    pub(crate) offered: u64,
    pub(crate) delivered: u64,
    /// Pieces that had to wait, because the device's queue was full.
    pub(crate) refused: u64,
    /// Until the last piece had arrived.
    pub(crate) elapsed: Duration,
}

/// When piece `k` of all ports together is due: the ports take turns, each every `turn` nanoseconds.
#[derive(Clone, Copy)]
struct Timetable {
    ports: u64,
    /// Pieces of each port.
    each: u64,
    span: u64,
}

impl Timetable {
    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    fn new(ports: usize, each_second: f64, time: Duration) -> Self {
        let each = (each_second * time.as_secs_f64()).round().max(1.0) as u64;
        Self { ports: ports as u64, each, span: time.as_nanos() as u64 }
    }

    fn total(self) -> u64 {
        self.ports * self.each
    }

    fn due(self, piece: u64) -> u64 {
        (u128::from(piece) * u128::from(self.span) / u128::from(self.total())) as u64
    }

    /// How many pieces are due at the time `at`.
    fn by(self, at: u64) -> u64 {
        if at >= self.span {
            return self.total();
        }
        (u128::from(at) * u128::from(self.total()) / u128::from(self.span)) as u64 + 1
    }
}

struct Shared {
    start: Instant,
    data: Timetable,
    requests: Timetable,
    /// Bytes offered in time, of [`Outcome`].
    offered: AtomicU64,
    done: AtomicBool,
    failed: AtomicBool,
}

impl Shared {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Runs the load over all clients of the bed, one a port, until everything sent has arrived. A byte that
/// is lost, altered or repeated is an error.
pub(crate) fn run(bed: &Bed, load: Load) -> Result<Outcome, String> {
    let count = bed.clients.len();
    let shared = Shared {
        start: Instant::now(),
        data: Timetable::new(count, load.rate / f64::from(SIZE as u32), load.time),
        requests: Timetable::new(count, load.requests, load.time),
        offered: AtomicU64::new(0),
        done: AtomicBool::new(false),
        failed: AtomicBool::new(false),
    };
    let failing = |result: Result<_, String>| {
        if result.is_err() {
            shared.failed.store(true, Ordering::Relaxed);
        }
        result
    };
    let (devices, clients) = thread::scope(|scope| {
        let devices = scope.spawn(|| {
            let outcome = devices(bed, &shared);
            shared.failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            outcome
        });
        let clients = failing(clients(bed, &shared));
        shared.done.store(true, Ordering::Relaxed);
        (devices.join().unwrap_or_else(|_| Err("the device thread panicked".into())), clients)
    });
    let words = bed.running.last_words();
    let (mut lateness, refused) = devices.map_err(|error| format!("device: {error}{words}"))?;
    let mut outcome = clients.map_err(|error| format!("client: {error}{words}"))?;
    lateness.sort_unstable();
    outcome.one_way.sort_unstable();
    outcome.round_trip.sort_unstable();
    let offered = shared.offered.load(Ordering::Relaxed);
    Ok(Outcome { lateness, offered, refused, ..outcome })
}

/// The device end of a port.
struct Device<'a> {
    master: &'a File,
    port: u16,
    reader: Reader,
    /// Pieces sent, requests answered.
    data: u32,
    answers: u32,
    /// What the tty has not taken.
    pending: Vec<u8>,
}

impl Device<'_> {
    fn flush(&mut self, index: usize, set: &OwnedFd, waiting: bool) -> Result<(), String> {
        let taken = match (&*self.master).write(&self.pending) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(format!("send: {error}")),
        };
        self.pending.drain(..taken);
        if self.pending.is_empty() == waiting {
            let flags = if waiting { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
            epoll::modify(set, self.master, EventData::new_u64(index as u64), flags)
                .map_err(|error| format!("epoll: {error}"))?;
        }
        Ok(())
    }
}

/// Sends the devices' pieces and answers requests until the clients have all. Gives the lateness of each
/// piece and the number that the device's queue refused at first.
fn devices(bed: &Bed, shared: &Shared) -> Result<(Vec<u64>, u64), String> {
    let mut devices: Vec<Device> = bed
        .clients
        .iter()
        .enumerate()
        .map(|(index, client)| Device {
            master: &bed.ttys[client.port].master,
            port: index as u16,
            reader: Reader::new(index as u16),
            data: 0,
            answers: 0,
            pending: Vec::with_capacity(8 * SIZE),
        })
        .collect();
    let (set, timer) = event_set(devices.iter().map(|device| device.master))?;
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; CHUNK];
    let (mut lateness, mut refused, mut next) = (Vec::with_capacity(shared.data.total() as usize), 0, 0);
    let (total, ports) = (shared.data.total(), shared.data.ports);
    while !shared.done.load(Ordering::Relaxed) && !shared.failed.load(Ordering::Relaxed) {
        let due = shared.data.by(shared.now());
        // one lap of the ports; who is more than a lap behind gives a port several pieces at once
        for first in next..due.min(next + ports) {
            let index = (first % ports) as usize;
            let device = &mut devices[index];
            let waiting = !device.pending.is_empty();
            let now = shared.now();
            for piece in (first..due).step_by(ports as usize) {
                let time = shared.data.due(piece);
                // a piece that cannot leave in time for the peer's sake is as old as its time
                let at = if waiting { time } else { now };
                let piece = Piece { kind: Kind::Data, port: device.port, number: device.data, at };
                device.pending.extend_from_slice(&piece.encode());
                device.data += 1;
                lateness.push(now.saturating_sub(time));
            }
            if waiting {
                refused += 1;
            } else {
                device.flush(index, &set, false)?;
            }
            if now <= shared.data.span {
                let pieces = (due - first).div_ceil(ports);
                shared.offered.fetch_add(pieces * SIZE as u64, Ordering::Relaxed);
            }
        }
        next = due.min(total);
        for index in ready(&set, &timer, &mut events)? {
            let (index, flags) = index;
            let device = &mut devices[index];
            let waiting = !device.pending.is_empty();
            if flags.contains(EventFlags::OUT) && waiting {
                device.flush(index, &set, true)?;
            }
            if !flags.contains(EventFlags::IN) {
                continue;
            }
            let mut master = device.master;
            let count = match master.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(format!("receive: {error}")),
            };
            let Device { reader, pending, answers, .. } = device;
            let waiting = !pending.is_empty();
            reader.feed(&buffer[..count], |piece| {
                if piece.kind != Kind::Request || piece.number != *answers {
                    return Err(format!("wrong data: {piece:?}, not request {answers}"));
                }
                *answers += 1;
                pending.extend_from_slice(&piece.encode());
                Ok(())
            })?;
            if !waiting && !device.pending.is_empty() {
                device.flush(index, &set, false)?;
            }
        }
    }
    Ok((lateness, refused))
}

/// The client end of a port.
struct Client<'a> {
    stream: &'a TcpStream,
    reader: Reader,
    data: u32,
    requests: u32,
    answers: u32,
}

fn clients(bed: &Bed, shared: &Shared) -> Result<Outcome, String> {
    let mut clients: Vec<Client> = bed
        .clients
        .iter()
        .enumerate()
        .map(|(index, client)| Client {
            stream: &client.stream,
            reader: Reader::new(index as u16),
            data: 0,
            requests: 0,
            answers: 0,
        })
        .collect();
    let (set, timer) = event_set(clients.iter().map(|client| client.stream))?;
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; CHUNK];
    let (data, requests) = (shared.data, shared.requests);
    let mut one_way: Vec<u64> = Vec::with_capacity(data.total() as usize);
    let mut round_trip: Vec<u64> = Vec::with_capacity(requests.total() as usize);
    let (mut next, mut delivered, mut last) = (0, None, shared.now());
    let missing = |one_way: &[u64], round_trip: &[u64]| {
        data.total() - one_way.len() as u64 + requests.total() - round_trip.len() as u64
    };
    while missing(&one_way, &round_trip) > 0 {
        let now = shared.now();
        if shared.failed.load(Ordering::Relaxed) {
            return Err("given up".into());
        }
        if now > data.span && delivered.is_none() {
            delivered = Some(one_way.len());
        }
        let stalled = now.saturating_sub(last) > STALLED.as_nanos() as u64;
        if stalled || now > data.span + DRAIN.as_nanos() as u64 {
            let missing = missing(&one_way, &round_trip);
            return Err(format!("stalled: {missing} pieces have not arrived"));
        }
        let due = requests.by(now);
        for index in next..due {
            let index = (index % requests.ports) as usize;
            let client = &mut clients[index];
            let at = shared.now();
            let piece = Piece { kind: Kind::Request, port: index as u16, number: client.requests, at };
            client.requests += 1;
            let mut stream = client.stream;
            // a few requests a second fit the socket's buffer as long as the peer takes any
            stream.write_all(&piece.encode()).map_err(|error| format!("send: {error}"))?;
        }
        next = due;
        for (index, _) in ready(&set, &timer, &mut events)? {
            let Client { stream, reader, data, requests, answers } = &mut clients[index];
            let mut stream = *stream;
            let count = match stream.read(&mut buffer) {
                Ok(0) => return Err("closed by the peer".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(format!("receive: {error}")),
            };
            last = shared.now();
            reader.feed(&buffer[..count], |piece| {
                let (due, times) = match piece.kind {
                    Kind::Data => (&mut *data, &mut one_way),
                    Kind::Request => (&mut *answers, &mut round_trip),
                };
                if piece.number != *due || (piece.kind == Kind::Request && piece.number >= *requests) {
                    return Err(format!("wrong data: {piece:?}, not {due}"));
                }
                *due += 1;
                times.push(last.saturating_sub(piece.at));
                Ok(())
            })?;
            if u64::from(*data) > shared.data.each {
                return Err("more bytes than were sent".into());
            }
        }
    }
    let elapsed = Duration::from_nanos(last);
    silence(&set, &mut events)?;
    let delivered = delivered.unwrap_or(one_way.len()) as u64 * SIZE as u64;
    let wanted = data.total() * SIZE as u64;
    let none = Vec::new();
    Ok(Outcome { one_way, round_trip, lateness: none, wanted, offered: 0, delivered, refused: 0, elapsed })
}

/// All has arrived: anything more is an error.
fn silence(set: &OwnedFd, events: &mut Vec<Event>) -> Result<(), String> {
    let until = Instant::now() + SILENCE;
    while Instant::now() < until {
        events.clear();
        // the timer wakes this up
        epoll::wait(set, spare_capacity(events), None).map_err(|error| format!("epoll: {error}"))?;
        if events.drain(..).any(|event| event.data.u64() != TIMER) {
            return Err("more bytes than were sent".into());
        }
    }
    Ok(())
}

/// An epoll set of `files`, in order, all for reading, with a periodic timer.
pub(super) fn event_set<F: AsFd>(files: impl Iterator<Item = F>) -> Result<(OwnedFd, OwnedFd), String> {
    let make = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, file) in files.enumerate() {
            epoll::add(&set, file, EventData::new_u64(index as u64), EventFlags::IN)?;
        }
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK_NANOS };
        let times = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        epoll::add(&set, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok((set, timer))
    };
    make().map_err(|error| format!("epoll: {error}"))
}

/// Waits for a tick of the timer or something ready; what is ready, by index.
pub(super) fn ready<'a>(
    set: &OwnedFd,
    timer: &OwnedFd,
    events: &'a mut Vec<Event>,
) -> Result<impl Iterator<Item = (usize, EventFlags)> + use<'a>, String> {
    events.clear();
    match epoll::wait(set, spare_capacity(events), None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(format!("epoll: {error}")),
    }
    if events.iter().any(|event| event.data.u64() == TIMER) {
        // only clears it; a tick that came to nothing is no matter
        let _ = rustix::io::read(timer, &mut [0; 8]);
    }
    let others = events.iter().filter(|event| event.data.u64() != TIMER);
    Ok(others.map(|event| (event.data.u64() as usize, event.flags)))
}

/// The smallest of the sorted `times` that the share `part` of them do not exceed (nearest rank), in
/// milliseconds; NaN of none.
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "counts and times, far below 2^52")]
pub(crate) fn percentile(times: &[u64], part: f64) -> f64 {
    let rank = (times.len() as f64 * part).ceil().max(1.0) as usize;
    times.get(rank.min(times.len()).wrapping_sub(1)).map_or(f64::NAN, |&nanos| nanos as f64 / 1e6)
}
