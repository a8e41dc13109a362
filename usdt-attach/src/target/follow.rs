//! Following a target: finding objects that its processes execute or map after the first scan.
//!
//! The kernel reports every `exec`. A rescan of the reported processes within half a second finds the
//! libraries that they map after the `exec`. If the kernel does not report `exec`, each rescan covers
//! the whole target.

use crate::discover::{self, ObjectId, Scan, ScannedObject};
use crate::error::{Result, Warning};
use crate::kernel::ExecEvents;
use crate::target::{ProcessHandle, Target, cgroup_members, scan_if_alive};
use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often to rescan if no `exec` is reported.
const RESCAN_INTERVAL: Duration = Duration::from_millis(500);

/// Finds objects that are new to a target.
///
/// ```no_run
/// use usdt_attach::Target;
/// use usdt_attach::target::follow::Follower;
///
/// # fn main() -> usdt_attach::Result<()> {
/// let target = Target::host();
/// let mut follower = Follower::new(&target, &target.scan()?.objects);
/// loop {
///     std::thread::sleep(follower.next_poll_in());
///     for object in follower.poll_new_objects()? {
///         println!("new: {}", object.object.path.display());
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Follower {
    target: Target,
    known: HashSet<ObjectId>,
    exec_events: Option<ExecEvents>,
    /// When to rescan next if no `exec` is reported.
    next_rescan: Instant,
    /// True once the whole target has been scanned while the kernel was reporting. The first scan
    /// does not count: objects may have appeared between it and the start of the reports.
    is_caught_up: bool,
    /// Processes reported since the last rescan. They map their libraries some time after the
    /// `exec`.
    recent_execs: Vec<u32>,
    /// The warnings that were returned or are known from the target's own scan.
    warned: HashSet<String>,
    /// True once the whole target has been scanned.
    has_rescanned: bool,
    warnings: Vec<Warning>,
}

impl Follower {
    /// Starts following a target. `objects` are those that are known already.
    ///
    /// Without `CAP_BPF` and `CAP_PERFMON`, the kernel does not report `exec`. The follower then relies on
    /// rescans alone.
    pub fn new(target: &Target, objects: &[ScannedObject]) -> Follower {
        Follower {
            target: target.clone(),
            known: objects.iter().map(|scanned| scanned.object.id).collect(),
            // Rescans are the fallback.
            exec_events: ExecEvents::start().ok(),
            next_rescan: Instant::now(),
            is_caught_up: false,
            recent_execs: Vec::new(),
            warned: HashSet::new(),
            has_rescanned: false,
            warnings: Vec::new(),
        }
    }

    /// Returns the warnings about skipped files since the last call, each once.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Keeps warnings that are new. Those of the first scan are known: it finds what the target's
    /// own scan found.
    fn add_warnings(&mut self, warnings: Vec<Warning>) {
        /// Any user can cause warnings about files with new names.
        const MAX_WARNED: usize = 1000;
        for warning in warnings {
            if self.warned.len() < MAX_WARNED
                && self.warned.insert(warning.to_string())
                && self.has_rescanned
            {
                self.warnings.push(warning);
            }
        }
    }

    /// Forgets an object. If a process maps it again, it is reported as new.
    pub fn forget(&mut self, object: ObjectId) {
        self.known.remove(&object);
    }

    /// A descriptor that becomes readable when a process calls `exec`; `None` if the kernel does not
    /// report `exec`.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.exec_events.as_ref().map(ExecEvents::fd)
    }

    /// The longest time until [`Follower::poll_new_objects`] should be called again, at most 500 ms.
    pub fn next_poll_in(&self) -> Duration {
        self.next_rescan.saturating_duration_since(Instant::now())
    }

    /// Returns the objects that are new since the last call. Objects that cannot be read are left
    /// out.
    ///
    /// # Errors
    ///
    /// Fails when the kernel's `exec` reports cannot be read.
    pub fn poll_new_objects(&mut self) -> Result<Vec<ScannedObject>> {
        let mut reported = Vec::new();
        if let Some(exec_events) = &mut self.exec_events {
            exec_events.drain(&mut reported)?;
        }
        let rescan_is_due = Instant::now() >= self.next_rescan;
        if rescan_is_due {
            self.next_rescan = Instant::now() + RESCAN_INTERVAL;
        } else if reported.is_empty() {
            return Ok(Vec::new());
        }
        let Scan { objects, warnings } = match &self.target {
            Target::Executable(path) => self.scan_file(path),
            Target::Processes(processes) => {
                let alive = processes.iter().filter(|process| process.is_alive());
                let pids: Vec<u32> = alive.map(ProcessHandle::pid).collect();
                reported.retain(|pid| pids.contains(pid));
                self.scan_processes(reported, rescan_is_due, || pids)
            }
            Target::Cgroup(path) => {
                let members = cgroup_members(path).unwrap_or_default();
                reported.retain(|pid| members.contains(pid));
                self.scan_processes(reported, rescan_is_due, || members)
            }
            Target::Host => self.scan_host(reported, rescan_is_due),
            Target::Command(_) => Scan::default(),
        };
        self.add_warnings(warnings);
        self.has_rescanned |= rescan_is_due;
        self.is_caught_up = self.exec_events.is_some();
        Ok(objects.into_iter().filter(|scanned| self.known.insert(scanned.object.id)).collect())
    }

    /// Scans the file if the path refers to another one than before.
    fn scan_file(&self, path: &Path) -> Scan {
        let id = std::fs::metadata(path).map(|m| ObjectId { dev: m.dev(), ino: m.ino() });
        match id {
            Ok(id) if !self.known.contains(&id) => {
                let objects = discover::scan_file(path).into_iter().collect();
                Scan { objects, ..Scan::default() }
            }
            // An upgrade may be about to replace the file.
            _ => Scan::default(),
        }
    }

    /// Scans the reported processes. A due rescan adds those reported before and, until the follower
    /// is caught up, `all`.
    fn scan_processes(
        &mut self,
        reported: Vec<u32>,
        rescan_is_due: bool,
        all: impl FnOnce() -> Vec<u32>,
    ) -> Scan {
        let mut pids = reported.clone();
        if rescan_is_due {
            pids.append(&mut self.recent_execs);
            if !self.is_caught_up {
                pids.extend(all());
            }
        }
        self.recent_execs.extend(reported);
        scan_if_alive(&pids, &self.known)
    }

    fn scan_host(&mut self, reported: Vec<u32>, rescan_is_due: bool) -> Scan {
        if rescan_is_due && !self.is_caught_up {
            let scanned = Target::Host.scan();
            return scanned
                .map(|all| Scan { objects: all.objects, warnings: all.warnings })
                .unwrap_or_default();
        }
        self.scan_processes(reported, rescan_is_due, Vec::new)
    }
}
