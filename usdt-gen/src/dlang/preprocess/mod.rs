//! The C preprocessor, as far as definition files use it: macros, conditions, includes.
//!
//! It works on tokens and keeps comments, as those document what follows. Tokens that a macro put there point to
//! the macro's use. Lines that begin with `#` and are no directive are prose: SystemTap's `dtrace` ignores them,
//! so files in the wild have them. `#pragma` lines are left for the parser.

mod expand;
mod macros;

use super::c_types;
use super::constant::{self, Scope};
use super::lexer::{self, Kind, Token};
use super::options::Options;
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::source::{Sources, Span};
use macros::Macro;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Deepest nesting of includes; one more is a file that includes itself.
const MAX_INCLUDES: usize = 32;

/// Headers whose types every definition file may use without them.
const BUILT_IN: &[&str] = &[
    "inttypes.h",
    "limits.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "stdlib.h",
    "string.h",
    "sys/param.h",
    "sys/stdint.h",
    "sys/types.h",
    "time.h",
    "unistd.h",
];

/// Macros that C compilers define on every platform with stubs. Nothing that names one architecture: the package
/// is for both.
const PREDEFINED: &[&str] = &["__linux__", "__linux", "__unix__", "__LP64__", "_LP64", "__ELF__"];

const DIRECTIVES: &[&str] = &[
    "define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif", "include", "error",
    "warning", "pragma", "ident", "line",
];

/// What the parser gets.
pub(super) struct Output {
    pub(super) tokens: Vec<Token>,
    /// Headers that were not found, as written.
    pub(super) missing: Vec<String>,
    /// A comment that is never closed has swallowed the rest.
    pub(super) truncated: bool,
}

/// Runs the preprocessor over a file that is already among the sources.
pub(super) fn preprocess(
    sources: &mut Sources,
    main: &Span,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Output {
    let mut run = Preprocessor {
        sources,
        options,
        diagnostics,
        macros: HashMap::new(),
        out: Vec::new(),
        missing: Vec::new(),
        once: HashSet::new(),
        truncated: false,
        budget: expand::BUDGET,
    };
    run.predefine();
    let folder = options.folder.clone();
    run.file(main, &folder, 0);
    run.out.push(Token { kind: Kind::End, span: main.end..main.end, text: main.end..main.end });
    Output { tokens: run.out, missing: run.missing, truncated: run.truncated }
}

struct Preprocessor<'a> {
    sources: &'a mut Sources,
    options: &'a Options,
    diagnostics: &'a mut Vec<Diagnostic>,
    macros: HashMap<String, Macro>,
    out: Vec<Token>,
    missing: Vec<String>,
    /// Files with `#pragma once` that have been read.
    once: HashSet<PathBuf>,
    truncated: bool,
    /// Tokens that macros may still put anywhere.
    budget: usize,
}

/// An open `#if`.
struct Condition {
    span: Span,
    /// Whether the text of the current branch counts.
    active: bool,
    /// Whether a branch has counted.
    taken: bool,
    /// Whether the text around it counts.
    outer: bool,
    seen_else: bool,
}

/// A control line, taken apart.
struct Line {
    span: Span,
    tokens: Vec<Token>,
}

