//! Aggregating in the kernel, as `count`, `hist` and `latency` do.

use super::args::{HitArgs, TableArgs, TargetArgs};
use super::attach::{AttachRequest, attach};
use crate::output::terminal::{IntervalTable, TerminalOutput};
use crate::privileges::Needs;
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::plan::{Mode, Options};

/// The options that `count`, `hist` and `latency` share.
#[derive(Debug, Args)]
pub(crate) struct AggregateArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl AggregateArgs {
    /// See [`HitArgs::needs`].
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.hits.needs(&self.target)
    }
}

/// Attaches with an aggregation in the kernel, and prints its table.
pub(crate) fn aggregate(
    args: &AggregateArgs,
    mode: Mode,
    globs: Vec<String>,
    color: Color,
) -> Result<()> {
    let AggregateArgs { table, hits, target } = args;
    let options = Options { mode, entries: table.max_keys, ..Options::default() };
    let is_latency = matches!(options.mode, Mode::Latency { .. });
    attach(
        AttachRequest { target, hits, globs, options, interval: table.interval },
        |plan, symbols| {
            // A plan that waits for its probes is empty.
            let unit = if is_latency { Some("ns") } else { plan.unit() };
            let interval_table = IntervalTable::new(unit, table.interval.is_some(), table.top);
            Ok(TerminalOutput::new(hits.json, color, Some(interval_table), symbols))
        },
    )
}
