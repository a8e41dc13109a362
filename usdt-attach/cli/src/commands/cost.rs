//! `usdt-attach cost`: measures the overhead of tracing.

use super::args::{HitArgs, ResolvedArgs, TargetArgs};
use super::attach::{print_plan, terminate};
use crate::output::{check_write, json};
use crate::overhead::{CostMeter, ProbeCost};
use crate::privileges::Needs;
use crate::signals::Signals;
use clap::Args;
use cli_common::{Color, Text, escape, say, warn};
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};
use usdt_attach::error::Result;
use usdt_attach::plan::{Method, Options};
use usdt_attach::session::Mechanism;
use usdt_attach::target::{PendingChild, ProcessHandle};

#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Probes to measure: `provider:probe`, with wildcards `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Detach a probe that takes more than this percentage of one CPU
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    budget: Option<f64>,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl CostArgs {
    /// See [`HitArgs::needs`].
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.hits.needs(&self.target).map(|needs| Needs { statistics: true, ..needs })
    }
}

fn parse_percent(text: &str) -> std::result::Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0, such as 2 or 0.5%".to_owned()),
    }
}

const DEFAULT_DURATION: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Measures until the duration is over. Returns whether every probe stayed within its budget.
pub(crate) fn cost(args: &CostArgs, color: Color) -> Result<bool> {
    let hits = &args.hits;
    let ResolvedArgs { processes, child, selected, options, .. } =
        hits.resolve(&args.target, &args.globs, Options::default(), false)?;
    if hits.dry_run {
        let (plan, warnings) = usdt_attach::plan::Plan::new(&selected, &options)?;
        warn(warnings);
        return print_plan(&plan, hits.json).map(|()| true);
    }
    let signals = Signals::catch()?;
    let backend = hits.backend().backend(Mechanism::Auto)?;
    let budget = args.budget.map(|percent| percent / 100.0);
    let (mut meter, warnings) = CostMeter::start(&selected, &options, &*backend, budget)?;
    warn(warnings);
    let mut running = child.map(PendingChild::run).transpose()?;
    let (start, duration) = (Instant::now(), hits.duration.unwrap_or(DEFAULT_DURATION));
    let children = options.children.clone();
    let is_alive = || match &children {
        Some(children) => children.processes().is_ok_and(|all| !all.is_empty()),
        None => processes.as_ref().is_none_or(|all| all.iter().any(ProcessHandle::is_alive)),
    };
    while start.elapsed() < duration && is_alive() && !signals.received() {
        std::thread::sleep(POLL_INTERVAL.min(duration.saturating_sub(start.elapsed())));
        meter.poll()?;
    }
    let costs = meter.costs()?;
    drop(meter);
    if let Some(child) = &mut running {
        terminate(child);
    }
    let color = color.enabled(&io::stdout());
    let mut out = Text::new(BufWriter::new(io::stdout().lock()), color);
    let result = if hits.json {
        costs.iter().try_for_each(|cost| json::write_line(&mut out, cost))
    } else {
        write_table(&mut out, &costs, color)
    };
    check_write(result.and_then(|()| out.flush()))?;
    if !hits.json {
        let cpu_share: f64 = costs.iter().map(|cost| cost.cpu_share).sum();
        say(&format!(
            "{:.2}% of one CPU, over {:.1} s",
            cpu_share * 100.0,
            start.elapsed().as_secs_f64()
        ));
    }
    Ok(costs.iter().all(|cost| !cost.over_budget))
}

fn write_table(out: &mut impl Write, costs: &[ProbeCost], color: bool) -> io::Result<()> {
    let (bold, reset) = if color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    writeln!(out, "      HITS/S   NS/HIT  CPU SHARE  SITE    PROBE")?;
    for cost in costs {
        let site = match cost.method {
            Method::OptimizedNop10 | Method::OptimizedNop5 => "call",
            Method::Nop | Method::Push | Method::Branch => "trap",
            Method::SingleStep => "STEP",
        };
        let name = format!("{}:{}", cost.provider, cost.probe);
        writeln!(
            out,
            "{:>12.1} {:>8.0} {:>9.3}%  {site:<6}  {bold}{}{reset}",
            cost.hits_per_second,
            cost.ns_per_hit,
            cost.cpu_share * 100.0,
            escape(name.as_bytes())
        )?;
        if cost.over_budget {
            writeln!(out, "             over budget: detached")?;
        }
        if let Some(remark) = cost.remark {
            writeln!(out, "             {remark}")?;
        }
    }
    Ok(())
}
