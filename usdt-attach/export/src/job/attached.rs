//! The sessions of a job, and their rows by owner.

use crate::owner::Owner;
use crate::owners::Owners;
use indexmap::IndexMap;
use std::path::Path;
use std::sync::Arc;
use usdt_attach::discover::ObjectId;
use usdt_attach::error::Result;
use usdt_attach::event::counts::{Row, merge_rows, process_of};
use usdt_attach::session::Session;

/// Rows by their owner.
pub(super) type OwnedRows = IndexMap<Arc<Owner>, Vec<Row>>;

/// A session and the files that it is attached to.
pub(super) struct AttachedSession {
    pub(super) session: Session,
    pub(super) objects: Vec<ObjectId>,
    /// Processes that ran the files when they were attached to; may be incomplete.
    pub(super) processes: Vec<u32>,
    /// The owner of processes of which nothing else is known.
    pub(super) fallback: Arc<Owner>,
}

impl AttachedSession {
    /// The owner of a row, from which the process is removed.
    fn owner_of(&self, row: &mut Row, owners: &mut Owners) -> Arc<Owner> {
        match process_of(row).or(self.processes.first().copied()) {
            Some(pid) => owners.owner(pid, &self.fallback),
            None => owners.owner(0, &self.fallback),
        }
    }

    /// The rows that the kernel has, by owner. Owners that have none yet have an empty list; without
    /// any owner, it is that of the fallback if `needs_owner` is true.
    pub(super) fn rows_with_empty(
        &self,
        needs_owner: bool,
        owners: &mut Owners,
    ) -> Result<OwnedRows> {
        let mut out = self.rows(owners)?;
        for pid in &self.processes {
            if !owners.has_ended(*pid) {
                out.entry(owners.owner(*pid, &self.fallback)).or_default();
            }
        }
        if out.is_empty() && needs_owner {
            out.entry(owners.owner(0, &self.fallback)).or_default();
        }
        Ok(out)
    }

    /// Learns the owners of the processes that ran the files when they were attached to, and forgets
    /// those that have ended.
    pub(super) fn follow_first_processes(&mut self, owners: &mut Owners) {
        // A single owner stays known by its process.
        if self.session.keeps_processes_apart() {
            self.processes.retain(|pid| !owners.has_ended(*pid));
        }
        self.processes.iter().for_each(|pid| drop(owners.owner(*pid, &self.fallback)));
    }

    /// The rows that the kernel has, by owner.
    pub(super) fn rows(&self, owners: &mut Owners) -> Result<OwnedRows> {
        let mut out = OwnedRows::new();
        for mut row in self.session.rows()? {
            out.entry(self.owner_of(&mut row, owners)).or_default().push(row);
        }
        Ok(out)
    }
}

/// Adds rows. Those with the same owner, probe and labels are merged.
pub(super) fn merge_owned(into: &mut OwnedRows, rows: OwnedRows) {
    for (owner, rows) in rows {
        merge_rows(into.entry(owner).or_default(), rows);
    }
}

/// The number of processes of which the owners are looked up for series without hits.
pub(super) const MAX_FIRST_PROCESSES: usize = 100;

/// The processes whose executable has this path. A path is not followed: its file system may never
/// answer.
pub(super) fn processes_of(path: &Path) -> Vec<u32> {
    let Ok(path) = std::path::absolute(path) else { return Vec::new() };
    let pids = usdt_attach::discover::pids().unwrap_or_default();
    let runs =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == path);
    pids.into_iter().filter(runs).collect()
}
