//! Metrics about the exporter itself.

use crate::config::Unit;
use crate::metric::{Family, Kind, Measured, Series};
use std::collections::HashSet;
use usdt_attach::session::Summary;

/// The state of an exporter at the time of a scrape.
pub(super) struct Snapshot {
    /// Files that are attached to.
    pub(super) files: u64,
    /// Sites that are attached to.
    pub(super) sites: u64,
    /// Hit counts of each entry of the configuration, by its name; two entries may have the same one.
    pub(super) entries: Vec<(String, Summary)>,
    /// `None` without a collector.
    pub(super) otlp: Option<OtlpCounts>,
}

/// Requests and spans for a collector since the exporter started.
pub(super) struct OtlpCounts {
    pub(super) requests_sent: u64,
    pub(super) requests_lost: u64,
    pub(super) spans_complete: u64,
    pub(super) spans_without_start: u64,
    pub(super) spans_without_end: u64,
    /// Complete, but the queue was full or the request failed.
    pub(super) spans_unsent: u64,
    /// Started and not ended.
    pub(super) spans_open: u64,
}

/// The metrics of a snapshot, and the resident memory of this process.
pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    let mut out = vec![
        single("usdt_attach_files", "Files that are attached to.", snapshot.files),
        single("usdt_attach_sites", "Sites that are attached to.", snapshot.sites),
        hits(&snapshot.entries),
        single("usdt_attach_memory_bytes", "Resident memory of this program.", resident_memory()),
    ];
    if let Some(otlp) = &snapshot.otlp {
        out.push(by_fate(
            "usdt_attach_otlp_requests_total",
            "Requests to the collector by what became of them.",
            &[("sent", otlp.requests_sent), ("lost", otlp.requests_lost)],
        ));
        out.push(by_fate(
            "usdt_attach_spans_total",
            "Spans by what became of them.",
            &[
                ("complete", otlp.spans_complete),
                ("without_start", otlp.spans_without_start),
                ("without_end", otlp.spans_without_end),
                ("unsent", otlp.spans_unsent),
            ],
        ));
        out.push(single(
            "usdt_attach_spans_open",
            "Spans that have begun and not ended.",
            otlp.spans_open,
        ));
    }
    out
}

/// Hits by entry and fate. The second entry of a name is numbered by its place, because a series exists once.
fn hits(entries: &[(String, Summary)]) -> Family {
    let mut names: HashSet<&str> = HashSet::new();
    let mut all = Vec::new();
    for (at, (name, summary)) in entries.iter().enumerate() {
        let unique = if names.insert(name) { name.clone() } else { format!("{name} #{}", at + 1) };
        for (fate, n) in [
            ("delivered", summary.delivered),
            ("dropped", summary.dropped),
            ("filtered", summary.filtered),
        ] {
            all.push(series(&[("entry", &unique), ("fate", fate)], n));
        }
    }
    family("usdt_attach_hits_total", "Hits by what became of them.", Kind::Counter, all)
}

fn by_fate(name: &str, help: &str, counts: &[(&str, u64)]) -> Family {
    let all = counts.iter().map(|(fate, n)| series(&[("fate", fate)], *n)).collect();
    family(name, help, Kind::Counter, all)
}

fn single(name: &str, help: &str, value: u64) -> Family {
    family(name, help, Kind::Gauge, vec![series(&[], value)])
}

fn family(name: &str, help: &str, kind: Kind, series: Vec<Series>) -> Family {
    Family { name: name.to_owned(), help: help.to_owned(), unit: Unit::None, kind, series }
}

fn series(labels: &[(&str, &str)], value: u64) -> Series {
    Series {
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        value: Measured::Number(value),
    }
}

/// Resident bytes of this process.
fn resident_memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_entries_of_one_name() {
        let entries = ["count", "other", "count"].map(|name| (name.to_owned(), Summary::default()));
        let names: Vec<String> =
            hits(&entries).series.into_iter().map(|s| s.labels[0].1.clone()).collect();
        assert_eq!(names[0], "count");
        assert_eq!(names[3], "other");
        assert_eq!(names[6], "count #3");
    }

    #[test]
    fn leaves_out_the_collector_where_there_is_none() {
        let snapshot = Snapshot { files: 1, sites: 2, entries: Vec::new(), otlp: None };
        let names: Vec<String> =
            families(&snapshot).into_iter().map(|family| family.name).collect();
        assert_eq!(
            names,
            [
                "usdt_attach_files",
                "usdt_attach_sites",
                "usdt_attach_hits_total",
                "usdt_attach_memory_bytes"
            ]
        );
    }
}
