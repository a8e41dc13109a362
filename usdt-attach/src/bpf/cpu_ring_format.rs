//! The memory layout of per-CPU rings, which BPF programs and the reader share.
//!
//! `docs/cpu-rings.md` describes the protocol.

use super::ring_format::{HEADER, MAX_CAPACITY};

/// Offset of `tail`: the position at which the next record is written; only grows. Programs write
/// this cache line, the reader only reads it.
pub(crate) const TAIL: i16 = 0;
/// Offset of `pending`: the time of the record that is being written, [`PENDING_UNKNOWN`] before
/// that time is read, or 0 if none is being written.
pub(crate) const PENDING: i16 = 8;
/// Offset of `head`: the position up to which records have been read; only grows. The reader writes
/// this cache line, programs only read it. It is 128 bytes away from `tail`, because processors fetch
/// cache lines in pairs.
pub(crate) const HEAD: i16 = 128;
/// Offset of the data. Only programs write to it.
pub(crate) const DATA: i16 = 256;

/// The value of `pending` from the start of a record until its time is stored.
pub(crate) const PENDING_UNKNOWN: i32 = 1;

/// The smallest capacity of a ring in bytes. If the buffer is smaller than that for each CPU, all
/// CPUs share a mapped ring: one busy thread fills a small ring before the reader wakes up.
pub(crate) const MIN_CAPACITY: u32 = 1 << 18;

/// Offset of the number of the session from the beginning of a record; before it is the length.
pub(crate) const SESSION: i16 = 4;

/// The alignment of a ring in bytes.
const ALIGNMENT: u32 = 128;

/// Per-CPU rings, as the programs of a session write to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuRings {
    /// Number of rings. CPU n writes to ring n.
    pub count: u32,
    /// Capacity of each ring in bytes: a power of two.
    pub capacity: u32,
    /// Distance between two rings in bytes.
    pub stride: u32,
    /// The number of the session, which is in the headers of its records; 0 unless several sessions
    /// share the rings.
    pub session: u32,
}

impl CpuRings {
    /// Divides a buffer of `buffer` bytes between `cpus` CPUs, for records of up to `longest` bytes.
    ///
    /// `None` if a CPU's share is below [`MIN_CAPACITY`], or if the rings are too large for a map.
    pub(crate) fn new(buffer: u32, longest: u32, cpus: u32) -> Option<CpuRings> {
        let share = buffer.checked_div(cpus)?;
        let capacity = 1u32.checked_shl(share.checked_ilog2()?)?;
        let used = (DATA + HEADER).unsigned_abs().into();
        let stride = capacity
            .checked_add(longest)?
            .checked_add(used)?
            .checked_next_multiple_of(ALIGNMENT)?;
        let rings = CpuRings { count: cpus, capacity, stride, session: 0 };
        let fits = rings.value_size()? <= MAX_CAPACITY && capacity / 2 >= longest;
        (buffer.is_power_of_two() && capacity >= MIN_CAPACITY && fits).then_some(rings)
    }

    /// Returns the size in bytes of the map's value; `None` if it is above 4 GiB.
    pub(crate) fn value_size(self) -> Option<u32> {
        self.count.checked_mul(self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn divides_a_buffer_between_cpus() {
        let rings = |buffer, cpus| CpuRings::new(buffer, 240, cpus).map(|rings| rings.capacity);
        assert_eq!(rings(8 << 20, 1), Some(8 << 20));
        assert_eq!(rings(8 << 20, 2), Some(4 << 20));
        assert_eq!(rings(8 << 20, 3), Some(2 << 20));
        assert_eq!(rings(8 << 20, 32), Some(1 << 18));
        assert_eq!(rings(8 << 20, 33), None, "a share is too small");
        assert_eq!(rings(1 << 19, 4), None, "a share is too small");
        assert_eq!(rings(100_000, 1), None, "not a power of two, which the ring buffer reports");
        assert_eq!(rings(1 << 30, 2), None, "too large for a map");
        assert_eq!(rings(8 << 20, 0), None);
    }

    proptest! {
        #[test]
        fn rings_do_not_overlap_and_fit(buffer in any::<u32>(), longest in 8u32..1 << 16, cpus in 0u32..9000) {
            let buffer = buffer.checked_next_power_of_two().unwrap_or(buffer);
            if let Some(rings) = CpuRings::new(buffer, longest, cpus) {
                // A record that begins at the last position ends inside its ring.
                let end = u32::from(DATA.unsigned_abs()) + rings.capacity - 8 + 8 + longest;
                prop_assert!(end <= rings.stride && rings.stride.is_multiple_of(ALIGNMENT));
                prop_assert!(rings.capacity.is_power_of_two() && rings.capacity <= buffer);
                prop_assert!(u64::from(rings.count) * u64::from(rings.stride) <= MAX_CAPACITY.into());
            }
        }
    }
}
