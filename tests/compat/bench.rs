//! The surroundings of one running case: the program, its devices and its clients, and the time they take.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::event::{Timespec, poll};
use rustix::fs::{Access, access};
use serde_json::Value as Json;
use socket2::Socket;
use tempfile::TempDir;

use crate::case::{Action, Case, Entry, Seen};
use crate::daemon::Daemon;
use crate::ports;
use crate::pty::{Device, LOCK_DIR, Modem, lock_file};
use crate::text::{Names, names_in};
use crate::witness::{Rules, Sight, Witness};

/// Silence that ends a step: with something recorded after it, with nothing, in a timing case.
const QUIET_SEEN: Duration = Duration::from_millis(20);
const QUIET_NONE: Duration = Duration::from_millis(50);
const QUIET_TIMING: Duration = Duration::from_millis(150);
/// Silence that ends a step while recording, where nobody knows what is to come.
const QUIET_RECORDING: Duration = Duration::from_millis(400);
/// Longest wait for something recorded, and the same once something did not come.
const STEP_LIMIT: Duration = Duration::from_millis(2500);
const LOST_LIMIT: Duration = Duration::from_millis(250);
/// Longest time until a look finds what the recording found.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Pause between two looks around.
const TICK: Duration = Duration::from_micros(500);

/// Why a case did not get to its end.
pub(crate) enum Stop {
    /// It cannot run here.
    Skip(String),
    TimeLimit,
    Broken(io::Error),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Stop::Broken(e)
    }
}

impl From<rustix::io::Errno> for Stop {
    fn from(e: rustix::io::Errno) -> Self {
        Stop::Broken(e.into())
    }
}

pub(crate) type Flow<T = ()> = Result<T, Stop>;

/// What all cases share.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The program under test with its fixed leading arguments.
    pub(crate) program: Vec<String>,
    /// The library that gives ptys modem lines, if there is a C compiler.
    pub(crate) shim: Option<PathBuf>,
    /// Directory with a key pair, if there is an openssl program.
    pub(crate) tls: Option<PathBuf>,
    pub(crate) rules: Rules,
    /// Nothing is expected: everything is waited for and written down.
    pub(crate) recording: bool,
}

/// A client of the program.
pub(crate) struct Client {
    /// None after either side closed it.
    pub(crate) socket: Option<Socket>,
    /// While it does not read.
    pub(crate) paused: bool,
}

