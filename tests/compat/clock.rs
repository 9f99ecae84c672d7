//! Times of day as the recorded cases write them, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since the epoch.
pub(crate) fn now_secs() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed())
}

/// Everything a program may have printed for `format` between the seconds `from` and `to`, one second of
/// tolerance on either side.
pub(crate) fn texts_between(format: &str, from: i64, to: i64) -> Vec<Vec<u8>> {
    let mut texts: Vec<_> = (from - 1..=to + 1).map(|t| render(format, t).into_bytes()).collect();
    texts.dedup();
    texts
}

/// strftime(3) for the conversions that the cases use, plus `%s` (epoch seconds) and `%yday` (day of the
/// year, from 0).  Unknown conversions stay as they are.
fn render(format: &str, at: i64) -> String {
    let days = at.div_euclid(86_400);
    let second = at.rem_euclid(86_400);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let (year, month, day) = civil(days);
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut out = String::new();
    let mut rest = format;
    while let Some(at_percent) = rest.find('%') {
        out.push_str(&rest[..at_percent]);
        rest = &rest[at_percent + 1..];
        if let Some(after) = rest.strip_prefix("yday") {
            out.push_str(&(days - day_number(year, 1, 1)).to_string());
            rest = after;
            continue;
        }
        let mut letters = rest.chars();
        let piece = match letters.next() {
            Some('s') => at.to_string(),
            Some('Y') => format!("{year:04}"),
            Some('y') => format!("{:02}", year.rem_euclid(100)),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{hour12:02}"),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{:02}", second % 60),
            Some('p') => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
            Some('P') => (if hour < 12 { "am" } else { "pm" }).to_owned(),
            Some('a') => DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)].to_owned(),
            Some('b') => MONTHS[usize::try_from(month - 1).unwrap_or(0)].to_owned(),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        };
        out.push_str(&piece);
        rest = letters.as_str();
    }
    out + rest
}

/// Year, month (1..=12) and day (1..=31) of a day number counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while day_number(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|&m| day_number(year, m, 1) <= days).unwrap_or(1);
    (year, month, days - day_number(year, month, 1) + 1)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let in_year = BEFORE[usize::try_from(month - 1).unwrap_or(0)] + i64::from(leap && month > 2);
    (year - 1970) * 365 + leaps + in_year + day - 1
}
