//! The sessions of a job, and their rows by owner.

use crate::owner::Owner;
use crate::owners::Owners;
use indexmap::IndexMap;
use std::collections::HashSet;
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

    /// The rows that the kernel has, by owner.
    pub(super) fn rows(&self, owners: &mut Owners) -> Result<OwnedRows> {
        let mut out = OwnedRows::new();
        for mut row in self.session.rows()? {
            out.entry(self.owner_of(&mut row, owners)).or_default().push(row);
        }
        Ok(out)
    }

    /// The owners of the processes that ran the files when they were attached to.
    pub(super) fn first_owners(&self, owners: &mut Owners) -> HashSet<Arc<Owner>> {
        let running = self.processes.iter().filter(|pid| !owners.has_ended(**pid));
        let running: Vec<u32> = running.copied().collect();
        match running.is_empty() {
            true => HashSet::from([owners.owner(0, &self.fallback)]),
            false => running.into_iter().map(|pid| owners.owner(pid, &self.fallback)).collect(),
        }
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

/// The processes whose executable has this path.
pub(super) fn processes_of(path: &Path) -> Vec<u32> {
    let Ok(path) = path.canonicalize() else { return Vec::new() };
    let pids = usdt_attach::discover::pids().unwrap_or_default();
    let runs =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == path);
    pids.into_iter().filter(runs).collect()
}
