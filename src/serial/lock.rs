//! Who may use a device: claims inside this process, and UUCP lock files for other programs.
//!
//! Claims go by the identity of the device, not by its name, so that two connections cannot open
//! one device through two names. Lock files go by name, because that is what other programs
//! compare: `/var/lock/LCK..ttyUSB0` holds the process number as ten characters and a newline
//! (Filesystem Hierarchy Standard 3.0, section 5.9).

use std::collections::HashMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::stat::{major, minor};
use nix::unistd::Pid;

/// Where UUCP lock files live.
pub const UUCP_LOCK_DIR: &str = "/var/lock";

/// Claims and lock files of this process, each with the path that it was made for.
static CLAIMED: LazyLock<Mutex<HashMap<Key, String>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Device(DeviceIdentity),
    LockFile(PathBuf),
}

/// What makes a device node the same device whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeviceIdentity {
    device: u64,
    /// The file system of a pseudo-terminal: every mounted devpts counts from zero.
    devpts: Option<u64>,
}

impl DeviceIdentity {
    /// The identity of a character device.
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self { device: meta.rdev(), devpts: is_pty(meta.rdev()).then(|| meta.dev()) }
    }

    /// Whether it is the slave side of a Unix98 pseudo-terminal.
    pub(crate) fn is_pty(self) -> bool {
        is_pty(self.device)
    }
}

/// Majors 136 to 143, see Documentation/admin-guide/devices.txt of the kernel.
fn is_pty(device: u64) -> bool {
    (136..=143).contains(&major(device))
}

fn claimed() -> MutexGuard<'static, HashMap<Key, String>> {
    // the map is whole after every single insert and remove
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device that no other part of this process may open while this lives.
#[derive(Debug)]
pub(crate) struct Claim(Key);

impl Claim {
    /// Claims a device for the connector path `path`.
    ///
    /// # Errors
    /// The path under which somebody else in this process has it.
    pub(crate) fn device(identity: DeviceIdentity, path: &str) -> Result<Self, String> {
        Self::new(Key::Device(identity), path)
    }

    fn new(key: Key, path: &str) -> Result<Self, String> {
        use std::collections::hash_map::Entry;
        match claimed().entry(key.clone()) {
            Entry::Occupied(other) => Err(other.get().clone()),
            Entry::Vacant(free) => {
                free.insert(path.to_owned());
                Ok(Self(key))
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.0);
    }
}

/// Why there is no lock file.
#[derive(Debug)]
pub(crate) enum LockRefusal {
    /// A living process (or another connection of this one) holds the lock.
    Held { pid: i32 },
    /// The file does not say who holds it.
    Garbage { file: PathBuf },
}

/// A UUCP lock file of ours, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct UucpLock {
    file: PathBuf,
    _claim: Claim,
}

impl UucpLock {
    /// Makes the lock file for `device` in `dir`. A file whose process is dead is replaced.
    ///
    /// `Ok(None)` when the device takes none (pseudo-terminals under `/dev/pts`) or when the
    /// directory is missing or may not be written: not every system has one, and the device is
    /// locked by flock(2) and `TIOCEXCL` as well.
    pub(crate) fn acquire(dir: &Path, device: &str) -> Result<Option<Self>, LockRefusal> {
        let Some(name) = lock_name(device) else { return Ok(None) };
        let file = dir.join(name);
        let claim = Claim::new(Key::LockFile(file.clone()), device)
            .map_err(|_| LockRefusal::Held { pid: process::id().cast_signed() })?;
        // more than one turn only when another program makes or removes the file at the same time
        for _ in 0..8 {
            match create(&file) {
                Ok(()) => return Ok(Some(Self { file, _claim: claim })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    tracing::debug!("{device}: no UUCP lock file {}: {error}", file.display());
                    return Ok(None);
                }
            }
            match holder(&file) {
                Ok(Some(pid)) if is_alive(pid) => return Err(LockRefusal::Held { pid }),
                Ok(Some(pid)) => {
                    tracing::info!(
                        "{device}: removing the lock file {} of process {pid}, which is gone",
                        file.display()
                    );
                    if let Err(error) = fs::remove_file(&file)
                        && error.kind() != io::ErrorKind::NotFound
                    {
                        tracing::debug!("{}: cannot be removed: {error}", file.display());
                        return Ok(None);
                    }
                }
                Ok(None) => return Err(LockRefusal::Garbage { file }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_unreadable) => return Err(LockRefusal::Garbage { file }),
            }
        }
        Err(LockRefusal::Garbage { file })
    }
}

