//! The built broker as a process, pseudo-terminals for it, and a port whose traffic must stay whole.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_serbroker");

/// Looks again and again until `found` finds something.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A raw pseudo-terminal pair. The slave stays open here, so that nothing is lost between two
/// openings by the broker.
pub(crate) struct Pty {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
    pub(crate) path: String,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let slave = open(&path, flags, Mode::empty()).unwrap();
        let mut termios = tcgetattr(&slave).unwrap();
        termios.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &termios).unwrap();
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
        Self { master, slave, path }
    }

    /// Reads exactly `n` bytes at the device's side.
    pub(crate) fn read(&self, n: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut buf = [0; 4096];
        until("bytes at the device", || {
            wait(&self.master, PollFlags::IN);
            let room = buf.len().min(n - got.len());
            match rustix::io::read(&self.master, &mut buf[..room]) {
                Ok(read) => got.extend_from_slice(&buf[..read]),
                Err(rustix::io::Errno::AGAIN) => {}
                Err(e) => panic!("reading the device's side: {e}"),
            }
            (got.len() == n).then_some(())
        });
        got
    }

    /// Writes as much as goes at once.
    pub(crate) fn write_some(&self, data: &[u8]) -> usize {
        match rustix::io::write(&self.master, data) {
            Ok(n) => n,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(e) => panic!("writing at the device's side: {e}"),
        }
    }

    pub(crate) fn write(&self, data: &[u8]) {
        let mut rest = data;
        until("the device's bytes taken", || {
            wait(&self.master, PollFlags::OUT);
            rest = &rest[self.write_some(rest)..];
            rest.is_empty().then_some(())
        });
    }
}

fn wait(fd: &OwnedFd, flags: PollFlags) {
    let short = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let _ = poll(&mut [PollFd::new(fd, flags)], Some(&short));
}

/// A connection of YAML version 1.
pub(crate) fn connection(name: &str, accepter: &str, device: &str, options: &[&str]) -> String {
    let mut text = format!(
        "connection: &{name}\n  accepter: {accepter}\n  connector: serialdev,{device},115200n81,local\n"
    );
    if !options.is_empty() {
        text += "  options:\n";
        for option in options {
            text.extend(["    ", option, "\n"]);
        }
    }
    text
}

/// A running broker with a port that nothing may disturb beside those of the test.
pub(crate) struct Daemon {
    child: Child,
    /// Holds the configuration and the log.
    _dir: TempDir,
    log: PathBuf,
    witness: Witness,
    /// See [`Self::peak_rss`].
    most: u64,
}

struct Witness {
    pty: Pty,
    client: TcpStream,
    seed: u64,
}

impl Daemon {
    /// Starts the broker with these connections and the undisturbed one.
    pub(crate) fn start(connections: &str) -> Self {
        Self::start_by(connections, |config| {
            let mut command = Command::new(PROGRAM);
            command.args(["-n", "-c"]).arg(config);
            command
        })
    }

