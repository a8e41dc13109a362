//! The children of traced processes: following them, or counting those that are left out.

use super::{ProcessHandle, ResolvedTarget, add_new};
use crate::discover::process_state::parent_of;
use crate::discover::{self, Mounts, Scan};
use crate::error::{Error, Result, Warning, WarningKind};
use crate::kernel::ProcessTree;
use std::collections::HashMap;

/// Child processes that are not traced, as their parents fork them.
#[derive(Clone, Debug)]
pub struct LeftOutChildren {
    tree: ProcessTree,
    /// The number of children at the start.
    present: u64,
}

impl LeftOutChildren {
    /// Starts to count the children of processes. Those that exist count, too. `None` if the kernel
    /// cannot follow forks.
    pub fn count_from(processes: &[ProcessHandle]) -> Option<LeftOutChildren> {
        let tree = ProcessTree::start().ok()?;
        let present = add_all(&tree, processes).ok()?.len() as u64;
        Some(LeftOutChildren { tree, present })
    }

    /// Returns the number of children so far, including those that have exited.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn count(&self) -> Result<u64> {
        Ok(self.present + self.tree.forks()?.forked)
    }
}

impl ResolvedTarget {
    /// Traces the children of the processes as well: those that exist, and those that are forked from
    /// now on, from their first instruction. Has no effect on a target that does not name its
    /// processes.
    ///
    /// # Errors
    ///
    /// Fails if the kernel cannot follow forks, which needs BTF, and if this process may not load BPF
    /// programs.
    pub fn follow_children(&mut self) -> Result<()> {
        let Some(processes) = &mut self.processes else { return Ok(()) };
        let tree = ProcessTree::start()?;
        let descendants = add_all(&tree, processes)?;
        let (mut scan, mounts) = (Scan::default(), Mounts::new());
        for child in &descendants {
            add_new(
                &mut scan,
                discover::scan_process_with(child.pid(), &mounts).unwrap_or_default(),
            );
        }
        let objects = std::mem::take(&mut self.objects);
        let mut all = Scan { objects, warnings: std::mem::take(&mut self.warnings) };
        add_new(&mut all, scan);
        (self.objects, self.warnings) = (all.objects, all.warnings);
        processes.extend(descendants);
        self.children = Some(tree);
        Ok(())
    }

    /// Like [`ResolvedTarget::follow_children`]. Adds a warning if the kernel cannot follow forks.
    pub fn try_follow_children(&mut self) {
        if let Err(error) = self.follow_children() {
            let message = format!("children of the command are not traced: {error:#}");
            self.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
        }
    }
}

/// Adds processes and their descendants to a tree. Returns the descendants.
fn add_all(tree: &ProcessTree, processes: &[ProcessHandle]) -> Result<Vec<ProcessHandle>> {
    for process in processes {
        tree.add(process.pid())?;
    }
    let mut descendants: Vec<ProcessHandle> = Vec::new();
    // A child that is found late may have forked before the kernel followed it.
    loop {
        let known: Vec<u32> =
            processes.iter().chain(&descendants).map(ProcessHandle::pid).collect();
        let mut has_more = false;
        for (child, parent) in parents()? {
            if !known.contains(&parent) || known.contains(&child) {
                continue;
            }
            let Ok(handle) = ProcessHandle::open(child) else { continue };
            // Another process may have got the id of one that has exited meanwhile.
            if parent_of(child) == Some(parent) {
                tree.add(child)?;
                descendants.push(handle);
                has_more = true;
            }
        }
        if !has_more {
            break;
        }
    }
    // The kernel removes those that exit after they were added.
    for process in processes.iter().chain(&descendants) {
        if !process.is_alive() {
            tree.remove(process.pid());
        }
    }
    Ok(descendants)
}

/// Returns the parent of each process that `/proc` shows.
fn parents() -> Result<HashMap<u32, u32>> {
    let pids = discover::pids().map_err(|error| match error.is_resource_limit() {
        true => error,
        false => Error::unsupported("the children of processes cannot be found in /proc"),
    })?;
    Ok(pids.into_iter().filter_map(|pid| Some((pid, parent_of(pid)?))).collect())
}
