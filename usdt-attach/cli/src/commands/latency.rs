//! `usdt-attach latency`.

use super::aggregate::{AggregateArgs, aggregate};
use crate::privileges::Needs;
use clap::Args;
use cli_common::Color;
use usdt_attach::discover::select::Glob;
use usdt_attach::error::Result;
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Scale};

#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    /// Probe at which the time starts: `provider:probe`
    #[arg(value_name = "START")]
    start: String,
    /// Probe at which the time ends: `provider:probe`
    #[arg(value_name = "END")]
    end: String,
    /// Pair starts and ends by goid, tid or an argument [default: goid, or tid outside of Go]
    #[arg(long, value_name = "ARG", value_parser = Subject::parse)]
    pair_by: Option<Subject>,
    #[command(flatten)]
    aggregate: AggregateArgs,
}

impl LatencyArgs {
    /// See [`HitArgs::needs`](super::args::HitArgs::needs).
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.aggregate.needs()
    }
}

pub(crate) fn latency(args: &LatencyArgs, color: Color) -> Result<()> {
    let mode = Mode::Latency {
        start: Glob::new(&args.start),
        end: Glob::new(&args.end),
        key: args.pair_by.clone(),
        by: args.aggregate.table.by.clone(),
        scale: Scale::Log2,
    };
    let globs = vec![args.start.clone(), args.end.clone()];
    aggregate(&args.aggregate, mode, globs, color)
}
