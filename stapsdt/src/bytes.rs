//! Bounds-checked reads of fixed-width integers, for the parsers of this crate.

use byteorder::{BigEndian, ByteOrder, LittleEndian};

/// Rounds `n` up to a multiple of 4, the alignment of notes. `None` on overflow.
pub(crate) fn align4(n: usize) -> Option<usize> {
    n.checked_add(3).map(|n| n & !3)
}

/// Returns the `N` bytes at offset `at`; `None` if `data` is too short.
pub(crate) fn array_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Reads a `u32` at offset `at`, big-endian if `big` is true.
pub(crate) fn u32_at(data: &[u8], at: usize, big: bool) -> Option<u32> {
    let raw = array_at::<4>(data, at)?;
    Some(if big { BigEndian::read_u32(&raw) } else { LittleEndian::read_u32(&raw) })
}

/// Reads an address at offset `at`: 8 bytes in 64-bit files, 4 bytes in 32-bit files.
pub(crate) fn addr_at(data: &[u8], at: usize, big: bool, is64: bool) -> Option<u64> {
    if !is64 {
        return u32_at(data, at, big).map(u64::from);
    }
    let raw = array_at::<8>(data, at)?;
    Some(if big { BigEndian::read_u64(&raw) } else { LittleEndian::read_u64(&raw) })
}
