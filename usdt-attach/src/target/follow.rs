//! Following a target: files that its processes come to run after it was looked at.
//!
//! The kernel tells of every `exec`; a look now and then, at most twice a second, finds what nobody tells, such as
//! libraries that are loaded later.

use crate::discover::{self, ObjectId, ScannedObject};
use crate::error::Result;
use crate::kernel::ExecEvents;
use crate::target::{ProcessHandle, Target, members, processes_alive};
use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often processes are looked at that nobody told of.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Finds files that are new to a target.
#[derive(Debug)]
pub struct Follower {
    target: Target,
    known: HashSet<ObjectId>,
    watch: Option<ExecEvents>,
    /// When to look next without being told.
    next: Instant,
    /// Whether all was looked at since the kernel tells: nobody told of what came between the target's first look and
    /// then.
    caught_up: bool,
    /// Processes that called `exec` since: their libraries are not mapped at once.
    recent_execs: Vec<u32>,
}

impl Follower {
    /// Follows a target whose files so far are known.
    pub fn new(target: &Target, found: &[ScannedObject]) -> Follower {
        Follower {
            target: target.clone(),
            known: found.iter().map(|f| f.object.id).collect(),
            // Without it, files are found by looking.
            watch: ExecEvents::start().ok(),
            next: Instant::now(),
            caught_up: false,
            recent_execs: Vec::new(),
        }
    }

    /// Lets a file be new again, which nobody runs any more.
    pub fn forget(&mut self, file: ObjectId) {
        self.known.remove(&file);
    }

    /// Readable when a process has called `exec`; `None` where this kernel does not tell.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(ExecEvents::fd)
    }

    /// How long to wait at most until the next call of [`Follower::poll_new_objects`].
    pub fn next_poll_in(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Files that are new since the last look.
    pub fn poll_new_objects(&mut self) -> Result<Vec<ScannedObject>> {
        let mut told = Vec::new();
        if let Some(watch) = &mut self.watch {
            watch.drain(&mut told)?;
        }
        let due = Instant::now() >= self.next;
        if due {
            self.next = Instant::now() + LOOK_EVERY;
        } else if told.is_empty() {
            return Ok(Vec::new());
        }
        let found = match &self.target {
            Target::Exe(path) => self.file(&path.clone()),
            Target::Processes(processes) => {
                let alive = processes.iter().filter(|p| p.is_alive());
                let pids: Vec<u32> = alive.map(ProcessHandle::pid).collect();
                told.retain(|pid| pids.contains(pid));
                self.processes(told, due, || pids)
            }
            Target::Cgroup(path) => {
                let members = members(path).unwrap_or_default();
                told.retain(|pid| members.contains(pid));
                self.processes(told, due, || members)
            }
            Target::All => self.everything(told, due),
            Target::Command(_) => Vec::new(),
        };
        self.caught_up = self.watch.is_some();
        Ok(found.into_iter().filter(|f| self.known.insert(f.object.id)).collect())
    }

    /// The file's name may lead to another file by now.
    fn file(&self, path: &Path) -> Vec<ScannedObject> {
        let id = std::fs::metadata(path).map(|m| ObjectId { dev: m.dev(), ino: m.ino() });
        match id {
            Ok(id) if !self.known.contains(&id) => discover::file(path).into_iter().collect(),
            // It is being replaced, perhaps.
            _ => Vec::new(),
        }
    }

    /// Those told of, and, when it is due, those that were told of before, or all where nobody tells.
    fn processes(&mut self, told: Vec<u32>, due: bool, all: impl FnOnce() -> Vec<u32>) -> Vec<ScannedObject> {
        let mut pids = told.clone();
        if due {
            pids.append(&mut self.recent_execs);
            if !self.caught_up {
                pids.extend(all());
            }
        }
        self.recent_execs.extend(told);
        processes_alive(&pids, &self.known)
    }

    fn everything(&mut self, told: Vec<u32>, due: bool) -> Vec<ScannedObject> {
        if due && !self.caught_up {
            return Target::All.scan().map(|r| r.found).unwrap_or_default();
        }
        self.processes(told, due, Vec::new)
    }
}
