//! What a serial port keeps: settings, modem lines, counts; and what its ioctls (ioctl_tty(2)) do to it.

use super::wire::Ioctl;
use crate::attach::line::Wanted;
use crate::serial::request::{Notice, Purge, Request};
use crate::serial::settings::LineSettings;
use crate::serial::sys::Termios2;
use crate::serial::{configured_settings, line_settings, speed_of};
use std::time::Duration;

/// `struct termios` and `struct termios2` of the kernel, as most machines have them.
const TERMIOS: usize = 36;
const TERMIOS2: usize = 44;
/// `struct serial_icounter_struct`.
const COUNTS: usize = 80;
/// `struct winsize`.
const WINDOW: usize = 8;
/// `struct serial_struct`.
const SERIAL: usize = if cfg!(target_pointer_width = "64") { 72 } else { 60 };
/// Length of the break that `TCSBRK` asks for.
const BREAK: Duration = Duration::from_millis(250);
/// Longest break that `TCSBRKP` gets, a tenth of a second each.
const TENTHS_MAX: u64 = 30;

/// On other machines the structures are different, and some numbers of ioctls.
pub(super) const KNOWN_MACHINE: bool = cfg!(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "arm",
    target_arch = "aarch64",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "loongarch64"
));

/// What an ioctl comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It failed, with this errno.
    Failed(i32),
    /// It is done, and these bytes go to its argument.
    Done(Vec<u8>),
    /// It has to come again with so many bytes read, and room for so many.
    Again(usize, usize),
    /// It is done when all is written that was before it.
    Drain,
    /// The same, and then what was received is discarded.
    DrainAndFlush,
    /// It is done when a break of this length is over.
    Break(Duration),
    /// What was received or is to be sent is discarded.
    Flush(Purge),
    /// It is done when one of these inputs changes.
    Wait(u32),
    /// Output stops or goes on.
    Stop(bool),
    /// This byte is sent in front of all others.
    Send(u8),
}

/// The port.
pub(super) struct State {
    pub(super) termios: Termios2,
    /// A program has set the line.
    touched: bool,
    /// What was given for a program that says nothing.
    given: Option<LineSettings>,
    wanted: Wanted,
    /// `TIOCM_DTR | TIOCM_RTS`.
    outputs: u32,
    /// A program has set them.
    outputs_said: bool,
    /// `TIOCM_CAR` and others.
    inputs: u32,
    /// Changes of CTS, DSR, RI, CD; bytes in and out; frame, overrun, parity errors; breaks.
    pub(super) counts: [u32; 11],
    /// Output and input that wait, for those who ask.
    pub(super) waiting: (usize, usize),
    pub(super) exclusive: bool,
    /// What a program set by `TIOCSSERIAL` (low latency), for those who look; nothing has to be done for it.
    serial: [u8; SERIAL],
    /// In order, for the far end.
    pub(super) asks: Vec<Request>,
}

const DTR: u32 = libc::TIOCM_DTR.cast_unsigned();
const RTS: u32 = libc::TIOCM_RTS.cast_unsigned();
const CTS: u32 = libc::TIOCM_CTS.cast_unsigned();
const DSR: u32 = libc::TIOCM_DSR.cast_unsigned();
const RI: u32 = libc::TIOCM_RNG.cast_unsigned();
const CD: u32 = libc::TIOCM_CAR.cast_unsigned();

impl State {
    /// `blank`: settings that all others start from.
    pub(super) fn new(blank: &Termios2, given: Option<LineSettings>) -> Self {
        let line = LineSettings { local: true, hangup_when_done: Some(true), ..given.unwrap_or_default() };
        Self {
            termios: configured_settings(blank, &line),
            touched: false,
            given,
            wanted: given.as_ref().map(Wanted::of_mode).unwrap_or_default(),
            outputs: DTR | RTS,
            outputs_said: false,
            inputs: 0,
            counts: [0; 11],
            waiting: (0, 0),
            exclusive: false,
            serial: [0; SERIAL],
            asks: Vec::new(),
        }
    }

