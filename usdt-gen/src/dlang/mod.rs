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
mod parser;
mod preprocess;
mod print;
pub mod source;
mod strict;
mod type_names;

pub use diagnostic::Diagnostic;
pub use format::format;
pub use options::{Options, ReadFile};
pub use print::print;
pub use strict::Dialect;

use crate::model::Model;
use diagnostic::Diagnostics;
use source::Sources;

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
    let mut diagnostics = Diagnostics::default();
    let mut sources = Sources::default();
    let main = sources.add(name, source);
    let input = preprocess::preprocess(&mut sources, &main, options, &mut diagnostics);
    let file = parser::parse(&sources, &input, &mut diagnostics);
    let model = check::check(&sources, &file, &input.missing_headers, &mut diagnostics);
    strict::check(&sources, &main, file, options.strict, &mut diagnostics);
    let diagnostics = diagnostics.finish();
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    Parsed { model: (!failed).then_some(model), diagnostics, sources }
}

#[cfg(test)]
mod tests;
