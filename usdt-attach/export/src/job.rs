//! One entry of the configuration: its sessions, and the totals of sessions that have ended.
//!
//! # Owners
//!
//! The hits of several processes have several owners: services and containers. If they can come
//! from more than one, the kernel aggregates them by process. The rows of a process belong to its
//! owner. When it ends, they are taken from the kernel and retained, so that the table has space for
//! others. They are also taken when it executes another program, which may have another owner.
//!
//! A job has one session per file if the files of its target come and go, so that it can detach
//! from a file that no process runs any more. The totals of such a file are retained: a counter
//! must not decrease.

mod attached;
mod description;

use self::attached::{AttachedSession, MAX_FIRST_PROCESSES, OwnedRows, merge_owned, processes_of};
use self::description::{Description, unit_of};
use crate::config::{Config, Count, Hist, Latency, Limits, LinearBuckets, Span, Unit};
use crate::exporter::Traced;
use crate::metric::{Family, series};
use crate::owner::Owner;
use crate::owners::Owners;
use crate::span::{Pairing, SpanBuffer, tells_parents};
use indexmap::IndexMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use usdt_attach::backend::Backend;
use usdt_attach::discover::select::{Glob, Selected, select, select_if_any};
use usdt_attach::discover::{ObjectId, ScannedObject};
use usdt_attach::error::{Error, Result};
use usdt_attach::event::counts::{Histogram, Row, Total};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::kernel::ProcessTree;
use usdt_attach::plan::{Mode, Options, Plan, PlannedObject, PlannedProbe, Scale};
use usdt_attach::session::{Session, Summary, check_ids};
use usdt_attach::target::follow::ExecutableChanges;

/// What a job exports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Count(Count),
    Hist(Hist),
    Latency(Latency),
    /// All span entries together: a span can enclose those of other entries only if the events of
    /// all come in one order.
    Spans(Vec<Span>),
}

/// The cgroup or the processes that a job traces, and its limits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    pub(crate) cgroup: Option<PathBuf>,
    /// The processes of the target with the children that they fork, if these are traced.
    pub(crate) children: Option<ProcessTree>,
    /// Whether hits can come from processes of several owners.
    pub(crate) by_process: bool,
    /// The maximum number of label combinations per session.
    pub(crate) max_series: u32,
    /// The size of the event buffer for spans; a power of two. `None` for the default.
    pub(crate) buffer_bytes: Option<u32>,
    pub(crate) max_open_spans: usize,
}

impl Scope {
    /// The scope of a job that traces every process, with the limits of a configuration.
    pub(crate) fn new(limits: &Limits, by_process: bool) -> Scope {
        Scope {
            cgroup: None,
            children: None,
            by_process,
            max_series: limits.series,
            buffer_bytes: limits.buffer,
            max_open_spans: limits.open_spans,
        }
    }
}

/// The length in bytes to which string attributes are truncated.
const MAX_STRING: u32 = 256;

/// An entry of the configuration, with its sessions.
pub(crate) struct Job {
    entry: Entry,
    scope: Scope,
    globs: Vec<String>,
    options: Options,
    sessions: Vec<AttachedSession>,
    /// The event buffer of spans.
    span_buffer: SpanBuffer,
    /// Files whose probes cannot be planned, which was reported.
    unplanned: HashSet<ObjectId>,
    /// The totals of processes and sessions that have ended.
    retained_rows: OwnedRows,
    /// The hit counts of sessions that have ended.
    retained_summary: Summary,
    /// Set if the entry is that of spans.
    pub(crate) pairing: Option<Pairing>,
}

/// Returns the entries of a configuration.
pub(crate) fn entries(config: &Config) -> Vec<Entry> {
    let mut out: Vec<Entry> = config.count.iter().cloned().map(Entry::Count).collect();
    out.extend(config.hist.iter().cloned().map(Entry::Hist));
    out.extend(config.latency.iter().cloned().map(Entry::Latency));
    if !config.span.is_empty() {
        out.push(Entry::Spans(config.span.clone()));
    }
    out
}

