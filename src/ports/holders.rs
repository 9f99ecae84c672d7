//! Who has a device: processes with an open descriptor, and UUCP lock files.

use super::printable;
use crate::serial::{DeviceIdentity, lock_holder, lock_name, process_lives};
use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Name of its program; `None`: not known.
    pub program: Option<String>,
}

/// A UUCP lock file of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockFile {
    /// Its path.
    pub path: String,
    /// The process that it names; `None`: it names none.
    pub process: Option<Process>,
    /// That process is gone, so that the lock is none.
    pub stale: bool,
}

/// The processes that have devices open.
#[derive(Debug, Default)]
pub(super) struct Held {
    by: HashMap<DeviceIdentity, Vec<Process>>,
    /// Processes that we may not look at.
    pub(super) hidden: usize,
}

impl Held {
    /// The processes that have it open, by number.
    pub(super) fn holders(&self, device: DeviceIdentity) -> Vec<Process> {
        let mut holders = self.by.get(&device).cloned().unwrap_or_default();
        holders.sort();
        holders
    }
}

/// Who has `devices` open, as proc(5) tells it.
pub(super) fn of(proc: &Path, devices: impl Iterator<Item = DeviceIdentity>) -> Held {
    let mut held = Held { by: devices.map(|device| (device, Vec::new())).collect(), hidden: 0 };
    if held.by.is_empty() {
        return held;
    }
    let own = process::id().cast_signed();
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| *pid != own) {
        let files = match fs::read_dir(proc.join(format!("{pid}/fd"))) {
            Ok(files) => files,
            Err(error) => {
                held.hidden += usize::from(error.kind() == ErrorKind::PermissionDenied);
                continue;
            }
        };
        for file in files.flatten() {
            // look at the name first: only what is below /dev is worth a stat, which could hang
            let link = file.path();
            if !fs::read_link(&link).is_ok_and(|target| target.starts_with("/dev")) {
                continue;
            }
            let Ok(meta) = fs::metadata(&link) else { continue };
            if !meta.file_type().is_char_device() {
                continue;
            }
            if let Some(holders) = held.by.get_mut(&DeviceIdentity::of(&meta))
                && holders.iter().all(|holder| holder.pid != pid)
            {
                holders.push(Process { pid, program: program(proc, pid) });
            }
        }
    }
    held
}

/// The lock files of the device with these names.
pub(super) fn lock_files<'a>(
    dir: &Path,
    proc: &Path,
    names: impl Iterator<Item = &'a String>,
) -> Vec<LockFile> {
    let mut found: Vec<LockFile> = Vec::new();
    for name in names.filter_map(|name| lock_name(name)) {
        let file = dir.join(name);
        let path = file.display().to_string();
        // what cannot be read does not tell anything
        let Ok(pid) = lock_holder(&file) else { continue };
        let stale = pid.is_some_and(|pid| !process_lives(pid));
        let process = pid.map(|pid| Process { pid, program: program(proc, pid) });
        found.push(LockFile { path, process, stale });
    }
    found
}

fn program(proc: &Path, pid: i32) -> Option<String> {
    let name = fs::read(proc.join(format!("{pid}/comm"))).ok()?;
    Some(printable(&String::from_utf8_lossy(&name)))
}
