//! Messages about dropped events while a session runs, so that nobody has to wait for the summary.

use cli_common::say;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use usdt_attach::error::Result;
use usdt_attach::kernel::Counts;
use usdt_attach::own_probes;
use usdt_attach::session::EventLoop;

/// How often the counts are read.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait after a message until the next one.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(10);

/// Watches the hit counts of sessions that record events.
#[derive(Debug)]
pub(crate) struct DropMonitor {
    next_check: Instant,
    /// The hit counts at the last check, by `provider:probe`.
    last: HashMap<String, Counts>,
}

impl DropMonitor {
    pub(crate) fn new() -> DropMonitor {
        DropMonitor { next_check: Instant::now() + CHECK_INTERVAL, last: HashMap::new() }
    }

    /// Prints a message if events have been dropped since the last check. Does nothing most of the
    /// time, because reading the counts takes a system call for each site.
    pub(crate) fn check(&mut self, event_loop: &EventLoop) -> Result<()> {
        if Instant::now() < self.next_check {
            return Ok(());
        }
        let mut current: HashMap<String, Counts> = HashMap::new();
        for session in event_loop.sessions().iter().filter(|session| session.fd().is_some()) {
            for (probe, counts) in session.probe_counts()? {
                let total =
                    current.entry(format!("{}:{}", probe.provider, probe.name)).or_default();
                *total = *total + counts;
            }
        }
        let drops = drops(&self.last, &current);
        self.last = current;
        let pause = if drops.is_some() { MESSAGE_INTERVAL } else { CHECK_INTERVAL };
        self.next_check = Instant::now() + pause;
        if let Some(drops) = drops {
            own_probes::drop(drops.dropped, drops.hits);
            say(&drops.message());
        }
        Ok(())
    }
}

/// The drops of a probe.
#[derive(Debug, PartialEq, Eq)]
struct Drops {
    probe: String,
    dropped: u64,
    hits: u64,
}

impl Drops {
    fn message(&self) -> String {
        let percent = match self.dropped.saturating_mul(100) / self.hits.max(1) {
            0 => "less than 1".to_owned(),
            percent => percent.to_string(),
        };
        format!("dropping {percent} % of {}; use --sample, --filter, --rate or `count`", self.probe)
    }
}

/// Returns the drops of the probe that has dropped most; `None` if none has dropped anything.
fn drops(last: &HashMap<String, Counts>, current: &HashMap<String, Counts>) -> Option<Drops> {
    let dropped = current.iter().filter_map(|(probe, now)| {
        let before = last.get(probe).copied().unwrap_or_default();
        let dropped = now.dropped.checked_sub(before.dropped).filter(|dropped| *dropped > 0)?;
        Some((dropped, now.hits.saturating_sub(before.hits).max(dropped), probe))
    });
    let (dropped, hits, probe) = dropped.max()?;
    Some(Drops { probe: probe.clone(), dropped, hits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(all: &[(&str, u64, u64)]) -> HashMap<String, Counts> {
        let counts = |hits, dropped| Counts { hits, dropped, ..Counts::default() };
        all.iter()
            .map(|(name, hits, dropped)| ((*name).to_owned(), counts(*hits, *dropped)))
            .collect()
    }

    #[test]
    fn names_the_probe_that_drops_most_since_the_last_check() {
        let last = hits(&[("a:x", 1000, 900), ("a:y", 100, 0)]);
        let message = |last, now| drops(last, now).map(|drops| drops.message());
        assert_eq!(message(&last, &last), None);
        let now = hits(&[("a:x", 2000, 901), ("a:y", 200, 12), ("a:z", 5, 0)]);
        let expected = "dropping 12 % of a:y; use --sample, --filter, --rate or `count`";
        assert_eq!(message(&last, &now).as_deref(), Some(expected));
        let few = message(&hits(&[]), &hits(&[("a:x", 1000, 1)])).unwrap();
        assert!(few.starts_with("dropping less than 1 % of a:x;"), "{few}");
    }

    #[test]
    fn counts_that_shrink_are_no_drops() {
        // A session has ended, and its counts with it.
        assert_eq!(drops(&hits(&[("a:x", 9, 9)]), &hits(&[("a:x", 5, 5)])), None);
    }
}
