//! The `floor` peer: a forwarder that does nothing but forward, as a yardstick.
//!
//! One thread, one epoll, one buffer a direction, one read and one write a wake-up. The benchmark starts
//! itself as this process, so that it is measured exactly as the other peers are.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::ends::open_raw;

/// Bytes one direction holds.
const BUFFER: usize = 64 * 1024;
/// Where a [`Fault`] strikes in each direction: soon after the opening exchange.
const FAULT_AT: u64 = 40;

const TTY: u64 = 0;
const NET: u64 = 1;

/// A deliberate error, with which the benchmark checks that it would notice one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// One bit is changed.
    Flip,
    /// One byte is left out.
    Drop,
    /// One byte is sent twice.
    Double,
}

/// Command line of the forwarder, hidden in that of the benchmark that starts itself as one.
#[derive(clap::Args)]
#[allow(clippy::struct_field_names, reason = "the names are those of the options")]
pub(crate) struct FloorArgs {
    #[arg(long, hide = true, requires = "floor_device")]
    floor_port: Option<u16>,
    #[arg(long, hide = true, requires = "floor_port")]
    floor_device: Option<PathBuf>,
    #[arg(long, hide = true, requires = "floor_port")]
    floor_fault: Option<Fault>,
}

impl FloorArgs {
    /// The forwarder to be, when the benchmark started this process as its `floor` peer.
    pub(crate) fn forwarder(&self) -> Option<Forwarder> {
        Some(Forwarder {
            port: self.floor_port?,
            device: self.floor_device.clone()?,
            fault: self.floor_fault,
        })
    }
}

/// What to forward.
pub(crate) struct Forwarder {
    pub(crate) port: u16,
    pub(crate) device: PathBuf,
    pub(crate) fault: Option<Fault>,
}

/// Serves one client between `127.0.0.1:port` and the device, until either side closes.
pub(crate) fn run(forwarder: &Forwarder) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forwarder.port))?;
    let (mut net, _) = listener.accept()?;
    net.set_nodelay(true)?;
    net.set_nonblocking(true)?;
    let mut tty = open_raw(&forwarder.device)?;
    match forward(&mut tty, &mut net, forwarder.fault) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        other => other,
    }
}

fn forward(tty: &mut File, net: &mut TcpStream, fault: Option<Fault>) -> io::Result<()> {
    let mut to_net = Lane::new(fault);
    let mut to_tty = Lane::new(fault);
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let mut interest = [EventFlags::IN; 2];
    epoll::add(&set, tty.as_fd(), EventData::new_u64(TTY), interest[0])?;
    epoll::add(&set, net.as_fd(), EventData::new_u64(NET), interest[1])?;
    let mut events = Vec::with_capacity(2);
    loop {
        match epoll::wait(&set, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let (flags, source) = (event.flags, event.data.u64());
            let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            let writable = flags.contains(EventFlags::OUT);
            if source == TTY {
                step(readable, &mut to_net, tty, net)?;
                if writable {
                    to_tty.write(tty)?;
                }
            } else {
                step(readable, &mut to_tty, net, tty)?;
                if writable {
                    to_net.write(net)?;
                }
            }
        }
        let wanted = [to_net.interest() | to_tty.demand(), to_tty.interest() | to_net.demand()];
        if wanted[0] != interest[0] {
            epoll::modify(&set, tty.as_fd(), EventData::new_u64(TTY), wanted[0])?;
        }
        if wanted[1] != interest[1] {
            epoll::modify(&set, net.as_fd(), EventData::new_u64(NET), wanted[1])?;
        }
        interest = wanted;
    }
}

fn step(readable: bool, lane: &mut Lane, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    if readable && lane.is_empty() {
        lane.read(from)?;
        lane.write(to)?;
    }
    Ok(())
}

/// One direction: a buffer that is filled by one read and emptied before the next.
struct Lane {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    passed: u64,
    fault: Option<Fault>,
}

impl Lane {
    fn new(fault: Option<Fault>) -> Self {
        // one byte more than is read, for the fault that doubles one
        Self { buffer: vec![0; BUFFER + 1], start: 0, end: 0, passed: 0, fault }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn interest(&self) -> EventFlags {
        if self.is_empty() { EventFlags::IN } else { EventFlags::empty() }
    }

    fn demand(&self) -> EventFlags {
        if self.is_empty() { EventFlags::empty() } else { EventFlags::OUT }
    }

    fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
        match from.read(&mut self.buffer[..BUFFER]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => (self.start, self.end) = (0, count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(fault) = self.fault {
            self.spoil(fault);
        }
        Ok(())
    }

    /// Applies the fault if the byte it is for is in the buffer.
    fn spoil(&mut self, fault: Fault) {
        let count = self.end;
        let begun = self.passed;
        self.passed += count as u64;
        if !(begun..self.passed).contains(&FAULT_AT) {
            return;
        }
        let at = (FAULT_AT - begun) as usize;
        match fault {
            Fault::Flip => self.buffer[at] ^= 0x10,
            Fault::Drop => {
                self.buffer.copy_within(at + 1..count, at);
                self.end -= 1;
            }
            Fault::Double => {
                self.buffer.copy_within(at..count, at + 1);
                self.end += 1;
            }
        }
    }

    fn write(&mut self, to: &mut impl Write) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        match to.write(&self.buffer[self.start..self.end]) {
            Ok(count) => self.start += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
