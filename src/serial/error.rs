//! Why a device could not be opened, and how reading and writing ends.

use std::borrow::Cow;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::present;
use crate::metrics::DeviceFailure;
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgroups};

/// A device could not be opened. [`Display`](fmt::Display) is the message for the log: path, what
/// was tried, why it failed and what helps. [`client_text`](Self::client_text) is for the client.
#[derive(Debug)]
pub struct OpenError {
    /// Path of the device as configured.
    pub path: String,
    /// What was being done.
    pub operation: &'static str,
    /// What is wrong.
    pub kind: OpenErrorKind,
}

/// What is wrong with a device that could not be opened.
#[derive(Debug)]
pub enum OpenErrorKind {
    /// There is no such file.
    NotFound {
        /// The ports that there are, as a part of a sentence; may be empty.
        present: String,
    },
    /// Somebody else has it; who, as far as it is known.
    InUse {
        /// A connection of ours (`connector /dev/…`) or a process (`process 12 (minicom)`).
        by: Option<String>,
    },
    /// The UUCP lock file does not say who holds it.
    BadLockFile {
        /// Path of the lock file.
        file: String,
    },
    /// We may not open it.
    Permission {
        /// Who may, who we are and what to change.
        detail: String,
    },
    /// The node is there, but nothing is behind it any more; the numbers of the device. That happens
    /// in containers, whose nodes are copies.
    Stale {
        /// Major and minor number: `188:0`.
        number: String,
    },
    /// More than one port is what was asked for.
    Ambiguous {
        /// Their device nodes.
        found: Vec<String>,
    },
    /// It is no terminal.
    NotATty,
    /// Any other error of the operating system.
    Other(io::Error),
}

impl OpenErrorKind {
    /// All values of [`OpenErrorKind::name`].
    pub const NAMES: [&'static str; 8] = [
        "missing device",
        "device in use",
        "bad lock file",
        "no permission",
        "stale node",
        "ambiguous device",
        "no terminal",
        "open",
    ];

    /// A name for the kind of trouble: one that lasts is not logged again and again, but another is.
    pub fn name(&self) -> &'static str {
        let [missing, in_use, bad_lock, permission, stale, ambiguous, no_terminal, other] = Self::NAMES;
        match self {
            Self::NotFound { .. } => missing,
            Self::InUse { .. } => in_use,
            Self::BadLockFile { .. } => bad_lock,
            Self::Permission { .. } => permission,
            Self::Stale { .. } => stale,
            Self::Ambiguous { .. } => ambiguous,
            Self::NotATty => no_terminal,
            Self::Other(_) => other,
        }
    }
}

impl OpenError {
    /// An error of the system at some step behind open(2).
    pub fn other(path: &str, operation: &'static str, error: io::Error) -> Self {
        Self { path: path.to_owned(), operation, kind: OpenErrorKind::Other(error) }
    }

    /// The value of the metric label `reason`.
    pub fn failure(&self) -> DeviceFailure {
        match &self.kind {
            OpenErrorKind::NotFound { .. } => DeviceFailure::Missing,
            OpenErrorKind::InUse { .. } | OpenErrorKind::BadLockFile { .. } => DeviceFailure::Busy,
            OpenErrorKind::Permission { .. } => DeviceFailure::Permission,
            OpenErrorKind::Stale { .. } => DeviceFailure::Stale,
            OpenErrorKind::Ambiguous { .. } => DeviceFailure::Ambiguous,
            OpenErrorKind::NotATty => DeviceFailure::NotATty,
            OpenErrorKind::Other(error) => DeviceFailure::of_open(error),
        }
    }

