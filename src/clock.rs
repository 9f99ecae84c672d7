//! The one place that turns the system's time into the local calendar.

use jiff::Zoned;
use jiff::tz::TimeZone;
use std::time::SystemTime;

/// A moment in the local time zone, broken down as the string escapes need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LocalTime {
    /// Year, for instance 2026.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Day of the year, 0 to 365.
    pub day_of_year: u16,
    /// Day of the week, 0 (Sunday) to 6.
    pub weekday: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
    /// Microseconds in the second.
    pub micros: u32,
    /// Whole seconds since 1970-01-01 00:00 UTC.
    pub epoch: i64,
}

impl LocalTime {
    /// The moment in the zone that `TZ` or `/etc/localtime` names; UTC when neither can be read.
    /// Times that the calendar cannot hold become the start of 1970.
    pub fn of(time: SystemTime) -> Self {
        Self::in_zone(time, TimeZone::system())
    }

    /// The present moment.
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    fn in_zone(time: SystemTime, zone: TimeZone) -> Self {
        let stamp = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let zoned = Zoned::new(stamp, zone);
        // Rounded down also before 1970, so that `micros` counts upwards from it.
        let epoch = stamp.as_nanosecond().div_euclid(1_000_000_000).try_into().unwrap_or(0);
        Self {
            year: zoned.year(),
            month: zoned.month().unsigned_abs(),
            day: zoned.day().unsigned_abs(),
            day_of_year: zoned.day_of_year().unsigned_abs().saturating_sub(1),
            weekday: zoned.weekday().to_sunday_zero_offset().unsigned_abs(),
            hour: zoned.hour().unsigned_abs(),
            minute: zoned.minute().unsigned_abs(),
            second: zoned.second().unsigned_abs(),
            micros: u32::from(zoned.millisecond().unsigned_abs()) * 1000
                + u32::from(zoned.microsecond().unsigned_abs()),
            epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_known_moment_in_two_zones() {
        let time = UNIX_EPOCH + Duration::from_micros(1_795_253_682_954_570);
        let utc = LocalTime::in_zone(time, TimeZone::UTC);
        let expected = LocalTime {
            year: 2026,
            month: 11,
            day: 21,
            day_of_year: 324,
            weekday: 6,
            hour: 9,
            minute: 34,
            second: 42,
            micros: 954_570,
            epoch: 1_795_253_682,
        };
        assert_eq!(utc, expected);
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(LocalTime::in_zone(time, zone), LocalTime { hour: 4, ..expected });
    }

    #[test]
    fn times_out_of_reach_do_not_panic() {
        let far = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 55));
        if let Some(far) = far {
            assert_eq!(LocalTime::in_zone(far, TimeZone::UTC).year, 1970);
        }
        if let Some(before) = UNIX_EPOCH.checked_sub(Duration::from_millis(1500)) {
            assert_eq!(LocalTime::in_zone(before, TimeZone::UTC).epoch, -2);
        }
    }
}
