//! `usdt-attach hist`.

use super::aggregate::{AggregateArgs, aggregate};
use crate::privileges::Needs;
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Scale};

#[derive(Debug, Args)]
pub(crate) struct HistArgs {
    /// Probe whose argument is aggregated: `provider:probe`
    #[arg(value_name = "PROBE")]
    probe: String,
    /// Integer argument to aggregate
    #[arg(value_name = "ARG", value_parser = Subject::parse)]
    value: Subject,
    /// Use linear buckets from LO to HI of width STEP instead of powers of two
    #[arg(long, value_name = "LO,HI,STEP", value_parser = parse_linear, allow_hyphen_values = true)]
    linear: Option<Scale>,
    #[command(flatten)]
    aggregate: AggregateArgs,
}

impl HistArgs {
    /// See [`HitArgs::needs`](super::args::HitArgs::needs).
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.aggregate.needs()
    }
}

/// Parses `LO,HI,STEP`. Planning checks that the bounds make sense.
fn parse_linear(text: &str) -> std::result::Result<Scale, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [low, high, step] = parts.as_slice() else {
        return Err("expected three integers: LO,HI,STEP".to_owned());
    };
    let step = u32::try_from(parse_integer(step)?)
        .map_err(|_| format!("STEP must be between 1 and {}, not {step}", u32::MAX))?;
    Ok(Scale::Linear { low: parse_integer(low)?, high: parse_integer(high)?, step })
}

fn parse_integer(text: &str) -> std::result::Result<i64, String> {
    text.parse().map_err(|_| format!("`{text}` is not an integer"))
}

pub(crate) fn hist(args: &HistArgs, color: Color) -> Result<()> {
    let mode = Mode::Histogram {
        value: args.value.clone(),
        scale: args.linear.unwrap_or_default(),
        by: args.aggregate.table.by.clone(),
    };
    aggregate(&args.aggregate, mode, vec![args.probe.clone()], color)
}
