//! The `\` escapes in banners, open and close strings and file names (ser2net.yaml(5), "FILENAME,
//! BANNER, AND STRING FORMATTING"), as ser2net 4.3.11 expands them.
//!
//! | escape | becomes |
//! |---|---|
//! | `\a \b \f \n \r \t \v` | the control characters of C |
//! | `\nnn` | the byte with this octal value (modulo 256); fewer than three digits vanish |
//! | `\xHH` | the byte with this hexadecimal value; fewer than two digits vanish |
//! | `\d` `\o` `\N` `\p` `\B` `\I` | connector, name, name, accepter, line settings, peer |
//! | `\Y \y \M \m \A \D` | year, day of the year from 0, `Nov`, 11, `Sat`, day of the month |
//! | `\H \h \i \S \q \P \T` | hour of 24, hour of 12, minute, second, `am`, `AM`, `HH:MM:SS` |
//! | `\e \U` | seconds since 1970, microseconds in the second |
//! | any other | the character after the backslash; a lone last backslash vanishes |

use crate::clock::LocalTime;
use crate::serial::settings::LineSettings;
use std::io::Write as _;

/// The values of the escapes that depend on the port and the moment.
#[derive(Clone, Debug, Default)]
pub struct Context<'a> {
    /// `\d`: the connector as written.
    pub connector: &'a str,
    /// `\o` and `\N`: the name of the connection.
    pub name: &'a str,
    /// `\p`: the accepter as written.
    pub accepter: &'a str,
    /// `\B`: see [`settings_text`]; empty while the device is not open.
    pub settings: &'a str,
    /// `\I`: see [`Peer::gensio_text`](crate::net::peer::Peer::gensio_text); empty when there is no client.
    pub peer: &'a str,
    /// The time escapes.
    pub time: LocalTime,
}

/// Expands the escapes of a template. Text without escapes comes out unchanged, byte for byte.
pub fn fill(template: &[u8], context: &Context<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else { break };
        rest = match escape {
            b'0'..=b'7' => number(rest, 3, 8, &mut out),
            b'x' => number(after, 2, 16, &mut out),
            _ => {
                one(escape, context, &mut out);
                after
            }
        };
    }
    out
}

/// Reads up to `digits` digits and appends the byte if there were that many. Returns what is left.
fn number<'a>(text: &'a [u8], digits: usize, radix: u32, out: &mut Vec<u8>) -> &'a [u8] {
    let mut value = 0u32;
    let mut count = 0;
    for digit in text.iter().map_while(|&b| char::from(b).to_digit(radix)).take(digits) {
        value = value * radix + digit;
        count += 1;
    }
    if count == digits {
        out.push((value & 0xff) as u8);
    }
    text.get(count..).unwrap_or_default()
}

fn one(escape: u8, context: &Context<'_>, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let t = &context.time;
    let afternoon = t.hour >= 12;
    // Writing into a Vec cannot fail, so the results below carry nothing.
    let _ = match escape {
        b'a' => out.write_all(b"\x07"),
        b'b' => out.write_all(b"\x08"),
        b'f' => out.write_all(b"\x0c"),
        b'n' => out.write_all(b"\n"),
        b'r' => out.write_all(b"\r"),
        b't' => out.write_all(b"\t"),
        b'v' => out.write_all(b"\x0b"),
        b'd' => out.write_all(context.connector.as_bytes()),
        b'o' | b'N' => out.write_all(context.name.as_bytes()),
        b'p' => out.write_all(context.accepter.as_bytes()),
        b'B' => out.write_all(context.settings.as_bytes()),
        b'I' => out.write_all(context.peer.as_bytes()),
        b'Y' => write!(out, "{}", t.year),
        b'y' => write!(out, "{}", t.day_of_year),
        b'M' => write!(out, "{}", word(&MONTHS, t.month.wrapping_sub(1))),
        b'm' => write!(out, "{}", t.month),
        b'A' => write!(out, "{}", word(&DAYS, t.weekday)),
        b'D' => write!(out, "{}", t.day),
        b'e' => write!(out, "{}", t.epoch),
        b'U' => write!(out, "{:06}", t.micros),
        b'H' => write!(out, "{:02}", t.hour),
        b'h' => write!(out, "{:02}", if t.hour.is_multiple_of(12) { 12 } else { t.hour % 12 }),
        b'i' => write!(out, "{:02}", t.minute),
        b'S' => write!(out, "{:02}", t.second),
        b'q' => out.write_all(if afternoon { b"pm" } else { b"am" }),
        b'P' => out.write_all(if afternoon { b"PM" } else { b"AM" }),
        b'T' => write!(out, "{:02}:{:02}:{:02}", t.hour, t.minute, t.second),
        other => out.write_all(&[other]),
    };
}

fn word<'a>(words: &[&'a str], index: u8) -> &'a str {
    words.get(usize::from(index)).copied().unwrap_or("")
}

