//! The link that programs open.
//!
//! A link of ours can be told from others by its text: it leads to `/dev/./pts/5`, which is where
//! `/dev/pts/5` is. So one that a killed program left behind is replaced, although its number may
//! belong to somebody else's terminal by now, and one that another program made is not touched. That
//! no two of us have the same link is seen to by a socket without a file (unix(7), abstract), which
//! the kernel takes away with the program.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// Begins the text of our links.
const OURS: &str = "/dev/./";

/// A link that leads to a terminal, and is removed with this value.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    /// Its text.
    text: OsString,
    _claim: UnixListener,
}

impl Link {
    /// Makes the link at `path`, which has to be free or a left-over, to `terminal` below `/dev`.
    ///
    /// # Errors
    /// Text for the user.
    pub(super) fn new(path: &Path, terminal: &Path) -> Result<Self, String> {
        let path = whole(path)?;
        let claim = claim(&path)?;
        let shown = path.display();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot look at {shown}: {error}")),
            Ok(found) if !found.is_symlink() => {
                return Err(format!(
                    "{shown} is there and is no link of ours; it is left alone: name another place, or remove it"
                ));
            }
            Ok(_) => {
                let leads = fs::read_link(&path).map_err(|e| format!("cannot read the link {shown}: {e}"))?;
                let ours = leads.as_os_str().as_bytes().starts_with(OURS.as_bytes());
                let dead = leads.starts_with("/dev/pts") && !path.exists();
                if !ours && !dead {
                    return Err(format!(
                        "{shown} is a link to {}, which another program made; it is left alone: name another \
                         place, or remove it",
                        leads.display()
                    ));
                }
            }
        }
        let mut link = Self { path, text: OsString::new(), _claim: claim };
        link.lead_to(terminal)?;
        Ok(link)
    }

    /// Has the link lead to `terminal`. There is no moment without a link.
    ///
    /// # Errors
    /// Text for the user.
    pub(super) fn lead_to(&mut self, terminal: &Path) -> Result<(), String> {
        let text = match terminal.strip_prefix("/dev") {
            Ok(below) => Path::new(OURS).join(below).into_os_string(),
            Err(_) => terminal.as_os_str().to_owned(),
        };
        let mut new = self.path.clone().into_os_string().into_vec();
        new.extend_from_slice(b".new");
        let new = PathBuf::from(OsString::from_vec(new));
        // left by one of us that was killed just then
        let _ = fs::remove_file(&new);
        let made = symlink(&text, &new).and_then(|()| fs::rename(&new, &self.path));
        made.map_err(|error| {
            let _ = fs::remove_file(&new);
            format!("cannot make the link {}: {error}{}", self.path.display(), cure(&error))
        })?;
        self.text = text;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // somebody may have put something else in its place
        if fs::read_link(&self.path).is_ok_and(|text| text.as_os_str() == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; choose a directory that we may write to, or start as root",
        io::ErrorKind::ReadOnlyFilesystem => "; the service may write below /dev and /run only",
        _ => "",
    }
}

/// The path from the root, with links on the way to it followed.
pub(super) fn whole(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    let Some(name) = path.file_name() else {
        return Err(format!("'{shown}' names no file; write for instance /dev/ttyV0"));
    };
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        Err(error) => {
            Err(format!("cannot make {shown}: {}: {error}; make the directory first", parent.display()))
        }
    }
}

/// Makes sure that no other one of us has the link.
pub(super) fn claim(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    // FNV-1a: names of sockets are short
    let hash = path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let bound = SocketAddr::from_abstract_name(format!("serbroker/attach/{hash:016x}"))
        .and_then(|address| UnixListener::bind_addr(&address));
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{shown} is in use by another serbroker attach; end that one, or name another place")
        }
        _ => format!("cannot claim {shown}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_link(path).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn it_comes_moves_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tty");
        let mut link = Link::new(&path, Path::new("/dev/pts/0")).unwrap();
        assert_eq!(text(&path), "/dev/./pts/0");
        link.lead_to(Path::new("/dev/null")).unwrap();
        assert!(path.exists() && text(&path) == "/dev/./null");
        drop(link);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_link_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tty");
        let link = Link::new(&path, Path::new("/dev/null")).unwrap();
        let error = Link::new(
            &dir.path().join("../").join(dir.path().file_name().unwrap()).join("tty"),
            Path::new("/dev/null"),
        );
        assert!(error.unwrap_err().contains("in use by another serbroker attach"));
        drop(link);
        assert!(Link::new(&path, Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn left_overs_are_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tty");
        // ours, and what it leads to is somebody's: the number was used again
        for leftover in ["/dev/./null", "/dev/pts/no-such"] {
            symlink(leftover, &path).unwrap();
            let link = Link::new(&path, Path::new("/dev/zero")).unwrap();
            assert_eq!(text(&path), "/dev/./zero");
            drop(link);
        }
        for other in ["/dev/null", "/dev/pts/ptmx", "elsewhere"] {
            symlink(other, &path).unwrap();
            let error = Link::new(&path, Path::new("/dev/zero")).unwrap_err();
            assert!(error.contains("another program made"), "{error}");
            assert_eq!(text(&path), other);
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, "mine").unwrap();
        assert!(Link::new(&path, Path::new("/dev/zero")).unwrap_err().contains("no link of ours"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn what_replaced_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tty");
        let link = Link::new(&path, Path::new("/dev/null")).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        drop(link);
        assert_eq!(text(&path), "/dev/zero");
    }

    #[test]
    fn places_that_cannot_be_are_told() {
        let error = Link::new(Path::new("/no/such/tty"), Path::new("/dev/null")).unwrap_err();
        assert!(error.contains("/no/such") && error.contains("make the directory first"), "{error}");
        assert!(Link::new(Path::new("/"), Path::new("/dev/null")).is_err());
    }
}
