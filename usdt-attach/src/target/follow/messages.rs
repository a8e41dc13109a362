//! What a follower says about hits that may be missed.

use super::Follower;
use crate::discover::{Linker, ScannedObject};
use crate::error::{Result, Warning, WarningKind};
use stapsdt::escape::Escaped;
use std::time::Instant;

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

    /// Warns once of children that ended before their programs were read, and once of those that are
    /// too many. `reported` are processes of the tree that called `exec`.
    pub(super) fn warn_of_children(&mut self, reported: &[u32]) -> Result<()> {
        let Some(children) = &self.children else { return Ok(()) };
        if !self.warned_of_short && !reported.is_empty() {
            let running = children.processes()?;
            if let Some(pid) = reported.iter().find(|pid| !running.contains(pid)) {
                self.warned_of_short = true;
                let message = format!(
                    "process {pid} ended before the program that it executed was read; hits of such short programs may be missed"
                );
                self.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
            }
        }
        let is_due = Instant::now() >= self.next_rescan;
        if is_due && !self.warned_of_lost && children.forks()?.lost > 0 {
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
