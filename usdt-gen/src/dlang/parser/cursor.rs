//! The parser's position in the tokens, and the operations that every part of the grammar uses.

use crate::dlang::ast::{Constant, File, Keyword, Name};
use crate::dlang::diagnostic::{Diagnostic, Diagnostics};
use crate::dlang::lexer::{Kind, Token};
use crate::dlang::preprocess::Output;
use crate::dlang::source::{Sources, Span};
use std::collections::{HashMap, HashSet};

/// The deepest nesting of struct bodies, and of parentheses in declarators.
const MAX_DEPTH: usize = 48;

/// The error of a construct that cannot be parsed. The diagnostic is already reported.
pub(super) struct Failed;

pub(super) type ParseResult<T> = Result<T, Failed>;

/// A position in the tokens, and what has been parsed so far.
pub(super) struct Parser<'a> {
    pub(super) sources: &'a Sources,
    pub(super) tokens: &'a [Token],
    /// Index of the next token.
    pub(super) at: usize,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) file: File,
    /// Index of each named tag in [`File::tags`].
    pub(super) tag_names: HashMap<(Keyword, String), usize>,
    /// Comments inside the current declaration that were skipped.
    pub(super) skipped_comments: Vec<Span>,
    /// Nesting of the current construct.
    depth: usize,
    /// True if a compiler attribute that changes layouts was skipped.
    pub(super) seen_layout_attribute: bool,
    /// Names of the typedefs so far.
    pub(super) typedef_names: HashSet<String>,
    /// True if the source ends with a comment that is never closed.
    truncated: bool,
}

const END: Token = Token { kind: Kind::End, span: 0..0, text: 0..0 };

impl<'a> Parser<'a> {
    pub(super) fn new(
        sources: &'a Sources,
        input: &'a Output,
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Parser {
            sources,
            tokens: &input.tokens,
            at: 0,
            diagnostics,
            file: File::default(),
            tag_names: HashMap::new(),
            skipped_comments: Vec::new(),
            depth: 0,
            seen_layout_attribute: false,
            typedef_names: HashSet::new(),
            truncated: input.truncated,
        }
    }

