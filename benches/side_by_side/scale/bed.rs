//! A test bed: so many ptys, one process of a peer that serves them all, and the clients.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::sockets;
use crate::ends::pty;
use crate::peer::Peer;
use crate::process::Running;

/// Time a peer has until all its ports listen.
const START: Duration = Duration::from_secs(30);
/// Time a byte of the opening exchange has.
const OPENING: Duration = Duration::from_secs(10);
/// Interval at which the listening sockets are looked at.
const LOOK: Duration = Duration::from_millis(1);
/// No processor time for this long means that a peer has finished starting.
const SETTLED: Duration = Duration::from_millis(100);
/// Time it has for that.
const SETTLING: Duration = Duration::from_secs(5);

/// The tty of one port.
pub(crate) struct Tty {
    pub(crate) master: File,
    path: PathBuf,
    /// Kept open so that the master reports no hang-up while no peer has the device open.
    _slave: File,
}

impl Tty {
    fn create() -> io::Result<Self> {
        let (master, slave, path) = pty()?;
        Ok(Self { master, path, _slave: slave })
    }
}

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) rss: f64,
    /// Pages shared with other processes counted by share.
    pub(crate) pss: f64,
}

/// A client of a port.
pub(crate) struct Client {
    /// Index of the port.
    pub(crate) port: usize,
    pub(crate) stream: TcpStream,
}

/// The bed. The clients close first, then the peer ends, then the ptys go.
pub(crate) struct Bed {
    pub(crate) clients: Vec<Client>,
    pub(crate) running: Running,
    pub(crate) ttys: Vec<Tty>,
    pub(crate) ports: Vec<u16>,
    peer: Peer,
    options: Vec<&'static str>,
    /// From before the peer was started until all ports were seen to listen.
    pub(crate) start_up: Duration,
}

impl Bed {
    /// Starts `peer` with `count` ports, each with the further `options` lines, and waits until all
    /// listen. Nothing connects meanwhile. The error says why it cannot be had.
    pub(crate) fn start(peer: Peer, count: usize, more: &[&'static str]) -> Result<Self, String> {
        let ttys: io::Result<Vec<Tty>> = (0..count).map(|_| Tty::create()).collect();
        let ttys = ttys.map_err(|error| format!("no {count} ptys: {error}"))?;
        let ports = sockets::free(count).map_err(|error| error.to_string())?;
        let mut options = more.to_vec();
        if matches!(peer, Peer::SerbrokerTuned | Peer::Ser2netNodelay) {
            options.push("chardelay: false");
        }
        let dir = tempfile::tempdir().map_err(|error| format!("not started: {error}"))?;
        write_list(peer, &options, &ports, &ttys, dir.path()).map_err(|error| format!("list: {error}"))?;
        let command = command(peer, dir.path());
        let begun = Instant::now();
        let mut running = Running::launch(peer.installation(), ports[0], dir, command)?;
        wait_for(&mut running, &ports)?;
        let start_up = begun.elapsed();
        Ok(Self { clients: Vec::new(), running, ttys, ports, peer, options, start_up })
    }

    /// Writes the peer's file anew, with the ports as they are in `self.ports` now.
    pub(crate) fn rewrite(&self) -> io::Result<()> {
        write_list(self.peer, &self.options, &self.ports, &self.ttys, self.running.dir())
    }

    /// Waits until the peer has used no processor time for a while.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let deadline = Instant::now() + SETTLING;
        let mut before = self.running.cpu()?;
        while Instant::now() < deadline {
            thread::sleep(SETTLED);
            let now = self.running.cpu()?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Connects a client to each of the ports `which`, then lets one byte go each way on each: the
    /// device is open and what it holds of old input is flushed.
    pub(crate) fn connect(&mut self, which: impl IntoIterator<Item = usize>) -> Result<(), String> {
        let begun = self.clients.len();
        for port in which {
            let stream = self.dial(port)?;
            (&stream).write_all(&[greeting(port)]).map_err(|error| format!("client {port}: {error}"))?;
            self.clients.push(Client { port, stream });
        }
        let words = |error: String, running: &Running| format!("opening: {error}{}", running.last_words());
        for Client { port, .. } in &self.clients[begun..] {
            let master = &self.ttys[*port].master;
            expect(master, greeting(*port))
                .map_err(|error| words(format!("device {port}: {error}"), &self.running))?;
            (&*master).write_all(&[!greeting(*port)]).map_err(|error| format!("device {port}: {error}"))?;
        }
        for Client { port, stream } in &self.clients[begun..] {
            expect(stream, !greeting(*port))
                .map_err(|error| words(format!("client {port}: {error}"), &self.running))?;
        }
        Ok(())
    }

    /// One more client of a port that has some; what it is sent is not looked at here.
    pub(crate) fn dial(&self, port: usize) -> Result<TcpStream, String> {
        let open = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[port]))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        open().map_err(|error: io::Error| format!("client {port}: {error}{}", self.running.last_words()))
    }

