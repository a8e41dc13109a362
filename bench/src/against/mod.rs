//! Compares two builds of the tools: `usdt-bench --against OLD NEW [PART...]`, where `OLD` and `NEW`
//! are folders that hold a build of each.
//!
//! Both builds run in turn, so that a disturbance of the machine affects both. Each round yields the
//! ratio of new to old, and the result is the median of the ratios with its confidence interval.

mod builds;
mod compare;
mod figures;
mod verdict;

use crate::machine;
use builds::Build;
use std::path::PathBuf;
use verdict::Verdict;

/// Compares the figures of the named parts, or all figures. Returns false if one of them is slower
/// in the new build.
pub(crate) fn run(args: &[String]) -> Result<bool, String> {
    let [old, new, parts @ ..] = args else {
        return Err("`--against` needs the folders of two builds".to_owned());
    };
    if let Some(unknown) =
        parts.iter().find(|part| figures::FIGURES.iter().all(|known| known.part != **part))
    {
        let mut known: Vec<&str> = figures::FIGURES.iter().map(|figure| figure.part).collect();
        known.dedup();
        return Err(format!("no part `{unknown}` to compare; the parts are {}", known.join(", ")));
    }
    let builds = [Build::new("old", PathBuf::from(old))?, Build::new("new", PathBuf::from(new))?];
    if let Err(noise) = machine::check_quiet() {
        eprintln!("note: {noise}; the comparison takes longer and sees less");
    }
    for tool in builds::TOOLS {
        if builds[0].content(tool)? == builds[1].content(tool)? {
            println!("note: both builds of `{tool}` are the same file");
        }
    }
    let chosen: Vec<&figures::Figure> = figures::FIGURES
        .iter()
        .filter(|figure| parts.is_empty() || parts.iter().any(|part| part == figure.part))
        .collect();
    println!("| figure | old | new | change | smallest visible change | rounds | result |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut slower = Vec::new();
    for figure in &chosen {
        let comparison = compare::compare(figure, &builds, chosen.len())?;
        println!("{}", comparison.row(figure));
        if comparison.verdict() == Verdict::Slower {
            slower.push(figure.name);
        }
    }
    if !slower.is_empty() {
        eprintln!("slower than the old build: {}", slower.join(", "));
    }
    Ok(slower.is_empty())
}
