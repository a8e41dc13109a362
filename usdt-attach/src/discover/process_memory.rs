//! Reading the memory of a process without waiting for a file system that never answers.
//!
//! The process decides what is mapped at the addresses that it names. To read a page of a FUSE file,
//! the kernel asks the program that serves it, and a thread that waits for the answer cannot be
//! ended. So only ranges without a file are read, and those of files on the file systems of which
//! files are read, too ([`Mounts`]).

use super::mounts::{Mounts, parse_device};
use super::process;
use crate::error::Result;
use std::cell::LazyCell;
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The number of ranges that are kept. Adjacent ones count as one.
const MAX_RANGES: usize = 1 << 14;

/// The memory of a process, as it was mapped at one time.
#[derive(Debug)]
pub(crate) struct ProcessMemory {
    file: File,
    /// The ranges that can be read, in ascending order.
    ranges: Vec<Range<u64>>,
}

impl ProcessMemory {
    /// Opens the memory of a process. `None` if it has exited or may not be traced.
    pub(crate) fn open(pid: u32) -> Option<ProcessMemory> {
        let file = File::open(format!("/proc/{pid}/mem")).ok()?;
        Some(ProcessMemory { file, ranges: answering_ranges(pid, &(0..u64::MAX)).ok()? })
    }

    /// Reads bytes at an address. `None` if they are not mapped, or from a file that is not read.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        let end = address.checked_add(buffer.len() as u64)?;
        if !contains(&self.ranges, &(address..end)) {
            return None;
        }
        self.file.read_exact_at(buffer, address).ok()
    }
}

/// Returns true if `/proc/PID/environ` can be read without asking a file system that may never
/// answer: it is memory of the process. `proc` is the path of `/proc`.
pub fn environment_answers(proc: &Path, pid: u32) -> bool {
    let Ok(stat) = std::fs::read(proc.join(format!("{pid}/stat"))) else { return true };
    // A process that may not be traced has no range, and its environment cannot be read.
    let Some(range) = environment(&stat).filter(|range| !range.is_empty()) else { return true };
    answering_ranges(pid, &range).is_ok_and(|ranges| contains(&ranges, &range))
}

/// Returns the address range of the environment in `/proc/PID/stat` (proc_pid_stat(5)).
pub(super) fn environment(stat: &[u8]) -> Option<Range<u64>> {
    let mut fields = std::str::from_utf8(process::after_name(stat)?).ok()?.split_ascii_whitespace();
    // Fields 50 and 51; the first one after the name is field 3.
    let start = fields.nth(47)?.parse().ok()?;
    Some(start..fields.next()?.parse().ok()?)
}

fn contains(ranges: &[Range<u64>], inner: &Range<u64>) -> bool {
    let after = ranges.partition_point(|range| range.start <= inner.start);
    let range = after.checked_sub(1).and_then(|at| ranges.get(at));
    range.is_some_and(|range| inner.end <= range.end)
}

/// Returns those of the ranges that overlap `wanted` and can be read without asking a file system that
/// may never answer.
fn answering_ranges(pid: u32, wanted: &Range<u64>) -> Result<Vec<Range<u64>>> {
    // Anonymous memory needs no mount tables, which take longer to read than the rest.
    let mounts = LazyCell::new(|| {
        let mounts = Mounts::new();
        let tables = mounts.tables(pid);
        (mounts, tables)
    });
    let mut ranges: Vec<Range<u64>> = Vec::new();
    process::for_each_line(pid, |line| {
        let Some((range, device)) = parse(line) else { return ControlFlow::Continue(()) };
        if range.end <= wanted.start || range.start >= wanted.end {
            return ControlFlow::Continue(());
        }
        let answers = device.is_none_or(|device| {
            let (mounts, tables) = &*mounts;
            parse_device(device).is_some_and(|device| mounts.check_device(tables, device).is_ok())
        });
        match ranges.last_mut() {
            _ if !answers => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
        if ranges.len() < MAX_RANGES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(ranges)
}

/// Parses a line of `/proc/PID/maps` (proc_pid_maps(5)): the range, and the device of a file.
pub(super) fn parse(line: &[u8]) -> Option<(Range<u64>, Option<&str>)> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut next_field = || std::str::from_utf8(fields.next()?).ok();
    let (range, _permissions, _offset) = (next_field()?, next_field()?, next_field()?);
    let (device, inode) = (next_field()?, next_field()?.parse::<u64>().ok()?);
    let (start, end) = range.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    Some((hex(start)?..hex(end)?, (inode != 0).then_some(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_data_stack_and_heap_of_this_process() {
        static DATA: u64 = 0x1234;
        let (on_heap, on_stack) = (Box::new(0x1234u64), 0x1234u64);
        let memory = ProcessMemory::open(std::process::id()).unwrap();
        for word in [&DATA, &*on_heap, &on_stack] {
            let mut bytes = [0; 8];
            memory.read(std::ptr::from_ref(word) as u64, &mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), 0x1234);
        }
        for wild in [0, 1, u64::MAX, u64::MAX - 7, 1 << 63] {
            assert_eq!(memory.read(wild, &mut [0; 8]), None, "{wild:#x}");
        }
    }

    #[test]
    fn environments_answer_unless_they_are_elsewhere() {
        let (proc, own) = (Path::new("/proc"), std::process::id());
        assert!(environment_answers(proc, own));
        let folder = tempfile::tempdir().unwrap();
        let stat = |range: &str| {
            std::fs::create_dir_all(folder.path().join(own.to_string())).unwrap();
            let fields = "S 1".to_owned() + &" 0".repeat(45) + " " + range + " 0";
            let stat = format!("{own} (a) b) {fields}\n");
            std::fs::write(folder.path().join(format!("{own}/stat")), stat).unwrap();
            environment_answers(folder.path(), own)
        };
        // The first page is never mapped.
        assert!(!stat("16 32"));
        assert!(stat("0 0"), "it may not be traced");
        assert!(environment_answers(folder.path(), own + 1), "it has ended");
    }

    #[test]
    fn distinguishes_files_from_other_memory() {
        let anonymous = b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ";
        assert_eq!(parse(anonymous), Some((0x7f0000000000..0x7f0000001000, None)));
        let heap = b"00c00000-00c21000 rw-p 00000000 00:00 0                          [heap]";
        assert_eq!(parse(heap), Some((0xc0_0000..0xc2_1000, None)));
        let file = b"00400000-00401000 r-xp 00000000 08:01 123                        /bin/a b";
        assert_eq!(parse(file), Some((0x40_0000..0x40_1000, Some("08:01"))));
        for damaged in [&b""[..], b"1-2", b"1-2 r 0 0:0", b"x-2 r 0 0:0 0 ", b"1-2 r 0 0:0 x "] {
            assert_eq!(parse(damaged), None);
        }
    }
}
