//! The options: one row for each, wherever it may be written. The rows drive how values are read,
//! what is used when nothing is written, and what is suggested for a misspelt name.
//!
//! Sources: ser2net.yaml(5), gensio(5) and the observed behaviour of ser2net 4.3.11.

mod table;

use std::time::Duration;
pub use table::OPTIONS;

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name, in lower case; names are compared without regard to case.
    pub name: &'static str,
    /// Where it may be written.
    pub place: Place,
    /// Other spellings: those of the one-line format and of `default:` sections.
    pub also: &'static [&'static str],
    /// What its value looks like.
    pub kind: Kind,
    /// Value in force when nothing is written, as one would write it; `None`: nothing.
    pub default: Option<&'static str>,
    /// It may be set for all connections in a `default:` section.
    pub as_default: bool,
    /// Whether this version acts on it.
    pub status: Status,
    /// One line for the manual.
    pub doc: &'static str,
}

/// Where an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under `options:` of a connection, or as a word of a one-line entry.
    Connection,
    /// Between the parentheses of this type: `tcp(nodelay=true)`.
    Layer(&'static str),
    /// Behind the device of a serial connector.
    Serial,
    /// Under `options:` of the admin port.
    Admin,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true on yes 1` or `false off no 0`; nothing means true.
    Bool,
    /// A whole number. Numbers outside the range are moved to its nearer end, with a warning.
    Int {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
        /// What it counts, for messages: `bytes`, `microseconds`; may be empty.
        unit: &'static str,
    },
    /// A whole number or `off`.
    IntOrOff,
    /// Text; an empty one is refused when `empty` is false.
    Text {
        /// May be empty.
        empty: bool,
    },
    /// Text with escapes (`port::template`); an empty one is refused when `empty` is false.
    Template {
        /// May be empty.
        empty: bool,
    },
    /// A boolean as [`Kind::Bool`], or one of these words.
    BoolOr(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Addresses as in `remaddr`.
    Addresses,
    /// Networks as in `allow`: text or a list.
    Networks,
    /// What a device is found by: a mapping, or `vid:0403+pid:6001`.
    Match,
    /// A line mode, for instance `9600n81`.
    Mode,
    /// `before:after[:flag...]` or `off`.
    Rs485,
    /// A time: numbers with `D H M s m u n` behind them (gensio(5), gtime), or a plain number of
    /// this unit where there is one.
    Time(Option<char>),
    /// File mode: three octal digits.
    FileMode,
    /// One digit of a file mode, or letters of `rwx`.
    FileModePart,
    /// A word that stands alone: `EVEN`. Compared with regard to case.
    Flag,
}

/// Whether an option does something yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Active,
    /// Understood, and nothing has to be done for it here: it is accepted without a word.
    Moot,
    /// Understood, and left out with a warning.
    Later,
    /// Understood; a connection that sets it does not run, because leaving it out could do harm.
    Blocks,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Bool`], [`Kind::BoolOr`] and [`Kind::Flag`].
    Bool(bool),
    /// Of [`Kind::Int`] and [`Kind::IntOrOff`]; `None` is `off`.
    Int(Option<u32>),
    /// Of [`Kind::Time`].
    Time(Duration),
    /// Of [`Kind::FileMode`] and [`Kind::FileModePart`].
    Mode(u32),
    /// Of all other kinds: not looked at further.
    Text(String),
}

/// A value and what the user should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The value.
    pub value: Value,
    /// A number was moved into its range.
    pub warning: Option<String>,
}

/// The row of an option. Names are compared without regard to case, flags with.
pub fn find(place: Place, name: &str) -> Option<&'static Row> {
    OPTIONS.iter().find(|row| {
        row.place == place
            && if row.kind == Kind::Flag && row.name.bytes().all(|b| b.is_ascii_uppercase()) {
                row.name == name
            } else {
                row.name.eq_ignore_ascii_case(name) || row.also.iter().any(|a| a.eq_ignore_ascii_case(name))
            }
    })
}

