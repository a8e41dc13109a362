//! The C preprocessor, as far as definitions use it: macros, conditions and includes.
//!
//! It works on tokens and keeps comments, because comments document the declaration that follows. A
//! token from a macro keeps the position at which the macro is used. Lines that begin with `#` and
//! are not directives are ignored with a warning: SystemTap's `dtrace` ignores them, so existing
//! files have them. `#pragma` lines are left for the parser.
//!
//! `directives` reads files and their directives, `macros` reads `#define`, and `expand` expands
//! macros. They share the types in `state`.

mod directives;
mod expand;
mod macros;
mod state;

use super::lexer::{Kind, Token};
use super::options::Options;
use crate::dlang::diagnostic::Diagnostics;
use crate::dlang::source::{Sources, Span};
pub(super) use state::Output;
use state::Preprocessor;

/// Runs the preprocessor over a file that [`Sources::add`] has added.
pub(super) fn preprocess(
    sources: &mut Sources,
    main: &Span,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Output {
    let mut preprocessor = Preprocessor::new(sources, options, diagnostics);
    preprocessor.predefine_macros();
    preprocessor.process_file(main, &options.source_dir, 0);
    let mut output = preprocessor.finish();
    output.tokens.push(Token {
        kind: Kind::End,
        span: main.end..main.end,
        text: main.end..main.end,
    });
    output
}

#[cfg(test)]
mod tests;
