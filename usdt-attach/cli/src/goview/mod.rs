//! The view of a Go runtime that `usdt-attach go` prints: goroutines, scheduling, memory, requests.
//!
//! It combines two sources. Aggregations of the catalog's probes, in the kernel, count what has
//! happened since they were attached; a metric is absent if the binary lacks its probes. Snapshots
//! of the process's memory hold the goroutines that exist at the moment.

mod json;
pub(crate) mod render;

use std::collections::BTreeMap;
use usdt_attach::discover::Probe;
use usdt_attach::discover::select::{Glob, Selected};
use usdt_attach::error::Result;
use usdt_attach::event::counts::{Histogram, LabelValue, Row, Total};
use usdt_attach::event::goroutines::{Goroutine, GoroutineSnapshot};
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Options, Plan, Scale};
use usdt_attach::session::Session;

/// The globs of all probes that are used.
pub(crate) const GLOBS: [&str; 2] = ["go:*", "net_http:*"];

/// The globs of the probes that metrics use.
const MEASURED: [&str; 8] = [
    ALLOCATED,
    "go:goroutine__*",
    "go:sched__latency",
    "go:syscall__*",
    "go:stw__*",
    "go:gc__end",
    "go:panic",
    "net_http:server_request_*",
];

/// The glob of the probe that counts allocated bytes, if it has them.
const ALLOCATED: &str = "go:heap__alloc";

/// Returns true if a metric uses this probe.
pub(crate) fn is_measured(probe: &Probe) -> bool {
    MEASURED.iter().any(|glob| Glob::new(glob).matches(probe))
}

/// What the session of one plan measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Goroutines created, by go statement.
    Created,
    /// The lifetime of goroutines that were created and have exited, by go statement.
    Ended,
    /// Hits of probes of which only the number matters.
    Hits,
    /// How often goroutines blocked, by reason.
    Blocked,
    /// The time from runnable to running.
    Latency,
    /// The same time, but only of goroutines that had been blocked: new ones cannot be measured.
    Woken,
    /// The duration of stop-the-world pauses.
    Pauses,
    /// The bytes allocated.
    Allocated,
    /// The duration of HTTP requests, by method, path, status and route if there is one.
    Served,
    /// HTTP requests that arrived, if their ends cannot be measured.
    Arrived,
}

/// The plans of the metrics that these probes can measure.
pub(crate) fn plans(selected: &[Selected], options: &Options) -> Vec<(Metric, Plan)> {
    // `None` if the binary lacks the probes or one of the arguments.
    let plan = |metric: Metric, globs: &[&str], mode: Mode| {
        let globs: Vec<Glob> = globs.iter().map(|glob| Glob::new(glob)).collect();
        let matching: Vec<Selected> = selected
            .iter()
            .filter(|s| globs.iter().any(|glob| glob.matches(&s.probe)))
            .cloned()
            .collect();
        if matching.is_empty() {
            return None;
        }
        let (plan, _) = Plan::new(&matching, &Options { mode, ..options.clone() }).ok()?;
        Some((metric, plan))
    };
    let (create, exit) = ("go:goroutine__create", "go:goroutine__exit");
    let (block, unblock) = ("go:goroutine__block", "go:goroutine__unblock");
    let run = "go:goroutine__start";
    let (stop, restart) = ("go:stw__begin", "go:stw__end");
    let (request_start, request_end) =
        ("net_http:server_request_start", "net_http:server_request_end");

    let mut out = Vec::new();
    let mut counted = vec![unblock, "go:syscall__*", "go:gc__end", "go:panic"];
    out.extend(plan(Metric::Created, &[create], count_by(&["caller"])));
    match plan(Metric::Ended, &[create, exit], latency(create, exit, Some("id"), &["caller"])) {
        Some(ended) => out.push(ended),
        None => counted.push(exit),
    }
    match plan(Metric::Blocked, &[block], count_by(&["reason"])) {
        Some(blocked) => out.push(blocked),
        None => counted.push(block),
    }
    out.extend(plan(Metric::Hits, &counted, count_by(&[])));
    out.extend(
        plan(Metric::Latency, &["go:sched__latency"], histogram("ns")).or_else(|| {
            plan(Metric::Woken, &[unblock, run], latency(unblock, run, Some("id"), &[]))
        }),
    );
    out.extend(plan(Metric::Pauses, &[restart], histogram("ns")).or_else(|| {
        plan(Metric::Pauses, &[stop, restart], latency(stop, restart, Some("pid"), &[]))
    }));
    out.extend(plan(Metric::Allocated, &[ALLOCATED], histogram("bytes")));
    // Requests without a route, such as of other routers than `ServeMux`, are shown by path.
    let served = |by: &[&str]| {
        let mode = latency(request_start, request_end, Some("id"), by);
        plan(Metric::Served, &[request_start, request_end], mode)
    };
    let arrived = |by: &[&str]| plan(Metric::Arrived, &[request_start], count_by(by));
    out.extend(
        served(&["method", "path", "status", "route"])
            .or_else(|| served(&["method", "path", "status"]))
            .or_else(|| arrived(&["method", "path"]))
            .or_else(|| arrived(&["method"])),
    );
    out
}

