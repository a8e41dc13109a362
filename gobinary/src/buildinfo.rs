//! The toolchain's version from the build information, as `go version FILE` prints it (Go's
//! `debug/buildinfo`).
//!
//! The build information is 16-aligned in the data segment. It starts with a 32-byte header: 14
//! bytes of magic, the pointer size and flags. With flag 2 (Go 1.18 and later), two strings follow,
//! each after its length as a varint: the version and the module information.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The flag for strings that follow the header.
const INLINE_STRINGS: u8 = 2;
/// The longest version string in bytes that is accepted.
const MAX_VERSION: u64 = 256;

/// Returns the version of the toolchain that linked `file`; `None` without valid build information.
pub(crate) fn version(file: &ElfFile64<'_>) -> Option<String> {
    if let Some(section) = file.section_by_name(".go.buildinfo") {
        return parse(section.data().ok()?);
    }
    file.segments().filter_map(|s| s.data().ok()).find_map(|data| {
        let found = memchr::memmem::find_iter(data, MAGIC).find(|at| at % 16 == 0)?;
        parse(data.get(found..)?)
    })
}

/// Parses the version of the build information at the start of `data`.
fn parse(data: &[u8]) -> Option<String> {
    if !data.starts_with(MAGIC) || data.get(15)? & INLINE_STRINGS == 0 {
        return None;
    }
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
    use proptest::prelude::*;

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
        assert_eq!(parse(&build_info("go1.27.3")).as_deref(), Some("go1.27.3"));
        assert_eq!(parse(&build_info("")), None);
        assert_eq!(parse(&build_info("go1.27.3")[..36]), None);
    }

    proptest! {
        #[test]
        fn accepts_damaged_build_info(at in 0usize..60, value: u8, cut in 0usize..60) {
            let mut data = build_info("go1.27.3 X:some,experiments");
            if let Some(b) = data.get_mut(at) { *b = value; }
            data.truncate(cut);
            let _ = parse(&data);
        }
    }
}
