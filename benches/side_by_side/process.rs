//! A running peer: start, connect, cost, end.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::peer::Peer;

/// Time a peer has to listen; one that is watched by another program takes longer.
const START: Duration = Duration::from_secs(20);
/// Time a peer has to end after SIGTERM.
const END: Duration = Duration::from_secs(5);
/// Interval at which a condition of another process is looked at.
const RETRY: Duration = Duration::from_millis(2);

/// A started peer; ended when dropped.
pub(crate) struct Running {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Running {
    /// Starts `peer` for `device`. The error says why it cannot be had.
    pub(crate) fn start(peer: Peer, device: &Path, telnet: bool) -> Result<Self, String> {
        Self::launch(|port, dir| peer.command(port, device, telnet, dir))
    }

    /// Starts what `command` makes of a free port to listen on and a directory for its files.
    pub(crate) fn launch(command: impl FnOnce(u16, &Path) -> io::Result<Command>) -> Result<Self, String> {
        let failed = |error: io::Error| format!("not started: {error}");
        let dir = tempfile::tempdir().map_err(failed)?;
        let port = free_port().map_err(failed)?;
        let log = File::create(dir.path().join("log")).map_err(failed)?;
        let spawned = command(port, dir.path()).and_then(|mut command| {
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
        });
        match spawned {
            Ok(child) => Ok(Self { child, port, dir }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err("not installed".into()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Connects as soon as the peer listens.
    pub(crate) fn connect(&mut self) -> Result<TcpStream, String> {
        let deadline = Instant::now() + START;
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
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

    /// The last line the peer wrote, as the end of an error.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        text.lines().rfind(|line| !line.trim().is_empty()).map_or_else(String::new, |line| {
            let line: String = line.trim().chars().take(120).collect();
            format!(": {line}")
        })
    }

    /// Processor time of all threads so far. From `/proc/PID/task/*/schedstat`, in nanoseconds; where the
    /// kernel does not keep it, from `/proc/PID/stat`, in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let process = format!("/proc/{}", self.child.id());
        scheduled(&process)
            .or_else(|| ticks(&process))
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
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // fails only when the peer has ended already
            let _ = kill_process(pid, Signal::TERM);
        }
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

fn scheduled(process: &str) -> Option<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("{process}/task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (total > 0).then(|| Duration::from_nanos(total))
}

fn ticks(process: &str) -> Option<Duration> {
    let text = fs::read_to_string(format!("{process}/stat")).ok()?;
    // the name, field 2, may hold spaces and parentheses; utime and stime are fields 14 and 15
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let total = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_millis(total * 10))
}

/// A port of the loopback that nobody listened on a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
