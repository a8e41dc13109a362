//! The encoding of `time.Time`.

/// Returns the nanoseconds since the Unix epoch, from the fields `wall` and `ext` of a `time.Time`
/// (`src/time/time.go`). `None` for the zero time and for times that do not fit, before 1678 or
/// after 2261.
pub fn unix_nanos(wall: u64, ext: i64) -> Option<i64> {
    /// The flag in `wall` for a monotonic clock reading in `ext`.
    const HAS_MONOTONIC: u64 = 1 << 63;
    /// The mask of the nanoseconds in `wall`.
    const NANOS: u64 = (1 << 30) - 1;
    /// The seconds from the year 1 to 1885, and from there to 1970.
    const YEAR_1_TO_1885: i64 = 59_453_308_800;
    const YEAR_1_TO_1970: i64 = 62_135_596_800;
    let seconds = if wall & HAS_MONOTONIC == 0 {
        ext
    } else {
        YEAR_1_TO_1885 + i64::try_from((wall & !HAS_MONOTONIC) >> 30).ok()?
    };
    let nanos = i64::try_from(wall & NANOS).ok()?;
    seconds.checked_sub(YEAR_1_TO_1970)?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::unix_nanos;

    #[test]
    fn decodes_times_with_and_without_a_monotonic_reading() {
        // 2024-02-29 12:34:56.789 UTC
        let (seconds, nanos) = (1_709_210_096i64, 789_000_000i64);
        let expected = Some(seconds * 1_000_000_000 + nanos);
        assert_eq!(unix_nanos(nanos as u64, seconds + 62_135_596_800), expected);
        let since_1885 = (seconds + 62_135_596_800 - 59_453_308_800) as u64;
        let wall = 1 << 63 | since_1885 << 30 | nanos as u64;
        assert_eq!(unix_nanos(wall, 12_345), expected, "`ext` is the monotonic clock here");
        assert_eq!(unix_nanos(0, 0), None, "the zero time");
    }
}
