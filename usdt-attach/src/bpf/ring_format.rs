//! The memory layout of the mapped ring, which BPF programs and the reader share.
//!
//! `docs/mapped-ring.md` describes the protocol.

/// Offset of `reserved`: the number of bytes reserved and not yet released, headers included.
pub(crate) const RESERVED: i16 = 0;
/// Offset of `tail`: the position at which the next record is reserved; only grows.
pub(crate) const TAIL: i16 = 8;
/// Offset of the data, which begins on a cache line of its own.
pub(crate) const DATA: i16 = 64;
/// Size in bytes of a record's header, which is the length of the record.
pub(crate) const HEADER: i16 = 8;

/// Capacity of the largest ring in bytes. The verifier allows pointer offsets below 2^29
/// (`BPF_MAX_VAR_OFF`).
pub(crate) const MAX_CAPACITY: u32 = 1 << 28;

/// Returns the size in bytes of the map's value for a ring of `capacity` bytes with records of up
/// to `longest` bytes.
///
/// `None` if the capacity is not a power of two or is out of range. The ring buffer is used then,
/// and its error reports the invalid size.
pub(crate) fn value_size(capacity: u32, longest: u32) -> Option<u32> {
    let overhead = u32::from(DATA.unsigned_abs() + HEADER.unsigned_abs());
    let is_valid = capacity.is_power_of_two() && (8..=MAX_CAPACITY).contains(&capacity);
    is_valid.then(|| capacity.saturating_add(longest).saturating_add(overhead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_a_power_of_two_in_range() {
        assert_eq!(value_size(8192, 240), Some(8192 + 240 + 72));
        for invalid in [0, 4, 4095, 12_288, MAX_CAPACITY * 2, u32::MAX] {
            assert_eq!(value_size(invalid, 240), None);
        }
    }
}
