//! One entry of the configuration: its sessions, and the totals of sessions that have ended.
//!
//! A job has one session per file if the files of its target come and go, so that it can detach
//! from a file that no process runs any more. The totals of such a file are retained: a counter
//! must not decrease.

use crate::config::{Config, Count, Hist, Latency, LinearBuckets, Span, Unit};
use crate::exporter::Traced;
use crate::metric::{Family, Kind, metric_name, series, to_metric_chars};
use crate::span::{Pairing, tells_parents};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use usdt_attach::backend::Backend;
use usdt_attach::discover::select::{Glob, Selected, select, select_if_any};
use usdt_attach::discover::{ObjectId, ScannedObject};
use usdt_attach::error::{Error, Result};
use usdt_attach::event::counts::{Histogram, Row, Total, merge_rows};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::kernel::ProcessTree;
use usdt_attach::plan::{Mode, Options, Plan, PlannedObject, PlannedProbe, Scale};
use usdt_attach::session::{Session, Summary, check_ids};

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
    /// The maximum number of label combinations per session.
    pub(crate) max_series: u32,
    /// The size of the event buffer of each session with spans; a power of two.
    pub(crate) buffer_bytes: u32,
    pub(crate) max_open_spans: usize,
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
    /// Files whose probes cannot be planned, which was reported.
    unplanned: HashSet<ObjectId>,
    /// The totals of sessions that have ended.
    retained_rows: Vec<Row>,
    /// The hit counts of sessions that have ended.
    retained_summary: Summary,
    /// Set if the entry is that of spans.
    pub(crate) pairing: Option<Pairing>,
}

