//! What stands in a trace file (ser2net.yaml(5), `trace-hexdump` and `trace-timestamp`).
//!
//! | style | a piece of data | a client comes or goes |
//! |---|---|---|
//! | plain | the bytes as they are | nothing |
//! | hexdump | `term 68 65 6c 6c 6f 20 66 72  \|hello fr\|`, eight bytes a line | nothing |
//! | timestamp | the bytes as they are | `2026/11/21 09:34:42 OPEN (ipv4,127.0.0.1,4711)` |
//! | both | a time in front of every hexdump line | the same |
//!
//! Data of the device is `term`, data of the clients `tcp`. A line never holds bytes of two pieces.

use crate::clock::LocalTime;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes in one line of a hexdump.
const PER_LINE: usize = 8;

/// Who sent data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The device; `trace-read`.
    Device,
    /// A client; `trace-write`.
    Clients,
}

/// What else is noted, in files with times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client was let in; the text is its address.
    Open,
    /// A client left; the text says why.
    CloseClient,
    /// The port was closed; the text says why.
    ClosePort,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Hexadecimal lines.
    pub hexdump: bool,
    /// Times, and lines for events.
    pub timestamp: bool,
}

impl Style {
    /// Appends a piece of data. `time` is used by styles with times.
    pub fn data(self, side: Side, data: &[u8], time: &Stamp, out: &mut Vec<u8>) {
        if !self.hexdump {
            out.extend_from_slice(data);
            return;
        }
        let word: &[u8] = match side {
            Side::Device => b"term ",
            Side::Clients => b"tcp  ",
        };
        for line in data.chunks(PER_LINE) {
            if self.timestamp {
                out.extend_from_slice(time.text());
            }
            out.extend_from_slice(word);
            for byte in line {
                out.extend_from_slice(&[hex(byte >> 4), hex(byte & 15), b' ']);
            }
            out.extend(std::iter::repeat_n(b' ', (PER_LINE - line.len()) * 3));
            out.extend_from_slice(b" |");
            out.extend(line.iter().map(|&b| if (b' '..=b'~').contains(&b) { b } else { b'.' }));
            out.extend_from_slice(b"|\n");
        }
    }

    /// Appends the line of an event; nothing in a style without times.
    pub fn event(self, event: Event, text: &[u8], time: &Stamp, out: &mut Vec<u8>) {
        if !self.timestamp {
            return;
        }
        let word = match event {
            Event::Open => "OPEN",
            Event::CloseClient => "CLOSE netcon",
            Event::ClosePort => "CLOSE port",
        };
        out.extend_from_slice(time.text());
        // writing into a Vec cannot fail
        let _ = write!(out, "{word} (");
        out.extend_from_slice(text);
        out.extend_from_slice(b")\n");
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// The text of a time, `2026/11/21 09:34:42 `, made anew only when the second is another one.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// Seconds since 1970 that `text` is for.
    second: Option<u64>,
    text: Vec<u8>,
}

impl Stamp {
    /// Sets the time.
    pub fn set(&mut self, time: SystemTime) {
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        self.set_local(&LocalTime::of(time));
    }

    fn set_local(&mut self, time: &LocalTime) {
        let LocalTime { year, month, day, hour, minute, second, .. } = time;
        self.text.clear();
        // writing into a Vec cannot fail
        let _ = write!(self.text, "{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02} ");
    }

    /// The text with the blank behind it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: Style = Style { hexdump: true, timestamp: false };
    const TIMES: Style = Style { hexdump: false, timestamp: true };
    const BOTH: Style = Style { hexdump: true, timestamp: true };

    fn stamp() -> Stamp {
        let mut stamp = Stamp::default();
        stamp.set_local(&LocalTime {
            year: 2026,
            month: 1,
            day: 2,
            hour: 3,
            minute: 4,
            second: 5,
            ..LocalTime::default()
        });
        stamp
    }

    fn written(style: Style, pieces: &[(Side, &[u8])]) -> String {
        let mut out = Vec::new();
        let mut time = stamp();
        for (side, data) in pieces {
            style.data(*side, data, &time, &mut out);
            // as the next piece of the same second finds it
            time = time.clone();
        }
        out.iter().map(|&b| char::from(b)).collect()
    }

    #[test]
    fn hexdump_as_recorded() {
        let all: Vec<u8> = (0..40).collect();
        let pieces: [(Side, &[u8]); 3] = [
            (Side::Device, b"hello from device\r\n"),
            (Side::Device, &all),
            (Side::Clients, b"\xff\xfe\x00~\x7f\x80"),
        ];
        let expected = "term 68 65 6c 6c 6f 20 66 72  |hello fr|\n\
                        term 6f 6d 20 64 65 76 69 63  |om devic|\n\
                        term 65 0d 0a                 |e..|\n\
                        term 00 01 02 03 04 05 06 07  |........|\n\
                        term 08 09 0a 0b 0c 0d 0e 0f  |........|\n\
                        term 10 11 12 13 14 15 16 17  |........|\n\
                        term 18 19 1a 1b 1c 1d 1e 1f  |........|\n\
                        term 20 21 22 23 24 25 26 27  | !\"#$%&'|\n\
                        tcp  ff fe 00 7e 7f 80        |...~..|\n";
        assert_eq!(written(HEX, &pieces), expected);
        let timed =
            expected.replace("term", "2026/01/02 03:04:05 term").replace("tcp", "2026/01/02 03:04:05 tcp");
        assert_eq!(written(BOTH, &pieces), timed);
    }

