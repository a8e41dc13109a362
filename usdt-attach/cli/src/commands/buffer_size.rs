//! The size of the event buffer, as the command line has it.

/// The smallest size in bytes: below it, one long event fills the buffer.
const MIN: u64 = 64 << 10;
/// The largest size in bytes. The memory is reserved as long as the session lasts.
const MAX: u64 = 1 << 30;

/// Reads a number of bytes, or a number with `KiB`, `MiB` or `GiB`, and rounds it up to a power of
/// two.
///
/// # Errors
///
/// Fails if it is not a size, or not within 64KiB and 1GiB.
pub(super) fn parse_buffer_size(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" => Some(1),
        "KiB" | "K" | "k" => Some(1 << 10),
        "MiB" | "M" => Some(1 << 20),
        "GiB" | "G" => Some(1 << 30),
        _ => None,
    };
    let size = digits.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    let size = size.ok_or("write a number of bytes, or one such as 64MiB")?;
    if !(MIN..=MAX).contains(&size) {
        return Err("the size must be from 64KiB to 1GiB".to_owned());
    }
    // At most `MAX`, which is a power of two.
    u32::try_from(size.next_power_of_two()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_with_units_and_rounds_them_up() {
        for (text, expected) in [
            ("65536", 64 << 10),
            ("64KiB", 64 << 10),
            ("100k", 128 << 10),
            ("64MiB", 64 << 20),
            ("48M", 64 << 20),
            ("1GiB", 1 << 30),
            ("1G", 1 << 30),
        ] {
            assert_eq!(parse_buffer_size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn rejects_what_is_not_a_size_and_sizes_out_of_range() {
        for text in ["", "MiB", "64MB", "-1", "1.5M", "64 MiB", "99999999999999999999", "0x10"] {
            let error = parse_buffer_size(text).unwrap_err();
            assert!(error.contains("64MiB"), "{text}: {error}");
        }
        for text in ["0", "65535", "63KiB", "2GiB", "1073741825", "18446744073709551615"] {
            let error = parse_buffer_size(text).unwrap_err();
            assert!(error.contains("from 64KiB"), "{text}: {error}");
        }
    }
}
