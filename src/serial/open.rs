//! Opening a serial device: its locks, the file, and the settings, in the order that disturbs the
//! other end least.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serialport::TTYPort;

use super::device::{Device, Opened};
use super::error::{OpenError, OpenErrorKind};
use super::find::SYSFS;
use super::lock::{Claim, DeviceIdentity, LockRefusal, UUCP_LOCK_DIR, UucpLock, describe_process, find_user};
use super::parts::{Parts, Saved, State};
use super::presence;
use super::settings::DeviceConfig;
use super::sys;

impl Device {
    /// Opens and configures the device. May block for a while (open(2) of a terminal may).
    ///
    /// In this order: claim inside the process, UUCP lock, open(2), flock(2), `TIOCEXCL`, DTR and
    /// RTS, raw mode at the old speed, the configured settings, RS-485, end of break.
    ///
    /// # Errors
    /// See [`OpenErrorKind`]. Whatever had been changed by then is put back.
    pub fn open(config: &DeviceConfig) -> Result<Opened, OpenError> {
        Self::open_with_lock_dir(config, Path::new(UUCP_LOCK_DIR))
    }

    /// As [`open`](Self::open), with another directory for the UUCP lock.
    pub fn open_with_lock_dir(config: &DeviceConfig, lock_dir: &Path) -> Result<Opened, OpenError> {
        let path = &*presence::node(config).map_err(OpenError::with_present)?;
        let refuse = |operation, kind| OpenError { path: path.to_owned(), operation, kind };
        let meta =
            std::fs::metadata(path).map_err(|error| OpenError::from_open(path, "open the device", error))?;
        if !meta.file_type().is_char_device() {
            return Err(refuse("use it", OpenErrorKind::NotATty));
        }
        let identity = DeviceIdentity::of(&meta);
        let claim = Claim::device(identity, path).map_err(|other| {
            let by = Some(format!("the connection that has {other} open, which is this device"));
            refuse("open the device", OpenErrorKind::InUse { by })
        })?;
        let uucp = if config.uucp_lock {
            UucpLock::acquire(lock_dir, path).map_err(|refusal| {
                let kind = match refusal {
                    LockRefusal::Held { pid } => OpenErrorKind::InUse { by: Some(describe_process(pid)) },
                    LockRefusal::Garbage { file } => {
                        OpenErrorKind::BadLockFile { file: file.display().to_string() }
                    }
                };
                refuse("lock the device", kind)
            })?
        } else {
            None
        };
        let file = open_file(config, path, &meta).map_err(|error| match &error.kind {
            OpenErrorKind::Other(cause) if gone(cause) => {
                presence::stale(path, &meta, Path::new(SYSFS)).unwrap_or(error)
            }
            _ => error,
        })?;

        let failed = |operation| move |error| refuse(operation, OpenErrorKind::Other(error));
        let saved = if config.write_only {
            None
        } else {
            let termios = sys::termios(&file).map_err(failed("read its settings"))?;
            Some(Saved { termios, modem: sys::modem_bits(&file).ok(), rs485: None, low_latency: false })
        };
        let mut parts = Parts {
            file,
            state: State {
                path: path.to_owned(),
                is_pty: identity.is_pty(),
                write_only: config.write_only,
                asked: config.line,
                in_force: config.line,
                saved,
                in_break: false,
                drained: false,
                _uucp: uucp,
                _claim: claim,
            },
        };
        match parts.configure(config) {
            Ok(()) => Ok(Opened::new(parts)),
            Err((operation, error)) => {
                parts.put_back();
                Err(failed(operation)(error))
            }
        }
    }
}

/// An error of open(2) that says that the driver has no such device.
fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::EIO))
}

/// Opens the file and takes the locks that go with it.
fn open_file(config: &DeviceConfig, path: &str, expected: &Metadata) -> Result<TTYPort, OpenError> {
    let identity = DeviceIdentity::of(expected);
    let in_use = || OpenError {
        path: path.to_owned(),
        operation: "open the device",
        kind: OpenErrorKind::InUse { by: find_user(expected).map(describe_process) },
    };
    let access = match (config.write_only, config.read_only) {
        (true, _) => OFlag::O_WRONLY,
        (false, true) => OFlag::O_RDONLY,
        (false, false) => OFlag::O_RDWR,
    };
    let flags = access | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| {
        if errno == nix::errno::Errno::EBUSY {
            in_use()
        } else {
            OpenError::from_open(path, "open the device", errno.into())
        }
    })?;
    let other = |error| OpenError {
        path: path.to_owned(),
        operation: "lock the device",
        kind: OpenErrorKind::Other(error),
    };
    let file = std::fs::File::from(fd);
    let found = file.metadata().map_err(other)?;
    if DeviceIdentity::of(&found) != identity || found.ino() != expected.ino() {
        return Err(other(io::Error::other("the path became another device just now")));
    }
    // What is no terminal is not ours to lock: others use /dev/null too.
    if !config.write_only
        && let Err(error) = sys::termios(&file)
        && matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL))
    {
        return Err(OpenError { path: path.to_owned(), operation: "use it", kind: OpenErrorKind::NotATty });
    }
    // Only who has the lock may touch the exclusive flag: the flag belongs to the device, not to
    // the open file, and closing clears it.
    match sys::flock_exclusive(&file) {
        Ok(()) => Ok(sys::adopt(file.into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use()),
        Err(error) => Err(other(error)),
    }
}
