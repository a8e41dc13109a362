//! The CPUs of the machine.

use std::io;
use std::sync::LazyLock;

/// Returns the number of possible CPUs, which does not change while the machine runs. Per-CPU maps
/// have that many values per key.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    Ok(read("possible")?.count)
}

/// Returns the number after the highest id of the CPUs that were present at the first call; `None` if
/// it is not known.
pub(crate) fn cpu_ids_end() -> Option<u32> {
    // Cached, because each default of the options asks for it.
    static END: LazyLock<Option<u32>> = LazyLock::new(|| read("present").ok()?.end.try_into().ok());
    *END
}

/// A list of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CpuList {
    count: usize,
    /// The number after the highest id.
    end: usize,
}

fn read(name: &str) -> io::Result<CpuList> {
    let file = format!("/sys/devices/system/cpu/{name}");
    let text = std::fs::read_to_string(&file)?;
    parse(text.trim_end()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{file} contains `{}`, not a list of CPUs", text.escape_debug()),
        )
    })
}

/// Parses a list of ranges such as `0-3,8`; `None` if the ranges are not valid and ascending.
fn parse(list: &str) -> Option<CpuList> {
    let mut out = CpuList::default();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first < out.end || last < first {
            return None;
        }
        out.end = last.checked_add(1)?;
        out.count = out.count.checked_add(out.end - first)?;
    }
    Some(out)
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
        for (list, count, end) in [
            ("0", 1, 1),
            ("0-1", 2, 2),
            ("0-127", 128, 128),
            ("0,2-3", 3, 4),
            ("0-3,8-11", 8, 12),
            ("5", 1, 6),
        ] {
            assert_eq!(parse(list), Some(CpuList { count, end }), "{list}");
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
            assert_eq!(parse(list), None, "{list:?}");
        }
    }

    #[test]
    fn counts_at_least_the_available_cpus() {
        let available = std::thread::available_parallelism().unwrap().get();
        assert!(possible_cpus().unwrap() >= available);
        assert!(cpu_ids_end().unwrap() as usize >= available);
    }
}
