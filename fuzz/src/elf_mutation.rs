//! Structure-aware mutation of ELF files: fields of headers and tables get values that parsers may
//! trust, and tables get thousands of entries that refer to the same bytes.

use stapsdt::source::Source;
use std::cell::RefCell;
use std::ops::Range;

/// Returns the binaries that an environment variable names; `cargo xtask fuzz` builds them and sets it.
pub fn valid_binaries(variable: &str) -> impl Iterator<Item = Vec<u8>> {
    let paths =
        std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} names Go binaries"));
    let paths: Vec<_> = std::env::split_paths(&paths).collect();
    paths.into_iter().map(|path| std::fs::read(path).expect("a readable Go binary"))
}

/// A file of which a parser may derive little memory, as for a file that a process maps.
#[derive(Clone, Copy)]
pub struct LimitedBytes<'a>(pub &'a [u8]);

impl<'a> Source<'a> for LimitedBytes<'a> {
    fn size(self) -> u64 {
        self.0.size()
    }

    fn read(self, offset: u64, len: u64) -> Option<&'a [u8]> {
        self.0.read(offset, len)
    }

    fn copy(self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        self.0.copy(offset, buffer)
    }

    fn reserve(self, len: u64) -> bool {
        len <= 16 << 20
    }
}

/// A file that records what a parser reads of it.
#[derive(Clone, Copy)]
pub struct RecordedBytes<'a> {
    bytes: &'a [u8],
    reads: &'a RefCell<Vec<Range<usize>>>,
}

impl RecordedBytes<'_> {
    fn record(&self, offset: u64, len: u64) {
        let (start, len) = (offset as usize, len as usize);
        // The numbers that a parser trusts stand at the start of what it reads.
        self.reads.borrow_mut().push(start..start.saturating_add(len.min(MAX_READ)));
    }
}

impl<'a> Source<'a> for RecordedBytes<'a> {
    fn size(self) -> u64 {
        self.bytes.size()
    }

    fn read(self, offset: u64, len: u64) -> Option<&'a [u8]> {
        self.record(offset, len);
        self.bytes.read(offset, len)
    }

    fn copy(self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        self.record(offset, buffer.len() as u64);
        self.bytes.copy(offset, buffer)
    }

    fn reserve(self, len: u64) -> bool {
        LimitedBytes(self.bytes).reserve(len)
    }
}

/// The number of bytes at the start of a read that [`reads_of`] returns.
const MAX_READ: usize = 512;

