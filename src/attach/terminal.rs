//! Making a pseudo-terminal, and watching it for being opened and closed.

use crate::connect::pty;
use crate::serial::settings::LineSettings;
use crate::serial::{configured_settings, sys};
use nix::fcntl::{OFlag, open};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::Mode;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use sys::Termios2;
use tokio::io::unix::AsyncFd;

/// How the terminal is made.
#[derive(Clone, Debug)]
pub(super) struct Make {
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) mode: u32,
}

/// A new pseudo-terminal with settings, and its inotify(7) watch.
pub(super) fn create(
    make: &Make,
    settings: &Termios2,
) -> Result<(OwnedFd, PathBuf, AsyncFd<OwnedFd>), String> {
    let made = || -> io::Result<_> {
        let (master, slave) = pty::create()?;
        let master = master.as_fd().try_clone_to_owned()?;
        sys::set_termios(&master, settings)?;
        Ok((master, slave))
    };
    let (master, slave) = made().map_err(|error| format!("cannot make a pseudo-terminal: {error}"))?;
    let shown = slave.display();
    // a terminal that was never open does not count as closed yet
    drop(open_slave(&slave).map_err(|error| format!("cannot open {shown}: {error}"))?);
    let opens = watch_opens(&slave).map_err(|error| {
        let cure = match error.raw_os_error() {
            Some(libc::EMFILE) => "; raise fs.inotify.max_user_instances with sysctl",
            Some(libc::ENOSPC) => "; raise fs.inotify.max_user_watches with sysctl",
            _ => "",
        };
        format!("cannot watch {shown} for being opened: {error}{cure}")
    })?;
    std::fs::set_permissions(&slave, Permissions::from_mode(make.mode))
        .map_err(|error| format!("cannot set the mode of {shown}: {error}"))?;
    if make.owner.is_some() || make.group.is_some() {
        chown(&slave, make.owner, make.group).map_err(|error| {
            format!("cannot give {shown} to its owner: {error}; that takes root, or a group that we are in")
        })?;
    }
    Ok((master, slave, opens))
}

/// Whether these inotify events are one opening and one closing: four words each, of which the second
/// says what it is.
pub(super) fn is_own(events: &[u8]) -> bool {
    let masks = events.chunks_exact(16).filter_map(|event| event[4..].first_chunk());
    let masks: Vec<u32> = masks.map(|mask| u32::from_ne_bytes(*mask)).collect();
    masks == [libc::IN_OPEN, libc::IN_CLOSE_WRITE]
}

fn watch_opens(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(path, AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE)?;
    sys::watch(inotify.into()).map_err(|(_, error)| error)
}

/// Opens the programs' end.
pub(super) fn open_slave(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// The settings of a new terminal: raw, with the mark of an untouched one.
pub(super) fn fresh(line: Option<LineSettings>) -> io::Result<Termios2> {
    let (master, _) = pty::create()?;
    // as a serial port has it: DTR falls at the last close unless a program says otherwise
    let line = LineSettings { local: true, hangup_when_done: Some(true), ..line.unwrap_or_default() };
    let mut settings = configured_settings(&sys::termios(&master)?, &line);
    settings.c_oflag = libc::OPOST;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(masks: &[u32]) -> Vec<u8> {
        masks.iter().flat_map(|&mask| [1, mask, 0, 0]).flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn own_events_are_told_from_others() {
        let (open, close) = (libc::IN_OPEN, libc::IN_CLOSE_WRITE);
        assert!(is_own(&events(&[open, close])));
        for others in [
            &[][..],
            &[open],
            &[open, close, open],
            &[open, close, open, close],
            &[open, libc::IN_CLOSE_NOWRITE],
        ] {
            assert!(!is_own(&events(others)), "{others:?}");
        }
    }
}
