//! Modem lines and error counters, and the state bytes of RFC 2217 made from them.

use super::sys;
use std::os::fd::AsRawFd;

/// The modem lines of a port, as `TIOCMGET` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ModemLines {
    /// Clear to send (input).
    pub cts: bool,
    /// Data set ready (input).
    pub dsr: bool,
    /// Ring indicator (input).
    pub ri: bool,
    /// Carrier detect (input).
    pub cd: bool,
    /// Data terminal ready (output).
    pub dtr: bool,
    /// Request to send (output).
    pub rts: bool,
}

impl ModemLines {
    /// From `TIOCM_*` bits.
    pub(crate) fn from_bits(bits: libc::c_int) -> Self {
        let has = |mask| bits & mask != 0;
        Self {
            cts: has(libc::TIOCM_CTS),
            dsr: has(libc::TIOCM_DSR),
            ri: has(libc::TIOCM_RI),
            cd: has(libc::TIOCM_CD),
            dtr: has(libc::TIOCM_DTR),
            rts: has(libc::TIOCM_RTS),
        }
    }

    /// The modem state byte of RFC 2217 (NOTIFY-MODEMSTATE): bit 7 CD, 6 RI, 5 DSR, 4 CTS, and in
    /// bits 3 to 0 which of them changed since `before` (none of them when there is no before).
    ///
    /// RFC 2217 calls bit 2 the trailing edge of RI. It is set at both edges here, as ser2net does:
    /// a client that masks out the upper bits would not notice the beginning of a ring otherwise.
    pub fn state(self, before: Option<Self>) -> u8 {
        let levels =
            |m: Self| u8::from(m.cts) | u8::from(m.dsr) << 1 | u8::from(m.ri) << 2 | u8::from(m.cd) << 3;
        let now = levels(self);
        now << 4 | before.map_or(0, |before| now ^ levels(before))
    }
}

/// Line errors since the driver was loaded, as `TIOCGICOUNT` counts them. The counts wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Characters received.
    pub received: u32,
    /// Characters sent.
    pub sent: u32,
    /// Framing errors.
    pub frame: u32,
    /// Characters lost in the hardware.
    pub overrun: u32,
    /// Parity errors.
    pub parity: u32,
    /// Breaks received.
    pub breaks: u32,
    /// Characters lost because the buffer of the kernel was full.
    pub buffer_overrun: u32,
    /// Edges of CTS.
    pub cts: u32,
    /// Edges of DSR.
    pub dsr: u32,
    /// Edges of RI; some drivers count only its ends.
    pub ri: u32,
    /// Edges of DCD.
    pub cd: u32,
}

impl Counters {
    pub(crate) fn from_raw(raw: &sys::RawCounters) -> Self {
        // the kernel counts in unsigned numbers and only hands them over as `int`
        Self {
            received: raw.rx.cast_unsigned(),
            sent: raw.tx.cast_unsigned(),
            frame: raw.frame.cast_unsigned(),
            overrun: raw.overrun.cast_unsigned(),
            parity: raw.parity.cast_unsigned(),
            breaks: raw.brk.cast_unsigned(),
            buffer_overrun: raw.buf_overrun.cast_unsigned(),
            cts: raw.cts.cast_unsigned(),
            dsr: raw.dsr.cast_unsigned(),
            ri: raw.rng.cast_unsigned(),
            cd: raw.dcd.cast_unsigned(),
        }
    }

    /// The line state byte of RFC 2217 (NOTIFY-LINESTATE) for what happened since `before`: bit 4
    /// break, 3 framing error, 2 parity error, 1 overrun. The other bits (transmitter empty, data
    /// ready) have no meaning for counters and are 0.
    pub fn state_since(self, before: Self) -> u8 {
        let overrun = self.overrun != before.overrun || self.buffer_overrun != before.buffer_overrun;
        u8::from(self.breaks != before.breaks) << 4
            | u8::from(self.frame != before.frame) << 3
            | u8::from(self.parity != before.parity) << 2
            | u8::from(overrun) << 1
    }

    /// Edges of CTS, DSR, RI and CD since `before`.
    fn edges_since(self, before: Self) -> [u32; 4] {
        [
            self.cts.wrapping_sub(before.cts),
            self.dsr.wrapping_sub(before.dsr),
            self.ri.wrapping_sub(before.ri),
            self.cd.wrapping_sub(before.cd),
        ]
    }
}

/// What a look at a device shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Look {
    /// The modem lines; `None` where there are none, or when nobody asked for them.
    pub lines: Option<ModemLines>,
    /// What the driver counted; `None` where it does not count.
    pub counters: Option<Counters>,
}

impl Look {
    /// Whether a modem line has moved since `before`.
    pub(super) fn moved_since(&self, before: &Self) -> bool {
        toggled(before, self) != 0 || edges(before, self) != [0; 4]
    }

    /// Looks now. Asking for the modem lines can take a USB adapter a millisecond; counters are
    /// kept in memory.
    pub(super) fn at(file: &impl AsRawFd, modem: bool) -> Self {
        // The counters first: what is counted must show in the lines, or a client would be told of
        // a change together with the level before it.
        let counters = sys::counters(file).ok().map(|raw| Counters::from_raw(&raw));
        let lines = if modem { sys::modem_bits(file).ok().map(ModemLines::from_bits) } else { None };
        Self { lines, counters }
    }
}

/// Bits 3 to 0 of the modem state byte for the lines whose level is another.
fn toggled(before: &Look, now: &Look) -> u8 {
    match (before.lines, now.lines) {
        (Some(before), Some(now)) => now.state(Some(before)) & 0x0f,
        _ => 0,
    }
}

