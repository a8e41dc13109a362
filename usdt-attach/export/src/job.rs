//! One entry of the configuration, carried out: its sessions, and what those have counted that are over.

use crate::config::{Config, Count, Hist, Latency, Span, Unit};
use crate::metric::{Family, Kind, name_of, series, word};
use crate::span::Pairing;
use std::collections::HashSet;
use std::path::PathBuf;
use usdt_attach::backend::Backend;
use usdt_attach::discover::select::{Glob, select, select_if_any};
use usdt_attach::discover::{ObjectId, ScannedObject};
use usdt_attach::error::Result;
use usdt_attach::event::counts::{Histogram, Row, Total, merge_rows};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::plan::{Mode, Options, Plan, Scale};
use usdt_attach::session::{Session, Summary};

/// An entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Count(Count),
    Hist(Hist),
    Latency(Latency),
    /// All of them: what is part of what shows only when their events come in one order.
    Spans(Vec<Span>),
}

/// Whose hits, and how much of them is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scope {
    pub(super) pids: Option<Vec<u32>>,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) series: u32,
    pub(super) buffer: u32,
    pub(super) open_spans: usize,
}

/// Longest text of an attribute.
const MAX_TEXT: u32 = 256;

pub(super) struct Job {
    pub(super) entry: Entry,
    scope: Scope,
    globs: Vec<String>,
    options: Options,
    parts: Vec<Part>,
    /// What parts have counted that are over.
    kept: Vec<Row>,
    gone: Summary,
    pub(super) pairing: Option<Pairing>,
}

/// A session, and the files that it is attached to.
struct Part {
    session: Session,
    objects: Vec<ObjectId>,
}

/// The entries of a configuration.
pub(super) fn entries(config: &Config) -> Vec<Entry> {
    let mut out: Vec<Entry> = config.count.iter().cloned().map(Entry::Count).collect();
    out.extend(config.hist.iter().cloned().map(Entry::Hist));
    out.extend(config.latency.iter().cloned().map(Entry::Latency));
    if !config.span.is_empty() {
        out.push(Entry::Spans(config.span.clone()));
    }
    out
}

impl Job {
    /// The configuration has been checked.
    pub(super) fn new(entry: Entry, scope: &Scope) -> Result<Job> {
        let subjects = |names: &[String]| -> Result<Vec<Subject>> {
            names.iter().map(|name| Subject::parse(name).map_err(bad)).collect()
        };
        let filter = |text: &Option<String>| {
            text.as_ref().map(|t| Filter::parse(t).map_err(bad)).transpose()
        };
        let mut options = Options {
            pids: scope.pids.clone(),
            cgroup: scope.cgroup.clone(),
            entries: scope.series,

            ..Options::default()
        };
        let globs;
        let mut pairing = None;
        match &entry {
            Entry::Count(count) => {
                options.mode = Mode::Count { by: subjects(&count.by)? };
                options.filter = filter(&count.filter)?;
                globs = count.probes.clone();
            }
            Entry::Hist(hist) => {
                let value = Subject::parse(&hist.value).map_err(bad)?;
                let scale = match hist.linear {
                    Some((low, high, step)) => Scale::Linear { low, high, step },
                    None => unit_of(hist).scale(),
                };
                options.mode = Mode::Histogram { value, scale, by: subjects(&hist.by)? };
                options.filter = filter(&hist.filter)?;
                globs = vec![hist.probe.clone()];
            }
            Entry::Latency(latency) => {
                options.mode = Mode::Latency {
                    start: Glob::new(&latency.start),
                    end: Glob::new(&latency.end),
                    key: latency
                        .key
                        .as_ref()
                        .map(|k| Subject::parse(k).map_err(bad))
                        .transpose()?,
                    by: subjects(&latency.by)?,
                    scale: Unit::Ns.scale(),
                };
                options.filter = filter(&latency.filter)?;
                globs = vec![latency.start.clone(), latency.end.clone()];
            }
            Entry::Spans(spans) => {
                options.max_string = MAX_TEXT;
                options.buffer = scope.buffer;
                globs = spans.iter().flat_map(|s| [s.start.clone(), s.end.clone()]).collect();
                pairing = Some(Pairing::new(spans, scope.open_spans));
            }
        }
        Ok(Job {
            entry,
            scope: scope.clone(),
            globs,
            options,
            parts: Vec::new(),
            kept: Vec::new(),
            gone: Summary::default(),
            pairing,
        })
    }

