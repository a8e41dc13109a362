//! Breaking changes in the interfaces of the libraries.

use crate::command::{Explain, Failure, Outcome, cargo_tool, command, execute, root};

/// The crates that are published, in the order of their dependencies.
pub(crate) const LIBRARIES: &[&str] =
    &["stapsdt", "gobinary", "usdt-gen", "usdt-attach", "usdt-export"];

/// The crates whose interface is stable: `docs/releasing.md`.
const STABLE: &[&str] = &["stapsdt", "gobinary", "usdt-attach", "usdt-export"];

/// The file that names the revision to compare with: the last release, or what counts as one.
const BASELINE: &str = "xtask/semver-baseline";

/// `semver [REVISION]`: compares the working tree with a revision.
pub(crate) fn run(args: &[String]) -> Outcome {
    let baseline = match args {
        [] => baseline()?,
        [revision] => revision.clone(),
        _ => return Err(Failure("usage: semver [REVISION]".to_owned())),
    };
    cargo_tool("semver-checks")?;
    let mut check = command("cargo", &["semver-checks", "--baseline-rev", &baseline]);
    for library in STABLE {
        check.args(["-p", library]);
    }
    execute(check.current_dir(root()))
}

fn baseline() -> Outcome<String> {
    let file =
        std::fs::read_to_string(root().join(BASELINE)).explain(&format!("cannot read {BASELINE}"))?;
    let mut lines = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(revision), None) => Ok(revision.trim().to_owned()),
        _ => Err(Failure(format!("{BASELINE} must hold one revision"))),
    }
}
