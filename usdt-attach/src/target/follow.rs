//! Following a target: finding objects that its processes execute or map after the first scan.
//!
//! The kernel reports every `exec`, and dynamic linkers report every library. A poll twice a second
//! finds processes that map code without a linker that reports it. If the kernel does not report
//! `exec`, each rescan covers the whole target.
//!
//! # Retries
//!
//! An object counts as known when it is returned. A caller that cannot attach to it says so
//! ([`Follower::failed`]), and the object is returned again after a delay that doubles with each
//! failure. A scan for which there are no descriptors left is repeated in the same way. Each retry
//! scans the whole target, because the processes that had the object may have ended while others
//! run it.

mod messages;
mod new_objects;
mod retry;

use crate::discover::kernel_inode;
use crate::discover::select::retain_selected;
use crate::discover::{self, FilesWithoutProbes, NewFiles, ObjectId, ScannedObject};
use crate::error::{Error, Result, Warning, WarningKind};
use crate::kernel::mapped_inodes::KERNEL_INODES;
use crate::kernel::{ExecEvents, ProcessTree};
use crate::target::mapped::Mapped;
pub use crate::target::program::ExecutableChanges;
use crate::target::program::Program;
use crate::target::{ProcessHandle, Target, cgroup_members};
use new_objects::NewObjects;
use retry::Retry;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often to rescan if no `exec` is reported.
const RESCAN_INTERVAL: Duration = Duration::from_millis(500);
/// The number of objects that wait for a retry. Beyond it, all delays begin anew.
const MAX_FAILED: usize = 1 << 14;

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
    /// The processes of the target with the children that they fork, if these are followed.
    children: Option<ProcessTree>,
    /// The processes of a target that names them one by one, and of a command.
    processes: Vec<ProcessHandle>,
    /// Processes that will execute a program which is known: their command.
    before_known_exec: HashSet<u32>,
    mapped: Mapped,
    /// What runs a target that is an executable.
    program: Program,
    /// True once a warning says that the program of a child was not read.
    warned_of_short: bool,
    /// True once a warning says that children are not followed.
    warned_of_lost: bool,
    /// Objects that are not returned again. Those of `failed` are in it until they are due.
    known: HashSet<ObjectId>,
    /// A process that maps each object, as far as the last look has shown one.
    mapped_by: HashMap<ObjectId, u32>,
    /// Objects that could not be attached to.
    failed: HashMap<ObjectId, Retry>,
    without_probes: FilesWithoutProbes,
    /// The process at which the last scan was cut off.
    cut_off_at: Option<u32>,
    /// Set while the last scan of the whole target is incomplete for lack of descriptors.
    incomplete: Option<Retry>,
    exec_events: Option<ExecEvents>,
    /// When to rescan next if no `exec` is reported.
    next_rescan: Instant,
    /// True once the whole target has been scanned while the kernel was reporting. The first scan
    /// does not count: objects may have appeared between it and the start of the reports.
    is_caught_up: bool,
    /// Processes reported since the last rescan. They map their libraries some time after the
    /// `exec`.
    recent_execs: Vec<u32>,
    /// The reasons for skipped files that were returned or are known from the target's own scan.
    warned: HashSet<String>,
    /// True once the whole target has been scanned.
    has_rescanned: bool,
    warnings: Vec<Warning>,
}

impl Follower {
    /// Starts following a target. `objects` are those that are known already.
    ///
    /// Without `CAP_BPF` and `CAP_PERFMON`, the kernel does not report `exec`. The follower then
    /// relies on rescans alone.
    pub fn new(target: &Target, objects: &[ScannedObject]) -> Follower {
        Follower::with_children(target, objects, None)
    }

