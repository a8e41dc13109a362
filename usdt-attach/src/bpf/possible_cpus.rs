//! The number of possible CPUs of the machine. Per-CPU maps have that many values per key.

use std::io;

const FILE: &str = "/sys/devices/system/cpu/possible";

/// Returns the number of possible CPUs, which does not change while the machine runs.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    let text = std::fs::read_to_string(FILE)?;
    count(text.trim_end()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{FILE} contains `{}`, not a list of CPUs", text.escape_debug()),
        )
    })
}

/// Counts the numbers in a list of ranges such as `0-3,8`; `None` if the ranges are not valid and
/// ascending.
fn count(list: &str) -> Option<usize> {
    let (mut count, mut min_next) = (0usize, 0usize);
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first < min_next || last < first {
            return None;
        }
        min_next = last.checked_add(1)?;
        count = count.checked_add(min_next - first)?;
    }
    Some(count)
}

fn number(digits: &str) -> Option<usize> {
    // `parse` would also accept a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_ranges() {
        for (list, cpus) in [
            ("0", Some(1)),
            ("0-1", Some(2)),
            ("0-127", Some(128)),
            ("0,2-3", Some(3)),
            ("0-3,8-11", Some(8)),
            ("5", Some(1)),
        ] {
            assert_eq!(count(list), cpus, "{list}");
        }
    }

    #[test]
    fn rejects_invalid_lists() {
        for list in [
            "",
            "-",
            "0-",
            "-1",
            "3-1",
            "0,0",
            "0-3,2",
            "0 - 1",
            "+1",
            "a",
            "0,",
            "0-18446744073709551615",
        ] {
            assert_eq!(count(list), None, "{list:?}");
        }
    }

    #[test]
    fn counts_at_least_the_available_cpus() {
        assert!(possible_cpus().unwrap() >= std::thread::available_parallelism().unwrap().get());
    }
}
