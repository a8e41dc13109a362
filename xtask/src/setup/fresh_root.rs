//! A fresh root file system of the distribution. Tests type pages of the documentation in it.

use crate::command::{Explain, Failure, Outcome, execute, privileged, root};

/// Where it is, relative to the root of the repository. The end-to-end suite names it, too.
const PLACE: &str = "target/fresh-root";
/// What the pages assume in addition to the smallest system.
const PACKAGES: &str = "ca-certificates,curl,sudo";

/// Installs the file system unless it is there. Without a mirror of the distribution, the tests are
/// skipped.
pub(super) fn find_or_install() -> Outcome {
    if root().join(PLACE).exists() {
        return Ok(());
    }
    if let Err(Failure(why)) = install() {
        eprintln!("skipped: {PLACE}: {why}");
    }
    Ok(())
}

fn install() -> Outcome {
    let release = std::fs::read_to_string("/etc/os-release").explain("cannot read os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.ok_or_else(|| Failure("os-release has no VERSION_CODENAME".into()))?;
    let folder = root().join("target");
    std::fs::create_dir_all(&folder).explain("cannot create target")?;
    // A file system that is only half installed has another name.
    let [unfinished, place] = ["fresh-root.new", "fresh-root"]
        .map(|name| folder.join(name).to_string_lossy().into_owned());
    execute(&mut privileged("rm", &["-rf", &unfinished]))?;
    let include = format!("--include={PACKAGES}");
    let options = ["--quiet", "--variant=minbase", &include];
    execute(&mut privileged(
        "mmdebstrap",
        &[&options[..], &[codename.trim_matches('"'), &unfinished]].concat(),
    ))?;
    execute(&mut privileged("mv", &[&unfinished, &place]))
}
