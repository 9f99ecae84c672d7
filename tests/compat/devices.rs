//! Steps of devices, and of files and locks beside them.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, makedev, mknodat};
use rustix::io::Errno;
use rustix::termios::ioctl_tiocexcl;
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Flow, Stop, error_name};
use crate::case::{Action, Step, result_lines};
use crate::pty::{Device, MODEM_LINES, Modem, lock_file, open_terminal};
use crate::{sys, termios_text};

/// How long the far end tries to send while the program does not read.
const SEND_LIMIT: Duration = Duration::from_secs(3);
/// How long somebody else tries to lock a device.
const LOCK_LIMIT: Duration = Duration::from_secs(3);
/// A process number that the kernel never gives (the limit is 4194304).
const NOBODY: u32 = 4_194_300;
/// The log of device calls that the preloaded library writes.
const CALL_LOG: &str = "shim.log";

impl<'a> Bench<'a> {
    pub(crate) fn act_on_device(&mut self, step: &'a Step) -> Flow {
        match &step.action {
            Action::DevSend { dev, text } => self.dev_send(dev, text),
            Action::DevSendBytewise { dev, text, gap_ms } => {
                for byte in self.names.bytes(text) {
                    rustix::io::write(self.device(dev)?.master()?, &[byte])?;
                    self.pump(Duration::from_secs_f64(gap_ms / 1000.0))?;
                }
                Ok(())
            }
            Action::DevPause { dev } => self.dev_pause(dev, true),
            Action::DevResume { dev } => self.dev_pause(dev, false),
            Action::DeviceUnplugged { dev } => self.unplug(dev),
            Action::DevicePluggedInAgain { dev } => self.plug_in_again(dev),
            Action::UnlinkDevice { dev } => Ok(std::fs::remove_file(&self.device(dev)?.path)?),
            Action::LinkDevice { dev, file } => Ok(symlink(&self.device(dev)?.slave, self.names.fill(file))?),
            Action::Mknod { file, major, minor } => {
                let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR | Mode::WUSR);
                mknodat(CWD, self.names.fill(file), kind, mode, makedev(*major, *minor))
                    .map_err(|e| Stop::Skip(format!("no right to make a device node: {e}")))
            }
            Action::StaleSocket { file } => {
                drop(UnixListener::bind(self.names.fill(file))?); // the file stays
                Ok(())
            }
            Action::FlockDevice { dev } => self.flock_device(dev),
            Action::TiocexclDevice { dev } => {
                let fd = self.open_slave(dev)?;
                ioctl_tiocexcl(&fd)?;
                self.other = Some(fd);
                Ok(())
            }
            Action::ReleaseDevice => {
                self.other = None;
                Ok(())
            }
            Action::MakeUucpLock { path, owner } => self.make_uucp_lock(path, owner),
            Action::EndLockOwner => Ok(self.end_lock_owner()?),
            Action::SetModemLines { dev, lines } => {
                let modem = self.modem(dev)?;
                Ok(lines.iter().try_for_each(|(name, up)| modem.set_line(name, *up))?)
            }
            Action::SetIcounters { dev, counters } => {
                let modem = self.modem(dev)?;
                Ok(counters.iter().try_for_each(|(name, value)| modem.set_counter(name, *value))?)
            }
            Action::DeviceCalls => self.device_calls(step),
            Action::ReadFile { file, text, error } => {
                self.read_file(file, text.as_ref().or(error.as_ref()).map_or("", String::as_str))
            }
            _ => self.look(step, |bench| bench.look_at(step)),
        }
    }

    fn look_at(&mut self, step: &Step) -> Flow<Json> {
        Ok(match &step.action {
            Action::TryFlockDevice { dev } => {
                match flock(self.open_slave(dev)?, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => "granted".into(),
                    Err(e) => error_name(&e.into()).into(),
                }
            }
            Action::TiocgexclDevice { dev } => sys::exclusive_mode(self.open_slave(dev)?)?.into(),
            Action::UucpLock { path } => std::fs::read_to_string(lock_file(&self.names.fill(path)))
                .map_or_else(|_| "none".into(), |text| text.trim().into()),
            Action::Tcgetattr { dev } => {
                let kept = if self.case.modem_shim { self.modem(dev)?.kept()? } else { None };
                termios_text::describe(self.device(dev)?.master()?, kept)?.into()
            }
            Action::ReadModemLines { dev } => {
                let modem = self.modem(dev)?;
                let lines = modem.lines()?;
                let up = |name| MODEM_LINES.iter().any(|(n, bit)| *n == name && lines & bit != 0);
                json!({ "DTR": up("DTR"), "RTS": up("RTS"), "BREAK": modem.break_on()? })
            }
            Action::ListFiles => self.list_files(step)?,
            Action::FileMode { file } => {
                let mode = std::fs::metadata(self.names.fill(file))?.permissions().mode();
                format!("0o{:o}", mode & 0o7777).into()
            }
            Action::FileExists { file } => std::path::Path::new(&self.names.fill(file)).exists().into(),
            Action::SocketFiles => self.socket_files()?,
            Action::DaemonCwd { pidfile } => {
                let cwd = self.daemon.as_ref().and_then(|d| d.cwd(*pidfile));
                cwd.map_or_else(|| "no process".into(), |c| c.to_string_lossy().into())
            }
            _ => return Err(Stop::Skip(format!("step '{}' cannot be replayed", step.name))),
        })
    }

    fn dev_send(&mut self, dev: &str, text: &str) -> Flow {
        let data = self.names.bytes(text);
        let mut rest = data.as_slice();
        let since = Instant::now();
        while !rest.is_empty() && self.device(dev)?.plugged() && since.elapsed() < SEND_LIMIT {
            match rustix::io::write(self.device(dev)?.master()?, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::AGAIN) => self.pump(Duration::from_millis(10))?,
                Err(_) => break, // nobody has it open: what does not come is seen
            }
        }
        Ok(())
    }

    fn dev_pause(&mut self, dev: &str, paused: bool) -> Flow {
        self.device_mut(dev)?.paused = paused;
        Ok(())
    }

    fn unplug(&mut self, dev: &str) -> Flow {
        let slave = self.device_mut(dev)?.unplug()?;
        self.unplugged.extend(slave);
        Ok(())
    }

    fn plug_in_again(&mut self, dev: &str) -> Flow {
        self.unplug(dev)?;
        let new = Device::new(self.device(dev)?.path.clone(), false)?;
        self.names.set(format!("PTS{}", dev.trim_start_matches("DEV")), new.slave.as_str());
        if self.case.modem_shim {
            self.modems.insert(new.slave.clone(), Modem::new(&self.dir, &new.slave)?);
        }
        self.devices.insert(dev.to_owned(), new);
        Ok(())
    }

    fn modem(&self, dev: &str) -> io::Result<&Modem> {
        let slave = &self.device(dev)?.slave;
        self.modems.get(slave).ok_or_else(|| io::Error::other(format!("{dev} has no modem lines")))
    }

    fn open_slave(&self, dev: &str) -> io::Result<std::os::fd::OwnedFd> {
        open_terminal(&self.device(dev)?.slave)
    }

    fn flock_device(&mut self, dev: &str) -> Flow {
        let fd = self.open_slave(dev)?;
        let since = Instant::now();
        while let Err(e) = flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            if e != Errno::WOULDBLOCK || since.elapsed() > LOCK_LIMIT {
                return Err(e.into());
            }
            self.pump(Duration::from_millis(10))?;
        }
        self.other = Some(fd);
        Ok(())
    }

    fn make_uucp_lock(&mut self, path: &str, owner: &str) -> Flow {
        let pid = match owner {
            "live" => self.lock_owner.insert(Command::new("sleep").arg("60").spawn()?).id(),
            _ => NOBODY,
        };
        let text = if owner == "garbage" { "garbage\n".to_owned() } else { format!("{pid:10}\n") };
        Ok(std::fs::write(lock_file(&self.names.fill(path)), text)?)
    }

    /// The device calls since the last look, where their order is compared.
    fn device_calls(&mut self, step: &Step) -> Flow {
        let log = std::fs::read_to_string(self.dir.join(CALL_LOG)).unwrap_or_default();
        let calls: Vec<_> = log.lines().skip(self.calls_seen).map(str::to_owned).collect();
        self.calls_seen += calls.len();
        let wanted = self.witness.rules.strict_device || self.setup.recording;
        if wanted { self.look(step, |_| Ok(json!(calls))) } else { Ok(()) }
    }

    /// A file's bytes, or why it cannot be read.
    fn read_file(&mut self, file: &str, recorded: &str) -> Flow {
        let want = Json::from(recorded);
        let path = self.names.fill(file);
        let got = self.look_for(&want, |bench| {
            Ok(match std::fs::read(&path) {
                Ok(data) if bench.names.matches(recorded, &data) => recorded.into(),
                Ok(data) => bench.names.show(&data).into(),
                Err(e) => error_name(&e).into(),
            })
        })?;
        self.witness.result(&format!("read-file {file}"), &want, got);
        Ok(())
    }

    /// The files that were not there before the program started; the recorded names when these agree.
    fn list_files(&self, step: &Step) -> Flow<Json> {
        let have: BTreeSet<_> = self
            .file_names()?
            .into_iter()
            .filter(|f| !self.initial_files.contains(f) && f != CALL_LOG && !f.starts_with("modem."))
            .collect();
        let want: Vec<_> = result_lines(step).collect();
        let same = want.len() == have.len()
            && want.iter().zip(&have).all(|(w, h)| self.names.matches(&w.replace('\n', "\\n"), h.as_bytes()));
        Ok(if same { want.iter().map(|w| self.names.fill(w)).collect() } else { json!(have) })
    }

    fn socket_files(&self) -> Flow<Json> {
        let mut out = Vec::new();
        for name in self.file_names()?.into_iter().filter(|n| n.contains("sock")) {
            let mode = std::fs::metadata(self.dir.join(&name))?.permissions().mode();
            out.push(json!([name, format!("0o{mode:o}")]));
        }
        Ok(out.into())
    }
}
