//! The recorded cases: reading them from their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};

/// One case file.
#[derive(Deserialize)]
struct CaseFile {
    area: String,
    cases: Vec<Mapping>,
}

/// One recorded run of one daemon with one configuration.
#[derive(Deserialize)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) area: String,
    pub(crate) id: String,
    pub(crate) config: Option<String>,
    pub(crate) config_name: Option<String>,
    /// More files in the working directory: name and text.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Their modes, as octal digits.
    #[serde(default)]
    pub(crate) file_modes: BTreeMap<String, String>,
    /// The pty gets modem lines, break state and error counters from the preloaded library.
    #[serde(default)]
    pub(crate) modem_shim: bool,
    #[serde(default)]
    pub(crate) pty_packet_mode: bool,
    /// What had and had not happened when a wait ended is compared too.
    #[serde(default)]
    pub(crate) timing: bool,
    #[serde(default)]
    pub(crate) compare_stdout: bool,
    /// FIN and RST are the same.
    #[serde(default)]
    pub(crate) any_close: bool,
    /// A device that is closed and reopened at once may be seen so or not.
    #[serde(default)]
    pub(crate) any_reopen: bool,
    pub(crate) transcript: Vec<Entry>,
    /// The case as it stands in the file.
    #[serde(skip)]
    pub(crate) source: Mapping,
}

/// A line of a transcript.
#[derive(Deserialize)]
#[serde(try_from = "Mapping")]
pub(crate) enum Entry {
    Do(Box<Step>),
    See(Seen),
}

/// What the recording saw between two steps.
#[derive(Deserialize)]
pub(crate) struct Seen {
    /// The endpoint: a client, a device, `daemon` …
    #[serde(rename = "see")]
    pub(crate) who: String,
    pub(crate) what: String,
    /// Milliseconds after the step.
    #[serde(default)]
    pub(crate) ms: f64,
    #[serde(default)]
    pub(crate) text: String,
    pub(crate) how: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) flags: Option<String>,
    pub(crate) status: Option<i64>,
}

/// Something to do or to look at.
pub(crate) struct Step {
    /// Its name in the file.
    pub(crate) name: String,
    pub(crate) action: Action,
    /// What a look found in the recording.
    pub(crate) result: Json,
    /// Whether the next step waits until the recorded events were seen.
    pub(crate) settle: bool,
    /// The step as it stands in the file.
    pub(crate) source: Mapping,
}

/// The verbs.  Those that the recorder knew but that cannot be repeated from a file are `Unknown`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Action {
    Start {
        args: Vec<String>,
    },
    Wait {
        secs: f64,
    },
    Signal {
        signal: String,
        #[serde(default)]
        pidfile: bool,
    },
    RewriteConfig {
        config: String,
    },
    RemoveConfig,
    WriteToDaemonStdin {
        text: String,
    },
    CloseDaemonStdin,
    Connect(Connect),
    Send {
        client: String,
        text: String,
        #[serde(default)]
        oob: bool,
        #[serde(default)]
        segment: bool,
        gap: Option<f64>,
    },
    Close {
        client: String,
    },
    Reset {
        client: String,
    },
    ShutdownWrite {
        client: String,
    },
    Pause {
        client: String,
    },
    Resume {
        client: String,
    },
    UdpSend {
        client: String,
        text: String,
    },
    TlsSession {
        dev: String,
        dev_text: String,
        text: String,
    },
    Connback,
    Flood(Flood),
    DevSend {
        dev: String,
        text: String,
    },
    DevSendBytewise {
        dev: String,
        text: String,
        gap_ms: f64,
    },
    DevPause {
        dev: String,
    },
    DevResume {
        dev: String,
    },
    DeviceUnplugged {
        dev: String,
    },
    DevicePluggedInAgain {
        dev: String,
    },
    UnlinkDevice {
        dev: String,
    },
    LinkDevice {
        dev: String,
        file: String,
    },
    Mknod {
        file: String,
        major: u32,
        minor: u32,
    },
    StaleSocket {
        file: String,
    },
    FlockDevice {
        dev: String,
    },
    TryFlockDevice {
        dev: String,
    },
    TiocexclDevice {
        dev: String,
    },
    TiocgexclDevice {
        dev: String,
    },
    ReleaseDevice,
    MakeUucpLock {
        path: String,
        owner: String,
    },
    EndLockOwner,
    UucpLock {
        path: String,
    },
    Tcgetattr {
        dev: String,
    },
    SetModemLines {
        dev: String,
        lines: BTreeMap<String, bool>,
    },
    SetIcounters {
        dev: String,
        counters: BTreeMap<String, u32>,
    },
    ReadModemLines {
        dev: String,
    },
    DeviceCalls,
    ListSockets,
    OccupyPort {
        port: String,
    },
    FreePort,
    ReadFile {
        file: String,
        text: Option<String>,
        error: Option<String>,
    },
    ListFiles,
    FileMode {
        file: String,
    },
    FileExists {
        file: String,
    },
    #[serde(alias = "socket files")]
    SocketFiles,
    #[serde(alias = "daemon cwd")]
    DaemonCwd {
        #[serde(default)]
        pidfile: bool,
    },
    /// A known verb with something missing: its case fails, and says so.
    #[serde(skip)]
    Unreadable(String),
    #[serde(other)]
    Unknown,
}

