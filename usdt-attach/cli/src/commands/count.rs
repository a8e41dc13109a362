//! `usdt-attach count`.

use super::aggregate::aggregate;
use super::args::{HitArgs, TableArgs, TargetArgs};
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::plan::Mode;

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

pub(crate) fn count(args: &CountArgs, color: Color) -> Result<()> {
    let mode = Mode::Count { by: args.table.by.clone() };
    aggregate(mode, args.globs.clone(), (&args.target, &args.hits, &args.table), color)
}