    /// All that a far end has to be told that knows nothing.
    pub(super) fn all(&self) -> Vec<Request> {
        let mut all = self.wanted.changes(&Wanted::default());
        if self.outputs_said {
            all.push(Request::DtrRts(self.outputs & DTR != 0, self.outputs & RTS != 0));
        }
        all
    }

    /// The first program opened it, which raises both lines; the far end does so by itself unless it
    /// is kept open (`tells`).
    pub(super) fn open(&mut self, tells: bool) {
        self.outputs = DTR | RTS;
        self.outputs_said = tells;
        if tells {
            self.asks.push(Request::DtrRts(true, true));
        }
    }

    /// The last program closed it.
    pub(super) fn close(&mut self, tells: bool) {
        self.exclusive = false;
        if tells && self.termios.c_cflag & libc::HUPCL != 0 {
            self.outputs = 0;
            self.asks.push(Request::DtrRts(false, false));
        }
    }

    /// The far line says something. True: inputs have changed.
    pub(super) fn notice(&mut self, notice: Notice) -> u32 {
        match notice {
            Notice::Modem(bits) => {
                let of = |bit: u8, line: u32| if bits & bit != 0 { line } else { 0 };
                let now = of(0x80, CD) | of(0x40, RI) | of(0x20, DSR) | of(0x10, CTS);
                let changed = std::mem::replace(&mut self.inputs, now) ^ now;
                for (count, line) in self.counts.iter_mut().zip([CTS, DSR, RI, CD]) {
                    *count = count.wrapping_add(u32::from(changed & line != 0));
                }
                changed
            }
            Notice::Line(bits) => {
                // frame, overrun, parity, break: their places in the structure
                for (at, bit) in [(6, 0x08), (7, 0x02), (8, 0x04), (9, 0x10)] {
                    self.counts[at] = self.counts[at].wrapping_add(u32::from(bits & bit != 0));
                }
                0
            }
        }
    }

    /// Whether input is given out by lines.
    pub(super) fn is_canonical(&self) -> bool {
        self.termios.c_lflag & libc::ICANON != 0
    }

    /// `VMIN` and `VTIME`, the latter as a time.
    pub(super) fn read_limits(&self) -> (usize, Duration) {
        let byte = |at: usize| self.termios.c_cc[at];
        (byte(libc::VMIN).into(), Duration::from_millis(100) * u32::from(byte(libc::VTIME)))
    }