/// Returns what a parser reads of a file, each range once: where changes reach it.
pub fn reads_of(file: &[u8], parse: impl FnOnce(RecordedBytes<'_>)) -> Vec<Range<usize>> {
    let reads = RefCell::default();
    parse(RecordedBytes { bytes: file, reads: &reads });
    let mut reads = reads.into_inner();
    reads.retain(|range| range.end <= file.len() && !range.is_empty());
    reads.sort_unstable_by_key(|range| (range.start, range.end));
    reads.dedup();
    reads
}

/// The size in bytes of an operation of [`mutate`].
pub const OPERATION: usize = 8;
/// The largest number of bytes that a table gets.
const MAX_TABLE: usize = 4 << 20;

/// Applies the operations that `data` encodes to a valid 64-bit file. `reads` are the ranges that the
/// parser reads, from [`reads_of`]; without them, changes are in its headers and sections.
pub fn mutate(file: &mut Vec<u8>, reads: &[Range<usize>], data: &[u8]) {
    for operation in data.chunks_exact(OPERATION).take(32) {
        let &[kind, which, field, value, a, b, c, d] = operation else { continue };
        let at = u32::from_le_bytes([a, b, c, d]);
        match kind % if reads.is_empty() { 6 } else { 12 } {
            0 => overwrite_header(file, field, value, at),
            1 => overwrite_entry(file, SECTIONS, which, field, value, at),
            2 => overwrite_entry(file, SEGMENTS, which, field, value, at),
            3 => overwrite_content(file, which, field, value, at),
            4 => repeat_entry(file, SECTIONS, which, value, at),
            5 => repeat_entry(file, SEGMENTS, which, value, at),
            _ => overwrite_read(file, reads, (which, field, value), at),
        }
    }
}

/// The position of a header table: the offsets in the ELF header of its offset and its length, the
/// size of an entry, and the offsets of its fields of 8 bytes.
#[derive(Clone, Copy)]
struct Table {
    offset: usize,
    count: usize,
    entry: usize,
    fields: &'static [usize],
}

const SECTIONS: Table = Table { offset: 40, count: 60, entry: 64, fields: &[8, 16, 24, 32, 56] };
const SEGMENTS: Table = Table { offset: 32, count: 56, entry: 56, fields: &[8, 16, 32, 40] };

fn number(file: &[u8], at: usize, len: usize) -> usize {
    let mut raw = [0; 8];
    if let Some(bytes) = at.checked_add(len).and_then(|end| file.get(at..end)) {
        raw[..len].copy_from_slice(bytes);
    }
    u64::from_le_bytes(raw) as usize
}

fn put(file: &mut [u8], at: usize, value: u64, len: usize) {
    if let Some(bytes) = at.checked_add(len).and_then(|end| file.get_mut(at..end)) {
        bytes.copy_from_slice(&value.to_le_bytes()[..len]);
    }
}

/// Returns a number that is special to parsers, or `at` itself.
fn interesting(file: &[u8], value: u8, at: u32) -> u64 {
    let size = file.len() as u64;
    match value % 16 {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << 62,
        4 => 1 << 63,
        5 => 1 << 32,
        6 => u64::from(u32::MAX),
        7 => size,
        8 => size - 1,
        9 => size / 2,
        10 => u64::MAX - u64::from(at),
        11 => u64::from(at) % size,
        12 => 0x40_0000 + u64::from(at) % size,
        13 => 0u64.wrapping_sub(size),
        14 => u64::from(at) << 32,
        _ => at.into(),
    }
}

fn overwrite_header(file: &mut [u8], field: u8, value: u8, at: u32) {
    const FIELDS: [(usize, usize); 9] =
        [(4, 2), (16, 2), (18, 2), (32, 8), (40, 8), (54, 2), (56, 2), (60, 2), (62, 2)];
    let (offset, len) = FIELDS[usize::from(field) % FIELDS.len()];
    let value = interesting(file, value, at);
    put(file, offset, value, len);
}

fn entry(file: &[u8], table: Table, which: u8) -> usize {
    let count = number(file, table.count, 2).max(1);
    number(file, table.offset, 8).wrapping_add(usize::from(which) % count * table.entry)
}

fn overwrite_entry(file: &mut [u8], table: Table, which: u8, field: u8, value: u8, at: u32) {
    let start = entry(file, table, which);
    let number = interesting(file, value, at);
    match usize::from(field) % (table.fields.len() + 2) {
        // The name or type, and the type or flags.
        0 => put(file, start, number % 16, 4),
        1 => put(file, start.wrapping_add(4), number % 16, 4),
        field => put(file, start.wrapping_add(table.fields[field - 2]), number, 8),
    }
}

/// Overwrites a number in a section. Half of the time, it is in the first 256 bytes, where tables
/// have their headers.
fn overwrite_content(file: &mut [u8], which: u8, field: u8, value: u8, at: u32) {
    let section = entry(file, SECTIONS, which);
    let offset = number(file, section.wrapping_add(24), 8);
    let size = number(file, section.wrapping_add(32), 8).clamp(1, file.len());
    let distance = at as usize % if field & 0x80 == 0 { 256 } else { size };
    let value = interesting(file, value, at.rotate_left(8));
    put(file, offset.wrapping_add(distance), value, [1, 2, 4, 8][usize::from(field) % 4]);
}

/// Overwrites a number in one of the ranges that the parser reads.
fn overwrite_read(
    file: &mut [u8],
    reads: &[Range<usize>],
    (which, field, value): (u8, u8, u8),
    at: u32,
) {
    let index = usize::from(which) | (at as usize >> 12) << 8;
    let Some(range) = reads.get(index % reads.len().max(1)) else { return };
    let distance = (at as usize & 0xfff) % range.len().max(1);
    let value = interesting(file, value, at.rotate_left(8));
    put(file, range.start + distance, value, [1, 2, 4, 8][usize::from(field) % 4]);
}

/// Moves a table to the end of the file, with thousands of copies of one entry after the others.
fn repeat_entry(file: &mut Vec<u8>, table: Table, which: u8, value: u8, at: u32) {
    let (start, count) = (number(file, table.offset, 8), number(file, table.count, 2));
    let old = start.checked_add(count * table.entry).and_then(|end| file.get(start..end));
    let (Some(old), source) = (old.map(<[u8]>::to_vec), entry(file, table, which)) else { return };
    let Some(copy) = source.checked_add(table.entry).and_then(|end| file.get(source..end)) else {
        return;
    };
    let copy = copy.to_vec();
    let copies = [16, 1000, 30_000, 65_000][usize::from(value) % 4].min(0xfff0 - count.min(0xfff0));
    if (count + copies) * table.entry > MAX_TABLE {
        return;
    }
    let new = file.len() as u64;
    file.extend(&old);
    for _ in 0..copies {
        file.extend(&copy);
    }
    put(file, table.offset, new, 8);
    put(file, table.count, (count + copies) as u64, 2);
    // The names of sections stay where they are, or are taken from a copy.
    if at % 4 == 0 && table.count == SECTIONS.count {
        put(file, 62, (count + copies - 1) as u64, 2);
    }
}
