//! Options of the definition language, and reading the definitions named on the command line.

use super::command_error::CommandError;
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::{self, Dialect, Options};
use crate::model::Model;
use clap::Args;
use cli_common::say_colored;
use stapsdt::escape::Escaped;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use usdt_files::TEXT_LIMIT;

/// The preprocessor options that every command with a definition accepts.
#[derive(Debug, Args)]
pub(super) struct LanguageArgs {
    /// Define a preprocessor macro [default VALUE: 1]
    #[arg(short = 'D', value_name = "NAME[=VALUE]", value_parser = parse_define)]
    pub(super) define: Vec<String>,
    /// Add a directory to the search path of `#include`
    #[arg(short = 'I', value_name = "DIR")]
    pub(super) include: Vec<PathBuf>,
}

fn parse_define(value: &str) -> Result<String, String> {
    let name = value.split('=').next().unwrap_or_default();
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_word && name.starts_with(|c: char| !c.is_ascii_digit()) {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "`{name}` is not a macro name; use letters, digits and `_`, not starting with a digit"
        ))
    }
}

/// Parses a definition and prints its diagnostics to standard error.
pub(super) fn parse(
    path: &Path,
    language: &LanguageArgs,
    strict: Option<Dialect>,
    color: bool,
) -> Result<Model, CommandError> {
    let source = read_definition(path)?;
    let options = Options {
        defines: language.define.clone(),
        include_dirs: language.include.clone(),
        source_dir: path.parent().unwrap_or(Path::new("")).to_owned(),
        strict,
        read_file: Arc::new(|path: &Path| usdt_files::read(path, TEXT_LIMIT)),
    };
    let parsed = dlang::parse_with(&Escaped::new(path).to_string(), &source, &options);
    for diagnostic in &parsed.diagnostics {
        say_colored(&format!("{}\n", diagnostic.render(&parsed.sources, color)), color);
    }
    parsed.model.ok_or_else(|| {
        let errors = parsed.diagnostics.iter().filter(|d| Diagnostic::is_error(d)).count();
        let plural = if errors == 1 { "" } else { "s" };
        CommandError::bad_input(format!(
            "{}: {errors} error{plural}; nothing was written",
            Escaped::new(path)
        ))
    })
}

/// Reads a definition, which must be UTF-8.
pub(super) fn read_definition(path: &Path) -> Result<String, CommandError> {
    usdt_files::read_text(path, TEXT_LIMIT).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => {
            CommandError::bad_input(format!("{} is {error}", Escaped::new(path)))
        }
        _ => CommandError::unreadable(path, error),
    })
}
