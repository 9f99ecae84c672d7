//! One trace file: opened for appending, opened again when it was moved away, tried again when it
//! could not be written. Everything here may block.

use crate::log::{LeftOut, RepeatLimiter};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Permissions of a new file, as ser2net makes it; what is traced may be secret.
const MODE: u32 = 0o600;
/// How often it is looked whether the file is still the one of its name.
const CHECK: Duration = Duration::from_secs(1);
/// Wait after a failure before the file is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time in which the same trouble is told once.
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);
/// Memory kept for what is to be written next.
const KEEP: usize = 64 * 1024;

/// A file by its name.
#[derive(Debug)]
pub(super) struct TraceFile {
    path: PathBuf,
    /// Name of the port, for the log.
    port: String,
    open: Option<Open>,
    /// Not tried again before this; set while there is trouble.
    retry_at: Option<Instant>,
    complaints: RepeatLimiter<&'static str>,
    /// Payload that is missing since the trouble began.
    missing: u64,
    /// It is written in lines.
    pub(super) lines: bool,
    /// The last write ended within a line.
    torn: bool,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// Bytes of payload in `out`.
    pub(super) payload: usize,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    id: (u64, u64),
    checked: Instant,
}

fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl TraceFile {
    /// A file that is not open yet.
    pub(super) fn new(path: PathBuf, port: &str) -> Self {
        Self {
            path,
            port: port.to_owned(),
            open: None,
            retry_at: None,
            complaints: RepeatLimiter::new(COMPLAINT_WINDOW, 2),
            missing: 0,
            lines: false,
            torn: false,
            out: Vec::new(),
            payload: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file ready, if that is possible. `reopen`: also when it is.
    pub(super) fn prepare(&mut self, now: Instant, reopen: bool) {
        if reopen {
            self.open = None;
            self.retry_at = self.retry_at.map(|_| now);
        }
        if let Some(open) = &mut self.open
            && now.saturating_duration_since(open.checked) >= CHECK
        {
            open.checked = now;
            // moved away or deleted, by logrotate for instance
            if fs::metadata(&self.path).map_or(true, |meta| id(&meta) != open.id) {
                self.open = None;
                self.torn = false;
            }
        }
        if self.open.is_none() && self.may_try(now) {
            match open(&self.path) {
                Ok((file, id)) => self.open = Some(Open { file, id, checked: now }),
                Err(e) => self.failed(now, "open", &e),
            }
        }
    }

    fn may_try(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// Writes what is in `out`. Returns how much payload of it is missing in the file.
    pub(super) fn write(&mut self, now: Instant) -> usize {
        let out = std::mem::take(&mut self.out);
        let payload = std::mem::take(&mut self.payload);
        let mut missing = 0;
        if !out.is_empty() {
            match self.write_out(&out, now) {
                Some(Ok(())) => self.over(),
                Some(Err(e)) => {
                    missing = payload;
                    self.failed(now, "write", &e);
                }
                None => missing = payload,
            }
            self.missing += missing as u64;
        }
        if out.capacity() <= KEEP {
            self.out = out;
            self.out.clear();
        }
        missing
    }

    /// `None`: it is not tried now.
    fn write_out(&mut self, mut out: &[u8], now: Instant) -> Option<io::Result<()>> {
        if !self.may_try(now) {
            return None;
        }
        let open = self.open.as_mut()?;
        if self.torn {
            // a line that was cut shall not run into the next one
            if let Err(e) = open.file.write_all(b"\n") {
                return Some(Err(e));
            }
            self.torn = false;
        }
        let whole = out.len();
        while !out.is_empty() {
            match open.file.write(out) {
                Ok(0) => return Some(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => out = &out[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.torn = self.lines && out.len() < whole;
                    return Some(Err(e));
                }
            }
        }
        Some(Ok(()))
    }

    fn failed(&mut self, now: Instant, what: &'static str, error: &io::Error) {
        self.retry_at = Some(now + RETRY);
        if let Some(left_out) = self.complaints.occurs(&what, now) {
            let path = self.path.display();
            warn!(
                port = %self.port,
                "cannot {what} trace file {path}: {error}; data goes on without, and the file is tried again{}",
                LeftOut(left_out)
            );
        }
    }

    fn over(&mut self) {
        if self.retry_at.take().is_some() {
            let missing = std::mem::take(&mut self.missing);
            info!(
                port = %self.port,
                "trace file {} is written again; {missing} bytes of data are missing in it", self.path.display()
            );
        }
    }
}

/// Opens a file for appending. A pipe without a reader, or a terminal that hangs, shall not stop
/// all tracing, hence `O_NONBLOCK`, which regular files do not know.
fn open(path: &Path) -> io::Result<(File, (u64, u64))> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path)?;
    let id = id(&file.metadata()?);
    Ok((file, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn put(file: &mut TraceFile, text: &str, now: Instant) -> usize {
        file.prepare(now, false);
        file.out.extend_from_slice(text.as_bytes());
        file.payload += text.len();
        file.write(now)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|e| format!("<{}>", e.kind()))
    }

    #[test]
    fn appends_to_what_is_there_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "old\n").unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o640)).unwrap();
        let now = Instant::now();
        for path in [&old, &new] {
            assert_eq!(put(&mut TraceFile::new(path.clone(), "p"), "x", now), 0);
        }
        assert_eq!((read(&old).as_str(), read(&new).as_str()), ("old\nx", "x"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&old), mode(&new)), (0o640, 0o600));
    }

    #[test]
    fn a_file_that_was_moved_or_deleted_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("t"), dir.path().join("t.1"));
        let mut file = TraceFile::new(path.clone(), "p");
        let mut now = Instant::now();
        put(&mut file, "1", now);
        fs::rename(&path, &moved).unwrap();
        put(&mut file, "2", now);
        assert_eq!((read(&moved).as_str(), path.exists()), ("12", false), "it is not looked every time");
        now += CHECK;
        put(&mut file, "3", now);
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("12", "3"));
        fs::remove_file(&path).unwrap();
        now += CHECK;
        put(&mut file, "4", now);
        assert_eq!(read(&path), "4");
        // asked to, it looks at once
        fs::rename(&path, &moved).unwrap();
        file.prepare(now, true);
        put(&mut file, "5", now);
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("4", "5"));
    }

    #[test]
    fn trouble_costs_only_what_came_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (sub, link) = (dir.path().join("sub"), dir.path().join("link"));
        let path = sub.join("t");
        let mut file = TraceFile::new(path.clone(), "p");
        let mut now = Instant::now();
        assert_eq!(put(&mut file, "lost", now), 4);
        fs::create_dir(&sub).unwrap();
        assert_eq!(put(&mut file, "lost too", now), 8, "not tried again at once");
        now += RETRY;
        assert_eq!(put(&mut file, "kept", now), 0);
        assert_eq!((read(&path).as_str(), file.missing), ("kept", 0));
        // a full disk
        symlink("/dev/full", &link).unwrap();
        let mut file = TraceFile::new(link.clone(), "p");
        assert_eq!(put(&mut file, "12345", now), 5);
        fs::remove_file(&link).unwrap();
        now += RETRY;
        assert_eq!(put(&mut file, "kept", now), 0);
        assert_eq!(read(&link), "kept");
    }

    #[test]
    fn a_pipe_without_a_reader_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut file = TraceFile::new(path.clone(), "p");
        assert_eq!(put(&mut file, "x", Instant::now()), 1);
    }
}
