//! Release builds of revisions, to compare them.
//!
//! All are built in the same folder: paths are part of the symbols' hashes, so that builds of the
//! same source in two folders would differ in where the linker places the code.

use crate::command::{Explain, Failure, Outcome, command, execute, output, root};
use packaging::PROGRAMS;
use std::path::{Path, PathBuf};

/// Builds two revisions, given as `OLD..NEW`, or as `OLD` for the difference to `HEAD`. Returns the
/// folders that hold the tools. A revision that has been built before is not built again.
pub(crate) fn build(range: &str) -> Outcome<[PathBuf; 2]> {
    let (old, new) = range.split_once("..").unwrap_or((range, "HEAD"));
    if new == "HEAD" && !output(&mut command("git", &["status", "--porcelain", "-uno"]))?.is_empty()
    {
        eprintln!("note: changes that are not committed are not measured");
    }
    let (old, new) = (commit(old)?, commit(new)?);
    Ok([build_commit(&old)?, build_commit(&new)?])
}

/// Returns the id of a commit.
fn commit(revision: &str) -> Outcome<String> {
    let name = format!("{revision}^{{commit}}");
    let id = output(&mut command("git", &["rev-parse", "--verify", "--quiet", &name]))
        .map_err(|_| Failure(format!("git knows no revision `{revision}`")))?;
    Ok(id.trim().to_owned())
}

/// Builds a commit, and returns the folder of its tools.
fn build_commit(id: &str) -> Outcome<PathBuf> {
    let folder = root().join("target/against");
    let built = folder.join("builds").join(id);
    if PROGRAMS.iter().all(|tool| built.join(tool).is_file()) {
        return Ok(built);
    }
    let tree = Worktree::add(&folder.join("tree"), id)?;
    let target = folder.join("target");
    let mut cargo = command("cargo", &["build", "--release", "--locked", "--quiet"]);
    cargo.args(["-p", "usdt-gen", "-p", "usdt-attach-cli", "--target-dir"]).arg(&target);
    execute(cargo.current_dir(&tree.0))?;
    std::fs::create_dir_all(&built).explain("cannot create a folder below target")?;
    for tool in PROGRAMS {
        std::fs::copy(target.join("release").join(tool), built.join(tool))
            .explain(&format!("cannot copy {tool}"))?;
    }
    Ok(built)
}

/// A worktree that is removed when this is dropped.
struct Worktree(PathBuf);

impl Worktree {
    fn add(path: &Path, commit: &str) -> Outcome<Worktree> {
        // An interrupted run leaves its worktree.
        Worktree::remove(path);
        let mut add = command("git", &["worktree", "add", "--quiet", "--detach"]);
        execute(add.arg(path).arg(commit))?;
        Ok(Worktree(path.to_owned()))
    }

    fn remove(path: &Path) {
        if path.exists() {
            let _ = execute(command("git", &["worktree", "remove", "--force"]).arg(path));
        }
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        Worktree::remove(&self.0);
    }
}