    /// Returns the next token, which can be a comment.
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).or(self.tokens.last()).unwrap_or(&END)
    }

    /// Returns the characters of a token.
    pub(super) fn text(&self, token: &Token) -> &str {
        self.sources.text(&token.text)
    }

    /// Skips comments and returns the characters of the next token.
    pub(super) fn word(&mut self) -> &str {
        self.skip_comments();
        self.text(self.peek())
    }

    pub(super) fn skip_comments(&mut self) {
        while self.peek().kind == Kind::Comment {
            let span = self.peek().span.clone();
            self.skipped_comments.push(span);
            self.at += 1;
        }
    }

    /// Skips comments, and consumes and returns the next token.
    pub(super) fn bump(&mut self) -> Token {
        self.skip_comments();
        let token = self.peek().clone();
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    pub(super) fn is_punct(&mut self, c: char) -> bool {
        self.skip_comments();
        self.peek().kind == Kind::Punct(c)
    }

    /// Consumes a punctuation character if it is the next token.
    pub(super) fn eat(&mut self, c: char) -> bool {
        let found = self.is_punct(c);
        if found {
            self.at += 1;
        }
        found
    }

    /// Returns the last consumed token that is not a comment.
    pub(super) fn previous(&self) -> Option<&Token> {
        self.tokens.get(..self.at)?.iter().rev().find(|t| t.kind != Kind::Comment)
    }

    /// Returns the span from an offset to the end of the last consumed token.
    pub(super) fn extent(&self, start: usize) -> Span {
        start..self.previous().map_or(start, |t| t.span.end.max(start))
    }

    /// Reports a diagnostic, except at the end of a truncated source. There the rest is missing
    /// because of a comment that is never closed, which the preprocessor has reported.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if !(self.truncated && self.peek().kind == Kind::End) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Reports a diagnostic and returns the error.
    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> ParseResult<T> {
        self.report(diagnostic);
        Err(Failed)
    }

    /// Fails with "expected X, found Y" at the next token. An empty `help` means that there is no
    /// hint.
    pub(super) fn expected<T>(&mut self, what: &str, help: &str) -> ParseResult<T> {
        self.skip_comments();
        let token = self.peek().clone();
        let found = self.describe(&token);
        let mut diagnostic = Diagnostic::error(
            token.span,
            format!("expected {what}, found {found}"),
            format!("expected {what}"),
        );
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        self.fail(diagnostic)
    }

    /// Returns a token as messages show it.
    pub(super) fn describe(&self, token: &Token) -> String {
        match token.kind {
            Kind::End => "the end of the file".to_owned(),
            Kind::Directive => "a directive".to_owned(),
            _ => format!("`{}`", self.text(token)),
        }
    }

    /// Returns the diagnostic for a missing character. It points to the end of the previous token.
    pub(super) fn missing(&mut self, c: char, after: &str) -> Diagnostic {
        self.skip_comments();
        let token = self.peek().clone();
        let end = self.previous().map_or(0, |t| t.span.end);
        let found = self.describe(&token);
        Diagnostic::error(
            end..end,
            format!("expected `{c}` after {after}, found {found}"),
            format!("add `{c}` here"),
        )
    }

    pub(super) fn expect(&mut self, c: char, after: &str) -> ParseResult<()> {
        if self.eat(c) {
            return Ok(());
        }
        let diagnostic = self.missing(c, after);
        self.fail(diagnostic)
    }

    pub(super) fn parse_name(&mut self, what: &str) -> ParseResult<Name> {
        self.skip_comments();
        if self.peek().kind != Kind::Word {
            return self.expected(what, "");
        }
        let token = self.bump();
        Ok(Name { text: self.text(&token).to_owned(), span: token.span })
    }

    /// Parses a nested construct. Fails if the nesting is too deep.
    pub(super) fn nested<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> ParseResult<T>,
    ) -> ParseResult<T> {
        if self.depth >= MAX_DEPTH {
            let span = self.peek().span.clone();
            let message = format!("declarations are nested more than {MAX_DEPTH} deep");
            return self.fail(Diagnostic::error(span, message, "at this point"));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// Consumes a constant expression up to one of the characters in `stops`.
    pub(super) fn parse_constant(&mut self, stops: &str) -> Constant {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            self.skip_comments();
            match self.peek().kind {
                Kind::End => break,
                Kind::Punct(c) if depth == 0 && stops.contains(c) => break,
                Kind::Punct('(') => depth += 1,
                Kind::Punct(')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        let next = self.peek().span.clone();
        let tokens: Vec<Token> = self.tokens.get(start..self.at).unwrap_or_default().to_vec();
        let tokens: Vec<Token> = tokens.into_iter().filter(|t| t.kind != Kind::Comment).collect();
        let span = match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => first.span.start..last.span.end.max(first.span.start),
            _ => next.start..next.start,
        };
        let text = self.join(&tokens);
        Constant { span, tokens, text }
    }

    /// Joins tokens, with spaces only between words.
    pub(super) fn join(&self, tokens: &[Token]) -> String {
        let mut out = String::new();
        for token in tokens.iter().filter(|t| t.kind != Kind::Comment) {
            let text = self.text(token);
            let ends_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ',';
            let starts_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*';
            if out.ends_with(ends_word) && text.starts_with(starts_word) {
                out.push(' ');
            }
            out.push_str(text);
        }
        out
    }

    /// Skips to after the next `;` outside braces, or after the closing brace of the declaration.
    pub(super) fn skip_statement(&mut self) {
        let mut depth = 0usize;
        loop {
            let token = self.bump();
            match token.kind {
                Kind::End => return,
                Kind::Punct('{') => depth += 1,
                Kind::Punct('}') if depth <= 1 => {
                    self.eat(';');
                    return;
                }
                Kind::Punct('}') => depth -= 1,
                Kind::Punct(';') if depth == 0 => return,
                // A provider always begins a new declaration.
                Kind::Word if depth == 0 && self.text(&token) == "provider" => {
                    self.at -= 1;
                    return;
                }
                _ => {}
            }
        }
    }

    /// Skips from an opening bracket to after the matching closing bracket.
    pub(super) fn skip_brackets(&mut self) -> ParseResult<()> {
        let open = self.peek().clone();
        let mut depth = 0usize;
        loop {
            match self.bump().kind {
                Kind::Punct('{' | '(' | '[') => depth += 1,
                Kind::Punct('}' | ')' | ']') if depth == 1 => return Ok(()),
                Kind::Punct('}' | ')' | ']') => depth -= 1,
                Kind::End => {
                    let message = format!("{} is never closed", self.describe(&open));
                    return self.fail(Diagnostic::error(open.span, message, "opened here"));
                }
                _ => {}
            }
        }
    }
}
