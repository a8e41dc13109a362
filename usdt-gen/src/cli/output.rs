//! What subcommands write to standard output and to files.

use super::command_error::CommandError;
use crate::golang::File;
use serde::Serialize;
use std::path::Path;
use usdt_files::{Origin, write_if_changed};

/// Writes data to standard output. A closed pipe is not an error.
pub(super) fn print(data: &str) -> Result<(), CommandError> {
    cli_common::print(data.as_bytes())
        .map_err(|e| CommandError::refused(format!("cannot write the output: {e}")))
}

/// Prints one JSON object on a line of its own.
pub(super) fn print_json_line(value: &impl Serialize) -> Result<(), CommandError> {
    let line = serde_json::to_string(value).map_err(CommandError::bad_input)?;
    print(&format!("{line}\n"))
}

/// Prints the changes from `old` to `new` as a unified diff.
///
/// `state` describes the new content in the diff's header, for example `formatted`.
pub(super) fn print_diff(
    name: &str,
    state: &str,
    old: &str,
    new: &str,
) -> Result<(), CommandError> {
    let diff = similar::TextDiff::from_lines(old, new);
    print(&diff.unified_diff().header(name, &format!("{name} ({state})")).to_string())
}

/// Writes the files of a generated package; files whose content is unchanged keep their timestamps.
pub(super) fn write_package(directory: &Path, files: &[File]) -> Result<(), CommandError> {
    if !directory.as_os_str().is_empty() {
        create_directory(directory)?;
    }
    for file in files {
        let path = directory.join(&file.name);
        let warnings = write_if_changed(&path, file.text.as_bytes(), Origin::New)
            .map_err(CommandError::refused)?;
        cli_common::warn(warnings);
    }
    Ok(())
}

/// Creates a directory and its parents.
pub(super) fn create_directory(directory: &Path) -> Result<(), CommandError> {
    usdt_files::create_directories(directory)
        .map_err(|e| CommandError::refused(format!("cannot create {}: {e}", directory.display())))
}
