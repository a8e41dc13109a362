//! `usdt-gen verify`: reports which tracers accept the probes of a binary.

use super::command_error::CommandError;
use super::output::{print_json_line, print_text};
use crate::program_file::Snapshot;
use crate::verify::{ProbeVerdict, Problem, Verdict, verify};
use clap::Args;
use cli_common::{FINDINGS, OK, say};
use stapsdt::elf::View;
use stapsdt::escape::{Escaped, escape_line};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Binary with probes, written in any language
    binary: PathBuf,
    /// Print one JSON object per tracer and probe
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyArgs, color: bool) -> Result<i32, CommandError> {
    let path = &args.binary;
    let data = Snapshot::read(path).map_err(|e| CommandError::unreadable(path, e))?;
    let view = View::parse(&data)
        .map_err(|e| CommandError::bad_input(format!("{}: {e}", Escaped::new(path))))?;
    let verdicts = verify(&view);
    if verdicts.is_empty() {
        let explanation = if stapsdt::blob::scan(&view).is_empty() {
            "it has no probe notes"
        } else {
            "it is not sealed; run `usdt-gen seal` on it"
        };
        return Err(CommandError::bad_input(format!(
            "{} has no probes that tracers can find: {explanation}",
            Escaped::new(path)
        )));
    }
    for verdict in &verdicts {
        if args.json {
            print_json_line(verdict)?;
        } else {
            print_text(&describe(verdict, color), color)?;
        }
    }
    let partial = verdicts.iter().filter(|v| matches!(v.verdict, Verdict::Partial(_))).count();
    let rejected = verdicts.iter().filter(|v| matches!(v.verdict, Verdict::Rejected(_))).count();
    let unknown = verdicts.iter().filter(|v| matches!(v.verdict, Verdict::Unknown(_))).count();
    if !args.json {
        let accepted = verdicts.len() - partial - rejected - unknown;
        let unknown = if unknown > 0 { format!(", {unknown} unknown") } else { String::new() };
        say(&format!("{accepted} accepted, {partial} partial, {rejected} rejected{unknown}"));
    }
    let all_accepted = verdicts.iter().all(|v| v.verdict == Verdict::Accepted);
    Ok(if all_accepted { OK } else { FINDINGS })
}

/// Formats a verdict for the terminal, with the reason and a hint if the probe is not fully
/// accepted.
fn describe(verdict: &ProbeVerdict, color: bool) -> String {
    let (word, code, problem) = match &verdict.verdict {
        Verdict::Accepted => ("accepted", 32, None),
        Verdict::Partial(problem) => ("partial ", 33, Some(problem)),
        Verdict::Rejected(problem) => ("rejected", 31, Some(problem)),
        Verdict::Unknown(problem) => ("unknown ", 33, Some(problem)),
    };
    let word = if color { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
    let name = Escaped::new(&format!("{}:{}", verdict.provider, verdict.probe)).to_string();
    let mut out = format!("{word}  {:<9}  {name}\n", verdict.consumer);
    if let Some(Problem { reason, hint }) = problem {
        let reason = escape_line(reason);
        out.push_str(&format!("          {reason}\n          hint: {hint}\n"));
    }
    out
}
