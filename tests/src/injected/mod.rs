//! Injected probes in builds that take too long for the suite: the large service with each Go
//! release and for arm64, and other tools that rewrite packages in the same build.
//!
//! `cargo xtask matrix injected` runs all cells.

pub mod service;
mod wrappers;

use gobinary::supported_releases::TESTED;

/// A cell: its name, and what it checks. The result says what was found.
struct Cell {
    name: String,
    check: Box<dyn Fn() -> Result<String, String>>,
}

impl Cell {
    fn new(name: String, check: impl Fn() -> Result<String, String> + 'static) -> Cell {
        Cell { name, check: Box::new(check) }
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for release in TESTED {
        for arch in service::ARCHITECTURES {
            let name = format!("{release}/injected/service/{arch}");
            cells.push(Cell::new(name, move || service::check(release, arch)));
        }
    }
    cells.extend(wrappers::cells());
    cells
}

/// Runs the cells whose names contain each of the words.
///
/// # Errors
///
/// Fails if a cell does, or if no name contains the words.
pub fn run(words: &[String]) -> Result<(), String> {
    let is_wanted = |cell: &Cell| words.iter().all(|word| cell.name.contains(word.as_str()));
    let mut cells = cells();
    cells.retain(is_wanted);
    if cells.is_empty() {
        return Err(format!(
            "no cell name contains all of {words:?}; names look like 1.27.3/injected/service/arm64"
        ));
    }
    let mut failed = Vec::new();
    for cell in cells {
        let outcome = match (cell.check)() {
            Ok(found) => format!("yes, {found}"),
            Err(problem) => {
                failed.push(cell.name.clone());
                format!("NO: {problem}")
            }
        };
        println!("{:<52} {outcome}", cell.name);
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("injected probes are wrong: {}", failed.join(", ")))
}
