//! SIGHUP with many ports: how long a changed port takes, and what the clients of others notice.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventFlags};
use rustix::process::Signal;

use super::bed::Bed;
use super::paced::{event_set, ready};
use super::sockets;
use crate::peer::Peer;
use crate::table::{Column, Round, Show};

/// Time the round trips run before the signal, and after the change.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(300);
/// So long after the signal at the least, round trips count as meanwhile: the program may still be at it when
/// the port has changed.
const MEANWHILE: Duration = Duration::from_millis(50);
/// Time the change may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Interval at which the new port is tried.
const TRY: Duration = Duration::from_micros(200);
/// Interval at which the old one is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// Pause of a live connection between an answer and its next request.
const PAUSE: Duration = Duration::from_millis(2);
/// Time the last requests have to be answered.
const ANSWER: Duration = Duration::from_secs(2);

/// The columns of [`measure`]'s figures.
pub(crate) fn columns() -> Vec<Column> {
    vec![
        Column::new("new port listens after ms (lowest–highest)", "effective ms", Show::Range),
        Column::new("old listener gone after ms", "old gone ms", Show::Range),
        Column::new("worst round trip before, ms", "worst before ms", Show::Range),
        Column::new("worst round trip meanwhile, ms", "worst ms", Show::Range),
        Column::new("connections kept", "connections kept", Show::Median),
        Column::new("connections lost", "connections lost", Show::Median),
    ]
}

/// The round trips of the live connections.
struct Trips {
    /// When each began, from the start of the run, and how long it took.
    times: Vec<(Duration, Duration)>,
    /// Connections that closed or never answered again.
    lost: usize,
}

