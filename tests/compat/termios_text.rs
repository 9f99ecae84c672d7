//! Terminal settings as one line of text.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{SpecialCodeIndex, tcgetattr};

const INPUT: [&str; 15] = [
    "IGNBRK", "BRKINT", "IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL", "IUCLC", "IXON",
    "IXANY", "IXOFF", "IMAXBEL", "IUTF8",
];
const OUTPUT: [&str; 8] = ["OPOST", "OLCUC", "ONLCR", "OCRNL", "ONOCR", "ONLRET", "OFILL", "OFDEL"];
const LOCAL: [&str; 16] = [
    "ISIG", "ICANON", "XCASE", "ECHO", "ECHOE", "ECHOK", "ECHONL", "NOFLSH", "TOSTOP", "ECHOCTL", "ECHOPRT",
    "ECHOKE", "FLUSHO", "", "PENDIN", "IEXTEN",
];
const CONTROL: [(u32, &str); 8] = [
    (libc::CSTOPB, "CSTOPB"),
    (libc::CREAD, "CREAD"),
    (libc::PARENB, "PARENB"),
    (libc::PARODD, "PARODD"),
    (libc::HUPCL, "HUPCL"),
    (libc::CLOCAL, "CLOCAL"),
    (libc::CMSPAR, "CMSPAR"),
    (libc::CRTSCTS, "CRTSCTS"),
];
/// Speeds by their code in the control flags: the plain codes, then those with CBAUDEX.
const SPEEDS: [u32; 16] =
    [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400];
const FAST_SPEEDS: [u32; 15] = [
    57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
    2_500_000, 3_000_000, 3_500_000, 4_000_000,
];
/// The flags that a pty forces to CS8 without parity.
const FORCED: u32 = libc::CSIZE | libc::PARENB;

/// `input/output speed Bcode control-flags i= o= l= vmin= vtime=`.  `kept` are the CSIZE and PARENB bits that
/// were asked for, where something remembers them.
pub(crate) fn describe(terminal: impl AsFd, kept: Option<u32>) -> io::Result<String> {
    let t = tcgetattr(terminal)?;
    let mut control = t.control_modes.bits();
    if let Some(kept) = kept {
        control = control & !FORCED | kept;
    }
    let size = 5 + ((control & libc::CSIZE) >> 4);
    let mut flags = vec![format!("CS{size}")];
    flags.extend(CONTROL.iter().filter(|(bit, _)| control & bit != 0).map(|(_, name)| (*name).to_owned()));
    Ok(format!(
        "{}/{} {} {} i={} o={} l={} vmin={} vtime={}",
        t.input_speed(),
        t.output_speed(),
        speed_code(control),
        flags.join("|"),
        named_bits(t.input_modes.bits(), &INPUT),
        named_bits(t.output_modes.bits(), &OUTPUT),
        named_bits(t.local_modes.bits(), &LOCAL),
        t.special_codes[SpecialCodeIndex::VMIN],
        t.special_codes[SpecialCodeIndex::VTIME],
    ))
}

fn speed_code(control: u32) -> String {
    let code = control & libc::CBAUD;
    if code == libc::BOTHER {
        return "BOTHER".to_owned();
    }
    let speed = match code.checked_sub(libc::CBAUDEX + 1) {
        Some(fast) => FAST_SPEEDS.get(fast as usize),
        None => SPEEDS.get(code as usize),
    };
    format!("B{}", speed.unwrap_or(&code))
}

fn named_bits(bits: u32, names: &[&str]) -> String {
    let set: Vec<_> = names
        .iter()
        .enumerate()
        .filter(|(i, name)| bits >> i & 1 == 1 && !name.is_empty())
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() { "0".to_owned() } else { set.join("|") }
}
