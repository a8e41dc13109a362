//! What a Go program's runtime does, for people and as JSON.

use crate::goview::{CreatorStats, Metric, Overview, Route};
use crate::output::json::{self, Times};
use crate::output::table::{Style, bars, time};
use cli_common::escape;
use gobinary::state::Status;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;
use usdt_attach::event::goroutines::Goroutine;

/// Most rows of each list that are shown.
const ROWS: usize = 8;

/// An overview, and what it is compared with.
#[allow(missing_debug_implementations)] // a function has none
pub(crate) struct View<'a> {
    /// Now.
    pub now: &'a Overview,
    /// An earlier one, so long ago: rates are of the time in between.
    pub before: Option<(&'a Overview, Duration)>,
    /// Names of places.
    pub places: &'a dyn Fn(Address) -> Place,
    /// How it looks.
    pub style: Style,
}

/// An address in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// Behind a call or a go statement.
    Behind(u64),
    /// Where a function begins.
    Entry(u64),
}

/// A place in the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The function, else the address.
    pub function: String,
    /// The file, where it is known.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
}

impl View<'_> {
    /// The screen.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.goroutines(&mut out);
        self.scheduler(&mut out);
        self.memory(&mut out);
        self.requests(&mut out);
        out
    }

    fn rate(&self, of: impl Fn(&Overview) -> u64) -> String {
        match self.before {
            Some((before, ago)) => {
                let new = of(self.now).saturating_sub(of(before));
                format!(" {:.1}/s", new as f64 / ago.as_secs_f64().max(1e-9))
            }
            None => String::new(),
        }
    }

    fn head(&self, out: &mut String, title: &str) {
        let (bold, reset) = if self.style.color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let _ = write!(out, "{bold}{title:<12}{reset}");
    }

    fn goroutines(&self, out: &mut String) {
        let now = self.now;
        let live = self.live();
        if now.creators.is_empty() && now.ended == 0 && live.is_none() {
            return;
        }
        self.head(out, "GOROUTINES");
        if let Some(Live { count, waiting, in_calls, running, runnable, own }) = live {
            let _ = writeln!(
                out,
                "{count} live: {waiting} waiting, {in_calls} in calls, {running} running, {runnable} runnable"
            );
            let _ = write!(out, "  and {own} of the runtime; ");
        }
        let _ = write!(
            out,
            "{} created{}, {} ended{}",
            now.created(),
            self.rate(Overview::created),
            now.ended,
            self.rate(|o| o.ended)
        );
        let (all, waiting, calls) = now.change();
        if live.is_none() {
            let _ = write!(out, "\n  since attached {all:+}");
            if let (Some(waiting), Some(calls)) = (waiting, calls) {
                let other = all - waiting - calls;
                let _ = write!(
                    out,
                    ": {waiting:+} waiting, {calls:+} in system calls, {other:+} running or runnable"
                );
            }
        }
        out.push('\n');
        let places = self.creators();
        if !places.is_empty() {
            let _ = writeln!(out, "      LIVE    CREATED  BY");
        }
        for creator in places.iter().take(ROWS) {
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
        more(out, places.len());
    }

    fn scheduler(&self, out: &mut String) {
        if let Some(latency) = self.now.latency.as_ref().filter(|h| h.count() > 0) {
            self.head(out, "SCHEDULER");
            let woken = if self.now.measures(Metric::Woken) {
                ", of goroutines that had waited"
            } else {
                ""
            };
            let _ = writeln!(out, "from runnable to running{woken}");
            bars(out, latency, Style { unit: Some("ns"), ..self.style });
        }
        let reasons = self.reasons();
        if reasons.is_empty() {
            return;
        }
        self.head(out, "BLOCKED");
        let _ = writeln!(out, "{}", self.rate(|o| o.blocked.values().sum()).trim_start());
        let _ = writeln!(out, "   WAITING    BLOCKED  ON");
        for Blocked { reason, count, now } in reasons.iter().take(ROWS) {
            let now = now.map_or_else(|| "-".to_owned(), |now| now.to_string());
            let reason = reason.unwrap_or("(reasons are not to be seen)");
            let _ = writeln!(out, "{now:>10} {count:>10}  {}", escape(reason.as_bytes()));
        }
        more(out, reasons.len());
    }

    /// How many goroutines there are, the runtime's own apart: as `runtime.NumGoroutine` counts.
    fn live(&self) -> Option<Live> {
        let is_own = |goroutine: &Goroutine| {
            let name = (self.places)(Address::Entry(goroutine.entry_pc)).function;
            name.starts_with("runtime.")
                && !["runtime.main", "runtime.corostart"].contains(&name.as_str())
        };
        let count = |status| self.now.live(|g| g.status == status && !is_own(g));
        Some(Live {
            count: self.now.live(|g| !is_own(g))?,
            waiting: count(Status::Waiting)?,
            in_calls: count(Status::InCall)?,
            running: count(Status::Running)?,
            runnable: count(Status::Runnable)?,
            own: self.now.live(is_own)?,
        })
    }

    /// Places that goroutines were made at, those with the most live ones first.
    fn creators(&self) -> Vec<Creator> {
        let now = self.now;
        let known: BTreeSet<u64> = now.creators.keys().copied().collect();
        let census = now.census.iter().flat_map(|c| c.goroutines.keys()).map(|g| g.creator_pc);
        let one = |address: u64| {
            let CreatorStats { created, ended } =
                now.creators.get(&address).copied().unwrap_or_default();
            let ended = now.measures(Metric::Ended).then_some(ended);
            let counted = || ended.map(|ended| created.saturating_sub(ended));
            let live = now.live(|g| g.creator_pc == address).or_else(counted);
            Creator { place: (self.places)(Address::Behind(address)), live, created, ended }
        };
        let all = known.into_iter().chain(census).collect::<BTreeSet<u64>>().into_iter().map(one);
        let mut out: Vec<Creator> = all.filter(|c| c.created > 0 || c.live > Some(0)).collect();
        out.sort_by_key(|creator| Reverse((creator.live, creator.created)));
        out
    }

    /// What goroutines wait for, and how often they did, the largest number first.
    fn reasons(&self) -> Vec<Blocked<'_>> {
        let now = self.now;
        let counted = now.blocked.keys().map(Option::as_deref);
        let census = now
            .census
            .iter()
            .flat_map(|c| c.goroutines.keys())
            .filter_map(|g| g.wait_reason)
            .map(Some);
        let one = |reason: Option<&'_ str>| {
            let count = now.blocked.iter().find(|(text, _)| text.as_deref() == reason);
            (
                count.map_or(0, |(_, count)| *count),
                reason.and_then(|r| now.live(|g| g.wait_reason == Some(r))),
            )
        };
        let all = counted.chain(census).collect::<BTreeSet<Option<&str>>>().into_iter();
        let mut out: Vec<Blocked<'_>> = all
            .map(|reason| {
                let (count, now) = one(reason);
                Blocked { reason, count, now }
            })
            .collect();
        out.sort_by_key(|blocked| Reverse(blocked.count.max(blocked.now.unwrap_or(0))));
        out
    }

    fn memory(&self, out: &mut String) {
        let collections = |o: &Overview| o.changes.get("gc__end").copied().unwrap_or(0);
        let pauses = self.now.pauses.as_ref().filter(|h| h.count() > 0);
        if self.now.allocated.is_none() && pauses.is_none() && collections(self.now) == 0 {
            return;
        }
        self.head(out, "MEMORY");
        if let Some(bytes) = self.now.allocated {
            let _ = write!(out, "{} allocated", size(bytes as f64));
            if let Some((before, ago)) = self.before {
                let new = bytes.saturating_sub(before.allocated.unwrap_or(0));
                let _ = write!(out, " {}/s", size(new as f64 / ago.as_secs_f64().max(1e-9)));
            }
            out.push_str(", ");
        }
        let _ = writeln!(out, "{} collections{}", collections(self.now), self.rate(collections));
        if let Some(pauses) = pauses {
            let _ = writeln!(out, "  the world stopped");
            bars(out, pauses, Style { unit: Some("ns"), ..self.style });
        }
    }

    fn requests(&self, out: &mut String) {
        let mut routes: Vec<(&(String, String), &Route)> = self.now.routes.iter().collect();
        if routes.is_empty() {
            return;
        }
        routes.sort_by_key(|(_, route)| Reverse(route.requests));
        self.head(out, "HTTP");
        let _ = writeln!(
            out,
            "{}",
            self.rate(|o| o.routes.values().map(|r| r.requests).sum()).trim_start()
        );
        let _ = writeln!(out, "  REQUESTS    PER SEC   5XX      P50      P99  ROUTE");
        for ((method, path), route) in routes.iter().take(ROWS) {
            let key = (method.clone(), path.clone());
            let rate = self.rate(|o| o.routes.get(&key).map_or(0, |r| r.requests));
            let rate = rate.trim_start().trim_end_matches("/s");
            let quantile = |share| {
                route.times.as_ref().map_or_else(|| "-".to_owned(), |h| time(h.quantile(share)))
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
        more(out, routes.len());
    }

    /// One object with everything that was counted.
    pub(crate) fn json(&self, out: &mut impl Write, time_ns: u64) -> io::Result<()> {
        let now = self.now;
        let (all, waiting, in_calls) = now.change();
        let http = now.routes.iter().map(|((method, path), route)| Served {
            method,
            path,
            requests: route.requests,
            errors: route.times.as_ref().map(|_| route.errors),
            times: route.times.as_ref().map(Times),
        });
        let whole = Whole {
            time_ns,
            goroutines: Goroutines {
                created: now.created(),
                ended: now.ended,
                change: all,
                waiting,
                in_calls,
                live: self.live(),
                creators: self.creators(),
            },
            blocked: self.reasons(),
            latency: now.latency.as_ref().map(Times),
            pauses: now.pauses.as_ref().map(Times),
            allocated: now.allocated,
            collections: now.changes.get("gc__end").copied(),
            panics: now.changes.get("panic").copied(),
            http: http.collect(),
        };
        json::line(out, &whole)
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    time_ns: u64,
    goroutines: Goroutines,
    blocked: Vec<Blocked<'a>>,
    latency: Option<Times<'a>>,
    pauses: Option<Times<'a>>,
    allocated: Option<u64>,
    collections: Option<u64>,
    panics: Option<u64>,
    http: Vec<Served<'a>>,
}

#[derive(Serialize)]
struct Goroutines {
    created: u64,
    ended: u64,
    change: i64,
    waiting: Option<i64>,
    in_calls: Option<i64>,
    live: Option<Live>,
    creators: Vec<Creator>,
}

#[derive(Clone, Copy, Serialize)]
struct Live {
    count: u64,
    waiting: u64,
    in_calls: u64,
    running: u64,
    runnable: u64,
    /// The runtime's, not in the count.
    own: u64,
}

#[derive(Serialize)]
struct Creator {
    #[serde(flatten)]
    place: Place,
    live: Option<u64>,
    created: u64,
    ended: Option<u64>,
}

#[derive(Serialize)]
struct Blocked<'a> {
    reason: Option<&'a str>,
    count: u64,
    now: Option<u64>,
}

#[derive(Serialize)]
struct Served<'a> {
    method: &'a str,
    path: &'a str,
    requests: u64,
    errors: Option<u64>,
    times: Option<Times<'a>>,
}

fn more(out: &mut String, all: usize) {
    if all > ROWS {
        let _ = writeln!(out, "  ... and {} more", all - ROWS);
    }
}

/// Bytes as a person reads them.
fn size(bytes: f64) -> String {
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
