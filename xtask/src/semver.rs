//! Reports breaking changes of the libraries.

use crate::command::{Explain, Failure, Outcome, command, execute, install_cargo_tool, root};

/// The published crates, in dependency order.
pub(crate) const LIBRARIES: &[&str] =
    &["stapsdt", "gobinary", "cli-common", "usdt-files", "usdt-gen", "usdt-attach", "usdt-export"];

/// The crates with a stable interface, see `docs/releasing.md`.
const STABLE: &[&str] = &["stapsdt", "gobinary", "usdt-attach", "usdt-export"];

/// The file that names the revision to compare with.
const BASELINE: &str = "xtask/semver-baseline";

/// Compares the libraries with a revision, by default the one in [`BASELINE`].
pub(crate) fn run(args: &[String]) -> Outcome {
    let baseline = match args {
        [] => baseline()?,
        [revision] => revision.clone(),
        _ => return Err(Failure("usage: semver [REVISION]".to_owned())),
    };
    install_cargo_tool("semver-checks")?;
    let mut check = command("cargo", &["semver-checks", "--baseline-rev", &baseline]);
    for library in STABLE {
        check.args(["-p", library]);
    }
    execute(check.current_dir(root()))
}

fn baseline() -> Outcome<String> {
    let file = std::fs::read_to_string(root().join(BASELINE))
        .explain(&format!("cannot read {BASELINE}"))?;
    let mut lines = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(revision), None) => Ok(revision.trim().to_owned()),
        _ => Err(Failure(format!("{BASELINE} must hold one revision"))),
    }
}