    /// Output as the settings want it: LF as CR LF.
    pub(super) fn output(&self, data: &[u8]) -> Vec<u8> {
        if self.termios.c_oflag & (libc::OPOST | libc::ONLCR) != libc::OPOST | libc::ONLCR {
            return data.to_vec();
        }
        let mut output = Vec::with_capacity(data.len() + 8);
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    output.extend_from_slice(text);
                    output.extend_from_slice(b"\r\n");
                }
                None => output.extend_from_slice(line),
            }
        }
        output
    }

    /// An input byte as the settings want it.
    pub(super) fn input(&self, byte: u8) -> Option<u8> {
        let has = |bit| self.termios.c_iflag & bit != 0;
        match byte {
            b'\r' if has(libc::IGNCR) => None,
            b'\r' if has(libc::ICRNL) => Some(b'\n'),
            b'\n' if has(libc::INLCR) => Some(b'\r'),
            _ if has(libc::ISTRIP) => Some(byte & 0x7f),
            _ => Some(byte),
        }
    }

    /// Does what a program asks for.
    pub(super) fn control(&mut self, ioctl: &Ioctl<'_>) -> Outcome {
        let number = u64::from(ioctl.command);
        let is = |name: libc::Ioctl| number == u64::from(name as u32);
        // (bytes read, bytes written) at the argument
        let (reads, writes) = if is(libc::TCGETS) {
            (0, TERMIOS)
        } else if is(libc::TCGETS2) {
            (0, TERMIOS2)
        } else if is(libc::TCSETS) || is(libc::TCSETSW) || is(libc::TCSETSF) {
            (TERMIOS, 0)
        } else if is(libc::TCSETS2) || is(libc::TCSETSW2) || is(libc::TCSETSF2) {
            (TERMIOS2, 0)
        } else if is(libc::TIOCMGET)
            || is(libc::FIONREAD)
            || is(libc::TIOCOUTQ)
            || is(TIOCGEXCL)
            || is(TIOCGETD)
        {
            (0, 4)
        } else if is(libc::TIOCMSET) || is(libc::TIOCMBIS) || is(libc::TIOCMBIC) {
            (4, 0)
        } else if is(TIOCGICOUNT) {
            (0, COUNTS)
        } else if is(libc::TIOCGWINSZ) {
            (0, WINDOW)
        } else if is(TIOCGSERIAL) {
            (0, SERIAL)
        } else if is(TIOCSSERIAL) {
            (SERIAL, 0)
        } else {
            (0, 0)
        };
        if ioctl.input.len() < reads || ioctl.room < writes {
            return Outcome::Again(reads, writes);
        }
        let word = |value: u32| Outcome::Done(value.to_ne_bytes().to_vec());
        let given = ioctl.input.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        match number {
            _ if is(libc::TCGETS) => Outcome::Done(self.bytes(false)),
            _ if is(libc::TCGETS2) => Outcome::Done(self.bytes(true)),
            _ if is(libc::TCSETS) || is(libc::TCSETS2) => self.set(ioctl.input, Outcome::Done(Vec::new())),
            _ if is(libc::TCSETSW) || is(libc::TCSETSW2) => self.set(ioctl.input, Outcome::Drain),
            _ if is(libc::TCSETSF) || is(libc::TCSETSF2) => self.set(ioctl.input, Outcome::DrainAndFlush),
            _ if is(libc::TIOCMGET) => word(self.outputs | self.inputs),
            _ if is(libc::TIOCMSET) => self.drive(given),
            _ if is(libc::TIOCMBIS) => self.drive(self.outputs | given),
            _ if is(libc::TIOCMBIC) => self.drive(self.outputs & !given),
            _ if is(TIOCMIWAIT) => Outcome::Wait(ioctl.argument as u32),
            _ if is(TIOCGICOUNT) => {
                let mut bytes: Vec<u8> = self.counts.iter().flat_map(|count| count.to_ne_bytes()).collect();
                bytes.resize(COUNTS, 0);
                Outcome::Done(bytes)
            }
            _ if is(libc::TIOCSBRK) => self.ask(Request::Break(Some(true))),
            _ if is(libc::TIOCCBRK) => self.ask(Request::Break(Some(false))),
            _ if is(libc::TCSBRK) && ioctl.argument != 0 => Outcome::Drain,
            _ if is(libc::TCSBRK) => Outcome::Break(BREAK),
            _ if is(TCSBRKP) => match ioctl.argument.min(TENTHS_MAX) as u32 {
                0 => Outcome::Break(BREAK),
                tenths => Outcome::Break(Duration::from_millis(100) * tenths),
            },
            _ if is(libc::TCFLSH) => match ioctl.argument as libc::c_int {
                libc::TCIFLUSH => Outcome::Flush(Purge::Receive),
                libc::TCOFLUSH => Outcome::Flush(Purge::Transmit),
                libc::TCIOFLUSH => Outcome::Flush(Purge::Both),
                _ => Outcome::Failed(libc::EINVAL),
            },
            _ if is(libc::TCXONC) => match ioctl.argument as libc::c_int {
                libc::TCOOFF => Outcome::Stop(true),
                libc::TCOON => Outcome::Stop(false),
                libc::TCIOFF => Outcome::Send(self.termios.c_cc[libc::VSTOP]),
                libc::TCION => Outcome::Send(self.termios.c_cc[libc::VSTART]),
                _ => Outcome::Failed(libc::EINVAL),
            },
            _ if is(libc::FIONREAD) => word(self.waiting.1 as u32),
            _ if is(libc::TIOCOUTQ) => word(self.waiting.0 as u32),
            _ if is(libc::TIOCEXCL) => {
                self.exclusive = true;
                Outcome::Done(Vec::new())
            }
            _ if is(libc::TIOCNXCL) => {
                self.exclusive = false;
                Outcome::Done(Vec::new())
            }
            _ if is(TIOCGEXCL) => word(self.exclusive.into()),
            // line discipline 0, and a window without a size
            _ if is(TIOCGETD) => word(0),
            _ if is(TIOCGSERIAL) => Outcome::Done(self.serial.to_vec()),
            _ if is(TIOCSSERIAL) => {
                self.serial.iter_mut().zip(ioctl.input).for_each(|(to, from)| *to = *from);
                Outcome::Done(Vec::new())
            }
            _ if is(libc::TIOCGWINSZ) => Outcome::Done(vec![0; WINDOW]),
            _ if is(libc::TIOCSWINSZ) => Outcome::Done(Vec::new()),
            _ => Outcome::Failed(libc::ENOTTY),
        }
    }

    fn ask(&mut self, request: Request) -> Outcome {
        self.asks.push(request);
        Outcome::Done(Vec::new())
    }

    fn drive(&mut self, outputs: u32) -> Outcome {
        let now = outputs & (DTR | RTS);
        let changed = std::mem::replace(&mut self.outputs, now) ^ now;
        let (dtr, rts) = (now & DTR != 0, now & RTS != 0);
        let first = !std::mem::replace(&mut self.outputs_said, true);
        // what was raised by nothing but the opening may be low at the far end
        match (first || changed & DTR != 0, first || changed & RTS != 0) {
            (true, true) => self.ask(Request::DtrRts(dtr, rts)),
            (true, false) => self.ask(Request::Dtr(Some(dtr))),
            (false, true) => self.ask(Request::Rts(Some(rts))),
            (false, false) => Outcome::Done(Vec::new()),
        }
    }

    fn bytes(&self, speeds: bool) -> Vec<u8> {
        let t = &self.termios;
        let mut bytes = Vec::with_capacity(TERMIOS2);
        for word in [t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.push(t.c_line);
        bytes.extend_from_slice(&t.c_cc[..19]);
        if speeds {
            bytes.extend_from_slice(&t.c_ispeed.to_ne_bytes());
            bytes.extend_from_slice(&t.c_ospeed.to_ne_bytes());
        }
        bytes
    }

    /// `bytes` are a whole structure of either kind.
    fn set(&mut self, bytes: &[u8], outcome: Outcome) -> Outcome {
        let word = |at: usize| {
            bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        };
        let old = self.termios;
        let mut new = old;
        (new.c_iflag, new.c_oflag, new.c_cflag, new.c_lflag) = (word(0), word(4), word(8), word(12));
        for (to, from) in new.c_cc.iter_mut().zip(&bytes[17..TERMIOS]) {
            *to = *from;
        }
        let speed = match speed_of(new.c_cflag) {
            Some(speed) => speed,
            // `BOTHER`: the speed as a number, which the short structure does not have
            None if bytes.len() >= TERMIOS2 => word(40),
            None => old.c_ospeed,
        };
        (new.c_ispeed, new.c_ospeed) = (speed, speed);
        new.c_cflag |= libc::CREAD;
        self.termios = new;
        let line = line_settings(&new, &LineSettings::default(), false);
        let mut wanted = Wanted::all_of(&line);
        if !self.touched && self.given.is_none() {
            // all of it, whatever the far end has
            self.wanted = Wanted::default();
        }
        self.touched = true;
        if speed == 0 {
            wanted.baud = self.wanted.baud;
        }
        self.asks.extend(wanted.changes(&self.wanted));
        self.wanted = wanted;
        // 0 is the order to hang up
        if (speed == 0) != (old.c_ospeed == 0) {
            self.drive(if speed == 0 { 0 } else { DTR | RTS });
        }
        outcome
    }
}

/// Not in libc for every machine; `asm-generic/ioctls.h`.
const TCSBRKP: libc::Ioctl = 0x5425;
const TIOCMIWAIT: libc::Ioctl = 0x545C;
const TIOCGICOUNT: libc::Ioctl = 0x545D;
const TIOCGETD: libc::Ioctl = 0x5424;
const TIOCGSERIAL: libc::Ioctl = 0x541E;
const TIOCSSERIAL: libc::Ioctl = 0x541F;
/// `_IOR('T', 0x40, int)`.
const TIOCGEXCL: libc::Ioctl = 0x8004_5440_u32 as libc::Ioctl;

#[cfg(test)]
mod tests;
