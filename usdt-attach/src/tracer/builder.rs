//! Builders of tracers and aggregations.

use super::{Aggregation, Tracer};
use crate::backend::{Backend, BackendKind};
use crate::discover::select::{Glob, select};
use crate::discover::{self, DebugFile, SchemaFile};
use crate::error::{Error, Result, Warning};
use crate::filter::{Filter, Subject};
use crate::plan::{Mode, Options, Plan, Scale};
use crate::session::{Attacher, EventLoop, Mechanism, Session};
use crate::target::{PendingChild, ResolvedTarget, Target};
use std::process::Child;
use std::sync::Arc;

/// Options of a [`Tracer`]. [`Tracer::builder`] creates the builder.
///
/// Only [`TracerBuilder::target`] is required.
///
/// ```no_run
/// use usdt_attach::{Target, Tracer};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let builder = Tracer::builder()
///     .target(Target::pid(42)?)
///     .probes(["app:request-*"])
///     .max_string_len(64)
///     .stack(32);
/// // Planning needs no privileges, so it can run before the privileged attach.
/// let (plan, warnings) = builder.plan()?;
/// println!("{} sites, {} warnings", plan.sites().len(), warnings.len());
/// let tracer = builder.attach()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TracerBuilder {
    target: Option<Target>,
    globs: Vec<String>,
    schema: Option<SchemaFile>,
    options: Options,
    /// Whether to trace children; `None` for the default of the target.
    children: Option<bool>,
    backend: Option<Arc<dyn Backend>>,
}

/// Options of an [`Aggregation`]. [`TracerBuilder::count`], [`TracerBuilder::histogram`] and
/// [`TracerBuilder::latency`] create the builder.
///
/// ```no_run
/// use usdt_attach::{Target, Tracer};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let sizes = Tracer::builder()
///     .target(Target::pid(42)?)
///     .probes(["app:request-end"])
///     .histogram("size".parse()?)
///     .by(["method".parse()?])
///     .attach()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AggregationBuilder {
    tracer: TracerBuilder,
}

impl TracerBuilder {
    /// Sets what to trace. Required.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Adds globs of probes to attach to. Default: every probe.
    ///
    /// A glob is `provider:probe`, with `*` and `?` in either part, or just `probe` for every
    /// provider. Each glob must match at least one probe.
    #[must_use]
    pub fn probes(mut self, globs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.globs.extend(globs.into_iter().map(Into::into));
        self
    }

