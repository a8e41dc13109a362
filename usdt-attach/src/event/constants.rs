//! Strings that were not in memory when a probe fired, read from the file that has them.
//!
//! A C literal is in a part of its file that the process maps read-only. If no code has read it yet,
//! a BPF program that must not sleep cannot read it. Its bytes are those of the file, as long as the
//! page has not been written to before it became read-only, which `/proc/PID/pagemap` shows. The
//! memory of the process is not read: if its file system does not answer, neither does that read.

use super::interface_names::DynamicTypes;
use crate::discover::Mounts;
use crate::discover::process::constant_range;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long an answer is used: the process may execute another file.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The number of strings that are looked up in this time. Further ones stay unreadable.
const MAX_LOOKUPS: usize = 256;

/// A string of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StringRef {
    pub(super) pid: u32,
    pub(super) address: u64,
    /// The number of bytes to read at most.
    pub(super) len: u32,
    /// True if a NUL ends the string.
    pub(super) ends_with_nul: bool,
}

/// Constant strings of processes, from their files.
#[derive(Default)]
pub(crate) struct Constants {
    known: HashMap<StringRef, Option<Vec<u8>>>,
    /// When `known` was last empty; `None` if nothing has been looked up.
    since: Option<Instant>,
    mounts: Option<Mounts>,
    /// What is known of the types of errors, by process and address of the type.
    pub(super) types: DynamicTypes,
}

impl std::fmt::Debug for Constants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constants").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Constants {
    /// Returns the bytes of a string, including the NUL of a C string; `None` if they may differ from
    /// those in the memory of the process, and if too many strings have been looked up.
    pub(super) fn get(&mut self, string: StringRef) -> Option<&[u8]> {
        if self.since.is_none_or(|since| since.elapsed() > MAX_AGE) {
            self.known.clear();
            self.mounts = None;
            self.since = Some(Instant::now());
        }
        if !self.known.contains_key(&string) {
            if self.known.len() == MAX_LOOKUPS {
                return None;
            }
            let bytes = read(string, self.mounts.get_or_insert_with(Mounts::new));
            self.known.insert(string, bytes);
        }
        self.known.get(&string)?.as_deref()
    }
}

fn read(string: StringRef, mounts: &Mounts) -> Option<Vec<u8>> {
    let StringRef { pid, address, len, ends_with_nul } = string;
    let range = constant_range(pid, address).ok()??;
    let left = range.end - address;
    let len = if ends_with_nul { left.min(len.into()) } else { len.into() };
    if len > left || !is_as_in_file(pid, address, len)? {
        return None;
    }
    let object = range.open(pid, mounts)?;
    let offset = range.offset.checked_add(address - range.start)?;
    let mut bytes = object.read_at(offset, len)?;
    if ends_with_nul {
        match memchr::memchr(0, &bytes) {
            Some(end) => bytes.truncate(end + 1),
            // As the helper of BPF programs does, ends a truncated string with a NUL.
            None if len == u64::from(string.len) => *bytes.last_mut()? = 0,
            None => return None,
        }
    }
    Some(bytes)
}

/// Returns true if no page of the range has been written to: it is not in memory, or it is a page of
/// the file.
fn is_as_in_file(pid: u32, address: u64, len: u64) -> Option<bool> {
    /// Bits of an entry (Documentation/admin-guide/mm/pagemap.rst).
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const FILE: u64 = 1 << 61;
    let pagemap = File::open(format!("/proc/{pid}/pagemap")).ok()?;
    let page = rustix::param::page_size() as u64;
    let last = address.checked_add(len.max(1) - 1)? / page;
    for number in address / page..=last {
        let mut entry = [0; 8];
        pagemap.read_exact_at(&mut entry, number.checked_mul(8)?).ok()?;
        let entry = u64::from_ne_bytes(entry);
        if entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0 {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No test may write to it, so it is a constant of this program's file.
    static TEXT: &[u8] = b"a constant of this file\0and more";

    fn string(len: u32, ends_with_nul: bool) -> StringRef {
        StringRef { pid: std::process::id(), address: TEXT.as_ptr() as u64, len, ends_with_nul }
    }

    #[test]
    fn reads_constants_of_a_file() {
        let mut constants = Constants::default();
        assert_eq!(constants.get(string(100, true)), Some(&TEXT[..24]));
        assert_eq!(constants.get(string(5, true)), Some(&b"a co\0"[..]));
        assert_eq!(constants.get(string(28, false)), Some(&TEXT[..28]));
        assert_eq!(constants.get(string(1 << 31, false)), None, "longer than the mapping");
        let process = StringRef { pid: 0, ..string(5, true) };
        assert_eq!(constants.get(process), None, "no such process");
    }

    #[test]
    fn does_not_read_what_a_process_can_write() {
        let on_heap = TEXT.to_vec();
        static WRITABLE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7);
        let mut constants = Constants::default();
        for address in [on_heap.as_ptr() as u64, WRITABLE.as_ptr() as u64, 0, 8, u64::MAX] {
            for ends_with_nul in [true, false] {
                let string = StringRef { address, ..string(8, ends_with_nul) };
                assert_eq!(constants.get(string), None, "{address:#x}");
            }
        }
    }

    #[test]
    fn looks_up_a_bounded_number_of_strings() {
        let mut constants = Constants::default();
        for n in 0..MAX_LOOKUPS as u64 {
            assert_eq!(constants.get(StringRef { address: n, ..string(1, true) }), None);
        }
        assert_eq!(constants.get(string(100, true)), None);
        assert_eq!(constants.known.len(), MAX_LOOKUPS);
    }
}
