//! The command line of the runner.

use std::path::PathBuf;

/// The areas that a plain `cargo test` runs: those that serbroker claims to cover.
/// Left out for good: `l_legacy35`, the one-line format as version 3.5.1
/// answered it, which contradicts `l_legacy_by_4311`.
const COMPLETE_AREAS: &[&str] = &[
    "a_refusals",
    "b_strings",
    "c_telnet",
    "d_rfc2217",
    "e_timeout",
    "f_trace",
    "g_admin",
    "h_grammar",
    "i_yaml",
    "j_reload",
    "k_device_loss",
    "l_legacy_by_4311",
];

/// Jobs when nobody says how many: the time goes into waiting, not into computing.
const JOBS: usize = 4;

pub(crate) const HELP: &str = "\
Replays recorded ser2net behaviour against serbroker or another program.

cargo test --test compat -- [OPTIONS]

  --exec PROGRAM     program to test, with fixed leading arguments if need be (default: serbroker)
  --areas A,B        areas, or beginnings of their names; 'all' for all (default: the complete ones)
  --only ID,..       only these cases: id or area/id, of any area
  --cases DIR        case files: a directory here or beside the runner, e.g. cases-4.6.7 (default: cases)
  --jobs N           cases at the same time (default: 4)
  --json FILE        write all results there
  --no-quarantine    run the cases of quarantine.tsv too
  --no-retry         do not run a few failed cases a second time
  --strict-log       compare log lines, texts on stderr and exit status too
  --strict-device    compare the order of device calls and the flush events of the pty too
  --record-divergence AREA/ID
                     run the steps of a case and write what is seen to serbroker/AREA.yaml
  -v                 show the differences of each failed case
";

pub(crate) struct Options {
    pub(crate) program: Vec<String>,
    pub(crate) areas: Option<Vec<String>>,
    pub(crate) only: Vec<String>,
    pub(crate) cases: PathBuf,
    pub(crate) jobs: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) quarantine: bool,
    pub(crate) retry: bool,
    pub(crate) strict_log: bool,
    pub(crate) strict_device: bool,
    pub(crate) record: Option<String>,
    pub(crate) verbose: bool,
}

/// What the command line asks for.
pub(crate) enum Request {
    Run(Box<Options>),
    /// Print the help.
    Help,
    /// `--list` of a test harness: the names of the tests.
    List,
    /// A filter of a test harness that leaves nothing to do.
    Nothing,
}

/// The one name under which test harnesses know this program.
pub(crate) const TEST_NAME: &str = "compat";

/// Reads the command line.  Besides its own options it knows those that `cargo test` and `cargo nextest`
/// pass to every test program, and test name filters.
pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut options = Options {
        program: vec![env!("CARGO_BIN_EXE_serbroker").to_owned()],
        areas: None,
        only: Vec::new(),
        cases: beside("cases"),
        jobs: JOBS,
        json: None,
        quarantine: true,
        retry: true,
        strict_log: false,
        strict_device: false,
        record: None,
        verbose: false,
    };
    let (mut list, mut ignored, mut exact) = (false, false, false);
    let (mut filters, mut skips) = (Vec::new(), Vec::new());
    while let Some(arg) = args.next() {
        let (name, attached) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let mut value = || attached.clone().or_else(|| args.next()).ok_or(format!("{name} wants a value"));
        match name {
            "--exec" => options.program = program(&value()?)?,
            "--areas" => options.areas = Some(words(&value()?)),
            "--only" => options.only = words(&value()?),
            "--cases" => options.cases = directory(&value()?),
            "--jobs" => options.jobs = value()?.parse().map_err(|_| "--jobs wants a number".to_owned())?,
            "--json" => options.json = Some(value()?.into()),
            "--no-quarantine" => options.quarantine = false,
            "--no-retry" => options.retry = false,
            "--strict-log" => options.strict_log = true,
            "--strict-device" => options.strict_device = true,
            "--record-divergence" => options.record = Some(value()?),
            "-v" | "--verbose" => options.verbose = true,
            "-h" | "--help" => return Ok(Request::Help),
            "--list" => list = true,
            "--ignored" => ignored = true,
            "--exact" => exact = true,
            "--skip" => skips.push(value()?),
            "--test-threads" | "--format" | "--color" | "--logfile" | "--shuffle-seed" | "-Z" => {
                value()?; // options of other harnesses that mean nothing here
            }
            flag if flag.starts_with('-') => {} // likewise: --nocapture, --quiet, --show-output …
            filter => filters.push(filter.to_owned()),
        }
    }
    let hit = |f: &String| if exact { f == TEST_NAME } else { TEST_NAME.contains(f.as_str()) };
    let wanted = !ignored && (filters.is_empty() || filters.iter().any(hit)) && !skips.iter().any(hit);
    Ok(match (wanted, list) {
        (false, _) => Request::Nothing,
        (true, true) => Request::List,
        (true, false) => Request::Run(Box::new(options)),
    })
}

impl Options {
    /// Whether the cases of an area are to be run, by the name of the area.
    pub(crate) fn wants_area(&self, area: &str) -> bool {
        match &self.areas {
            Some(areas) => areas.iter().any(|a| a == "all" || area.starts_with(a.as_str())),
            None => !self.only.is_empty() || COMPLETE_AREAS.contains(&area),
        }
    }

    /// Whether an area is named by more than its first letters.
    pub(crate) fn names_area(&self, area: &str) -> bool {
        self.areas.iter().flatten().any(|a| a.len() > 2 && area.starts_with(a.as_str()))
    }

    pub(crate) fn wants_case(&self, key: &str) -> bool {
        let id = key.split_once('/').map_or(key, |(_, id)| id);
        self.only.is_empty() || self.only.iter().any(|o| o == key || o == id)
    }
}

/// A place in the directory of the runner's sources.
pub(crate) fn beside(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat")).join(name)
}

fn words(list: &str) -> Vec<String> {
    list.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn directory(name: &str) -> PathBuf {
    let here = PathBuf::from(name);
    if here.is_dir() { here } else { beside(name) }
}

/// A program and its arguments.  Paths become absolute, because every case has a directory of its own; a
/// plain name is searched in PATH, and then where daemons are installed.
fn program(command: &str) -> Result<Vec<String>, String> {
    let mut parts = command.split_ascii_whitespace().map(str::to_owned);
    let name = parts.next().ok_or("--exec wants a program")?;
    let path = if name.contains('/') {
        Some(PathBuf::from(&name))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
            .map(|dir| dir.join(&name))
            .find(|p| p.is_file())
    };
    let path = path.and_then(|p| std::path::absolute(p).ok()).filter(|p| p.is_file());
    let path = path.ok_or(format!("there is no program {name}"))?;
    Ok(std::iter::once(path.to_string_lossy().into_owned()).chain(parts).collect())
}