    /// Ignores hits that do not pass this filter; they count as filtered. The kernel evaluates the
    /// filter. Default: no filter.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.options.filter = Some(filter);
        self
    }

    /// Truncates string and bytes arguments to this length in bytes. The range is 1 to 2,048; other
    /// values are clamped. Default: 128.
    #[must_use]
    pub fn max_string_len(mut self, bytes: u32) -> Self {
        self.options.max_string = bytes.clamp(1, stapsdt::schema::MAX_COPIED_STRING);
        self
    }

    /// Sets the size of the event buffer in bytes. It is rounded up to a power of two between one
    /// page and 1 GiB. Default: that of [`Options::buffer`].
    #[must_use]
    pub fn buffer_size(mut self, bytes: u32) -> Self {
        self.options.buffer =
            bytes.clamp(rustix::param::page_size() as u32, 1 << 30).next_power_of_two();
        self
    }

    /// Records the user stack of each hit, up to this number of frames. The range is 1 to 127; other
    /// values are clamped. Default: no stacks.
    #[must_use]
    pub fn stack(mut self, frames: u32) -> Self {
        self.options.stack = Some(frames.clamp(1, 127));
        self
    }

    /// Samples one hit in `n`, chosen at random; the others count as filtered. Default: every hit.
    #[must_use]
    pub fn sample(mut self, n: u32) -> Self {
        self.options.sample = Some(n);
        self
    }

    /// Limits the hits of each probe per second; further ones count as filtered. Default: no limit.
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

    /// Reads these pointer arguments as C strings, in binaries that do not declare types. `names`
    /// are argument names or `argN`, where `N` counts from 0.
    #[must_use]
    pub fn c_strings(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.strings.extend(names.into_iter().map(Into::into));
        self
    }

    /// Reads these arguments of function probes: paths such as `r.URL.Path`, or with a name for it,
    /// `path=r.URL.Path`. Default: numbers, strings, times and errors.
    #[must_use]
    pub fn arguments(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.args.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Adds files with the debug information of binaries without it, for the arguments of function
    /// probes. Each must belong to a binary of the target. Default: files in `/usr/lib/debug`.
    #[must_use]
    pub fn debug_files(mut self, files: impl IntoIterator<Item = DebugFile>) -> Self {
        self.options.debug_files.extend(files);
        self
    }

    /// Sets names and types of arguments, for binaries without a schema of their own.
    #[must_use]
    pub fn schema(mut self, schema: SchemaFile) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Also attaches to instructions that are not NOPs. The kernel single-steps each of their hits,
    /// which is tens of times slower. Default: false, which skips these sites with a warning.
    #[must_use]
    pub fn single_step(mut self, allow: bool) -> Self {
        self.options.single_step = allow;
        self
    }

    /// Sets whether to trace the children that the processes of a [`Target::Processes`] or
    /// [`Target::Command`] fork, from their first instruction. Default: true for a command.
    ///
    /// The tracer then ends when the processes and all their children have exited. Other processes
    /// that execute the same files are slowed down, because their hits reach the BPF program, too.
    #[must_use]
    pub fn children(mut self, follow: bool) -> Self {
        self.children = Some(follow);
        self
    }

    /// Sets the back end. Default: [`BackendKind::Embedded`].
    #[must_use]
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Counts hits in the kernel instead of recording an event for each.
    #[must_use]
    pub fn count(self) -> AggregationBuilder {
        self.aggregate(Mode::Count { by: Vec::new() })
    }

    /// Computes a histogram of an integer argument in the kernel instead of recording events.
    #[must_use]
    pub fn histogram(self, value: Subject) -> AggregationBuilder {
        self.aggregate(Mode::Histogram { value, scale: Scale::default(), by: Vec::new() })
    }

    /// Measures the time from a hit of `start` to the next hit of `end`, in nanoseconds, in the
    /// kernel.
    ///
    /// Both hits must be on the same goroutine or, if the code is not Go, on the same thread.
    /// [`AggregationBuilder::pair_by`] changes that. `start` and `end` are globs; they replace
    /// [`TracerBuilder::probes`].
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

    /// Plans without attaching. Returns the plan, which lists sites and how they would be attached,
    /// and warnings.
    ///
    /// Needs read access to the target's files and no other privileges. A command is not started.
    ///
    /// # Errors
    ///
    /// Fails when no target was set, and when the target or its files cannot be read. Also fails when
    /// a glob or the filter does not match the probes.
    pub fn plan(&self) -> Result<(Plan, Vec<Warning>)> {
        let prepared = self.prepare(self.required_target()?.scan()?)?;
        Ok((prepared.plan, prepared.warnings))
    }

    /// Attaches to every probe that matches, or to none.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8. See the [crate documentation](crate#kernel-and-privileges) for privileges and for
    /// what newer kernels improve.
    ///
    /// # Errors
    ///
    /// Fails in the cases of [`TracerBuilder::plan`], and when the kernel or this process lacks a
    /// feature or a privilege.
    pub fn attach(self) -> Result<Tracer> {
        let (event_loop, command) = self.start()?;
        Ok(Tracer { event_loop, command })
    }

    fn required_target(&self) -> Result<&Target> {
        self.target.as_ref().ok_or_else(|| {
            Error::usage("no target: call `TracerBuilder::target` before planning or attaching")
        })
    }

    fn prepare(&self, mut resolved: ResolvedTarget) -> Result<Prepared> {
        let objects = &mut resolved.objects;
        self.schema.iter().for_each(|schema| schema.apply(objects));
        discover::check_debug_files(objects, &self.options.debug_files)?;
        discover::add_functions(objects, &self.globs, &self.options.function_options());
        let mut warnings = std::mem::take(&mut resolved.warnings);
        warnings.extend(objects.iter().flat_map(|scanned| scanned.warnings.clone()));
        let selected = select(objects, &self.globs)?;
        if selected.is_empty() {
            return Err(Error::no_probes(self.required_target()?.to_string()));
        }
        let options = Options {
            pids: resolved.pids(),
            children: resolved.children.clone(),
            cgroup: self.target.as_ref().and_then(Target::cgroup).map(Into::into),
            ..self.options.clone()
        };
        let (plan, plan_warnings) = Plan::new(&selected, &options)?;
        warnings.extend(plan_warnings);
        Ok(Prepared { plan, options, warnings, resolved })
    }

    fn start(self) -> Result<(EventLoop, Option<Child>)> {
        let target = self.required_target()?.clone();
        let mut resolved = target.resolve_selected(&self.globs)?;
        match (self.children, &target) {
            (Some(true), _) => resolved.follow_children()?,
            (None, Target::Command(_)) => resolved.try_follow_children(),
            _ => {}
        }
        let Prepared { plan, options, warnings, resolved } = self.prepare(resolved)?;
        let backend = match &self.backend {
            Some(backend) => Arc::clone(backend),
            None => BackendKind::Embedded.backend(Mechanism::Auto)?,
        };
        let session = Session::start(plan, &*backend)?;
        let attacher = Attacher {
            globs: self.globs,
            schema: self.schema,
            options,
            backend,
            stops_command: false,
        };
        let processes = resolved.processes.as_deref();
        let mut event_loop =
            EventLoop::for_target(Some(session), &target, &resolved.objects, processes, attacher)?;
        event_loop.add_warnings(warnings);
        let command = resolved.child.map(PendingChild::run).transpose()?;
        Ok((event_loop, command))
    }
}