    /// The text that follows `Device open failure: ` for the client, as ser2net words it.
    pub fn client_text(&self) -> &'static str {
        match &self.kind {
            // ser2net says the same of a lock file that it cannot read
            OpenErrorKind::NotFound { .. } | OpenErrorKind::BadLockFile { .. } => "Value or file not found",
            OpenErrorKind::InUse { .. } => "Object was already in use",
            OpenErrorKind::Permission { .. } => "Permission denied",
            OpenErrorKind::Other(error) if error.kind() == io::ErrorKind::TimedOut => "Operation timed out",
            OpenErrorKind::Ambiguous { .. }
            | OpenErrorKind::Stale { .. }
            | OpenErrorKind::NotATty
            | OpenErrorKind::Other(_) => "OS error, see logs",
        }
    }

    /// Names the ports that there are, if this one is not there. It reads `/sys`, and may block for
    /// as long as that takes.
    #[must_use]
    pub fn with_present(mut self) -> Self {
        if let OpenErrorKind::NotFound { present } = &mut self.kind {
            *present = present::present();
        }
        self
    }

    /// An error of open(2) that says that there is no such file.
    pub(super) fn is_absence(error: &io::Error) -> bool {
        // a bad component of the path is a path that is not there, too
        matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR))
    }

    /// Sorts an error of open(2) or of looking the path up.
    pub(crate) fn from_open(path: &str, operation: &'static str, error: io::Error) -> Self {
        let kind = match error.raw_os_error().map(Errno::from_raw) {
            _ if Self::is_absence(&error) => OpenErrorKind::NotFound { present: present::present() },
            Some(Errno::EBUSY) => OpenErrorKind::InUse { by: None },
            Some(Errno::EACCES | Errno::EPERM) => {
                OpenErrorKind::Permission { detail: permission_detail(Path::new(path), &error) }
            }
            _ => OpenErrorKind::Other(error),
        };
        Self { path: path.to_owned(), operation, kind }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            OpenErrorKind::Other(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot {}: ", self.path, self.operation)?;
        match &self.kind {
            OpenErrorKind::NotFound { present } => {
                f.write_str(
                    "no such device; check the path, and whether the adapter is plugged in and its \
                     driver loaded",
                )?;
                if present.is_empty() { Ok(()) } else { write!(f, "; there is {present}") }
            }
            OpenErrorKind::InUse { by: Some(by) } => write!(f, "in use by {by}"),
            OpenErrorKind::InUse { by: None } => {
                f.write_str("in use by another process that we may not look at; see it with fuser(1) as root")
            }
            OpenErrorKind::BadLockFile { file } => write!(
                f,
                "the lock file {file} does not hold a process number; remove it if no program \
                 uses the device"
            ),
            OpenErrorKind::Permission { detail } => f.write_str(detail),
            OpenErrorKind::Stale { number } => write!(
                f,
                "the device node is stale: it is for device {number}, and /sys knows no such device (any \
                 more); in a container, give it the whole /dev and a device_cgroup_rule, or start it again"
            ),
            OpenErrorKind::Ambiguous { found } => write!(
                f,
                "{} fit; say more, for instance interface or path, so that one is left",
                found.join(", ")
            ),
            OpenErrorKind::NotATty => f.write_str("it is not a terminal device; a serial port is needed"),
            OpenErrorKind::Other(error) => write!(f, "{error}"),
        }
    }
}

/// Who may use the file, who we are, and which change would help.
fn permission_detail(path: &Path, error: &io::Error) -> String {
    let groups: Vec<Gid> = {
        let mut groups = getgroups().unwrap_or_default();
        groups.push(getegid());
        groups.sort_by_key(|group| group.as_raw());
        groups.dedup();
        groups
    };
    let us = format!(
        "we are {} in {}",
        user_name(geteuid()),
        groups.iter().map(|group| group_name(*group)).collect::<Vec<_>>().join(", ")
    );
    match std::fs::metadata(path) {
        Ok(meta) => {
            let fix = fix_for(&meta, &groups);
            format!(
                "{error}; its mode is {:04o}, owner {}, group {}; {us}; {fix}",
                meta.permissions().mode() & 0o7777,
                user_name(Uid::from_raw(meta.uid())),
                group_name(Gid::from_raw(meta.gid())),
            )
        }
        Err(_) => format!("{error}; a directory on the way to it may not be searched; {us}"),
    }
}

fn fix_for(meta: &Metadata, groups: &[Gid]) -> String {
    let group = Gid::from_raw(meta.gid());
    let group_may = meta.mode() & 0o060 == 0o060;
    let member = groups.contains(&group);
    if group_may && !member && group.as_raw() != 0 {
        let user = name_of(geteuid()).unwrap_or_else(|| "USER".to_owned());
        let group = group_name(group);
        format!("add us to the group (usermod -a -G {group} {user}) and restart")
    } else if group_may && member || geteuid().is_root() {
        "the mode would allow it, so something else forbids it: the device list of a container, \
         or a security module"
            .to_owned()
    } else {
        "give it to a group that we are in, for instance by a udev rule with \
         GROUP=\"dialout\", MODE=\"0660\""
            .to_owned()
    }
}

fn name_of(user: Uid) -> Option<String> {
    User::from_uid(user).ok().flatten().map(|user| user.name)
}

fn user_name(user: Uid) -> String {
    name_of(user).unwrap_or_else(|| format!("uid {user}"))
}

fn group_name(group: Gid) -> String {
    match Group::from_gid(group) {
        Ok(Some(group)) => group.name,
        _ => format!("gid {group}"),
    }
}

/// How a read or write ended that did not move data.
#[derive(Debug)]
pub enum IoFailure {
    /// The device is gone: unplugged, or the other end of the pseudo-terminal closed. It must be
    /// closed soon, so that the kernel can give its name to the device that comes back.
    Gone,
    /// The same of a line whose modem lines count (no `local`): the carrier may have dropped as well.
    /// The kernel makes a hang-up of both.
    HungUp,
    /// What is at the other end of a connector has ended it; the text says how.
    Ended(Cow<'static, str>),
    /// Another error.
    Failed(io::Error),
}

impl IoFailure {
    /// Sorts an error of read(2), write(2) or ioctl(2) on an open device.
    pub fn from_io(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            // what terminals and USB drivers return after a hang-up
            Some(Errno::EIO | Errno::ENXIO | Errno::ENODEV | Errno::ESHUTDOWN | Errno::EPIPE) => Self::Gone,
            _ => Self::Failed(error),
        }
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the device is gone"),
            Self::HungUp => f.write_str("unplugged, or the carrier (DCD) dropped, which `local` ignores"),
            Self::Ended(how) => f.write_str(how),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for IoFailure {}