fn subject(name: &str) -> Subject {
    Subject { name: name.to_owned(), string: false }
}

fn subjects(names: &[&str]) -> Vec<Subject> {
    names.iter().map(|name| subject(name)).collect()
}

fn count_by(names: &[&str]) -> Mode {
    Mode::Count { by: subjects(names) }
}

fn histogram(value: &str) -> Mode {
    Mode::Histogram { value: subject(value), scale: Scale::Log2, by: Vec::new() }
}

fn latency(start: &str, end: &str, pair_by: Option<&str>, by: &[&str]) -> Mode {
    Mode::Latency {
        start: Glob::new(start),
        end: Glob::new(end),
        key: pair_by.map(subject),
        by: subjects(by),
        scale: Scale::Log2,
    }
}

/// The state of a Go runtime: totals since the probes were attached, and the current goroutines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// Goroutines created and exited, by the return address of their go statement.
    pub(crate) creators: BTreeMap<u64, CreatorStats>,
    /// Goroutines that have exited, of all go statements.
    pub(crate) ended: u64,
    /// Hits of the other probes, by probe name.
    pub(crate) hits: BTreeMap<String, u64>,
    /// How often goroutines blocked, by reason; the key is `None` if reasons are unknown.
    pub(crate) blocked: BTreeMap<Option<String>, u64>,
    /// Nanoseconds from runnable to running; `None` if not measured.
    pub(crate) latency: Option<Histogram>,
    /// Nanoseconds of stop-the-world pauses; `None` if not measured.
    pub(crate) pauses: Option<Histogram>,
    /// Bytes allocated: estimated from the probe's samples, else read from the runtime's
    /// statistics.
    pub(crate) allocated: Option<u64>,
    /// HTTP requests, by method and route or path.
    pub(crate) routes: BTreeMap<RouteKey, Route>,
    /// The current goroutines; `None` if the process's memory cannot be read.
    pub(crate) snapshot: Option<GoroutineSnapshot>,
    /// The metrics that the binary's probes can measure.
    measured: Vec<Metric>,
}

/// Goroutines created by one go statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CreatorStats {
    /// Goroutines created.
    pub(crate) created: u64,
    /// Goroutines of these that have exited.
    pub(crate) ended: u64,
}

/// What HTTP requests are grouped by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteKey {
    /// The method as received.
    pub(crate) method: String,
    /// The pattern that matched the request if its probe has it, else the path.
    pub(crate) place: String,
    /// Whether `place` is a pattern.
    pub(crate) is_route: bool,
}

impl RouteKey {
    fn new(row: &Row) -> RouteKey {
        let method = string_label(row, "method");
        let route = string_label(row, "route");
        if route.is_empty() {
            return RouteKey { method, place: string_label(row, "path"), is_route: false };
        }
        // A pattern of `ServeMux` may start with the method.
        let pattern = route.strip_prefix(&method).and_then(|rest| rest.strip_prefix(' '));
        let place = pattern.unwrap_or(&route).to_owned();
        RouteKey { method, place, is_route: true }
    }
}

/// HTTP requests of one method and route or path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    /// All requests.
    pub(crate) requests: u64,
    /// Requests answered with a status of 500 or above.
    pub(crate) errors: u64,
    /// Nanoseconds in the handler; `None` if not measured.
    pub(crate) times: Option<Histogram>,
}

