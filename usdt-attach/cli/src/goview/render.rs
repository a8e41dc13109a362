//! Prints the view of a Go runtime, as text and as JSON.

use crate::goview::{CreatorStats, GoroutineChange, Metric, Overview, Route};
use crate::output::json::{self, NanosHistogram};
use crate::output::table::{Style, format_time, write_histogram};
use cli_common::escape;
use gobinary::runtime_layout::GoroutineStatus;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;
use usdt_attach::event::goroutines::Goroutine;

/// The maximum number of rows of each list.
const MAX_ROWS: usize = 8;

/// An overview, ready to be printed.
pub(crate) struct View<'a> {
    pub(crate) now: &'a Overview,
    /// An earlier overview, from which rates are computed; `None` prints no rates.
    pub(crate) previous: Option<PreviousOverview<'a>>,
    /// Symbolizes an address.
    pub(crate) place_of: &'a dyn Fn(Address) -> Place,
    pub(crate) style: Style,
}

/// An overview of the past.
#[derive(Clone, Copy)]
pub(crate) struct PreviousOverview<'a> {
    pub(crate) overview: &'a Overview,
    /// The time since it was read.
    pub(crate) age: Duration,
}

impl PreviousOverview<'_> {
    /// The rate per second of a total that has increased by `increase` since.
    fn rate(&self, increase: u64) -> f64 {
        increase as f64 / self.age.as_secs_f64().max(1e-9)
    }
}

/// An address in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// The address after a call or a go statement.
    Return(u64),
    /// The entry of a function.
    Entry(u64),
}

/// A place in the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The function, or the address in hexadecimal if it is unknown.
    pub(crate) function: String,
    /// The source file, if it is known.
    pub(crate) file: Option<String>,
    /// The line in the file.
    pub(crate) line: Option<u32>,
}

