//! The files of the target: attaching to new ones, trying again, and detaching from old ones.

use super::{Exporter, Settings};
use crate::config::Config;
use crate::job::Job;
use std::collections::HashSet;
use usdt_attach::discover::{self, FunctionOptions, ObjectId, ScannedObject, is_process_alive};
use usdt_attach::error::{Error, ErrorKind, Escaped, Result};
use usdt_attach::target::follow::Follower;
use usdt_attach::target::{ProcessHandle, Target};

impl Exporter<'_> {
    /// Attaches to files that processes of the target have begun to run.
    pub(super) fn attach_new_files(&mut self) -> Result<()> {
        let result = self.attach_found();
        let executables = self.follower.take_executables();
        self.jobs.iter().try_for_each(|job| job.change_executables(&executables))?;
        self.follower.resume();
        result
    }

    fn attach_found(&mut self) -> Result<()> {
        let mut found = self.follower.poll_new_objects()?;
        for warning in self.follower.take_warnings() {
            (self.report)(warning.to_string());
        }
        if found.is_empty() {
            return Ok(());
        }
        let globs: Vec<String> = self.jobs.iter().flat_map(Job::globs).cloned().collect();
        discover::add_functions(&mut found, &globs, &self.settings.function_options());
        self.follower.retain_selected(&mut found, &globs);
        self.publish_snapshot()?;
        for files in attach_groups(&self.settings.target, &found) {
            self.stay_responsive()?;
            if self.requests.is_stopping() {
                return Ok(());
            }
            self.attach_group(files);
        }
        let is_new = |file: &ScannedObject| {
            self.settings.found.iter().all(|known| known.object.id != file.object.id)
        };
        found.retain(is_new);
        self.settings.found.extend(found);
        self.has_attached |= self.sites() > 0;
        Ok(())
    }

    /// Attaches the jobs to files that are new. If one cannot be attached to, it is tried again: it
    /// must not end the exporter, and the jobs that are attached to it stay so.
    fn attach_group(&mut self, files: &[ScannedObject]) {
        let follower = &mut self.follower;
        let traced = Traced::of(&self.settings, follower, files);
        let mut attach = |job: &mut Job| job.attach(files, &traced, self.backend, self.report);
        if let Err(error) = self.jobs.iter_mut().try_for_each(&mut attach) {
            retry(follower, files, &error, self.report);
            return;
        }
        if self.settings.children.is_some() {
            let missed = files.iter().filter_map(|file| follower.missed_hits(file));
            missed.for_each(&mut *self.report);
        }
        for file in files.iter().filter(|file| follower.attached(file.object.id)) {
            (self.report)(format!("attached to {} after all", Escaped::new(&file.object.path)));
        }
    }

    /// Finds the functions that a new configuration names, with the arguments that it names, in the
    /// files that are known, and adds the files of the target that no entry has selected so far.
    pub(super) fn find_unselected(&mut self, new: &Config) {
        let globs = &new.globs();
        let debug_files = self.settings.debug_files.clone();
        let options = &FunctionOptions { debug_files, ..new.function_options() };
        for file in &mut self.settings.found {
            file.probes.retain(|probe| !probe.is_function());
            let reported = std::mem::take(&mut file.warnings);
            discover::add_functions(std::slice::from_mut(file), globs, options);
            for warning in &file.warnings {
                if reported.iter().all(|known| known.to_string() != warning.to_string()) {
                    (self.report)(warning.to_string());
                }
            }
        }
        self.follower.look_again();
        if !self.settings.target.has_changing_files() {
            return;
        }
        // The file of an executable may be missing at present.
        let Ok(resolved) = self.settings.target.scan() else { return };
        let known: HashSet<ObjectId> = self.settings.found.iter().map(|f| f.object.id).collect();
        let mut found = resolved.objects;
        found.retain(|file| !known.contains(&file.object.id));
        discover::add_functions(&mut found, globs, options);
        self.settings.found.extend(found);
    }

    /// Closes files that no entry selects. Any user can run any number of files with probes.
    pub(super) fn close_unselected(&mut self) {
        if !self.settings.target.has_changing_files() {
            return;
        }
        let globs: Vec<String> = self.jobs.iter().flat_map(Job::globs).cloned().collect();
        self.follower.retain_selected(&mut self.settings.found, &globs);
    }

    /// Begins to detach from files that no process runs any more.
    fn detach_stale_files(&mut self) -> Result<()> {
        let mut known: HashSet<ObjectId> = self.jobs.iter().flat_map(Job::objects).collect();
        known.extend(self.settings.found.iter().map(|f| f.object.id));
        // Without descriptors nothing is detached from: the next clean-up knows what is mapped.
        let Some(live) = self.follower.live_objects(&known)? else { return Ok(()) };
        for job in &mut self.jobs {
            job.detach_stale(&live, &mut self.owners)?;
        }
        self.settings.found.retain(|f| live.contains(&f.object.id));
        Ok(())
    }

    /// Detaches from files that no process runs any more, and forgets processes that have ended.
    pub(super) fn clean_up(&mut self) -> Result<()> {
        if self.settings.target.has_changing_files() {
            self.detach_stale_files()?;
        }
        self.discard_processes(is_process_alive);
        // Queued spans need the names of their processes.
        self.send_spans();
        let processes = self.settings.processes.iter().flatten();
        let kept: Vec<u32> = processes.map(ProcessHandle::pid).collect();
        let over = self.owners.clean_up(&kept);
        self.jobs.iter_mut().for_each(|job| job.forget_owners(&over));
        Ok(())
    }
}

/// Whose hits of some files are taken.
pub(crate) struct Traced<'s> {
    /// The processes of a target that names them one by one.
    pub(crate) processes: Option<&'s [ProcessHandle]>,
    /// The executables to whose processes hits are limited; see [`Follower::executables`].
    pub(crate) executables: Option<Vec<u64>>,
}

impl<'s> Traced<'s> {
    pub(super) fn of(
        settings: &'s Settings,
        follower: &Follower,
        files: &[ScannedObject],
    ) -> Traced<'s> {
        let executables = files.first().and_then(|file| follower.executables(file.object.id));
        Traced { processes: settings.processes.as_deref(), executables }
    }
}

/// Whether an error is about this process or the kernel and not about a file.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Permission | ErrorKind::Unsupported { .. })
}

/// Reports files that cannot be attached to, and has them tried again.
pub(super) fn retry(
    follower: &mut Follower,
    files: &[ScannedObject],
    error: &Error,
    report: &mut dyn FnMut(String),
) {
    for file in files {
        if follower.failed(file.object.id) {
            report(format!(
                "trying again to attach to {}: {error:#}",
                Escaped::new(&file.object.path)
            ));
        }
    }
}

/// Groups files that share a session. If files come and go, each has a session of its own, so that
/// it can be detached from without the others.
pub(super) fn attach_groups<'f>(
    target: &Target,
    found: &'f [ScannedObject],
) -> Vec<&'f [ScannedObject]> {
    match target.has_changing_files() {
        _ if found.is_empty() => Vec::new(),
        false => vec![found],
        true => found.chunks(1).collect(),
    }
}
