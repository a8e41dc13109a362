//! What a Go program's runtime does, from the catalogue's probes: goroutines, waiting, memory, requests. All of it is
//! counted in the kernel; whichever probes a binary lacks, what they would tell is absent. What is there at this moment
//! comes from the process's memory.

pub(crate) mod render;

use std::collections::BTreeMap;
use usdt_attach::discover::select::{Glob, Selected};
use usdt_attach::error::Result;
use usdt_attach::event::counts::{Histogram, LabelValue, Row, Total};
use usdt_attach::event::goroutines::{Goroutine, GoroutineSnapshot};
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Options, Plan, Scale};
use usdt_attach::session::Session;

/// The globs of every probe that is used.
pub(crate) const GLOBS: [&str; 2] = ["go:*", "net_http:*"];

/// What a plan measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Goroutines made, by the place they were made at.
    Created,
    /// Of those the ones that ended, and how long they lived.
    Ended,
    /// How often probes fired that say no more.
    Changes,
    /// What goroutines waited for.
    Blocked,
    /// How long they could have run before they did.
    Latency,
    /// The same of those that had waited, where new ones cannot be seen.
    Woken,
    /// How long the world was stopped.
    Pauses,
    /// What was allocated.
    Allocated,
    /// Requests served, and how long they took.
    Served,
    /// Requests that came, where their ends cannot be seen.
    Came,
}

/// The plans of the metrics that these probes can measure.
pub(crate) fn plans(chosen: &[Selected], options: &Options) -> Vec<(Metric, Plan)> {
    let subject = |name: &str| Subject { name: name.to_owned(), string: false };
    let subjects = |names: &[&str]| names.iter().map(|name| subject(name)).collect::<Vec<_>>();
    let plan = |metric: Metric, globs: &[&str], mode: Mode| {
        let globs: Vec<Glob> = globs.iter().map(|glob| Glob::new(glob)).collect();
        let own: Vec<Selected> =
            chosen.iter().filter(|s| globs.iter().any(|g| g.matches(&s.probe))).cloned().collect();
        if own.is_empty() {
            return None;
        }
        let (plan, _) = Plan::new(&own, &Options { mode, ..options.clone() }).ok()?;
        Some((metric, plan))
    };
    let latency = |start: &str, end: &str, key: Option<&str>, by: &[&str]| Mode::Latency {
        start: Glob::new(start),
        end: Glob::new(end),
        key: key.map(subject),
        by: subjects(by),
        scale: Scale::Log2,
    };
    let histogram =
        |value: &str| Mode::Histogram { value: subject(value), scale: Scale::Log2, by: Vec::new() };
    let (create, exit) = ("go:goroutine__create", "go:goroutine__exit");
    let (block, begin, end) = ("go:goroutine__block", "go:stw__begin", "go:stw__end");
    let (start, done) = ("net_http:server_request_start", "net_http:server_request_end");

    let mut out = Vec::new();
    let mut changes = vec!["go:goroutine__unblock", "go:syscall__*", "go:gc__end", "go:panic"];
    out.extend(plan(Metric::Created, &[create], Mode::Count { by: subjects(&["caller"]) }));
    match plan(Metric::Ended, &[create, exit], latency(create, exit, Some("id"), &["caller"])) {
        Some(ended) => out.push(ended),
        None => changes.push(exit),
    }
    match plan(Metric::Blocked, &[block], Mode::Count { by: subjects(&["reason"]) }) {
        Some(blocked) => out.push(blocked),
        None => changes.push(block),
    }
    out.extend(plan(Metric::Changes, &changes, Mode::Count { by: Vec::new() }));
    let (wake, run) = ("go:goroutine__unblock", "go:goroutine__start");
    out.extend(
        plan(Metric::Latency, &["go:sched__latency"], histogram("ns"))
            .or_else(|| plan(Metric::Woken, &[wake, run], latency(wake, run, Some("id"), &[]))),
    );
    out.extend(
        plan(Metric::Pauses, &[end], histogram("ns"))
            .or_else(|| plan(Metric::Pauses, &[begin, end], latency(begin, end, Some("pid"), &[]))),
    );
    out.extend(plan(Metric::Allocated, &["go:heap__alloc"], histogram("bytes")));
    let routes = ["method", "path", "status"];
    out.extend(
        plan(Metric::Served, &[start, done], latency(start, done, Some("id"), &routes))
            .or_else(|| {
                plan(Metric::Came, &[start], Mode::Count { by: subjects(&["method", "path"]) })
            })
            .or_else(|| plan(Metric::Came, &[start], Mode::Count { by: subjects(&["method"]) })),
    );
    out
}

/// What was counted since the probes were attached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// Goroutines made and ended, by the address behind the go statement.
    pub creators: BTreeMap<u64, CreatorStats>,
    /// Goroutines that ended, where it is not known whose they were.
    pub ended: u64,
    /// How often each probe fired that says no more.
    pub changes: BTreeMap<String, u64>,
    /// How often goroutines waited, by what for; `None` where only how often is known.
    pub blocked: BTreeMap<Option<String>, u64>,
    /// Nanoseconds from runnable to running.
    pub latency: Option<Histogram>,
    /// Nanoseconds the world was stopped for.
    pub pauses: Option<Histogram>,
    /// Bytes allocated: estimated from samples, else what the runtime says.
    pub allocated: Option<u64>,
    /// Requests, by method and path.
    pub routes: BTreeMap<(String, String), Route>,
    /// What is there at this moment.
    pub census: Option<GoroutineSnapshot>,
    /// What the binary's probes can measure.
    measured: Vec<Metric>,
}

