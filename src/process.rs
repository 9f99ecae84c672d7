//! The process as its starter sees it: background, pid file, signals, systemd.

use nix::unistd;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{self, SignalKind};

/// Goes into the background as daemon(3) does: a new session, `/` as working directory, stdin, stdout
/// and stderr on `/dev/null`. The starter's process ends with status 0.
///
/// To be called before any thread or runtime exists: only the calling thread lives on. With glibc the
/// process leads its session, so whoever opens a terminal must say `O_NOCTTY`.
pub fn daemonize() -> io::Result<()> {
    unistd::daemon(false, false).map_err(io::Error::from)
}

/// A file with our process id, removed when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    content: String,
}

impl PidFile {
    /// Writes the file. What was there before is replaced: a stale file is no reason not to start.
    /// To be called after [`daemonize`]; a relative path then starts at `/`, as in ser2net.
    pub fn create(path: &Path) -> io::Result<Self> {
        let content = format!("{}\n", std::process::id());
        let mut file = fs::File::create(path)?;
        file.write_all(content.as_bytes())?;
        Ok(Self { path: path.to_owned(), content })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // another process may have replaced it since: then it is not ours to remove
        if fs::read_to_string(&self.path).is_ok_and(|found| found == self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end, cleanly and soon.
    Terminate,
    /// SIGINT: the same, from a keyboard.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1 or SIGUSR2: nothing is asked for. They are caught because their default action would
    /// end the program, as no signal of a log rotation meant for another program should.
    User,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Reload => "SIGHUP",
            Self::User => "SIGUSR1 or SIGUSR2",
        })
    }
}

/// The signals that the broker obeys, from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    user: [unix::Signal; 2],
}

impl Signals {
    /// Takes the signals over from the kernel's default actions. Needs a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            user: [unix::signal(SignalKind::user_defined1())?, unix::signal(SignalKind::user_defined2())?],
        })
    }

    /// The next signal. Cancel safe; several of one kind that come together may be told once.
    pub async fn recv(&mut self) -> Signal {
        let [first, second] = &mut self.user;
        // `None` would mean that the runtime's signal driver is gone, so the end is near anyway
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Reload,
            _ = first.recv() => Signal::User,
            _ = second.recv() => Signal::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_file_is_written_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "999999999\n and more from a longer stale file").unwrap();
        let pid_file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(pid_file);
        assert!(!path.exists());
    }

    #[test]
    fn a_pid_file_of_a_successor_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let pid_file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(pid_file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn a_pid_file_that_cannot_be_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = PidFile::create(&dir.path().join("no/pid")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
