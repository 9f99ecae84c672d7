//! A pseudo-terminal as a device, and what is compared of it.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, Termios, tcgetattr};
use serbroker::serial::settings::{DeviceConfig, LineSettings};
use serbroker::serial::{Device, OpenError, OpenErrorKind, Opened};
use std::time::{Duration, Instant};

/// Time that anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A pseudo-terminal whose master plays the device.
pub(crate) struct Pty {
    pub(crate) master: fs::File,
    pub(crate) path: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        Self { master: master.into(), path, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> DeviceConfig {
        config(&self.path)
    }

    /// Another name for the device.
    pub(crate) fn link(&self, name: &str) -> String {
        let link = self.dir.path().join(name);
        symlink(&self.path, &link).unwrap();
        link.to_str().unwrap().to_owned()
    }

    pub(crate) fn open(&self, config: &DeviceConfig) -> Result<Opened, OpenError> {
        Device::open_with_lock_dir(config, self.dir.path())
    }

    /// Opens what is free, or about to be: a program that another test is just starting has all
    /// descriptors of this process, and with them the locks, until it is executed.
    #[track_caller]
    pub(crate) fn opened(&self, config: &DeviceConfig) -> Opened {
        let begun = Instant::now();
        loop {
            match self.open(config) {
                Err(error)
                    if matches!(error.kind, OpenErrorKind::InUse { .. }) && begun.elapsed() < PATIENCE => {}
                result => return result.unwrap(),
            }
        }
    }

    pub(crate) fn open_local(&self) -> Opened {
        self.opened(&self.config())
    }

    pub(crate) fn termios(&self) -> Termios {
        tcgetattr(&self.master).unwrap()
    }
}

pub(crate) fn config(path: &str) -> DeviceConfig {
    DeviceConfig { line: LineSettings { local: true, ..LineSettings::default() }, ..DeviceConfig::new(path) }
}

/// What can be compared of two settings.
pub(crate) fn bits(t: &Termios) -> (InputModes, OutputModes, ControlModes, LocalModes, u32, u32) {
    (t.input_modes, t.output_modes, t.control_modes, t.local_modes, t.input_speed(), t.output_speed())
}

pub(crate) fn refusal(result: Result<Opened, OpenError>) -> OpenError {
    result.map(|_| ()).unwrap_err()
}
