//! The exporter: attaches, listens, follows its target, and runs until it is told to stop.

use crate::config::Config;
use crate::job::{Job, Scope, entries};
use crate::metric::{Family, Series};
use crate::prometheus::{Asked, Endpoint};
use crate::self_metrics::{self, OtlpCounts, Snapshot};
use crate::span::{Pairing, Span};
use crate::time::unix_nanos;
use crate::{otlp, prometheus};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use usdt_attach::backend::Backend;
use usdt_attach::discover::{self, ObjectId, ScannedObject};
use usdt_attach::error::Result;
use usdt_attach::session::Summary;
use usdt_attach::target::follow::Follower;
use usdt_attach::target::{ProcessHandle, Target};

/// What an exporter is told while it runs.
#[derive(Debug)]
pub enum Message {
    /// Somebody wants the metrics.
    Page(Asked),
    /// Something to be told to a person.
    Say(String),
    /// The configuration is to be read again.
    Reload,
    /// It is to end.
    Stop,
}

/// How to run.
pub struct Settings {
    /// What is exported.
    pub config: Config,
    /// Where that is read again from.
    pub path: Option<PathBuf>,
    /// Whom to trace.
    pub target: Target,
    /// Processes to trace, where they are known one by one: the exporter ends with them.
    pub processes: Option<Vec<ProcessHandle>>,
    /// What the target's files have now.
    pub found: Vec<ScannedObject>,
    /// Whether probes that are not there are waited for.
    pub patient: bool,
    /// When to end.
    pub duration: Option<Duration>,
}

impl Settings {
    fn pids(&self) -> Option<Vec<u32>> {
        self.processes.as_ref().map(|all| all.iter().map(ProcessHandle::pid).collect())
    }
}

/// Events are taken this often while they come, and less often while none do.
const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(25);
/// Without spans there is only the target to look after.
const NOTHING: Duration = Duration::from_millis(250);
/// Spans wait for others at most so long.
const SPANS_EVERY: Duration = Duration::from_secs(1);
/// How often to see what is no longer there.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// How often to see whether processes have ended.
const ALIVE_EVERY: Duration = Duration::from_millis(200);

/// Carries out a configuration.
pub struct Exporter<'a> {
    settings: Settings,
    backend: &'a dyn Backend,
    say: &'a mut dyn FnMut(String),
    jobs: Vec<Job>,
    follower: Option<Follower>,
    inbox: Receiver<Message>,
    outbox: Sender<Message>,
    endpoint: Option<Endpoint>,
    sender: Option<otlp::Sender>,
    queue: Vec<Span>,
    /// Spans that were not put into the queue, or not sent.
    lost: u64,
    services: HashMap<u32, String>,
    since: u64,
}

