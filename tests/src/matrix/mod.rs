//! The compatibility matrix: every Go release, build mode, way of sealing and tracer in
//! combination.
//!
//! Unmodified binaries of all releases come first; see [`unmodified`](crate::unmodified).
//!
//! For each combination it builds a program, runs and traces it, and compares the arguments that
//! were read. The result is `docs/matrix.json` and a table in `docs/compatibility.md`.

mod build;
mod cell;
mod consumer;
mod report;

use build::{Built, Kind, Seal};
use cell::{Cell, Verdicts};
use consumer::Consumer;
use gobinary::supported_releases::TESTED;
use std::num::NonZero;
use std::sync::Mutex;

/// Runs the cells whose names contain each of the words, and records the result.
pub fn run(words: &[String]) -> Result<(), String> {
    let tools = consumer::Tools::build()?;
    let is_wanted = |cell: &Cell| words.iter().all(|word| cell.name().contains(word.as_str()));
    let mut builds = Vec::new();
    for release in TESTED {
        for kind in Kind::ALL {
            for seal in Seal::ALL {
                let cells: Vec<Cell> = Consumer::ALL
                    .into_iter()
                    .map(|consumer| Cell { release, kind, seal, consumer })
                    .filter(|cell| is_wanted(cell) && cell.untestable().is_none())
                    .collect();
                if !cells.is_empty() {
                    builds.push((release, kind, seal, cells));
                }
            }
        }
    }
    let unmodified = [crate::unmodified::run(words), crate::debian::run(words)];
    let failed = unmodified.iter().flatten().flatten().cloned().collect::<Vec<_>>();
    if !failed.is_empty() {
        return Err(format!("function entries are wrong: {}", failed.join(", ")));
    }
    if builds.is_empty() && unmodified.iter().any(Option::is_some) {
        return Ok(());
    }
    if builds.is_empty() {
        return Err(format!(
            "no cell name contains all of {words:?}; names look like 1.26.8/pie/toolexec/bpftrace"
        ));
    }
    let (queue, verdicts) = (Mutex::new(builds.into_iter()), Mutex::new(Verdicts::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some((release, kind, seal, cells)) = next else { break };
                    let new = run_build(release, kind, seal, &cells, &tools);
                    if let Ok(mut verdicts) = verdicts.lock() {
                        verdicts.extend(new);
                    }
                }
            });
        }
    });
    report::write(&verdicts.into_inner().map_err(|e| e.to_string())?)
}

/// Builds a program and traces it with the tracer of each cell.
fn run_build(
    release: &str,
    kind: Kind,
    seal: Seal,
    cells: &[Cell],
    tools: &consumer::Tools,
) -> Verdicts {
    let built = tempfile::tempdir().map_err(|e| e.to_string()).and_then(|folder| {
        Built::new(release, kind, seal, folder.path()).map(|built| (built, folder))
    });
    let mut out = Verdicts::new();
    for cell in cells {
        let verdict = match &built {
            Ok((built, folder)) => cell.consumer.trace(built, tools, folder.path()),
            Err(problem) => Err(format!("the build failed: {problem}")),
        };
        let outcome =
            verdict.as_ref().map_or_else(|problem| format!("NO: {problem}"), |()| "yes".to_owned());
        println!("{:<44} {outcome}", cell.name());
        out.insert(cell.name(), verdict);
    }
    out
}
