//! Files and their directives: conditions, includes, pragmas and messages.

use super::state::Preprocessor;
use crate::dlang::c_types;
use crate::dlang::constant::{self, Scope};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::lexer::{self, Kind, MAX_TOKENS, Token};
use crate::dlang::source::Span;
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};

/// The deepest nesting of includes. A deeper one is taken as a file that includes itself.
const MAX_INCLUDE_DEPTH: usize = 32;
/// Limit for the definition and all included files together, in bytes. A file that is included
/// twice counts twice.
const MAX_SOURCE_SIZE: usize = 16 << 20;

/// Headers whose types need no declaration. It is not an error if they are not found.
const BUILT_IN_HEADERS: &[&str] = &[
    "inttypes.h",
    "limits.h",
    "netinet/in.h",
    "poll.h",
    "pthread.h",
    "signal.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "stdlib.h",
    "string.h",
    "sys/param.h",
    "sys/resource.h",
    "sys/socket.h",
    "sys/statvfs.h",
    "sys/stdint.h",
    "sys/types.h",
    "termios.h",
    "time.h",
    "uchar.h",
    "unistd.h",
    "wchar.h",
];

const DIRECTIVES: &[&str] = &[
    "define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif", "include", "error",
    "warning", "pragma", "ident", "line",
];

/// An open `#if`, `#ifdef` or `#ifndef`.
struct Condition {
    /// Position of the directive that opened it.
    span: Span,
    /// True if the current branch is used.
    active: bool,
    /// True if the current or an earlier branch was used.
    taken: bool,
    /// True if the code around the condition is used.
    outer_active: bool,
    seen_else: bool,
}

/// A directive.
struct Directive {
    /// Position of the whole line.
    span: Span,
    /// Tokens after the directive's name.
    tokens: Vec<Token>,
}

/// The file that an `#include` names.
struct HeaderName {
    name: String,
    /// True for `"…"`, which also searches the directory of the including file.
    quoted: bool,
}