impl Preprocessor<'_> {
    fn predefine(&mut self) {
        let given = self.options.defines.iter().map(|d| match d.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (d.clone(), "1".to_owned()),
        });
        let all: Vec<(String, String)> =
            PREDEFINED.iter().map(|n| ((*n).to_owned(), "1".to_owned())).chain(given).collect();
        for (name, value) in all {
            let span = self.sources.scratch(&format!("{name} {value}"));
            let tokens = lexer::lex_line(self.sources, &span);
            self.define(&tokens, &span);
        }
    }

    fn error(&mut self, span: &Span, message: impl Into<String>, label: &str, help: &str) {
        let diagnostic = Diagnostic::error(span.clone(), message, label);
        self.diagnostics.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    fn text(&self, token: &Token) -> &str {
        self.sources.text(&token.text)
    }

    fn file(&mut self, range: &Span, folder: &Path, depth: usize) {
        let mut conditions: Vec<Condition> = Vec::new();
        let mut run: Vec<Token> = Vec::new();
        for token in lexer::lex(self.sources, range) {
            let active = conditions.last().is_none_or(|c| c.active);
            match token.kind {
                Kind::Control => {
                    self.expand_run(&mut run);
                    self.control(&token, &mut conditions, folder, depth);
                }
                Kind::End => {}
                _ if !active => {}
                Kind::Bad => self.bad(&token),
                _ => run.push(token),
            }
        }
        self.expand_run(&mut run);
        for condition in conditions {
            self.error(
                &condition.span,
                "condition is never closed",
                "opened here",
                "close it with `#endif`",
            );
        }
    }

    fn expand_run(&mut self, run: &mut Vec<Token>) {
        let tokens = std::mem::take(run);
        let expanded = self.expand(tokens, 0);
        self.out.extend(expanded);
    }

    fn bad(&mut self, token: &Token) {
        let text = self.text(token).to_owned();
        let start = token.span.start;
        if text.starts_with("/*") {
            self.truncated = true;
            self.error(
                &(start..start + 2),
                "comment is never closed",
                "opened here",
                "close it with `*/`",
            );
        } else if text.starts_with(['"', '\'']) {
            self.error(&token.span, "quoted text is never closed", "opened here", "");
        } else {
            let message =
                format!("`{}` has no place in a provider definition", text.escape_debug());
            let help = "names consist of ASCII letters, digits and `_`";
            self.error(&token.span, message, "remove this character", help);
        }
    }

    fn control(
        &mut self,
        token: &Token,
        conditions: &mut Vec<Condition>,
        folder: &Path,
        depth: usize,
    ) {
        let mut tokens = lexer::lex_line(self.sources, &(token.text.start + 1..token.text.end));
        let active = conditions.last().is_none_or(|c| c.active);
        let name = match tokens.first() {
            None => return,
            // `# 33 "file"`: a line marker of a preprocessor that ran before.
            Some(first) if first.kind == Kind::Number => return,
            Some(first) => self.text(first).to_owned(),
        };
        tokens.remove(0);
        let line = Line { span: token.span.clone(), tokens };
        match name.as_str() {
            "if" | "ifdef" | "ifndef" => self.open(&name, &line, conditions),
            "elif" | "else" | "endif" => self.turn(&name, &line, conditions),
            _ if !active => {}
            "define" => self.define(&line.tokens, &line.span),
            "undef" => match line.tokens.first().map(|t| self.text(t).to_owned()) {
                Some(name) => drop(self.macros.remove(&name)),
                None => self.error(&line.span, "`#undef` without a name", "this line", ""),
            },
            "include" => self.include(&line, folder, depth),
            "error" | "warning" => {
                let said = self.sources.text(&token.text).trim_start_matches('#').trim();
                let said = said.get(name.len()..).unwrap_or_default().trim().to_owned();
                let message = if said.is_empty() { format!("#{name}") } else { said };
                self.diagnostics.push(match name.as_str() {
                    "error" => Diagnostic::error(line.span.clone(), message, "the file says so"),
                    _ => Diagnostic::warning(line.span.clone(), message, "the file says so"),
                });
            }
            "pragma" => self.pragma(token, &line),
            "ident" | "line" | "!" => {}
            _ => self.prose(&name, &line),
        }
    }

    fn pragma(&mut self, token: &Token, line: &Line) {
        if line.tokens.first().is_some_and(|t| self.text(t) == "once") {
            self.once.insert(PathBuf::from(self.sources.file_of(&line.span)));
            return;
        }
        self.out.push(token.clone());
    }

    fn prose(&mut self, name: &str, line: &Line) {
        let warning = Diagnostic::warning(
            line.span.clone(),
            format!("`#` line is no directive (`{name}`)"),
            "passed over",
        );
        self.diagnostics.push(match c_types::nearest_of(name, DIRECTIVES.iter().copied()) {
            Some(near) => warning.help(format!("did you mean `#{near}`?")),
            None => warning.help("write prose as a comment: `/* … */`"),
        });
    }

    fn open(&mut self, name: &str, line: &Line, conditions: &mut Vec<Condition>) {
        let outer = conditions.last().is_none_or(|c| c.active);
        let holds = outer
            && match name {
                "if" => self.condition(line),
                _ => match line.tokens.first() {
                    Some(token) => self.macros.contains_key(self.text(token)) == (name == "ifdef"),
                    None => {
                        self.error(
                            &line.span,
                            format!("`#{name}` without a name"),
                            "this line",
                            "",
                        );
                        false
                    }
                },
            };
        conditions.push(Condition {
            span: line.span.clone(),
            active: holds,
            taken: holds,
            outer,
            seen_else: false,
        });
    }

    fn turn(&mut self, name: &str, line: &Line, conditions: &mut Vec<Condition>) {
        let Some(condition) = conditions.last_mut() else {
            let help = "remove the line, or open the condition with `#if`, `#ifdef` or `#ifndef`";
            return self.error(
                &line.span,
                format!("`#{name}` without `#if`"),
                "nothing is open here",
                help,
            );
        };
        if name == "endif" {
            conditions.pop();
            return;
        }
        if condition.seen_else {
            let opened = condition.span.clone();
            self.diagnostics.push(
                Diagnostic::error(
                    line.span.clone(),
                    format!("`#{name}` behind `#else`"),
                    "this line",
                )
                .related(opened, "of this condition"),
            );
            return;
        }
        condition.seen_else = name == "else";
        let may = condition.outer && !condition.taken;
        let holds = may && (name == "else" || self.condition(line));
        if let Some(condition) = conditions.last_mut() {
            condition.active = holds;
            condition.taken |= holds;
        }
    }

    /// Value of an `#if` or `#elif`; false where it has none.
    fn condition(&mut self, line: &Line) -> bool {
        let mut tokens = Vec::new();
        let mut rest = line.tokens.iter().peekable();
        // `defined` is answered before macros are expanded, or its operand would be gone.
        while let Some(token) = rest.next() {
            if self.text(token) != "defined" {
                tokens.push(token.clone());
                continue;
            }
            let open = rest.next_if(|t| t.kind == Kind::Punct('(')).is_some();
            let Some(operand) = rest.next_if(|t| t.kind == Kind::Word) else {
                self.error(
                    &token.span,
                    "`defined` without a name",
                    "here",
                    "write `defined(NAME)`",
                );
                return false;
            };
            if open && rest.next_if(|t| t.kind == Kind::Punct(')')).is_none() {
                self.error(&operand.span, "expected `)` after the name", "behind this", "");
                return false;
            }
            let value = if self.macros.contains_key(self.text(operand)) { "1" } else { "0" };
            let text = self.sources.scratch(value);
            tokens.push(Token {
                kind: Kind::Number,
                span: token.span.start..operand.span.end,
                text,
            });
        }
        let tokens = self.expand(tokens, 0);
        match constant::evaluate(self.sources, &tokens, &line.span, &Undefined) {
            Ok(value) => value != 0,
            Err(no) => {
                let help = "prose belongs into a comment: `/* … */`";
                self.error(
                    &no.span,
                    format!("this condition has no value: {}", no.reason),
                    "here",
                    help,
                );
                false
            }
        }
    }

    fn include(&mut self, line: &Line, folder: &Path, depth: usize) {
        let Some((name, quoted)) = self.header_name(line) else {
            let help = "write `#include \"FILE\"` or `#include <FILE>`";
            return self.error(&line.span, "`#include` without a file", "this line", help);
        };
        if depth >= MAX_INCLUDES {
            let message = format!("includes are nested {MAX_INCLUDES} deep");
            let help = "does the file include itself?";
            return self.error(&line.span, message, "the next one would be here", help);
        }
        let near = quoted.then(|| folder.to_owned());
        let folders = near.into_iter().chain(self.options.include.iter().cloned());
        let found =
            folders.map(|f| f.join(&name)).find_map(|path| match (self.options.read)(&path) {
                Ok(bytes) => Some(Ok((path, bytes))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(e) => Some(Err((path, e))),
            });
        match found {
            Some(Ok((path, _))) if self.once.contains(&path) => {}
            Some(Ok((path, bytes))) => {
                let Ok(text) = String::from_utf8(bytes) else {
                    let message = format!("{} is no text file", path.display());
                    return self.error(&line.span, message, "included here", "");
                };
                let span = self.sources.add(&path.display().to_string(), &text);
                self.file(&span, path.parent().unwrap_or(Path::new("")), depth + 1);
            }
            Some(Err((path, e))) => {
                self.error(
                    &line.span,
                    format!("cannot read {}: {e}", path.display()),
                    "included here",
                    "",
                );
            }
            None if BUILT_IN.contains(&name.as_str()) => {}
            None => {
                self.diagnostics.push(
                    Diagnostic::warning(
                        line.span.clone(),
                        format!("`{name}` is not found"),
                        "passed over",
                    )
                    .help("if its types are needed, name its folder with -I"),
                );
                self.missing.push(name);
            }
        }
    }

    /// The file that an `#include` names, and whether it is in quotes; macros are expanded where neither form is
    /// there.
    fn header_name(&mut self, line: &Line) -> Option<(String, bool)> {
        let direct = |this: &Self, tokens: &[Token]| {
            let first = tokens.first()?;
            let text = this.text(first);
            if first.kind == Kind::Quoted {
                let name = text.strip_prefix('"')?.strip_suffix('"')?;
                return (!name.is_empty()).then(|| (name.to_owned(), true));
            }
            let close = tokens.iter().position(|t| t.kind == Kind::Punct('>'))?;
            let name = this.sources.text(&(first.text.end..tokens.get(close)?.text.start));
            (text == "<" && !name.is_empty()).then(|| (name.to_owned(), false))
        };
        direct(self, &line.tokens).or_else(|| {
            let tokens = self.expand(line.tokens.clone(), 0);
            direct(self, &tokens)
        })
    }
}

/// In conditions every name that is no macro is 0.
struct Undefined;

impl Scope for Undefined {
    fn name(&self, _: &str) -> Option<i128> {
        Some(0)
    }
    fn size_of(&self, _: &[Token]) -> Option<i128> {
        None
    }
}

#[cfg(test)]
mod tests;
