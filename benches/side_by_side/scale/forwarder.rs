//! The `floor` of many ports: one thread, one epoll, a listener and a tty a port, one shared buffer.
//!
//! As the programs it stands beside, it opens a device when its client comes and closes it when the
//! client goes. It serves one client a port and nothing but forwards.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::ends::open_raw;
use crate::fault::{Fault, Spoiler};

/// Bytes taken by one read.
const BUFFER: usize = 64 * 1024;
/// Events taken by one wake-up.
const EVENTS: usize = 256;
/// What an event is about, beside the port: the low bits of its data.
const LISTENER: u64 = 0;
const TTY: u64 = 1;
const NET: u64 = 2;
const KINDS: u64 = 3;

struct Port {
    listener: TcpListener,
    device: PathBuf,
    open: Option<Open>,
}

struct Open {
    tty: File,
    net: TcpStream,
    to_net: Lane,
    to_tty: Lane,
}

/// One direction: what one read gave and one write did not take.
struct Lane {
    rest: Vec<u8>,
    spoiler: Option<Spoiler>,
}

/// Serves the ports of `list`, lines of TCP port and device, until it is ended.
pub(crate) fn run(list: &Path, fault: Option<Fault>) -> io::Result<()> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let mut ports = Vec::new();
    for line in fs::read_to_string(list)?.lines() {
        let parts = line.split_once(' ').and_then(|(port, device)| Some((port.parse::<u16>().ok()?, device)));
        let (port, device) = parts.ok_or_else(|| io::Error::other(format!("not a port: {line}")))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        epoll::add(&set, &listener, data(ports.len(), LISTENER), EventFlags::IN)?;
        ports.push(Port { listener, device: device.into(), open: None });
    }
    // one byte more than is read, for the fault that doubles one
    let mut buffer = vec![0; BUFFER + 1];
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        match epoll::wait(&set, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let (index, kind) = ((event.data.u64() / KINDS) as usize, event.data.u64() % KINDS);
            let port = &mut ports[index];
            if kind == LISTENER {
                port.accept(&set, index, fault)?;
            } else if let Some(open) = &mut port.open
                && open.step(&set, index, kind, event.flags, &mut buffer).is_err()
            {
                // closing the descriptors takes them out of the set
                port.open = None;
            }
        }
    }
}

fn data(index: usize, kind: u64) -> EventData {
    EventData::new_u64(index as u64 * KINDS + kind)
}

impl Port {
    fn accept(&mut self, set: &OwnedFd, index: usize, fault: Option<Fault>) -> io::Result<()> {
        let (net, _) = match self.listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        net.set_nodelay(true)?;
        net.set_nonblocking(true)?;
        let tty = open_raw(&self.device)?;
        epoll::add(set, &tty, data(index, TTY), EventFlags::IN)?;
        epoll::add(set, &net, data(index, NET), EventFlags::IN)?;
        self.open = Some(Open { tty, net, to_net: Lane::new(fault), to_tty: Lane::new(fault) });
        Ok(())
    }
}

impl Open {
    /// One event of the port's tty or client. An error means that one of them has closed.
    fn step(
        &mut self,
        set: &OwnedFd,
        index: usize,
        kind: u64,
        flags: EventFlags,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let before = (self.to_net.rest.is_empty(), self.to_tty.rest.is_empty());
        let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
        let writable = flags.contains(EventFlags::OUT);
        let Self { tty, net, to_net, to_tty } = self;
        if kind == TTY {
            to_net.forward(readable, tty, net, buffer)?;
            if writable {
                to_tty.flush(tty)?;
            }
        } else {
            to_tty.forward(readable, net, tty, buffer)?;
            if writable {
                to_net.flush(net)?;
            }
        }
        let after = (to_net.rest.is_empty(), to_tty.rest.is_empty());
        if before != after {
            let interest = |empties: bool, empty: bool| {
                let mut flags = EventFlags::empty();
                flags.set(EventFlags::IN, empties);
                flags.set(EventFlags::OUT, !empty);
                flags
            };
            epoll::modify(set, tty.as_fd(), data(index, TTY), interest(after.0, after.1))?;
            epoll::modify(set, net.as_fd(), data(index, NET), interest(after.1, after.0))?;
        }
        Ok(())
    }
}

impl Lane {
    fn new(fault: Option<Fault>) -> Self {
        Self { rest: Vec::new(), spoiler: fault.map(Spoiler::new) }
    }

    fn forward(
        &mut self,
        readable: bool,
        from: &mut impl Read,
        to: &mut impl Write,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        if !readable || !self.rest.is_empty() {
            return Ok(());
        }
        let mut count = match from.read(&mut buffer[..BUFFER]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(spoiler) = &mut self.spoiler {
            count = spoiler.spoil(buffer, count);
        }
        let taken = write(to, &buffer[..count])?;
        self.rest.extend_from_slice(&buffer[taken..count]);
        Ok(())
    }

    fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        let taken = write(to, &self.rest)?;
        self.rest.drain(..taken);
        Ok(())
    }
}

/// One write; how much was taken, which may be nothing.
fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    match to.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
