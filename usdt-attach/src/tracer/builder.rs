//! Builders: what to trace and how, then `attach`.

use super::{Aggregation, Tracer};
use crate::backend::{Backend, BackendKind};
use crate::discover::select::{Glob, select};
use crate::discover::{self, SchemaFile};
use crate::error::{Error, Result, Warning};
use crate::filter::{Filter, Subject};
use crate::plan::{Mode, Options, Plan, Scale};
use crate::session::{Attacher, EventLoop, Mechanism, Session};
use crate::target::{Child, ResolvedTarget, Target};
use std::sync::Arc;

/// Options of a [`Tracer`], from [`Tracer::builder`].
#[derive(Clone, Debug, Default)]
pub struct TracerBuilder {
    target: Option<Target>,
    globs: Vec<String>,
    schema: Option<SchemaFile>,
    options: Options,
    backend: Option<Arc<dyn Backend>>,
}

/// Options of an [`Aggregation`], from [`TracerBuilder::count`], [`TracerBuilder::histogram`] or
/// [`TracerBuilder::latency`].
#[derive(Clone, Debug)]
pub struct AggregationBuilder {
    tracer: TracerBuilder,
}

impl TracerBuilder {
    /// What to trace. Required.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Adds globs of probes to attach to: `provider:probe` with `*` and `?` in both parts, or `probe` of any provider. Each
    /// has to match a probe. Default: every probe.
    #[must_use]
    pub fn probes(mut self, globs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.globs.extend(globs.into_iter().map(Into::into));
        self
    }

    /// Takes only hits that pass this filter, which the kernel evaluates. Default: every hit.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.options.filter = Some(filter);
        self
    }

    /// Truncates string and bytes arguments to this length in bytes, 1 to 2,048. Default: 128.
    #[must_use]
    pub fn max_string_len(mut self, bytes: u32) -> Self {
        self.options.max_string = bytes.clamp(1, 2048);
        self
    }

    /// Size of the event buffer in bytes, rounded up to a power of two of at least a page. Default: 8 MiB.
    #[must_use]
    pub fn buffer_size(mut self, bytes: u32) -> Self {
        self.options.buffer =
            bytes.clamp(rustix::param::page_size() as u32, 1 << 30).next_power_of_two();
        self
    }

    /// Records the user stack, up to this number of frames, 1 to 127. Default: none.
    #[must_use]
    pub fn stack(mut self, frames: u32) -> Self {
        self.options.stack = Some(frames.clamp(1, 127));
        self
    }

    /// Takes one hit in `n`, chosen at random; others count as filtered. Default: every hit.
    #[must_use]
    pub fn sample(mut self, n: u32) -> Self {
        self.options.sample = Some(n);
        self
    }

    /// Takes at most this number of hits per second and probe; others count as filtered. Default: no limit.
    #[must_use]
    pub fn rate_limit(mut self, hits: u32) -> Self {
        self.options.rate = Some(hits);
        self
    }

    /// Ends after this number of hits that pass the filter. Default: no limit.
    #[must_use]
    pub fn limit(mut self, hits: u64) -> Self {
        self.options.limit = Some(hits);
        self
    }

    /// Reads these arguments, names or `argN`, as C strings, for binaries without types.
    #[must_use]
    pub fn c_strings(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.strings.extend(names.into_iter().map(Into::into));
        self
    }

    /// Names and types of arguments, for binaries without a schema.
    #[must_use]
    pub fn schema(mut self, schema: SchemaFile) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Also attaches to instructions that are not NOPs. Each hit is single-stepped, which is tens of times slower. Default:
    /// false.
    #[must_use]
    pub fn single_step(mut self, allow: bool) -> Self {
        self.options.single_step = allow;
        self
    }

    /// The back end that carries out the plan. Default: [`BackendKind::Embedded`].
    #[must_use]
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Counts hits in the kernel instead of recording each.
    #[must_use]
    pub fn count(self) -> AggregationBuilder {
        self.aggregate(Mode::Count { by: Vec::new() })
    }

    /// Computes a histogram of an integer argument in the kernel instead of recording each hit.
    #[must_use]
    pub fn histogram(self, value: Subject) -> AggregationBuilder {
        self.aggregate(Mode::Histogram { value, scale: Scale::default(), by: Vec::new() })
    }

    /// Measures in the kernel, in nanoseconds, the time from a hit of `start` to the next of `end` on the same goroutine
    /// or, where there are none, thread. Both are globs, and replace [`TracerBuilder::probes`].
    #[must_use]
    pub fn latency(mut self, start: &str, end: &str) -> AggregationBuilder {
        self.globs = vec![start.to_owned(), end.to_owned()];
        let (start, end) = (Glob::new(start), Glob::new(end));
        self.aggregate(Mode::Latency {
            start,
            end,
            key: None,
            by: Vec::new(),
            scale: Scale::default(),
        })
    }

    fn aggregate(mut self, mode: Mode) -> AggregationBuilder {
        self.options.mode = mode;
        AggregationBuilder { tracer: self }
    }

    /// What would be attached where, and warnings. Needs read access to the target's files, and no other privileges.
    ///
    /// # Errors
    ///
    /// Fails when the target or its files cannot be read, and when no probe matches.
    pub fn plan(&self) -> Result<(Plan, Vec<Warning>)> {
        let prepared = self.prepare(self.required_target()?.scan()?)?;
        Ok((prepared.plan, prepared.warnings))
    }

    /// Attaches to every probe that matches, or to none.
    ///
    /// # Errors
    ///
    /// Fails when the target cannot be read, when no probe matches, and when the kernel or this process's privileges do
    /// not allow it.
    pub fn attach(self) -> Result<Tracer> {
        let (event_loop, command) = self.start()?;
        Ok(Tracer { event_loop, command })
    }

    fn required_target(&self) -> Result<&Target> {
        self.target
            .as_ref()
            .ok_or_else(|| Error::usage("say what to trace: `target` was not called"))
    }

    fn prepare(&self, mut resolved: ResolvedTarget) -> Result<Prepared> {
        self.schema.iter().for_each(|schema| schema.apply(&mut resolved.found));
        discover::add_function_entries(&mut resolved.found, &self.globs);
        let mut warnings: Vec<Warning> =
            resolved.found.iter().flat_map(|f| f.warnings.clone()).collect();
        let chosen = select(&resolved.found, &self.globs)?;
        if chosen.is_empty() {
            return Err(Error::no_probes(self.required_target()?.to_string()));
        }
        let options = Options {
            pids: resolved.pids(),
            cgroup: self.target.as_ref().and_then(Target::cgroup).map(Into::into),
            ..self.options.clone()
        };
        let (plan, more) = Plan::new(&chosen, &options)?;
        warnings.extend(more);
        Ok(Prepared { plan, options, warnings, resolved })
    }

    fn start(self) -> Result<(EventLoop, Option<std::process::Child>)> {
        let target = self.required_target()?.clone();
        let Prepared { plan, options, warnings, resolved } = self.prepare(target.resolve()?)?;
        let backend = match &self.backend {
            Some(backend) => Arc::clone(backend),
            None => BackendKind::Embedded.backend(Mechanism::Auto)?,
        };
        let session = Session::start(plan, &*backend)?;
        let attacher = Attacher { globs: self.globs, schema: self.schema, options, backend };
        let processes = resolved.processes.as_deref();
        let mut event_loop =
            EventLoop::for_target(session, &target, &resolved.found, processes, attacher)?;
        event_loop.warn(warnings);
        let command = resolved.child.map(Child::run).transpose()?;
        Ok((event_loop, command))
    }
}

