//! The DTrace provider-definition language: text to [`crate::provider::Model`].
//!
//! `lexer` makes tokens with spans, `parser` a syntax tree, `check` resolves types and names and enforces the
//! rules of the language and of the note format. Each stage reports every problem it can see on its own and
//! leaves out what it could not understand, so that one mistake yields one message.

mod ast;
mod check;
mod lexer;
mod parser;
mod types;

use crate::diagnostic::Diagnostic;
use crate::provider::Model;

/// Result of reading a definition file: the model, unless there was an error, and what there is to say.
#[derive(Debug)]
pub struct Parsed {
    /// Present when no diagnostic is an error.
    pub model: Option<Model>,
    /// In source order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the text of a `.d` file.
pub fn parse(source: &str) -> Parsed {
    let mut diagnostics = Vec::new();
    let tokens = lexer::lex(source, &mut diagnostics);
    let file = parser::parse(source, &tokens, &mut diagnostics);
    let model = check::check(&file, &mut diagnostics);
    diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    Parsed { model: (!failed).then_some(model), diagnostics }
}

#[cfg(test)]
mod tests;