/// The rows of a place, in the order of the manual.
pub fn rows(place: Place) -> impl Iterator<Item = &'static Row> {
    OPTIONS.iter().filter(move |row| row.place == place)
}

/// The row that a `default:` entry sets, if it names an option that can have a default.
/// `class` is the `class:` of the entry, a type such as `serialdev` or `tcp`.
pub fn find_default(class: Option<&str>, name: &str) -> Option<&'static Row> {
    let places = |row: &Row| match (class, row.place) {
        (None, _) | (Some("ser2net"), Place::Connection | Place::Admin) => true,
        (Some(class), Place::Layer(layer)) => class == layer || (class == "sdev" && layer == "serialdev"),
        (Some(class), Place::Serial) => class == "serialdev" || class == "sdev",
        _ => false,
    };
    OPTIONS.iter().find(|row| {
        row.as_default
            && places(row)
            && (row.name.eq_ignore_ascii_case(name) || row.also.iter().any(|a| a.eq_ignore_ascii_case(name)))
    })
}

/// The known name most like a misspelt one, if one is near.
pub fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    known
        .map(|candidate| (distance(&name, &candidate.to_ascii_lowercase().replace('_', "-")), candidate))
        .filter(|&(d, candidate)| d <= 2.min(candidate.len() / 3))
        .min_by_key(|&(d, _)| d)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (row[j] + 1).min(rows[i][j + 1] + 1).min(rows[i][j] + usize::from(x != y));
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Reads a boolean: `true on yes 1`, `false off no 0`, in lower case as ser2net does.
pub fn bool_of(text: &str) -> Option<bool> {
    match text {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a whole number as C's `strtoul` with base 0 does: decimal, `0x` hexadecimal or `0` octal,
/// with blanks or a sign in front. `None` when anything follows.
pub fn number_of(text: &str) -> Option<i128> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    // More digits than fit are a number beyond every range.
    let value = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
    Some(if negative { -value } else { value })
}

/// Reads a time of gensio(5): `1H30M`, `500m`; a plain number counts `unit`s, if there is a
/// unit. `None` when it is no time, or longer than the largest [`Duration`].
pub fn time_of(text: &str, unit: Option<char>) -> Option<Duration> {
    let nanoseconds = |letter| {
        Some(match letter {
            'D' => 86_400_000_000_000_u128,
            'H' => 3_600_000_000_000,
            'M' => 60_000_000_000,
            's' => 1_000_000_000,
            'm' => 1_000_000,
            'u' => 1000,
            'n' => 1,
            _ => return None,
        })
    };
    let mut rest = text;
    let mut sum = 0_u128;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u128 = rest.get(..digits)?.parse().ok()?;
        let mut letters = rest.get(digits..)?.chars();
        let letter = letters.next();
        // a unit can only be left out of a number that stands alone
        let factor = match letter {
            None if digits == text.len() => nanoseconds(unit?)?,
            None => return None,
            Some(letter) => nanoseconds(letter)?,
        };
        sum = sum.checked_add(number.checked_mul(factor)?)?;
        rest = letters.as_str();
        if rest.is_empty() {
            let seconds = u64::try_from(sum / 1_000_000_000).ok()?;
            return Some(Duration::new(seconds, (sum % 1_000_000_000) as u32));
        }
    }
}

/// Reads one digit of a file mode: `0` to `7`, or letters of `rwx`.
fn mode_part_of(text: &str) -> Option<u32> {
    if let [digit @ b'0'..=b'7'] = text.as_bytes() {
        return Some(u32::from(digit - b'0'));
    }
    text.chars().try_fold(0, |mode, c| {
        Some(
            mode | match c {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                _ => return None,
            },
        )
    })
}