    /// As [`Follower::new`]. Also follows the children that the processes of the target fork, if
    /// there is a tree of them.
    pub fn with_children(
        target: &Target,
        objects: &[ScannedObject],
        children: Option<&ProcessTree>,
    ) -> Follower {
        kernel_inode::register(KERNEL_INODES);
        let mut follower = Follower {
            target: target.clone(),
            children: children.cloned(),
            warned_of_short: false,
            warned_of_lost: false,
            processes: Vec::new(),
            before_known_exec: HashSet::new(),
            mapped: Mapped::start(target, children),
            program: Program::default(),
            known: objects.iter().map(|scanned| scanned.object.id).collect(),
            mapped_by: HashMap::new(),
            failed: HashMap::new(),
            without_probes: FilesWithoutProbes::default(),
            cut_off_at: None,
            incomplete: None,
            // Rescans are the fallback.
            exec_events: ExecEvents::start(children).ok(),
            next_rescan: Instant::now(),
            is_caught_up: false,
            recent_execs: Vec::new(),
            warned: HashSet::new(),
            has_rescanned: false,
            warnings: Vec::new(),
        };
        match target {
            Target::Processes(all) => all.iter().for_each(|one| follower.add_process(one, false)),
            Target::Executable(_) | Target::Executables(_) => {
                objects.iter().for_each(|one| follower.program.add_version(one));
            }
            _ => {}
        }
        follower
    }

    /// Also follows this process. If it `stops`, it is stopped whenever its dynamic linker maps libraries, until
    /// [`Follower::resume`]: no hit in the file is lost. Only a process that this one has started
    /// may be stopped.
    pub fn add_process(&mut self, process: &ProcessHandle, stops: bool) {
        self.processes.push(process.clone());
        if let Err(error) = self.mapped.add(process, stops) {
            let message = format!("probes of libraries may be missed: {error:#}");
            self.warnings.push(Warning::new(WarningKind::SkippedObject, message));
        }
        self.is_caught_up = false;
    }

    /// Returns the executables to whose processes tracing an object is limited, by the addresses of
    /// their inodes in the kernel; `None` if it is not limited. It is if the target is an executable
    /// and the object a library of its processes.
    pub fn executables(&self, object: ObjectId) -> Option<Vec<u64>> {
        self.program.limit(object)
    }

    /// Returns how the executables have changed since the last call. Sessions that are limited need
    /// them ([`Session::change_executables`](crate::session::Session::change_executables)).
    pub fn take_executables(&mut self) -> ExecutableChanges {
        self.program.take_changes()
    }

    /// Follows the process of a command, which has not executed its program yet. Has no effect on
    /// other targets, whose processes are followed anyway. See [`Follower::add_process`].
    pub fn add_command(&mut self, processes: &[ProcessHandle], stops: bool) {
        let Some(program) = self.target.program() else { return };
        if ObjectId::from_path(&program).is_some_and(|id| self.known.contains(&id)) {
            self.before_known_exec = processes.iter().map(ProcessHandle::pid).collect();
        }
        for process in processes {
            self.add_process(process, stops);
            self.mapped.watch_program(process.pid(), &program);
        }
    }

    /// Returns true if a process is stopped because it maps a file that was not returned yet.
    ///
    /// # Errors
    ///
    /// Fails when the kernel's reports cannot be read.
    pub fn has_stopped(&mut self) -> Result<bool> {
        self.mapped.has_stopped()
    }

    /// Returns true if there are processes that their dynamic linkers stop.
    pub fn stops(&self) -> bool {
        self.mapped.stops()
    }

    /// Returns true if its dynamic linker stops this process.
    pub(crate) fn stops_process(&self, pid: u32) -> bool {
        self.mapped.stops_process(pid)
    }

    /// Continues the processes that are stopped, when their files are attached to.
    pub fn resume(&self) {
        self.mapped.resume();
    }

    /// Stops no more processes, and continues those that are stopped.
    pub fn release_processes(&mut self) {
        self.mapped.stop();
    }

    /// Forgets an object. If a process maps it again, it is reported as new.
    pub fn forget(&mut self, object: ObjectId) {
        self.known.remove(&object);
        self.failed.remove(&object);
    }

