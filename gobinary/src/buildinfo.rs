//! The toolchain's version from the build information, as `go version FILE` prints it (Go's
//! `debug/buildinfo`).
//!
//! The build information is 16-aligned in the data segment. It starts with a 32-byte header: 14
//! bytes of magic, the pointer size and flags. With flag 2 (Go 1.18 and later), two strings follow,
//! each after its length as a varint: the version and the module information. Before, the header
//! ends with pointers to two strings, which are structs of a pointer and a length.

use crate::table_layout::{relocated_word, u64_at};
use stapsdt::elf::View;
use stapsdt::source::{ScanBudget, Source, for_each_piece};
use std::ops::ControlFlow;

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The flag for strings that follow the header.
const INLINE_STRINGS: u8 = 2;
/// The bytes that are read: the header, and a varint and a version of the maximum length.
const MAX_SIZE: u64 = 512;
/// The longest version string in bytes that is accepted.
const MAX_VERSION: u64 = 256;

/// Returns the version of the toolchain that linked a file; `None` without valid build information.
///
/// Only a file without section headers is searched for it.
pub(crate) fn version<'a, S: Source<'a>>(view: &View<'a, S>) -> Option<String> {
    if !view.sections.is_empty() {
        let section = view.section(".go.buildinfo")?;
        return parse(view, section.offset, section.size.min(MAX_SIZE));
    }
    let mut budget = ScanBudget::for_file(view.source().size());
    let segments = view.segments.iter().filter(|s| s.is_load());
    let mut ranges = segments.filter_map(|s| Some(s.offset..s.offset.checked_add(s.filesz)?));
    let (offset, end) = ranges.find_map(|range| {
        if !budget.take(range.end - range.start) {
            return None;
        }
        let mut found = None;
        for_each_piece(view.source(), range.clone(), MAGIC.len() - 1, |offset, piece| {
            let positions = memchr::memmem::find_iter(piece, MAGIC).map(|at| offset + at as u64);
            found = positions.into_iter().find(|at| (at - range.start) % 16 == 0);
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Some((found?, range.end))
    })?;
    parse(view, offset, (end - offset).min(MAX_SIZE))
}

/// Parses the version of the build information at a file offset.
fn parse<'a, S: Source<'a>>(view: &View<'a, S>, offset: u64, size: u64) -> Option<String> {
    let data = view.bytes_at_offset(offset, size)?;
    if !data.starts_with(MAGIC) {
        return None;
    }
    if data.get(15)? & INLINE_STRINGS == 0 {
        return version_by_pointer(view, view.offset_to_vaddr(offset)?.checked_add(16)?);
    }
    parse_inline(data)
}

/// Reads the version as Go before 1.18 has it: a Go string, to which the word at `place` points.
fn version_by_pointer<'a, S: Source<'a>>(view: &View<'a, S>, place: u64) -> Option<String> {
    // In position-independent files, the dynamic loader may fill in the pointers.
    let pointer = |place: u64| {
        let stored = u64_at(view.bytes_at(place, 8)?, 0)?;
        if stored != 0 { Some(stored) } else { relocated_word(view, place) }
    };
    let string = pointer(place)?;
    let length = u64_at(view.bytes_at(string.checked_add(8)?, 8)?, 0)?;
    let pointer = pointer(string).filter(|_| length <= MAX_VERSION)?;
    let version = std::str::from_utf8(view.bytes_at(pointer, length)?).ok()?;
    version.starts_with("go").then(|| version.to_owned())
}

/// Parses the version that follows the header.
fn parse_inline(data: &[u8]) -> Option<String> {
    let mut rest = data.get(32..)?;
    let length = read_varint(&mut rest)?;
    if length > MAX_VERSION {
        return None;
    }
    let version = rest.get(..usize::try_from(length).ok()?)?;
    std::str::from_utf8(version).ok().filter(|v| !v.is_empty()).map(str::to_owned)
}

/// Reads an unsigned LEB128 number, as `encoding/binary` writes it, and advances `data`.
fn read_varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{HEADERS, file};
    use proptest::prelude::*;

    /// Returns the data of a file whose build information points to the version, as Go before 1.18
    /// has it: the header, the string's struct, and the string.
    fn pointing_build_info(version: &str) -> Vec<u8> {
        let start = HEADERS as u64;
        let mut data = MAGIC.to_vec();
        data.extend([8, 0]);
        for word in [start + 32, start + 32, start + 48, version.len() as u64] {
            data.extend(word.to_le_bytes());
        }
        data.extend(version.bytes());
        data
    }

    #[test]
    fn follows_pointers_to_strings() {
        let version_of = |data: &[u8]| version(&View::parse(&file(data)).unwrap());
        let data = pointing_build_info("go1.17.13");
        assert_eq!(version_of(&data).as_deref(), Some("go1.17.13"));
        assert_eq!(version_of(&pointing_build_info("devel")), None);
        assert_eq!(version_of(&data[..data.len() - 1]), None, "the string is cut");
        // A file without relocations does not say what a null pointer is replaced by.
        let mut unrelocated = data.clone();
        unrelocated[16..24].fill(0);
        assert_eq!(version_of(&unrelocated), None);
    }

    fn build_info(version: &str) -> Vec<u8> {
        let mut data = MAGIC.to_vec();
        data.extend([8, INLINE_STRINGS]);
        data.resize(32, 0);
        data.push(version.len() as u8);
        data.extend(version.bytes());
        data
    }

    #[test]
    fn reads_inline_strings() {
        assert_eq!(parse_inline(&build_info("go1.27.3")).as_deref(), Some("go1.27.3"));
        assert_eq!(parse_inline(&build_info("")), None);
        assert_eq!(parse_inline(&build_info("go1.27.3")[..36]), None);
    }

    proptest! {
        #[test]
        fn accepts_any_pointers(at in 14usize..60, with: [u8; 8], cut in 0usize..60) {
            let mut data = pointing_build_info("go1.17.13");
            let end = data.len().min(at + 8);
            if let Some(bytes) = data.get_mut(at..end) {
                bytes.copy_from_slice(&with[..bytes.len()]);
            }
            data.truncate(cut);
            if let Ok(view) = View::parse(&file(&data)) {
                let _ = version(&view);
            }
        }

        #[test]
        fn accepts_damaged_build_info(at in 0usize..60, value: u8, cut in 0usize..60) {
            let mut data = build_info("go1.27.3 X:some,experiments");
            if let Some(b) = data.get_mut(at) { *b = value; }
            data.truncate(cut);
            let _ = parse_inline(&data);
        }
    }
}