    /// Starts it by the command that `make` gives for a configuration file.
    pub(crate) fn start_by(connections: &str, make: impl FnOnce(&Path) -> Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pty = Pty::new();
        let witness = connection("witness", "tcp,127.0.0.1,0", &pty.path, &[]);
        let config = dir.path().join("config.yaml");
        fs::write(&config, format!("%YAML 1.1\n---\n{witness}{connections}")).unwrap();
        let log = dir.path().join("log");
        let child = make(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let address = until("the undisturbed port", || listening(&text(&log), "witness"));
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut daemon = Self { child, _dir: dir, log, witness: Witness { pty, client, seed: 1 }, most: 0 };
        daemon.exchange();
        daemon
    }

    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// Waits for a log line that holds all of `parts`.
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "no line with {parts:?} in\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where a port listens.
    pub(crate) fn address(&self, port: &str) -> SocketAddr {
        until("the port listens", || listening(&self.log(), port))
    }

    pub(crate) fn connect(&self, port: &str) -> TcpStream {
        let client = TcpStream::connect(self.address(port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Sends random bytes through the undisturbed port both ways: they must come out the same.
    pub(crate) fn exchange(&mut self) {
        let Witness { pty, client, seed } = &mut self.witness;
        let up = noise(seed, 1500);
        client.write_all(&up).unwrap();
        assert!(pty.read(up.len()) == up, "bytes for the device were damaged");
        let down = noise(seed, 1500);
        pty.write(&down);
        let mut got = vec![0; down.len()];
        client.read_exact(&mut got).expect("bytes of the device arrive");
        assert!(got == down, "bytes of the device were damaged");
        self.most = self.most.max(self.rss());
    }

    /// Runs `trouble` on a thread of its own, and exchanges all the while and once after it.
    pub(crate) fn meanwhile<T: Send>(&mut self, trouble: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let running = scope.spawn(trouble);
            while !running.is_finished() {
                self.exchange();
            }
            self.exchange();
            running.join().unwrap()
        })
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Memory in use that is its own, kilobytes: code comes and goes as it is needed.
    pub(crate) fn rss(&self) -> u64 {
        status(&self.proc("status"), "RssAnon:")
    }

    /// The most that [`Self::rss`] was after any exchange, kilobytes.
    pub(crate) fn peak_rss(&self) -> u64 {
        self.most
    }

    /// Open files.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Processor time used so far (proc(5): fields 14 and 15 of `stat`, ticks of 10 ms).
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Checks that it lives and that its undisturbed port is well, ends it, and checks that this
    /// takes at most a second and that nothing in it panicked.
    pub(crate) fn finish(mut self) -> String {
        assert!(self.is_alive(), "it ended by itself:\n{}", self.log());
        self.exchange();
        self.terminate()
    }

    /// As [`Daemon::finish`], without a last exchange.
    pub(crate) fn terminate(mut self) -> String {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let status = until("the end after SIGTERM", || self.child.try_wait().unwrap());
        let took = begun.elapsed();
        let log = self.log();
        assert!(status.success(), "{status}\n{log}");
        // a second, and what a busy machine adds
        assert!(took < Duration::from_millis(1300), "SIGTERM took {took:?}\n{log}");
        assert!(!log.contains("panicked") && !log.contains("ended by a fault"), "{log}");
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // after a failed test; an error says that it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

fn listening(log: &str, port: &str) -> Option<SocketAddr> {
    let line = log.lines().rfind(|l| l.contains("listening on ") && l.ends_with(&format!("port={port}")))?;
    line.split("listening on ").nth(1)?.split(' ').next()?.parse().ok()
}

fn status(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Pseudo-random bytes (xorshift64*).
pub(crate) fn noise(seed: &mut u64, n: usize) -> Vec<u8> {
    (0..n)
        .map(|_| {
            *seed ^= *seed >> 12;
            *seed ^= *seed << 25;
            *seed ^= *seed >> 27;
            (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        })
        .collect()
}

/// Runs `serbroker check` on a file.
pub(crate) fn check(file: &Path) -> (Output, Duration) {
    let begun = Instant::now();
    let output = Command::new(PROGRAM).arg("check").arg(file).output().unwrap();
    (output, begun.elapsed())
}

/// Writes until the other side has taken nothing for `still`, or all is written. Returns the bytes
/// that were taken.
pub(crate) fn push_until_stuck(stream: &mut TcpStream, data: &[u8], still: Duration) -> usize {
    stream.set_write_timeout(Some(still)).unwrap();
    let mut taken = 0;
    while taken < data.len() {
        match stream.write(&data[taken..]) {
            Ok(n) => taken += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(e) => panic!("writing to the broker: {e}"),
        }
    }
    taken
}

/// Reads until the broker closes; a reset counts as closed.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        Err(e) => panic!("not closed by the broker: {e}"),
    }
    got
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that something was left out, and why.
pub(crate) fn skip(what: &str) {
    eprintln!("left out: {what}");
}