    /// Notes that a returned object is attached to. Returns true if that had failed before.
    pub fn attached(&mut self, object: ObjectId) -> bool {
        self.known.insert(object);
        self.failed.remove(&object).is_some()
    }

    /// Notes that there is nothing to attach to in a returned object. It is returned again when the
    /// file has changed.
    pub fn ignored(&mut self, scanned: &ScannedObject) {
        self.forget(scanned.object.id);
        self.without_probes.insert(&scanned.object);
    }

    /// Keeps those of the returned objects that have a probe which the globs select, and notes that
    /// there is nothing to attach to in the others. Without globs, every probe is selected.
    pub fn retain_selected(&mut self, objects: &mut Vec<ScannedObject>, globs: &[String]) {
        retain_selected(objects, globs, |object| self.ignored(object));
    }

    /// Notes that a returned object cannot be attached to at present. It is returned again, after
    /// 0.5 s at first and 30 s at last. Returns true if this is its first failure.
    pub fn failed(&mut self, object: ObjectId) -> bool {
        if self.failed.len() >= MAX_FAILED {
            for (id, _) in self.failed.drain() {
                self.known.remove(&id);
            }
        }
        let last = self.failed.get(&object).copied();
        self.failed.insert(object, Retry::after(last));
        self.known.insert(object);
        last.is_none()
    }

    /// Returns the warnings since the last call: about scans that are incomplete, and about skipped
    /// files, each once.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Makes the next poll scan the whole target, also the files without selected probes.
    pub fn look_again(&mut self) {
        self.without_probes = FilesWithoutProbes::default();
        (self.is_caught_up, self.next_rescan) = (false, Instant::now());
    }

    /// Warns of skipped files that are new. Those of the first scan are known: it finds what the
    /// target's own scan found.
    fn warn_of_skipped(&mut self, skipped: Vec<String>) {
        /// Any user can cause warnings about files with new names.
        const MAX_WARNED: usize = 1000;
        for reason in skipped {
            if self.warned.len() < MAX_WARNED
                && self.warned.insert(reason.clone())
                && self.has_rescanned
            {
                self.warnings.push(Warning::new(WarningKind::SkippedObject, reason));
            }
        }
    }

    /// Returns those of the objects that may be hit, and forgets the others: a process maps them, or
    /// the next process of the target will. `None` if that cannot be found out because there are no
    /// descriptors left.
    ///
    /// # Errors
    ///
    /// `Io` if `/proc` cannot be read.
    pub fn live_objects(
        &mut self,
        objects: &HashSet<ObjectId>,
    ) -> Result<Option<HashSet<ObjectId>>> {
        let mut live = match discover::still_mapped(objects, &mut self.mapped_by) {
            Err(error) if error.is_resource_limit() => return Ok(None),
            live => live?,
        };
        live.extend(self.target.executables().iter().filter_map(|path| ObjectId::from_path(path)));
        objects.difference(&live).for_each(|id| self.forget(*id));
        Ok(Some(live))
    }

