//! The words behind the device of a serial connector: `9600n81 local rtscts dtr=off`.

use super::layers::{Default, settings};
use super::report::{Report, sub_span};
use crate::config::gensio::Word;
use crate::config::options::{Place, Value};
use crate::config::raw::Spanned;
use crate::serial::settings::{DeviceConfig, LineSettings, Parity, Rs485};

/// Applies defaults and words to a device, in order.
pub(super) fn apply(
    device: &mut DeviceConfig,
    words: &[Word],
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) {
    let words: Vec<Word> = words.iter().map(spelled_out).collect();
    for setting in settings(Place::Serial, &words, text, defaults, report) {
        let line = &mut device.line;
        match (setting.row.name, setting.value) {
            ("speed", Value::Text(mode)) => match mode_of(&mode, *line) {
                Ok((new, wrapped)) => {
                    *line = new;
                    if wrapped {
                        let message = format!("{mode} does not fit; like ser2net this sets {}", new.baud);
                        report.warning(setting.span, message, None);
                    }
                }
                Err(message) if setting.is_default => {
                    report.warning(setting.span, format!("{message}; 9600N81 is used"), None);
                }
                Err(message) => {
                    report.error(setting.span, message, Some("write for instance 9600n81".into()));
                }
            },
            ("rs485", Value::Text(value)) => match rs485_of(&value) {
                Ok(value) => device.rs485 = value,
                Err(message) => report.error(
                    setting.span,
                    message,
                    Some("write rs485=BEFORE:AFTER[:rts_on_send][:rts_after_send][:rx_during_tx][:terminate_bus]".into()),
                ),
            },
            ("local", Value::Bool(on)) => line.local = on,
            ("xonxoff", Value::Bool(on)) => line.flow.xonxoff = on,
            ("rtscts", Value::Bool(on)) => line.flow.rtscts = on,
            ("hangup-when-done", Value::Bool(on)) => line.hangup_when_done = Some(on),
            ("nobreak", Value::Bool(on)) => device.nobreak = on,
            ("low-latency", Value::Bool(on)) => device.low_latency = on,
            ("wronly", Value::Bool(on)) => device.write_only = on,
            ("rdonly", Value::Bool(on)) => device.read_only = on,
            ("dtr", Value::Bool(on)) => device.dtr = Some(on),
            ("rts", Value::Bool(on)) => device.rts = Some(on),
            ("NONE", _) => line.parity = Parity::None,
            ("EVEN", _) => line.parity = Parity::Even,
            ("ODD", _) => line.parity = Parity::Odd,
            ("MARK", _) => line.parity = Parity::Mark,
            ("SPACE", _) => line.parity = Parity::Space,
            ("5databits", _) => line.size = 5,
            ("6databits", _) => line.size = 6,
            ("7databits", _) => line.size = 7,
            ("8databits", _) => line.size = 8,
            ("1stopbit", _) => line.stop = 1,
            ("2stopbits", _) => line.stop = 2,
            _ => {}
        }
    }
    // Order matters on some hardware, but both lines are set at open in one way only.
    if let (Some(dtr), Some(rts)) = (position(&words, "dtr"), position(&words, "rts"))
        && rts < dtr
        && let Some(word) = words.get(rts)
    {
        let span = sub_span(text, &word.place);
        report.warning(span, "DTR is set before RTS, whichever is written first", None);
    }
}

fn position(words: &[Word], key: &str) -> Option<usize> {
    words.iter().position(|w| w.key().eq_ignore_ascii_case(key))
}

/// Short forms in full: `9600n81` is `speed=9600n81`, `-local` is `local=false`.
fn spelled_out(word: &Word) -> Word {
    let text = &word.text;
    let negated = text.strip_prefix('-').map(str::to_ascii_lowercase);
    let long = match negated.as_deref() {
        Some(name @ ("local" | "rtscts" | "xonxoff" | "nobreak")) => format!("{name}=false"),
        // 8DATABITS and 1STOPBIT begin with one digit, every speed has two.
        _ if text.bytes().take(2).filter(u8::is_ascii_digit).count() == 2 || is_short_mode(text) => {
            format!("speed={text}")
        }
        _ => text.clone(),
    };
    Word { text: long, place: word.place.clone() }
}

/// One digit with nothing, or a parity letter and digits, behind it: a speed that is too small.
fn is_short_mode(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && text.bytes().skip(2).all(|b| b.is_ascii_digit())
        && text.as_bytes().get(1).is_none_or(|b| b"neomsNEOMS".contains(b))
}