/// Moves the last of `count` ports of `peer` to another TCP port while `live` others have a client. A
/// lost connection, an old listener that stays, or an end of the peer is an error that says so.
#[expect(clippy::cast_precision_loss, reason = "a few connections")]
pub(crate) fn measure(peer: Peer, count: usize, live: usize) -> Result<Round, String> {
    let mut bed = Bed::start(peer, count, &[])?;
    bed.settle()?;
    let step = (count - 1) / live;
    bed.connect((0..live).map(|index| index * step))?;
    let fresh = sockets::free(1).map_err(|error| error.to_string())?[0];
    let old = std::mem::replace(&mut bed.ports[count - 1], fresh);
    bed.rewrite().map_err(|error| format!("the peer's file: {error}"))?;

    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let (changed, trips) = thread::scope(|scope| {
        let trips = scope.spawn(|| trips(&bed, start, &stop));
        thread::sleep(BEFORE);
        let changed = change(&bed, fresh, old, start);
        thread::sleep(AFTER);
        stop.store(true, Ordering::Relaxed);
        (changed, trips.join().unwrap_or_else(|_| Err("the thread of the connections panicked".into())))
    });
    if let Some(status) = bed.running.ended() {
        return Err(format!("ended at SIGHUP ({status}){}", bed.running.last_words()));
    }
    let Trips { times, lost } = trips?;
    let losses = format!("{lost} of {live} connections lost at SIGHUP");
    let (hup, listens, gone) = changed.map_err(|error| format!("{error}; {losses}"))?;
    if lost > 0 {
        return Err(losses);
    }
    let end = listens.max(gone).max(hup + MEANWHILE);
    let worst = |within: &dyn Fn(Duration, Duration) -> bool| {
        let times = times.iter().filter(|&&(at, took)| within(at, at + took));
        times.map(|&(_, took)| took).max().map_or(f64::NAN, milliseconds)
    };
    Ok(Round::from([
        ("effective ms", milliseconds(listens.saturating_sub(hup))),
        ("old gone ms", milliseconds(gone.saturating_sub(hup))),
        ("worst before ms", worst(&|_, until| until < hup)),
        ("worst ms", worst(&|from, until| until >= hup && from <= end)),
        ("connections kept", (live - lost) as f64),
        ("connections lost", lost as f64),
    ]))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Sends SIGHUP and waits for the new port and for the end of the old one. Gives the times of the three
/// from `start`.
fn change(bed: &Bed, fresh: u16, old: u16, start: Instant) -> Result<(Duration, Duration, Duration), String> {
    let hup = start.elapsed();
    bed.running.signal(Signal::HUP).map_err(|error| format!("SIGHUP: {error}"))?;
    let late = || start.elapsed() > hup + LIMIT;
    // a refused connection costs the peer nothing
    while TcpStream::connect((Ipv4Addr::LOCALHOST, fresh)).is_err() {
        if late() || bed.running.cpu().is_err() {
            return Err(format!("the new port does not listen {} s after SIGHUP", LIMIT.as_secs()));
        }
        thread::sleep(TRY);
    }
    let listens = start.elapsed();
    while sockets::is_taken(old).map_err(|error| error.to_string())? {
        if late() {
            return Err(format!("the old port still listens {} s after SIGHUP", LIMIT.as_secs()));
        }
        thread::sleep(LOOK);
    }
    Ok((hup, listens, start.elapsed()))
}

/// A connection that makes round trips of one byte, each device answering with the complement.
struct Live {
    next: u8,
    /// When the request on its way was sent.
    asked: Option<Duration>,
    /// When to ask next.
    due: Duration,
    /// Bytes the device owes.
    owed: VecDeque<u8>,
    lost: bool,
}

fn trips(bed: &Bed, start: Instant, stop: &AtomicBool) -> Result<Trips, String> {
    let count = bed.clients.len();
    let streams: Vec<&TcpStream> = bed.clients.iter().map(|client| &client.stream).collect();
    let masters: Vec<_> = bed.clients.iter().map(|client| &bed.ttys[client.port].master).collect();
    let fds = streams.iter().map(|stream| stream.as_fd()).chain(masters.iter().map(|tty| tty.as_fd()));
    let (set, timer) = event_set(fds)?;
    let mut live: Vec<Live> = (0..count)
        .map(|index| Live {
            next: index as u8,
            asked: None,
            // spread over a pause, not all at once
            due: PAUSE * index as u32 / count as u32,
            owed: VecDeque::new(),
            lost: false,
        })
        .collect();
    let (mut times, mut events, mut ended) = (Vec::new(), Vec::with_capacity(2 * count), None);
    loop {
        if stop.load(Ordering::Relaxed) {
            let ended = *ended.get_or_insert_with(|| start.elapsed());
            let waiting = live.iter().filter(|one| !one.lost && one.asked.is_some()).count();
            if waiting == 0 || start.elapsed() > ended + ANSWER {
                let lost = live.iter().filter(|one| one.lost).count() + waiting;
                return Ok(Trips { times, lost });
            }
        } else {
            for (one, mut stream) in live.iter_mut().zip(streams.iter().copied()) {
                let now = start.elapsed();
                if !one.lost && one.asked.is_none() && now >= one.due {
                    one.lost = stream.write_all(&[one.next]).is_err();
                    one.asked = Some(now);
                }
            }
        }
        for (index, flags) in ready(&set, &timer, &mut events)? {
            let mut byte = [0; 2];
            if index >= count {
                let one = &mut live[index - count];
                let mut master = masters[index - count];
                if flags.contains(EventFlags::IN) && matches!(master.read(&mut byte), Ok(1)) {
                    if byte[0] != one.next {
                        return Err(format!("wrong data: 0x{:02x} at the device", byte[0]));
                    }
                    one.owed.push_back(!byte[0]);
                }
                while let Some(&answer) = one.owed.front() {
                    if !matches!(master.write(&[answer]), Ok(1)) {
                        break;
                    }
                    one.owed.pop_front();
                }
                continue;
            }
            let one = &mut live[index];
            let mut stream = streams[index];
            match stream.read(&mut byte) {
                Ok(1) if byte[0] == !one.next => {
                    let now = start.elapsed();
                    if let Some(asked) = one.asked.take() {
                        times.push((asked, now.saturating_sub(asked)));
                    }
                    one.next = one.next.wrapping_add(1);
                    one.due = now + PAUSE;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(1..) => return Err(format!("wrong data: 0x{:02x} at the client", byte[0])),
                Ok(0) | Err(_) => {
                    one.lost = true;
                    epoll::delete(&set, stream).map_err(|error| format!("epoll: {error}"))?;
                }
            }
        }
    }
}
