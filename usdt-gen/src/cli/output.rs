//! What subcommands write to standard output and to files.

use super::command_error::CommandError;
use crate::golang::File;
use serde::Serialize;
use stapsdt::escape::Escaped;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use usdt_files::{Origin, TEXT_LIMIT, write_if_changed};

/// Writes data to standard output as it is. A closed pipe is not an error.
pub(super) fn print(data: &str) -> Result<(), CommandError> {
    cli_common::print(data.as_bytes()).map_err(cannot_write)
}

/// Writes text for people to standard output. What a terminal would obey in it is escaped, except
/// for color sequences if `color` is true.
pub(super) fn print_text(text: &str, color: bool) -> Result<(), CommandError> {
    cli_common::print_text(text, color).map_err(cannot_write)
}

fn cannot_write(error: impl Display) -> CommandError {
    CommandError::refused(format!("cannot write the output: {error}"))
}

/// Prints one JSON object on a line of its own.
pub(super) fn print_json_line(value: &impl Serialize) -> Result<(), CommandError> {
    let mut line = Vec::new();
    cli_common::write_json(&mut line, value).map_err(CommandError::bad_input)?;
    line.push(b'\n');
    cli_common::print(&line).map_err(cannot_write)
}

/// Prints an indented JSON object.
pub(super) fn print_json_pretty(value: &impl Serialize) -> Result<(), CommandError> {
    let mut lines = Vec::new();
    cli_common::write_json_pretty(&mut lines, value).map_err(CommandError::bad_input)?;
    lines.push(b'\n');
    cli_common::print(&lines).map_err(cannot_write)
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
    let header = format!("{name} ({state})");
    print_text(&diff.unified_diff().header(name, &header).to_string(), false)
}

/// Prints the changes that would make a file what it is to be. Returns false if there are none. A
/// file that does not exist is empty.
pub(super) fn print_changes(path: &Path, new: &str) -> Result<bool, CommandError> {
    let old = match usdt_files::read_text(path, TEXT_LIMIT) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CommandError::unreadable(path, error)),
    };
    if old == new {
        return Ok(false);
    }
    print_diff(&Escaped::new(path).to_string(), "generated", &old, new)?;
    Ok(true)
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
    usdt_files::create_directories(directory).map_err(|e| {
        CommandError::refused(format!("cannot create {}: {e}", Escaped::new(directory)))
    })
}
