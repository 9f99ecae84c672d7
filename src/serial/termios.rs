//! Line settings as the bits of `struct termios2`, and back (termios(3)).

use libc::{speed_t, tcflag_t};

use super::settings::{Flow, LineSettings, Parity};
use super::sys::Termios2;

/// All speed bits of the control flags, for output and for input (`CIBAUD` is `CBAUD << 16`).
const SPEED_BITS: tcflag_t = libc::CBAUD | libc::CBAUD << 16;

/// The speeds that have a constant of their own. Some old drivers only know these and look at the
/// constant alone, so it is used wherever there is one.
const STANDARD: [(u32, speed_t); 30] = [
    (50, libc::B50),
    (75, libc::B75),
    (110, libc::B110),
    (134, libc::B134),
    (150, libc::B150),
    (200, libc::B200),
    (300, libc::B300),
    (600, libc::B600),
    (1200, libc::B1200),
    (1800, libc::B1800),
    (2400, libc::B2400),
    (4800, libc::B4800),
    (9600, libc::B9600),
    (19_200, libc::B19200),
    (38_400, libc::B38400),
    (57_600, libc::B57600),
    (115_200, libc::B115200),
    (230_400, libc::B230400),
    (460_800, libc::B460800),
    (500_000, libc::B500000),
    (576_000, libc::B576000),
    (921_600, libc::B921600),
    (1_000_000, libc::B1000000),
    (1_152_000, libc::B1152000),
    (1_500_000, libc::B1500000),
    (2_000_000, libc::B2000000),
    (2_500_000, libc::B2500000),
    (3_000_000, libc::B3000000),
    (3_500_000, libc::B3500000),
    (4_000_000, libc::B4000000),
];

/// Raw mode at the speed of `old`: no translation of any byte, reads return what there is.
pub(crate) fn raw(old: &Termios2) -> Termios2 {
    let mut new = *old;
    new.c_iflag = libc::IGNBRK;
    new.c_oflag = 0;
    new.c_lflag = 0;
    new.c_line = 0;
    new.c_cflag = old.c_cflag & (SPEED_BITS | libc::HUPCL) | libc::CS8 | libc::CREAD;
    // with VMIN 0 an idle line would read as end of file, which means a lost device here
    new.c_cc[libc::VMIN] = 1;
    new.c_cc[libc::VTIME] = 0;
    // whoever had the device before may have switched these off
    new.c_cc[libc::VSTART] = 0x11;
    new.c_cc[libc::VSTOP] = 0x13;
    new
}

/// Raw mode with these settings; `old` gives what they do not say.
pub(crate) fn configured(old: &Termios2, line: &LineSettings) -> Termios2 {
    let mut new = raw(old);
    let speed = STANDARD.iter().find(|(rate, _)| *rate == line.baud);
    new.c_cflag = speed.map_or(libc::BOTHER, |(_, constant)| *constant) | libc::CREAD;
    new.c_ispeed = line.baud;
    new.c_ospeed = line.baud;
    new.c_cflag |= match line.size {
        5 => libc::CS5,
        6 => libc::CS6,
        7 => libc::CS7,
        _ => libc::CS8,
    };
    new.c_cflag |= match line.parity {
        Parity::None => 0,
        Parity::Odd => libc::PARENB | libc::PARODD,
        Parity::Even => libc::PARENB,
        Parity::Mark => libc::PARENB | libc::PARODD | libc::CMSPAR,
        Parity::Space => libc::PARENB | libc::CMSPAR,
    };
    let flags = [
        (line.stop == 2, libc::CSTOPB),
        (line.flow.rtscts, libc::CRTSCTS),
        (line.local, libc::CLOCAL),
        // as found, it also acts when the line hangs up or this process is killed
        (line.hangup_when_done.unwrap_or(old.c_cflag & libc::HUPCL != 0), libc::HUPCL),
    ];
    for (_, bit) in flags.into_iter().filter(|(on, _)| *on) {
        new.c_cflag |= bit;
    }
    if line.flow.xonxoff {
        new.c_iflag |= libc::IXON | libc::IXOFF;
    }
    new
}