/// A target whose probes are planned.
struct Prepared {
    plan: Plan,
    options: Options,
    warnings: Vec<Warning>,
    resolved: ResolvedTarget,
}

impl AggregationBuilder {
    /// One row for each combination of these: arguments, `pid`, `tid`, `goid`, `comm`. Default: one row per probe.
    #[must_use]
    pub fn by(mut self, subjects: impl IntoIterator<Item = Subject>) -> Self {
        let added = subjects.into_iter();
        match &mut self.tracer.options.mode {
            Mode::Count { by } | Mode::Histogram { by, .. } | Mode::Latency { by, .. } => {
                by.extend(added);
            }
            Mode::Record => {}
        }
        self
    }

    /// The buckets of a histogram or latency. Default: powers of two. Has no effect on counts.
    #[must_use]
    pub fn scale(mut self, wanted: Scale) -> Self {
        if let Mode::Histogram { scale, .. } | Mode::Latency { scale, .. } =
            &mut self.tracer.options.mode
        {
            *scale = wanted;
        }
        self
    }

    /// Pairs a start with an end of the same process and value. Default: of the same goroutine or, where there are none,
    /// thread. Has no effect on other aggregations than a latency.
    #[must_use]
    pub fn pair_by(mut self, subject: Subject) -> Self {
        if let Mode::Latency { key, .. } = &mut self.tracer.options.mode {
            *key = Some(subject);
        }
        self
    }

    /// The most rows to keep in the kernel; hits of further ones count as dropped. Default: 65,536.
    #[must_use]
    pub fn max_keys(mut self, rows: u32) -> Self {
        self.tracer.options.entries = rows.max(1);
        self
    }

    /// What would be attached where, and warnings.
    ///
    /// # Errors
    ///
    /// As [`TracerBuilder::plan`].
    pub fn plan(&self) -> Result<(Plan, Vec<Warning>)> {
        self.tracer.plan()
    }

    /// Attaches to every probe that matches, or to none.
    ///
    /// # Errors
    ///
    /// As [`TracerBuilder::attach`].
    pub fn attach(self) -> Result<Aggregation> {
        let (event_loop, command) = self.tracer.start()?;
        Ok(Aggregation { event_loop, command })
    }
}
