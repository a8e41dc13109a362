//! Delays between attempts to attach to an object.

use std::time::{Duration, Instant};

/// The delay of the first retry.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The delay that is not doubled any more.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// When to try again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) at: Instant,
    delay: Duration,
}

impl Retry {
    /// Returns the retry that follows the last one, or the first one.
    pub(super) fn after(last: Option<Retry>) -> Retry {
        let delay = last.map_or(FIRST_RETRY, |last| (last.delay * 2).min(MAX_RETRY));
        Retry { at: Instant::now() + delay, delay }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_the_delay_up_to_half_a_minute() {
        let mut last = None;
        let delays: Vec<u128> = (0..8)
            .map(|_| {
                last = Some(Retry::after(last));
                last.unwrap().delay.as_millis()
            })
            .collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }
}