    /// Resident memory of the peer, from `/proc/PID/smaps_rollup`.
    pub(crate) fn memory(&self) -> Result<Memory, String> {
        let path = format!("/proc/{}/smaps_rollup", self.running.id());
        let text = fs::read_to_string(path).map_err(|error| format!("memory: {error}"))?;
        let field = |name: &str| -> Result<f64, String> {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            value
                .and_then(|value| value.parse().ok())
                .ok_or_else(|| format!("the peer has ended{}", self.running.last_words()))
        };
        Ok(Memory { rss: field("Rss:")?, pss: field("Pss:")? })
    }
}

/// Reads one byte, which must be `due`.
pub(crate) fn expect<F: AsFd>(file: &F, due: u8) -> Result<(), String>
where
    for<'a> &'a F: Read,
{
    let timeout = Timespec::try_from(OPENING).map_err(|error| error.to_string())?;
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    if poll(&mut fds, Some(&timeout)).map_err(|error| error.to_string())? == 0 {
        return Err("no byte in time".into());
    }
    let mut byte = [0; 2];
    let mut file = file;
    match file.read(&mut byte) {
        Ok(1) if byte[0] == due => Ok(()),
        Ok(0) => Err("closed".into()),
        Ok(1) => Err(format!("wrong data: 0x{:02x}, not 0x{due:02x}", byte[0])),
        Ok(_) => Err("wrong data: more bytes than were sent".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The byte a client of a port sends first; the device answers with its complement.
fn greeting(port: usize) -> u8 {
    (port % 251) as u8
}

fn wait_for(running: &mut Running, ports: &[u16]) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        let listening = sockets::listening().map_err(|error| format!("/proc/net/tcp: {error}"))?;
        let missing = ports.iter().filter(|port| !listening.contains(port)).count();
        if missing == 0 {
            return Ok(());
        }
        if let Some(status) = running.ended() {
            return Err(format!("ended without listening ({status}){}", running.last_words()));
        }
        if Instant::now() > deadline {
            return Err(format!("{missing} of {} ports do not listen{}", ports.len(), running.last_words()));
        }
        thread::sleep(LOOK);
    }
}

/// The peer's file: YAML for those that read it, lines of port and device for the floor.
fn write_list(peer: Peer, options: &[&str], ports: &[u16], ttys: &[Tty], dir: &Path) -> io::Result<()> {
    let mut text = String::new();
    let yaml = !matches!(peer, Peer::Floor(_) | Peer::Faulty(_));
    if yaml {
        text.push_str("%YAML 1.1\n---\n");
    }
    for (index, (port, tty)) in ports.iter().zip(ttys).enumerate() {
        let device = tty.path.display();
        // writing to a String cannot fail
        let _ = if yaml {
            writeln!(
                text,
                "connection: &p{index}\n  accepter: tcp,127.0.0.1,{port}\n  \
                 connector: serialdev,{device},115200n81,local"
            )
        } else {
            writeln!(text, "{port} {device}")
        };
        if yaml && !options.is_empty() {
            let _ = writeln!(text, "  options:");
            for option in options {
                let _ = writeln!(text, "    {option}");
            }
        }
    }
    fs::write(file(dir), text)
}

fn file(dir: &Path) -> PathBuf {
    dir.join("peer.yaml")
}

fn command(peer: Peer, dir: &Path) -> io::Result<Command> {
    let mut command = match peer {
        Peer::Floor(_) | Peer::Faulty(_) => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--floor-list").arg(file(dir));
            if let Peer::Faulty(fault) = peer {
                command.arg("--floor-fault").arg(format!("{fault:?}").to_lowercase());
            }
            return Ok(command);
        }
        Peer::Serbroker | Peer::SerbrokerTuned => Command::new(env!("CARGO_BIN_EXE_serbroker")),
        _ => Command::new("ser2net"),
    };
    command.arg("-n").arg("-c").arg(file(dir));
    Ok(command)
}
