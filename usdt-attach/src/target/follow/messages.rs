//! What a follower says about hits that may be missed.

use super::Follower;
use crate::discover::{Linker, ScannedObject};
use crate::error::{Result, Warning, WarningKind};
use stapsdt::escape::Escaped;

impl Follower {
    /// Returns a message if the process in which an object was found may have hit its probes before
    /// they were attached to.
    pub fn missed_hits(&self, scanned: &ScannedObject) -> Option<String> {
        let pid = *scanned.pids.first()?;
        let path = Escaped::new(&scanned.object.path);
        if is_library(scanned, pid) {
            return (!self.stops_process(pid)).then(|| {
                format!(
                    "attached to {path}, which was loaded a moment ago; hits before that are missed"
                )
            });
        }
        // A program is stopped by its dynamic linker, if it has one.
        let is_stopped =
            self.stops_process(pid) && Linker::of_executable(&scanned.object.path).is_some();
        (self.children.is_some() && !is_stopped).then(|| {
            format!(
                "attached to {path}, which process {pid} executed a moment ago; hits before that are missed"
            )
        })
    }

    /// Warns once of children that have ended already, so that their programs may not have been read,
    /// and once of those that are too many. `executed` are processes of the tree that called `exec` and
    /// were scanned since.
    pub(super) fn warn_of_children(&mut self, executed: &[u32], rescan_is_due: bool) -> Result<()> {
        let Some(children) = &self.children else { return Ok(()) };
        if !self.warned_of_short && !executed.is_empty() {
            let running = children.processes()?;
            if let Some(pid) = executed.iter().find(|pid| !running.contains(pid)) {
                self.warned_of_short = true;
                let message = format!(
                    "process {pid} ended just after it had executed its program; hits of such short programs may be missed"
                );
                self.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
            }
        }
        if rescan_is_due && !self.warned_of_lost && children.forks()?.lost > 0 {
            self.warned_of_lost = true;
            let message = "too many processes run at a time, so that some children are not traced";
            self.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
        }
        Ok(())
    }
}

/// Returns true if an object is not the executable of the process.
fn is_library(scanned: &ScannedObject, pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe != scanned.object.path)
}