    /// Whether it is what a new configuration has, too.
    pub(super) fn is(&self, entry: &Entry, scope: &Scope) -> bool {
        self.entry == *entry && self.scope == *scope
    }

    /// Fails where a glob means nothing in what was found.
    pub(super) fn expect(&self, found: &[ScannedObject]) -> Result<()> {
        select(found, &self.globs).map(drop)
    }

    /// Attaches to what was found, by one session. What cannot be attached to is said.
    pub(super) fn attach(
        &mut self,
        found: &[ScannedObject],
        backend: &dyn Backend,
        say: &mut dyn FnMut(String),
    ) -> Result<()> {
        let chosen = select_if_any(found, &self.globs);
        if chosen.is_empty() {
            return Ok(());
        }
        match Plan::new(&chosen, &self.options) {
            Ok((plan, warnings)) => {
                warnings.iter().for_each(|warning| say(warning.to_string()));
                let objects = plan.objects().iter().map(|o| o.id()).collect();
                self.parts.push(Part { session: Session::start(plan, backend)?, objects });
            }
            Err(error) => say(format!("{error:#}")),
        }
        Ok(())
    }

    /// Detaches from files that nobody runs any more; what was counted there stays counted.
    pub(super) fn retire(&mut self, live: &HashSet<ObjectId>) -> Result<()> {
        let mut at = 0;
        while let Some(part) = self.parts.get_mut(at) {
            if part.objects.iter().any(|id| live.contains(id)) {
                at += 1;
                continue;
            }
            part.session.detach();
            if self.pairing.is_none() {
                merge_rows(&mut self.kept, part.session.rows()?);
            }
            self.gone = self.gone + part.session.summary()?;
            self.parts.swap_remove(at);
        }
        Ok(())
    }

    /// Which probes it is about.
    pub(super) fn globs(&self) -> &[String] {
        &self.globs
    }

