//! Metrics about the exporter itself: attached sites, hit counts, requests, spans, memory.

use crate::config::Unit;
use crate::metric::{Family, Kind, Series, SeriesValue};
use std::collections::HashSet;
use usdt_attach::session::Summary;

/// The state of an exporter at the time of a scrape.
pub(crate) struct Snapshot {
    /// The number of files with attached sites.
    pub(crate) files: u64,
    /// The number of attached sites.
    pub(crate) sites: u64,
    /// The name and the hit counts of each entry of the configuration. Names may repeat.
    pub(crate) entries: Vec<(String, Summary)>,
    /// `None` if the configuration has no collector.
    pub(crate) otlp: Option<OtlpCounts>,
}

/// Requests to a collector and their spans, since the exporter started.
pub(crate) struct OtlpCounts {
    pub(crate) requests_sent: u64,
    pub(crate) requests_lost: u64,
    /// Spans of sent requests that the collector rejected.
    pub(crate) spans_rejected: u64,
    /// Data points of sent requests that the collector rejected.
    pub(crate) data_points_rejected: u64,
    pub(crate) spans_complete: u64,
    pub(crate) spans_without_start: u64,
    pub(crate) spans_without_end: u64,
    /// Spans without an end that were sent, because other spans name them as their parent.
    pub(crate) spans_unfinished: u64,
    /// Spans that were given up because too many were nested in them.
    pub(crate) spans_too_deep: u64,
    /// Complete spans that were not sent: the queue was full or the request failed.
    pub(crate) spans_unsent: u64,
    /// Spans that have started and not ended, at the moment.
    pub(crate) spans_open: u64,
}

/// Returns the metrics of a snapshot, and the resident memory of this process.
pub(crate) fn families(snapshot: &Snapshot) -> Vec<Family> {
    let mut out = vec![
        single("usdt_attach_files", "Files with attached probe sites.", "{file}", snapshot.files),
        single("usdt_attach_sites", "Attached probe sites.", "{site}", snapshot.sites),
        hits(&snapshot.entries),
        single(
            "usdt_attach_memory_bytes",
            "Resident memory of the exporter.",
            "By",
            resident_memory(),
        ),
    ];
    out.extend(unpaired(&snapshot.entries));
    if let Some(otlp) = &snapshot.otlp {
        out.push(by_outcome(
            "usdt_attach_otlp_requests_total",
            "Requests to the collector, by outcome.",
            "{request}",
            &[("sent", otlp.requests_sent), ("lost", otlp.requests_lost)],
        ));
        out.push(family(
            "usdt_attach_otlp_rejected_total",
            "Spans and data points that the collector rejected in part of a request.",
            "{item}",
            Kind::Counter,
            vec![
                series(&[("kind", "spans")], otlp.spans_rejected),
                series(&[("kind", "data_points")], otlp.data_points_rejected),
            ],
        ));
        out.push(by_outcome(
            "usdt_attach_spans_total",
            "Spans, by outcome.",
            "{span}",
            &[
                ("complete", otlp.spans_complete),
                ("without_start", otlp.spans_without_start),
                ("without_end", otlp.spans_without_end),
                ("unfinished", otlp.spans_unfinished),
                ("unsent", otlp.spans_unsent),
            ],
        ));
        out.push(family(
            "usdt_attach_spans_too_deep_total",
            "Spans that were given up because too many were nested in them.",
            "{span}",
            Kind::Counter,
            vec![series(&[], otlp.spans_too_deep)],
        ));
        out.push(single(
            "usdt_attach_spans_open",
            "Spans that have started and not ended.",
            "{span}",
            otlp.spans_open,
        ));
    }
    out
}

/// The hit counts of each entry by its name. Series must differ in their labels, so an entry with
/// the name of an earlier one gets its position appended.
fn with_unique_names(entries: &[(String, Summary)]) -> impl Iterator<Item = (String, &Summary)> {
    let mut names: HashSet<&str> = HashSet::new();
    entries.iter().enumerate().map(move |(index, (name, summary))| {
        let is_new = names.insert(name);
        (if is_new { name.clone() } else { format!("{name} #{}", index + 1) }, summary)
    })
}

