//! A running `serbroker attach`, and a program that has its terminal open.

use super::support::{self, Broker, PATIENCE, Process, connection, free_port, wait_for};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `serbroker attach URL LINK`, with the link in a directory of its own.
pub(crate) struct Attached {
    pub(crate) process: Process,
    dir: tempfile::TempDir,
    url: String,
    arguments: Vec<String>,
}

impl Attached {
    /// Starts it and waits for the link.
    pub(crate) fn start(url: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let process = launch(url, &dir.path().join("tty"), &arguments);
        let attached = Self { process, dir, url: url.to_owned(), arguments };
        attached.wait_link();
        attached
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.dir.path().join("tty")
    }

    pub(crate) fn wait_link(&self) {
        let there = || self.link().exists() && self.process.stderr.find(&["at the far end"]).is_some();
        wait_for("link", there);
    }

    /// It is killed, and another one is started in its place.
    pub(crate) fn replace(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended();
        self.process = launch(&self.url, &self.link(), &self.arguments);
        self.wait_link();
    }

    /// Opens the terminal as a program would.
    pub(crate) fn open(&self) -> Program {
        Program::open(&self.link())
    }
}

fn launch(url: &str, link: &Path, arguments: &[String]) -> Process {
    Process::start(support::serbroker().args(["attach", "-l", url]).arg(link).args(arguments))
}

/// A local program.
pub(crate) struct Program {
    file: File,
}

impl Program {
    pub(crate) fn open(path: &Path) -> Self {
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .unwrap();
        Self { file }
    }

    pub(crate) fn termios(&self) -> Termios {
        tcgetattr(&self.file).unwrap()
    }

    /// Changes the settings.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Termios)) {
        let mut settings = self.termios();
        change(&mut settings);
        tcsetattr(&self.file, OptionalActions::Now, &settings).unwrap();
    }

    /// Raw, at this speed.
    pub(crate) fn raw(&self, speed: u32) {
        self.set(|settings| {
            settings.make_raw();
            settings.set_speed(speed).unwrap();
        });
    }

    fn ready(&self, events: PollFlags, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.file, events)];
        poll(&mut fds, Some(&timeout)).unwrap() > 0
    }

    #[track_caller]
    pub(crate) fn write(&self, mut data: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while !data.is_empty() {
            assert!(self.ready(PollFlags::OUT, deadline), "{} bytes not taken", data.len());
            match rustix::io::write(&self.file, data) {
                Ok(count) => data = &data[count..],
                Err(rustix::io::Errno::AGAIN) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads until `enough`.
    #[track_caller]
    pub(crate) fn read_to(&self, mut enough: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let (mut got, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while !enough(&got) {
            assert!(self.ready(PollFlags::IN, deadline), "only {} bytes came: {got:?}", got.len());
            match rustix::io::read(&self.file, &mut buffer) {
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => {}
                Err(error) => panic!("{error}"),
            }
        }
        got
    }

    #[track_caller]
    pub(crate) fn read(&self, length: usize) -> Vec<u8> {
        self.read_to(|got| got.len() >= length)
    }
}

/// A far broker with an RFC 2217 port `far` on `device`, and the port's URL.
pub(crate) fn far(device: &str, options: &[&str]) -> (Broker, String) {
    let port = free_port();
    (far_at(port, device, options), format!("rfc2217://127.0.0.1:{port}"))
}

/// The same at a given port.
pub(crate) fn far_at(port: u16, device: &str, options: &[&str]) -> Broker {
    Broker::start(&connection("far", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), device, options))
}

pub(crate) fn clients(far: &Broker, count: u64) {
    far.wait_metric("serbroker_port_clients", &[], count);
}