pub(crate) struct Bench<'a> {
    pub(crate) case: &'a Case,
    pub(crate) setup: &'a Setup,
    pub(crate) names: Names,
    pub(crate) witness: Witness,
    pub(crate) clients: BTreeMap<String, Client>,
    pub(crate) udp: BTreeMap<String, Socket>,
    pub(crate) devices: BTreeMap<String, Device>,
    /// By slave path.
    pub(crate) modems: BTreeMap<String, Modem>,
    pub(crate) daemon: Option<Daemon>,
    /// Something recorded did not come: the rest of the case runs only to be shown.
    pub(crate) lost: bool,
    /// When each step was begun.
    pub(crate) begun: Vec<Instant>,
    /// Whether the step before this one started the program.
    pub(crate) after_start: bool,
    /// The far end that the program may connect to, at {PORTX}.
    pub(crate) far_end: Option<Socket>,
    pub(crate) occupied: Option<Socket>,
    /// A device that somebody else has open.
    pub(crate) other: Option<OwnedFd>,
    pub(crate) unplugged: Vec<OwnedFd>,
    pub(crate) lock_owner: Option<Child>,
    /// Lines of the log of device calls that were looked at.
    pub(crate) calls_seen: usize,
    pub(crate) initial_files: BTreeSet<String>,
    deadline: Instant,
    base: TempDir,
    /// Working directory of the program.
    pub(crate) dir: PathBuf,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(case: &'a Case, setup: &'a Setup) -> Flow<Bench<'a>> {
        let base = tempfile::Builder::new().prefix("compat-").rand_bytes(8).tempdir()?;
        let dir = base.path().join("d");
        std::fs::create_dir(&dir)?;
        let mut names = Names::new();
        names.set("DIR", dir.to_string_lossy());
        names.set("EXEC", setup.program.first().map_or("", String::as_str));
        if let Some(tls) = &setup.tls {
            names.set("TLS", tls.to_string_lossy());
        }
        let secs = 30.0 + 1.5 * case.waits() + if setup.recording { 30.0 } else { 0.0 };
        let mut bench = Bench {
            case,
            setup,
            names,
            witness: Witness::new(setup.rules.of(case)),
            clients: BTreeMap::new(),
            udp: BTreeMap::new(),
            devices: BTreeMap::new(),
            modems: BTreeMap::new(),
            daemon: None,
            lost: false,
            begun: Vec::new(),
            after_start: false,
            far_end: None,
            occupied: None,
            other: None,
            unplugged: Vec::new(),
            lock_owner: None,
            calls_seen: 0,
            initial_files: BTreeSet::new(),
            deadline: Instant::now() + Duration::from_secs_f64(secs),
            base,
            dir,
        };
        bench.prepare()?;
        Ok(bench)
    }

    pub(crate) fn base(&self) -> &std::path::Path {
        self.base.path()
    }

    /// Devices, port numbers and files.
    fn prepare(&mut self) -> Flow {
        let case = self.case;
        let used = placeholders(case);
        self.check_means(&used)?;
        for name in device_names(case, &used) {
            let number = name.strip_prefix("DEV").unwrap_or_default();
            let file = format!("ttyG_{}", if number.is_empty() { "1" } else { number });
            let path = self.base.path().join(&file);
            let device = Device::new(path.clone(), case.pty_packet_mode && name == "DEV")?;
            self.names.set(format!("PTS{number}"), device.slave.as_str());
            self.names.set(name.as_str(), path.to_string_lossy());
            if name == "DEV" {
                self.names.set("DEVNAME", file);
            }
            if case.modem_shim {
                self.modems.insert(device.slave.clone(), Modem::new(&self.dir, &device.slave)?);
            }
            self.devices.insert(name, device);
        }
        for name in used.iter().filter(|n| n.starts_with("PORT") || n.starts_with("ADMIN")) {
            let port = ports::free_port()?;
            self.names.set(name.as_str(), port.to_string());
            if name == "PORTX" {
                self.far_end = Some(ports::listener(std::net::Ipv4Addr::LOCALHOST, port, 4)?);
            }
        }
        self.write_files()
    }

    fn check_means(&self, used: &BTreeSet<String>) -> Flow {
        let locks = |a: &Action| matches!(a, Action::MakeUucpLock { .. } | Action::UucpLock { .. });
        let missing = if used.contains("TLS") && self.setup.tls.is_none() {
            "no openssl program to make a key with"
        } else if self.case.modem_shim && self.setup.shim.is_none() {
            "no C compiler for the modem line shim"
        } else if self.case.steps().any(|s| locks(&s.action)) && access(LOCK_DIR, Access::WRITE_OK).is_err() {
            "the directory of the UUCP locks is not writable"
        } else {
            return Ok(());
        };
        Err(Stop::Skip(missing.to_owned()))
    }

    fn write_files(&mut self) -> Flow {
        let case = self.case;
        let config_name = case.config_name.as_deref().unwrap_or("ser2net.yaml");
        self.names.set("CFG", self.dir.join(config_name).to_string_lossy());
        let config = case.config.as_ref().map(|text| (config_name, text));
        let more = case.files.iter().map(|(name, text)| (name.as_str(), text));
        for (name, text) in config.into_iter().chain(more) {
            let path = self.dir.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, self.names.fill(text))?;
            if let Some(mode) = case.file_modes.get(name) {
                let mode = u32::from_str_radix(mode, 8).map_err(io::Error::other)?;
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
            }
        }
        self.initial_files = self.file_names()?;
        for name in case.files.keys() {
            self.initial_files.remove(name.rsplit('/').next().unwrap_or(name));
        }
        Ok(())
    }

    /// Names of everything in the working directory.
    pub(crate) fn file_names(&self) -> io::Result<BTreeSet<String>> {
        std::fs::read_dir(&self.dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
    }

    pub(crate) fn device(&self, name: &str) -> io::Result<&Device> {
        self.devices.get(name).ok_or_else(|| io::Error::other(format!("the case has no device {name}")))
    }

    pub(crate) fn device_mut(&mut self, name: &str) -> io::Result<&mut Device> {
        self.devices.get_mut(name).ok_or_else(|| io::Error::other(format!("the case has no device {name}")))
    }

    pub(crate) fn exited(&self) -> bool {
        self.daemon.as_ref().is_none_or(|d| d.exited)
    }

    /// Looks once at everything.  Whether there was something.
    pub(crate) fn poll(&mut self) -> Flow<bool> {
        if Instant::now() > self.deadline {
            return Err(Stop::TimeLimit);
        }
        let mut sights: Vec<(String, Sight)> = Vec::new();
        for (name, client) in self.clients.iter_mut().filter(|(_, c)| !c.paused) {
            sights.extend(client.look().into_iter().map(|s| (name.clone(), s)));
        }
        for (name, socket) in &self.udp {
            sights.extend(datagrams(socket).into_iter().map(|s| (name.clone(), s)));
        }
        for (name, device) in &mut self.devices {
            sights.extend(device.look()?.into_iter().map(|s| (name.clone(), s)));
        }
        if let Some(daemon) = &mut self.daemon {
            sights.extend(daemon.look()?.into_iter().map(|(who, s)| (who.to_owned(), s)));
        }
        // lines of the program and the like are not compared: they do not make the time longer
        let any = sights.iter().any(|(_, s)| !matches!(s, Sight::Line(_)));
        for (who, sight) in sights {
            self.witness.see(&who, sight);
        }
        Ok(any)
    }

    /// Waits a moment, but not longer than until a device in use has something to read: what a program writes
    /// just before it flushes and closes a device is lost to a far end that does not read at once.
    fn tick(&self) -> Flow {
        let mut fds: Vec<_> = self.devices.values().filter_map(Device::waits).collect();
        if fds.is_empty() {
            std::thread::sleep(TICK);
            return Ok(());
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Looks around for so long.
    pub(crate) fn pump(&mut self, time: Duration) -> Flow {
        let end = Instant::now() + time;
        loop {
            self.poll()?;
            if Instant::now() >= end {
                return Ok(());
            }
            self.tick()?;
        }
    }

    /// Goes on when all that the recording saw up to here was seen and it is quiet.
    pub(crate) fn settle(&mut self, seen: &[&Seen], quiet: Option<Duration>) -> Flow {
        let last_ms = seen
            .iter()
            .filter(|s| self.witness.rules.compares(&s.who, &s.what))
            .fold(0.0, |most: f64, s| most.max(s.ms));
        let due = Duration::from_secs_f64(last_ms / 1000.0);
        let quiet = quiet.unwrap_or(match seen {
            _ if self.setup.recording => QUIET_RECORDING,
            _ if self.case.timing => QUIET_TIMING,
            [] => QUIET_NONE,
            _ => QUIET_SEEN,
        });
        let limit = if self.setup.recording {
            due + QUIET_RECORDING
        } else if self.lost && self.exited() {
            Duration::ZERO
        } else if self.lost {
            LOST_LIMIT
        } else {
            STEP_LIMIT.max(due + Duration::from_millis(1500))
        };
        let since = Instant::now();
        let mut last = since;
        loop {
            if self.poll()? {
                last = Instant::now();
            }
            if last.elapsed() >= quiet {
                if self.witness.met(&self.names) {
                    return Ok(());
                }
                if since.elapsed() >= limit {
                    self.lost |= !self.setup.recording;
                    return Ok(());
                }
            }
            self.tick()?;
        }
    }

    /// Looks until it finds what the recording found, or for a while.
    pub(crate) fn look_for(
        &mut self,
        want: &Json,
        mut look: impl FnMut(&mut Self) -> Flow<Json>,
    ) -> Flow<Json> {
        let limit = if self.lost { LOST_LIMIT } else { LOOK_LIMIT };
        let since = Instant::now();
        loop {
            let got = look(self)?;
            if got == *want || self.case.timing || since.elapsed() > limit {
                return Ok(got);
            }
            self.pump(Duration::from_millis(20))?;
        }
    }

    /// How long a step may last that the program holds up.
    pub(crate) fn lost_limit(&self, time: Duration) -> Duration {
        if self.lost { time.min(LOST_LIMIT) } else { time }
    }

    /// Ends everything and cleans up.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let ended = self.daemon.as_mut().map_or(Ok(()), Daemon::end);
        self.end_lock_owner()?;
        for device in self.devices.values() {
            for path in [&*device.path.to_string_lossy(), &device.slave] {
                let _ = std::fs::remove_file(lock_file(path)); // mostly there is none
            }
        }
        ended
    }

    pub(crate) fn end_lock_owner(&mut self) -> io::Result<()> {
        if let Some(mut owner) = self.lock_owner.take() {
            owner.kill()?;
            owner.wait()?;
        }
        Ok(())
    }
}

impl Client {
    /// What came since the last call.
    fn look(&mut self) -> Vec<Sight> {
        let mut sights = Vec::new();
        let Some(socket) = &self.socket else { return sights };
        let mut buffer = vec![0; 65_536];
        let how = loop {
            match (&mut &*socket).read(&mut buffer) {
                Ok(0) => break "FIN".to_owned(),
                Ok(n) => sights.push(Sight::Data(buffer[..n].to_vec())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return sights,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break "RST".to_owned(),
                Err(e) => break error_name(&e),
            }
        };
        sights.push(Sight::Closed { how });
        self.socket = None;
        sights
    }
}

fn datagrams(socket: &Socket) -> Vec<Sight> {
    let mut sights = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        match (&mut &*socket).read(&mut buffer) {
            Ok(n) => sights.push(Sight::Datagram(buffer[..n].to_vec())),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return sights,
            Err(e) => {
                sights.push(Sight::UdpError { error: error_name(&e) });
                return sights;
            }
        }
    }
}

/// `ECONNREFUSED` and the like.
pub(crate) fn error_name(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), |n| format!("{:?}", Errno::from_raw(n)))
}

/// Names of all placeholders that the case mentions anywhere.
fn placeholders(case: &Case) -> BTreeSet<String> {
    let transcript = serde_json::to_string(&case.source.get("transcript")).unwrap_or_default();
    let texts = case.files.values().chain(&case.config).chain(std::iter::once(&transcript));
    texts.flat_map(|text| names_in(text)).map(str::to_owned).collect()
}

/// The devices that the case needs: named in texts or in the transcript.
fn device_names(case: &Case, used: &BTreeSet<String>) -> BTreeSet<String> {
    let numbered = |name: &str, start: &str| {
        name.strip_prefix(start)
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
            .map(|number| format!("DEV{number}"))
    };
    let mut out: BTreeSet<_> =
        used.iter().filter_map(|n| numbered(n, "DEV").or_else(|| numbered(n, "PTS"))).collect();
    if used.contains("DEVNAME") {
        out.insert("DEV".to_owned());
    }
    for entry in &case.transcript {
        match entry {
            Entry::Do(step) => {
                out.extend(step.source.get("dev").and_then(|d| d.as_str()).map(str::to_owned));
            }
            Entry::See(seen) => out.extend(numbered(&seen.who, "DEV")),
        }
    }
    out
}