/// Goroutines created by one go statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CreatorStats {
    /// Goroutines created.
    pub created: u64,
    /// Of these, ended.
    pub ended: u64,
}

/// Requests of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    /// All.
    pub requests: u64,
    /// Answered with a status of 500 and above.
    pub errors: u64,
    /// Nanoseconds in the handler.
    pub times: Option<Histogram>,
}

impl Overview {
    /// What the sessions of [`plans`], in the same order, have counted.
    pub(crate) fn read(metrics: &[Metric], sessions: &[Session]) -> Result<Overview> {
        let mut out = Overview { measured: metrics.to_vec(), ..Overview::default() };
        for (metric, session) in metrics.iter().zip(sessions) {
            for row in session.rows()? {
                out.add(*metric, &row);
            }
        }
        Ok(out)
    }

    fn add(&mut self, metric: Metric, row: &Row) {
        let number = |name: &str| match key(row, name) {
            Some(LabelValue::Unsigned(n) | LabelValue::Pointer(n)) => *n,
            Some(LabelValue::Signed(n)) => *n as u64,
            _ => 0,
        };
        let text = |name: &str| match key(row, name) {
            Some(LabelValue::String(bytes, _)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let count = row.total.count();
        let histogram = || match &row.total {
            Total::Histogram(histogram) => Some(histogram.clone()),
            Total::Count(_) => None,
        };
        match metric {
            Metric::Created => self.creators.entry(number("caller")).or_default().created += count,
            Metric::Ended => {
                self.creators.entry(number("caller")).or_default().ended += count;
                self.ended += count;
            }
            Metric::Changes if row.probe.name == "goroutine__exit" => self.ended += count,
            Metric::Changes if row.probe.name == "goroutine__block" => {
                *self.blocked.entry(None).or_default() += count;
            }
            Metric::Changes => *self.changes.entry(row.probe.name.clone()).or_default() += count,
            Metric::Blocked => *self.blocked.entry(Some(text("reason"))).or_default() += count,
            Metric::Latency | Metric::Woken => self.latency = histogram(),
            Metric::Pauses => self.pauses = histogram(),
            Metric::Allocated => {
                self.allocated = histogram().and_then(|h| u64::try_from(h.sum).ok());
            }
            Metric::Served | Metric::Came => {
                let route = self.routes.entry((text("method"), text("path"))).or_default();
                route.requests += count;
                if number("status") >= 500 {
                    route.errors += count;
                }
                if let Some(times) = histogram() {
                    match &mut route.times {
                        Some(all) => all.merge(&times),
                        None => route.times = Some(times),
                    }
                }
            }
        }
    }

    /// Whether the binary's probes can measure this.
    pub(crate) fn measures(&self, metric: Metric) -> bool {
        self.measured.contains(&metric)
    }

    /// Goroutines made.
    pub(crate) fn created(&self) -> u64 {
        self.creators.values().map(|creator| creator.created).sum()
    }

    /// How many more goroutines there are now than when the probes were attached, of them waiting, and in system
    /// calls; the others run or could. `None` for what the binary's probes do not tell.
    pub(crate) fn change(&self) -> (i64, Option<i64>, Option<i64>) {
        let fired = |name: &str| self.changes.get(name).copied().unwrap_or(0) as i64;
        let blocks: u64 = self.blocked.values().sum();
        // Function entries see neither every end of waiting nor when what it ends in begins.
        let waits = self.measures(Metric::Blocked) && self.measures(Metric::Latency);
        let calls = self.changes.contains_key("syscall__begin");
        (
            self.created() as i64 - self.ended as i64,
            waits.then(|| blocks as i64 - fired("goroutine__unblock")),
            calls.then(|| fired("syscall__begin") - fired("syscall__end")),
        )
    }

    /// Puts in what the process's memory says, compared with what it said when the probes were attached.
    pub(crate) fn complete(
        &mut self,
        now: Option<GoroutineSnapshot>,
        before: Option<&GoroutineSnapshot>,
    ) {
        let allocated = |census: &GoroutineSnapshot| census.allocated_bytes;
        if !self.measures(Metric::Allocated)
            && let Some(all) = now.as_ref().and_then(allocated)
        {
            self.allocated = Some(all.saturating_sub(before.and_then(allocated).unwrap_or(0)));
        }
        self.census = now;
    }

    /// How many goroutines there are at this moment, of those that a condition holds for.
    pub(crate) fn live(&self, condition: impl Fn(&Goroutine) -> bool) -> Option<u64> {
        let all = &self.census.as_ref()?.goroutines;
        Some(all.iter().filter(|(goroutine, _)| condition(goroutine)).map(|(_, count)| count).sum())
    }
}

fn key<'a>(row: &'a Row, name: &str) -> Option<&'a LabelValue> {
    row.labels.iter().find(|(n, _)| n == name).map(|(_, key)| key)
}
