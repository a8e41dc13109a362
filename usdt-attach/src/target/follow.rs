//! Following a target: objects that its processes run or map after it was scanned.
//!
//! The kernel reports every `exec`. A rescan within half a second finds the libraries that the new program maps after that.
//! Where the kernel reports none, each rescan covers the whole target.

use crate::discover::{self, ObjectId, ScannedObject};
use crate::error::Result;
use crate::kernel::ExecEvents;
use crate::target::{ProcessHandle, Target, members, processes_alive};
use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often to rescan without a reported `exec`.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Finds objects that are new to a target.
#[derive(Debug)]
pub struct Follower {
    target: Target,
    known: HashSet<ObjectId>,
    watch: Option<ExecEvents>,
    /// When to rescan next without a reported `exec`.
    next: Instant,
    /// Whether everything was scanned after the kernel began to report: it did not report what came between the target's
    /// first scan and then.
    caught_up: bool,
    /// Processes that called `exec` since: their libraries are not mapped at once.
    recent_execs: Vec<u32>,
}

impl Follower {
    /// Follows a target whose objects so far are `found`.
    pub fn new(target: &Target, found: &[ScannedObject]) -> Follower {
        Follower {
            target: target.clone(),
            known: found.iter().map(|f| f.object.id).collect(),
            // Without it, objects are found by rescans.
            watch: ExecEvents::start().ok(),
            next: Instant::now(),
            caught_up: false,
            recent_execs: Vec::new(),
        }
    }

    /// Forgets an object that no process maps any more, so that it is new when a process maps it again.
    pub fn forget(&mut self, file: ObjectId) {
        self.known.remove(&file);
    }

    /// Readable when a process has called `exec`; `None` where the kernel does not report it, or without privileges.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(ExecEvents::fd)
    }

    /// The longest time until the next call of [`Follower::poll_new_objects`].
    pub fn next_poll_in(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Objects that are new since the last call.
    ///
    /// # Errors
    ///
    /// Fails when reports of `exec` cannot be read.
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

    /// The path may name another file by now.
    fn file(&self, path: &Path) -> Vec<ScannedObject> {
        let id = std::fs::metadata(path).map(|m| ObjectId { dev: m.dev(), ino: m.ino() });
        match id {
            Ok(id) if !self.known.contains(&id) => discover::scan_file(path).into_iter().collect(),
            // It may be being replaced.
            _ => Vec::new(),
        }
    }

    /// Those reported, and, when a rescan is due, those reported before it, or all where the kernel reports none.
    fn processes(
        &mut self,
        told: Vec<u32>,
        due: bool,
        all: impl FnOnce() -> Vec<u32>,
    ) -> Vec<ScannedObject> {
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