    /// Files that it is attached to.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.parts.iter().flat_map(|part| part.objects.iter().copied())
    }

    /// Sites that it is attached to.
    pub(super) fn sites(&self) -> u64 {
        self.parts
            .iter()
            .flat_map(|p| p.session.plan().objects())
            .map(|o| o.sites.len() as u64)
            .sum()
    }

    /// Takes the events that are there, up to a batch of each session; whether there may be more.
    pub(super) fn drain(&mut self, mut ended: impl FnMut(crate::span::Span)) -> Result<bool> {
        let Some(pairing) = &mut self.pairing else { return Ok(false) };
        let mut more = false;
        for part in &mut self.parts {
            more |= part.session.drain(|event| pairing.take(event, &mut ended))?;
        }
        Ok(more)
    }

    pub(super) fn stop(&mut self) {
        self.parts.iter_mut().for_each(|part| part.session.detach());
    }

    /// The account of all its sessions.
    pub(super) fn summary(&self) -> Result<Summary> {
        self.parts.iter().try_fold(self.gone, |all, part| Ok(all + part.session.summary()?))
    }

    /// What it is called in the account.
    pub(super) fn name(&self) -> String {
        match &self.entry {
            Entry::Count(count) => count.name.clone().unwrap_or_else(|| count.probes.join(",")),
            Entry::Hist(hist) => {
                hist.name.clone().unwrap_or_else(|| format!("{} {}", hist.probe, hist.value))
            }
            Entry::Latency(l) => l.name.clone().unwrap_or_else(|| format!("{} {}", l.start, l.end)),
            Entry::Spans(_) => "spans".to_owned(),
        }
    }

    /// What it has counted.
    pub(super) fn families(&self) -> Result<Vec<Family>> {
        if self.pairing.is_some() {
            return Ok(Vec::new());
        }
        let mut rows = self.kept.clone();
        merge_rows(&mut rows, Session::merged_rows(self.parts.iter().map(|part| &part.session))?);
        let empty = self.empty(&rows);
        rows.extend(empty);
        let mut out: Vec<Family> = Vec::new();
        for row in rows {
            let Some(shape) = self.shape(&row) else { continue };
            let Shape { name, help, unit, kind, with_probe } = shape;
            let series = series(&row, unit, with_probe);
            match out.iter_mut().find(|family| family.name == name) {
                Some(family) => family.series.push(series),
                None => out.push(Family { name, help, unit, kind, series: vec![series] }),
            }
        }
        out.iter_mut().for_each(|family| family.series.sort_by(|a, b| a.labels.cmp(&b.labels)));
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// Histograms without labels that have no values yet: rates begin at nothing, not with the first value.
    fn empty(&self, rows: &[Row]) -> Vec<Row> {
        let mut out: Vec<Row> = Vec::new();
        for plan in self.parts.iter().map(|part| part.session.plan()) {
            let Some(buckets) = plan.buckets_per_probe() else { continue };
            for probe in plan.probes() {
                let ends = match &self.entry {
                    Entry::Latency(latency) => {
                        Glob::new(&latency.end).matches_names(&probe.provider, &probe.name)
                    }
                    _ => true,
                };
                if ends && !rows.iter().chain(&out).any(|row| row.probe == *probe) {
                    let counts = vec![0; buckets.count()];
                    let total =
                        Total::Histogram(Histogram { buckets, counts, sum: 0, min: 0, max: 0 });
                    out.push(Row { probe: probe.clone(), labels: Vec::new(), total });
                }
            }
        }
        out
    }

    /// What the metric of a row is. Spans are none.
    fn shape(&self, row: &Row) -> Option<Shape> {
        let probe = format!("{}:{}", row.probe.provider, row.probe.name);
        let base = name_of(&row.probe);
        let several =
            |globs: &[&String]| globs.len() > 1 || globs.iter().any(|g| g.contains(['*', '?']));
        let help = |said: &Option<String>, usual: String| said.clone().unwrap_or(usual);
        Some(match &self.entry {
            Entry::Count(count) => {
                let name = count.name.clone().unwrap_or(base);
                Shape {
                    name: if name.ends_with("_total") { name } else { format!("{name}_total") },
                    help: help(&count.help, format!("Hits of {probe}.")),
                    unit: Unit::None,
                    kind: Kind::Counter,
                    with_probe: count.name.is_some()
                        && several(&count.probes.iter().collect::<Vec<_>>()),
                }
            }
            Entry::Hist(hist) => {
                let unit = unit_of(hist);
                // What the unit's name says is not said twice.
                let value =
                    ["ns", "us", "ms", "bytes"].iter().fold(hist.value.as_str(), |value, unit| {
                        let rest = value.strip_suffix(unit).unwrap_or(value);
                        if rest.is_empty() || rest.ends_with('_') {
                            rest.trim_end_matches('_')
                        } else {
                            value
                        }
                    });
                let value =
                    if value.is_empty() { String::new() } else { format!("_{}", word(value)) };
                Shape {
                    name: hist
                        .name
                        .clone()
                        .unwrap_or_else(|| format!("{base}{value}{}", unit.suffix())),
                    help: help(&hist.help, format!("{} of {probe}.", hist.value)),
                    unit,
                    kind: Kind::Histogram,
                    with_probe: hist.name.is_some() && several(&[&hist.probe]),
                }
            }
            Entry::Latency(latency) => Shape {
                name: latency.name.clone().unwrap_or_else(|| format!("{base}_latency_seconds")),
                help: help(&latency.help, format!("Time from {} to {probe}.", latency.start)),
                unit: Unit::Ns,
                kind: Kind::Histogram,
                with_probe: latency.name.is_some() && several(&[&latency.end]),
            },
            Entry::Spans(_) => return None,
        })
    }
}

/// A metric without its values.
struct Shape {
    name: String,
    help: String,
    unit: Unit,
    kind: Kind,
    with_probe: bool,
}

fn unit_of(hist: &Hist) -> Unit {
    hist.unit.unwrap_or_else(|| Unit::of_argument(&hist.value))
}

fn bad(error: impl std::fmt::Display) -> usdt_attach::error::Error {
    usdt_attach::error::Error::usage(error.to_string())
}
