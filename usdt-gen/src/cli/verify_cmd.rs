//! `verify`: which tracers accept a binary's probes.

use super::{BAD_INPUT, FINDINGS, Failure, OK, print, say};
use crate::verify::{ProbeVerdict, Problem, Verdict, verify};
use stapsdt::elf::View;
use std::path::Path;

pub(super) fn run(path: &Path, json: bool, color: bool) -> Result<i32, Failure> {
    let data = std::fs::read(path)
        .map_err(|e| Failure(BAD_INPUT, format!("cannot read {}: {e}", path.display())))?;
    let view =
        View::parse(&data).map_err(|e| Failure(BAD_INPUT, format!("{}: {e}", path.display())))?;
    let rows = verify(&view);
    if rows.is_empty() {
        let sealable = !stapsdt::blob::scan(&view).is_empty();
        let way = if sealable { "it is not sealed: `usdt-gen seal` it" } else { "it has no notes" };
        return Err(Failure(
            BAD_INPUT,
            format!("{} has no probes that tracers find: {way}", path.display()),
        ));
    }
    for row in &rows {
        if json {
            let line = serde_json::to_string(row).map_err(|e| Failure(BAD_INPUT, e.to_string()))?;
            print(&format!("{line}\n"))?;
        } else {
            print(&line(row, color))?;
        }
    }
    let count = |pred: fn(&Verdict) -> bool| rows.iter().filter(|r| pred(&r.verdict)).count();
    let partial = count(|v| matches!(v, Verdict::Partial(_)));
    let rejected = count(|v| matches!(v, Verdict::Rejected(_)));
    if !json {
        let accepted = rows.len() - partial - rejected;
        say(&format!("{accepted} accepted, {partial} in part, {rejected} rejected"));
    }
    Ok(if partial + rejected > 0 { FINDINGS } else { OK })
}

fn line(row: &ProbeVerdict, color: bool) -> String {
    let (word, code, trouble) = match &row.verdict {
        Verdict::Accepted => ("accepted", 32, None),
        Verdict::Partial(trouble) => ("partial ", 33, Some(trouble)),
        Verdict::Rejected(trouble) => ("rejected", 31, Some(trouble)),
    };
    let word = if color { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
    let name = printable(&format!("{}:{}", row.provider, row.probe));
    let mut out = format!("{word}  {:<9}  {name}\n", row.consumer);
    if let Some(Problem { reason, hint }) = trouble {
        out.push_str(&format!("          {}\n          hint: {hint}\n", printable(reason)));
    }
    out
}

/// What a file says, without what a terminal would take for commands.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
