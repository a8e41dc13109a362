//! The children of traced processes: following them, or counting those that are left out.

use super::{ProcessHandle, ResolvedTarget, add_new};
use crate::discover::process_state::parent_of;
use crate::discover::{self, Mounts, Scan};
use crate::error::{Result, Warning, WarningKind};
use crate::kernel::ProcessTree;
use std::collections::HashSet;
use std::path::Path;

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
        let objects = std::mem::take(&mut self.objects);
        let mut all = Scan { objects, warnings: std::mem::take(&mut self.warnings) };
        let mounts = Mounts::new();
        for child in &descendants {
            let scan = discover::scan_process_with(child.pid(), &mounts, &all.objects);
            add_new(&mut all, scan.unwrap_or_default());
        }
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
    let mut known: HashSet<u32> = processes.iter().map(ProcessHandle::pid).collect();
    // A child that is found late may have forked before the kernel followed it.
    loop {
        let found: Vec<(u32, u32)> =
            children_of(&known)?.into_iter().filter(|(child, _)| !known.contains(child)).collect();
        let before = descendants.len();
        for (child, parent) in found {
            let Ok(handle) = ProcessHandle::open(child) else { continue };
            // Another process may have got the id of one that has exited meanwhile.
            if parent_of(child) == Some(parent) && known.insert(child) {
                tree.add(child)?;
                descendants.push(handle);
            }
        }
        if descendants.len() == before {
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

/// Returns the children of processes, each with its parent.
fn children_of(parents: &HashSet<u32>) -> Result<Vec<(u32, u32)>> {
    // Needs CONFIG_PROC_CHILDREN.
    if Path::new("/proc/thread-self/children").exists() {
        return Ok(parents.iter().flat_map(|pid| listed_children(*pid)).collect());
    }
    let pids = discover::pids()?;
    let pairs = pids.into_iter().filter_map(|pid| Some((pid, parent_of(pid)?)));
    Ok(pairs.filter(|(_, parent)| parents.contains(parent)).collect())
}

/// Returns the children of a process as `/proc` lists them; none if the process has ended.
fn listed_children(pid: u32) -> Vec<(u32, u32)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let children = list.split_whitespace().filter_map(|child| child.parse().ok());
            children.map(|child| (child, pid)).collect::<Vec<_>>()
        })
        .collect()
}