impl Row {
    /// Reads a value as text; `None`: the option was written without one.
    ///
    /// # Errors
    /// A sentence that says what the value should be.
    pub fn read(&self, text: Option<&str>) -> Result<Read, String> {
        let plain = |value| Ok(Read { value, warning: None });
        // Under `options:` a name with an empty value is the same as a name alone.
        let text = if self.place == Place::Connection { text.filter(|t| !t.is_empty()) } else { text };
        let given = text.unwrap_or("");
        let name = self.name;
        match self.kind {
            Kind::Bool => match text {
                None => plain(Value::Bool(true)),
                Some(text) => bool_of(text).map_or_else(
                    || Err(format!("{name} must be true or false, not '{text}'")),
                    |b| plain(Value::Bool(b)),
                ),
            },
            Kind::BoolOr(words) => match (text, text.map_or(Some(true), bool_of)) {
                (_, Some(on)) => plain(Value::Bool(on)),
                (Some(word), None) if words.contains(&word) => plain(Value::Text(word.to_owned())),
                _ => Err(format!("{name} must be true, false or {}, not '{given}'", words.join(" or "))),
            },
            Kind::Flag => match text {
                None => plain(Value::Bool(true)),
                Some(text) => Err(format!("{name} takes no value, but '{text}' is given")),
            },
            Kind::Int { min, max, unit } => {
                let range = || {
                    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
                    format!("{min} to {max}{unit}")
                };
                match number_of(given) {
                    Some(n) if n >= 0 => {
                        let used = n.clamp(i128::from(min), i128::from(max));
                        let warning = (used != n)
                            .then(|| format!("{name} can be {}; {used} is used instead of {given}", range()));
                        Ok(Read { value: Value::Int(u32::try_from(used).ok()), warning })
                    }
                    _ => Err(format!("{name} must be a number from {}, not '{given}'", range())),
                }
            }
            Kind::IntOrOff => match (given, number_of(given)) {
                ("off", _) | (_, Some(-1)) => plain(Value::Int(None)),
                (_, Some(n)) if n >= 0 => plain(Value::Int(Some(u32::try_from(n).unwrap_or(u32::MAX)))),
                _ => Err(format!("{name} must be a number or off, not '{given}'")),
            },
            Kind::Choice(words) if !words.contains(&given) => {
                Err(format!("{name} must be one of {}, not '{given}'", words.join(", ")))
            }
            Kind::Text { empty: false }
            | Kind::Template { empty: false }
            | Kind::Addresses
            | Kind::Networks
            | Kind::Match
                if given.is_empty() =>
            {
                Err(format!("{name} needs a value"))
            }
            Kind::Time(unit) => time_of(given, unit).map_or_else(
                || Err(format!("{name} must be a time like 2s, 500m (milliseconds) or 1M30s, not '{given}'")),
                |time| plain(Value::Time(time)),
            ),
            Kind::FileMode => match u32::from_str_radix(given, 8) {
                Ok(mode) if given.len() == 3 && !given.starts_with('+') => plain(Value::Mode(mode)),
                _ => Err(format!("{name} must be three octal digits like 660, not '{given}'")),
            },
            Kind::FileModePart => match mode_part_of(given) {
                Some(mode) if text.is_some() => plain(Value::Mode(mode)),
                _ => Err(format!("{name} must be a digit 0 to 7 or letters of rwx, not '{given}'")),
            },
            Kind::Mode | Kind::Rs485 if text.is_none() => Err(format!("{name} needs a value")),
            _ => plain(Value::Text(given.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn row(name: &str) -> &'static Row {
        find(Place::Connection, name).unwrap()
    }

    #[test]
    fn the_table_is_sound() {
        let mut seen = HashSet::new();
        for row in OPTIONS {
            assert!(seen.insert((format!("{:?}", row.place), row.name)), "{} twice", row.name);
            assert!(row.kind == Kind::Flag || row.name == row.name.to_lowercase(), "{}", row.name);
            assert!(row.doc.ends_with('.') && row.doc.len() >= 10, "{}", row.name);
            if let Some(default) = row.default {
                let read = row.read(Some(default)).unwrap();
                assert_eq!(read.warning, None, "{}", row.name);
            }
        }
    }

    #[test]
    fn booleans_as_recorded() {
        for (text, expected) in [
            (Some("true"), true),
            (Some("yes"), true),
            (Some("on"), true),
            (Some("1"), true),
            (Some("false"), false),
            (Some("no"), false),
            (Some("off"), false),
            (Some("0"), false),
            (Some(""), true),
            (None, true),
        ] {
            assert_eq!(row("kickolduser").read(text).unwrap().value, Value::Bool(expected), "{text:?}");
        }
        for text in ["TRUE", "maybe", "t", "2", " true"] {
            assert!(row("kickolduser").read(Some(text)).is_err(), "{text}");
        }
        // Between parentheses an empty value is a mistake.
        assert!(find(Place::Layer("telnet"), "rfc2217").unwrap().read(Some("")).is_err());
    }

    #[test]
    fn booleans_with_one_more_word() {
        let read = |text| row("chardelay").read(text);
        for (text, expected) in [(None, true), (Some(""), true), (Some("yes"), true), (Some("0"), false)] {
            assert_eq!(read(text).unwrap().value, Value::Bool(expected), "{text:?}");
        }
        assert_eq!(read(Some("adaptive")).unwrap().value, Value::Text("adaptive".to_owned()));
        let refused = "chardelay must be true, false or adaptive, not 'sometimes'";
        assert_eq!(read(Some("sometimes")).unwrap_err(), refused);
    }

    #[test]
    fn numbers_as_recorded() {
        for (name, text, expected, warns) in [
            ("max-connections", "1", 1, false),
            ("max-connections", "0", 1, true),
            ("max-connections", "0x2", 2, false),
            ("max-connections", "010", 8, false),
            ("max-connections", "99999999999", 65536, true),
            ("chardelay-scale", "1001", 1000, true),
            ("chardelay-min", "5000000", 100_000, true),
            ("chardelay-max", "1000000", 1_000_000, false),
            ("dev-to-net-bufsize", "0", 1, true),
            ("accepter-retry-time", " 5", 5, false),
        ] {
            let read = row(name).read(Some(text)).unwrap();
            assert_eq!(read.value, Value::Int(Some(expected)), "{name} {text}");
            assert_eq!(read.warning.is_some(), warns, "{name} {text}");
        }
        for text in ["abc", "-1", "1.5", "10k", "5s", "", "5 ", "0x", "1e3"] {
            assert!(row("max-connections").read(Some(text)).is_err(), "{text}");
        }
        let drain = find(Place::Layer("serialdev"), "drain_time").unwrap();
        assert_eq!(drain.read(Some("off")).unwrap().value, Value::Int(None));
        assert_eq!(drain.read(Some("-1")).unwrap().value, Value::Int(None));
        assert!(drain.read(Some("abc")).is_err());
    }

    #[test]
    fn empty_values_as_recorded() {
        for name in ["banner", "openstr", "closestr", "signature"] {
            assert_eq!(row(name).read(Some("")).unwrap().value, Value::Text(String::new()));
        }
        for name in ["closeon", "sendon", "remaddr", "connback", "trace-read", "allow"] {
            assert!(row(name).read(Some("")).is_err(), "{name}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(row("Kickolduser").name, "kickolduser");
        assert!(find(Place::Connection, "speed").is_none());
        assert!(find(Place::Serial, "even").is_none());
        assert!(find(Place::Serial, "8databits").is_some());
        assert_eq!(find_default(None, "hangup_when_done").unwrap().name, "hangup-when-done");
        assert_eq!(find_default(Some("serialdev"), "speed").unwrap().place, Place::Serial);
        assert!(find_default(Some("tcp"), "speed").is_none());
        assert!(find_default(None, "trace-read").is_none());
        let suggested = |name| suggest(name, rows(Place::Connection).map(|r| r.name));
        assert_eq!(suggested("kickoldusers"), Some("kickolduser"));
        assert_eq!(suggested("telnet_brk_on_sync"), Some("telnet-brk-on-sync"));
        assert_eq!(suggested("bannre"), Some("banner"));
        assert_eq!(suggested("foo"), None);
    }
}