impl View<'_> {
    /// Formats the view for a terminal. A part is left out if its metrics are not measured.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.goroutines(&mut out);
        self.scheduler(&mut out);
        self.memory(&mut out);
        self.requests(&mut out);
        out
    }

    /// Formats the rate of a total with a space before it; empty without an earlier overview.
    fn rate(&self, total: impl Fn(&Overview) -> u64) -> String {
        let Some(previous) = self.previous else { return String::new() };
        let increase = total(self.now).saturating_sub(total(previous.overview));
        format!(" {:.1}/s", previous.rate(increase))
    }

    fn heading(&self, out: &mut String, title: &str) {
        let (bold, reset) = if self.style.color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let _ = write!(out, "{bold}{title:<12}{reset}");
    }

    fn goroutines(&self, out: &mut String) {
        let now = self.now;
        let live = self.live();
        if now.creators.is_empty() && now.ended == 0 && live.is_none() {
            return;
        }
        self.heading(out, "GOROUTINES");
        if let Some(Live { count, waiting, in_calls, running, runnable, runtime }) = live {
            let _ = writeln!(
                out,
                "{count} live: {waiting} waiting, {in_calls} in calls, {running} running, {runnable} runnable"
            );
            let _ = write!(out, "  plus {runtime} runtime goroutines; ");
        }
        let _ = write!(
            out,
            "{} created{}, {} ended{}",
            now.created(),
            self.rate(Overview::created),
            now.ended,
            self.rate(|o| o.ended)
        );
        if live.is_none() {
            let GoroutineChange { total, waiting, in_calls } = now.change();
            let _ = write!(out, "\n  since attached {total:+}");
            if let (Some(waiting), Some(in_calls)) = (waiting, in_calls) {
                let other = total - waiting - in_calls;
                let _ = write!(
                    out,
                    ": {waiting:+} waiting, {in_calls:+} in system calls, {other:+} running or runnable"
                );
            }
        }
        out.push('\n');
        let creators = self.creators();
        if !creators.is_empty() {
            let _ = writeln!(out, "      LIVE    CREATED  BY");
        }
        for creator in creators.iter().take(MAX_ROWS) {
            let Place { function, file, line } = &creator.place;
            let live = creator.live.map_or_else(|| "-".to_owned(), |live| live.to_string());
            let _ =
                write!(out, "{live:>10} {:>10}  {}", creator.created, escape(function.as_bytes()));
            if let (Some(file), Some(line)) = (file, line) {
                let file = file.rsplit('/').next().unwrap_or_default();
                let _ = write!(out, " {}:{line}", escape(file.as_bytes()));
            }
            out.push('\n');
        }
        write_omitted(out, creators.len());
    }

    fn scheduler(&self, out: &mut String) {
        if let Some(latency) = self.now.latency.as_ref().filter(|h| h.count() > 0) {
            self.heading(out, "SCHEDULER");
            let woken = if self.now.measures(Metric::Woken) {
                ", of goroutines that had been blocked"
            } else {
                ""
            };
            let _ = writeln!(out, "from runnable to running{woken}");
            write_histogram(out, latency, Style { unit: Some("ns"), ..self.style });
        }
        let reasons = self.reasons();
        if reasons.is_empty() {
            return;
        }
        self.heading(out, "BLOCKED");
        let _ = writeln!(out, "{}", self.rate(|o| o.blocked.values().sum()).trim_start());
        let _ = writeln!(out, "   WAITING    BLOCKED  ON");
        for Blocked { reason, count, now } in reasons.iter().take(MAX_ROWS) {
            let now = now.map_or_else(|| "-".to_owned(), |now| now.to_string());
            let reason = reason.unwrap_or("(unknown reason)");
            let _ = writeln!(out, "{now:>10} {count:>10}  {}", escape(reason.as_bytes()));
        }
        write_omitted(out, reasons.len());
    }

    /// The current goroutines by status; those of the runtime itself are counted separately, as in
    /// `runtime.NumGoroutine`.
    fn live(&self) -> Option<Live> {
        let is_runtime = |goroutine: &Goroutine| {
            let name = (self.place_of)(Address::Entry(goroutine.entry_pc)).function;
            name.starts_with("runtime.")
                && !["runtime.main", "runtime.corostart"].contains(&name.as_str())
        };
        let count = |status| self.now.live(|g| g.status == status && !is_runtime(g));
        Some(Live {
            count: self.now.live(|g| !is_runtime(g))?,
            waiting: count(GoroutineStatus::Waiting)?,
            in_calls: count(GoroutineStatus::InSyscall)?,
            running: count(GoroutineStatus::Running)?,
            runnable: count(GoroutineStatus::Runnable)?,
            runtime: self.now.live(is_runtime)?,
        })
    }

    /// The go statements that have created goroutines, those with the most live ones first.
    fn creators(&self) -> Vec<Creator> {
        let now = self.now;
        let counted = now.creators.keys().copied();
        let live = now.snapshot.iter().flat_map(|s| s.goroutines.keys()).map(|g| g.creator_pc);
        let addresses: BTreeSet<u64> = counted.chain(live).collect();
        let creator_at = |address: u64| {
            let CreatorStats { created, ended } =
                now.creators.get(&address).copied().unwrap_or_default();
            let ended = now.measures(Metric::Ended).then_some(ended);
            let live = now
                .live(|g| g.creator_pc == address)
                .or_else(|| ended.map(|ended| created.saturating_sub(ended)));
            Creator { place: (self.place_of)(Address::Return(address)), live, created, ended }
        };
        let all = addresses.into_iter().map(creator_at);
        let mut out: Vec<Creator> = all.filter(|c| c.created > 0 || c.live > Some(0)).collect();
        out.sort_by_key(|creator| Reverse((creator.live, creator.created)));
        out
    }

    /// The reasons for which goroutines block, the most frequent first.
    fn reasons(&self) -> Vec<Blocked<'_>> {
        let now = self.now;
        let counted = now.blocked.keys().map(Option::as_deref);
        let live =
            now.snapshot.iter().flat_map(|s| s.goroutines.keys()).filter_map(|g| g.wait_reason);
        let reasons: BTreeSet<Option<&str>> = counted.chain(live.map(Some)).collect();
        let mut out: Vec<Blocked<'_>> = reasons
            .into_iter()
            .map(|reason| {
                let count = now.blocked.iter().find(|(name, _)| name.as_deref() == reason);
                Blocked {
                    reason,
                    count: count.map_or(0, |(_, count)| *count),
                    now: reason.and_then(|reason| now.live(|g| g.wait_reason == Some(reason))),
                }
            })
            .collect();
        out.sort_by_key(|blocked| Reverse(blocked.count.max(blocked.now.unwrap_or(0))));
        out
    }

    fn memory(&self, out: &mut String) {
        let collections = |o: &Overview| o.hits.get("gc__end").copied().unwrap_or(0);
        let pauses = self.now.pauses.as_ref().filter(|h| h.count() > 0);
        if self.now.allocated.is_none() && pauses.is_none() && collections(self.now) == 0 {
            return;
        }
        self.heading(out, "MEMORY");
        if let Some(bytes) = self.now.allocated {
            let _ = write!(out, "{} allocated", format_bytes(bytes as f64));
            if let Some(previous) = self.previous {
                let increase = bytes.saturating_sub(previous.overview.allocated.unwrap_or(0));
                let _ = write!(out, " {}/s", format_bytes(previous.rate(increase)));
            }
            out.push_str(", ");
        }
        let _ = writeln!(out, "{} collections{}", collections(self.now), self.rate(collections));
        if let Some(pauses) = pauses {
            let _ = writeln!(out, "  stop-the-world pauses");
            write_histogram(out, pauses, Style { unit: Some("ns"), ..self.style });
        }
    }

    fn requests(&self, out: &mut String) {
        let mut routes: Vec<(&(String, String), &Route)> = self.now.routes.iter().collect();
        if routes.is_empty() {
            return;
        }
        routes.sort_by_key(|(_, route)| Reverse(route.requests));
        self.heading(out, "HTTP");
        let _ = writeln!(
            out,
            "{}",
            self.rate(|o| o.routes.values().map(|r| r.requests).sum()).trim_start()
        );
        let _ = writeln!(out, "  REQUESTS    PER SEC   5XX      P50      P99  ROUTE");
        for ((method, path), route) in routes.iter().take(MAX_ROWS) {
            let key = (method.clone(), path.clone());
            let rate = self.rate(|o| o.routes.get(&key).map_or(0, |r| r.requests));
            let rate = rate.trim_start().trim_end_matches("/s");
            let quantile = |share| {
                route
                    .times
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |h| format_time(h.quantile(share)))
            };
            let errors =
                if route.times.is_some() { route.errors.to_string() } else { "-".to_owned() };
            let _ = writeln!(
                out,
                "{:>10} {rate:>10} {errors:>5} {:>8} {:>8}  {} {}",
                route.requests,
                quantile(0.5),
                quantile(0.99),
                escape(method.as_bytes()),
                escape(path.as_bytes())
            );
        }
        write_omitted(out, routes.len());
    }

    /// Writes one object with all metrics; `time_ns` is the time in nanoseconds since 1970.
    pub(crate) fn json(&self, out: &mut impl Write, time_ns: u64) -> io::Result<()> {
        let now = self.now;
        let GoroutineChange { total, waiting, in_calls } = now.change();
        let http = now.routes.iter().map(|((method, path), route)| RouteObject {
            method,
            path,
            requests: route.requests,
            errors: route.times.as_ref().map(|_| route.errors),
            times: route.times.as_ref().map(NanosHistogram),
        });
        let object = OverviewObject {
            time_ns,
            goroutines: GoroutinesObject {
                created: now.created(),
                ended: now.ended,
                change: total,
                waiting,
                in_calls,
                live: self.live(),
                creators: self.creators(),
            },
            blocked: self.reasons(),
            latency: now.latency.as_ref().map(NanosHistogram),
            pauses: now.pauses.as_ref().map(NanosHistogram),
            allocated: now.allocated,
            collections: now.hits.get("gc__end").copied(),
            panics: now.hits.get("panic").copied(),
            http: http.collect(),
        };
        json::write_line(out, &object)
    }
}

