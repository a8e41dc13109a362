//! Clocks of the kernel, in nanoseconds.

use rustix::time::ClockId;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The time of CLOCK_MONOTONIC, which BPF programs read.
pub(crate) fn monotonic_nanoseconds() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// The time of a clock; 0 if it is negative.
fn nanoseconds(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// Returns the nanoseconds to add to `CLOCK_MONOTONIC` to get `CLOCK_REALTIME`, or the last result in
/// this process if the difference may be due to reading one clock after the other. So the times of
/// events do not decrease from one batch or session to the next unless the clock is set.
pub(crate) fn realtime_offset() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let read = || {
        let before = monotonic_nanoseconds();
        [before, nanoseconds(ClockId::Realtime), monotonic_nanoseconds()]
    };
    let last = LAST.load(Relaxed);
    let offset = steady_offset(last, read);
    match LAST.compare_exchange(last, offset, Relaxed, Relaxed) {
        Ok(_) => offset,
        Err(of_another_thread) => of_another_thread,
    }
}

/// `read` reads the monotonic clock, the other one, and the monotonic one again.
fn steady_offset(last: i64, mut read: impl FnMut() -> [u64; 3]) -> i64 {
    /// Differences up to this are those of the clocks' steps.
    const JITTER: u64 = 50_000;
    const READINGS: usize = 4;
    let mut best: Option<(u64, i64)> = None;
    for _ in 0..READINGS {
        let [before, time, after] = read();
        // This thread may have lost its CPU in between.
        let uncertainty = after.saturating_sub(before);
        if best.is_none_or(|(least, _)| uncertainty < least) {
            best = Some((uncertainty, time.wrapping_sub(before).cast_signed()));
        }
        if uncertainty < JITTER {
            break;
        }
    }
    match best {
        Some((uncertainty, offset)) if offset.abs_diff(last) > JITTER + uncertainty => offset,
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_have_the_same_offset() {
        let first = realtime_offset();
        assert!((0..100).all(|_| realtime_offset() == first));
    }

    #[test]
    fn a_thread_that_loses_its_cpu_between_clocks_changes_no_offset() {
        const OFFSET: i64 = 1_000_000_000;
        let now = 5_000_000_u64;
        let reading = |first: u64, second: u64| {
            [now, (now + first).wrapping_add_signed(OFFSET), now + first + second]
        };
        // The wait is before or after the second clock, and longer than the jitter.
        for (first, second) in [(100, 100), (3_000_000, 100), (100, 3_000_000)] {
            assert_eq!(steady_offset(OFFSET, || reading(first, second)), OFFSET);
        }
        // A later reading is better.
        let mut readings = [reading(3_000_000, 100), reading(0, 100)].into_iter();
        assert_eq!(steady_offset(0, || readings.next().unwrap()), OFFSET);
        // The clock was set.
        assert_eq!(steady_offset(OFFSET + 60_000, || reading(0, 100)), OFFSET);
        assert_eq!(steady_offset(OFFSET + 40_000, || reading(0, 100)), OFFSET + 40_000);
    }
}
