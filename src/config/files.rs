//! Reading the files of a configuration, with errors that say what to do about them.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Largest configuration file that is read, bytes.
pub const MAX_FILE: usize = 16 << 20;

/// A file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// What is wrong, naming the file.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl FileProblem {
    fn new(message: String, help: Option<&str>) -> Self {
        Self { message, help: help.map(str::to_owned) }
    }
}

/// The text of a file of at most `limit` bytes; `-` is standard input.
///
/// # Errors
/// The file cannot be opened or read, is a directory, is too large, or is not UTF-8 text.
pub fn read(path: &Path, limit: usize) -> Result<String, FileProblem> {
    if path == Path::new("-") {
        return whole(std::io::stdin().lock(), limit, "standard input");
    }
    let shown = path.display();
    // a FIFO without a writer would hold the start up for ever
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| cannot_open(path, &error))?;
    let meta =
        file.metadata().map_err(|error| FileProblem::new(format!("cannot read {shown}: {error}"), None))?;
    if meta.is_dir() {
        return Err(FileProblem::new(
            format!("{shown} is a directory"),
            Some("name a file in it, or include its files with a pattern such as 'dir/*.yaml'"),
        ));
    }
    if usize::try_from(meta.len()).unwrap_or(usize::MAX) > limit {
        return Err(too_large(&shown.to_string(), limit));
    }
    // a pipe (`-c <(…)`) is read until its writer is done; a FIFO without writer counts as empty
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))
        .map_err(|error| FileProblem::new(format!("cannot read {shown}: {error}"), None))?;
    whole(file, limit, &shown.to_string())
}

fn too_large(shown: &str, limit: usize) -> FileProblem {
    FileProblem::new(format!("{shown} is larger than {limit} bytes"), None)
}

/// Reads to the end, which has to come within `limit` bytes.
fn whole(from: impl Read, limit: usize, shown: &str) -> Result<String, FileProblem> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| FileProblem::new(format!("cannot read {shown}: {error}"), None))?;
    if bytes.len() > limit {
        return Err(too_large(shown, limit));
    }
    text(bytes, shown)
}

/// Bytes as text.
///
/// # Errors
/// A NUL or bytes that are not UTF-8, with their offset.
pub fn text(bytes: Vec<u8>, shown: &str) -> Result<String, FileProblem> {
    if let Some(at) = bytes.iter().position(|&b| b == 0) {
        return Err(FileProblem::new(
            format!("{shown} is not a text file: NUL at byte {at}"),
            Some("a configuration is UTF-8 text"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        FileProblem::new(
            format!("{shown} is not UTF-8 text: byte {at} is 0x{byte:02x}"),
            Some("a configuration is UTF-8 text; convert it, for instance with iconv"),
        )
    })
}

fn cannot_open(path: &Path, error: &std::io::Error) -> FileProblem {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => FileProblem::new(format!("{shown} does not exist"), None),
        ErrorKind::PermissionDenied => {
            let about = match std::fs::metadata(path) {
                Ok(meta) => owner(&meta),
                Err(_) => blocked_by(path),
            };
            FileProblem::new(
                format!("cannot open {shown}: permission denied{about}, and {}", ourselves()),
                Some("make the file readable for that user or group"),
            )
        }
        _ => FileProblem::new(format!("cannot open {shown}: {error}"), None),
    }
}

fn owner(meta: &Metadata) -> String {
    format!(": its mode is {:04o}, owner {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// The first directory on the way that may not be entered.
fn blocked_by(path: &Path) -> String {
    path.ancestors()
        .skip(1)
        .find_map(|dir| std::fs::metadata(dir).ok().map(|meta| (dir, meta)))
        .map_or_else(String::new, |(dir, meta)| {
            format!(": the directory {} cannot be searched{}", dir.display(), owner(&meta))
        })
}

fn ourselves() -> String {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let mut groups: Vec<u32> =
        nix::unistd::getgroups().map_or_else(|_| Vec::new(), |g| g.iter().map(|g| g.as_raw()).collect());
    groups.insert(0, gid.as_raw());
    groups.dedup();
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    format!("we run as user {uid}, groups {}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let message = |path: &Path| read(path, 10).unwrap_err().message;
        assert!(message(dir.path()).contains("is a directory"));
        assert!(message(&dir.path().join("no")).contains("does not exist"));
        let file = dir.path().join("file");
        std::fs::write(&file, b"ab\0c").unwrap();
        assert!(message(&file).contains("NUL at byte 2"));
        std::fs::write(&file, b"abc\xff").unwrap();
        assert!(message(&file).contains("byte 3 is 0xff"));
        std::fs::write(&file, b"0123456789a").unwrap();
        assert!(message(&file).contains("larger than 10 bytes"));
        std::fs::write(&file, b"0123456789").unwrap();
        assert_eq!(read(&file, 10).unwrap(), "0123456789");
    }

    #[test]
    fn a_device_without_end_is_cut_off() {
        assert!(read(Path::new("/dev/zero"), 1000).unwrap_err().message.contains("larger than"));
    }

    #[test]
    fn pipes_are_read_to_their_end_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&path, 10).unwrap(), "");
        let (reader, mut writer) = std::io::pipe().unwrap();
        let text = std::thread::spawn(move || {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
            read(Path::new(&path), 10).unwrap()
        });
        std::io::Write::write_all(&mut writer, b"abc").unwrap();
        drop(writer);
        assert_eq!(text.join().unwrap(), "abc");
    }

    #[test]
    fn the_reason_of_a_refusal_names_mode_owner_and_ourselves() {
        let error = std::io::Error::from(ErrorKind::PermissionDenied);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let message = cannot_open(&file, &error).message;
        assert!(message.contains("its mode is 0") && message.contains("we run as user"), "{message}");
    }
}
