//! `usdt-attach trace`.

use super::args::{HitArgs, TargetArgs};
use super::attach::{AttachRequest, attach};
use super::buffer_size::parse_buffer_size;
use crate::output::terminal::TerminalOutput;
use crate::privileges::Needs;
use clap::Args;
use cli_common::Color;
use usdt_attach::error::Result;
use usdt_attach::plan::Options;

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Probes to trace: `provider:probe`, with wildcards `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Stop after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Truncate string and byte slice arguments to this length, at most 2048 bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=2048))]
    max_string: u32,
    /// Record the user stack, up to FRAMES frames (32 if FRAMES is left out)
    #[arg(long, value_name = "FRAMES", num_args = 0..=1, require_equals = true, default_missing_value = "32", value_parser = clap::value_parser!(u32).range(1..=127))]
    pub(crate) stack: Option<u32>,
    /// Size of the event buffer of all CPUs, such as 64MiB; a larger one takes longer bursts without
    /// dropped events [default: 8MiB, or 512KiB for each CPU if that is more]
    #[arg(long, value_name = "SIZE", value_parser = parse_buffer_size)]
    buffer: Option<u32>,
    #[command(flatten)]
    hits: HitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl TraceArgs {
    /// See [`HitArgs::needs`].
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.hits.needs(&self.target)
    }

    pub(crate) fn request(&self) -> AttachRequest<'_> {
        let defaults = Options::default();
        let options = Options {
            limit: self.events,
            max_string: self.max_string,
            stack: self.stack,
            buffer: self.buffer.unwrap_or(defaults.buffer),
            ..defaults
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
