//! How the exporter itself does: metrics of its own.

use crate::Exporter;
use crate::config::Unit;
use crate::job::Job;
use crate::metric::{Family, Kind, Measured, Series};
use crate::span::Pairing;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use usdt_attach::discover::ObjectId;
use usdt_attach::error::Result;

impl Exporter<'_> {
    /// How the exporter itself does.
    pub(super) fn own(&self) -> Result<Vec<Family>> {
        let family = |name: &str, help: &str, kind, series: Vec<(&[(&str, &str)], u64)>| Family {
            name: name.to_owned(),
            help: help.to_owned(),
            unit: Unit::None,
            kind,
            series: series
                .into_iter()
                .map(|(labels, value)| Series {
                    labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
                    value: Measured::Number(value),
                })
                .collect(),
        };
        let files: HashSet<ObjectId> = self.jobs.iter().flat_map(Job::objects).collect();
        let mut hits = Vec::new();
        let mut names: HashSet<String> = HashSet::new();
        for (at, job) in self.jobs.iter().enumerate() {
            let summary = job.summary()?;
            let mut name = job.name();
            if !names.insert(name.clone()) {
                name = format!("{name} #{}", at + 1);
            }
            for (fate, n) in [
                ("delivered", summary.delivered),
                ("dropped", summary.dropped),
                ("filtered", summary.filtered),
            ] {
                hits.push((name.clone(), fate, n));
            }
        }
        let labelled: Vec<[(&str, &str); 2]> =
            hits.iter().map(|(name, fate, _)| [("entry", name.as_str()), ("fate", *fate)]).collect();
        let hits = labelled.iter().zip(&hits).map(|(labels, (.., n))| (labels.as_slice(), *n)).collect();
        let mut out = vec![
            family(
                "usdt_attach_files",
                "Files that are attached to.",
                Kind::Gauge,
                vec![(&[], files.len() as u64)],
            ),
            family(
                "usdt_attach_sites",
                "Sites that are attached to.",
                Kind::Gauge,
                vec![(&[], self.sites())],
            ),
            family("usdt_attach_hits_total", "Hits by what became of them.", Kind::Counter, hits),
            family(
                "usdt_attach_memory_bytes",
                "Resident memory of this program.",
                Kind::Gauge,
                vec![(&[], memory())],
            ),
        ];
        if let Some(sender) = &self.sender {
            let (sent, lost) = (sender.fate.sent.load(Relaxed), sender.fate.lost.load(Relaxed));
            out.push(family(
                "usdt_attach_otlp_requests_total",
                "Requests to the collector by what became of them.",
                Kind::Counter,
                vec![(&[("fate", "sent")], sent), (&[("fate", "lost")], lost)],
            ));
            let pairings: Vec<_> = self.jobs.iter().filter_map(|job| job.pairing.as_ref()).collect();
            let sum = |n: fn(&Pairing) -> u64| pairings.iter().map(|p| n(p)).sum::<u64>();
            let unsent = self.lost + sender.fate.lost_spans.load(Relaxed);
            out.push(family(
                "usdt_attach_spans_total",
                "Spans by what became of them.",
                Kind::Counter,
                vec![
                    (&[("fate", "complete")], sum(|p| p.counts.complete)),
                    (&[("fate", "without_start")], sum(|p| p.counts.ends)),
                    (&[("fate", "without_end")], sum(|p| p.counts.lost)),
                    (&[("fate", "unsent")], unsent),
                ],
            ));
            let open = sum(|p| p.waiting() as u64);
            out.push(family(
                "usdt_attach_spans_open",
                "Spans that have begun and not ended.",
                Kind::Gauge,
                vec![(&[], open)],
            ));
        }
        Ok(out)
    }
}

/// Resident bytes of this process.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