impl Preprocessor<'_> {
    /// Processes a file. `directory` is the directory of the file, `depth` the number of includes
    /// that lead to it.
    pub(super) fn process_file(&mut self, range: &Span, directory: &Path, depth: usize) {
        let mut conditions: Vec<Condition> = Vec::new();
        let mut run: Vec<Token> = Vec::new();
        for token in lexer::lex(self.sources, range) {
            if !self.take_token(&token) {
                break;
            }
            let active = conditions.last().is_none_or(|c| c.active);
            match token.kind {
                Kind::Directive => {
                    self.expand_to_output(&mut run);
                    self.process_directive(&token, &mut conditions, directory, depth);
                }
                Kind::End => {}
                _ if !active => {}
                Kind::Invalid => self.report_invalid(&token),
                _ => run.push(token),
            }
        }
        self.expand_to_output(&mut run);
        if self.has_too_many_tokens {
            return;
        }
        for condition in conditions {
            let help = "close it with `#endif`";
            self.error(&condition.span, "this condition is never closed", "opened here", help);
        }
    }

    /// Counts a token of a file. Returns false if there are too many, which is reported once.
    fn take_token(&mut self, token: &Token) -> bool {
        if self.has_too_many_tokens {
            return false;
        }
        self.file_tokens += 1;
        if token.kind != Kind::Rest && self.file_tokens <= MAX_TOKENS {
            return true;
        }
        self.has_too_many_tokens = true;
        self.output.truncated = true;
        let start = token.span.start;
        let message = format!("the files have more than {MAX_TOKENS} tokens together");
        let help = "split the definition, or include fewer headers";
        self.error(&(start..start), message, "the rest is not read", help);
        false
    }

    /// Expands the macros in the tokens between two directives and moves the result to the output.
    fn expand_to_output(&mut self, run: &mut Vec<Token>) {
        let tokens = std::mem::take(run);
        let expanded = self.expand(tokens, 0);
        self.output.tokens.extend(expanded);
    }

    fn report_invalid(&mut self, token: &Token) {
        let text = self.text(token).to_owned();
        let start = token.span.start;
        if text.starts_with("/*") {
            self.output.truncated = true;
            let opening = start..start + 2;
            let help = "close it with `*/`";
            self.error(&opening, "this comment is never closed", "opened here", help);
        } else if text.starts_with(['"', '\'']) {
            self.error(&token.span, "this quoted string is never closed", "opened here", "");
        } else {
            let message = format!("unexpected character `{}`", text.escape_debug());
            let help = "names consist of ASCII letters, digits and `_`";
            self.error(&token.span, message, "remove this character", help);
        }
    }

    fn process_directive(
        &mut self,
        token: &Token,
        conditions: &mut Vec<Condition>,
        directory: &Path,
        depth: usize,
    ) {
        let mut tokens = lexer::lex_line(self.sources, &(token.text.start + 1..token.text.end));
        self.file_tokens += tokens.len();
        if let Some(rest) = tokens.pop_if(|last| last.kind == Kind::Rest) {
            self.take_token(&rest);
            return;
        }
        let active = conditions.last().is_none_or(|c| c.active);
        let name = match tokens.first() {
            None => return,
            // `# 33 "file"` is a line marker of another preprocessor.
            Some(first) if first.kind == Kind::Number => return,
            Some(first) => self.text(first).to_owned(),
        };
        tokens.remove(0);
        let directive = Directive { span: token.span.clone(), tokens };
        match name.as_str() {
            "if" | "ifdef" | "ifndef" => self.open_condition(&name, &directive, conditions),
            "elif" | "else" | "endif" => self.continue_condition(&name, &directive, conditions),
            _ if !active => {}
            "define" => self.define(&directive.tokens, &directive.span),
            "undef" => match directive.tokens.first().map(|t| self.text(t).to_owned()) {
                Some(name) => drop(self.macros.remove(&name)),
                None => self.error(&directive.span, "`#undef` without a name", "this line", ""),
            },
            "include" => self.include(&directive, directory, depth),
            "error" | "warning" => self.report_message(&name, token),
            "pragma" => self.process_pragma(token, &directive),
            "ident" | "line" | "!" => {}
            _ => self.report_unknown_directive(&name, &directive),
        }
    }

    /// Handles `#error` and `#warning`.
    fn report_message(&mut self, name: &str, token: &Token) {
        let line = self.text(token).trim_start_matches('#').trim();
        let message = line.get(name.len()..).unwrap_or_default().trim().to_owned();
        let message = if message.is_empty() { format!("#{name}") } else { message };
        let label = "reported by this directive";
        self.report(match name {
            "error" => Diagnostic::error(token.span.clone(), message, label),
            _ => Diagnostic::warning(token.span.clone(), message, label),
        });
    }

    fn process_pragma(&mut self, token: &Token, directive: &Directive) {
        if directive.tokens.first().is_some_and(|t| self.text(t) == "once") {
            self.once_files.insert(PathBuf::from(self.sources.file_of(&directive.span)));
            return;
        }
        self.output.tokens.push(token.clone());
    }

    fn report_unknown_directive(&mut self, name: &str, directive: &Directive) {
        let message = format!("`#{name}` is not a directive");
        let warning = Diagnostic::warning(directive.span.clone(), message, "ignored");
        self.report(match c_types::nearest(name, DIRECTIVES.iter().copied()) {
            Some(near) => warning.help(format!("did you mean `#{near}`?")),
            None => warning.help("write prose as a comment: `/* … */`"),
        });
    }

    /// Handles `#if`, `#ifdef` and `#ifndef`.
    fn open_condition(
        &mut self,
        name: &str,
        directive: &Directive,
        conditions: &mut Vec<Condition>,
    ) {
        let outer_active = conditions.last().is_none_or(|c| c.active);
        let active = outer_active
            && match name {
                "if" => self.evaluate_condition(directive),
                _ => match directive.tokens.first() {
                    Some(token) => self.macros.contains_key(self.text(token)) == (name == "ifdef"),
                    None => {
                        let message = format!("`#{name}` without a name");
                        self.error(&directive.span, message, "this line", "");
                        false
                    }
                },
            };
        conditions.push(Condition {
            span: directive.span.clone(),
            active,
            taken: active,
            outer_active,
            seen_else: false,
        });
    }

    /// Handles `#elif`, `#else` and `#endif`.
    fn continue_condition(
        &mut self,
        name: &str,
        directive: &Directive,
        conditions: &mut Vec<Condition>,
    ) {
        let Some(condition) = conditions.last_mut() else {
            let message = format!("`#{name}` without `#if`");
            let help = "remove the line, or open the condition with `#if`, `#ifdef` or `#ifndef`";
            return self.error(&directive.span, message, "no open condition", help);
        };
        if name == "endif" {
            conditions.pop();
            return;
        }
        if condition.seen_else {
            let message = format!("`#{name}` after `#else`");
            let opened = condition.span.clone();
            let error = Diagnostic::error(directive.span.clone(), message, "this line");
            self.report(error.related(opened, "in this condition"));
            return;
        }
        condition.seen_else = name == "else";
        let can_hold = condition.outer_active && !condition.taken;
        let active = can_hold && (name == "else" || self.evaluate_condition(directive));
        if let Some(condition) = conditions.last_mut() {
            condition.active = active;
            condition.taken |= active;
        }
    }

    /// Evaluates the condition of an `#if` or `#elif`. An invalid condition is reported and false.
    fn evaluate_condition(&mut self, directive: &Directive) -> bool {
        let mut tokens = Vec::new();
        let mut rest = directive.tokens.iter().peekable();
        // `defined` is replaced before macros are expanded, because expansion would replace its
        // operand.
        while let Some(token) = rest.next() {
            if self.text(token) != "defined" {
                tokens.push(token.clone());
                continue;
            }
            let open = rest.next_if(|t| t.kind == Kind::Punct('(')).is_some();
            let Some(operand) = rest.next_if(|t| t.kind == Kind::Word) else {
                let help = "write `defined(NAME)`";
                self.error(&token.span, "`defined` without a name", "here", help);
                return false;
            };
            if open && rest.next_if(|t| t.kind == Kind::Punct(')')).is_none() {
                self.error(&operand.span, "expected `)` after the name", "after this name", "");
                return false;
            }
            let value = if self.macros.contains_key(self.text(operand)) { "1" } else { "0" };
            let text = self.sources.scratch(value);
            let span = token.span.start..operand.span.end;
            tokens.push(Token { kind: Kind::Number, span, text });
        }
        let tokens = self.expand(tokens, 0);
        match constant::evaluate(self.sources, &tokens, &directive.span, &ConditionScope) {
            Ok(value) => value != 0,
            Err(error) => {
                let message = format!("cannot evaluate this condition: {}", error.reason);
                let help = "if this is prose, write it as a comment: `/* … */`";
                self.error(&error.span, message, "here", help);
                false
            }
        }
    }

    fn include(&mut self, directive: &Directive, directory: &Path, depth: usize) {
        if self.is_full || self.has_too_many_tokens {
            return;
        }
        let Some(header) = self.header_name(directive) else {
            let help = "write `#include \"FILE\"` or `#include <FILE>`";
            return self.error(&directive.span, "`#include` without a file", "this line", help);
        };
        if depth >= MAX_INCLUDE_DEPTH {
            let message = format!("includes are nested more than {MAX_INCLUDE_DEPTH} deep");
            let help = "does the file include itself?";
            return self.error(&directive.span, message, "at this include", help);
        }
        let own_directory = header.quoted.then(|| directory.to_owned());
        let search_path = own_directory.into_iter().chain(self.options.include_dirs.clone());
        let found =
            search_path.map(|directory| directory.join(&header.name)).find_map(|path| match (self
                .options
                .read_file)(
                &path
            ) {
                Ok(bytes) => Some(Ok((path, bytes))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(e) => Some(Err((path, e))),
            });
        match found {
            Some(Ok((path, _))) if self.once_files.contains(&path) => {}
            Some(Ok((path, bytes))) => {
                let Ok(content) = String::from_utf8(bytes) else {
                    let message = format!("{} is not a text file", Escaped::new(&path));
                    return self.error(&directive.span, message, "included here", "");
                };
                if self.sources.size().saturating_add(content.len()) > MAX_SOURCE_SIZE {
                    self.is_full = true;
                    let limit = MAX_SOURCE_SIZE >> 20;
                    let message = format!("the included files have more than {limit} MiB together");
                    let help = "does a file include others several times?";
                    return self.error(&directive.span, message, "at this include", help);
                }
                let span = self.sources.add(&Escaped::new(&path).to_string(), &content);
                self.process_file(&span, path.parent().unwrap_or(Path::new("")), depth + 1);
            }
            Some(Err((path, e))) => {
                let message = format!("cannot read {}: {e}", Escaped::new(&path));
                self.error(&directive.span, message, "included here", "");
            }
            None if BUILT_IN_HEADERS.contains(&header.name.as_str()) => {}
            None => {
                let message = format!("header `{}` not found", header.name);
                self.report(
                    Diagnostic::warning(directive.span.clone(), message, "ignored")
                        .help("if its types are needed, add its directory with -I"),
                );
                self.output.missing_headers.push(header.name);
            }
        }
    }

    /// Returns the file that an `#include` names. Macros are expanded if neither form is written
    /// out.
    fn header_name(&mut self, directive: &Directive) -> Option<HeaderName> {
        self.literal_header_name(&directive.tokens).or_else(|| {
            let tokens = self.expand(directive.tokens.clone(), 0);
            self.literal_header_name(&tokens)
        })
    }

    fn literal_header_name(&self, tokens: &[Token]) -> Option<HeaderName> {
        let first = tokens.first()?;
        let text = self.text(first);
        if first.kind == Kind::Quoted {
            let name = text.strip_prefix('"')?.strip_suffix('"')?;
            return (!name.is_empty()).then(|| HeaderName { name: name.to_owned(), quoted: true });
        }
        let close = tokens.iter().position(|t| t.kind == Kind::Punct('>'))?;
        let name = self.sources.text(&(first.text.end..tokens.get(close)?.text.start));
        (text == "<" && !name.is_empty())
            .then(|| HeaderName { name: name.to_owned(), quoted: false })
    }
}

/// The names in a condition. A name that is not a macro has the value 0.
struct ConditionScope;

impl Scope for ConditionScope {
    fn value_of(&self, _: &str) -> Option<i128> {
        Some(0)
    }
    fn size_of(&self, _: &[Token]) -> Option<i128> {
        None
    }
}
