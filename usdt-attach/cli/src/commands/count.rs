//! `usdt-attach count`.

use super::aggregate::{AggregateArgs, aggregate};
use crate::privileges::Needs;
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::plan::Mode;

#[derive(Debug, Args)]
pub(crate) struct CountArgs {
    /// Probes to count: `provider:probe`, with wildcards `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    #[command(flatten)]
    aggregate: AggregateArgs,
}

impl CountArgs {
    /// See [`HitArgs::needs`](super::args::HitArgs::needs).
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.aggregate.needs()
    }
}

pub(crate) fn count(args: &CountArgs, color: Color) -> Result<()> {
    let mode = Mode::Count { by: args.aggregate.table.by.clone() };
    aggregate(&args.aggregate, mode, args.globs.clone(), color)
}
