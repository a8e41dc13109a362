//! The sessions of a job, and their rows by owner.

use crate::owner::Owner;
use crate::owners::Owners;
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
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
    fallback: Arc<Owner>,
    /// The owner of all rows of a session that does not keep processes apart.
    single: Option<Arc<Owner>>,
    /// The processes that had rows at the last look. Rows that a process gets only after it has
    /// executed another program are those of its new owner.
    counted: HashSet<u32>,
}

impl AttachedSession {
    pub(super) fn new(
        session: Session,
        objects: Vec<ObjectId>,
        processes: Vec<u32>,
        fallback: Arc<Owner>,
    ) -> AttachedSession {
        let (single, counted) = (None, HashSet::new());
        AttachedSession { session, objects, processes, fallback, single, counted }
    }

    /// The owner of a row, from which the process is removed.
    fn owner_of(&self, row: &mut Row, owners: &mut Owners) -> Arc<Owner> {
        match process_of(row) {
            Some(pid) => self.owner_of_rows(pid, owners),
            None => self.only_owner(owners),
        }
    }

    /// The owner of the rows that a process has in the kernel.
    fn owner_of_rows(&self, pid: u32, owners: &mut Owners) -> Arc<Owner> {
        let previous = self.previous_owner(pid, owners);
        previous.unwrap_or_else(|| owners.owner(pid, &self.fallback))
    }

    /// The owner that a process had before it executed another program, if it has rows of that time.
    fn previous_owner(&self, pid: u32, owners: &mut Owners) -> Option<Arc<Owner>> {
        self.counted.contains(&pid).then(|| owners.previous_owner(pid)).flatten()
    }

    /// The owner of all rows if processes are not kept apart.
    fn only_owner(&self, owners: &mut Owners) -> Arc<Owner> {
        let first = self.processes.first().copied().unwrap_or_default();
        self.single.clone().unwrap_or_else(|| owners.owner(first, &self.fallback))
    }

    /// The rows that the kernel has, by owner. Owners that have none yet have an empty list; without
    /// any owner, it is that of the fallback if `needs_owner` is true.
    pub(super) fn rows_with_empty(
        &self,
        needs_owner: bool,
        owners: &mut Owners,
    ) -> Result<OwnedRows> {
        let mut out = self.rows(owners)?;
        if !self.session.keeps_processes_apart() {
            out.entry(self.only_owner(owners)).or_default();
            return Ok(out);
        }
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

    /// Learns the owners of the processes that have rows, as long as they run. Returns the rows of
    /// processes that have ended or executed another program, which are taken from the kernel.
    pub(super) fn follow_processes(&mut self, owners: &mut Owners) -> Result<OwnedRows> {
        if !self.session.keeps_processes_apart() {
            self.single = Some(self.only_owner(owners));
            return Ok(OwnedRows::new());
        }
        self.processes.retain(|pid| !owners.has_ended(*pid));
        self.processes.iter().for_each(|pid| drop(owners.owner(*pid, &self.fallback)));
        let mut pids = self.session.processes()?;
        let mut final_owners = HashMap::new();
        for pid in &pids {
            let owner = self.owner_of_rows(*pid, owners);
            if self.previous_owner(*pid, owners).is_some() || owners.has_ended(*pid) {
                final_owners.insert(*pid, owner);
            }
        }
        pids.retain(|pid| !final_owners.contains_key(pid));
        self.counted = pids;
        let mut taken = OwnedRows::new();
        if final_owners.is_empty() {
            return Ok(taken);
        }
        for mut row in self.session.take_rows(|pid| final_owners.contains_key(&pid))? {
            let owner = process_of(&mut row).and_then(|pid| final_owners.get(&pid));
            taken.entry(Arc::clone(owner.unwrap_or(&self.fallback))).or_default().push(row);
        }
        Ok(taken)
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
