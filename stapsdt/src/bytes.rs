//! Bounds-checked reads of fixed-width integers; the base under every codec here.

use byteorder::{BigEndian, ByteOrder, LittleEndian};

/// Rounds `n` up to a multiple of 4, the alignment of notes; `None` on overflow.
pub(crate) fn align4(n: usize) -> Option<usize> {
    n.checked_add(3).map(|n| n & !3)
}

/// The `N` bytes at `at`, if they are all there.
pub(crate) fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A `u32` in the given byte order.
pub(crate) fn u32_at(data: &[u8], at: usize, big: bool) -> Option<u32> {
    let raw = array::<4>(data, at)?;
    Some(if big { BigEndian::read_u32(&raw) } else { LittleEndian::read_u32(&raw) })
}

/// An address: 8 bytes wide in 64-bit files, 4 in 32-bit ones.
pub(crate) fn addr_at(data: &[u8], at: usize, big: bool, is64: bool) -> Option<u64> {
    if !is64 {
        return u32_at(data, at, big).map(u64::from);
    }
    let raw = array::<8>(data, at)?;
    Some(if big { BigEndian::read_u64(&raw) } else { LittleEndian::read_u64(&raw) })
}
