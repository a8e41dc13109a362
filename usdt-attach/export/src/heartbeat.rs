//! The heartbeat of the exporter's loop, by which a liveness probe sees that the loop hangs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long the loop may go without a heartbeat. It waits for events for a quarter of a second at
/// most, and attaching to a file takes milliseconds.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(10);

/// When the loop ran last.
pub(crate) struct Heartbeat {
    created: Instant,
    /// Milliseconds from `created` to the last heartbeat.
    last: AtomicU64,
}

impl Heartbeat {
    /// Creates a heartbeat that has just run.
    pub(crate) fn new() -> Heartbeat {
        Heartbeat { created: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Creates a heartbeat that ran last some time ago.
    #[cfg(test)]
    pub(crate) fn silent_since(silence: Duration) -> Heartbeat {
        let created = Instant::now().checked_sub(silence);
        Heartbeat { created: created.unwrap_or_else(Instant::now), last: AtomicU64::new(0) }
    }

    /// Records that the loop runs.
    pub(crate) fn beat(&self) {
        self.last.store(self.elapsed_ms(), Relaxed);
    }

    /// The time since the loop ran last.
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.last.load(Relaxed)))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
