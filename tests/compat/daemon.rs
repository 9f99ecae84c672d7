//! The program under test as a process.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal, setsid, umask,
};

use crate::witness::Sight;

/// First argument of this very program when it is to become the program under test.
pub(crate) const LAUNCH: &str = "--launch";
/// The mark in the environment by which a program that went to the background is known again.
const MARK: &str = "COMPAT_CASE";
/// A line that depends on what else runs on the machine.
const NOISE: &str = "Unable to start mdns: ";
/// How long a program may take to obey SIGTERM when its case is over.
const GRACE: Duration = Duration::from_millis(400);

pub(crate) struct Daemon {
    child: Child,
    stdin: Option<ChildStdin>,
    partial: [Vec<u8>; 2],
    pub(crate) exited: bool,
    /// Value of [`MARK`].
    mark: PathBuf,
    pid_file: PathBuf,
}

/// How to start it.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a [String],
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(&'static str, PathBuf)>,
    /// Its working directory, where its pid file `pid` will stand if it writes one.
    pub(crate) dir: &'a Path,
    pub(crate) mark: &'a Path,
    /// Whether its standard input is a pipe.
    pub(crate) stdin: bool,
}

/// The second half of starting a program, in the new process: own session, usual umask, end with us.
/// Returns only when the program cannot be started.
pub(crate) fn launch(command: &[OsString]) -> io::Error {
    let Some((program, args)) = command.split_first() else {
        return io::Error::other("nothing to launch");
    };
    umask(Mode::from_raw_mode(0o022));
    if let Err(e) = setsid().and_then(|_| set_parent_process_death_signal(Some(Signal::KILL))) {
        return e.into();
    }
    Command::new(program).args(args).exec()
}

impl Daemon {
    pub(crate) fn start(start: Start<'_>) -> io::Result<Daemon> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(LAUNCH)
            .args(start.program)
            .args(start.args)
            .env("TZ", "UTC")
            .env(MARK, start.mark)
            .envs(start.env)
            .current_dir(start.dir)
            .stdin(if start.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let daemon = Daemon {
            stdin: child.stdin.take(),
            child,
            partial: [Vec::new(), Vec::new()],
            exited: false,
            mark: start.mark.to_owned(),
            pid_file: start.dir.join("pid"),
        };
        for (_, fd) in daemon.outputs() {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(daemon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn outputs(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        let out = self.child.stdout.as_ref().map(AsFd::as_fd);
        let err = self.child.stderr.as_ref().map(AsFd::as_fd);
        [("daemon-stdout", out), ("daemon-stderr", err)]
            .into_iter()
            .filter_map(|(name, fd)| fd.map(|fd| (name, fd)))
    }

    /// What it said or did since the last call: endpoint and sight.
    pub(crate) fn look(&mut self) -> io::Result<Vec<(&'static str, Sight)>> {
        let ended = if self.exited { None } else { self.child.try_wait()? };
        let mut partial = std::mem::take(&mut self.partial);
        let mut sights = Vec::new();
        for ((name, fd), so_far) in self.outputs().zip(&mut partial) {
            read_all(fd, so_far)?;
            let whole = match so_far.iter().rposition(|&b| b == b'\n') {
                _ if ended.is_some() => so_far.len(),
                Some(at) => at + 1,
                None => 0,
            };
            let rest = so_far.split_off(whole);
            for line in String::from_utf8_lossy(so_far).lines().filter(|l| !l.starts_with(NOISE)) {
                sights.push((name, Sight::Line(line.to_owned())));
            }
            *so_far = rest;
        }
        self.partial = partial;
        if let Some(status) = ended {
            self.exited = true;
            let code = status.code().or(status.signal().map(|s| -s)).unwrap_or_default();
            sights.push(("daemon", Sight::Exit { status: code.into() }));
        }
        Ok(sights)
    }

    pub(crate) fn write_stdin(&mut self, text: &str) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), |pipe| pipe.write_all(text.as_bytes()))
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Signals it, or the process that it left in the background.
    pub(crate) fn signal(&self, signal: Signal, background: bool) {
        let pid = if background { self.background_pid() } else { self.foreground_pid() };
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal); // it may just have ended: what is seen then tells
        }
    }

    /// Its working directory, or that of the process it left in the background.
    pub(crate) fn cwd(&self, background: bool) -> Option<PathBuf> {
        let pid = if background { self.background_pid() } else { self.foreground_pid() };
        std::fs::read_link(format!("/proc/{}/cwd", pid?.as_raw_nonzero())).ok()
    }

    fn foreground_pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid().cast_signed()).filter(|_| !self.exited)
    }

    /// The process that its pid file names, if it carries our mark.
    fn background_pid(&self) -> Option<Pid> {
        let pid: i32 = std::fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mark = [MARK.as_bytes(), b"=", self.mark.as_os_str().as_encoded_bytes()].concat();
        let ours = environment.split(|&b| b == 0).any(|v| v == mark) && pid.cast_unsigned() != self.pid();
        Pid::from_raw(pid).filter(|_| ours)
    }

    /// Ends it: kindly, then not.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM, false);
        self.signal(Signal::TERM, true);
        let since = Instant::now();
        while self.child.try_wait()?.is_none() && since.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(group) = Pid::from_raw(self.pid().cast_signed()) {
            // what it left behind is in its group, which nothing else can have joined: it has its own session
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.signal(Signal::KILL, true);
        self.child.wait()?;
        self.exited = true;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.exited || self.background_pid().is_some() {
            let _ = self.end();
        }
    }
}

fn read_all(fd: BorrowedFd<'_>, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(n) => into.extend(&buffer[..n]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// A signal by its name without `SIG`.
pub(crate) fn signal_named(name: &str) -> Option<Signal> {
    Some(match name {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "TERM" => Signal::TERM,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "PIPE" => Signal::PIPE,
        "CHLD" => Signal::CHILD,
        "CONT" => Signal::CONT,
        "STOP" => Signal::STOP,
        _ => return None,
    })
}

/// The file name of a program, to tell which one it is.
pub(crate) fn base_name(program: &str) -> &str {
    Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or(program)
}
