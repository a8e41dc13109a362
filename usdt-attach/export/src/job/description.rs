//! The name, unit and help of what an entry exports.

use super::Entry;
use crate::config::{Hist, Unit};
use crate::metric::{Kind, metric_name, to_metric_chars};
use usdt_attach::event::counts::Row;

/// A metric without its series.
pub(super) struct Description {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) unit: Unit,
    /// The UCUM code of the unit.
    pub(super) ucum: &'static str,
    pub(super) kind: Kind,
    /// Whether the series of several probes share the metric, so that they need a label for the
    /// probe.
    pub(super) with_probe: bool,
}

impl Entry {
    /// The name of the entry in the metrics about the exporter itself: the configured one, else a
    /// probe.
    pub(super) fn name(&self) -> String {
        match self {
            Entry::Count(count) => {
                count.name.clone().unwrap_or_else(|| entry_name(&count.probes.0))
            }
            Entry::Hist(hist) => hist.name.clone().unwrap_or_else(|| {
                shortened(&format!("{} {}", entry_name(&hist.probes.0), hist.value))
            }),
            Entry::Latency(l) => {
                l.name.clone().unwrap_or_else(|| shortened(&format!("{} {}", l.start, l.end)))
            }
            Entry::Spans(_) => "spans".to_owned(),
        }
    }

    /// The metric of a row; `None` for spans.
    pub(super) fn describe(&self, row: &Row) -> Option<Description> {
        let probe = format!("{}:{}", row.probe.provider, row.probe.name);
        let base = metric_name(&row.probe);
        Some(match self {
            Entry::Count(count) => {
                let name = count.name.clone().unwrap_or(base);
                Description {
                    name: if name.ends_with("_total") { name } else { format!("{name}_total") },
                    help: count.help.clone().unwrap_or_else(|| format!("Hits of {probe}.")),
                    unit: Unit::None,
                    ucum: "{hit}",
                    kind: Kind::Counter,
                    with_probe: count.name.is_some() && may_match_several(&count.probes.0),
                }
            }
            Entry::Hist(hist) => {
                let unit = unit_of(hist);
                let value = match without_unit(&hist.value) {
                    "" => String::new(),
                    value => format!("_{}", to_metric_chars(value)),
                };
                Description {
                    name: hist
                        .name
                        .clone()
                        .unwrap_or_else(|| format!("{base}{value}{}", unit.suffix())),
                    help: hist
                        .help
                        .clone()
                        .unwrap_or_else(|| format!("{} of {probe}.", hist.value)),
                    unit,
                    ucum: unit.ucum_code(),
                    kind: Kind::Histogram,
                    with_probe: hist.name.is_some() && may_match_several(&hist.probes.0),
                }
            }
            Entry::Latency(latency) => Description {
                name: latency.name.clone().unwrap_or_else(|| format!("{base}_latency_seconds")),
                help: latency
                    .help
                    .clone()
                    .unwrap_or_else(|| format!("Time from {} to {probe}.", latency.start)),
                unit: Unit::Ns,
                ucum: Unit::Ns.ucum_code(),
                kind: Kind::Histogram,
                with_probe: latency.name.is_some()
                    && may_match_several(std::slice::from_ref(&latency.end)),
            },
            Entry::Spans(_) => return None,
        })
    }
}

/// The name of an entry with these globs: the only one, or the first one with the number of the
/// others.
fn entry_name(globs: &[String]) -> String {
    match globs {
        [] => String::new(),
        [one] => shortened(one),
        [first, others @ ..] => format!("{} and {} more", shortened(first), others.len()),
    }
}

/// A name as the value of a label, which has at most 64 characters.
fn shortened(name: &str) -> String {
    const MAX: usize = 64;
    if name.chars().count() <= MAX {
        return name.to_owned();
    }
    name.chars().take(MAX - 1).chain(['…']).collect()
}

/// Whether globs may match more than one probe.
fn may_match_several(globs: &[String]) -> bool {
    globs.len() > 1 || globs.iter().any(|glob| glob.contains(['*', '?']))
}

/// The name of an argument without the unit that the suffix of the metric repeats: `duration` for
/// `duration_ns`, empty for `ns`.
fn without_unit(argument: &str) -> &str {
    ["ns", "us", "ms", "bytes"].iter().fold(argument, |name, unit| {
        let rest = name.strip_suffix(unit).unwrap_or(name);
        if rest.is_empty() || rest.ends_with('_') { rest.trim_end_matches('_') } else { name }
    })
}

pub(super) fn unit_of(hist: &Hist) -> Unit {
    hist.unit.unwrap_or_else(|| Unit::of_argument(&hist.value))
}