    #[test]
    fn lines_of_every_length_as_recorded() {
        let pieces: Vec<(Side, &[u8])> =
            [1, 7, 8, 9, 15].map(|n| (Side::Clients, &b"ABCDEFGHIJKLMNO"[..n])).to_vec();
        let expected = "tcp  41                       |A|\n\
                        tcp  41 42 43 44 45 46 47     |ABCDEFG|\n\
                        tcp  41 42 43 44 45 46 47 48  |ABCDEFGH|\n\
                        tcp  41 42 43 44 45 46 47 48  |ABCDEFGH|\n\
                        tcp  49                       |I|\n\
                        tcp  41 42 43 44 45 46 47 48  |ABCDEFGH|\n\
                        tcp  49 4a 4b 4c 4d 4e 4f     |IJKLMNO|\n";
        assert_eq!(written(HEX, &pieces), expected);
    }

    #[test]
    fn events_as_recorded() {
        let mut out = Vec::new();
        TIMES.event(Event::Open, b"ipv6,::ffff:127.0.0.1,4711", &stamp(), &mut out);
        TIMES.data(Side::Device, b"x", &stamp(), &mut out);
        TIMES.event(Event::CloseClient, b"network read close", &stamp(), &mut out);
        TIMES.event(Event::ClosePort, b"All users disconnected", &stamp(), &mut out);
        let expected = "2026/01/02 03:04:05 OPEN (ipv6,::ffff:127.0.0.1,4711)\n\
                        x2026/01/02 03:04:05 CLOSE netcon (network read close)\n\
                        2026/01/02 03:04:05 CLOSE port (All users disconnected)\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        for style in [Style::default(), HEX] {
            let mut out = Vec::new();
            style.event(Event::Open, b"x", &stamp(), &mut out);
            assert!(out.is_empty(), "{style:?}");
        }
    }

    #[test]
    fn the_time_follows_the_clock() {
        let mut stamp = Stamp::default();
        let texts: Vec<Vec<u8>> = [0, 1, 1, 3601]
            .map(|s| {
                stamp.set(UNIX_EPOCH + std::time::Duration::from_secs(1_795_253_682 + s));
                stamp.text().to_vec()
            })
            .to_vec();
        assert!(texts[0] != texts[1] && texts[1] == texts[2] && texts[2] != texts[3], "{texts:?}");
        assert!(texts.iter().all(|t| t.len() == "2026/11/21 09:34:42 ".len()), "{texts:?}");
    }

    /// The bytes that hexdump lines stand for, and the length of each line's part.
    fn read_back(dump: &str) -> (Vec<(bool, u8)>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut lengths = Vec::new();
        for line in dump.lines() {
            let device = line.starts_with("term ");
            assert!(device || line.starts_with("tcp  "), "{line}");
            let codes: Vec<u8> =
                line[5..29].split_whitespace().map(|code| u8::from_str_radix(code, 16).unwrap()).collect();
            assert_eq!(line.len(), 5 + 24 + 2 + codes.len() + 1, "{line}");
            lengths.push(codes.len());
            bytes.extend(codes.into_iter().map(|code| (device, code)));
        }
        (bytes, lengths)
    }

    proptest! {
        /// However data is cut into pieces, nothing is lost, doubled or put under the other side.
        #[test]
        fn every_split_says_the_same(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..70)), 0..12)
        ) {
            let side = |device| if device { Side::Device } else { Side::Clients };
            let list: Vec<(Side, &[u8])> = pieces.iter().map(|(d, data)| (side(*d), data.as_slice())).collect();
            let plain: Vec<u8> = pieces.iter().flat_map(|(_, data)| data.clone()).collect();
            let mut out = Vec::new();
            for (side, data) in &list {
                Style::default().data(*side, data, &Stamp::default(), &mut out);
            }
            prop_assert_eq!(&out, &plain);
            let (bytes, lengths) = read_back(&written(HEX, &list));
            let expected: Vec<(bool, u8)> =
                pieces.iter().flat_map(|(d, data)| data.iter().map(|&b| (*d, b)).collect::<Vec<_>>()).collect();
            prop_assert_eq!(bytes, expected);
            let cuts: Vec<usize> =
                pieces.iter().flat_map(|(_, data)| data.chunks(8).map(<[u8]>::len).collect::<Vec<_>>()).collect();
            prop_assert_eq!(lengths, cuts);
        }

        /// Cuts between lines do not show at all.
        #[test]
        fn cuts_at_multiples_of_eight_do_not_show(data in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..25) {
            let at = (at * 8).min(data.len() / 8 * 8);
            let (a, b) = data.split_at(at);
            prop_assert_eq!(
                written(HEX, &[(Side::Device, &data)]),
                written(HEX, &[(Side::Device, a), (Side::Device, b)])
            );
        }
    }
}
