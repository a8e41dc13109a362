//! Clocks of the kernel, in nanoseconds.

use rustix::time::ClockId;

/// The time of CLOCK_MONOTONIC, which BPF programs read.
pub(crate) fn monotonic_nanoseconds() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// The time of a clock; 0 if it is negative.
pub(crate) fn nanoseconds(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}
