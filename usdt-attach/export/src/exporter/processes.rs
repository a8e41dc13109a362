//! The processes of the target, and whose numbers are theirs.

use super::Exporter;
use crate::owner::Owner;
use std::time::{Duration, Instant};
use usdt_attach::error::Result;
use usdt_attach::target::Target;

impl Exporter<'_> {
    /// Whether hits can come from processes of several owners.
    pub(super) fn has_several_owners(&mut self) -> bool {
        let Some(processes) = &self.settings.processes else { return true };
        // A command may start other programs, and so may children.
        let has_children = self.settings.children.is_some();
        if has_children || matches!(self.settings.target, Target::Command(_)) {
            return true;
        }
        let fallback = Owner::other();
        let mut all = processes.iter().map(|process| self.owners.owner(process.pid(), &fallback));
        let first = all.next();
        all.any(|owner| Some(owner) != first)
    }

    /// Learns the owners of processes while they run, and takes the totals of those that have ended
    /// or executed another program from the kernel.
    ///
    /// Returns how long to wait until the next look: less at first, because a command may end soon, and
    /// so that looking takes at most half a percent of a CPU.
    pub(super) fn follow_processes(&mut self, started: Instant) -> Result<Duration> {
        const FIRST_INTERVAL: Duration = Duration::from_millis(20);
        const INTERVAL: Duration = Duration::from_secs(1);
        let start = Instant::now();
        self.owners.begin_round();
        for job in &mut self.jobs {
            job.follow_processes(&mut self.owners)?;
        }
        self.owners.forget_previous();
        for message in self.owners.take_messages() {
            (self.report)(message);
        }
        let interval = started.elapsed().clamp(FIRST_INTERVAL, INTERVAL);
        Ok(interval.max(start.elapsed() * 200))
    }
}
