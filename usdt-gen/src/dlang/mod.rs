//! The DTrace provider-definition language: text to [`crate::model::Model`], and back.
//!
//! `lexer` makes tokens with spans, `preprocess` expands macros and includes, `parser` makes a syntax tree, `check`
//! resolves types and names and enforces the rules of the language and of the note format, `strict` says what
//! other implementations would refuse. Each stage reports every problem it can see on its own and leaves out what
//! it could not understand, so that one mistake yields one message.

mod ast;
mod c_types;
pub mod catalogue;
mod check;
mod constant;
pub mod diagnostic;
mod format;
mod lexer;
mod options;
mod parser;
mod preprocess;
mod print;
pub mod source;
mod strict;

pub use format::format;
pub use options::{Options, Read};
pub use print::print;
pub use strict::Dialect;

use crate::model::Model;
use diagnostic::Diagnostic;
use source::Sources;

/// Result of reading a definition file: the model, unless there was an error, and what there is to say.
#[derive(Debug)]
pub struct Parsed {
    /// Present when no diagnostic is an error.
    pub model: Option<Model>,
    /// In source order.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub sources: Sources,
}

/// Reads the text of a `.d` file that stands alone.
pub fn parse(text: &str) -> Parsed {
    parse_with("probes.d", text, &Options::default())
}

/// Reads the text of a `.d` file and what it includes. `name` is what messages call it.
pub fn parse_with(name: &str, text: &str, options: &Options) -> Parsed {
    let mut diagnostics = Vec::new();
    let mut sources = Sources::default();
    let main = sources.add(name, text);
    let input = preprocess::preprocess(&mut sources, &main, options, &mut diagnostics);
    let file = parser::parse(&sources, &input, &mut diagnostics);
    let model = check::check(&sources, &file, &input.missing, &mut diagnostics);
    strict::check(&sources, &main, file, options.strict, &mut diagnostics);
    // A mistake in a type is one, however many arguments lead to it.
    let mut seen = std::collections::HashSet::new();
    diagnostics.retain(|d| seen.insert((d.span.clone(), d.message.clone())));
    diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    Parsed { model: (!failed).then_some(model), diagnostics, sources }
}

#[cfg(test)]
mod tests;