impl<'a> Exporter<'a> {
    /// Attaches, listens, and is ready. `say` takes what a person is told.
    pub fn start(
        settings: Settings,
        backend: &'a dyn Backend,
        say: &'a mut dyn FnMut(String),
    ) -> Result<Exporter<'a>> {
        let (outbox, inbox) = channel();
        let follower = match &settings.target {
            Target::Command(_) => None,
            target => Some(Follower::new(target, &settings.found)),
        };
        let mut exporter = Exporter {
            settings,
            backend,
            say,
            jobs: Vec::new(),
            follower,
            inbox,
            outbox,
            endpoint: None,
            sender: None,
            queue: Vec::new(),
            lost: 0,
            services: HashMap::new(),
            since: unix_nanos(),
        };
        let config = exporter.settings.config.clone();
        exporter.take_on(&config)?;
        // Last: whoever gets an answer may rely on what is attached.
        exporter.outputs(&Config::default(), &config)?;
        Ok(exporter)
    }

    /// Where messages go.
    pub fn mailbox(&self) -> Sender<Message> {
        self.outbox.clone()
    }

    /// Where Prometheus finds the metrics.
    pub fn address(&self) -> Option<String> {
        self.endpoint.as_ref().map(Endpoint::address)
    }

    /// Sites that are attached to now.
    pub fn sites(&self) -> u64 {
        self.jobs.iter().map(Job::sites).sum()
    }

    /// Opens and closes what the configurations differ in.
    fn outputs(&mut self, old: &Config, new: &Config) -> Result<()> {
        if old.prometheus != new.prometheus {
            let mut endpoint = None;
            if let Some(prometheus) = &new.prometheus {
                let outbox = self.outbox.clone();
                let page = move || {
                    let (asked, page) = prometheus::ask();
                    // Whoever has stopped leaves the page without a writer.
                    let _ = outbox.send(Message::Page(asked));
                    page
                };
                endpoint = Some(Endpoint::listen(&prometheus.listen, page)?);
            }
            self.endpoint = endpoint;
        }
        if old.otlp != new.otlp {
            self.sender = None;
            if let Some(otlp) = &new.otlp {
                let outbox = self.outbox.clone();
                // Whoever has stopped does not want to know.
                let told = move |problem| drop(outbox.send(Message::Say(problem)));
                self.sender = Some(otlp::Sender::start(otlp, told)?);
            }
        }
        Ok(())
    }

    /// Goes over to the jobs of a configuration: those that are there already go on. Where one of the others cannot be
    /// begun, all stays as it was.
    fn take_on(&mut self, config: &Config) -> Result<()> {
        let scope = Scope {
            pids: self.settings.pids(),
            cgroup: self.settings.target.cgroup().map(Into::into),
            series: config.limits.series,
            buffer: config.limits.buffer,
            open_spans: config.limits.open_spans,
        };
        let entries = entries(config);
        let mut begun = Vec::new();
        for entry in &entries {
            if self.jobs.iter().chain(&begun).any(|job| job.is(entry, &scope)) {
                continue;
            }
            let mut job = Job::new(entry.clone(), &scope)?;
            if !self.settings.patient {
                job.expect(&self.settings.found)?;
            }
            for files in batches(&self.settings.target, &self.settings.found) {
                job.attach(files, self.backend, self.say)?;
            }
            begun.push(job);
        }
        begun.extend(
            self.jobs.drain(..).filter(|job| entries.iter().any(|entry| job.is(entry, &scope))),
        );
        let place = |job: &Job| entries.iter().position(|entry| job.is(entry, &scope));
        begun.sort_by_key(place);
        self.jobs = begun;
        Ok(())
    }

    /// Runs until it is told to stop, its time is over or its processes have ended.
    pub fn run(mut self) -> Result<Summary> {
        let begin = Instant::now();
        let (mut sent, mut flushed, mut tidied, mut looked) = (begin, begin, begin, begin);
        let mut busy = begin;
        loop {
            match self.inbox.recv_timeout(self.pause(busy)) {
                Ok(Message::Page(asked)) => {
                    // Whoever asked may have given up.
                    let _ = asked.send(self.families()?);
                }
                Ok(Message::Say(text)) => (self.say)(text),
                Ok(Message::Reload) => self.reload(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.drain()? {
                busy = Instant::now();
            }
            self.follow()?;
            if self.queue.len() >= otlp::BATCH || flushed.elapsed() >= SPANS_EVERY {
                flushed = Instant::now();
                self.send_spans();
            }
            let interval = self.settings.config.otlp.as_ref().map(|otlp| otlp.interval.0);
            if interval.is_some_and(|interval| sent.elapsed() >= interval) {
                sent = Instant::now();
                self.send_metrics()?;
            }
            if tidied.elapsed() >= TIDY_EVERY {
                tidied = Instant::now();
                self.tidy()?;
            }
            if self.settings.duration.is_some_and(|duration| begin.elapsed() >= duration) {
                break;
            }
            if looked.elapsed() >= ALIVE_EVERY {
                looked = Instant::now();
                let processes = self.settings.processes.as_ref();
                if processes.is_some_and(|all| !all.iter().any(ProcessHandle::is_alive)) {
                    break;
                }
            }
        }
        self.finish()
    }

    fn pause(&self, busy: Instant) -> Duration {
        let spans = self.jobs.iter().any(|job| job.pairing.is_some());
        let mut pause = match spans {
            true if busy.elapsed() < IDLE * 4 => BUSY,
            true => IDLE,
            false => NOTHING,
        };
        if let Some(follower) = &self.follower {
            // What the kernel tells of is read then; a file that has just begun to run is found within this time.
            pause = pause.min(follower.next_poll_in().max(BUSY));
        }
        let left = self.settings.duration.map(|d| d.max(BUSY));
        pause.min(left.unwrap_or(pause))
    }

    /// Detaches, and sends what is left.
    fn finish(mut self) -> Result<Summary> {
        self.jobs.iter_mut().for_each(Job::stop);
        while self.drain()? {}
        self.send_spans();
        if self.sender.is_some() {
            self.send_metrics()?;
        }
        // Waits for what is on its way.
        self.sender = None;
        self.jobs.iter().try_fold(Summary::default(), |all, job| Ok(all + job.summary()?))
    }

    /// Takes the spans that have ended. Returns whether there were events.
    fn drain(&mut self) -> Result<bool> {
        let limit = self.settings.config.limits.queue;
        let mut came = false;
        for job in &mut self.jobs {
            let Some(before) = job.pairing.as_ref().map(|p| p.counts.complete) else { continue };
            let (queue, lost, services) = (&mut self.queue, &mut self.lost, &mut self.services);
            let more = job.drain(|span| {
                // Who has ended meanwhile has left the name of a thread.
                services
                    .entry(span.pid)
                    .or_insert_with(|| service(span.pid).unwrap_or_else(|| span.comm.clone()));
                if queue.len() < limit {
                    queue.push(span);
                } else {
                    *lost += 1;
                }
            })?;
            came |= more || job.pairing.as_ref().is_some_and(|p| p.counts.complete > before);
        }
        Ok(came)
    }

    /// Attaches to files that the target has come to run.
    fn follow(&mut self) -> Result<()> {
        let Some(follower) = &mut self.follower else { return Ok(()) };
        let mut found = follower.poll_new_objects()?;
        if found.is_empty() {
            return Ok(());
        }
        let globs: Vec<String> = self.jobs.iter().flat_map(Job::globs).cloned().collect();
        discover::add_function_entries(&mut found, &globs);
        found.retain(|f| !f.probes.is_empty());
        for files in batches(&self.settings.target, &found) {
            for job in &mut self.jobs {
                // What cannot be attached to in a new file is no reason to leave the others.
                if let Err(error) = job.attach(files, self.backend, self.say) {
                    (self.say)(format!("{error:#}"));
                }
            }
        }
        self.settings.found.extend(found);
        Ok(())
    }

    /// Reads the configuration again. One with mistakes changes nothing.
    fn reload(&mut self) {
        let Some(path) = self.settings.path.clone() else { return };
        let result = Config::read(&path).and_then(|new| {
            let old = self.settings.config.clone();
            if old.target != new.target {
                (self.say)(
                    "whom to trace is not changed by reading again: start anew for that".to_owned(),
                );
            }
            self.outputs(&old, &new)?;
            if let Err(error) = self.take_on(&new) {
                self.outputs(&new, &old)?;
                return Err(error);
            }
            self.settings.config = new;
            Ok(())
        });
        match result {
            Ok(()) => (self.say)(format!("{} read again", path.display())),
            Err(error) => (self.say)(format!("{error:#}; the configuration stays as it was")),
        }
    }

    /// Detaches from files that nobody runs any more, and forgets processes that have ended.
    fn tidy(&mut self) -> Result<()> {
        let mut wanted: HashSet<ObjectId> = self.jobs.iter().flat_map(Job::objects).collect();
        wanted.extend(self.settings.found.iter().map(|f| f.object.id));
        if matches!(self.settings.target, Target::Host | Target::Cgroup(_) | Target::Executable(_))
        {
            let mut live = discover::still_mapped(&wanted)?;
            if let Target::Executable(path) = &self.settings.target {
                // Nobody runs it now, but somebody may soon.
                live.extend(ObjectId::from_path(path));
            }
            for job in &mut self.jobs {
                job.retire(&live)?;
            }
            if let Some(follower) = &mut self.follower {
                wanted.difference(&live).for_each(|id| follower.forget(*id));
            }
            self.settings.found.retain(|f| live.contains(&f.object.id));
        }
        self.services.retain(|pid, _| alive(*pid));
        for pairing in self.jobs.iter_mut().filter_map(|job| job.pairing.as_mut()) {
            pairing.forget(alive);
        }
        Ok(())
    }

    fn send_spans(&mut self) {
        let (Some(sender), Some(otlp)) = (&self.sender, &self.settings.config.otlp) else { return };
        let services = &self.services;
        // As the specification wants it of what has no name.
        let name =
            |pid: u32| services.get(&pid).cloned().unwrap_or_else(|| "unknown_service".to_owned());
        for batch in std::mem::take(&mut self.queue).chunks(otlp::BATCH) {
            sender.spans(otlp::spans(batch, &otlp.resource, name), batch.len());
        }
    }

    fn send_metrics(&self) -> Result<()> {
        let families = self.families()?;
        if let (Some(sender), Some(otlp)) = (&self.sender, &self.settings.config.otlp) {
            sender.metrics(otlp::metrics(&families, &otlp.resource, self.since, unix_nanos()));
        }
        Ok(())
    }

    /// Every metric, its own at the end.
    fn families(&self) -> Result<Vec<Family>> {
        let mut out: BTreeMap<String, Family> = BTreeMap::new();
        for family in
            self.jobs.iter().map(Job::families).collect::<Result<Vec<_>>>()?.into_iter().flatten()
        {
            match out.get_mut(&family.name) {
                // Two entries may count the same probe by different labels.
                Some(known) if known.kind == family.kind => {
                    let new = family
                        .series
                        .into_iter()
                        .filter(|s| known.series.iter().all(|k| k.labels != s.labels));
                    let new: Vec<Series> = new.collect();
                    known.series.extend(new);
                }
                Some(_) => {}
                None => drop(out.insert(family.name.clone(), family)),
            }
        }
        let mut out: Vec<Family> = out.into_values().collect();
        out.extend(self_metrics::families(&self.snapshot()?));
        Ok(out)
    }

    /// What the metrics about the exporter itself are made from.
    fn snapshot(&self) -> Result<Snapshot> {
        let files: HashSet<ObjectId> = self.jobs.iter().flat_map(Job::objects).collect();
        let entries = self.jobs.iter().map(|job| Ok((job.name(), job.summary()?)));
        let otlp = self.sender.as_ref().map(|sender| {
            let pairings: Vec<&Pairing> =
                self.jobs.iter().filter_map(|job| job.pairing.as_ref()).collect();
            let sum =
                |count: fn(&Pairing) -> u64| pairings.iter().map(|pairing| count(pairing)).sum();
            OtlpCounts {
                requests_sent: sender.fate.sent.load(Relaxed),
                requests_lost: sender.fate.lost.load(Relaxed),
                spans_complete: sum(|pairing| pairing.counts.complete),
                spans_without_start: sum(|pairing| pairing.counts.ends),
                spans_without_end: sum(|pairing| pairing.counts.lost),
                spans_unsent: self.lost + sender.fate.lost_spans.load(Relaxed),
                spans_open: sum(|pairing| pairing.waiting() as u64),
            }
        });
        Ok(Snapshot {
            files: files.len() as u64,
            sites: self.sites(),
            entries: entries.collect::<Result<_>>()?,
            otlp,
        })
    }
}

/// Files that are attached to together. Where they come and go, each is on its own.
fn batches<'f>(target: &Target, found: &'f [ScannedObject]) -> Vec<&'f [ScannedObject]> {
    match target {
        _ if found.is_empty() => Vec::new(),
        Target::Processes(_) | Target::Command(_) => vec![found],
        Target::Host | Target::Cgroup(_) | Target::Executable(_) => found.chunks(1).collect(),
    }
}

fn alive(pid: u32) -> bool {
    discover::is_process_alive(pid)
}

/// The name of a process's program.
fn service(pid: u32) -> Option<String> {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(exe.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
}
