//! Times as people write them, and the time of day.

use std::time::{Duration, SystemTime};

/// `10`, `10s`, `500ms`, `2m`, `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("the unit is one of ms, s, m, h".to_owned()),
    };
    let number: f64 =
        number.parse().map_err(|_| "not a number with a unit, such as 10s".to_owned())?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| "out of range".to_owned())
}

/// Nanoseconds since 1970.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
