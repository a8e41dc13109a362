//! Runs other programs.

use crate::Release;
use crate::error::{Error, Result};
use std::process::Command;

/// Runs a command that must succeed, and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().map_err(|source| Error::Start { program: program.clone(), source })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Failed { program, status: output.status, message });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the time of the release in a format of date(1), in UTC.
pub(crate) fn date(release: &Release, format: &str) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", format, "--date"]).arg(format!("@{}", release.time));
    run(date.env("LC_ALL", "C")).map(|date| date.trim().to_owned())
}
