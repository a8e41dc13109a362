//! The DTrace provider-definition language: from source to [`crate::model::Model`], and back.
//!
//! The stages are:
//!
//! 1. `lexer` splits the source into tokens with spans.
//! 2. `preprocess` expands macros, conditions and includes.
//! 3. `parser` builds a syntax tree (`ast`).
//! 4. `check` resolves types and names, and enforces the rules of the language and of the note
//!    format.
//! 5. `strict` reports what other implementations of the language reject.
//!
//! Each stage reports every problem that it can detect on its own, and leaves out what it could not
//! understand. One mistake therefore leads to one message. `print` and `format` go the other way:
//! from a model to source, and from source to its canonical layout.

mod ast;
mod c_types;
pub(crate) mod catalog;
mod character;
mod check;
mod constant;
pub(crate) mod diagnostic;
mod format;
mod lexer;
mod options;
pub(crate) mod outline;
mod parser;
mod place;
mod preprocess;
mod print;
pub mod source;
mod strict;
mod type_names;

pub use diagnostic::Diagnostic;
pub use format::format;
pub use options::{Options, ReadFile};
pub(crate) use place::{Place, Word, place, word_at};
pub use print::print;
pub use strict::Dialect;

use crate::model::{self, Model};
use diagnostic::Diagnostics;
use outline::Outline;
use source::{Sources, Span};

/// Result of parsing a definition: the model if there was no error, and the diagnostics.
#[derive(Debug)]
pub struct Parsed {
    /// The model. `None` if one of the diagnostics is an error.
    pub model: Option<Model>,
    /// Errors and warnings in source order.
    pub diagnostics: Vec<Diagnostic>,
    /// The source files that the diagnostics refer to.
    pub sources: Sources,
}

/// Parses a definition that includes no other files. Messages call it `probes.d`.
///
/// ```
/// let source = "struct conn { int fd; }; provider app { probe accept(struct conn *c); };";
/// let model = usdt_gen::dlang::parse(source).model.expect("the definition has no errors");
/// assert_eq!(model.structs[0].size, 4);
/// ```
pub fn parse(source: &str) -> Parsed {
    parse_with("probes.d", source, &Options::default())
}

/// Parses a definition and the files that it includes. `name` is its file name in messages.
pub fn parse_with(name: &str, source: &str, options: &Options) -> Parsed {
    let analysis = analyze(name, source, options);
    let failed = analysis.diagnostics.iter().any(Diagnostic::is_error);
    Parsed {
        model: (!failed).then_some(analysis.model),
        diagnostics: analysis.diagnostics,
        sources: analysis.sources,
    }
}

/// Everything that is known about a definition, which may have errors.
pub(crate) struct Analysis {
    /// The declarations without errors.
    pub(crate) model: Model,
    /// Errors and warnings in source order.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The definition and the files that it includes.
    pub(crate) sources: Sources,
    /// The content of the definition in `sources`.
    pub(crate) main: Span,
    file: ast::File,
}

impl Analysis {
    /// Returns what the files declare, with positions.
    pub(crate) fn outline(&self) -> Outline {
        Outline::of(&self.file)
    }
}

/// Parses a definition as [`parse_with`] does, and keeps what it declares in spite of errors.
pub(crate) fn analyze(name: &str, source: &str, options: &Options) -> Analysis {
    let mut diagnostics = Diagnostics::default();
    let mut sources = Sources::default();
    let main = sources.add(name, source);
    let input = preprocess::preprocess(&mut sources, &main, options, &mut diagnostics);
    let mut file = parser::parse(&sources, &input, &mut diagnostics);
    let model = check::check(&sources, &file, &input.missing_headers, &mut diagnostics);
    strict::check(&sources, &main, &mut file, options.strict, &mut diagnostics);
    Analysis { model, diagnostics: diagnostics.finish(), sources, main, file }
}

/// Returns the type of a name that needs no declaration, such as `uint64_t` or `time.Duration`.
pub(crate) fn built_in_type(name: &str) -> Option<model::Type> {
    type_names::built_in(name).or_else(|| c_types::arithmetic(&[name.to_owned()]))
}

/// Returns all type names that need no declaration.
pub(crate) fn built_in_type_names() -> impl Iterator<Item = &'static str> {
    type_names::all()
}

#[cfg(test)]
mod tests;
