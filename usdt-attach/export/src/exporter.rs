//! The exporter's event loop: attaches to the probes of a configuration, follows the target,
//! answers scrapes and sends requests until it is stopped.

mod files;
mod jobs;
mod outputs;
mod processes;
mod requests;
mod spans;

pub(crate) use files::Traced;
pub use outputs::CommandLine;
pub use requests::{ExporterHandle, Requests};

use self::requests::Event;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::endpoint::scrape::Snapshot;
use crate::heartbeat::Heartbeat;
use crate::job::Job;
use crate::metric::{Family, Series};
use crate::otlp::{self, Period, RequestCounts};
use crate::owner::Owner;
use crate::owners::Owners;
use crate::self_metrics::{self, OtlpCounts};
use crate::span::{Pairing, Span};
use crate::time::unix_nanos;
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use usdt_attach::backend::Backend;
use usdt_attach::discover::{DebugFile, FunctionOptions, ObjectId, ScannedObject};
use usdt_attach::error::{Error, Result};
use usdt_attach::kernel::ProcessTree;
use usdt_attach::own_probes;
use usdt_attach::session::Summary;
use usdt_attach::target::follow::Follower;
use usdt_attach::target::{ProcessHandle, Target};

/// The settings of an exporter.
pub struct Settings {
    /// What to export and where to.
    pub config: Config,
    /// The file from which a reload reads the configuration. `None` if there is none: a reload
    /// then reads only the file with TLS and users.
    pub path: Option<PathBuf>,
    /// What takes precedence over the file when it is reloaded. It is part of `config` already.
    pub command_line: CommandLine,
    /// The processes to trace. It takes precedence over the target of the configuration.
    pub target: Target,
    /// The processes of a target that names them one by one. The exporter ends when all of them
    /// have ended. `None` for a target that may get new processes.
    pub processes: Option<Vec<ProcessHandle>>,
    /// The processes with the children that they fork, which are traced as well. `None` traces no
    /// children.
    pub children: Option<ProcessTree>,
    /// The files of the target and their probes, from [`Target::resolve`].
    pub found: Vec<ScannedObject>,
    /// Files with the debug information of programs, for the arguments of function probes in files
    /// that are run later.
    pub debug_files: Vec<DebugFile>,
    /// Whether to accept globs that match no probe of `found`, because files with these probes may
    /// be run later.
    pub wait_for_probes: bool,
    /// Whether [`Exporter::run`] fails if nothing was ever attached to.
    pub must_match: bool,
    /// The time after which the exporter ends; `None` runs it until it is stopped.
    pub duration: Option<Duration>,
}

impl Settings {
    /// Returns the options of the search for functions.
    fn function_options(&self) -> FunctionOptions {
        let debug_files = self.debug_files.clone();
        FunctionOptions { debug_files, ..self.config.function_options() }
    }

    /// Returns true if the target names its processes and all of them have exited.
    fn has_ended(&self) -> Result<bool> {
        if let Some(children) = &self.children {
            return Ok(children.processes()?.is_empty());
        }
        Ok(self.processes.as_ref().is_some_and(|all| !all.iter().any(ProcessHandle::is_alive)))
    }
}

/// How often events are drained while there are some.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);
/// How often events are drained if there have been none for a while.
const IDLE_INTERVAL: Duration = Duration::from_millis(25);
/// How often the target is polled if there are no events, that is, without spans.
const NO_SPANS_INTERVAL: Duration = Duration::from_millis(250);
/// How long a span waits at most until it is sent with others.
const SPAN_BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often sessions of files that no process runs are stopped.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(10);
/// How long stopping takes if the collector does not answer: detaching, then sending what waits.
const STOP_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long the exporter sends requests that wait when it stops, at least and at most.
const SEND_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(1);
/// How often the exporter checks whether its processes have ended.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(200);

