//! `usdt-attach trace`.

use super::args::{HitArgs, TargetArgs};
use super::attach::{AttachRequest, attach};
use crate::output::terminal::TerminalOutput;
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::plan::Options;

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Probes: `provider:probe`, with `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Longest text copied from an argument, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=2048))]
    max_text: u32,
    /// Record the user stack, of so many frames at most
    #[arg(long, value_name = "FRAMES", num_args = 0..=1, require_equals = true, default_missing_value = "32", value_parser = clap::value_parser!(u32).range(1..=127))]
    pub(crate) stack: Option<u32>,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl TraceArgs {
    pub(crate) fn request(&self) -> AttachRequest<'_> {
        let options = Options {
            limit: self.events,
            max_string: self.max_text,
            stack: self.stack,
            ..Options::default()
        };
        let globs = self.globs.clone();
        AttachRequest { target: &self.target, hits: &self.hits, globs, options, interval: None }
    }
}

pub(crate) fn trace(args: &TraceArgs, color: Color) -> Result<()> {
    attach(args.request(), |_, symbols| {
        Ok(TerminalOutput::new(args.hits.json, color, None, symbols))
    })
}