/// The text of `\B` for an open device: `,9600N81,XONXOFF,RTSCTS,CLOCAL,HANGUP_WHEN_DONE`, with
/// the comma in front as ser2net 4.3.11 writes it (4.6.7 leaves it away).
pub fn settings_text(line: &LineSettings) -> String {
    let mut text = format!(",{line}");
    let words = [
        (line.flow.xonxoff, ",XONXOFF"),
        (line.flow.rtscts, ",RTSCTS"),
        (line.local, ",CLOCAL"),
        (line.hangup_when_done == Some(true), ",HANGUP_WHEN_DONE"),
    ];
    for (_, word) in words.into_iter().filter(|&(set, _)| set) {
        text.push_str(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::settings::{Flow, Parity};
    use proptest::prelude::*;

    fn context() -> Context<'static> {
        Context {
            connector: "serialdev,/dev/ttyS0,9600n81,local",
            name: "con1",
            accepter: "tcp,2000",
            settings: ",9600N81,CLOCAL",
            peer: "ipv6,::ffff:127.0.0.1,4711",
            time: LocalTime {
                year: 2026,
                month: 1,
                day: 5,
                day_of_year: 4,
                weekday: 1,
                hour: 13,
                minute: 3,
                second: 7,
                micros: 1234,
                epoch: 1_767_618_187,
            },
        }
    }

    fn filled(text: &str) -> String {
        fill(text.as_bytes(), &context()).into_iter().map(char::from).collect()
    }

    #[test]
    fn every_letter_and_digit() {
        for (escape, expected) in [
            ('a', "\x07"),
            ('b', "\x08"),
            ('f', "\x0c"),
            ('n', "\n"),
            ('r', "\r"),
            ('t', "\t"),
            ('v', "\x0b"),
            ('o', "con1"),
            ('N', "con1"),
            ('p', "tcp,2000"),
            ('B', ",9600N81,CLOCAL"),
            ('x', ""),
            ('Y', "2026"),
            ('y', "4"),
            ('M', "Jan"),
            ('m', "1"),
            ('A', "Mon"),
            ('D', "5"),
            ('e', "1767618187"),
            ('U', "001234"),
            ('H', "13"),
            ('h', "01"),
            ('i', "03"),
            ('S', "07"),
            ('q', "pm"),
            ('P', "PM"),
            ('T', "13:03:07"),
        ] {
            assert_eq!(filled(&format!("<\\{escape}>")), format!("<{expected}>"), "\\{escape}");
        }
        for digit in 0..8 {
            assert_eq!(filled(&format!("<\\{digit}>")), "<>");
        }
        for same in "cgjklsuwzCEFGJKLOQRVWXZ89".chars() {
            assert_eq!(filled(&format!("<\\{same}>")), format!("<{same}>"));
        }
        assert_eq!(filled("\\d|\\I"), "serialdev,/dev/ttyS0,9600n81,local|ipv6,::ffff:127.0.0.1,4711");
        for symbol in "\\?'\"()[]{}<>:.-_#&%^|+ ".chars() {
            assert_eq!(filled(&format!("<\\{symbol}>")), format!("<{symbol}>"));
        }
    }

    #[test]
    fn recorded_texts() {
        for (template, expected) in [
            ("<\\101>", "<A>"),
            ("<\\12>", "<>"),
            ("<\\0>", "<>"),
            ("<\\1015>", "<A5>"),
            ("<\\400>", "<\0>"),
            ("<\\377>", "<\u{ff}>"),
            ("<\\12x>", "<x>"),
            ("<\\128>", "<8>"),
            ("<\\x41>", "<A>"),
            ("<\\x4>", "<>"),
            ("<\\x>", "<>"),
            ("<\\x414>", "<A4>"),
            ("<\\xgg>", "<gg>"),
            ("<\\x4g>", "<g>"),
            ("<\\xff\\x00\\xFE>", "<\u{ff}\0\u{fe}>"),
            ("[\\1\\n]", "[\n]"),
            ("abc\\", "abc"),
            ("a\\\\\\\\b", "a\\\\b"),
            ("a\\r\\nb", "a\r\nb"),
            ("ab\\000cd", "ab\0cd"),
            ("100% %s %d", "100% %s %d"),
            ("", ""),
        ] {
            assert_eq!(filled(template), expected, "{template}");
        }
        assert_eq!(fill("café €".as_bytes(), &context()), "café €".as_bytes());
    }

    #[test]
    fn noon_and_midnight() {
        let mut at = context();
        for (hour, expected) in [(0, "12am"), (11, "11am"), (12, "12pm"), (23, "11pm")] {
            at.time.hour = hour;
            assert_eq!(fill(b"\\h\\q", &at), expected.as_bytes());
        }
    }

    #[test]
    fn settings() {
        let mut line = LineSettings { local: true, ..LineSettings::default() };
        assert_eq!(settings_text(&line), ",9600N81,CLOCAL");
        line.flow = Flow { xonxoff: true, rtscts: true };
        line.hangup_when_done = Some(true);
        assert_eq!(settings_text(&line), ",9600N81,XONXOFF,RTSCTS,CLOCAL,HANGUP_WHEN_DONE");
        let odd = LineSettings { baud: 75, parity: Parity::Odd, size: 5, stop: 2, ..LineSettings::default() };
        assert_eq!(settings_text(&odd), ",75O52");
    }

    proptest! {
        #[test]
        fn never_panics(template: Vec<u8>, month: u8, weekday: u8, hour: u8) {
            let mut at = context();
            at.time = LocalTime { month, weekday, hour, ..at.time };
            fill(&template, &at);
        }

        #[test]
        fn text_without_backslash_is_itself(template in "[^\\\\]*") {
            prop_assert_eq!(fill(template.as_bytes(), &context()), template.as_bytes());
        }
    }
}
