//! The `floor` peers: forwarders that do nothing but forward, as yardsticks.
//!
//! `floor` has one thread, one epoll, one buffer a direction, one read and one write a wake-up.
//! `floor-large` takes all there is, up to a full buffer, before it writes, and writes until nothing is
//! left; `floor-threads` has a thread a direction and blocks. The benchmark starts itself as these
//! processes, and as the one of [`floor_tokio`], so that they are measured exactly as the other peers are.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::ends::open_raw;
use crate::fault::{Fault, Spoiler};
use crate::{floor_many, floor_tokio};

/// Bytes one direction holds.
pub(crate) const BUFFER: usize = 64 * 1024;

const TTY: u64 = 0;
const NET: u64 = 1;

/// How a forwarder goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Manner {
    Plain,
    Large,
    Threads,
    Tokio,
}

/// Command line of the forwarder, hidden in that of the benchmark that starts itself as one.
#[derive(clap::Args)]
#[allow(clippy::struct_field_names, reason = "the names are those of the options")]
pub(crate) struct FloorArgs {
    #[arg(long, hide = true, requires = "floor_device")]
    floor_port: Option<u16>,
    #[arg(long, hide = true, requires = "floor_port")]
    floor_device: Option<PathBuf>,
    /// Lines of port and device: the forwarder of many ports
    #[arg(long, hide = true)]
    floor_list: Option<PathBuf>,
    #[arg(long, hide = true)]
    floor_fault: Option<Fault>,
    #[arg(long, hide = true, requires = "floor_port", default_value_t = 1)]
    floor_clients: usize,
    #[arg(long, hide = true, requires = "floor_port", default_value = "plain")]
    floor_manner: Manner,
}

impl FloorArgs {
    /// The forwarder to be, when the benchmark started this process as its `floor` peer.
    pub(crate) fn forwarder(&self) -> Option<Forwarder> {
        Some(Forwarder {
            port: self.floor_port?,
            device: self.floor_device.clone()?,
            clients: self.floor_clients,
            manner: self.floor_manner,
            fault: self.floor_fault,
        })
    }

    /// The same for the forwarder of many ports: its list.
    pub(crate) fn forwarders(&self) -> Option<(PathBuf, Option<Fault>)> {
        Some((self.floor_list.clone()?, self.floor_fault))
    }
}

/// What to forward.
pub(crate) struct Forwarder {
    pub(crate) port: u16,
    pub(crate) device: PathBuf,
    /// Clients to wait for and to serve at once.
    pub(crate) clients: usize,
    pub(crate) manner: Manner,
    pub(crate) fault: Option<Fault>,
}

/// Serves one client after the other between `127.0.0.1:port` and the device, which is open while there is
/// one; or several at once until one of the two sides has closed.
pub(crate) fn run(forwarder: &Forwarder) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forwarder.port))?;
    if forwarder.clients > 1 {
        return floor_many::run(forwarder, &listener);
    }
    let mut lanes = [Lane::new(forwarder), Lane::new(forwarder)];
    loop {
        let (mut net, _) = listener.accept()?;
        net.set_nodelay(true)?;
        let mut tty = open_raw(&forwarder.device)?;
        if forwarder.manner == Manner::Threads {
            return block(&tty, &net);
        }
        net.set_nonblocking(true)?;
        if forwarder.manner == Manner::Tokio {
            return floor_tokio::forward(&tty, &net);
        }
        match forward(&mut tty, &mut net, &mut lanes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            other => return other,
        }
    }
}

/// Both directions, each in a thread that waits in its reads and writes; the end of one ends the process.
fn block(tty: &File, net: &TcpStream) -> io::Result<()> {
    rustix::io::ioctl_fionbio(tty, false)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            // an error is an end like any other here
            let _ = copy(tty, net);
            process::exit(0);
        });
        copy(net, tty)
    })?;
    process::exit(0)
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn forward(tty: &mut File, net: &mut TcpStream, lanes: &mut [Lane; 2]) -> io::Result<()> {
    let [to_net, to_tty] = lanes;
    to_net.clear();
    to_tty.clear();
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
                step(readable, to_net, tty, net)?;
                if writable {
                    to_tty.write(tty)?;
                }
            } else {
                step(readable, to_tty, net, tty)?;
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

/// One direction: a buffer that is filled by one read, or several, and emptied before the next.
pub(crate) struct Lane {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether to read and write on until the other side has no more or takes no more.
    drains: bool,
    spoiler: Option<Spoiler>,
}

impl Lane {
    pub(crate) fn new(forwarder: &Forwarder) -> Self {
        let (drains, spoiler) = (forwarder.manner == Manner::Large, forwarder.fault.map(Spoiler::new));
        // one byte more than is read, for the fault that doubles one
        Self { buffer: vec![0; BUFFER + 1], start: 0, end: 0, drains, spoiler }
    }

    /// Forgets what is left of a client that has gone.
    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// What is to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
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

    /// Fills the empty buffer. The end of the other side is an error, unless something came before it.
    pub(crate) fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        loop {
            match from.read(&mut self.buffer[self.end..BUFFER]) {
                Ok(0) if self.end == 0 => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if !self.drains || self.end == BUFFER {
                break;
            }
        }
        if let Some(spoiler) = &mut self.spoiler {
            self.end = spoiler.spoil(&mut self.buffer, self.end);
        }
        Ok(())
    }

    fn write(&mut self, to: &mut impl Write) -> io::Result<()> {
        while !self.is_empty() {
            match to.write(&self.buffer[self.start..self.end]) {
                Ok(count) => self.start += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if !self.drains {
                break;
            }
        }
        Ok(())
    }
}
