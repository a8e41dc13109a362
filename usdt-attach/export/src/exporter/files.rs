//! The files of the target: attaching to new ones, trying again, and detaching from old ones.

use super::Exporter;
use crate::job::Job;
use std::collections::HashSet;
use usdt_attach::discover::select::select_if_any;
use usdt_attach::discover::{self, ObjectId, ScannedObject, is_process_alive};
use usdt_attach::error::Escaped;
use usdt_attach::error::{Error, ErrorKind, Result};
use usdt_attach::target::Target;
use usdt_attach::target::follow::Follower;

impl Exporter<'_> {
    /// Attaches to files that processes of the target have begun to run.
    pub(super) fn attach_new_files(&mut self) -> Result<()> {
        let Some(follower) = &mut self.follower else { return Ok(()) };
        let mut found = follower.poll_new_objects()?;
        for warning in follower.take_warnings() {
            (self.report)(warning.to_string());
        }
        if found.is_empty() {
            return Ok(());
        }
        let globs: Vec<String> = self.jobs.iter().flat_map(Job::globs).cloned().collect();
        discover::add_function_entries(&mut found, &globs);
        found.retain(|file| {
            let is_selected = is_selected(file, &globs);
            if !is_selected {
                follower.ignored(file);
            }
            is_selected
        });
        for files in attach_groups(&self.settings.target, &found) {
            self.heartbeat.beat();
            let processes = self.settings.processes.as_deref();
            let mut attach =
                |job: &mut Job| job.attach(files, processes, self.backend, self.report);
            // A new file that cannot be attached to must not end the exporter. The jobs that are
            // attached to it stay so.
            match self.jobs.iter_mut().try_for_each(&mut attach) {
                Err(error) => retry(follower, files, &error, self.report),
                Ok(()) => {
                    for file in files.iter().filter(|file| follower.attached(file.object.id)) {
                        (self.report)(format!(
                            "attached to {} after all",
                            Escaped::new(&file.object.path)
                        ));
                    }
                }
            }
        }
        let is_new = |file: &ScannedObject| {
            self.settings.found.iter().all(|known| known.object.id != file.object.id)
        };
        found.retain(is_new);
        self.settings.found.extend(found);
        Ok(())
    }

    /// Adds the files of the target that no entry has selected so far.
    pub(super) fn find_unselected(&mut self, globs: &[String]) {
        if matches!(self.settings.target, Target::Processes(_) | Target::Command(_)) {
            return;
        }
        // The file of an executable may be missing at present.
        let Ok(resolved) = self.settings.target.scan() else { return };
        let known: HashSet<ObjectId> = self.settings.found.iter().map(|f| f.object.id).collect();
        let mut found = resolved.objects;
        found.retain(|file| !known.contains(&file.object.id));
        discover::add_function_entries(&mut found, globs);
        self.settings.found.extend(found);
    }

    /// Closes files that no entry selects. Any user can run any number of files with probes.
    pub(super) fn close_unselected(&mut self) {
        let Some(follower) = &mut self.follower else { return };
        if matches!(self.settings.target, Target::Processes(_)) {
            return;
        }
        let globs: Vec<String> = self.jobs.iter().flat_map(Job::globs).cloned().collect();
        self.settings.found.retain(|file| {
            let is_selected = is_selected(file, &globs);
            if !is_selected {
                follower.ignored(file);
            }
            is_selected
        });
    }

    /// Detaches from files that no process runs any more, and forgets processes that have ended.
    pub(super) fn clean_up(&mut self) -> Result<()> {
        let mut known: HashSet<ObjectId> = self.jobs.iter().flat_map(Job::objects).collect();
        known.extend(self.settings.found.iter().map(|f| f.object.id));
        if matches!(self.settings.target, Target::Host | Target::Cgroup(_) | Target::Executable(_))
        {
            let live = match &self.follower {
                Some(follower) => follower.live_objects(&known),
                None => discover::still_mapped(&known),
            };
            let live = match live {
                // Nothing is detached from: the next clean-up knows which files are still mapped.
                Err(error) if error.kind() == ErrorKind::ResourceLimit => return Ok(()),
                other => other?,
            };
            for job in &mut self.jobs {
                job.detach_stale(&live)?;
            }
            if let Some(follower) = &mut self.follower {
                known.difference(&live).for_each(|id| follower.forget(*id));
            }
            self.settings.found.retain(|f| live.contains(&f.object.id));
        }
        self.services.retain(|pid, _| is_process_alive(*pid));
        for pairing in self.jobs.iter_mut().filter_map(|job| job.pairing.as_mut()) {
            pairing.discard_processes(is_process_alive);
        }
        Ok(())
    }
}

/// Whether a glob matches a probe of the file.
fn is_selected(file: &ScannedObject, globs: &[String]) -> bool {
    !select_if_any(std::slice::from_ref(file), globs).is_empty()
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
    match target {
        _ if found.is_empty() => Vec::new(),
        Target::Processes(_) | Target::Command(_) => vec![found],
        Target::Host | Target::Cgroup(_) | Target::Executable(_) => found.chunks(1).collect(),
    }
}
