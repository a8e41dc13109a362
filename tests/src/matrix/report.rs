//! The recorded results: every cell in `docs/matrix.json`, and the table in
//! `docs/compatibility.md`.

use super::build::{Kind, Seal};
use super::cell::{Cell, Verdict, Verdicts};
use super::consumer::Consumer;
use crate::{replace_between, root};
use gobinary::supported_releases::TESTED;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The markers around the table.
const MARKERS: [&str; 2] = ["<!-- matrix -->\n", "<!-- /matrix -->"];

/// Merges a run into the recorded results, writes them, and fails if a cell of the run does not
/// work.
pub(super) fn write(seen: &Verdicts) -> Result<(), String> {
    let (data, page) = (root().join("docs/matrix.json"), root().join("docs/compatibility.md"));
    // The file does not exist before the first run.
    let known = std::fs::read_to_string(&data).unwrap_or_else(|_| "{}".to_owned());
    let mut all: BTreeMap<String, String> =
        serde_json::from_str(&known).map_err(|e| format!("{}: {e}", data.display()))?;
    let mut broken = Vec::new();
    for (cell, verdict) in seen {
        let outcome = verdict.clone().map_or_else(|problem| problem, |()| "yes".to_owned());
        let before = all.insert(cell.clone(), outcome.clone());
        if verdict.is_err() {
            let was = if before.as_deref() == Some("yes") { " (worked before)" } else { "" };
            broken.push(format!("{cell}{was}: {outcome}"));
        }
    }
    let json = serde_json::to_string_pretty(&all).map_err(|e| e.to_string())?;
    std::fs::write(&data, json + "\n").map_err(|e| format!("{}: {e}", data.display()))?;
    let text = std::fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
    let text = replace_between(&text, MARKERS[0], MARKERS[1], &table(&all)).ok_or_else(|| {
        format!("{} has no `<!-- matrix -->` markers for the table", page.display())
    })?;
    std::fs::write(&page, text).map_err(|e| format!("{}: {e}", page.display()))?;
    println!(
        "{} cells tested, {} failed; recorded in {}",
        seen.len(),
        broken.len(),
        data.display()
    );
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// Renders one row for each build mode and way of sealing. A problem that all releases share
/// appears as one note.
fn table(all: &BTreeMap<String, String>) -> String {
    let mut notes: Vec<String> = Vec::new();
    let mut out = "| build | sealed |".to_owned();
    Consumer::ALL.iter().for_each(|consumer| out.extend([" ", consumer.name(), " |"]));
    out.push_str("\n| --- | --- |");
    out.push_str(&" --- |".repeat(Consumer::ALL.len()));
    out.push('\n');
    for kind in Kind::ALL {
        for seal in Seal::ALL {
            let _ = write!(out, "| {} | {} |", kind.name(), seal.name());
            for consumer in Consumer::ALL {
                let outcome = |release: &'static str| {
                    let cell = Cell { release, kind, seal, consumer };
                    match cell.untestable() {
                        Some(reason) => Some(reason.to_owned()),
                        None => all.get(&cell.name()).cloned(),
                    }
                };
                let _ = write!(out, " {} |", render_cell(&TESTED.map(outcome), &mut notes));
            }
            out.push('\n');
        }
    }
    out.push('\n');
    for (number, note) in (1..).zip(&notes) {
        let _ = writeln!(out, "{number}. {note}");
    }
    out
}

/// Renders the outcomes of one combination on every release as a table cell.
fn render_cell(outcomes: &[Option<String>; TESTED.len()], notes: &mut Vec<String>) -> String {
    let verdict = |outcome: &Option<String>| -> Option<Verdict> {
        let outcome = outcome.as_ref()?;
        Some(if outcome == "yes" { Ok(()) } else { Err(outcome.clone()) })
    };
    let works: Vec<&str> = TESTED
        .iter()
        .zip(outcomes)
        .filter(|(_, s)| verdict(s) == Some(Ok(())))
        .map(|(r, _)| *r)
        .collect();
    let mut problems: Vec<String> =
        outcomes.iter().filter_map(verdict).filter_map(Result::err).collect();
    problems.sort();
    problems.dedup();
    let numbers: Vec<String> = problems
        .into_iter()
        .map(|problem| {
            let known = notes.iter().position(|note| *note == problem);
            let index = known.unwrap_or_else(|| {
                notes.push(problem);
                notes.len() - 1
            });
            format!("[{}]", index + 1)
        })
        .collect();
    match (works.len(), numbers.is_empty()) {
        (0, true) => "?".to_owned(),
        (0, false) => format!("— {}", numbers.join(" ")),
        (count, _) if count == TESTED.len() => "yes".to_owned(),
        _ => format!("{} {}", works.join(", "), numbers.join(" ")).trim_end().to_owned(),
    }
}