impl Overview {
    /// Reads the totals of the sessions of [`plans`], which have the order of `metrics`.
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
        let count = row.total.count();
        let histogram = || match &row.total {
            Total::Histogram(histogram) => Some(histogram.clone()),
            Total::Count(_) => None,
        };
        match metric {
            Metric::Created => {
                self.creators.entry(number_label(row, "caller")).or_default().created += count;
            }
            Metric::Ended => {
                self.creators.entry(number_label(row, "caller")).or_default().ended += count;
                self.ended += count;
            }
            Metric::Hits if row.probe.name == "goroutine__exit" => self.ended += count,
            Metric::Hits if row.probe.name == "goroutine__block" => {
                *self.blocked.entry(None).or_default() += count;
            }
            Metric::Hits => *self.hits.entry(row.probe.name.clone()).or_default() += count,
            Metric::Blocked => {
                *self.blocked.entry(Some(string_label(row, "reason"))).or_default() += count;
            }
            Metric::Latency | Metric::Woken => self.latency = histogram(),
            Metric::Pauses => self.pauses = histogram(),
            Metric::Allocated => {
                self.allocated = histogram().and_then(|h| u64::try_from(h.sum).ok());
            }
            Metric::Served | Metric::Arrived => {
                let route = self.routes.entry(RouteKey::new(row)).or_default();
                route.requests += count;
                if number_label(row, "status") >= 500 {
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

    /// The number of goroutines created.
    pub(crate) fn created(&self) -> u64 {
        self.creators.values().map(|creator| creator.created).sum()
    }

    /// How the numbers of goroutines have changed since the probes were attached.
    pub(crate) fn change(&self) -> GoroutineChange {
        let hits = |name: &str| self.hits.get(name).copied().unwrap_or(0) as i64;
        let blocks: u64 = self.blocked.values().sum();
        // Function entries miss some of the hits that end a wait, so the difference would be wrong.
        let knows_waits = self.measures(Metric::Blocked) && self.measures(Metric::Latency);
        let knows_calls = self.hits.contains_key("syscall__begin");
        GoroutineChange {
            total: self.created() as i64 - self.ended as i64,
            waiting: knows_waits.then(|| blocks as i64 - hits("goroutine__unblock")),
            in_calls: knows_calls.then(|| hits("syscall__begin") - hits("syscall__end")),
        }
    }

    /// Adds a snapshot of the process's memory. `first` is that of the time of attaching, from
    /// which allocated bytes are counted.
    pub(crate) fn add_snapshot(
        &mut self,
        current: Option<GoroutineSnapshot>,
        first: Option<&GoroutineSnapshot>,
    ) {
        if !self.measures(Metric::Allocated)
            && let Some(total) = current.as_ref().and_then(|snapshot| snapshot.allocated_bytes)
        {
            let before = first.and_then(|snapshot| snapshot.allocated_bytes).unwrap_or(0);
            self.allocated = Some(total.saturating_sub(before));
        }
        self.snapshot = current;
    }

    /// The number of current goroutines that match; `None` without a snapshot.
    pub(crate) fn live(&self, matches: impl Fn(&Goroutine) -> bool) -> Option<u64> {
        let all = &self.snapshot.as_ref()?.goroutines;
        Some(all.iter().filter(|(goroutine, _)| matches(goroutine)).map(|(_, count)| count).sum())
    }
}

/// The change of the numbers of goroutines since the probes were attached. Goroutines that neither
/// wait nor are in a system call are running or runnable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoroutineChange {
    /// All goroutines.
    pub(crate) total: i64,
    /// Those that wait; `None` if the binary's probes cannot tell.
    pub(crate) waiting: Option<i64>,
    /// Those in system calls; `None` if the binary's probes cannot tell.
    pub(crate) in_calls: Option<i64>,
}

/// The integer that a row is grouped by; 0 if there is none of this name.
fn number_label(row: &Row, name: &str) -> u64 {
    match label(row, name) {
        Some(LabelValue::Unsigned(n) | LabelValue::Pointer(n)) => *n,
        Some(LabelValue::Signed(n)) => *n as u64,
        _ => 0,
    }
}

/// The string that a row is grouped by; empty if there is none of this name.
fn string_label(row: &Row, name: &str) -> String {
    match label(row, name) {
        Some(LabelValue::String(bytes, _)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn label<'a>(row: &'a Row, name: &str) -> Option<&'a LabelValue> {
    row.labels.iter().find(|(n, _)| n == name).map(|(_, key)| key)
}
