//! Prints the view of a Go runtime as text.

use super::json::{Blocked, Creator, Live};
use super::{CreatorStats, GoroutineChange, Metric, Overview, Route, RouteKey};
use crate::output::table::format_time;
use cli_common::escape;
use gobinary::runtime_layout::GoroutineStatus;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;
use usdt_attach::event::counts::Histogram;
use usdt_attach::event::goroutines::Goroutine;

/// The maximum number of rows of each list if neither the user nor a terminal limits them.
const MAX_ROWS: usize = 8;

/// The function in which the main goroutine begins.
const MAIN: &str = "runtime.main";

/// An overview, ready to be printed.
pub(crate) struct View<'a> {
    pub(crate) now: &'a Overview,
    /// An earlier overview, from which rates are computed; `None` prints no rates.
    pub(crate) previous: Option<PreviousOverview<'a>>,
    /// Symbolizes an address.
    pub(crate) place_of: &'a dyn Fn(Address) -> Place,
    pub(crate) style: ViewStyle,
}

/// How a view looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ViewStyle {
    /// Whether to print color sequences.
    pub(crate) color: bool,
    /// The lines and columns of the terminal; `None` without a terminal.
    pub(crate) terminal: Option<(usize, usize)>,
    /// The maximum number of rows of each list; `None` leaves it to the terminal.
    pub(crate) max_rows: Option<usize>,
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

/// A part of the view: lines that are always printed, then a list of which as many rows are printed
/// as fit.
#[derive(Default)]
struct Section {
    head: Vec<String>,
    /// The heading of the list; empty without a list.
    columns: String,
    rows: Vec<String>,
}