/// Exports metrics and spans as a configuration defines them.
///
/// # Examples
///
/// ```no_run
/// use usdt_attach::backend::BackendKind;
/// use usdt_attach::session::Mechanism;
/// use usdt_attach::target::Target;
/// use usdt_export::config::Config;
/// use usdt_export::{CommandLine, Exporter, ExporterHandle, Settings};
///
/// # fn main() -> usdt_attach::error::Result<()> {
/// let path = "/etc/usdt-attach.toml";
/// let config = Config::read(path.as_ref())?;
/// let target = Target::Host;
/// let resolved = target.resolve()?;
/// let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
/// let settings = Settings {
///     config,
///     path: Some(path.into()),
///     command_line: CommandLine::default(),
///     target,
///     processes: resolved.processes,
///     children: resolved.children,
///     found: resolved.objects,
///     debug_files: Vec::new(),
///     wait_for_probes: true,
///     must_match: false,
///     duration: None,
/// };
/// let mut report = |message: String| eprintln!("{message}");
/// // The handle is for a signal handler, which calls `handle.stop()`.
/// let (handle, requests) = ExporterHandle::new();
/// let exporter = Exporter::start(settings, requests, &*backend, &mut report)?;
/// let summary = exporter.run()?;
/// println!("{} hits", summary.hits);
/// # drop(handle);
/// # Ok(())
/// # }
/// ```
pub struct Exporter<'a> {
    settings: Settings,
    backend: &'a dyn Backend,
    report: &'a mut dyn FnMut(String),
    jobs: Vec<Job>,
    /// Jobs that a reload has removed, until they have detached.
    removed_jobs: Vec<Job>,
    /// Jobs of a configuration that could not be applied, until they have detached.
    discarded_jobs: Vec<Job>,
    follower: Follower,
    /// True once something was attached to.
    has_attached: bool,
    requests: Requests,
    /// The last metrics that were collected, for scrapes while the loop is busy.
    snapshot: Arc<Snapshot>,
    endpoint: Option<Endpoint>,
    otlp_sender: Option<otlp::Sender>,
    /// The counts of all senders, also of those before a reload.
    otlp_counts: Arc<RequestCounts>,
    heartbeat: Arc<Heartbeat>,
    /// Spans that wait to be sent, with the owners of their processes.
    span_queue: Vec<(Arc<Owner>, Span)>,
    /// Spans that were discarded because the queue was full.
    discarded_spans: u64,
    /// Whose numbers and spans they are.
    owners: Owners,
    /// The time of the start in nanoseconds since 1970.
    started_ns: u64,
}