/// A session and the files that it is attached to.
struct AttachedSession {
    session: Session,
    objects: Vec<ObjectId>,
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
                options.buffer = scope.buffer_bytes;
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
            unplanned: HashSet::new(),
            retained_rows: Vec::new(),
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
        let mut selected = select_if_any(found, &self.globs);
        let is_settled =
            |id| self.unplanned.contains(&id) || self.objects().any(|object| object == id);
        if selected.is_empty() || found.iter().all(|file| is_settled(file.object.id)) {
            return Ok(());
        }
        if self.pairing.is_some() {
            add_goroutine_creations(&mut selected, found);
        }
        // With children, programs look processes up in the kernel's tree, not by their ids.
        let processes = traced.processes.filter(|_| self.options.children.is_none());
        let running = processes.map(|all| all.iter().filter(|p| p.is_alive()).collect::<Vec<_>>());
        let pids = running.as_ref().map(|all| all.iter().map(|p| p.pid()).collect());
        match Plan::new(
            &selected,
            &Options { pids, executables: traced.executables.clone(), ..self.options.clone() },
        ) {
            Ok((plan, warnings)) => {
                warnings.iter().for_each(|warning| report(warning.to_string()));
                let objects = plan.objects().iter().map(PlannedObject::id).collect();
                let mut session = Session::start(plan, backend)?;
                session.close_programs();
                // Another process may have got the id of one that has ended meanwhile.
                check_ids(running.into_iter().flatten())?;
                self.sessions.push(AttachedSession { session, objects });
            }
            Err(error) => {
                self.unplanned.extend(found.iter().map(|file| file.object.id));
                report(format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// See [`Session::trace_executable`].
    pub(crate) fn trace_executable(&self, address: u64) -> Result<()> {
        let mut sessions = self.sessions.iter().map(|attached| &attached.session);
        sessions.try_for_each(|session| session.trace_executable(address))
    }

    /// Ends the sessions of files that are not live, and retains their totals.
    pub(crate) fn detach_stale(&mut self, live: &HashSet<ObjectId>) -> Result<()> {
        self.unplanned.retain(|id| live.contains(id));
        let is_live =
            |attached: &AttachedSession| attached.objects.iter().any(|id| live.contains(id));
        let (kept, mut stale): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sessions).into_iter().partition(is_live);
        self.sessions = kept;
        Session::detach_all(stale.iter_mut().map(|attached| &mut attached.session));
        for AttachedSession { session, .. } in &stale {
            if self.pairing.is_none() {
                merge_rows(&mut self.retained_rows, session.rows()?);
            }
            self.retained_summary = self.retained_summary + session.summary()?;
        }
        Ok(())
    }

    /// The globs of the probes.
    pub(crate) fn globs(&self) -> &[String] {
        &self.globs
    }

    /// The files with attached sites.
    pub(crate) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.sessions.iter().flat_map(|attached| attached.objects.iter().copied())
    }

    /// The number of attached sites.
    pub(crate) fn sites(&self) -> u64 {
        self.sessions
            .iter()
            .flat_map(|attached| attached.session.plan().objects())
            .map(|o| o.sites.len() as u64)
            .sum()
    }

    /// Drains up to one batch of events of each session, and passes the spans that they end to
    /// `on_span`. Returns whether there may be more events.
    pub(crate) fn drain(&mut self, mut on_span: impl FnMut(crate::span::Span)) -> Result<bool> {
        let Some(pairing) = &mut self.pairing else { return Ok(false) };
        let mut more = false;
        for attached in &mut self.sessions {
            more |= attached.session.drain(|event| pairing.add_event(event, &mut on_span))?;
        }
        Ok(more)
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

    /// The hit counts of all sessions, also of those that have ended.
    pub(crate) fn summary(&self) -> Result<Summary> {
        self.sessions
            .iter()
            .try_fold(self.retained_summary, |all, attached| Ok(all + attached.session.summary()?))
    }

    /// The name of the entry in the metrics about the exporter itself.
    pub(crate) fn name(&self) -> String {
        match &self.entry {
            Entry::Count(count) => count.name.clone().unwrap_or_else(|| count.probes.0.join(",")),
            Entry::Hist(hist) => hist
                .name
                .clone()
                .unwrap_or_else(|| format!("{} {}", hist.probes.0.join(","), hist.value)),
            Entry::Latency(l) => l.name.clone().unwrap_or_else(|| format!("{} {}", l.start, l.end)),
            Entry::Spans(_) => "spans".to_owned(),
        }
    }

    /// The metrics of the entry; none for spans.
    pub(crate) fn families(&self) -> Result<Vec<Family>> {
        if self.pairing.is_some() {
            return Ok(Vec::new());
        }
        let sessions = self.sessions.iter().map(|attached| &attached.session);
        let mut rows = Session::merged_rows(sessions)?;
        // Merging needs several times the memory of the rows.
        if !self.retained_rows.is_empty() {
            let live = std::mem::replace(&mut rows, self.retained_rows.clone());
            merge_rows(&mut rows, live);
        }
        let empty = self.empty_histograms(&rows);
        rows.extend(empty);
        let mut out: Vec<Family> = Vec::new();
        for row in rows {
            let Some(description) = self.describe(&row) else { continue };
            let Description { name, help, unit, kind, with_probe } = description;
            let series = series(&row, unit, with_probe);
            match out.iter_mut().find(|family| family.name == name) {
                Some(family) => family.series.push(series),
                None => out.push(Family { name, help, unit, kind, series: vec![series] }),
            }
        }
        out.iter_mut().for_each(|family| family.series.sort_by(|a, b| a.labels.cmp(&b.labels)));
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// Empty histograms of the probes that have no row yet. A rate can be computed from the first
    /// value on only if the series exists before.
    fn empty_histograms(&self, rows: &[Row]) -> Vec<Row> {
        let mut known: HashSet<&PlannedProbe> = rows.iter().map(|row| &row.probe).collect();
        let mut out: Vec<Row> = Vec::new();
        for plan in self.sessions.iter().map(|attached| attached.session.plan()) {
            let Some(buckets) = plan.buckets_per_probe() else { continue };
            for probe in plan.probes() {
                let has_rows = match &self.options.mode {
                    Mode::Latency { end, .. } => end.matches_names(&probe.provider, &probe.name),
                    _ => true,
                };
                if has_rows && known.insert(probe) {
                    let counts = vec![0; buckets.count()];
                    let total =
                        Total::Histogram(Histogram { buckets, counts, sum: 0, min: 0, max: 0 });
                    out.push(Row { probe: probe.clone(), labels: Vec::new(), total });
                }
            }
        }
        out
    }

    /// The metric of a row; `None` for spans.
    fn describe(&self, row: &Row) -> Option<Description> {
        let probe = format!("{}:{}", row.probe.provider, row.probe.name);
        let base = metric_name(&row.probe);
        Some(match &self.entry {
            Entry::Count(count) => {
                let name = count.name.clone().unwrap_or(base);
                Description {
                    name: if name.ends_with("_total") { name } else { format!("{name}_total") },
                    help: count.help.clone().unwrap_or_else(|| format!("Hits of {probe}.")),
                    unit: Unit::None,
                    kind: Kind::Counter,
                    with_probe: count.name.is_some() && may_match_several(&count.probes.0),
                }
            }
            Entry::Hist(hist) => {
                let unit = unit_of(hist);
                let value = match without_unit(&hist.value) {
                    "" => String::new(),
                    value => format!("_{}", to_metric_chars(value)),
                };
                Description {
                    name: hist
                        .name
                        .clone()
                        .unwrap_or_else(|| format!("{base}{value}{}", unit.suffix())),
                    help: hist
                        .help
                        .clone()
                        .unwrap_or_else(|| format!("{} of {probe}.", hist.value)),
                    unit,
                    kind: Kind::Histogram,
                    with_probe: hist.name.is_some() && may_match_several(&hist.probes.0),
                }
            }
            Entry::Latency(latency) => Description {
                name: latency.name.clone().unwrap_or_else(|| format!("{base}_latency_seconds")),
                help: latency
                    .help
                    .clone()
                    .unwrap_or_else(|| format!("Time from {} to {probe}.", latency.start)),
                unit: Unit::Ns,
                kind: Kind::Histogram,
                with_probe: latency.name.is_some()
                    && may_match_several(std::slice::from_ref(&latency.end)),
            },
            Entry::Spans(_) => return None,
        })
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

/// A metric without its series.
struct Description {
    name: String,
    help: String,
    unit: Unit,
    kind: Kind,
    /// Whether the series of several probes share the metric, so that they need a label for the
    /// probe.
    with_probe: bool,
}

/// Whether globs may match more than one probe.
fn may_match_several(globs: &[String]) -> bool {
    globs.len() > 1 || globs.iter().any(|glob| glob.contains(['*', '?']))
}

/// The name of an argument without the unit that the suffix of the metric repeats: `duration` for
/// `duration_ns`, empty for `ns`.
fn without_unit(argument: &str) -> &str {
    ["ns", "us", "ms", "bytes"].iter().fold(argument, |name, unit| {
        let rest = name.strip_suffix(unit).unwrap_or(name);
        if rest.is_empty() || rest.ends_with('_') { rest.trim_end_matches('_') } else { name }
    })
}

fn unit_of(hist: &Hist) -> Unit {
    hist.unit.unwrap_or_else(|| Unit::of_argument(&hist.value))
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
