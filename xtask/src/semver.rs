//! Reports breaking changes of the libraries.

use crate::command::{Failure, Outcome, command, execute, install_cargo_tool, output, root};

/// The published crates, in dependency order.
pub(crate) const LIBRARIES: &[&str] =
    &["stapsdt", "gobinary", "usdt-gen", "usdt-attach", "usdt-export"];

/// Compares the libraries with a revision, or with the last tagged release if none is named.
pub(crate) fn run(args: &[String]) -> Outcome {
    let baseline = match args.first() {
        Some(revision) => revision.clone(),
        None => {
            let mut last = command("git", &["tag", "--list", "v*", "--sort=-version:refname"]);
            let tags = output(last.current_dir(root()))?;
            tags.lines().next().map(str::to_owned).ok_or_else(|| {
                Failure("nothing is released yet; name a revision to compare with".to_owned())
            })?
        }
    };
    install_cargo_tool("semver-checks")?;
    let mut check = command("cargo", &["semver-checks", "--baseline-rev", &baseline]);
    LIBRARIES.iter().for_each(|library| {
        check.args(["-p", library]);
    });
    execute(check.current_dir(root()))
}