impl<'a> Exporter<'a> {
    /// Attaches to the probes, then opens the endpoint and connects to the collector. Hits are
    /// counted from the time this returns. `report` receives warnings and other messages for the
    /// user. If the handle of `requests` stops the exporter meanwhile, it attaches to nothing more,
    /// and [`Exporter::run`] returns at once.
    ///
    /// # Errors
    ///
    /// Fails if the kernel rejects a session, if a glob matches no probe (unless
    /// [`Settings::wait_for_probes`] is set), or if the endpoint cannot be opened.
    pub fn start(
        settings: Settings,
        requests: Requests,
        backend: &'a dyn Backend,
        report: &'a mut dyn FnMut(String),
    ) -> Result<Exporter<'a>> {
        let children = settings.children.as_ref();
        let mut follower = Follower::with_children(&settings.target, &settings.found, children);
        follower.add_command(settings.processes.as_deref().unwrap_or_default(), true);
        let mut exporter = Exporter {
            settings,
            backend,
            report,
            jobs: Vec::new(),
            removed_jobs: Vec::new(),
            discarded_jobs: Vec::new(),
            follower,
            has_attached: false,
            requests,
            snapshot: Arc::default(),
            endpoint: None,
            otlp_sender: None,
            otlp_counts: Arc::default(),
            heartbeat: Arc::new(Heartbeat::new()),
            span_queue: Vec::new(),
            discarded_spans: 0,
            owners: Owners::default(),
            started_ns: unix_nanos(),
        };
        let config = exporter.settings.config.clone();
        exporter.apply_entries(&config)?;
        exporter.close_unselected();
        exporter.has_attached = exporter.sites() > 0;
        // Last, so that a client that gets an answer can rely on the probes being attached.
        exporter.heartbeat.beat();
        exporter.open_outputs()?;
        Ok(exporter)
    }

    /// Returns the URL of the metrics, with the assigned port if port 0 was requested; `None` if
    /// the configuration has no endpoint.
    pub fn metrics_url(&self) -> Option<String> {
        self.endpoint.as_ref().and_then(Endpoint::metrics_url)
    }

    /// Returns the number of attached probe sites.
    pub fn sites(&self) -> u64 {
        self.jobs.iter().map(Job::sites).sum()
    }

    /// Runs until it is stopped, its duration is over, or its processes have ended. Returns the hit
    /// counts of all entries.
    ///
    /// # Errors
    ///
    /// Fails if the totals or the events of a session cannot be read.
    pub fn run(mut self) -> Result<Summary> {
        let start = Instant::now();
        let (mut last_metrics, mut last_spans) = (start, start);
        let (mut last_cleanup, mut last_liveness_check) = (start, start);
        let mut next_look = start;
        let mut last_event = start;
        loop {
            let until_look = next_look.saturating_duration_since(Instant::now());
            let timeout = self.timeout(last_event).min(until_look.max(BUSY_INTERVAL));
            match self.requests.next(timeout) {
                Some(Event::Scrape(responder)) => self.answer(vec![responder])?,
                Some(Event::Report(message)) => (self.report)(message),
                Some(Event::Reload) => self.reload(),
                Some(Event::Stop) => break,
                None => {}
            }
            self.stay_responsive()?;
            if self.requests.is_stopping() {
                break;
            }
            if self.drain()? {
                last_event = Instant::now();
            }
            self.finish_removed()?;
            self.attach_new_files()?;
            if self.span_queue.len() >= otlp::MAX_BATCH
                || last_spans.elapsed() >= SPAN_BATCH_INTERVAL
            {
                last_spans = Instant::now();
                self.send_spans();
            }
            let interval = self.settings.config.otlp.as_ref().map(|otlp| otlp.interval.0);
            if interval.is_some_and(|interval| last_metrics.elapsed() >= interval) {
                last_metrics = Instant::now();
                self.send_metrics()?;
            }
            if Instant::now() >= next_look {
                next_look = Instant::now() + self.follow_processes(start)?;
            }
            if last_cleanup.elapsed() >= CLEANUP_INTERVAL {
                last_cleanup = Instant::now();
                self.clean_up()?;
            }
            if self.settings.duration.is_some_and(|duration| start.elapsed() >= duration) {
                break;
            }
            if last_liveness_check.elapsed() >= LIVENESS_INTERVAL {
                last_liveness_check = Instant::now();
                if self.settings.has_ended()? {
                    break;
                }
            }
        }
        self.finish()
    }

    /// How long to wait for an event until the sessions and the target are polled.
    fn timeout(&self, last_event: Instant) -> Duration {
        let has_spans = self.jobs.iter().any(|job| job.pairing.is_some());
        let mut timeout = match has_spans {
            true if last_event.elapsed() < IDLE_INTERVAL * 4 => BUSY_INTERVAL,
            true => IDLE_INTERVAL,
            false => NO_SPANS_INTERVAL,
        };
        // A file that has just begun to run is attached to within this time.
        timeout = timeout.min(self.follower.next_poll_in().max(BUSY_INTERVAL));
        if self.follower.stops() || !self.removed_jobs.is_empty() {
            timeout = BUSY_INTERVAL;
        }
        match self.settings.duration {
            Some(duration) => timeout.min(duration.max(BUSY_INTERVAL)),
            None => timeout,
        }
    }

    /// Detaches, and sends what is left.
    fn finish(mut self) -> Result<Summary> {
        let start = Instant::now();
        self.follower.release_processes();
        // Together with those of a reload.
        Job::start_stopping(&mut self.jobs);
        let mut removed = std::mem::take(&mut self.removed_jobs);
        self.finish_spans(&mut removed)?;
        Job::stop_all(&mut self.jobs);
        while self.drain()? {}
        self.discard_processes(|_| false);
        self.send_spans();
        if self.otlp_sender.is_some() {
            self.send_metrics()?;
        }
        if let Some(sender) = self.otlp_sender.take() {
            let left = STOP_TIMEOUT.saturating_sub(start.elapsed());
            let unsent = sender.stop(left.clamp(*SEND_TIMEOUT.start(), *SEND_TIMEOUT.end()));
            if unsent > 0 {
                (self.report)(format!(
                    "the collector does not answer: {unsent} requests were not sent before the exporter stopped"
                ));
            }
        }
        if self.settings.must_match && !self.has_attached {
            let globs = self.jobs.iter().flat_map(Job::globs).map(|glob| format!("`{glob}`"));
            return Err(Error::never_matched(&globs.collect::<Vec<_>>().join(", ")));
        }
        self.jobs.iter().try_fold(Summary::default(), |all, job| Ok(all + job.summary()?))
    }

    fn send_metrics(&mut self) -> Result<()> {
        let families = self.families()?;
        if let (Some(sender), Some(otlp)) = (&self.otlp_sender, &self.settings.config.otlp) {
            let period = Period { since: self.started_ns, now: unix_nanos() };
            otlp::metrics(&families, &otlp.resource, period, |body| sender.send_metrics(body));
        }
        Ok(())
    }

    /// Collects all metrics. Those of the exporter itself come last.
    fn families(&mut self) -> Result<Vec<Family>> {
        let began = Instant::now();
        let mut merged: BTreeMap<String, Family> = BTreeMap::new();
        self.owners.begin_round();
        for job in &self.jobs {
            for family in job.families(&mut self.owners)? {
                match merged.get_mut(&family.name) {
                    // Two entries may count the same probe by different labels.
                    Some(known) if known.kind == family.kind => {
                        let id = |series: &Series| (series.owner.clone(), series.labels.clone());
                        let ids: HashSet<_> = known.series.iter().map(id).collect();
                        let is_new = |series: &Series| !ids.contains(&id(series));
                        known.series.extend(family.series.into_iter().filter(is_new));
                    }
                    Some(_) => {}
                    None => drop(merged.insert(family.name.clone(), family)),
                }
            }
        }
        let mut out: Vec<Family> = merged.into_values().collect();
        out.extend(self_metrics::families(&self.state()?));
        own_probes::export(&|| out.iter().map(|family| family.series.len()).sum(), began);
        Ok(out)
    }

    /// The state from which the metrics about the exporter itself are built.
    fn state(&self) -> Result<self_metrics::Snapshot> {
        let files: HashSet<ObjectId> = self.jobs.iter().flat_map(Job::objects).collect();
        let entries = self.jobs.iter().map(|job| Ok((job.name(), job.summary()?)));
        let otlp = self.otlp_sender.as_ref().map(|_| {
            let counts = &self.otlp_counts;
            let pairings: Vec<&Pairing> =
                self.jobs.iter().filter_map(|job| job.pairing.as_ref()).collect();
            let sum =
                |count: fn(&Pairing) -> u64| pairings.iter().map(|pairing| count(pairing)).sum();
            OtlpCounts {
                requests_sent: counts.sent.load(Relaxed),
                requests_lost: counts.lost.load(Relaxed),
                spans_rejected: counts.rejected_spans.load(Relaxed),
                data_points_rejected: counts.rejected_data_points.load(Relaxed),
                spans_complete: sum(|pairing| pairing.counts().complete),
                spans_without_start: sum(|pairing| pairing.counts().without_start),
                spans_without_end: sum(|pairing| pairing.counts().without_end),
                spans_unfinished: sum(|pairing| pairing.counts().unfinished),
                spans_too_deep: sum(|pairing| pairing.counts().too_deep),
                spans_unsent: self.discarded_spans + counts.lost_spans.load(Relaxed),
                spans_open: sum(|pairing| pairing.open_spans() as u64),
            }
        });
        Ok(self_metrics::Snapshot {
            files: files.len() as u64,
            sites: self.sites(),
            entries: entries.collect::<Result<_>>()?,
            otlp,
        })
    }
}