#[derive(Serialize)]
struct OverviewObject<'a> {
    time_ns: u64,
    goroutines: GoroutinesObject,
    blocked: Vec<Blocked<'a>>,
    latency: Option<NanosHistogram<'a>>,
    pauses: Option<NanosHistogram<'a>>,
    allocated: Option<u64>,
    collections: Option<u64>,
    panics: Option<u64>,
    http: Vec<RouteObject<'a>>,
}

#[derive(Serialize)]
struct GoroutinesObject {
    created: u64,
    ended: u64,
    change: i64,
    waiting: Option<i64>,
    in_calls: Option<i64>,
    live: Option<Live>,
    creators: Vec<Creator>,
}

/// The current goroutines by status.
#[derive(Clone, Copy, Serialize)]
struct Live {
    count: u64,
    waiting: u64,
    in_calls: u64,
    running: u64,
    runnable: u64,
    /// Goroutines of the runtime itself, which `count` does not include.
    #[serde(rename = "own")]
    runtime: u64,
}

/// A go statement and its goroutines.
#[derive(Serialize)]
struct Creator {
    #[serde(flatten)]
    place: Place,
    /// `None` if neither a snapshot nor the probes tell.
    live: Option<u64>,
    created: u64,
    /// `None` if not measured.
    ended: Option<u64>,
}

/// A reason for which goroutines block.
#[derive(Serialize)]
struct Blocked<'a> {
    /// `None` if only the number is known.
    reason: Option<&'a str>,
    /// How often goroutines have blocked since the probes were attached.
    count: u64,
    /// The number of goroutines that are blocked now; `None` without a snapshot.
    now: Option<u64>,
}

#[derive(Serialize)]
struct RouteObject<'a> {
    method: &'a str,
    path: &'a str,
    requests: u64,
    errors: Option<u64>,
    times: Option<NanosHistogram<'a>>,
}

/// Writes the number of rows that are not printed.
fn write_omitted(out: &mut String, all: usize) {
    if all > MAX_ROWS {
        let _ = writeln!(out, "  ... and {} more", all - MAX_ROWS);
    }
}

/// Formats bytes with a binary unit.
fn format_bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{value:.0} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
