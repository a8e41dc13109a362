//! Tarballs of both programs, which can be unpacked into any prefix.

use crate::error::Result;
use crate::layout::{Layout, Tools};
use crate::run::run;
use crate::stage::Stage;
use crate::{Architecture, NAME, Release};
use std::path::PathBuf;
use std::process::Command;

/// Returns the name of the folder in a tarball. With `.tar.gz` it is the name of the tarball.
#[must_use]
pub fn tarball_name(version: &str, architecture: Architecture) -> String {
    format!("{NAME}-{version}-linux-{architecture}")
}

/// Writes a tarball, and returns its path.
///
/// # Errors
///
/// Fails if a part is missing, a file cannot be written, or tar or gzip is not installed.
pub fn tarball(
    release: &Release,
    architecture: Architecture,
    tools: &Tools<'_>,
) -> Result<PathBuf> {
    let name = tarball_name(&release.version, architecture);
    let folder = release.scratch.join("tarball");
    let stage = Stage::new(folder.join(&name))?;
    Layout::Prefix.fill(&stage, release, tools)?;
    stage.finish()?;
    let output = release.output_file(&format!("{name}.tar.gz"))?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0"])
        .arg("--numeric-owner")
        .arg(format!("--mtime=@{}", release.time))
        .arg("--use-compress-program=gzip -9 -n")
        .arg("--file")
        .arg(&output)
        .arg("--directory")
        .arg(&folder)
        .arg(&name);
    run(&mut tar)?;
    Ok(output)
}
