//! The jobs of a configuration: starting those that are new, and ending those that it no longer has.

use super::Exporter;
use super::files::{Traced, attach_groups, is_refusal, retry};
use crate::config::Config;
use crate::job::{Entry, Job, Scope, entries};
use std::collections::HashSet;
use std::sync::Arc;
use usdt_attach::discover::ScannedObject;
use usdt_attach::discover::select::Selected;
use usdt_attach::error::Result;

impl Config {
    /// Returns the sites in files that the entries attach to, each once.
    pub fn sites(&self, found: &[ScannedObject]) -> Vec<Selected> {
        let mut known = HashSet::new();
        let scope = Scope::new(&self.limits, false);
        // `check` has reported entries that are not valid.
        let jobs = entries(self).into_iter().filter_map(|entry| Job::new(entry, &scope).ok());
        let mut sites: Vec<Selected> = jobs.flat_map(|job| job.sites_in(found)).collect();
        sites.retain(|site| known.insert(Arc::as_ptr(&site.probe)));
        sites
    }
}

impl Exporter<'_> {
    /// Replaces the jobs by those of a configuration. Jobs that have not changed go on. If a new
    /// job cannot be started, all jobs stay as they are.
    pub(super) fn apply_entries(&mut self, config: &Config) -> Result<()> {
        let by_process = self.has_several_owners();
        let scope = Scope {
            cgroup: self.settings.target.cgroup().map(Into::into),
            children: self.settings.children.clone(),
            ..Scope::new(&config.limits, by_process)
        };
        let entries = entries(config);
        let mut jobs = Vec::new();
        for entry in &entries {
            if self.jobs.iter().chain(&jobs).any(|job| job.matches(entry, &scope)) {
                continue;
            }
            let found = std::mem::take(&mut self.settings.found);
            let started = self.start_job(entry, &scope, &found);
            self.settings.found = found;
            match started {
                Ok(job) => jobs.push(job),
                Err(error) => {
                    Job::start_stopping(&mut jobs);
                    self.discarded_jobs.extend(jobs);
                    return Err(error);
                }
            }
        }
        let is_kept = |job: &Job| entries.iter().any(|entry| job.matches(entry, &scope));
        let (kept, mut removed): (Vec<Job>, Vec<Job>) = self.jobs.drain(..).partition(is_kept);
        jobs.extend(kept);
        jobs.sort_by_key(|job| entries.iter().position(|entry| job.matches(entry, &scope)));
        self.jobs = jobs;
        Job::start_stopping(&mut removed);
        self.removed_jobs.extend(removed);
        Ok(())
    }

    /// Ends the jobs that have detached since a reload removed them, and queues their last spans.
    /// The kernel takes up to 50 ms to detach, during which the other jobs go on.
    pub(super) fn finish_removed(&mut self) -> Result<()> {
        self.discarded_jobs.retain(|job| !job.has_stopped());
        let mut stopped: Vec<Job> =
            self.removed_jobs.extract_if(.., |job| job.has_stopped()).collect();
        self.finish_spans(&mut stopped)
    }

    /// Creates a job and attaches it to files.
    fn start_job(&mut self, entry: &Entry, scope: &Scope, found: &[ScannedObject]) -> Result<Job> {
        let mut job = Job::new(entry.clone(), scope)?;
        if !self.settings.wait_for_probes {
            job.check_globs(found)?;
        }
        let comes_and_goes = self.settings.target.has_changing_files();
        let mut last_error = None;
        for files in attach_groups(&self.settings.target, found) {
            self.stay_responsive()?;
            if self.requests.is_stopping() {
                return Ok(job);
            }
            let traced = Traced::of(&self.settings, &self.follower, files);
            match job.attach(files, &traced, self.backend, self.report) {
                // One of several files must not keep the exporter from the others.
                Err(error) if comes_and_goes && !is_refusal(&error) => {
                    retry(&mut self.follower, files, &error, self.report);
                    last_error = Some(error);
                }
                result => result?,
            }
        }
        match last_error {
            Some(error) if job.sites() == 0 && !self.settings.wait_for_probes => Err(error),
            _ => Ok(job),
        }
    }
}