impl Job {
    /// Creates a job that is not attached yet. Fails only if the entry has not passed
    /// [`Config::check`].
    pub(crate) fn new(entry: Entry, scope: &Scope) -> Result<Job> {
        let mut options = Options {
            cgroup: scope.cgroup.clone(),
            children: scope.children.clone(),
            entries: scope.max_series,
            by_process: scope.by_process,
            ..Options::default()
        };
        let globs;
        let mut pairing = None;
        match &entry {
            Entry::Count(count) => {
                options.mode = Mode::Count { by: parse_subjects(&count.labels)? };
                options.filter = parse_filter(&count.filter)?;
                globs = count.probes.0.clone();
            }
            Entry::Hist(hist) => {
                let value = parse_subject(&hist.value)?;
                let scale = match hist.buckets {
                    Some(LinearBuckets { start, end, width }) => {
                        Scale::Linear { low: start, high: end, step: width }
                    }
                    None => unit_of(hist).scale(),
                };
                options.mode = Mode::Histogram { value, scale, by: parse_subjects(&hist.labels)? };
                options.filter = parse_filter(&hist.filter)?;
                globs = hist.probes.0.clone();
            }
            Entry::Latency(latency) => {
                options.mode = Mode::Latency {
                    start: Glob::new(&latency.start),
                    end: Glob::new(&latency.end),
                    key: latency.key.as_deref().map(parse_subject).transpose()?,
                    by: parse_subjects(&latency.labels)?,
                    scale: Unit::Ns.scale(),
                };
                options.filter = parse_filter(&latency.filter)?;
                globs = vec![latency.start.clone(), latency.end.clone()];
            }
            Entry::Spans(spans) => {
                options.max_string = MAX_STRING;
                options.call_frames = true;
                globs = spans.iter().flat_map(|s| [s.start.clone(), s.end.clone()]).collect();
                pairing = Some(Pairing::new(spans, scope.max_open_spans));
            }
        }
        Ok(Job {
            entry,
            scope: scope.clone(),
            globs,
            options,
            sessions: Vec::new(),
            span_buffer: SpanBuffer::new(scope.buffer_bytes),
            unplanned: HashSet::new(),
            retained_rows: OwnedRows::new(),
            retained_summary: Summary::default(),
            pairing,
        })
    }

    /// Whether the job is that of an entry, so that it can go on after a reload.
    pub(crate) fn matches(&self, entry: &Entry, scope: &Scope) -> bool {
        self.entry == *entry && self.scope == *scope
    }

    /// Fails if a glob matches none of the probes found.
    pub(crate) fn check_globs(&self, found: &[ScannedObject]) -> Result<()> {
        select(found, &self.globs).map(drop)
    }

    /// Returns the sites in files that the job attaches to.
    pub(crate) fn sites_in(&self, found: &[ScannedObject]) -> Vec<Selected> {
        self.options.choose_sites(&self.select(found))
    }

    /// Returns the probes in files that the entry is about.
    fn select(&self, found: &[ScannedObject]) -> Vec<Selected> {
        let mut selected = select_if_any(found, &self.globs);
        if let Entry::Count(Count { except, .. }) = &self.entry {
            selected.retain(|one| !except.iter().any(|other| other.counts(&one.probe)));
        }
        selected
    }