/// Hits by entry and outcome.
fn hits(entries: &[(String, Summary)]) -> Family {
    let mut all = Vec::new();
    for (unique, summary) in with_unique_names(entries) {
        for (outcome, n) in [
            ("delivered", summary.delivered),
            ("dropped", summary.dropped),
            ("filtered", summary.filtered),
        ] {
            all.push(series(&[("entry", &unique), ("outcome", outcome)], n));
        }
    }
    family("usdt_attach_hits_total", "Hits, by outcome.", "{hit}", Kind::Counter, all)
}

/// Hits of latency entries that are not part of a histogram, by entry and reason; `None` without
/// such entries.
fn unpaired(entries: &[(String, Summary)]) -> Option<Family> {
    let mut all = Vec::new();
    for (unique, summary) in with_unique_names(entries) {
        let Some(unpaired) = summary.unpaired else { continue };
        let reasons = [
            ("without_start", unpaired.unmatched_ends),
            ("overwritten", unpaired.overwritten),
            ("too_deep", unpaired.too_deep),
        ];
        let unwound = unpaired.unwound.map(|n| ("unwound", n));
        for (reason, n) in reasons.into_iter().chain(unwound) {
            all.push(series(&[("entry", &unique), ("reason", reason)], n));
        }
    }
    let help = "Starts and ends of latencies that are not part of a histogram, by reason.";
    (!all.is_empty())
        .then(|| family("usdt_attach_unpaired_total", help, "{hit}", Kind::Counter, all))
}

fn by_outcome(name: &str, help: &str, ucum: &'static str, counts: &[(&str, u64)]) -> Family {
    let all = counts.iter().map(|(outcome, n)| series(&[("outcome", outcome)], *n)).collect();
    family(name, help, ucum, Kind::Counter, all)
}

fn single(name: &str, help: &str, ucum: &'static str, value: u64) -> Family {
    family(name, help, ucum, Kind::Gauge, vec![series(&[], value)])
}

fn family(name: &str, help: &str, ucum: &'static str, kind: Kind, series: Vec<Series>) -> Family {
    Family { name: name.to_owned(), help: help.to_owned(), unit: Unit::None, ucum, kind, series }
}

fn series(labels: &[(&str, &str)], value: u64) -> Series {
    Series {
        owner: None,
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        value: SeriesValue::Number(value),
    }
}

/// The resident memory of this process in bytes.
fn resident_memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use usdt_attach::session::Unpaired;

    #[test]
    fn numbers_entries_with_the_same_name() {
        let entries = ["count", "other", "count"].map(|name| (name.to_owned(), Summary::default()));
        let names: Vec<String> =
            hits(&entries).series.into_iter().map(|s| s.labels[0].1.clone()).collect();
        assert_eq!(names[0], "count");
        assert_eq!(names[3], "other");
        assert_eq!(names[6], "count #3");
    }

    #[test]
    fn counts_the_hits_that_latencies_lose() {
        let unpaired =
            Unpaired { unmatched_ends: 1, overwritten: 2, too_deep: 3, ..Unpaired::default() };
        let latency = Summary { unpaired: Some(unpaired), ..Summary::default() };
        let entries = [("count".to_owned(), Summary::default()), ("latency".to_owned(), latency)];
        let family = super::unpaired(&entries).unwrap();
        let series: Vec<(&str, &SeriesValue)> =
            family.series.iter().map(|s| (s.labels[1].1.as_str(), &s.value)).collect();
        let number = |n| SeriesValue::Number(n);
        assert_eq!(
            series,
            [("without_start", &number(1)), ("overwritten", &number(2)), ("too_deep", &number(3))]
        );
        assert!(super::unpaired(&entries[..1]).is_none());
    }

    #[test]
    fn has_no_metrics_of_a_collector_without_one() {
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
