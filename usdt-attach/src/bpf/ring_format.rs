//! The mapped ring's memory, as programs and the reader share it. `docs/mapped-ring.md` has the protocol.

/// Offset of `reserved`: bytes from the first unread record on, up to the last reserved one.
pub(crate) const RESERVED: i16 = 0;
/// Offset of `tail`: where the next record is reserved, ever growing.
pub(crate) const TAIL: i16 = 8;
/// Offset of the data, on a cache line of its own.
pub(crate) const DATA: i16 = 64;
/// Bytes of a record's header, its length.
pub(crate) const HEADER: i16 = 8;

/// Bytes of the largest ring: the verifier has offsets below 2^29 in pointers (`BPF_MAX_VAR_OFF`).
pub(crate) const LARGEST: u32 = 1 << 28;

/// Bytes of the map's value, for a ring of `capacity` bytes and records of up to `longest` bytes; `None` where there
/// can be no such ring. The kernel will say what is wrong with a ring buffer of that size.
pub(crate) fn value_size(capacity: u32, longest: u32) -> Option<u32> {
    let around = u32::from(DATA.unsigned_abs() + HEADER.unsigned_abs());
    let fine = capacity.is_power_of_two() && (8..=LARGEST).contains(&capacity);
    fine.then(|| capacity.saturating_add(longest).saturating_add(around))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_powers_of_two() {
        assert_eq!(value_size(8192, 240), Some(8192 + 240 + 72));
        for none in [0, 4, 4095, 12_288, LARGEST * 2, u32::MAX] {
            assert_eq!(value_size(none, 240), None);
        }
    }
}
