//! The encoding of `time.Time` (`src/time/time.go`), and times in the form of RFC 3339.

use std::fmt;

/// The seconds of a day.
const DAY: i64 = 86_400;
/// The seconds from the start of the year 1 to that of 1885, and to that of 1970.
const YEAR_1_TO_1885: i64 = 59_453_308_800;
const YEAR_1_TO_1970: i64 = 62_135_596_800;

/// A point in time. Its time zone is not kept: it is printed in UTC.
///
/// ```
/// use gobinary::go_time::GoTime;
///
/// let time = GoTime::decode(0, 0).unwrap();
/// assert_eq!(time.to_string(), "0001-01-01T00:00:00.000000000Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoTime {
    /// The seconds since the start of the year 1, in UTC.
    seconds: i64,
    /// The nanoseconds of the second, below 1,000,000,000.
    nanos: u32,
}

impl GoTime {
    /// Decodes the fields `wall` and `ext` of a `time.Time`. `None` if the nanoseconds are not below
    /// a second, which no time has.
    pub fn decode(wall: u64, ext: i64) -> Option<GoTime> {
        /// The flag in `wall` for a monotonic clock reading in `ext`. The seconds since 1885 are in
        /// `wall` then.
        const HAS_MONOTONIC: u64 = 1 << 63;
        /// The number of bits of the nanoseconds in `wall`.
        const NANO_BITS: u32 = 30;
        let nanos = (wall & ((1 << NANO_BITS) - 1)) as u32;
        let seconds = if wall & HAS_MONOTONIC == 0 {
            ext
        } else {
            // Fits: 33 bits.
            YEAR_1_TO_1885 + ((wall & !HAS_MONOTONIC) >> NANO_BITS) as i64
        };
        (nanos < 1_000_000_000).then_some(GoTime { seconds, nanos })
    }

    /// Returns the seconds since 1970 and the nanoseconds of the second. Seconds that do not fit are
    /// the lowest number.
    pub fn unix(self) -> (i64, u32) {
        (self.seconds.saturating_sub(YEAR_1_TO_1970), self.nanos)
    }
}

impl fmt::Display for GoTime {
    /// Writes the time as in RFC 3339, in UTC and with nine digits after the point. Years before 0
    /// and after 9999 have a sign, as in ISO 8601.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        if (0..=9999).contains(&year) {
            write!(f, "{year:04}")?;
        } else {
            write!(f, "{year:+05}")?;
        }
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", self.nanos)
    }
}

/// Returns the year, the month and the day of the month, given the days since 0001-01-01, in the
/// Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    /// The days of 400 years, after which the calendar repeats.
    const ERA: i64 = 146_097;
    /// The days from 0000-03-01 to 0001-01-01. Years that start in March end with the leap day.
    const MARCH_TO_YEAR_1: i64 = 306;
    // Far from overflow: a day has 86,400 of the seconds that fit into an i64.
    let days = days + MARCH_TO_YEAR_1;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days, and so have the next five.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(wall: u64, ext: i64) -> String {
        GoTime::decode(wall, ext).unwrap().to_string()
    }

    #[test]
    fn decodes_times_with_and_without_a_monotonic_reading() {
        let (unix, nanos) = (1_709_210_096i64, 789_000_001u64);
        let expected = "2024-02-29T12:34:56.789000001Z";
        assert_eq!(print(nanos, unix + YEAR_1_TO_1970), expected);
        let since_1885 = (unix + YEAR_1_TO_1970 - YEAR_1_TO_1885) as u64;
        let wall = 1 << 63 | since_1885 << 30 | nanos;
        assert_eq!(print(wall, 12_345), expected, "`ext` is the monotonic clock here");
        assert_eq!(GoTime::decode(wall, 0).unwrap().unix(), (unix, nanos as u32));
    }

    #[test]
    fn prints_times_far_from_the_present() {
        assert_eq!(print(0, 0), "0001-01-01T00:00:00.000000000Z", "the zero time");
        assert_eq!(print(1, -1), "0000-12-31T23:59:59.000000001Z");
        assert_eq!(print(0, -366 * DAY - 1), "-0001-12-31T23:59:59.000000000Z");
        assert_eq!(print(999_999_999, 315_537_897_599), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(print(0, 315_537_897_600), "+10000-01-01T00:00:00.000000000Z");
        assert_eq!(print(0, i64::MAX), "+292277024627-12-06T15:30:07.000000000Z");
        assert_eq!(GoTime::decode(0, i64::MIN).unwrap().unix(), (i64::MIN, 0));
        assert_eq!(GoTime::decode(1_000_000_000, 0), None);
    }

    proptest! {
        #[test]
        fn prints_any_words(wall: u64, ext: i64) {
            if let Some(time) = GoTime::decode(wall, ext) {
                let text = time.to_string();
                prop_assert!(text.len() >= 30 && text.ends_with('Z'), "{}", text);
            }
        }

        #[test]
        fn later_days_have_later_dates(day in -800_000_000i64..800_000_000) {
            let (before, after) = (date(day), date(day + 1));
            prop_assert!(before < after, "{:?} {:?}", before, after);
            prop_assert!((1..=12).contains(&after.1) && (1..=31).contains(&after.2));
        }
    }
}
