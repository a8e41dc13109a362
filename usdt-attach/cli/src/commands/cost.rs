//! `usdt-attach cost`.

use super::args::{HitArgs, ResolvedArgs, TargetArgs};
use super::attach::{dry_run, finish};
use crate::output::written;
use crate::overhead::{CostMeter, ProbeCost};
use crate::signals::Signals;
use clap::Args;
use cli_common::escape;
use cli_common::{Color, say, warn};
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};
use usdt_attach::error::Result;
use usdt_attach::plan::{Method, Options};
use usdt_attach::session::Mechanism;
use usdt_attach::target::{PendingChild, ProcessHandle};

#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Probes: `provider:probe`, with `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Detach a probe that takes more than so many percent of one CPU
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    budget: Option<f64>,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    let number =
        text.trim_end_matches('%').parse::<f64>().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("above 0".to_owned()) }
}

/// Long enough for a rate, short enough to wait for.
const DEFAULT_DURATION: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Returns whether every probe kept to its budget.
pub(crate) fn cost(args: &CostArgs, color: Color) -> Result<bool> {
    let hits = &args.hits;
    let ResolvedArgs { processes, child, chosen, options, .. } =
        hits.resolve(&args.target, &args.globs, Options::default())?;
    if hits.dry_run {
        let (plan, warnings) = usdt_attach::plan::Plan::new(&chosen, &options)?;
        warn(warnings);
        return dry_run(&plan, hits.json).map(|()| true);
    }
    let signals = Signals::catch()?;
    let backend = hits.backend().backend(Mechanism::Auto)?;
    let budget = args.budget.map(|percent| percent / 100.0);
    let (mut meter, warnings) = CostMeter::start(&chosen, &options, &*backend, budget)?;
    warn(warnings);
    let mut running = child.map(PendingChild::run).transpose()?;
    let (start, duration) = (Instant::now(), hits.duration.unwrap_or(DEFAULT_DURATION));
    let alive = || processes.as_ref().is_none_or(|all| all.iter().any(ProcessHandle::is_alive));
    while start.elapsed() < duration && alive() && !signals.came() {
        std::thread::sleep(POLL_INTERVAL.min(duration.saturating_sub(start.elapsed())));
        meter.poll()?;
    }
    let costs = meter.costs()?;
    drop(meter);
    if let Some(child) = &mut running {
        finish(child);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if hits.json {
        costs.iter().try_for_each(|cost| {
            serde_json::to_writer(&mut out, cost)?;
            out.write_all(b"\n")
        })
    } else {
        table(&mut out, &costs, color.enabled(&io::stdout()))
    };
    written(result.and_then(|()| out.flush()))?;
    if !hits.json {
        let share: f64 = costs.iter().map(|p| p.cpu_share).sum();
        say(&format!(
            "{:.2}% of one CPU, over {:.1} s",
            share * 100.0,
            start.elapsed().as_secs_f64()
        ));
    }
    Ok(costs.iter().all(|p| !p.over_budget))
}

fn table(out: &mut impl Write, costs: &[ProbeCost], color: bool) -> io::Result<()> {
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
