//! `usdt-attach doctor`: checks this machine, and optionally the probes of a binary.

use super::process_arg::{ProcessArg, single_pid};
use crate::checks::{Finding, State, machine, probes};
use crate::file_checks::describe;
use crate::output::{check_write, json};
use clap::Args;
use cli_common::{Color, Text, escape, warn};
use stapsdt::escape::escape_line;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use usdt_attach::discover;
use usdt_attach::error::Result;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if every check is ok, 1 if one is degraded or missing.")]
pub(crate) struct DoctorArgs {
    /// Check the probes of this process and its libraries, too
    #[arg(short, long, value_name = "PID|NAME", conflicts_with = "file")]
    pid: Option<ProcessArg>,
    /// Describe this binary and check its probes, too
    #[arg(value_name = "BIN")]
    file: Option<PathBuf>,
    /// Print one JSON object per check
    #[arg(long)]
    json: bool,
}

/// Prints the result of each check. Returns whether all of them are ok.
pub(crate) fn doctor(args: &DoctorArgs, color: Color) -> Result<bool> {
    let found = match (&args.pid, &args.file) {
        (Some(process), _) => {
            let scanned = discover::scan_process(single_pid(process)?)?;
            warn(scanned.warnings);
            scanned.objects
        }
        (None, Some(file)) => vec![discover::scan_file(file)?],
        (None, None) => Vec::new(),
    };
    let mut findings = machine();
    // Of a process, the executable and the libraries with probes.
    let described = found.iter().enumerate().filter(|(i, f)| *i == 0 || !f.probes.is_empty());
    findings.extend(described.flat_map(|(_, file)| describe(file)));
    findings.extend(probes(&found));
    let color = color.enabled(&io::stdout());
    let mut out = Text::new(BufWriter::new(io::stdout().lock()), color);
    let result = findings.iter().try_for_each(|finding| {
        if args.json {
            return json::write_line(&mut out, finding);
        }
        write_finding(&mut out, finding, color)
    });
    check_write(result.and_then(|()| out.flush()))?;
    Ok(findings.iter().all(|f| f.state == State::Ok))
}

fn write_finding(out: &mut impl Write, finding: &Finding, color: bool) -> io::Result<()> {
    let (state, color_code) = match finding.state {
        State::Ok => ("ok", "\x1b[32m"),
        State::Degraded => ("degraded", "\x1b[33m"),
        State::Missing => ("missing", "\x1b[31m"),
    };
    let (start, reset) = if color { (color_code, "\x1b[0m") } else { ("", "") };
    let (check, detail) = (escape(finding.check.as_bytes()), escape_line(&finding.detail));
    writeln!(out, "{start}{state:<8}{reset} {check}: {detail}")?;
    match &finding.hint {
        Some(hint) => writeln!(out, "         hint: {}", escape_line(hint)),
        None => Ok(()),
    }
}
