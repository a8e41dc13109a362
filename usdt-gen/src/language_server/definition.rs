//! Go to definition: from a type name to its declaration, and from a probe to its Go function.

use super::document::Document;
use super::text::Lines;
use super::uri;
use crate::dlang::outline::Probe;
use crate::dlang::{Word, word_at};
use crate::golang::{self, Function};
use crate::overlay::patch::find_lines;
use lsp_types::{Location, Position};
use usdt_files::TEXT_LIMIT;

/// What the word at a position is.
pub(super) enum Target<'a> {
    /// The name of a probe, in its declaration.
    Probe(&'a str, &'a Probe),
    /// The name of a probe's parameter.
    Parameter(&'a str, &'a Probe),
    /// Any other word; perhaps a type.
    Word,
}

/// Returns the word at a position, and what it is.
pub(super) fn target(document: &Document, position: Position) -> Option<(Word, Target<'_>)> {
    let offset = Lines::new(&document.text).offset(position);
    let word = word_at(&document.analysis.sources, &document.analysis.main, offset)?;
    for provider in &document.outline.providers {
        for probe in &provider.probes {
            let declaration = &probe.declaration;
            let contains = |span: &std::ops::Range<usize>| {
                span.start <= word.span.start && word.span.end <= span.end
            };
            let provider = provider.declaration.name.as_str();
            if contains(&declaration.span) {
                return Some((word, Target::Probe(provider, probe)));
            }
            let is_type = matches!(word.previous.as_str(), "(" | "," | "struct" | "union" | "enum");
            if contains(&declaration.extent) && probe.params.contains(&word.text) && !is_type {
                return Some((word, Target::Parameter(provider, probe)));
            }
        }
    }
    Some((word, Target::Word))
}

/// Returns the place where the name at a position is defined.
pub(super) fn definition(document: &Document, position: Position) -> Option<Location> {
    match target(document, position)? {
        (_, Target::Probe(provider, probe)) => {
            go_function(document, function(document, provider, probe)?)
        }
        (_, Target::Parameter(..)) => None,
        (word, Target::Word) => {
            let ty = document.outline.type_declaration(&word.previous, &word.text)?;
            document.location(&ty.declaration.span)
        }
    }
}

/// Returns the Go function of a probe. `None` if the probe has errors.
pub(super) fn function<'a>(
    document: &'a Document,
    provider: &str,
    probe: &Probe,
) -> Option<&'a Function> {
    let functions = document.functions.as_ref().ok()?;
    functions.iter().find(|f| f.provider == provider && f.probe == probe.declaration.name)
}

/// Returns the position of a function in the generated package. `None` if it is not generated yet.
fn go_function(document: &Document, function: &Function) -> Option<Location> {
    let path = document.path.as_deref()?;
    let definition = path.file_name()?.to_string_lossy();
    let output = document.settings.output.as_deref().unwrap_or("".as_ref());
    let package = uri::normalized(&document.directory()?.join(output));
    let file = package.join(golang::main_file(&definition));
    let source = usdt_files::read_text(&file, TEXT_LIMIT).ok()?;
    let declaration = format!("func {}(", function.name);
    let start = find_lines(&source, &declaration).next()? + "func ".len();
    let range = Lines::new(&source).range(&(start..start + function.name.len()));
    Some(Location::new(uri::from_path(&file)?, range))
}