    /// Descriptors that become readable when a process calls `exec` or maps a file; none if the
    /// kernel does not report that.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let exec_events = self.exec_events.as_ref().map(ExecEvents::fd);
        exec_events.into_iter().chain(self.mapped.fd())
    }

    /// The longest time until [`Follower::poll_new_objects`] should be called again, at most 500 ms.
    pub fn next_poll_in(&self) -> Duration {
        let next_scan = self.mapped.next_scan().unwrap_or(self.next_rescan);
        next_scan.min(self.next_rescan).saturating_duration_since(Instant::now())
    }

    /// Returns the objects that are new since the last call, or whose retry is due. Objects that
    /// cannot be read are left out.
    ///
    /// # Errors
    ///
    /// Fails when the kernel's `exec` reports cannot be read.
    pub fn poll_new_objects(&mut self) -> Result<Vec<ScannedObject>> {
        let mut reported = Vec::new();
        if let Some(exec_events) = &mut self.exec_events
            && !exec_events.drain(&mut reported)?
        {
            // Any process may be among those that are missing.
            self.is_caught_up = false;
        }
        let executed =
            if self.children.is_some() { self.unknown_execs(&reported) } else { Vec::new() };
        let (mapped, is_complete) = self.mapped.take()?;
        self.is_caught_up &= is_complete;
        reported.extend(mapped);
        let rescan_is_due = Instant::now() >= self.next_rescan;
        if rescan_is_due {
            self.next_rescan = Instant::now() + RESCAN_INTERVAL;
        } else if reported.is_empty() {
            return Ok(Vec::new());
        }
        let retried: Vec<ObjectId> =
            self.failed.iter().filter(|(_, retry)| retry.is_due()).map(|(id, _)| *id).collect();
        for id in &retried {
            self.known.remove(id);
        }
        let retry_is_due = !retried.is_empty() || self.incomplete.is_some_and(|r| r.is_due());
        let covers_all = rescan_is_due && (!self.is_caught_up || retry_is_due);
        let NewObjects { objects, skipped, result, has_more } = match self.target.clone() {
            target @ (Target::Executable(_) | Target::Executables(_)) => {
                let mut new = self.scan_files(target.executables());
                new.objects.iter().for_each(|one| self.program.add_version(one));
                let libraries = self.scan_processes(&target, reported, rescan_is_due, covers_all);
                new.add_libraries(libraries, &mut self.program);
                new
            }
            target => self.scan_processes(&target, reported, rescan_is_due, covers_all),
        };
        self.warn_of_children(&executed, rescan_is_due)?;
        self.warn_of_skipped(skipped);
        self.has_rescanned |= rescan_is_due;
        let is_complete = covers_all && !has_more && result.is_ok();
        self.note_completeness(result, covers_all);
        self.is_caught_up = self.exec_events.is_some() && (covers_all || self.is_caught_up);
        if has_more {
            (self.is_caught_up, self.next_rescan) = (false, Instant::now());
        }
        if is_complete {
            self.program.forget_stale();
        } else if rescan_is_due && self.program.has_stale() {
            // A child of the last process that is known may run it.
            self.is_caught_up = false;
        }
        if is_complete {
            // What no process maps any more is not retried.
            for id in retried {
                if !objects.iter().any(|scanned| scanned.object.id == id) {
                    self.failed.remove(&id);
                }
            }
        } else {
            self.known.extend(retried);
        }
        Ok(objects.into_iter().filter(|scanned| self.known.insert(scanned.object.id)).collect())
    }

    /// Leaves out the first `exec` of a command, which is that of its own program.
    fn unknown_execs(&mut self, reported: &[u32]) -> Vec<u32> {
        reported.iter().copied().filter(|pid| !self.before_known_exec.remove(pid)).collect()
    }

    /// Warns of the first scan that is incomplete, and schedules its retry.
    fn note_completeness(&mut self, result: std::result::Result<(), Error>, covers_all: bool) {
        match result {
            Err(error) => {
                if self.incomplete.is_none() {
                    let message =
                        format!("cannot read new files of the target: {error:#}; trying again");
                    self.warnings.push(Warning::new(WarningKind::SkippedObject, message));
                }
                if covers_all || self.incomplete.is_none() {
                    self.incomplete = Some(Retry::after(self.incomplete));
                }
            }
            Ok(()) if covers_all && self.incomplete.take().is_some() => {
                let message = "the new files of the target are read again";
                self.warnings.push(Warning::new(WarningKind::AttachedLate, message));
            }
            Ok(()) => {}
        }
    }

    /// Scans the files whose paths refer to others than before.
    fn scan_files(&self, paths: &[PathBuf]) -> NewObjects {
        let mut new = NewObjects::default();
        paths.iter().for_each(|path| self.scan_file(path, &mut new));
        new
    }

    fn scan_file(&self, path: &Path, new: &mut NewObjects) {
        if ObjectId::from_path(path).is_some_and(|id| !self.known.contains(&id)) {
            match discover::scan_file(path) {
                Ok(scanned) => new.objects.push(scanned),
                Err(error) if error.is_resource_limit() => new.result = Err(error),
                // An upgrade may be about to replace the file.
                Err(_) => {}
            }
        }
    }

    /// Scans the reported processes that belong to the target. A due rescan adds those reported
    /// before and, if it covers all, every process of the target.
    fn scan_processes(
        &mut self,
        target: &Target,
        mut reported: Vec<u32>,
        rescan_is_due: bool,
        covers_all: bool,
    ) -> NewObjects {
        let is_host = matches!(target, Target::Host);
        let needs_members = rescan_is_due || covers_all || !is_host && !reported.is_empty();
        let members = needs_members.then(|| self.processes_of(target, covers_all)).transpose();
        let mut members = match members {
            Ok(members) => members.unwrap_or_default(),
            Err(error) => {
                // The next rescan finds out which of them belong to the target.
                self.recent_execs.extend(reported);
                return NewObjects { result: Err(error), ..NewObjects::default() };
            }
        };
        let program = matches!(target, Target::Executable(_) | Target::Executables(_))
            .then_some(&mut self.program);
        if let Some(program) = program {
            if covers_all {
                program.retain_running();
            }
            reported.retain(|pid| program.is_run_by(*pid));
            if covers_all {
                members.retain(|pid| program.is_run_by(*pid));
            }
        } else if !is_host {
            reported.retain(|pid| members.contains(pid));
        }
        if rescan_is_due {
            reported.extend(self.mapped.poll(&members));
        }
        reported.sort_unstable();
        reported.dedup();
        let mut pids = reported.clone();
        if rescan_is_due {
            pids.append(&mut self.recent_execs);
            if covers_all {
                pids.extend(members);
            }
            pids.sort_unstable();
            pids.dedup();
        }
        self.recent_execs.extend(reported);
        if pids.is_empty() {
            return NewObjects::default();
        }
        // After a scan that was cut off, the others come first: a process whose files change all the
        // time must not use up the time of each scan.
        if let Some(last) = self.cut_off_at.take() {
            let first = pids.partition_point(|pid| *pid <= last);
            pids.rotate_left(first);
        }
        let mut files = NewFiles::new(&self.known, &mut self.without_probes);
        let mut result = Ok(());
        for pid in pids {
            self.mapped.watch(pid, &files.mounts);
            if let Err(error) = files.add_process(pid) {
                result = Err(error);
            }
            if files.is_full() {
                self.cut_off_at = Some(pid);
                break;
            }
        }
        NewObjects {
            has_more: files.is_full(),
            objects: files.objects,
            skipped: files.skipped,
            result,
        }
    }

    /// Ids of the processes of a target that exist now; none if the target itself has gone.
    ///
    /// # Errors
    ///
    /// `ResourceLimit` if they cannot be listed because there are no descriptors left.
    fn processes_of(&self, target: &Target, covers_all: bool) -> Result<Vec<u32>> {
        let pids = match (&self.children, target) {
            (Some(children), _) => children.processes(),
            (None, Target::Processes(_) | Target::Command(_)) => {
                let alive = self.processes.iter().filter(|process| process.is_alive());
                Ok(alive.map(ProcessHandle::pid).collect())
            }
            (None, Target::Cgroup(path)) => cgroup_members(path),
            (None, Target::Host) => discover::pids(),
            (None, Target::Executable(_) | Target::Executables(_)) if covers_all => {
                discover::pids()
            }
            (None, Target::Executable(_) | Target::Executables(_)) => Ok(self.program.processes()),
        };
        pids.or_else(|error| if error.is_resource_limit() { Err(error) } else { Ok(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> Follower {
        Follower::new(&Target::pid(std::process::id()).unwrap(), &[])
    }

    fn ids(objects: &[ScannedObject]) -> HashSet<ObjectId> {
        objects.iter().map(|scanned| scanned.object.id).collect()
    }

    /// Makes the next rescan and the retries due.
    fn pass_time(follower: &mut Follower) {
        follower.next_rescan = Instant::now();
        let due = Instant::now();
        follower.failed.values_mut().for_each(|retry| retry.at = due);
    }

    #[test]
    fn returns_a_failed_object_again_after_a_delay() {
        let mut follower = follower();
        let own = ObjectId::from_path(&std::env::current_exe().unwrap()).unwrap();
        assert!(ids(&follower.poll_new_objects().unwrap()).contains(&own));
        assert!(follower.failed(own), "the first failure");
        follower.next_rescan = Instant::now();
        assert!(!ids(&follower.poll_new_objects().unwrap()).contains(&own), "no delay");
        pass_time(&mut follower);
        assert!(ids(&follower.poll_new_objects().unwrap()).contains(&own));
        assert!(!follower.failed(own), "a further failure");
        pass_time(&mut follower);
        assert!(ids(&follower.poll_new_objects().unwrap()).contains(&own));
        assert!(follower.attached(own), "it had failed before");
        pass_time(&mut follower);
        assert!(!ids(&follower.poll_new_objects().unwrap()).contains(&own), "attached twice");
    }

    #[test]
    fn returns_ignored_objects_again_after_a_reload() {
        let mut follower = follower();
        let own = ObjectId::from_path(&std::env::current_exe().unwrap()).unwrap();
        let found = follower.poll_new_objects().unwrap();
        follower.ignored(found.iter().find(|scanned| scanned.object.id == own).unwrap());
        for _ in 0..2 {
            pass_time(&mut follower);
            assert!(!ids(&follower.poll_new_objects().unwrap()).contains(&own));
        }
        follower.look_again();
        assert!(ids(&follower.poll_new_objects().unwrap()).contains(&own));
    }

    #[test]
    fn does_not_retry_an_object_that_no_process_maps() {
        let mut follower = follower();
        let gone = ObjectId { dev: 1, ino: u64::MAX, address: 0 };
        follower.failed(gone);
        pass_time(&mut follower);
        follower.poll_new_objects().unwrap();
        assert!(follower.failed.is_empty());
    }

    #[test]
    fn bounds_the_objects_that_wait_for_a_retry() {
        let mut follower = follower();
        for ino in 0..2 * MAX_FAILED as u64 + 2 {
            follower.failed(ObjectId { dev: 1, ino, address: 0 });
        }
        assert!(follower.failed.len() <= MAX_FAILED && follower.known.len() <= MAX_FAILED);
    }

    #[test]
    fn the_first_exec_of_a_command_is_that_of_its_own_program() {
        let own = std::env::current_exe().unwrap();
        let process = ProcessHandle::open(std::process::id()).unwrap();
        let pid = process.pid();
        let target = Target::Command(vec![own.clone().into()]);
        for (objects, first) in
            [(vec![discover::scan_file(&own).unwrap()], vec![]), (vec![], vec![pid])]
        {
            let mut follower = Follower::new(&target, &objects);
            follower.add_command(std::slice::from_ref(&process), false);
            assert_eq!(follower.unknown_execs(&[pid]), first);
            assert_eq!(follower.unknown_execs(&[pid]), [pid]);
        }
    }

    #[test]
    fn warns_once_of_an_incomplete_scan() {
        let mut follower = follower();
        let shortage = || Err(Error::open("/a", std::io::Error::from_raw_os_error(libc::EMFILE)));
        follower.note_completeness(shortage(), true);
        follower.note_completeness(shortage(), true);
        let warnings = follower.take_warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].to_string().contains("/a"), "{warnings:?}");
        follower.note_completeness(Ok(()), true);
        assert_eq!(follower.take_warnings().len(), 1);
        follower.note_completeness(Ok(()), true);
        assert!(follower.take_warnings().is_empty());
    }
}
