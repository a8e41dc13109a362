//! `usdt-attach latency`.

use super::aggregate::{AggregateArgs, aggregate};
use crate::privileges::Needs;
use clap::Args;
use cli_common::Color;
use usdt_attach::discover::select::Glob;
use usdt_attach::error::{Error, Result};
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Scale};

#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    /// Probe at which the time starts: `provider:probe`
    #[arg(value_name = "START")]
    start: String,
    /// Probe at which the time ends: `provider:probe` [default: the returns, if START is
    /// `func:SYMBOL`]
    #[arg(value_name = "END")]
    end: Option<String>,
    /// Pair starts and ends by goid, tid or an argument [default: the call of a function, else
    /// goid, or tid outside of Go]
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
    let end = match &args.end {
        Some(end) => end.clone(),
        None => Glob::new(&args.start).returns().ok_or_else(|| {
            Error::usage(format!(
                "`{}` needs the probe at which the time ends; only `func:SYMBOL` has one of its own",
                args.start
            ))
        })?,
    };
    let mode = Mode::Latency {
        start: Glob::new(&args.start),
        end: Glob::new(&end),
        key: args.pair_by.clone(),
        by: args.aggregate.table.by.clone(),
        scale: Scale::Log2,
    };
    let globs = vec![args.start.clone(), end];
    aggregate(&args.aggregate, mode, globs, color)
}
