//! `usdt-attach doctor`.

use crate::checks::{Finding, State, machine, probes};
use crate::output::written;
use clap::Args;
use cli_common::Color;
use cli_common::escape;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use usdt_attach::discover;
use usdt_attach::error::Result;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 everything works, 1 something does not, or in a lesser way."
)]
pub(crate) struct DoctorArgs {
    /// Process to look into, its libraries included
    #[arg(short, long, value_name = "PID", conflicts_with = "file")]
    pid: Option<u32>,
    /// Binary to look into
    #[arg(value_name = "BIN")]
    file: Option<PathBuf>,
    /// One JSON object for each thing looked at
    #[arg(long)]
    json: bool,
}

/// Returns whether everything is as it should be.
pub(crate) fn doctor(args: &DoctorArgs, color: Color) -> Result<bool> {
    let found = match (args.pid, &args.file) {
        (Some(pid), _) => discover::scan_process(pid)?,
        (None, Some(file)) => vec![discover::scan_file(file)?],
        (None, None) => Vec::new(),
    };
    let mut findings = machine();
    findings.extend(probes(&found));
    let mut out = BufWriter::new(io::stdout().lock());
    let color = color.enabled(&io::stdout());
    let result = findings.iter().try_for_each(|finding| {
        if args.json {
            serde_json::to_writer(&mut out, finding)?;
            return out.write_all(b"\n");
        }
        show(&mut out, finding, color)
    });
    written(result.and_then(|()| out.flush()))?;
    Ok(findings.iter().all(|f| f.state == State::Ok))
}

fn show(out: &mut impl Write, finding: &Finding, color: bool) -> io::Result<()> {
    let (word, code) = match finding.state {
        State::Ok => ("ok", "\x1b[32m"),
        State::Degraded => ("lesser", "\x1b[33m"),
        State::Missing => ("NOT", "\x1b[31m"),
    };
    let (code, reset) = if color { (code, "\x1b[0m") } else { ("", "") };
    let (check, detail) = (escape(finding.check.as_bytes()), escape(finding.detail.as_bytes()));
    writeln!(out, "{code}{word:<6}{reset} {check}: {detail}")?;
    match &finding.mend {
        Some(mend) => writeln!(out, "       -> {}", escape(mend.as_bytes())),
        None => Ok(()),
    }
}