impl Drop for UucpLock {
    fn drop(&mut self) {
        // somebody may have taken us for dead and put a lock of his own in our place
        if matches!(holder(&self.file), Ok(Some(pid)) if pid == process::id().cast_signed())
            && let Err(error) = fs::remove_file(&self.file)
        {
            tracing::debug!("{}: cannot be removed: {error}", self.file.display());
        }
    }
}

/// The name of the lock file: the path below `/dev` with `/` as `_`.
pub(crate) fn lock_name(device: &str) -> Option<String> {
    if device.starts_with("/dev/pts/") {
        return None;
    }
    let below = device.strip_prefix("/dev/").unwrap_or(device);
    Some(format!("LCK..{}", below.replace('/', "_")))
}

/// Creates the file with our process number in it, so that nobody can ever read an empty one.
fn create(file: &Path) -> io::Result<()> {
    let content = format!("{:10}\n", process::id());
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", process::id()));
    let temporary = PathBuf::from(name);
    // anybody may write to the directory: take nothing that lies there already
    fs::remove_file(&temporary)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut new| new.write_all(content.as_bytes()));
    // unlike rename, link fails when the target exists
    let linked = written.and_then(|()| fs::hard_link(&temporary, file));
    if let Err(error) = fs::remove_file(&temporary)
        && linked.is_ok()
    {
        tracing::debug!("{}: cannot be removed: {error}", temporary.display());
    }
    linked
}

/// The process that a lock file names; `None` when it names none.
pub(crate) fn holder(file: &Path) -> io::Result<Option<i32>> {
    // anybody may put anything there: opening or reading a pipe would wait for ever
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    if !open.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    let read = open.take(64).read_to_string(&mut text);
    Ok(read.ok().and_then(|_| text.trim().parse().ok()).filter(|pid| *pid > 0))
}

/// Whether `pid` is a process other than this one. Our own number in a file that we do not hold is
/// left from an earlier life, which is common in containers, where the number is always 1.
pub(crate) fn is_alive(pid: i32) -> bool {
    pid != process::id().cast_signed() && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// A process as people know it: number and program name.
pub(crate) fn describe_process(pid: i32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim_end()),
        Err(_) => format!("process {pid}"),
    }
}

/// Another process that has the device: the one that holds its flock(2) lock, else one that has it
/// open, as far as `/proc` shows it to us.
pub(crate) fn find_user(node: &Metadata) -> Option<i32> {
    let holder = fs::read_to_string("/proc/locks").ok().and_then(|table| flock_holder(&table, node));
    holder.or_else(|| find_opener(DeviceIdentity::of(node)))
}

/// The process with a flock(2) lock on a file, in the table of `/proc/locks` (proc_locks(5)):
/// `1: FLOCK  ADVISORY  WRITE 1234 00:18:5 0 EOF`, device numbers in hexadecimal.
fn flock_holder(table: &str, node: &Metadata) -> Option<i32> {
    let (major, minor) = (major(node.dev()), minor(node.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", node.ino());
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, place, ..] if place == file => pid.parse().ok(),
            _ => None,
        }
    })
}

