//! The serial side: a pty whose slave the program opens through a symlink, and the modem lines that the
//! preloaded library keeps for it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::sys;
use crate::witness::Sight;

const PACKET_FLAGS: [(u8, &str); 7] = [
    (1, "FLUSHREAD"),
    (2, "FLUSHWRITE"),
    (4, "STOP"),
    (8, "START"),
    (16, "NOSTOP"),
    (32, "DOSTOP"),
    (64, "IOCTL"),
];

/// A device as its far end sees it.
pub(crate) struct Device {
    /// The symlink to the slave.
    pub(crate) path: PathBuf,
    /// `/dev/pts/N`.
    pub(crate) slave: String,
    packet: bool,
    opened: bool,
    /// None after it was unplugged.
    master: Option<OwnedFd>,
    /// While the far end does not read.
    pub(crate) paused: bool,
}

impl Device {
    pub(crate) fn new(path: PathBuf, packet: bool) -> io::Result<Device> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
        // the first close of the slave makes the master say "hung up" until somebody opens it
        let first = open_terminal(&slave)?;
        let mut settings = tcgetattr(&first)?;
        settings.local_modes -= LocalModes::ECHO; // nothing echoes before the program sets it up
        tcsetattr(&first, OptionalActions::Now, &settings)?;
        drop(first);
        rustix::io::ioctl_fionbio(&master, true)?;
        if packet {
            sys::packet_mode(master.as_fd())?;
        }
        if path.is_symlink() {
            std::fs::remove_file(&path)?;
        }
        symlink(&slave, &path)?;
        Ok(Device { path, slave, packet, opened: false, master: Some(master), paused: false })
    }

    pub(crate) fn master(&self) -> io::Result<&OwnedFd> {
        self.master.as_ref().ok_or_else(|| io::Error::from(Errno::NXIO))
    }

    pub(crate) fn plugged(&self) -> bool {
        self.master.is_some()
    }

    /// Closes the master.  The returned slave keeps its number from being given to another pty.
    pub(crate) fn unplug(&mut self) -> io::Result<Option<OwnedFd>> {
        if self.master.is_none() {
            return Ok(None);
        }
        let slave = open_terminal(&self.slave)?;
        self.master = None;
        self.opened = false;
        Ok(Some(slave))
    }

    /// What to wait for, while the program has the device open and the far end reads.
    pub(crate) fn waits(&self) -> Option<PollFd<'_>> {
        let reads = self.opened && !self.paused;
        self.master.as_ref().filter(|_| reads).map(|master| PollFd::new(master, PollFlags::IN))
    }

    /// What happened since the last call.
    pub(crate) fn look(&mut self) -> io::Result<Vec<Sight>> {
        let Some(master) = self.master.as_ref().filter(|_| !self.paused) else { return Ok(Vec::new()) };
        let mut fds = [PollFd::new(master, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default()))?;
        let events = fds[0].revents();
        let hung_up = events.contains(PollFlags::HUP);
        let mut sights = Vec::new();
        if events.contains(PollFlags::IN) {
            let mut buffer = vec![0; 65_536];
            let n = match rustix::io::read(master, &mut buffer[..]) {
                Ok(n) => n,
                Err(Errno::AGAIN | Errno::IO) => 0,
                Err(e) => return Err(e.into()),
            };
            buffer.truncate(n);
            if n > 0 && !self.opened && !hung_up {
                self.opened = true;
                sights.push(Sight::DeviceOpened);
            }
            if self.packet && n > 0 {
                let control = buffer.remove(0);
                if control != 0 {
                    sights.push(Sight::PacketEvent { flags: packet_flags(control) });
                }
            }
            if !buffer.is_empty() {
                sights.push(Sight::Data(buffer));
            }
        }
        if self.opened == hung_up {
            self.opened = !hung_up;
            sights.push(if self.opened { Sight::DeviceOpened } else { Sight::DeviceClosed });
        }
        Ok(sights)
    }
}

fn packet_flags(control: u8) -> String {
    let names: Vec<_> =
        PACKET_FLAGS.iter().filter(|(bit, _)| control & bit != 0).map(|(_, name)| *name).collect();
    names.join("|")
}

/// Opens a terminal as another program would, without making it ours.
pub(crate) fn open_terminal(path: &str) -> io::Result<OwnedFd> {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
}

/// The UUCP lock file of a device path.
pub(crate) fn lock_file(path: &str) -> PathBuf {
    let name = path.strip_prefix("/dev/").unwrap_or(path).replace('/', "_");
    Path::new(LOCK_DIR).join(format!("LCK..{name}"))
}

pub(crate) const LOCK_DIR: &str = "/var/lock";

/// The modem lines, break state and counters of one pty: a file shared with the library in the program
/// (modemshim.c says where what stands in it).
pub(crate) struct Modem(File);

const LINES_AT: u64 = 0;
const BREAK_AT: u64 = 4;
const COUNTERS_AT: u64 = 16;
const KEPT_VALID_AT: u64 = 40;
const KEPT_AT: u64 = 44;
const MODEM_FILE_LEN: usize = 256;

pub(crate) const MODEM_LINES: [(&str, u32); 6] =
    [("DTR", 0x2), ("RTS", 0x4), ("CTS", 0x20), ("CD", 0x40), ("RI", 0x80), ("DSR", 0x100)];
const COUNTERS: [&str; 5] = ["frame", "overrun", "parity", "brk", "buf_overrun"];

impl Modem {
    /// All lines down, no break, counters at zero.
    pub(crate) fn new(dir: &Path, slave: &str) -> io::Result<Modem> {
        let number = slave.rsplit('/').next().unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.join(format!("modem.{number}")))?;
        file.write_all_at(&[0; MODEM_FILE_LEN], 0)?;
        Ok(Modem(file))
    }

    fn get(&self, at: u64) -> io::Result<u32> {
        let mut word = [0; 4];
        self.0.read_exact_at(&mut word, at)?;
        Ok(u32::from_ne_bytes(word))
    }

    fn put(&self, at: u64, value: u32) -> io::Result<()> {
        self.0.write_all_at(&value.to_ne_bytes(), at)
    }

    pub(crate) fn lines(&self) -> io::Result<u32> {
        self.get(LINES_AT)
    }

    pub(crate) fn set_line(&self, name: &str, up: bool) -> io::Result<()> {
        let bit = MODEM_LINES.iter().find(|(n, _)| *n == name).map_or(0, |(_, bit)| *bit);
        let lines = self.lines()?;
        self.put(LINES_AT, if up { lines | bit } else { lines & !bit })
    }

    pub(crate) fn break_on(&self) -> io::Result<bool> {
        Ok(self.get(BREAK_AT)? != 0)
    }

    pub(crate) fn set_counter(&self, name: &str, value: u32) -> io::Result<()> {
        let place = (COUNTERS_AT..).step_by(4).zip(COUNTERS).find(|(_, n)| *n == name);
        place.map_or(Err(io::Error::other("no such counter")), |(at, _)| self.put(at, value))
    }

    /// The character size and parity bits that the program asked for last.
    pub(crate) fn kept(&self) -> io::Result<Option<u32>> {
        if self.get(KEPT_VALID_AT)? == 0 { Ok(None) } else { self.get(KEPT_AT).map(Some) }
    }
}
