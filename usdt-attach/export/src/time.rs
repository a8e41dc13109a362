//! Durations on the command line and in configurations, and the current time.

use std::time::{Duration, SystemTime};

/// Parses a duration: a number, which may have a fraction, and a unit. The units are `ms`, `s`, `m`
/// and `h`; without one it is seconds.
///
/// # Errors
///
/// Fails with a message for the user if the text is not a duration, or is negative or too large.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use usdt_export::time::parse_duration;
/// assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
/// assert!(parse_duration("5 minutes").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}`: use ms, s, m or h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a number with a unit, such as 10s or 500ms"))?;
    Duration::try_from_secs_f64(number * scale)
        .map_err(|_| format!("`{text}` is negative or too large"))
}

/// The current time in nanoseconds since 1970.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