fn edges(before: &Look, now: &Look) -> [u32; 4] {
    match (before.counters, now.counters) {
        (Some(before), Some(now)) => now.edges_since(before),
        _ => [0; 4],
    }
}

/// Which modem lines changed, by their levels and by the edges that the driver counted. Counters show
/// pulses that were over before anybody looked. Levels and counters come by different ways, on USB
/// adapters by different transfers: an edge may show as another level first and be counted at the next
/// look, and is one change all the same. The other order cannot be, see [`Look::at`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Levels of CTS, DSR, RI and CD that were seen to change and whose edges are not counted yet.
    owed: [u8; 4],
}

/// Most edges that are owed. Some drivers count only the end of a ring, or nothing.
const MOST_OWED: u8 = 2;

impl Changes {
    /// The modem state byte of RFC 2217 for `now`, with the changes since `before` in bits 3 to 0.
    pub fn state(&mut self, before: &Look, now: &Look) -> u8 {
        let levels = now.lines.unwrap_or_default().state(None);
        let toggled = toggled(before, now);
        let mut changes = toggled;
        for (line, (edges, owed)) in edges(before, now).into_iter().zip(&mut self.owed).enumerate() {
            let bit = 1 << line;
            let seen = *owed + u8::from(toggled & bit != 0);
            if edges > u32::from(seen) {
                changes |= bit;
            }
            let counted = u8::try_from(edges).unwrap_or(u8::MAX);
            *owed = seen.saturating_sub(counted).min(MOST_OWED);
        }
        levels | changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modem_state_has_levels_above_changes() {
        let none = ModemLines::default();
        let up = ModemLines { cts: true, dsr: true, cd: true, dtr: true, ..none };
        assert_eq!(up.state(None), 0xb0);
        assert_eq!(up.state(Some(none)), 0xbb);
        assert_eq!(ModemLines { cd: false, ..up }.state(Some(up)), 0x38);
        let ring = ModemLines { ri: true, ..none };
        assert_eq!(ring.state(Some(none)), 0x44);
        assert_eq!(none.state(Some(ring)), 0x04);
        // outputs are no part of it
        assert_eq!(ModemLines { dtr: true, rts: true, ..none }.state(Some(none)), 0);
    }

    #[test]
    fn line_state_tells_which_counter_moved() {
        let before = Counters { frame: u32::MAX, received: 7, ..Counters::default() };
        assert_eq!(before.state_since(before), 0);
        assert_eq!(Counters { frame: 0, received: 9, ..before }.state_since(before), 0x08);
        assert_eq!(Counters { breaks: 1, ..before }.state_since(before), 0x10);
        assert_eq!(Counters { parity: 2, ..before }.state_since(before), 0x04);
        assert_eq!(Counters { overrun: 1, ..before }.state_since(before), 0x02);
        assert_eq!(Counters { buffer_overrun: 1, ..before }.state_since(before), 0x02);
        // edges of modem lines are no line errors, and the other way round
        let edges = Counters { cts: 1, dsr: 2, ri: 3, cd: 4, ..before };
        assert_eq!((edges.state_since(before), edges.edges_since(before)), (0, [1, 2, 3, 4]));
        assert_eq!(Counters { breaks: 1, ..before }.edges_since(before), [0; 4]);
    }

    #[test]
    fn an_edge_is_one_change_however_it_shows() {
        let look = |cts: bool, dsr: bool, count: u32| Look {
            lines: Some(ModemLines { cts, dsr, ..ModemLines::default() }),
            counters: Some(Counters { cts: count, received: count, ..Counters::default() }),
        };
        let told = |looks: &[Look]| -> Vec<u8> {
            let mut changes = Changes::default();
            looks.windows(2).map(|pair| changes.state(&pair[0], &pair[1])).collect()
        };
        let (off, on) = (|count| look(false, false, count), |count| look(true, false, count));
        // both at once
        assert_eq!(told(&[off(u32::MAX), on(0), off(1)]), [0x11, 0x01]);
        // the level first, the count behind it
        assert_eq!(told(&[off(0), on(0), on(1), on(1), off(1), off(2)]), [0x11, 0x10, 0x10, 0x01, 0x00]);
        // a pulse, and then an edge
        assert_eq!(told(&[off(0), off(1), on(1), on(1), off(2)]), [0x01, 0x11, 0x10, 0x01]);
        assert_eq!(told(&[on(0), on(1), on(1), off(1), off(2), off(2)]), [0x11, 0x10, 0x01, 0x00, 0x00]);
        // levels that change while the count of the one before is still to come
        assert_eq!(told(&[off(0), on(0), off(1), on(2), on(3), on(3)]), [0x11, 0x01, 0x11, 0x10, 0x10]);
        assert_eq!(told(&[off(0), on(0), off(0), off(2), off(2)]), [0x11, 0x01, 0x00, 0x00]);
        // pulses, seen by the counter alone
        assert_eq!(told(&[off(0), off(2), off(2), off(4)]), [0x01, 0x00, 0x01]);
        // a level, its count and a pulse in one look
        assert_eq!(told(&[off(0), on(0), on(3)]), [0x11, 0x11]);
        // a driver that does not count, and another line meanwhile
        assert_eq!(told(&[off(0), on(0), off(0), look(false, true, 0)]), [0x11, 0x01, 0x22]);
        let blind = Look { counters: None, ..on(0) };
        assert_eq!(told(&[off(0), blind, off(0)]), [0x11, 0x01]);
        assert!(on(0).moved_since(&off(0)) && off(2).moved_since(&off(0)) && !off(0).moved_since(&off(0)));
    }
}
