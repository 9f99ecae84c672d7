//! A running peer: start, connect, cost, end.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{clock_getcpuclockid, clock_gettime};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::client::Wire;
use crate::peer::{Peer, Setup};
use crate::{pin, tls};

/// Time a peer has to listen.
const START: Duration = Duration::from_secs(5);
/// Time a peer has to end after SIGTERM.
const END: Duration = Duration::from_secs(2);
/// Interval at which a condition of another process is looked at.
const RETRY: Duration = Duration::from_millis(2);

/// The first field of the processor time of ended children in `/proc/PID/stat`.
const CHILDREN: usize = 16;

/// A started peer; ended when dropped.
pub(crate) struct Running {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Running {
    /// Starts `peer` for `device`. The error says why it cannot be had.
    pub(crate) fn start(peer: Peer, device: &Path, setup: Setup) -> Result<Self, String> {
        let failed = |error: io::Error| format!("not started: {error}");
        let dir = tempfile::tempdir().map_err(failed)?;
        let port = free_port().map_err(failed)?;
        if setup.wire == Wire::Tls {
            tls::certify(dir.path())?;
        }
        let command = peer.command(port, device, setup, dir.path());
        Self::launch(peer.installation(), port, dir, command)
    }

    /// Starts a peer by a command whose files are in `dir`. `port` is the one [`Running::connect`] is
    /// for; `installation` ends the error that says that it is not installed.
    pub(crate) fn launch(
        installation: &str,
        port: u16,
        dir: TempDir,
        command: io::Result<Command>,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("not started: {error}");
        let log = File::create(dir.path().join("log")).map_err(failed)?;
        let spawned = command.and_then(|mut command| {
            pin::spawn(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))
        });
        match spawned {
            Ok(child) => Ok(Self { child, port, dir }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("not installed{installation}"))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Connects as soon as the peer listens.
    pub(crate) fn connect(&mut self) -> Result<TcpStream, String> {
        self.connect_with(TcpStream::connect)
    }

    /// As [`Running::connect`], with the smallest receive buffer there is.
    pub(crate) fn connect_narrow(&mut self) -> Result<TcpStream, String> {
        self.connect_with(|address| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_recv_buffer_size(1)?;
            socket.connect(&address.into())?;
            Ok(socket.into())
        })
    }

    fn connect_with(
        &mut self,
        connect: impl Fn(SocketAddr) -> io::Result<TcpStream>,
    ) -> Result<TcpStream, String> {
        let deadline = Instant::now() + START;
        loop {
            match connect((Ipv4Addr::LOCALHOST, self.port).into()) {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                    return Err(format!("connect: {error}"));
                }
                Err(_) => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended without listening ({status}){}", self.last_words()));
            }
            if Instant::now() > deadline {
                return Err(format!("does not listen{}", self.last_words()));
            }
            thread::sleep(RETRY);
        }
    }

    /// Where the peer's files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the peer ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends the peer a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// The last line the peer wrote, as the end of an error.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        text.lines().rfind(|line| !line.trim().is_empty()).map_or_else(String::new, |line| {
            let line: String = line.trim().chars().take(120).collect();
            format!(": {line}")
        })
    }

    /// Processor time so far: of all threads, those that have ended too, in nanoseconds, and of child processes
    /// that have ended, in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let pid = self.child.id();
        i32::try_from(pid)
            .ok()
            .and_then(|pid| clock_gettime(clock_getcpuclockid(nix::unistd::Pid::from_raw(pid)).ok()?).ok())
            .map(Duration::from)
            .zip(ended_children(pid))
            .map(|(own, children)| own + children)
            .ok_or_else(|| format!("no processor time to be had: the peer has ended{}", self.last_words()))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Result<u64, String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.map_err(|error| format!("resident memory: {error}"))?;
        let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        value
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| format!("the peer has ended{}", self.last_words()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // fails only when the peer has ended already
        let _ = self.signal(Signal::TERM);
        let deadline = Instant::now() + END;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(RETRY);
        }
    }
}

/// The user and system time of the children of process `pid` that it has waited for.
fn ended_children(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name, field 2, may hold spaces and parentheses
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(CHILDREN - 3).map(str::parse::<u64>);
    let total = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_millis(total * 10))
}

/// A port of the loopback that nobody listened on a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
