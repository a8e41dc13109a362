//! Building a plan: choosing sites, compiling their handlers, and laying out the table.

use super::arguments::Arguments;
use super::function_sites::{Choice, choose, function_name};
use super::handler_builder::{CompiledHandler, HandlerSpec, compile};
use super::histogram::{MAX_LINEAR, Scale, unit_of};
use super::nesting::PairBy;
use super::options::PROCESS_FACTOR;
use super::record_layout::NATIVE;
use super::site::{AttachPoint, cheapest_attach_point};
use super::table::{Field, Starts, Table};
use super::{Method, Mode, NopOptimization, Options, Plan, PlannedObject, PlannedProbe, Site};
use crate::discover::Source;
use crate::discover::select::Selected;
use crate::error::{Error, Result, Warning, WarningKind};
use crate::filter::Subject;
use indexmap::IndexSet;
use stapsdt::argspec::Arch;
use stapsdt::elf::Machine;
use stapsdt::escape::Escaped;
use std::collections::HashSet;
use std::sync::Arc;

/// `e_machine` of i386.
const EM_386: u16 = 3;
/// `e_machine` of 32-bit Arm.
const EM_ARM: u16 = 40;
/// `e_machine` of amd64 and, with 32-bit addresses, of x32.
const EM_X86_64: u16 = 62;

/// A site that can be attached to.
struct Candidate<'a> {
    selected: &'a Selected,
    attach_point: AttachPoint,
    arguments: Arguments,
    role: Role,
}

/// The part that a site has in the mode of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The mode is not latency.
    Any,
    /// The time starts at the site.
    Start,
    /// The time ends at the site.
    End,
}

struct Planner<'a> {
    options: &'a Options,
    warnings: Vec<Warning>,
    /// The first problem for which a site was skipped. It is the error if no site is left.
    first_problem: Option<String>,
}

