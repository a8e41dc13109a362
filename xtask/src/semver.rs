//! What the libraries' users would have to change.

use crate::command::{Failure, Outcome, cargo_tool, command, execute, output, root};

/// What is published, in the order of dependencies.
pub(crate) const LIBRARIES: &[&str] =
    &["stapsdt", "gobinary", "usdt-gen", "usdt-attach", "usdt-export"];

/// `semver [REVISION]`: compares with a revision, the last tagged release where none is named.
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
    cargo_tool("semver-checks")?;
    let mut check = command("cargo", &["semver-checks", "--baseline-rev", &baseline]);
    LIBRARIES.iter().for_each(|library| {
        check.args(["-p", library]);
    });
    execute(check.current_dir(root()))
}