/// A client that connects, to a TCP port or to a unix socket.
#[derive(Deserialize)]
pub(crate) struct Connect {
    pub(crate) client: String,
    pub(crate) port: Option<String>,
    pub(crate) unix: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) src: Option<String>,
    pub(crate) local_port: Option<String>,
}

/// Many bytes through the daemon while the receiver reads nothing for a while.
#[derive(Deserialize)]
pub(crate) struct Flood {
    pub(crate) client: String,
    pub(crate) dev: String,
    /// `down`: from the device to the client; else the other way.
    pub(crate) dir: String,
    pub(crate) n: usize,
    /// Seconds before the receiver starts to read.
    pub(crate) pause: f64,
}

impl Action {
    /// Whether the bench waits after this step for what the recording saw.  Looks and changes that the
    /// program cannot notice by itself need no waiting, and waits do their own.
    pub(crate) fn settles(&self) -> bool {
        !matches!(
            self,
            Action::Wait { .. }
                | Action::RewriteConfig { .. }
                | Action::RemoveConfig
                | Action::Pause { .. }
                | Action::DevPause { .. }
                | Action::DevicePluggedInAgain { .. }
                | Action::UnlinkDevice { .. }
                | Action::LinkDevice { .. }
                | Action::MakeUucpLock { .. }
                | Action::EndLockOwner
                | Action::ListSockets
                | Action::ReadFile { .. }
                | Action::DeviceCalls
                | Action::Connback
                | Action::TryFlockDevice { .. }
                | Action::TiocgexclDevice { .. }
                | Action::UucpLock { .. }
                | Action::Tcgetattr { .. }
                | Action::ReadModemLines { .. }
                | Action::ListFiles
                | Action::FileMode { .. }
                | Action::FileExists { .. }
                | Action::SocketFiles
                | Action::DaemonCwd { .. }
        )
    }
}

impl TryFrom<Mapping> for Entry {
    type Error = String;

    fn try_from(source: Mapping) -> Result<Self, String> {
        let whole = Yaml::Mapping(source.clone());
        let of = |e: serde_yaml::Error| format!("{e} in {source:?}");
        if source.get("do").is_none() {
            return serde_yaml::from_value(whole).map(Entry::See).map_err(of);
        }
        let result = source.get("result").cloned().unwrap_or_default();
        Ok(Entry::Do(Box::new(Step {
            name: source.get("do").and_then(Yaml::as_str).unwrap_or_default().to_owned(),
            result: serde_json::to_value(result).map_err(|e| e.to_string())?,
            settle: source.get("settle").and_then(Yaml::as_bool).unwrap_or(true),
            action: serde_yaml::from_value(whole).unwrap_or_else(|e| Action::Unreadable(of(e))),
            source,
        })))
    }
}

impl Case {
    /// A case from its mapping in a file of that area.
    pub(crate) fn from_mapping(area: &str, source: Mapping) -> Result<Case, String> {
        let mut case: Case = serde_yaml::from_value(Yaml::Mapping(source.clone()))
            .map_err(|e| format!("case {:?} of {area}: {e}", source.get("id")))?;
        area.clone_into(&mut case.area);
        case.source = source;
        Ok(case)
    }

    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.area, self.id)
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.transcript.iter().filter_map(|e| match e {
            Entry::Do(step) => Some(&**step),
            Entry::See(_) => None,
        })
    }

    pub(crate) fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.transcript.iter().filter_map(|e| match e {
            Entry::See(seen) => Some(seen),
            Entry::Do(_) => None,
        })
    }

    /// Seconds that the case spends in waits.
    pub(crate) fn waits(&self) -> f64 {
        self.steps().map(|s| if let Action::Wait { secs } = s.action { secs } else { 0.0 }).sum()
    }
}

/// The strings of a step's `result` list; other results have none.
pub(crate) fn result_lines(step: &Step) -> impl Iterator<Item = &str> {
    step.result.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// All cases of the `*.yaml` files of a directory whose names (which start with the area's name) pass the
/// filter, sorted by file name.
pub(crate) fn load(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for path in case_files(dir)? {
        if !wanted(&path.file_stem().unwrap_or_default().to_string_lossy()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let file: CaseFile = serde_yaml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        for source in file.cases {
            cases.push(
                Case::from_mapping(&file.area, source).map_err(|e| format!("{}: {e}", path.display()))?,
            );
        }
    }
    let mut keys = BTreeSet::new();
    match cases.iter().find(|c| !keys.insert(c.key())) {
        Some(twice) => Err(format!("{}: there are two cases {}", dir.display(), twice.key())),
        None => Ok(cases),
    }
}

fn case_files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<_> = entries
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|x| x == "yaml"))
        .collect();
    files.sort();
    Ok(files)
}

/// `area/id` and reason of the cases that are not run: those whose outcome differs between runs of the real
/// program, or in which it crashes.  A directory without such a file has none.
pub(crate) fn quarantine(dir: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(dir.join("quarantine.tsv")).unwrap_or_default();
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once('\t'))
        .map(|(key, reason)| (key.to_owned(), reason.to_owned()))
        .collect()
}