fn find_opener(identity: DeviceIdentity) -> Option<i32> {
    let own = process::id().cast_signed();
    let has_it = |pid: &i32| -> bool {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| {
            // look at the name first: only what is below /dev is worth a stat, which could hang
            let link = file.path();
            fs::read_link(&link).is_ok_and(|target| target.starts_with("/dev"))
                && fs::metadata(&link).is_ok_and(|meta| DeviceIdentity::of(&meta) == identity)
        })
    };
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .find(has_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_pid() -> i32 {
        let mut child = process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id().cast_signed()
    }

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let file = tempfile::tempfile().unwrap();
        let meta = file.metadata().unwrap();
        let (major, minor) = (major(meta.dev()), minor(meta.dev()));
        let table = format!(
            "1: POSIX  ADVISORY  WRITE 7 {major:02x}:{minor:02x}:{ino} 0 EOF\n\
             2: FLOCK  ADVISORY  WRITE 8 ff:ff:{ino} 0 EOF\n\
             3: FLOCK  ADVISORY  WRITE 9 {major:02x}:{minor:02x}:{ino} 0 EOF\n\
             3: -> FLOCK  ADVISORY  WRITE 10 {major:02x}:{minor:02x}:{ino} 0 EOF\n",
            ino = meta.ino()
        );
        assert_eq!(flock_holder(&table, &meta), Some(9));
        assert_eq!(flock_holder("", &meta), None);
    }

    #[test]
    fn names() {
        assert_eq!(lock_name("/dev/ttyUSB0").unwrap(), "LCK..ttyUSB0");
        assert_eq!(lock_name("/dev/serial/by-id/x").unwrap(), "LCK..serial_by-id_x");
        assert_eq!(lock_name("/tmp/a/tty").unwrap(), "LCK.._tmp_a_tty");
        assert_eq!(lock_name("/dev/pts/3"), None);
    }

    #[test]
    fn lock_file_lives_as_long_as_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = UucpLock::acquire(dir.path(), "/dev/ttyT0").unwrap().unwrap();
        let file = dir.path().join("LCK..ttyT0");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{:10}\n", process::id()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file is left");
        let again = UucpLock::acquire(dir.path(), "/dev/ttyT0");
        assert!(matches!(again, Err(LockRefusal::Held { pid }) if pid == process::id().cast_signed()));
        drop(lock);
        assert!(!file.exists());
    }

    #[test]
    fn only_the_living_hold_locks() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("LCK..ttyT1");
        for stale in [dead_pid(), process::id().cast_signed()] {
            fs::write(&file, format!("{stale:10}\n")).unwrap();
            let lock = UucpLock::acquire(dir.path(), "/dev/ttyT1").unwrap();
            assert!(lock.is_some(), "{stale}");
        }
        let mut living = process::Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(&file, format!("{:10}\n", living.id())).unwrap();
        let refused = UucpLock::acquire(dir.path(), "/dev/ttyT1");
        let pid = living.id().cast_signed();
        living.kill().unwrap();
        living.wait().unwrap();
        assert!(matches!(refused, Err(LockRefusal::Held { pid: holder }) if holder == pid));
        assert!(file.exists());
    }

    #[test]
    fn garbage_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("LCK..ttyT2");
        for content in ["garbage\n", "", "-1\n", "0\n"] {
            fs::write(&file, content).unwrap();
            let refused = UucpLock::acquire(dir.path(), "/dev/ttyT2");
            assert!(matches!(refused, Err(LockRefusal::Garbage { .. })), "{content:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
    }

    #[test]
    fn a_pipe_in_its_place_is_garbage() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("LCK..ttyT5"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = UucpLock::acquire(dir.path(), "/dev/ttyT5");
        assert!(matches!(refused, Err(LockRefusal::Garbage { .. })));
    }

    #[test]
    fn a_missing_directory_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert!(UucpLock::acquire(&missing, "/dev/ttyT3").unwrap().is_none());
    }

    #[test]
    fn a_lock_put_in_our_place_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("LCK..ttyT4");
        let lock = UucpLock::acquire(dir.path(), "/dev/ttyT4").unwrap().unwrap();
        fs::write(&file, "         1\n").unwrap();
        drop(lock);
        assert!(file.exists());
    }
}
