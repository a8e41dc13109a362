//! `usdt-attach latency`.

use super::aggregate::aggregate;
use super::args::{HitArgs, TableArgs, TargetArgs};
use clap::Args;
use cli_common::Color;
use usdt_attach::discover::select::Glob;
use usdt_attach::error::Result;
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Scale};

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
    pair_by: Option<Subject>,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn latency(args: &LatencyArgs, color: Color) -> Result<()> {
    let mode = Mode::Latency {
        start: Glob::new(&args.start),
        end: Glob::new(&args.end),
        key: args.pair_by.clone(),
        by: args.table.by.clone(),
        scale: Scale::Log2,
    };
    let globs = vec![args.start.clone(), args.end.clone()];
    aggregate(mode, globs, (&args.target, &args.hits, &args.table), color)
}
