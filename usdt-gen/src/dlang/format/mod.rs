//! Formats a definition: tokens and comments stay the same, in the same order; only white space
//! changes.
//!
//! * Each brace indents by a tab, and each statement is on a line of its own.
//! * Parameters are on lines of their own if they have comments or do not fit on one line.
//! * There is at most one blank line between two lines.
//! * Directives, statements that contain a directive, and the `inline` and `translator`
//!   declarations of D are not formatted.

mod lines;
mod piece;
mod spacing;
#[cfg(test)]
mod tests;

use super::lexer::{self, Kind, Token};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::source::{Sources, Span};
use lines::Writer;
use piece::Piece;

/// Words that begin a statement, even if the previous statement has no semicolon.
const STATEMENT_KEYWORDS: [&str; 8] =
    ["probe", "provider", "typedef", "struct", "union", "enum", "inline", "translator"];

/// Formats a definition. `file` is the span that [`Sources::add`] returned for it.
///
/// # Errors
///
/// Returns a diagnostic if the file has unexpected characters, a comment or brace that is never
/// closed, or a closing brace without an opening one.
pub fn format(sources: &Sources, file: &Span) -> Result<String, Box<Diagnostic>> {
    let tokens = lexer::lex(sources, file);
    let mut depth = 0usize;
    for token in &tokens {
        let problem = match token.kind {
            Kind::Invalid if sources.text(&token.text).starts_with("/*") => {
                "this comment is never closed"
            }
            Kind::Invalid => "unexpected character",
            Kind::Rest => "more tokens than a definition can have",
            // At the beginning of a formatted line, `##` would become a directive.
            Kind::Operator if sources.text(&token.text) == "##" => "unexpected operator",
            Kind::Punct('{') => {
                depth += 1;
                continue;
            }
            Kind::Punct('}') if depth == 0 => "no open brace",
            Kind::Punct('}') => {
                depth -= 1;
                continue;
            }
            Kind::End if depth > 0 => "a brace is never closed",
            _ => continue,
        };
        return Err(Box::new(Diagnostic::error(
            token.span.clone(),
            "the file cannot be formatted",
            problem,
        )));
    }
    let out = Formatter::new(pieces(sources, &tokens)).run();
    if without_white_space(&out) != without_white_space(sources.text(file)) {
        let problem = "formatting would lose a backslash at the end of a line";
        return Err(Box::new(Diagnostic::error(
            file.clone(),
            "the file cannot be formatted",
            problem,
        )));
    }
    Ok(out)
}

/// Removes what can be between tokens: white space, line continuations and byte-order marks.
fn without_white_space(source: &str) -> String {
    // The last line can lack its line ending.
    let source = format!("{source}\n").replace("\\\r\n", "").replace("\\\n", "");
    source.chars().filter(|c| !c.is_whitespace() && *c != '\u{feff}').collect()
}

/// Returns the tokens with the white space before them.
fn pieces<'a>(sources: &'a Sources, tokens: &[Token]) -> Vec<Piece<'a>> {
    let mut end = None;
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens.iter().filter(|t| t.kind != Kind::End) {
        let between = end.map_or("", |end| sources.text(&(end..token.text.start)));
        let is_first = end.is_none();
        end = Some(token.text.end);
        out.push(Piece {
            kind: token.kind,
            text: piece::trimmed(sources.text(&token.text)),
            newlines: if is_first { 1 } else { between.matches('\n').count() },
            column: piece::column(sources.line_before(token.text.start)),
            between,
        });
    }
    out
}

/// The kind of an open block.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// An enum, whose values are separated by commas.
    Enum,
    /// A struct, union or provider, whose members end with semicolons.
    Other,
}

struct Formatter<'a> {
    pieces: Vec<Piece<'a>>,
    /// Index of the next piece.
    at: usize,
    writer: Writer,
    blocks: Vec<Block>,
}

impl<'a> Formatter<'a> {
    fn new(pieces: Vec<Piece<'a>>) -> Self {
        Formatter { pieces, at: 0, writer: Writer::default(), blocks: Vec::new() }
    }

    fn run(mut self) -> String {
        while let Some(piece) = self.pieces.get(self.at).copied() {
            match piece.kind {
                Kind::Directive => {
                    self.writer.verbatim(&piece, 0);
                    self.at += 1;
                }
                Kind::Comment => {
                    self.writer.comment(&piece, self.blocks.len());
                    self.at += 1;
                }
                _ => self.format_statement(),
            }
        }
        self.writer.finish()
    }

    fn format_statement(&mut self) {
        let start = self.at;
        let end = self.statement_end(start);
        let pieces: Vec<Piece<'a>> = self.pieces.get(start..end).unwrap_or_default().to_vec();
        self.at = end;
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
        let is_opaque = is_opaque_statement(first.text);
        if first.text == "}" {
            self.blocks.pop();
        }
        let depth = self.blocks.len();
        if is_opaque || pieces.iter().any(|p| p.kind == Kind::Directive) {
            self.writer.unformatted(&pieces, depth);
        } else {
            self.writer.statement(&pieces, depth);
        }
        if last.text == "{" && !is_opaque {
            let is_enum = pieces.iter().any(|p| p.text == "enum") && first.text != "provider";
            self.blocks.push(if is_enum { Block::Enum } else { Block::Other });
        }
        // Comments on the line of the statement's end belong to the statement.
        while let Some(piece) = self.pieces.get(self.at) {
            if piece.kind != Kind::Comment || piece.newlines > 0 {
                break;
            }
            self.writer.trailing_comment(piece);
            self.at += 1;
        }
    }

    /// Returns the end of the statement that begins at `start`.
    fn statement_end(&self, start: usize) -> usize {
        let text = |at: usize| self.pieces.get(at).map_or("", |p| p.text);
        let is_opaque = is_opaque_statement(text(start));
        let is_closing = text(start) == "}";
        let in_enum = self.blocks.last() == Some(&Block::Enum) && !is_closing;
        let (mut at, mut parens, mut braces) = (start, 0usize, 0usize);
        while let Some(piece) = self.pieces.get(at) {
            match piece.text {
                "(" | "[" => parens += 1,
                ")" | "]" => parens = parens.saturating_sub(1),
                "{" if is_opaque => braces += 1,
                "}" if is_opaque && braces > 0 => {
                    braces -= 1;
                    if braces == 0 && text(at + 1) != ";" {
                        return at + 1;
                    }
                }
                ";" if parens == 0 && braces == 0 => return at + 1,
                "{" => return at + 1,
                "," if in_enum && parens == 0 => return at + 1,
                // The end of the block also ends a statement without a semicolon.
                "}" if at > start && !is_opaque => return at,
                _ => {}
            }
            at += 1;
            let Some(next) = self.pieces.get(at) else { break };
            let is_after_brace = is_closing && at == start + 1;
            let begins_statement =
                next.kind == Kind::Word && STATEMENT_KEYWORDS.contains(&next.text);
            let lacks_semicolon = begins_statement && (piece.text == ")" || is_after_brace);
            if parens == 0 && braces == 0 && lacks_semicolon {
                return at;
            }
            // Comments and directives after a closing brace are not part of its statement.
            if is_after_brace && matches!(next.kind, Kind::Comment | Kind::Directive) {
                return at;
            }
        }
        at
    }
}

/// Returns true for the first word of a statement of D that is not formatted.
fn is_opaque_statement(first_word: &str) -> bool {
    matches!(first_word, "inline" | "translator")
}