/// What the driver made of `asked`.
///
/// A pseudo-terminal has no line: the kernel forces eight bits without parity on it. Size and
/// parity are then reported as asked, as if the line had them.
pub(crate) fn settings(now: &Termios2, asked: &LineSettings, is_pty: bool) -> LineSettings {
    let has = |bit| now.c_cflag & bit != 0;
    let size = match now.c_cflag & libc::CSIZE {
        libc::CS5 => 5,
        libc::CS6 => 6,
        libc::CS7 => 7,
        _ => 8,
    };
    let parity = match (has(libc::PARENB), has(libc::PARODD), has(libc::CMSPAR)) {
        (false, ..) => Parity::None,
        (true, true, false) => Parity::Odd,
        (true, false, false) => Parity::Even,
        (true, true, true) => Parity::Mark,
        (true, false, true) => Parity::Space,
    };
    LineSettings {
        baud: now.c_ospeed,
        size: if is_pty { asked.size } else { size },
        parity: if is_pty { asked.parity } else { parity },
        stop: if has(libc::CSTOPB) { 2 } else { 1 },
        flow: Flow { xonxoff: now.c_iflag & libc::IXON != 0, rtscts: has(libc::CRTSCTS) },
        local: has(libc::CLOCAL),
        hangup_when_done: asked.hangup_when_done,
    }
}

/// The speed that control flags stand for; `None`: one without a constant (`BOTHER`).
pub(crate) fn speed_of(flags: tcflag_t) -> Option<u32> {
    let constant = flags & libc::CBAUD;
    if constant == libc::B0 {
        return Some(0);
    }
    STANDARD.iter().find(|(_, known)| *known == constant).map(|(rate, _)| *rate)
}

/// The saved settings as they are put back at close.
///
/// `HUPCL` acts at the very close, so of all settings it is this one that decides whether DTR and RTS
/// drop. The kernel sets it by default.
pub(crate) fn restored(saved: &Termios2, hangup_when_done: Option<bool>) -> Termios2 {
    let mut new = *saved;
    match hangup_when_done {
        Some(true) => new.c_cflag |= libc::HUPCL,
        Some(false) => new.c_cflag &= !libc::HUPCL,
        None => {}
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::sys;

    fn blank() -> Termios2 {
        let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR).unwrap();
        sys::termios(&master).unwrap()
    }

    #[test]
    fn every_setting_survives_the_way_there_and_back() {
        let old = blank();
        for baud in [9600, 74_880, 4_000_000, u32::MAX] {
            for size in 5..=8 {
                for parity in [Parity::None, Parity::Odd, Parity::Even, Parity::Mark, Parity::Space] {
                    for bits in 0..32_u8 {
                        let on = |bit: u8| bits >> bit & 1 == 1;
                        let line = LineSettings {
                            baud,
                            size,
                            parity,
                            stop: 1 + (bits & 1),
                            flow: Flow { xonxoff: on(1), rtscts: on(2) },
                            local: on(3),
                            hangup_when_done: [None, Some(on(4))][usize::from(on(3))],
                        };
                        // once more from there: nothing of earlier settings may linger
                        let bits = configured(&configured(&old, &line), &line);
                        let asked = LineSettings {
                            hangup_when_done: line.hangup_when_done,
                            ..LineSettings::default()
                        };
                        assert_eq!(settings(&bits, &asked, false), line);
                        assert_eq!(bits.c_cflag & libc::HUPCL != 0, line.hangup_when_done == Some(true));
                    }
                }
            }
        }
    }

    #[test]
    fn hupcl_is_as_found_unless_it_is_configured() {
        let mut found = blank();
        for bit in [0, libc::HUPCL] {
            found.c_cflag = found.c_cflag & !libc::HUPCL | bit;
            for (option, expected) in [(None, bit), (Some(true), libc::HUPCL), (Some(false), 0)] {
                let line = LineSettings { hangup_when_done: option, ..LineSettings::default() };
                for new in [configured(&raw(&found), &line), restored(&found, option)] {
                    assert_eq!(new.c_cflag & libc::HUPCL, expected, "{option:?}");
                }
            }
        }
    }

    #[test]
    fn none_after_mark_clears_all_of_it() {
        let mark = LineSettings { parity: Parity::Mark, ..LineSettings::default() };
        let bits = configured(&configured(&blank(), &mark), &LineSettings::default());
        assert_eq!(bits.c_cflag & (libc::PARENB | libc::PARODD | libc::CMSPAR), 0);
    }

    #[test]
    fn standard_speeds_use_their_constant_and_others_do_not() {
        let speed_of = |baud| {
            configured(&blank(), &LineSettings { baud, ..LineSettings::default() }).c_cflag & libc::CBAUD
        };
        assert_eq!(speed_of(115_200), libc::B115200);
        assert_eq!(speed_of(14_400), libc::BOTHER);
    }
}