/// Reads `speed[parity[bits[stop]]]`; what is left out stays as in `line`. The flag says that the
/// speed did not fit into 32 bits and was cut.
pub(crate) fn mode_of(text: &str, line: LineSettings) -> Result<(LineSettings, bool), String> {
    let wrong = || format!("'{text}' is not a speed, parity, data bits and stop bits");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (speed, rest) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let speed: u64 = speed.parse().map_err(|_| wrong())?;
    // ser2net keeps the low 32 bits, as a signed number.
    let low = (speed & 0xffff_ffff) as u32;
    if low < 10 || low > i32::MAX.unsigned_abs() {
        return Err(format!("{speed} bits per second is not a possible speed"));
    }
    let mut new = LineSettings { baud: low, ..line };
    let mut rest = rest.chars();
    if let Some(letter) = rest.next() {
        new.parity = match letter.to_ascii_lowercase() {
            'n' => Parity::None,
            'e' => Parity::Even,
            'o' => Parity::Odd,
            'm' => Parity::Mark,
            's' => Parity::Space,
            _ => return Err(wrong()),
        };
    }
    if let Some(bits) = rest.next() {
        new.size = bits.to_digit(10).filter(|b| (5..=8).contains(b)).ok_or_else(wrong)? as u8;
    }
    if let Some(stop) = rest.next() {
        new.stop = stop.to_digit(10).filter(|s| (1..=2).contains(s)).ok_or_else(wrong)? as u8;
    }
    if rest.next().is_some() {
        return Err(wrong());
    }
    Ok((new, u64::from(low) != speed))
}

/// Reads `before:after[:flag...]`; `off` and nothing are `None`.
fn rs485_of(text: &str) -> Result<Option<Rs485>, String> {
    if text.is_empty() || text == "off" {
        return Ok(None);
    }
    let mut fields = text.split(':');
    let mut delay = || {
        fields
            .next()
            .and_then(|f| f.parse::<u32>().ok())
            .ok_or_else(|| format!("rs485={text} does not begin with two delays in milliseconds"))
    };
    let (delay_before_ms, delay_after_ms) = (delay()?, delay()?);
    let mut conf = Rs485 { delay_before_ms, delay_after_ms, ..Rs485::default() };
    for flag in fields {
        match flag {
            "rts_on_send" => conf.rts_on_send = true,
            "rts_after_send" => conf.rts_after_send = true,
            "rx_during_tx" => conf.rx_during_tx = true,
            "terminate_bus" => conf.terminate_bus = true,
            _ => return Err(format!("unknown flag '{flag}' in rs485={text}")),
        }
    }
    Ok(Some(conf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let base = LineSettings { size: 7, stop: 2, parity: Parity::Even, ..LineSettings::default() };
        for (text, expected) in [
            ("9600", "9600E72"),
            ("115200n", "115200N72"),
            ("9600n8", "9600N82"),
            ("4800O71", "4800O71"),
            ("00009600n81", "9600N81"),
            ("10", "10E72"),
            ("12345S51", "12345S51"),
            ("2147483647m62", "2147483647M62"),
        ] {
            assert_eq!(
                mode_of(text, base).map(|(l, w)| (l.to_string(), w)),
                Ok((expected.into(), false)),
                "{text}"
            );
        }
        assert_eq!(mode_of("99999999999n81", base).map(|(l, w)| (l.baud, w)), Ok((1_215_752_191, true)));
        for text in [
            "",
            "n81",
            "1n81",
            "0n81",
            "9600n91",
            "9600n85",
            "9600x81",
            "9600n811",
            "134.5n81",
            "9600n4",
            "2147483648",
            "18446744073709551616",
            "9600:local",
            "9600é",
        ] {
            assert!(mode_of(text, base).is_err(), "{text}");
        }
    }

    #[test]
    fn rs485() {
        assert_eq!(rs485_of("off"), Ok(None));
        assert_eq!(rs485_of(""), Ok(None));
        let conf = rs485_of("10:20:rts_on_send:rx_during_tx").unwrap().unwrap();
        assert_eq!((conf.delay_before_ms, conf.delay_after_ms), (10, 20));
        assert!(conf.rts_on_send && conf.rx_during_tx && !conf.rts_after_send && !conf.terminate_bus);
        for text in ["foo", "1", "1:", "1:2:bogus", "-1:2"] {
            assert!(rs485_of(text).is_err(), "{text}");
        }
    }
}
