//! `schema`, `diff`, `doc`, `bpftrace`: what a definition or a binary says about its probes.

use super::language_args::{self, LanguageArgs};
use super::{BAD_INPUT, FINDINGS, Failure, OK, print};
use crate::docgen;
use crate::model::interface_diff;
use crate::seal::is_elf;
use stapsdt::elf::View;
use stapsdt::schema::{self, Schema};
use std::path::Path;

/// Where an interface was read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Definition,
    Binary,
}

/// The interface that a definition declares or a binary carries.
fn load(path: &Path, language: &LanguageArgs, color: bool) -> Result<(Schema, Origin), Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        Failure(BAD_INPUT, format!("cannot read {}: {e}", path.display()))
    };
    if !is_elf(path).map_err(|e| failed(&e))? {
        return language_args::parse(path, language, None, color)
            .map(|model| (model.schema(), Origin::Definition));
    }
    let data = std::fs::read(path).map_err(|e| failed(&e))?;
    let view =
        View::parse(&data).map_err(|e| Failure(BAD_INPUT, format!("{}: {e}", path.display())))?;
    let schema: Schema = schema::read(&view).into_iter().collect();
    if schema.providers.is_empty() {
        return Err(Failure(
            BAD_INPUT,
            format!(
                "{} describes no probes; was it built with a generated package?",
                path.display()
            ),
        ));
    }
    Ok((schema, Origin::Binary))
}

pub(super) fn schema(path: &Path, language: &LanguageArgs, color: bool) -> Result<i32, Failure> {
    let text = serde_json::to_string_pretty(&load(path, language, color)?.0)
        .map_err(|e| Failure(BAD_INPUT, e.to_string()))?;
    print(&format!("{text}\n"))?;
    Ok(OK)
}

pub(super) fn doc(path: &Path, language: &LanguageArgs, color: bool) -> Result<i32, Failure> {
    print(&docgen::reference(&load(path, language, color)?.0))?;
    Ok(OK)
}

pub(super) fn bpftrace(path: &Path, language: &LanguageArgs, color: bool) -> Result<i32, Failure> {
    let (schema, origin) = load(path, language, color)?;
    // A definition's script takes the binary as its parameter; a binary's own script knows it.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let binary = (origin == Origin::Binary).then(|| absolute.display().to_string());
    if binary.as_ref().is_some_and(|path| path.contains(char::is_control)) {
        return Err(Failure(
            BAD_INPUT,
            "bpftrace takes no file with line ends in its name; rename it".to_owned(),
        ));
    }
    print(&docgen::scripts(&schema, binary.as_deref()))?;
    Ok(OK)
}

pub(super) fn diff(
    old: &Path,
    new: &Path,
    language: &LanguageArgs,
    json: bool,
    color: bool,
) -> Result<i32, Failure> {
    let changes =
        interface_diff::diff(&load(old, language, color)?.0, &load(new, language, color)?.0);
    for change in &changes {
        if json {
            let line =
                serde_json::to_string(change).map_err(|e| Failure(BAD_INPUT, e.to_string()))?;
            print(&format!("{line}\n"))?;
            continue;
        }
        let probe = change.probe.as_ref().map_or(String::new(), |p| format!(":{p}"));
        let verdict = if change.breaking { "breaking  " } else { "compatible" };
        print(&format!("{verdict}  {}{probe}: {}\n", change.provider, change.change))?;
    }
    Ok(if changes.iter().any(|c| c.breaking) { FINDINGS } else { OK })
}
