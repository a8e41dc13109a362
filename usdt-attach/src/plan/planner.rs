//! Making a plan: which sites, which handlers, which table.

use super::arguments::Arguments;
use super::handler::{CompiledHandler, HandlerSpec, compile};
use super::histogram::{MOST_LINEAR, Scale};
use super::record_layout::NATIVE;
use super::site::attach_method;
use super::table::{Field, Starts, Table};
use super::{Method, Mode, Options, Plan, PlannedObject, PlannedProbe, Site};
use crate::discover::Source;
use crate::discover::select::Selected;
use crate::error::{Error, Result, Warning, WarningKind};
use crate::filter::Subject;
use indexmap::IndexSet;
use std::sync::Arc;

/// A site that can be attached to, and its arguments.
struct Candidate<'a> {
    chosen: &'a Selected,
    method: Method,
    distance: u64,
    arguments: Arguments,
    role: Role,
}

/// What a site is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Any,
    Start,
    End,
}

struct Planner<'a> {
    options: &'a Options,
    warnings: Vec<Warning>,
    /// The first reason for leaving a site out.
    reason: Option<String>,
}

impl Plan {
    /// Decides everything. Sites that cannot be attached to without surprise, or lack what the options name, are
    /// left out and explained; that none is left is an error.
    pub fn new(selected: &[Selected], options: &Options) -> Result<(Plan, Vec<Warning>)> {
        let mut planner = Planner { options, warnings: Vec::new(), reason: None };
        let candidates = planner.candidates(selected)?;
        let plan = planner.assemble(&candidates)?;
        Ok((plan, planner.warnings))
    }
}

