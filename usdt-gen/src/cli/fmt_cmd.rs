//! `usdt-gen fmt`: formats definitions, or checks that they are formatted.

use super::command_error::CommandError;
use super::language_args::read_definition;
use super::output::{print, print_diff};
use crate::dlang;
use crate::dlang::source::Sources;
use clap::Args;
use cli_common::{BAD_INPUT, FINDINGS, OK, say, say_colored, warn};
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use usdt_files::{Origin, write_if_changed};

#[derive(Debug, Args)]
pub(super) struct FmtArgs {
    /// Definitions to format in place; `-` formats standard input to standard output
    #[arg(required = true, value_name = "PROBES.D")]
    files: Vec<PathBuf>,
    /// Write nothing; print the changes and exit with status 1 if there are any
    #[arg(long)]
    check: bool,
}

/// Formats each file. A file that cannot be formatted is reported and left unchanged; the command
/// goes on with the others.
pub(super) fn run(args: &FmtArgs, color: bool) -> Result<i32, CommandError> {
    let mut exit_code = OK;
    let mut unformatted = Vec::new();
    for path in &args.files {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "<stdin>".to_owned() } else { Escaped::new(path).to_string() };
        let is_stream = path.metadata().is_ok_and(|file| !file.is_file());
        if is_stream && !is_stdin && !args.check {
            return Err(CommandError::bad_input(format!(
                "cannot format {name} in place: not a regular file; use `-` for standard input"
            )));
        }
        let old = read_definition(if is_stdin { Path::new("/dev/stdin") } else { path.as_path() })?;
        let mut sources = Sources::default();
        let file = sources.add(&name, &old);
        let new = match dlang::format(&sources, &file) {
            Ok(new) => new,
            Err(diagnostic) => {
                say_colored(&format!("{}\n", diagnostic.render(&sources, color)), color);
                exit_code = BAD_INPUT;
                continue;
            }
        };
        if args.check {
            if old != new {
                print_diff(&name, "formatted", &old, &new)?;
                unformatted.push(name);
            }
        } else if is_stdin {
            print(&new)?;
        } else {
            let warnings = write_if_changed(path, new.as_bytes(), Origin::Edited);
            warn(warnings.map_err(CommandError::refused)?);
        }
    }
    if !unformatted.is_empty() {
        say(&format!(
            "not formatted: {}; run usdt-gen fmt without --check",
            unformatted.join(", ")
        ));
        exit_code = exit_code.max(FINDINGS);
    }
    Ok(exit_code)
}
