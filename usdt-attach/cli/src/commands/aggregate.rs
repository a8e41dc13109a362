//! What `count`, `hist` and `latency` share.

use super::args::{HitArgs, TableArgs, TargetArgs};
use super::attach::{AttachRequest, attach};
use crate::output::terminal::{IntervalTable, TerminalOutput};
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::plan::{Mode, Options};

/// Attaches with an aggregation in the kernel, and prints its table.
pub(crate) fn aggregate(
    mode: Mode,
    globs: Vec<String>,
    (target, hits, table): (&TargetArgs, &HitArgs, &TableArgs),
    color: Color,
) -> Result<()> {
    let options = Options { mode, entries: table.max_keys, ..Options::default() };
    attach(
        AttachRequest { target, hits, globs, options, interval: table.interval },
        |plan, symbols| {
            let unit = plan.unit();
            let interval_table = IntervalTable::new(unit, table.interval.is_some(), table.top);
            Ok(TerminalOutput::new(hits.json, color, Some(interval_table), symbols))
        },
    )
}
