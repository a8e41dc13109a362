//! `usdt-attach hist`.

use super::aggregate::aggregate;
use super::args::{HitArgs, TableArgs, TargetArgs};
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::filter::Subject;
use usdt_attach::plan::{Mode, Scale};

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

fn linear(text: &str) -> std::result::Result<Scale, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [low, high, step] = parts.as_slice() else {
        return Err("three numbers: LO,HI,STEP".to_owned());
    };
    let number =
        |text: &str| text.parse::<i64>().map_err(|_| format!("`{text}` is no whole number"));
    let step =
        u32::try_from(number(step)?).map_err(|_| "STEP is above 0 and below 2^32".to_owned())?;
    Ok(Scale::Linear { low: number(low)?, high: number(high)?, step })
}

pub(crate) fn hist(args: &HistArgs, color: Color) -> Result<()> {
    let mode = Mode::Histogram {
        value: args.value.clone(),
        scale: args.linear.unwrap_or_default(),
        by: args.table.by.clone(),
    };
    aggregate(mode, vec![args.probe.clone()], (&args.target, &args.hits, &args.table), color)
}
