//! The state of a preprocessor run, and the types that its parts share.

use crate::dlang::diagnostic::{Diagnostic, Diagnostics};
use crate::dlang::lexer::Token;
use crate::dlang::options::Options;
use crate::dlang::source::{Sources, Span};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// The largest number of tokens that macros can produce in one run. Real files need a few thousand;
/// the limit stops macros that multiply each other.
pub(super) const TOKEN_BUDGET: usize = 1 << 18;

/// Result of the preprocessor.
pub(in crate::dlang) struct Output {
    /// Tokens of the definition and everything that it includes, ending with `Kind::End`.
    pub(in crate::dlang) tokens: Vec<Token>,
    /// Headers that were not found, as the `#include` names them.
    pub(in crate::dlang) missing_headers: Vec<String>,
    /// True if a comment that is never closed hides the rest of a file.
    pub(in crate::dlang) truncated: bool,
}

/// A defined macro.
#[derive(Clone, Debug)]
pub(super) struct Macro {
    /// `None` for an object-like macro.
    pub(super) params: Option<MacroParams>,
    pub(super) body: Vec<Token>,
    /// Position of the name in the definition.
    pub(super) span: Span,
}

/// Parameters of a function-like macro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MacroParams {
    pub(super) names: Vec<String>,
    /// True if the last parameter is `...`, which takes all further arguments as `__VA_ARGS__`.
    pub(super) variadic: bool,
}

/// A run of the preprocessor.
pub(super) struct Preprocessor<'a> {
    pub(super) sources: &'a mut Sources,
    pub(super) options: &'a Options,
    diagnostics: &'a mut Diagnostics,
    /// Defined macros by name.
    pub(super) macros: HashMap<String, Macro>,
    /// Files with `#pragma once` that have been read.
    pub(super) once_files: HashSet<PathBuf>,
    /// True after the limit for the size of all files was reported. No file is included then.
    pub(super) is_full: bool,
    /// True after the limit for the tokens of all files was reported. Nothing more is read then.
    pub(super) has_too_many_tokens: bool,
    /// Number of tokens of all files so far.
    pub(super) file_tokens: usize,
    /// Number of tokens that macros can still produce. 0 stops all expansion.
    pub(super) token_budget: usize,
    pub(super) output: Output,
}

impl<'a> Preprocessor<'a> {
    pub(super) fn new(
        sources: &'a mut Sources,
        options: &'a Options,
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Preprocessor {
            sources,
            options,
            diagnostics,
            macros: HashMap::new(),
            once_files: HashSet::new(),
            is_full: false,
            has_too_many_tokens: false,
            file_tokens: 0,
            token_budget: TOKEN_BUDGET,
            output: Output { tokens: Vec::new(), missing_headers: Vec::new(), truncated: false },
        }
    }

    pub(super) fn finish(self) -> Output {
        self.output
    }

    /// Returns the characters of a token.
    pub(super) fn text(&self, token: &Token) -> &str {
        self.sources.text(&token.text)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports an error. An empty `help` means that there is no hint.
    pub(super) fn error(
        &mut self,
        span: &Span,
        message: impl Into<String>,
        label: &str,
        help: &str,
    ) {
        let error = Diagnostic::error(span.clone(), message, label);
        self.report(if help.is_empty() { error } else { error.help(help) });
    }
}
