//! Commands that attach: trace, count, hist, latency.

use super::args::{HitArgs, Looked, TableArgs, TargetArgs};
use super::written;
use crate::output::sink::{Shown, Totals};
use crate::output::{json, text};
use crate::run_loop::{Output, StopConditions, run};
use crate::signals::Signals;
use clap::Args;
use cli_common::{Color, say, warn};
use std::io::{self, BufWriter, Write};
use std::time::Duration;
use usdt_attach::discover::select::Glob;
use usdt_attach::error::Result;
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Options, Plan, Scale};
use usdt_attach::session::{Attacher, EventLoop};
use usdt_attach::session::{Mechanism, Session};
use usdt_attach::target::follow::Follower;
use usdt_attach::target::{Child, Target};

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Probes: `provider:probe`, with `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Longest text copied from an argument, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=2048))]
    max_text: u32,
    /// Record the user stack, of so many frames at most
    #[arg(long, value_name = "FRAMES", num_args = 0..=1, require_equals = true, default_missing_value = "32", value_parser = clap::value_parser!(u32).range(1..=127))]
    pub(crate) stack: Option<u32>,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CountArgs {
    /// Probes: `provider:probe`, with `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistArgs {
    /// Probe: `provider:probe`
    #[arg(value_name = "PROBE")]
    probe: String,
    /// The argument whose values are counted by size
    #[arg(value_name = "ARG", value_parser = Subject::parse)]
    value: Subject,
    /// Buckets of one width instead of powers of two
    #[arg(long, value_name = "LO,HI,STEP", value_parser = linear, allow_hyphen_values = true)]
    linear: Option<Scale>,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    /// Probe where the time begins
    #[arg(value_name = "START")]
    start: String,
    /// Probe where it ends
    #[arg(value_name = "END")]
    end: String,
    /// What a start and its end have in common: goid, tid or an argument [default: goid, else tid]
    #[arg(long, value_name = "ARG", value_parser = Subject::parse)]
    key: Option<Subject>,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

fn linear(text: &str) -> std::result::Result<Scale, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [low, high, step] = parts.as_slice() else { return Err("three numbers: LO,HI,STEP".to_owned()) };
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("`{text}` is no whole number"));
    let step = u32::try_from(number(step)?).map_err(|_| "STEP is above 0 and below 2^32".to_owned())?;
    Ok(Scale::Linear { low: number(low)?, high: number(high)?, step })
}

/// What is common to all of them.
struct Job<'a> {
    target: &'a TargetArgs,
    hits: &'a HitArgs,
    globs: Vec<String>,
    options: Options,
    interval: Option<Duration>,
}

impl TraceArgs {
    fn job(&self) -> Job<'_> {
        let options =
            Options { limit: self.events, max_text: self.max_text, stack: self.stack, ..Options::default() };
        let globs = self.globs.clone();
        Job { target: &self.target, hits: &self.hits, globs, options, interval: None }
    }
}

pub(crate) fn trace(args: &TraceArgs, color: Color) -> Result<()> {
    attach(args.job(), |_, symbols| Ok(Shown::new(args.hits.json, color, None, symbols)))
}

/// Events go where `open` says, which is asked when there is a plan.
pub(crate) fn record<O: Output>(
    args: &TraceArgs,
    open: impl FnOnce(&Plan, Symbolizer) -> Result<O>,
) -> Result<()> {
    attach(args.job(), open)
}

pub(crate) fn count(args: &CountArgs, color: Color) -> Result<()> {
    let work = Mode::Count { by: args.table.by.clone() };
    aggregate(work, args.globs.clone(), (&args.target, &args.hits, &args.table), color)
}

pub(crate) fn hist(args: &HistArgs, color: Color) -> Result<()> {
    let work = Mode::Histogram {
        value: args.value.clone(),
        scale: args.linear.unwrap_or_default(),
        by: args.table.by.clone(),
    };
    aggregate(work, vec![args.probe.clone()], (&args.target, &args.hits, &args.table), color)
}

pub(crate) fn latency(args: &LatencyArgs, color: Color) -> Result<()> {
    let work = Mode::Latency {
        start: Glob::new(&args.start),
        end: Glob::new(&args.end),
        key: args.key.clone(),
        by: args.table.by.clone(),
        scale: Scale::Log2,
    };
    let globs = vec![args.start.clone(), args.end.clone()];
    aggregate(work, globs, (&args.target, &args.hits, &args.table), color)
}

fn aggregate(
    mode: Mode,
    globs: Vec<String>,
    (target, hits, table): (&TargetArgs, &HitArgs, &TableArgs),
    color: Color,
) -> Result<()> {
    let options = Options { mode, entries: table.keys, ..Options::default() };
    attach(Job { target, hits, globs, options, interval: table.interval }, |plan, symbols| {
        let unit = plan.unit();
        let totals = Totals::new(unit, table.interval.is_some(), table.top);
        Ok(Shown::new(hits.json, color, Some(totals), symbols))
    })
}

fn attach<O: Output>(job: Job<'_>, open: impl FnOnce(&Plan, Symbolizer) -> Result<O>) -> Result<()> {
    let (hits, globs) = (job.hits, &job.globs);
    let Looked { target, found, processes, child, chosen, schema, options } =
        hits.look(job.target, globs, job.options)?;
    let (plan, warnings) = Plan::new(&chosen, &options)?;
    warn(warnings);
    if hits.dry_run {
        return dry_run(&plan, hits.json);
    }
    let signals = Signals::catch()?;
    let backend = hits.backend().backend(Mechanism::Auto)?;
    let mut symbols = Symbolizer::default();
    if options.stack.is_some() {
        found.iter().for_each(|f| symbols.know(&f.object));
    }
    let mut shown = open(&plan, symbols)?;
    let session = Session::start(plan, &*backend)?;
    let mut event_loop = EventLoop::new(vec![session])?.limit(options.limit);
    if let Some(processes) = &processes {
        event_loop = event_loop.end_with(processes)?;
    }
    if !matches!(target, Target::Command(_)) {
        let attacher = Attacher { globs: globs.clone(), schema, options, backend };
        event_loop = event_loop.follow(Follower::new(&target, &found), attacher)?;
    }
    let mut running = child.map(Child::run).transpose()?;
    let conditions = StopConditions { duration: hits.duration, interval: job.interval };
    let summary = run(event_loop, &signals, conditions, &mut shown)?;
    if let Some(child) = &mut running {
        finish(child);
    }
    if hits.json {
        let out = &mut io::stdout().lock();
        return written(json::summary(out, summary).and_then(|()| out.flush()));
    }
    say(&text::summary(summary));
    Ok(())
}

pub(crate) fn dry_run(plan: &Plan, as_json: bool) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if as_json {
        serde_json::to_writer(&mut out, plan).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"))
    } else {
        text::plan(&mut out, plan)
    };
    written(result.and_then(|()| out.flush()))
}

/// A command that this program started does not outlive it: asked to end, and ended if it does not.
pub(crate) fn finish(child: &mut std::process::Child) {
    const PATIENCE: Duration = Duration::from_secs(5);
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let ended = |child: &mut std::process::Child| !matches!(child.try_wait(), Ok(None));
    if !ended(child)
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended in between.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let asked = std::time::Instant::now();
        while !ended(child) && asked.elapsed() < PATIENCE {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = child.kill();
    }
    let _ = child.wait();
}