/// A resolved target and the plan for its probes.
struct Prepared {
    plan: Plan,
    options: Options,
    warnings: Vec<Warning>,
    resolved: ResolvedTarget,
}

impl AggregationBuilder {
    /// Adds labels: one row is kept for each combination of their values. A label is an argument,
    /// `pid`, `tid`, `goid` or `comm`. Default: one row per probe.
    ///
    /// The labels of a latency are arguments of its end or, if the end does not have the argument,
    /// of its start.
    #[must_use]
    pub fn by(mut self, labels: impl IntoIterator<Item = Subject>) -> Self {
        match &mut self.tracer.options.mode {
            Mode::Count { by } | Mode::Histogram { by, .. } | Mode::Latency { by, .. } => {
                by.extend(labels);
            }
            Mode::Record => {}
        }
        self
    }

    /// Sets the buckets of a histogram or latency. Default: powers of two. Has no effect on counts.
    #[must_use]
    pub fn scale(mut self, new_scale: Scale) -> Self {
        if let Mode::Histogram { scale, .. } | Mode::Latency { scale, .. } =
            &mut self.tracer.options.mode
        {
            *scale = new_scale;
        }
        self
    }

    /// Pairs the start and the end of a latency by this value, such as a request id, within a
    /// process. Default: by goroutine or thread. Has no effect on counts and histograms.
    #[must_use]
    pub fn pair_by(mut self, subject: Subject) -> Self {
        if let Mode::Latency { key, .. } = &mut self.tracer.options.mode {
            *key = Some(subject);
        }
        self
    }

    /// Limits the rows that the kernel keeps; hits of further label combinations count as dropped.
    /// For a latency, also limits the starts that wait for their end. At least 1. Default: 65,536.
    #[must_use]
    pub fn max_keys(mut self, rows: u32) -> Self {
        self.tracer.options.entries = rows.max(1);
        self
    }

    /// Plans without attaching. See [`TracerBuilder::plan`].
    ///
    /// # Errors
    ///
    /// Fails in the cases of [`TracerBuilder::plan`], and when a label or the value is not an
    /// argument of the probes.
    pub fn plan(&self) -> Result<(Plan, Vec<Warning>)> {
        self.tracer.plan()
    }

    /// Attaches to every probe that matches, or to none.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8. See the [crate documentation](crate#kernel-and-privileges) for privileges and for
    /// what newer kernels improve.
    ///
    /// # Errors
    ///
    /// Fails in the cases of [`AggregationBuilder::plan`], and when the kernel or this process lacks
    /// a feature or a privilege.
    pub fn attach(self) -> Result<Aggregation> {
        let (event_loop, command) = self.tracer.start()?;
        Ok(Aggregation { event_loop, command })
    }
}