impl Plan {
    /// Builds the plan for selected probes.
    ///
    /// A site is skipped with a warning if it is not a NOP, or if its probe does not have the
    /// arguments that the options name. An argument that cannot be read is skipped with a warning,
    /// too.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if no site is left, or if the options contradict each other. The message
    /// explains why the first site was skipped.
    pub fn new(selected: &[Selected], options: &Options) -> Result<(Plan, Vec<Warning>)> {
        let mut planner = Planner { options, warnings: Vec::new(), first_problem: None };
        let Choice { selected, skipped, message } = choose(selected, options);
        skipped.iter().for_each(|(name, problem)| planner.skip(name, problem));
        message.into_iter().for_each(|text| planner.warn(WarningKind::SkippedProbe, text));
        let candidates = planner.candidates(&selected)?;
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

    /// Skips a site with a warning.
    fn skip(&mut self, site: &str, problem: &str) {
        self.first_problem.get_or_insert_with(|| format!("{site}: {problem}"));
        self.warn(WarningKind::SkippedProbe, format!("skipped {site}: {problem}"));
    }

    /// Returns the sites that can be attached to on this machine.
    fn candidates(&mut self, selected: &'a [Selected]) -> Result<Vec<Candidate<'a>>> {
        let mut out = Vec::new();
        for selected in selected {
            let probe = &selected.probe;
            if probe.arch() != Some(NATIVE) {
                // One warning for all probes of the file.
                let file = Escaped::new(&selected.object.path).to_string();
                self.skip(&file, &foreign_file(probe.machine));
                continue;
            }
            let attach_point = cheapest_attach_point(probe, self.options.nop_optimization);
            if probe.risks_red_zone && self.options.nop_optimization == NopOptimization::Nop5 {
                self.skip(
                    &format!("{} at {:#x}", probe.full_name(), probe.address),
                    "its five-byte NOP is not safe on this kernel, which replaces it with a call that overwrites the red zone of C code; build the program with one-byte NOPs, as sys/sdt.h has them, or use another kernel",
                );
                continue;
            }
            // A glob names each function probe, and the cost of a single-step is said before.
            let is_accepted = self.options.single_step || probe.source == Source::Function;
            if attach_point.method == Method::SingleStep && !is_accepted {
                self.skip(
                    &format!("{} at {:#x}", probe.full_name(), probe.address),
                    if probe.source == Source::Entry {
                        "the function has no stack check, so that each hit is single-stepped, which is tens of times slower (--single-step attaches anyway)"
                    } else {
                        "not a NOP; a probe there is single-stepped, which is tens of times slower (--single-step attaches anyway)"
                    },
                );
                continue;
            }
            let arguments = Arguments::new(probe, &self.options.strings);
            for message in &arguments.mismatches {
                self.warn(WarningKind::MismatchedArgument, message.clone());
            }
            let role = self.role(selected)?;
            out.push(Candidate { selected, attach_point, arguments, role });
        }
        Ok(out)
    }

    /// Returns the part that a selected site has in the mode of the plan.
    fn role(&self, selected: &Selected) -> Result<Role> {
        let Mode::Latency { start, end, .. } = &self.options.mode else { return Ok(Role::Any) };
        match (start.matches(&selected.probe), end.matches(&selected.probe)) {
            (true, true) => Err(Error::usage(format!(
                "{} is both the start and the end; name two different probes",
                selected.probe.full_name()
            ))),
            (true, false) => Ok(Role::Start),
            _ => Ok(Role::End),
        }
    }

    /// Returns what pairs starts with ends: the subject in the options, else the frame of the call if
    /// the starts are the entries of functions and the ends their returns, else the goroutine if all
    /// sites have one, else the thread.
    fn pairing_key(&self, candidates: &[Candidate<'_>]) -> PairBy {
        let name = match &self.options.mode {
            Mode::Latency { key: Some(key), .. } => return PairBy::Subject(key.clone()),
            _ if are_whole_calls(candidates) => return PairBy::Frame,
            _ if candidates.iter().all(|c| c.arguments.goid.is_some()) => "goid",
            _ => "tid",
        };
        PairBy::Subject(Subject { name: name.to_owned(), string: false })
    }

    /// Returns true if the starts with the same key are a stack: those of a goroutine or a thread
    /// are. An argument identifies one call, so a start replaces an earlier one with the same
    /// value. So it does if not every hit is taken, because the ends of a sample do not belong to
    /// its starts.
    fn nests(&self, key: &PairBy, candidates: &[Candidate<'_>]) -> bool {
        let PairBy::Subject(key) = key else { return false };
        let is_argument = |c: &Candidate<'_>| c.arguments.find(&key.name).is_some();
        ["goid", "tid"].contains(&key.name.as_str())
            && !candidates.iter().any(is_argument)
            && self.options.sample.is_none_or(|n| n <= 1)
            && self.options.rate.is_none()
    }

    /// Compiles the handlers of the candidates and assembles the plan.
    fn assemble(&mut self, candidates: &[Candidate<'a>]) -> Result<Plan> {
        let key = self.pairing_key(candidates);
        let nests = self.nests(&key, candidates);
        let is_latency = matches!(self.options.mode, Mode::Latency { .. });
        let pairs_frames = is_latency && key == PairBy::Frame;
        let mut by: Vec<Subject> = Vec::new();
        let mut keep: Vec<Subject> = Vec::new();
        match &self.options.mode {
            Mode::Record => {}
            Mode::Count { by: all } => by.clone_from(all),
            Mode::Histogram { by: all, scale, .. } => {
                check_scale(*scale)?;
                by.clone_from(all);
            }
            // A label is read at the end if the end has the argument, else kept from the start.
            Mode::Latency { by: all, scale, .. } => {
                check_scale(*scale)?;
                let ends: Vec<&Candidate<'_>> =
                    candidates.iter().filter(|c| c.role == Role::End).collect();
                let at_end = |s: &Subject| ends.iter().all(|c| c.arguments.has(&s.name));
                (by, keep) = all.iter().cloned().partition(at_end);
            }
        }
        if self.options.by_process && !matches!(self.options.mode, Mode::Record) {
            by.push(Subject::process());
        }
        let filtered_role = if pairs_frames { self.filtered_role(candidates) } else { None };
        let filter_of = |role| {
            let filter = self.options.filter.as_ref();
            filter.filter(|_| filtered_role.is_none_or(|filtered| filtered == role))
        };
        let mut table = TableBuilder::default();
        let mut probes: IndexSet<PlannedProbe> = IndexSet::new();
        let mut handlers = IndexSet::new();
        let mut sites: Vec<(usize, Site)> = Vec::new();
        // Starts come first, because the handlers of ends depend on the fields that starts keep.
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by_key(|i| candidates.get(*i).is_none_or(|c| c.role != Role::Start));
        for index in order {
            let Some(candidate) = candidates.get(index) else { continue };
            let probe = &candidate.selected.probe;
            // The time between the entry and the return of a function is that of the function.
            let name = match pairs_frames || is_latency && probe.injected.is_some() {
                true => function_name(&probe.name),
                false => &probe.name,
            };
            let planned = PlannedProbe { provider: probe.provider.clone(), name: name.to_owned() };
            let series = probes.insert_full(planned).0 as u32;
            let spec = match (&self.options.mode, candidate.role) {
                (Mode::Record, _) => HandlerSpec::Record {
                    max_string: self.options.max_string,
                    stack: self.options.stack,
                    has_frame: self.options.call_frames && probe.source == Source::Function,
                },
                (Mode::Count { .. }, _) => HandlerSpec::Count { by: &by },
                (Mode::Histogram { value, scale, .. }, _) => {
                    HandlerSpec::Histogram { value, by: &by, scale: *scale }
                }
                (Mode::Latency { .. }, Role::Start) => {
                    HandlerSpec::Start { key: &key, keep: &keep, nests }
                }
                (Mode::Latency { scale, .. }, _) => {
                    let (kept, scale) = (table.kept_size(), *scale);
                    HandlerSpec::End { key: &key, by: &by, kept, scale, nests }
                }
            };
            let filter = filter_of(candidate.role);
            let result = compile(&candidate.arguments, filter, &spec, series)
                .and_then(|compiled| table.add(compiled, candidate.role));
            let mut compiled = match result {
                Ok(compiled) => compiled,
                Err(problem) => {
                    self.skip(&probe.full_name(), &problem);
                    continue;
                }
            };
            if let super::Action::Record(layout) = &compiled.handler.action {
                for arg in &layout.args {
                    let Some(problem) = &arg.problem else { continue };
                    let message = format!(
                        "skipped argument `{}` of {}: {problem}",
                        arg.name,
                        probe.full_name()
                    );
                    self.warn(WarningKind::SkippedArgument, message);
                }
            }
            compiled.handler.stack_check =
                candidate.attach_point.method == Method::Branch && probe.stack_check;
            // Calls are limited at their entries.
            let is_limited = compiled.handler.action.is_sampled();
            compiled.handler.rate = self.options.rate.filter(|_| is_limited).map(|_| series);
            let site = Site {
                cookie: 0,
                probe: series,
                handler: handlers.insert_full(compiled.handler).0 as u32,
                address: probe.address,
                offset: probe.offset + candidate.attach_point.distance,
                semaphore_offset: probe.semaphore_offset,
                method: candidate.attach_point.method,
                stub: probe.generated,
            };
            sites.push((index, site));
        }
        if let Some(problem) = self.first_problem.clone().filter(|_| sites.is_empty()) {
            self.warnings.clear();
            return Err(Error::usage(problem));
        }
        self.check_pair(candidates, &sites)?;
        sites.sort_by_key(|(index, _)| *index);
        let mut objects: Vec<PlannedObject> = Vec::new();
        for (cookie, (index, site)) in (0..).zip(sites) {
            let Some(candidate) = candidates.get(index) else { continue };
            let (site, object) = (Site { cookie, ..site }, &candidate.selected.object);
            match objects.iter_mut().find(|o| o.id == object.id) {
                Some(planned) => planned.sites.push(site),
                None => objects.push(PlannedObject {
                    path: object.path.clone(),
                    sites: vec![site],
                    id: object.id,
                    object: Some(Arc::clone(object)),
                }),
            }
        }
        let options = self.options;
        Ok(Plan {
            objects,
            probes: probes.into_iter().collect(),
            handlers: handlers.into_iter().collect(),
            table: table.finish(options, nests, pairs_frames, value_unit(options, candidates)),
            pids: options.pids.clone(),
            children: options.children.clone(),
            cgroup: options.cgroup.clone(),
            executables: options.executables.clone(),
            limit: options.limit,
            sample: options.sample.filter(|n| *n > 1),
            rate: options.rate,
            buffer: options.buffer,
        })
    }

    /// Returns the part to whose sites the filter of a latency of functions applies: the entry if it
    /// has all arguments that the filter names, else the return. `None` for both.
    fn filtered_role(&self, candidates: &[Candidate<'_>]) -> Option<Role> {
        let filter = self.options.filter.as_ref()?;
        let subjects = filter.0.subjects();
        let has_all = |role| {
            let mut sites = candidates.iter().filter(|c| c.role == role);
            sites.all(|c| subjects.iter().all(|s| c.arguments.has(&s.name)))
        };
        match (has_all(Role::Start), has_all(Role::End)) {
            (true, true) => None,
            (false, true) => Some(Role::End),
            (_, false) => Some(Role::Start),
        }
    }

    /// Checks that a latency has sites for both its start and its end.
    fn check_pair(&self, candidates: &[Candidate<'_>], sites: &[(usize, Site)]) -> Result<()> {
        let Mode::Latency { start, end, .. } = &self.options.mode else { return Ok(()) };
        for (role, glob) in [(Role::Start, start), (Role::End, end)] {
            let has_role =
                |(index, _): &(usize, Site)| candidates.get(*index).is_some_and(|c| c.role == role);
            if !sites.iter().any(has_role) {
                let problem = self
                    .first_problem
                    .clone()
                    .unwrap_or_else(|| format!("no probe matches `{glob}`"));
                return Err(Error::usage(problem));
            }
        }
        Ok(())
    }
}

/// Returns true if the sites are in the code of functions, the starts at their entries and the ends at
/// their returns.
fn are_whole_calls(candidates: &[Candidate<'_>]) -> bool {
    let of = |role| candidates.iter().filter(move |c| c.role == role).map(|c| &*c.selected.probe);
    let starts: HashSet<&str> = of(Role::Start).map(|probe| probe.name.as_str()).collect();
    candidates.iter().all(|c| c.selected.probe.source == Source::Function)
        && of(Role::End)
            .all(|probe| probe.is_function_return() && starts.contains(function_name(&probe.name)))
}

/// Says why a file for another machine cannot be traced here.
fn foreign_file(machine: Machine) -> String {
    let this = match NATIVE {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
    };
    // A 64-bit kernel can run 32-bit programs of its own family.
    match (NATIVE, machine.number) {
        (Arch::X86_64, EM_386 | EM_X86_64) | (Arch::Aarch64, EM_ARM) => {
            format!("it is a 32-bit file ({machine}), and 32-bit programs are not supported")
        }
        _ => format!("the file is for {machine}, and this machine is {this}"),
    }
}

/// Returns the unit of the values of a histogram; `None` if it is not known, or if it is not the same
/// for all probes.
fn value_unit(options: &Options, candidates: &[Candidate<'_>]) -> Option<&'static str> {
    let Mode::Histogram { value, .. } = &options.mode else { return None };
    let mut units = candidates.iter().map(|candidate| {
        let schema = candidate.selected.probe.schema.as_ref();
        let argument = schema.and_then(|s| s.args.iter().find(|arg| arg.name == value.name));
        unit_of(&value.name, argument.and_then(|arg| arg.unit.as_deref()))
    });
    let first = units.next()?;
    first.filter(|_| units.all(|unit| unit == first))
}

/// Checks the bounds of a linear histogram.
fn check_scale(scale: Scale) -> Result<()> {
    let Scale::Linear { low, high, step } = scale else { return Ok(()) };
    if low >= high || step == 0 {
        return Err(Error::usage("a linear histogram LO,HI,STEP needs LO < HI and STEP > 0"));
    }
    let buckets = super::Buckets::Linear { low, high, step, signed: true };
    if buckets.inner() > MAX_LINEAR {
        return Err(Error::usage(format!(
            "a linear histogram has {} buckets (limit {MAX_LINEAR}); use a larger step",
            buckets.inner()
        )));
    }
    Ok(())
}

/// Builds the table. All probes share it, so each must have the same fields as the first one.
#[derive(Default)]
struct TableBuilder {
    /// The first handler that writes to the table.
    ends: Option<CompiledHandler>,
    /// The first handler that writes to the map of starts.
    starts: Option<CompiledHandler>,
}

impl TableBuilder {
    /// Returns the size in bytes of the label fields that starts keep.
    fn kept_size(&self) -> u32 {
        self.starts
            .as_ref()
            .map_or(0, |compiled| compiled.fields.iter().map(|f| f.kind.size()).sum())
    }

    /// Adds a handler and returns it if it fits the others.
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
                    "its arguments do not have the same types as those of the other probes".into(),
                );
            }
            Some(_) => {}
            None => *slot = Some(compiled.clone()),
        }
        if let (Some(starts), Some(ends)) = (&self.starts, &self.ends)
            && starts.key != ends.key
        {
            return Err("its key does not have the same type at the start and at the end".into());
        }
        Ok(compiled)
    }

    /// Returns the table; `None` if the plan needs none.
    fn finish(
        &self,
        options: &Options,
        nests: bool,
        are_frames: bool,
        value_unit: Option<&'static str>,
    ) -> Option<Table> {
        let ends = self.ends.as_ref()?;
        if matches!(options.mode, Mode::Record) || ends.fields.is_empty() && ends.buckets.is_none()
        {
            return None;
        }
        let mut fields = ends.fields.clone();
        let size = |fields: &[Field]| 8 + fields.iter().map(|f| f.kind.size()).sum::<u32>();
        let end_size = size(&fields);
        let mut starts = None;
        if let Some(compiled) = &self.starts {
            // Fields kept from the start follow the fields of the end.
            fields.extend(
                compiled.fields.iter().map(|f| Field { at: f.at - 8 + end_size, ..f.clone() }),
            );
            let level = if nests { 8 } else { 0 };
            starts = Some(Starts {
                key_size: size(&compiled.key),
                value_size: size(&compiled.fields) + level,
                nests,
                are_frames,
                entries: options.entries,
            });
        }
        Some(Table {
            key_size: size(&fields),
            fields,
            buckets: ends.buckets,
            unit: starts.map_or(value_unit, |_| Some("ns")),
            starts,
            entries: match options.by_process {
                true => options.entries.saturating_mul(PROCESS_FACTOR),
                false => options.entries,
            },
        })
    }
}
