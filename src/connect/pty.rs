//! Pseudo-terminals: one that another program opens, or one with a program on it (`pty`).

use super::node::Watched;
use super::open::{Stack, blocking};
use super::reaper::Running;
use super::{Channel, ConnectError, program};
use crate::config::connector::{CommandLine, Pty};
use crate::metrics::DeviceFailure;
use crate::serial::{IoFailure, sys};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::{Group, User};
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The near end of a pseudo-terminal. The link goes first, then the program, then the terminal.
#[derive(Debug)]
struct Master {
    _link: Option<Link>,
    running: Option<Running>,
    file: Watched,
}

/// A symbolic link that is removed with this value.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    target: PathBuf,
}

impl Drop for Link {
    fn drop(&mut self) {
        // somebody may have put something else in its place
        if std::fs::read_link(&self.path).is_ok_and(|target| target == self.target) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the pseudo-terminal and starts the program on it.
pub(super) async fn open(stack: &Stack, options: &Pty) -> Result<Box<dyn Channel>, ConnectError> {
    let wanted = options.clone();
    let (master, slave, link) = blocking(move || make(&wanted)).await?;
    let running = match &options.command {
        Some(line) => Some(start(stack, line, &slave)?),
        None => None,
    };
    let failed = |error: io::Error| ConnectError::io("cannot watch the pseudo-terminal", &error);
    let master = master.as_fd().try_clone_to_owned().map_err(failed)?;
    let file = Watched::new(master).map_err(failed)?;
    Ok(Box::new(Master { _link: link, running, file }))
}

/// A new pseudo-terminal, the path of its far end, and the link to that.
fn make(options: &Pty) -> Result<(PtyMaster, PathBuf, Option<Link>), ConnectError> {
    let Pty { link, force_link, raw, mode, owner, group, command: _ } = options;
    let create = || -> io::Result<_> {
        let (master, slave) = create()?;
        if *raw {
            // on this end the settings of the other are meant (ioctl_tty(2)), and the far end was
            // not opened by then, so that its being closed cannot be mistaken for the end
            let settings = sys::termios(&master)?;
            sys::set_termios(&master, &crate::serial::raw_settings(&settings))?;
        }
        Ok((master, slave))
    };
    let (master, slave) =
        create().map_err(|error| ConnectError::io("cannot make a pseudo-terminal", &error))?;
    let failed = |error: io::Error| ConnectError::io(&format!("cannot prepare {}", slave.display()), &error);
    if let Some(mode) = mode {
        std::fs::set_permissions(&slave, Permissions::from_mode(mode & !umask())).map_err(failed)?;
    }
    let (owner, group) = owner_ids(owner.as_deref(), group.as_deref())
        .map_err(|message| ConnectError::new(message, "Value or file not found", DeviceFailure::Settings))?;
    if owner.is_some() || group.is_some() {
        chown(&slave, owner, group).map_err(failed)?;
    }
    let link = link.as_ref().map(|path| make_link(path, &slave, *force_link)).transpose()?;
    Ok((master, slave, link))
}

/// A new pseudo-terminal, and the path of its far end.
pub(crate) fn create() -> io::Result<(PtyMaster, PathBuf)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = PathBuf::from(ptsname_r(&master)?);
    Ok((master, slave))
}

/// The numbers of a user and a group.
///
/// # Errors
/// There is no such user or group; the text says so.
pub(crate) fn owner_ids(
    owner: Option<&str>,
    group: Option<&str>,
) -> Result<(Option<u32>, Option<u32>), String> {
    let unknown = |what: &str, name: &str| format!("there is no {what} '{name}' to give the terminal to");
    let owner = owner.map(|name| match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(unknown("user", name)),
    });
    let group = group.map(|name| match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(unknown("group", name)),
    });
    Ok((owner.transpose()?, group.transpose()?))
}

fn make_link(path: &Path, slave: &Path, force: bool) -> Result<Link, ConnectError> {
    let failed =
        |error: io::Error| ConnectError::io(&format!("cannot make the link {}", path.display()), &error);
    // one that leads to no terminal any more was left behind by a program that was killed
    let stale =
        || std::fs::read_link(path).is_ok_and(|target| target.starts_with("/dev/pts")) && !path.exists();
    if (force || stale())
        && let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    symlink(slave, path).map_err(failed)?;
    Ok(Link { path: path.to_owned(), target: slave.to_owned() })
}

/// Bits that are taken off the modes of new files; umask(2) could only tell by changing them.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o022)
}

fn start(stack: &Stack, line: &CommandLine, slave: &Path) -> Result<Running, ConnectError> {
    let named = line.arguments.first().map_or("", String::as_str);
    let mut line = line.clone();
    // a login shell knows itself by the first letter of its name
    let login = named.strip_prefix('-').map(str::to_owned);
    if let (Some(program), Some(first)) = (login.clone(), line.arguments.first_mut()) {
        *first = program;
    }
    let mut command = program::command(&line);
    if login.is_some() {
        command.arg0(named);
    }
    let streams = || -> io::Result<[OwnedFd; 3]> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(slave)?;
        let file = OwnedFd::from(file);
        Ok([file.try_clone()?, file.try_clone()?, file])
    };
    let [input, output, errors] =
        streams().map_err(|error| ConnectError::io(&format!("cannot open {}", slave.display()), &error))?;
    command.stdin(input).stdout(output).stderr(errors);
    sys::lead_session(&mut command);
    let mut command = tokio::process::Command::from(command);
    let child = command.spawn().map_err(|error| program::not_started(command.as_std(), &error))?;
    Ok(Running::new(child, Arc::clone(stack.port())))
}

impl Channel for Master {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        match ready!(self.file.poll_read(cx, buf)) {
            Ok(count @ 1..) => Poll::Ready(Ok(count)),
            // nobody has the far end open any more
            Ok(0) => Poll::Ready(Err(self.ended(cx))),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Poll::Ready(Err(self.ended(cx))),
            Err(error) => Poll::Ready(Err(IoFailure::Failed(error))),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        match ready!(self.file.poll_write(cx, data)) {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Poll::Ready(Err(self.ended(cx))),
            other => Poll::Ready(other.map_err(IoFailure::Failed)),
        }
    }

    fn window(&mut self, columns: u16, rows: u16) {
        // programs on a terminal whose size cannot be set go by the one that it has
        let _ = self.file.set_window(columns, rows);
    }
}

impl Master {
    fn ended(&mut self, cx: &mut Context<'_>) -> IoFailure {
        IoFailure::Ended(match self.running.as_mut().map(|running| running.poll_exit(cx)) {
            Some(Poll::Ready(Some(status))) => format!("the program has ended ({status})").into(),
            Some(_) => "the program has left its terminal".into(),
            None => "the pseudo-terminal was closed at its other end".into(),
        })
    }
}