impl View<'_> {
    /// Formats the view for a terminal. A section is left out if its metrics are not measured.
    pub(crate) fn text(&self) -> String {
        let sections: Vec<Section> =
            [self.goroutines(), self.scheduler(), self.blocked(), self.memory(), self.requests()]
                .into_iter()
                .flatten()
                .collect();
        let shown = self.rows_per_section(&sections);
        let mut out = String::new();
        for (section, shown) in sections.iter().zip(shown) {
            section.head.iter().for_each(|line| out.extend([line, "\n"]));
            if section.rows.is_empty() {
                continue;
            }
            out.push_str(&section.columns);
            if shown < section.rows.len() {
                let _ = write!(out, " ({shown} of {})", section.rows.len());
            }
            out.push('\n');
            section.rows.iter().take(shown).for_each(|row| out.extend([row, "\n"]));
        }
        out
    }

    /// Returns how many rows of each section are printed. On a terminal, all sections are visible,
    /// and their lists share the lines that are left.
    fn rows_per_section(&self, sections: &[Section]) -> Vec<usize> {
        let limit = match (self.style.max_rows, self.style.terminal) {
            (Some(limit), _) => limit,
            (None, Some(_)) => usize::MAX,
            (None, None) => MAX_ROWS,
        };
        let wanted: Vec<usize> = sections.iter().map(|s| s.rows.len().min(limit)).collect();
        let Some((lines, _)) = self.style.terminal else { return wanted };
        let fixed: usize =
            sections.iter().map(|s| s.head.len() + usize::from(!s.rows.is_empty())).sum();
        let mut left = lines.saturating_sub(fixed);
        let mut shown = vec![0; sections.len()];
        // One row for each list in turn, until no line or no row is left.
        loop {
            let before = left;
            for (shown, wanted) in shown.iter_mut().zip(&wanted) {
                if *shown < *wanted && left > 0 {
                    *shown += 1;
                    left -= 1;
                }
            }
            if left == before {
                return shown;
            }
        }
    }

    /// Formats the rate of a total with a space before it; empty without an earlier overview.
    fn rate(&self, total: impl Fn(&Overview) -> u64) -> String {
        let Some(previous) = self.previous else { return String::new() };
        let increase = total(self.now).saturating_sub(total(previous.overview));
        format!(" {:.1}/s", previous.rate(increase))
    }

    fn heading(&self, title: &str) -> String {
        let (bold, reset) = if self.style.color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        format!("{bold}{title:<12}{reset}")
    }

    fn goroutines(&self) -> Option<Section> {
        let now = self.now;
        let live = self.live();
        if now.creators.is_empty() && now.ended == 0 && live.is_none() {
            return None;
        }
        let mut out = self.heading("GOROUTINES");
        if let Some(Live { count, waiting, in_calls, running, runnable, runtime }) = live {
            let _ = write!(
                out,
                "{count} live: {waiting} waiting, {in_calls} in calls, {running} running, {runnable} runnable\n  plus {runtime} runtime goroutines; "
            );
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
        let own = self.creators().into_iter().filter(|creator| !creator.runtime);
        Some(Section {
            head: out.lines().map(str::to_owned).collect(),
            columns: "      LIVE    CREATED  BY".to_owned(),
            rows: own.map(|creator| self.creator_row(&creator)).collect(),
        })
    }

    fn creator_row(&self, creator: &Creator) -> String {
        let Place { function, file, line } = &creator.place;
        let live = creator.live.map_or_else(|| "-".to_owned(), |live| live.to_string());
        let counts = format!("{live:>10} {:>10}  ", creator.created);
        let mut position = String::new();
        if let (Some(file), Some(line)) = (file, line) {
            let file = file.rsplit('/').next().unwrap_or_default();
            let _ = write!(position, " {}:{line}", escape(file.as_bytes()));
        }
        let mut function = escape(function.as_bytes()).to_string();
        let len = counts.len() + function.chars().count() + position.chars().count();
        // A terminal cuts long lines; the end of a name says more than the path of its package.
        if let (true, Some((_, end))) = (
            self.style.terminal.is_some_and(|(_, columns)| len > columns),
            function.rsplit_once('/'),
        ) {
            function = format!("…/{end}");
        }
        counts + &function + &position
    }

    fn scheduler(&self) -> Option<Section> {
        let latency = self.now.latency.as_ref().filter(|h| h.count() > 0)?;
        // Only goroutines that had been blocked are measured through function entries.
        let from = if self.now.measures(Metric::Woken) { "wakeup" } else { "runnable" };
        let head = self.heading("SCHEDULER");
        let line = format!("{head}from {from} to running: {}", quantiles(latency));
        Some(Section { head: vec![line], ..Section::default() })
    }

    fn blocked(&self) -> Option<Section> {
        let reasons = self.reasons();
        if reasons.is_empty() {
            return None;
        }
        let rate = self.rate(|o| o.blocked.values().sum());
        let head = format!("{}{}", self.heading("BLOCKED"), rate.trim_start());
        let row = |Blocked { reason, count, now }: &Blocked<'_>| {
            let now = now.map_or_else(|| "-".to_owned(), |now| now.to_string());
            let reason = reason.unwrap_or("(unknown reason)");
            format!("{now:>10} {count:>10}  {}", escape(reason.as_bytes()))
        };
        Some(Section {
            head: vec![head],
            columns: "   WAITING    BLOCKED  ON".to_owned(),
            rows: reasons.iter().map(row).collect(),
        })
    }

    /// Returns true for a goroutine of the runtime itself, which `runtime.NumGoroutine` does not
    /// count.
    fn is_runtime(&self, goroutine: &Goroutine) -> bool {
        let name = (self.place_of)(Address::Entry(goroutine.entry_pc)).function;
        name.starts_with("runtime.") && ![MAIN, "runtime.corostart"].contains(&name.as_str())
    }

    /// The current goroutines by status; those of the runtime itself are counted separately, as in
    /// `runtime.NumGoroutine`.
    pub(super) fn live(&self) -> Option<Live> {
        let count = |status| self.now.live(|g| g.status == status && !self.is_runtime(g));
        Some(Live {
            count: self.now.live(|g| !self.is_runtime(g))?,
            waiting: count(GoroutineStatus::Waiting)?,
            in_calls: count(GoroutineStatus::InSyscall)?,
            running: count(GoroutineStatus::Running)?,
            runnable: count(GoroutineStatus::Runnable)?,
            runtime: self.now.live(|g| self.is_runtime(g))?,
        })
    }

    /// The go statements that have created goroutines: those of the program first, then those of
    /// the runtime; those with the most live ones first.
    pub(super) fn creators(&self) -> Vec<Creator> {
        let now = self.now;
        let counted = now.creators.keys().copied();
        let live = now.snapshot.iter().flat_map(|s| s.goroutines.keys()).map(|g| g.creator_pc);
        let addresses: BTreeSet<u64> = counted.chain(live).collect();
        let creator_at = |address: u64| {
            let CreatorStats { created, ended } =
                now.creators.get(&address).copied().unwrap_or_default();
            let ended = now.measures(Metric::Ended).then_some(ended);
            let of_creator = |g: &Goroutine| g.creator_pc == address;
            let live =
                now.live(of_creator).or_else(|| ended.map(|ended| created.saturating_sub(ended)));
            let own = now.live(|g| of_creator(g) && !self.is_runtime(g)).unwrap_or(0);
            let mut place = (self.place_of)(Address::Return(address));
            let entry = |g: &Goroutine| (self.place_of)(Address::Entry(g.entry_pc)).function;
            if now.live(|g| of_creator(g) && entry(g) == MAIN) > Some(0) {
                place = Place { function: "main".to_owned(), ..Place::default() };
            }
            let runtime = own == 0 && place.function.starts_with("runtime.");
            Creator { place, live, created, ended, runtime }
        };
        let all = addresses.into_iter().map(creator_at);
        let mut out: Vec<Creator> = all.filter(|c| c.created > 0 || c.live > Some(0)).collect();
        out.sort_by_key(|creator| (creator.runtime, Reverse((creator.live, creator.created))));
        out
    }

    /// The reasons for which goroutines block, the most frequent first. Goroutines of the runtime
    /// are not counted as waiting.
    pub(super) fn reasons(&self) -> Vec<Blocked<'_>> {
        let now = self.now;
        let counted = now.blocked.keys().map(Option::as_deref);
        let live =
            now.snapshot.iter().flat_map(|s| s.goroutines.keys()).filter_map(|g| g.wait_reason);
        let reasons: BTreeSet<Option<&str>> = counted.chain(live.map(Some)).collect();
        let waiting = |reason| now.live(|g| g.wait_reason == Some(reason) && !self.is_runtime(g));
        let mut out: Vec<Blocked<'_>> = reasons
            .into_iter()
            .map(|reason| {
                let count = now.blocked.iter().find(|(name, _)| name.as_deref() == reason);
                Blocked {
                    reason,
                    count: count.map_or(0, |(_, count)| *count),
                    now: reason.and_then(waiting),
                }
            })
            .filter(|blocked| blocked.count > 0 || blocked.now > Some(0))
            .collect();
        out.sort_by_key(|blocked| Reverse(blocked.count.max(blocked.now.unwrap_or(0))));
        out
    }

    fn memory(&self) -> Option<Section> {
        let collections = |o: &Overview| o.hits.get("gc__end").copied().unwrap_or(0);
        let pauses = self.now.pauses.as_ref().filter(|h| h.count() > 0);
        if self.now.allocated.is_none() && pauses.is_none() && collections(self.now) == 0 {
            return None;
        }
        let mut out = self.heading("MEMORY");
        if let Some(bytes) = self.now.allocated {
            let _ = write!(out, "{} allocated", format_bytes(bytes as f64));
            if let Some(previous) = self.previous {
                let increase = bytes.saturating_sub(previous.overview.allocated.unwrap_or(0));
                let _ = write!(out, " {}/s", format_bytes(previous.rate(increase)));
            }
            out.push_str(", ");
        }
        let _ = write!(out, "{} collections{}", collections(self.now), self.rate(collections));
        let pauses = pauses.map(|pauses| {
            format!("  {} stop-the-world pauses: {}", pauses.count(), quantiles(pauses))
        });
        Some(Section {
            head: [Some(out), pauses].into_iter().flatten().collect(),
            ..Section::default()
        })
    }

    fn requests(&self) -> Option<Section> {
        let mut routes: Vec<(&RouteKey, &Route)> = self.now.routes.iter().collect();
        if routes.is_empty() {
            return None;
        }
        routes.sort_by_key(|(_, route)| Reverse(route.requests));
        let rate = self.rate(|o| o.routes.values().map(|r| r.requests).sum());
        let head = format!("{}{}", self.heading("HTTP"), rate.trim_start());
        let row = |(key, route): &(&RouteKey, &Route)| {
            let rate = self.rate(|o| o.routes.get(key).map_or(0, |r| r.requests));
            let rate = rate.trim_start().trim_end_matches("/s");
            let quantile = |share| {
                route
                    .times
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |h| format_time(h.quantile(share)))
            };
            let errors =
                if route.times.is_some() { route.errors.to_string() } else { "-".to_owned() };
            format!(
                "{:>10} {rate:>10} {errors:>5} {:>8} {:>8}  {} {}",
                route.requests,
                quantile(0.5),
                quantile(0.99),
                escape(key.method.as_bytes()),
                escape(key.place.as_bytes())
            )
        };
        Some(Section {
            head: vec![head],
            columns: "  REQUESTS    PER SEC   5XX      P50      P99  ROUTE".to_owned(),
            rows: routes.iter().map(row).collect(),
        })
    }
}

