//! Definitions named on the command line: read, and what there is to say about them said.

use super::{BAD_INPUT, Failure, say};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::{self, Dialect, Options};
use crate::model::Model;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How definitions are read.
#[derive(Debug, Args)]
pub(super) struct LanguageArgs {
    /// Define a macro [default value: 1]
    #[arg(short = 'D', value_name = "NAME[=VALUE]", value_parser = define)]
    define: Vec<String>,
    /// Folder to look for included files in
    #[arg(short = 'I', value_name = "DIR")]
    include: Vec<PathBuf>,
}

fn define(text: &str) -> Result<String, String> {
    let name = text.split('=').next().unwrap_or_default();
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if letters && name.starts_with(|c: char| !c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{name}` is no macro name: letters, digits and `_`, no digit in front"))
    }
}

/// Reads a definition; says on standard error what there is to say about it.
pub(super) fn parse(
    path: &Path,
    language: &LanguageArgs,
    strict: Option<Dialect>,
    color: bool,
) -> Result<Model, Failure> {
    let text = read(path)?;
    let options = Options {
        defines: language.define.clone(),
        include: language.include.clone(),
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        strict,
        read: Arc::new(|path: &Path| std::fs::read(path)),
    };
    let parsed = dlang::parse_with(&path.display().to_string(), &text, &options);
    for diagnostic in &parsed.diagnostics {
        say(&format!("{}\n", diagnostic.render(&parsed.sources, color)));
    }
    parsed.model.ok_or_else(|| {
        let errors = parsed.diagnostics.iter().filter(|d| Diagnostic::is_error(d)).count();
        let plural = if errors == 1 { "" } else { "s" };
        Failure(
            BAD_INPUT,
            format!("{}: {errors} error{plural}; nothing was written", path.display()),
        )
    })
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure(BAD_INPUT, format!("cannot read {}: {e}", path.display())))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure(BAD_INPUT, format!("{} is no text file: byte {at} is not UTF-8", path.display()))
    })
}
