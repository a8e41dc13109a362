//! `schema`, `diff`, `doc` and `bpftrace`: commands that work on the probe interface of a
//! definition or a binary.

use super::command_error::CommandError;
use super::language_args::{self, LanguageArgs};
use super::output::{print_json_line, print_json_pretty, print_text};
use crate::docgen;
use crate::model::interface_diff;
use crate::program_file::Snapshot;
use crate::seal::is_elf;
use clap::Args;
use cli_common::{FINDINGS, OK};
use stapsdt::elf::View;
use stapsdt::escape::Escaped;
use stapsdt::schema::{self, Schema};
use std::path::{Path, PathBuf};

/// Arguments of the commands that print one interface.
#[derive(Debug, Args)]
pub(super) struct InterfaceArgs {
    /// Definition, or binary built with a generated package
    source: PathBuf,
    #[command(flatten)]
    language: LanguageArgs,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// Definition or binary with the old interface
    old: PathBuf,
    /// Definition or binary with the new interface
    new: PathBuf,
    #[command(flatten)]
    language: LanguageArgs,
    /// Print one JSON object per change
    #[arg(long)]
    json: bool,
}

/// Where an interface was read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Definition,
    Binary,
}

/// Reads the interface that a definition declares or a binary carries.
fn load(
    path: &Path,
    language: &LanguageArgs,
    color: bool,
) -> Result<(Schema, Origin), CommandError> {
    if !is_elf(path).map_err(|e| CommandError::unreadable(path, e))? {
        let model = language_args::parse(path, language, None, color)?;
        return Ok((model.schema(), Origin::Definition));
    }
    let data = Snapshot::read(path).map_err(|e| CommandError::unreadable(path, e))?;
    let view = View::parse(&data)
        .map_err(|e| CommandError::bad_input(format!("{}: {e}", Escaped::new(path))))?;
    let schema: Schema = schema::read(&view).into_iter().collect();
    if schema.providers.is_empty() {
        return Err(CommandError::bad_input(format!(
            "{} does not describe any probes; was it built with a generated package?",
            Escaped::new(path)
        )));
    }
    Ok((schema, Origin::Binary))
}

pub(super) fn schema(args: &InterfaceArgs, color: bool) -> Result<i32, CommandError> {
    let (schema, _) = load(&args.source, &args.language, color)?;
    print_json_pretty(&schema)?;
    Ok(OK)
}

pub(super) fn doc(args: &InterfaceArgs, color: bool) -> Result<i32, CommandError> {
    let (schema, _) = load(&args.source, &args.language, color)?;
    print_text(&docgen::markdown_reference(&schema), false)?;
    Ok(OK)
}

pub(super) fn bpftrace(args: &InterfaceArgs, color: bool) -> Result<i32, CommandError> {
    let (schema, origin) = load(&args.source, &args.language, color)?;
    // The script of a definition takes the binary as its parameter; the script of a binary names
    // it.
    let binary = match origin {
        Origin::Definition => None,
        Origin::Binary => {
            let path = std::path::absolute(&args.source).unwrap_or_else(|_| args.source.clone());
            Some(path.to_string_lossy().into_owned())
        }
    };
    if binary.as_ref().is_some_and(|path| path.contains(char::is_control)) {
        return Err(CommandError::bad_input(
            "bpftrace cannot attach to a file with control characters in its path; rename the file",
        ));
    }
    print_text(&docgen::bpftrace_script(&schema, binary.as_deref()), false)?;
    Ok(OK)
}

pub(super) fn diff(args: &DiffArgs, color: bool) -> Result<i32, CommandError> {
    let (old, _) = load(&args.old, &args.language, color)?;
    let (new, _) = load(&args.new, &args.language, color)?;
    let changes = interface_diff::diff(&old, &new);
    for change in &changes {
        if args.json {
            print_json_line(change)?;
            continue;
        }
        let probe = change.probe.as_ref().map_or(String::new(), |p| format!(":{p}"));
        let verdict = if change.breaking { "breaking  " } else { "compatible" };
        print_text(&format!("{verdict}  {}{probe}: {}\n", change.provider, change.change), false)?;
    }
    Ok(if changes.iter().any(|c| c.breaking) { FINDINGS } else { OK })
}