impl<'a> Planner<'a> {
    fn warn(&mut self, kind: WarningKind, message: String) {
        let warning = Warning::new(kind, message);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn leave_out(&mut self, why: &str) {
        self.reason.get_or_insert_with(|| why.to_owned());
        self.warn(WarningKind::SkippedProbe, format!("{why}; left out"));
    }

    fn candidates(&mut self, selected: &'a [Selected]) -> Result<Vec<Candidate<'a>>> {
        let mut out = Vec::new();
        for chosen in selected {
            let probe = &chosen.probe;
            if probe.arch != NATIVE {
                let path = chosen.object.path.display();
                self.leave_out(&format!(
                    "{path}: {} is for another architecture",
                    probe.full_name()
                ));
                continue;
            }
            let (method, distance) = attach_method(
                probe.generated,
                probe.instruction,
                probe.address,
                self.options.nop_optimization,
            );
            if method == Method::SingleStep && !self.options.single_step {
                self.leave_out(&format!(
                    "{} at {:#x} is no no-op but another instruction, which a probe would slow down tens of times",
                    probe.full_name(),
                    probe.address
                ));
                continue;
            }
            let arguments = Arguments::new(probe, &self.options.strings);
            out.push(Candidate { chosen, method, distance, arguments, role: self.role(chosen)? });
        }
        Ok(out)
    }

    fn role(&self, chosen: &Selected) -> Result<Role> {
        let Mode::Latency { start, end, .. } = &self.options.mode else { return Ok(Role::Any) };
        match (start.matches(&chosen.probe), end.matches(&chosen.probe)) {
            (true, true) => Err(Error::usage(format!(
                "{} is the start and the end; say two different probes",
                chosen.probe.full_name()
            ))),
            (true, false) => Ok(Role::Start),
            _ => Ok(Role::End),
        }
    }

    /// What tells starts from each other: what the user says, else the goroutine where all have one, else the
    /// thread.
    fn key(&self, candidates: &[Candidate<'_>]) -> Subject {
        let name = match &self.options.mode {
            Mode::Latency { key: Some(key), .. } => return key.clone(),
            _ if candidates.iter().all(|c| c.arguments.goid.is_some()) => "goid",
            _ => "tid",
        };
        Subject { name: name.to_owned(), string: false }
    }

    fn assemble(&mut self, candidates: &[Candidate<'a>]) -> Result<Plan> {
        let key = self.key(candidates);
        let mut by: Vec<Subject> = Vec::new();
        let mut keep: Vec<Subject> = Vec::new();
        match &self.options.mode {
            Mode::Record => {}
            Mode::Count { by: all } => by.clone_from(all),
            Mode::Histogram { by: all, scale, .. } => {
                fits(*scale)?;
                by.clone_from(all);
            }
            // Taken at the end where the end has it, else kept from the start.
            Mode::Latency { by: all, scale, .. } => {
                fits(*scale)?;
                let ends: Vec<&Candidate<'_>> =
                    candidates.iter().filter(|c| c.role == Role::End).collect();
                let at_end = |s: &Subject| ends.iter().all(|c| c.arguments.has(&s.name));
                (by, keep) = all.iter().cloned().partition(at_end);
            }
        }
        let mut table = TableBuilder::default();
        let mut probes: IndexSet<PlannedProbe> = IndexSet::new();
        let mut handlers = IndexSet::new();
        let mut sites: Vec<(usize, Site)> = Vec::new();
        // Starts first: the ends need to know what is kept.
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by_key(|i| candidates.get(*i).is_none_or(|c| c.role != Role::Start));
        for index in order {
            let Some(candidate) = candidates.get(index) else { continue };
            let probe = &candidate.chosen.probe;
            let series = probes
                .insert_full(PlannedProbe {
                    provider: probe.provider.clone(),
                    name: probe.name.clone(),
                })
                .0 as u32;
            let spec = match (&self.options.mode, candidate.role) {
                (Mode::Record, _) => HandlerSpec::Record {
                    max_string: self.options.max_string,
                    stack: self.options.stack,
                },
                (Mode::Count { .. }, _) => HandlerSpec::Count { by: &by },
                (Mode::Histogram { value, scale, .. }, _) => {
                    HandlerSpec::Histogram { value, by: &by, scale: *scale }
                }
                (Mode::Latency { .. }, Role::Start) => {
                    HandlerSpec::Start { key: &key, keep: &keep }
                }
                (Mode::Latency { scale, .. }, _) => {
                    HandlerSpec::End { key: &key, by: &by, kept: table.kept_size(), scale: *scale }
                }
            };
            let compiled =
                compile(&candidate.arguments, self.options.filter.as_ref(), &spec, series)
                    .and_then(|compiled| table.add(compiled, candidate.role));
            let mut compiled = match compiled {
                Ok(compiled) => compiled,
                Err(problem) => {
                    self.leave_out(&format!("{}: {problem}", probe.full_name()));
                    continue;
                }
            };
            if let super::Action::Record(layout) = &compiled.handler.action {
                for problem in layout.args.iter().filter_map(|a| a.problem.as_ref()) {
                    let message =
                        format!("{}: {problem}; the argument is left out", probe.full_name());
                    self.warn(WarningKind::SkippedArgument, message);
                }
            }
            compiled.handler.stack_check =
                candidate.method == Method::Branch && probe.source == Source::Entry;
            compiled.handler.rate = self.options.rate.map(|_| series);
            let site = Site {
                cookie: 0,
                probe: series,
                handler: handlers.insert_full(compiled.handler).0 as u32,
                address: probe.address,
                offset: probe.offset + candidate.distance,
                semaphore_offset: probe.semaphore_offset,
                method: candidate.method,
                stub: probe.generated,
            };
            sites.push((index, site));
        }
        if let Some(reason) = self.reason.clone().filter(|_| sites.is_empty()) {
            self.warnings.clear();
            return Err(Error::usage(reason));
        }
        self.check_ends(candidates, &sites)?;
        sites.sort_by_key(|(index, _)| *index);
        let mut objects: Vec<PlannedObject> = Vec::new();
        for (cookie, (index, site)) in (0..).zip(sites) {
            let Some(candidate) = candidates.get(index) else { continue };
            let (site, object) = (Site { cookie, ..site }, &candidate.chosen.object);
            match objects.iter_mut().find(|o| o.object.id == object.id) {
                Some(planned) => planned.sites.push(site),
                None => objects.push(PlannedObject {
                    path: object.path.clone(),
                    sites: vec![site],
                    object: Arc::clone(object),
                }),
            }
        }
        let options = self.options;
        Ok(Plan {
            objects,
            probes: probes.into_iter().collect(),
            handlers: handlers.into_iter().collect(),
            table: table.finish(options),
            pids: options.pids.clone(),
            cgroup: options.cgroup.clone(),
            limit: options.limit,
            sample: options.sample.filter(|n| *n > 1),
            rate: options.rate,
            buffer: options.buffer,
        })
    }

    /// A time needs both ends.
    fn check_ends(&self, candidates: &[Candidate<'_>], sites: &[(usize, Site)]) -> Result<()> {
        let Mode::Latency { start, end, .. } = &self.options.mode else { return Ok(()) };
        for (role, glob) in [(Role::Start, start), (Role::End, end)] {
            let has =
                |(index, _): &(usize, Site)| candidates.get(*index).is_some_and(|c| c.role == role);
            if !sites.iter().any(has) {
                let why =
                    self.reason.clone().unwrap_or_else(|| format!("no probe matches `{glob}`"));
                return Err(Error::usage(why));
            }
        }
        Ok(())
    }
}

fn fits(scale: Scale) -> Result<()> {
    let Scale::Linear { low, high, step } = scale else { return Ok(()) };
    if low >= high || step == 0 {
        return Err(Error::usage(
            "a linear histogram is LO,HI,STEP with LO < HI and a STEP above 0",
        ));
    }
    let buckets = super::Buckets::Linear { low, high, step, signed: true };
    if buckets.inner() > MOST_LINEAR {
        return Err(Error::usage(format!(
            "{} buckets are more than {MOST_LINEAR}; take a larger step",
            buckets.inner()
        )));
    }
    Ok(())
}

/// The table as it takes shape: what the first probe brings, the others must share.
#[derive(Default)]
struct TableBuilder {
    ends: Option<CompiledHandler>,
    starts: Option<CompiledHandler>,
}

impl TableBuilder {
    fn kept_size(&self) -> u32 {
        self.starts
            .as_ref()
            .map_or(0, |compiled| compiled.fields.iter().map(|f| f.kind.size()).sum())
    }

    fn add(
        &mut self,
        compiled: CompiledHandler,
        role: Role,
    ) -> std::result::Result<CompiledHandler, String> {
        let differs = |first: &CompiledHandler, compiled: &CompiledHandler| {
            first.fields != compiled.fields
                || first.key != compiled.key
                || first.buckets != compiled.buckets
        };
        let slot = if role == Role::Start { &mut self.starts } else { &mut self.ends };
        match slot {
            Some(first) if differs(first, &compiled) => {
                return Err(
                    "its arguments of these names are of other types than the other probes'".into(),
                );
            }
            Some(_) => {}
            None => *slot = Some(compiled.clone()),
        }
        if let (Some(starts), Some(ends)) = (&self.starts, &self.ends)
            && starts.key != ends.key
        {
            return Err("its key is of another type than the other end's".into());
        }
        Ok(compiled)
    }

    fn finish(&self, options: &Options) -> Option<Table> {
        let ends = self.ends.as_ref()?;
        if matches!(options.mode, Mode::Record) || ends.fields.is_empty() && ends.buckets.is_none()
        {
            return None;
        }
        let mut fields = ends.fields.clone();
        let size = |fields: &[Field]| 8 + fields.iter().map(|f| f.kind.size()).sum::<u32>();
        let own = size(&fields);
        let mut starts = None;
        if let Some(compiled) = &self.starts {
            // Behind what the end brings, in the order kept.
            fields
                .extend(compiled.fields.iter().map(|f| Field { at: f.at - 8 + own, ..f.clone() }));
            starts =
                Some(Starts { key_size: size(&compiled.key), value_size: size(&compiled.fields) });
        }
        Some(Table {
            key_size: size(&fields),
            fields,
            buckets: ends.buckets,
            unit: starts.map(|_| "ns"),
            starts,
            entries: options.entries,
        })
    }
}