/// Formats the distribution of times in one line.
fn quantiles(times: &Histogram) -> String {
    format!(
        "p50 {}, p99 {}, max {}",
        format_time(times.quantile(0.5)),
        format_time(times.quantile(0.99)),
        format_time(times.max)
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use usdt_attach::event::goroutines::GoroutineSnapshot;
    use usdt_attach::plan::Buckets;

    const HEADINGS: [&str; 5] = ["GOROUTINES", "SCHEDULER", "BLOCKED", "MEMORY", "HTTP"];

    /// Returns an overview with more rows in each list than fit on a terminal.
    fn busy() -> Overview {
        let times = Histogram {
            buckets: Buckets::Log2 { signed: false },
            counts: vec![1, 2, 3],
            sum: 9_000_000_000,
            min: 1,
            max: 123_456_789,
        };
        let goroutine = |number: u64| Goroutine {
            status: GoroutineStatus::Waiting,
            wait_reason: Some("select"),
            creator_pc: 100 + number,
            entry_pc: number,
        };
        Overview {
            creators: (0..40).map(|n| (100 + n, CreatorStats { created: n, ended: 0 })).collect(),
            blocked: (0..20).map(|n| (Some(format!("reason {n}")), n)).collect(),
            latency: Some(times.clone()),
            pauses: Some(times.clone()),
            allocated: Some(1 << 30),
            routes: (0..30)
                .map(|n| {
                    let place = format!("/path/{n}");
                    let key = RouteKey { method: "GET".into(), place, is_route: false };
                    (key, Route { requests: n + 1, errors: 0, times: Some(times.clone()) })
                })
                .collect(),
            snapshot: Some(GoroutineSnapshot {
                goroutines: (0..40).map(|n| (goroutine(n), 10 - n % 10)).collect(),
                allocated_bytes: None,
            }),
            ..Overview::default()
        }
    }

    /// Names the entry at 0 as that of the main goroutine, and those at 1 and 2 as the runtime's.
    fn place_of(address: Address) -> Place {
        let function = match address {
            Address::Entry(0) => MAIN.to_owned(),
            Address::Entry(1 | 2) => "runtime.bgsweep".to_owned(),
            Address::Return(101 | 102) => "runtime.gcenable".to_owned(),
            _ => {
                "example.org/a/long/path/of/a/package/service.(*Server).handleConnection".to_owned()
            }
        };
        Place { function, file: Some("/src/service/connection.go".into()), line: Some(1234) }
    }

    fn lines(overview: &Overview, style: ViewStyle) -> Vec<String> {
        let view = View { now: overview, previous: None, place_of: &place_of, style };
        view.text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_section_is_visible_on_a_terminal() {
        let overview = busy();
        for height in [15, 23, 40] {
            let style = ViewStyle { terminal: Some((height, 80)), ..ViewStyle::default() };
            let shown = lines(&overview, style);
            assert_eq!(shown.len(), height, "{shown:#?}");
            for heading in HEADINGS {
                assert!(
                    shown.iter().any(|line| line.starts_with(heading)),
                    "{heading}: {shown:#?}"
                );
            }
            assert!(shown.iter().all(|line| line.chars().count() <= 80), "{shown:#?}");
            assert!(shown.iter().any(|line| line.contains("…/service.(*Server)")), "{shown:#?}");
        }
    }

    #[test]
    fn top_limits_each_list() {
        let style = ViewStyle { max_rows: Some(2), ..ViewStyle::default() };
        let shown = lines(&busy(), style);
        for list in ["BY (2 of 38)", "ON (2 of ", "ROUTE (2 of 30)"] {
            assert!(shown.iter().any(|line| line.contains(list)), "{list}");
        }
        assert_eq!(lines(&busy(), ViewStyle::default()).len(), shown.len() + 3 * (MAX_ROWS - 2));
    }

    #[test]
    fn goroutines_of_the_runtime_are_one_number() {
        let shown = lines(&busy(), ViewStyle { max_rows: Some(100), ..ViewStyle::default() });
        assert!(!shown.iter().any(|line| line.contains("runtime.")), "{shown:#?}");
        assert!(shown[1].starts_with("  plus 17 runtime goroutines; "), "{}", shown[1]);
        assert!(shown.iter().any(|line| line == "        10          0  main"), "{shown:#?}");
    }
}
