//! What the tests with real clients share: the built program on a configuration, pseudo-terminals
//! that play the devices, and clients. Everything waits for conditions, with a deadline.

#![allow(dead_code, reason = "every test program uses another part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

pub(crate) mod net;
pub(crate) mod pty;
pub(crate) mod pyserial;
pub(crate) mod shim;
pub(crate) mod tools;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `found` finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `holds` holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// A TCP port that nobody listens on, below those that the kernel gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // other test programs, that may run at the same time, begin elsewhere
        let base = std::process::id().wrapping_mul(61) % 20_000;
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + (base + offset) % 20_000).unwrap();
        // one after the other: the second would not get what the first still has
        let free = |host: &str| std::net::TcpListener::bind((host, port)).map(drop).is_ok();
        if free("0.0.0.0") && free("::1") {
            return port;
        }
    }
}

/// Lines that a program writes, collected while it runs.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Collects `source` until its end, in a thread.
    pub(crate) fn collect(source: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let lines = Self::default();
        let sink = lines.clone();
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                sink.0.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        (lines, thread)
    }

    /// All so far.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// Waits until a line has all of `parts` and returns it.
    #[track_caller]
    pub(crate) fn wait(&self, parts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.find(parts) {
                return line;
            }
            assert!(begun.elapsed() < PATIENCE, "no line with {parts:?} in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The first line that has all of `parts`.
    pub(crate) fn find(&self, parts: &[&str]) -> Option<String> {
        self.0.lock().unwrap().iter().find(|line| parts.iter().all(|p| line.contains(p))).cloned()
    }

    /// Waits until `number` lines have all of `parts`; more are a mistake.
    #[track_caller]
    pub(crate) fn wait_count(&self, parts: &[&str], number: usize) {
        let begun = Instant::now();
        while self.count(parts) < number && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.count(parts), number, "lines with {parts:?} in\n{}", self.text());
    }

    /// Number of lines that have all of `parts`.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        self.0.lock().unwrap().iter().filter(|line| parts.iter().all(|p| line.contains(p))).count()
    }
}

/// A running program that is ended with this value.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    readers: Vec<JoinHandle<()>>,
    name: String,
}

impl Process {
    /// Starts `command`. Its standard input is what the command says, nothing by default.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, out) = Lines::collect(child.stdout.take().unwrap());
        let (stderr, err) = Lines::collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr, readers: vec![out, err], name }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end and for all that it wrote.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = until(&format!("end of {}", self.name), || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for (what, lines) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                eprintln!("--- {what} of {}\n{}", self.name, lines.text());
            }
        }
    }
}

/// The program under test, running on a configuration.
pub(crate) struct Broker {
    pub(crate) process: Process,
    /// What it logs.
    pub(crate) log: Lines,
    /// Port of its health endpoints.
    pub(crate) health: u16,
    dir: tempfile::TempDir,
}

/// A command that runs the program under test.
pub(crate) fn serbroker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serbroker"));
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    command
}

impl Broker {
    /// Starts it and waits until its health endpoints say that it has started: every port that can
    /// listen does. `config` is YAML with connections; health endpoints are added.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    /// Starts it with another environment or other arguments.
    pub(crate) fn start_with(config: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let health = free_port();
        let file = dir.path().join("serbroker.yaml");
        std::fs::write(&file, with_health(config, health)).unwrap();
        let mut command = serbroker();
        // no lock files: the tests shall not leave any
        command.args(["-n", "-u", "-c"]).arg(&file);
        prepare(&mut command);
        let process = Process::start(&mut command);
        let broker = Self { log: process.stderr.clone(), process, health, dir };
        wait_for("start", || {
            assert!(broker.is_running(), "it ended:\n{}", broker.log.text());
            net::get(broker.health, "/readyz").is_ok_and(|(_, body)| body.contains("\"started\":true"))
        });
        broker
    }

    fn is_running(&self) -> bool {
        // the status of a child that has ended is readable until it is waited for
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id()));
        stat.is_ok_and(|text| !text.contains(") Z "))
    }

    /// Its configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("serbroker.yaml")
    }

    /// A directory of its own.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes another configuration, has it read and waits until that is done.
    #[track_caller]
    pub(crate) fn reload(&self, config: &str) {
        std::fs::write(self.file(), with_health(config, self.health)).unwrap();
        self.hang_up();
    }

    /// SIGHUP, and waits until it is obeyed.
    #[track_caller]
    pub(crate) fn hang_up(&self) {
        let reads = || {
            let applied = self.metric("serbroker_config_reloads_total", &["outcome=\"applied\""]);
            applied + self.metric("serbroker_config_reloads_total", &["outcome=\"rejected\""])
        };
        let before = reads();
        self.process.signal(Signal::HUP);
        // the health endpoints stay where they are, so they can be asked all the time
        wait_for("reload", || reads() > before);
    }

    /// The text of the metrics.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        net::get(self.health, "/metrics").unwrap().1
    }

    /// Sum of the samples of `name` that have all of `labels` (`port="a"`).
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let text = self.metrics();
        let mut sum = 0;
        let mut found = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            if series.split('{').next() == Some(name) && labels.iter().all(|l| series.contains(l)) {
                found = true;
                sum += value.parse::<u64>().unwrap();
            }
        }
        assert!(found, "no {name} {labels:?} in\n{text}");
        sum
    }

    /// Waits until [`Broker::metric`] is `value`.
    #[track_caller]
    pub(crate) fn wait_metric(&self, name: &str, labels: &[&str], value: u64) {
        let begun = Instant::now();
        loop {
            let now = self.metric(name, labels);
            if now == value {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} {labels:?} is {now}, not {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the device of `port` is open (or closed).
    #[track_caller]
    pub(crate) fn wait_device(&self, port: &str, open: bool) {
        let state = if open { "open" } else { "closed" };
        let labels = [format!("port=\"{port}\""), format!("state=\"{state}\"")];
        self.wait_metric("serbroker_port_state", &[&labels[0], &labels[1]], 1);
    }

    /// Ends it with SIGTERM and returns how, and after what time.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.process.signal(Signal::TERM);
        (self.process.ended(), begun.elapsed())
    }
}

fn with_health(config: &str, port: u16) -> String {
    format!("%YAML 1.1\n---\nmetrics: 127.0.0.1:{port}\n{config}")
}

/// A connection in YAML. `options` are lines such as `kickolduser: true`.
pub(crate) fn connection(name: &str, accepter: &str, device: &str, options: &[&str]) -> String {
    let mut text = format!(
        "connection: &{name}\n  accepter: {accepter}\n  connector: serialdev,{device},115200n81,local\n"
    );
    if !options.is_empty() {
        text.push_str("  options:\n");
        for option in options {
            text.extend(["    ", option, "\n"]);
        }
    }
    text
}

/// Bytes with every value in them, that do not repeat with any short period.
pub(crate) fn pattern(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut bytes: Vec<u8> = (0..=255).collect();
    while bytes.len() < length {
        // xorshift32
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.push(state.to_le_bytes()[1]);
    }
    bytes.truncate(length);
    bytes
}

/// Compares long bytes without printing them.
#[track_caller]
pub(crate) fn assert_same(what: &str, got: &[u8], want: &[u8]) {
    if got != want {
        let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
        let around = |bytes: &[u8]| bytes[at.saturating_sub(8)..bytes.len().min(at + 8)].to_vec();
        panic!(
            "{what}: {} bytes, {} wanted; first difference at {at}: {:02x?}, not {:02x?}",
            got.len(),
            want.len(),
            around(got),
            around(want)
        );
    }
}
