//! Frames of a French electricity meter: TIC ("télé-information client"), historic mode.
//!
//! Source: Enedis-NOI-CPT_54E. A frame is `STX group… ETX`; a group is
//! `LF label SP value SP checksum CR`; the line runs at 1200 bit/s, 7E1, ten bits per character.

use std::time::Duration;

/// Start of a frame.
pub const STX: u8 = 0x02;
/// End of a frame.
pub const ETX: u8 = 0x03;
/// Time of one character: start bit, seven data bits, parity, stop bit at 1200 bit/s.
pub const CHARACTER: Duration = Duration::from_nanos(10 * 1_000_000_000 / 1200);

/// Checksum of a group in historic mode: the sum of the characters of label, space and value, the low
/// six bits of it, plus 20 hex.
pub fn checksum(label: &str, value: &str) -> u8 {
    let characters = label.bytes().chain([b' ']).chain(value.bytes());
    (characters.fold(0, u8::wrapping_add) & 0x3f) + 0x20
}

/// What the meter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Energy index in watt hours, at most nine digits.
    pub base: u32,
    /// Current in amperes, at most three digits.
    pub current: u16,
    /// Apparent power in volt-amperes, at most five digits.
    pub power: u32,
}

impl Reading {
    /// A load that goes up and down, `second` seconds after the start; the energy index rises with it.
    pub fn at(second: u32) -> Self {
        // a triangle between 2 and 12 A with a period of 20 s
        let phase = second % 20;
        let current = 2 + if phase < 10 { phase } else { 20 - phase };
        let power = current * 230;
        Self {
            base: 12_345_678u32.wrapping_add(second) % 1_000_000_000,
            // both are small: see above
            current: u16::try_from(current).unwrap_or(u16::MAX),
            power,
        }
    }

    /// The whole frame. It has those groups of the base tariff that fit into one second.
    pub fn frame(&self) -> Vec<u8> {
        let groups = [
            ("ADCO", "020830022493".to_owned()),
            ("OPTARIF", "BASE".to_owned()),
            ("ISOUSC", "45".to_owned()),
            ("BASE", format!("{:09}", self.base)),
            ("PTEC", "TH..".to_owned()),
            ("IINST", format!("{:03}", self.current)),
            ("PAPP", format!("{:05}", self.power)),
        ];
        let mut frame = vec![STX];
        for (label, value) in &groups {
            frame.extend_from_slice(format!("\n{label} {value} ").as_bytes());
            frame.extend_from_slice(&[checksum(label, value), b'\r']);
        }
        frame.push(ETX);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_published_examples() {
        // groups of real meters, as quoted in public documentation of the interface
        assert_eq!(checksum("OPTARIF", "HC.."), b'<');
        assert_eq!(checksum("ISOUSC", "45"), b'?');
        assert_eq!(checksum("MOTDETAT", "000000"), b'B');
        assert_eq!(checksum("PTEC", "HP.."), b' ');
        assert_eq!(checksum("OPTARIF", "BASE"), b'0');
    }

    #[test]
    fn frames_are_valid_and_fit_into_a_second() {
        for second in [0, 1, 9, 10, 19, 20, 4_000_000_000] {
            let reading = Reading::at(second);
            let frame = reading.frame();
            assert!(
                CHARACTER * u32::try_from(frame.len()).unwrap() < Duration::from_secs(1),
                "{}",
                frame.len()
            );
            assert_eq!((frame.first(), frame.last()), (Some(&STX), Some(&ETX)));
            assert!(frame.iter().all(|byte| *byte < 0x80));
            let inner = std::str::from_utf8(&frame[1..frame.len() - 1]).unwrap();
            let mut values = Vec::new();
            for group in inner.split_terminator('\r') {
                // the checksum itself may be a space, so the group is taken apart from its end
                let group = group.strip_prefix('\n').expect("begins with LF");
                let (content, sum) = group.split_at(group.len() - 2);
                let (label, value) = content.split_once(' ').unwrap();
                assert_eq!(sum.as_bytes(), [b' ', checksum(label, value)], "{group}");
                values.push((label, value.len()));
            }
            let expected = [
                ("ADCO", 12),
                ("OPTARIF", 4),
                ("ISOUSC", 2),
                ("BASE", 9),
                ("PTEC", 4),
                ("IINST", 3),
                ("PAPP", 5),
            ];
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn the_index_counts_up() {
        assert_eq!(Reading::at(1).base, Reading::at(0).base + 1);
        assert_eq!(Reading::at(5).power, 230 * 7);
        assert_eq!(Reading::at(15).power, 230 * 7);
    }

    #[test]
    fn a_character_takes_a_120th_second() {
        assert_eq!(CHARACTER.as_micros(), 8333);
    }
}
