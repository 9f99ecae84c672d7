//! The listening socket of a Unix domain socket accepter.

use super::peer::Peer;
use crate::config::UnixListen as Config;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use tokio::net::{UnixListener, UnixStream};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// A bound socket; its file goes when it is dropped.
#[derive(Debug)]
pub(super) struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that was made: what is there later may be another's.
    identity: (u64, u64),
}

impl Bound {
    /// Makes the socket file and listens. Nobody can connect who may not in the end: the file never
    /// has wider permissions than those that are asked for.
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        let path = Path::new(&*config.path);
        let owner = config.owner.as_deref().map(user).transpose()?;
        let group = config.group.as_deref().map(group).transpose()?;
        if config.delsock {
            remove_old(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        if let Some(mode) = config.mode {
            // Linux makes the file with the mode of the socket, less the umask
            fchmod(&socket, Mode::from_bits_truncate(mode))?;
        }
        socket.bind(&SockAddr::unix(path)?)?;
        let made = fs::symlink_metadata(path)?;
        let identity = (made.dev(), made.ino());
        let finish = || {
            if owner.is_some() || group.is_some() {
                chown(path, owner, group)?;
            }
            if let Some(mode) = config.mode {
                fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            }
            socket.listen(BACKLOG)
        };
        if let Err(e) = finish() {
            remove_if_same(path, identity);
            return Err(e);
        }
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Peer)>> {
        let (stream, address) = ready!(self.listener.poll_accept(cx))?;
        let path = address.as_pathname().map(|path| path.to_string_lossy().into());
        Poll::Ready(Ok((stream, Peer::Unix(path))))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        remove_if_same(&self.path, self.identity);
    }
}

fn remove_if_same(path: &Path, identity: (u64, u64)) {
    if fs::symlink_metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == identity) {
        // one that cannot be removed is in the way of the next start, which says so
        let _ = fs::remove_file(path);
    }
}

/// Removes a socket file of earlier times, and nothing else.
fn remove_old(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no socket, and stays")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn user(name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    User::from_name(name)?.map(|user| user.uid.as_raw()).ok_or_else(|| nobody("user", name))
}

fn group(name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    Group::from_name(name)?.map(|group| group.gid.as_raw()).ok_or_else(|| nobody("group", name))
}

fn nobody(what: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} '{name}'"))
}

/// What to do about a socket that cannot be made.
pub(super) fn hint(config: &Config, error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) if config.delsock => "another program made it again at once",
        Some(libc::EADDRINUSE) => {
            "something is there; if no other program listens on it, remove it or write unix(delsock)"
        }
        Some(libc::EACCES | libc::EPERM) => "its directory must be writable, and only root gives files away",
        Some(libc::ENOENT) => "its directory is missing",
        _ => "it is tried again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path) -> Config {
        let path = path.to_str().unwrap().into();
        Config { path, delsock: false, mode: None, owner: None, group: None }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_file_has_the_mode_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for want in [0o666, 0o600, 0o640] {
            let bound = Bound::new(&Config { mode: Some(want), ..config(&path) }).unwrap();
            assert_eq!(mode(&path), want);
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn only_sockets_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Bound::new(&config(&path)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        assert!(hint(&config(&path), &error).contains("delsock"));
        let delsock = Config { delsock: true, ..config(&path) };
        drop(Bound::new(&delsock).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(Bound::new(&delsock).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_file_of_another_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let bound = Bound::new(&config(&path)).unwrap();
        let later = Bound::new(&Config { delsock: true, ..config(&path) }).unwrap();
        drop(bound);
        assert!(path.exists());
        drop(later);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn owners_that_do_not_exist_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let error = Bound::new(&Config { owner: Some("no-such-user".into()), ..config(&path) }).unwrap_err();
        assert!(error.to_string().contains("no-such-user"));
        assert!(!path.exists());
    }
}