    /// Attaches to the matching probes of the files, with one session, unless the job is attached to
    /// them. `processes` are those to trace; those that have ended are left out. Warnings are
    /// reported, and so are files that cannot be planned. Fails if the kernel rejects the session.
    pub(crate) fn attach(
        &mut self,
        found: &[ScannedObject],
        traced: &Traced<'_>,
        backend: &dyn Backend,
        report: &mut dyn FnMut(String),
    ) -> Result<()> {
        let mut selected = self.select(found);
        let is_settled =
            |id| self.unplanned.contains(&id) || self.objects().any(|object| object == id);
        selected.retain(|one| !is_settled(one.object.id));
        if selected.is_empty() {
            return Ok(());
        }
        if self.pairing.is_some() {
            add_goroutine_creations(&mut selected, found);
        }
        // With children, programs look processes up in the kernel's tree, not by their ids.
        let processes = traced.processes.filter(|_| self.options.children.is_none());
        let running = processes.map(|all| all.iter().filter(|p| p.is_alive()).collect::<Vec<_>>());
        let pids = running.as_ref().map(|all| all.iter().map(|p| p.pid()).collect());
        let buffer = self.span_buffer.own_size(self.sessions.iter().map(|one| &one.session));
        match Plan::new(
            &selected,
            &Options {
                pids,
                buffer,
                executables: traced.executables.clone(),
                ..self.options.clone()
            },
        ) {
            Ok((plan, warnings)) => {
                warnings.iter().for_each(|warning| report(warning.to_string()));
                let objects: Vec<ObjectId> = plan.objects().iter().map(PlannedObject::id).collect();
                let fallback = plan
                    .objects()
                    .first()
                    .map_or_else(Owner::other, |object| Owner::of_file(&object.path));
                let is_attached = |file: &&ScannedObject| objects.contains(&file.object.id);
                let files = || found.iter().filter(is_attached);
                let mut processes: Vec<u32> = match &running {
                    Some(running) => running.iter().map(|process| process.pid()).collect(),
                    None => files().flat_map(|file| file.pids.iter().copied()).collect(),
                };
                if processes.is_empty() {
                    processes = files().flat_map(|file| processes_of(&file.object.path)).collect();
                }
                processes.truncate(MAX_FIRST_PROCESSES);
                let mut session = match self.pairing {
                    Some(_) => self.span_buffer.start(plan, backend)?,
                    None => Session::start(plan, backend)?,
                };
                session.close_programs();
                // Another process may have got the id of one that has ended meanwhile.
                check_ids(running.into_iter().flatten())?;
                self.sessions.push(AttachedSession::new(session, objects, processes, fallback));
            }
            Err(error) => {
                self.unplanned.extend(found.iter().map(|file| file.object.id));
                report(format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// See [`Session::change_executables`].
    pub(crate) fn change_executables(&self, changes: &ExecutableChanges) -> Result<()> {
        let mut sessions = self.sessions.iter().map(|attached| &attached.session);
        sessions.try_for_each(|session| session.change_executables(changes))
    }

    /// Begins to detach the sessions of files that are not live. Ends those that have detached since
    /// the last call, and retains their totals.
    pub(crate) fn detach_stale(
        &mut self,
        live: &HashSet<ObjectId>,
        owners: &mut Owners,
    ) -> Result<()> {
        self.unplanned.retain(|id| live.contains(id));
        let is_over = |attached: &mut AttachedSession| match self.pairing {
            Some(_) => self.span_buffer.is_read(&attached.session),
            None => attached.session.has_detached(),
        };
        let ended: Vec<AttachedSession> = self.sessions.extract_if(.., is_over).collect();
        for attached in &ended {
            if self.pairing.is_none() {
                merge_owned(&mut self.retained_rows, attached.rows(owners)?);
            }
            self.retained_summary = self.retained_summary + attached.session.summary()?;
        }
        let is_live =
            |attached: &AttachedSession| attached.objects.iter().any(|id| live.contains(id));
        let stale = self.sessions.iter_mut().filter(|attached| !is_live(attached));
        Session::start_detaching(stale.map(|attached| &mut attached.session));
        Ok(())
    }

    /// Learns the owners of the processes that have rows, as long as they run. Takes the rows of
    /// those that have ended or executed another program from the kernel.
    pub(crate) fn follow_processes(&mut self, owners: &mut Owners) -> Result<()> {
        for attached in &mut self.sessions {
            merge_owned(&mut self.retained_rows, attached.follow_processes(owners)?);
        }
        Ok(())
    }

    /// Forgets the totals of owners that are not exported any more.
    pub(crate) fn forget_owners(&mut self, over: &HashSet<Arc<Owner>>) {
        self.retained_rows.retain(|owner, _| !over.contains(owner));
    }

    /// The globs of the probes.
    pub(crate) fn globs(&self) -> &[String] {
        &self.globs
    }

    /// The sessions that are not detaching.
    fn attached(&self) -> impl Iterator<Item = &AttachedSession> {
        self.sessions.iter().filter(|attached| attached.session.is_attached())
    }

    /// The files with attached sites.
    pub(crate) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.attached().flat_map(|attached| attached.objects.iter().copied())
    }

    /// The number of attached sites.
    pub(crate) fn sites(&self) -> u64 {
        self.attached()
            .flat_map(|attached| attached.session.plan().objects())
            .map(|o| o.sites.len() as u64)
            .sum()
    }

    /// Drains up to one batch of events of each buffer, and passes the spans that they end to
    /// `on_span`. Returns whether there may be more events.
    pub(crate) fn drain(&mut self, mut on_span: impl FnMut(crate::span::Span)) -> Result<bool> {
        let Some(pairing) = &mut self.pairing else { return Ok(false) };
        let sessions = self.sessions.iter_mut().map(|attached| &mut attached.session);
        self.span_buffer.drain(sessions, |event| pairing.add_event(event, &mut on_span))
    }

    /// Gives up the open spans of processes that have ended. Passes those that other spans name as
    /// their parent to `on_span`.
    pub(crate) fn discard_processes(
        &mut self,
        is_alive: impl Fn(u32) -> bool,
        on_span: impl FnMut(crate::span::Span),
    ) {
        if let Some(pairing) = &mut self.pairing {
            pairing.discard_processes(is_alive, on_span);
        }
    }

    /// Detaches all sessions of the jobs. Their events and totals can still be read.
    pub(crate) fn stop_all(jobs: &mut [Job]) {
        let sessions = jobs.iter_mut().flat_map(|job| &mut job.sessions);
        Session::detach_all(sessions.map(|attached| &mut attached.session));
    }

    /// Begins to detach all sessions of the jobs.
    pub(crate) fn start_stopping(jobs: &mut [Job]) {
        let sessions = jobs.iter_mut().flat_map(|job| &mut job.sessions);
        Session::start_detaching(sessions.map(|attached| &mut attached.session));
    }

    /// Returns true if all sessions have detached.
    pub(crate) fn has_stopped(&self) -> bool {
        self.sessions.iter().all(|attached| attached.session.has_detached())
    }

    /// The hit counts of all sessions, also of those that have ended.
    pub(crate) fn summary(&self) -> Result<Summary> {
        let mut summary =
            self.sessions.iter().try_fold(self.retained_summary, |all, attached| {
                Result::Ok(all + attached.session.summary()?)
            })?;
        summary.out_of_order += self.span_buffer.out_of_order();
        Ok(summary)
    }

    /// The name of the entry in the metrics about the exporter itself.
    pub(crate) fn name(&self) -> String {
        self.entry.name()
    }

    /// The metrics of the entry; none for spans.
    pub(crate) fn families(&self, owners: &mut Owners) -> Result<Vec<Family>> {
        if self.pairing.is_some() {
            return Ok(Vec::new());
        }
        let mut all = self.retained_rows.clone();
        for attached in &self.sessions {
            let mut rows = attached.rows_with_empty(self.retained_rows.is_empty(), owners)?;
            for (owner, rows) in &mut rows {
                let retained = self.retained_rows.get(owner);
                let empty =
                    self.empty_rows(attached, rows, retained.map_or(&[][..], Vec::as_slice));
                rows.extend(empty);
            }
            merge_owned(&mut all, rows);
        }
        let mut out: IndexMap<String, Family> = IndexMap::new();
        for (owner, rows) in &all {
            for row in rows {
                let Some(description) = self.entry.describe(row) else { continue };
                let Description { name, help, unit, ucum, kind, with_probe } = description;
                let series = series(row, owner, unit, with_probe);
                let family = out.entry(name).or_insert_with_key(|name| Family {
                    name: name.clone(),
                    help,
                    unit,
                    ucum,
                    kind,
                    series: Vec::new(),
                });
                family.series.push(series);
            }
        }
        let mut out: Vec<Family> = out.into_values().collect();
        out.iter_mut().for_each(|family| {
            family.series.sort_by(|a, b| (&a.owner, &a.labels).cmp(&(&b.owner, &b.labels)));
        });
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// Rows without hits, for the probes of a session that have no row of an owner yet. A rate can
    /// be computed from the first hit on only if the series exists before.
    fn empty_rows(&self, attached: &AttachedSession, rows: &[Row], retained: &[Row]) -> Vec<Row> {
        let plan = attached.session.plan();
        let buckets = plan.buckets_per_probe();
        let is_labeled = matches!(&self.options.mode, Mode::Count { by } if !by.is_empty());
        if is_labeled {
            return Vec::new();
        }
        let known: HashSet<&PlannedProbe> =
            rows.iter().chain(retained).map(|row| &row.probe).collect();
        let has_rows = |probe: &PlannedProbe| match &self.options.mode {
            Mode::Latency { end, .. } => end.matches_names(&probe.provider, &probe.name),
            _ => true,
        };
        let missing =
            plan.probes().iter().filter(|probe| has_rows(probe) && !known.contains(probe));
        let total = || match buckets {
            None => Total::Count(0),
            Some(buckets) => {
                let counts = vec![0; buckets.count()];
                Total::Histogram(Histogram { buckets, counts, sum: 0, min: 0, max: 0 })
            }
        };
        let row =
            |probe: &PlannedProbe| Row { probe: probe.clone(), labels: Vec::new(), total: total() };
        missing.map(row).collect()
    }
}

/// Adds the probe that fires when a goroutine is created, in the files with selected probes. It
/// tells the parents of spans in goroutines that a request has started.
fn add_goroutine_creations(selected: &mut Vec<Selected>, found: &[ScannedObject]) {
    let is_selected =
        |file: &&ScannedObject| selected.iter().any(|s| s.object.id == file.object.id);
    let files: Vec<&ScannedObject> = found.iter().filter(is_selected).collect();
    for file in files {
        for probe in file.probes.iter().filter(|probe| tells_parents(probe)) {
            let is_known = selected
                .iter()
                .any(|s| s.object.id == file.object.id && s.probe.address == probe.address);
            if !is_known {
                selected.push(Selected {
                    object: Arc::clone(&file.object),
                    probe: Arc::clone(probe),
                    pids: Arc::clone(&file.pids),
                });
            }
        }
    }
}

fn parse_subject(name: &str) -> Result<Subject> {
    Subject::parse(name).map_err(|error| Error::usage(error.to_string()))
}

fn parse_subjects(names: &[String]) -> Result<Vec<Subject>> {
    names.iter().map(|name| parse_subject(name)).collect()
}

fn parse_filter(filter: &Option<String>) -> Result<Option<Filter>> {
    let filter = filter.as_deref().map(Filter::parse).transpose();
    filter.map_err(|error| Error::usage(error.to_string()))
}
