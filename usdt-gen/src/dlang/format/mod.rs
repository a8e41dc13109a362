//! The canonical form of a definition file: the same tokens and comments in the same order, with other white space.
//!
//! Tabs for each brace, a statement a line, parameters on lines of their own where they have comments or one line
//! does not hold them, one blank line at most. Preprocessor lines stay as they are; so do statements that have one inside, and D's
//! `inline` and `translator`, which this language only passes over.

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

/// Words that begin a statement, also behind one that has no end.
const BEGINNINGS: [&str; 8] =
    ["probe", "provider", "typedef", "struct", "union", "enum", "inline", "translator"];

/// Formats a definition that is among the sources. What cannot be split into tokens, or has braces without a
/// counterpart, is refused.
pub fn format(sources: &Sources, file: &Span) -> Result<String, Box<Diagnostic>> {
    let tokens = lexer::lex(sources, file);
    let mut depth = 0usize;
    for token in &tokens {
        let problem = match token.kind {
            Kind::Bad if sources.text(&token.text).starts_with("/*") => {
                "this comment is never closed"
            }
            Kind::Bad => "this means nothing here",
            // At the beginning of a line it would be the preprocessor's.
            Kind::Operator if sources.text(&token.text) == "##" => "this means nothing here",
            Kind::Punct('{') => {
                depth += 1;
                continue;
            }
            Kind::Punct('}') if depth == 0 => "nothing is open here",
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
    if bare(&out) != bare(sources.text(file)) {
        let problem = "a backslash at the end of a line would be lost";
        return Err(Box::new(Diagnostic::error(
            file.clone(),
            "the file cannot be formatted",
            problem,
        )));
    }
    Ok(out)
}

/// Without what stands between tokens: white space, continued lines, byte-order marks. A file's last line ends, too.
fn bare(text: &str) -> String {
    let text = format!("{text}\n").replace("\\\r\n", "").replace("\\\n", "");
    text.chars().filter(|c| !c.is_whitespace() && *c != '\u{feff}').collect()
}

/// Tokens with the line ends in front of them.
fn pieces<'a>(sources: &'a Sources, tokens: &[Token]) -> Vec<Piece<'a>> {
    let mut end = None;
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens.iter().filter(|t| t.kind != Kind::End) {
        let between = end.map_or("", |end| sources.text(&(end..token.text.start)));
        let first = end.is_none();
        end = Some(token.text.end);
        out.push(Piece {
            kind: token.kind,
            text: piece::trimmed(sources.text(&token.text)),
            lines: if first { 1 } else { between.matches('\n').count() },
            column: piece::column(sources.line_before(token.text.start)),
            between,
        });
    }
    out
}

/// What an open brace belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// Values, separated by commas.
    Enum,
    /// Members or probes, ended by semicolons.
    Other,
}

struct Formatter<'a> {
    pieces: Vec<Piece<'a>>,
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
                Kind::Control => {
                    self.writer.verbatim(&piece, 0);
                    self.at += 1;
                }
                Kind::Comment => {
                    self.writer.comment(&piece, self.blocks.len());
                    self.at += 1;
                }
                _ => self.statement(),
            }
        }
        self.writer.finish()
    }

    fn statement(&mut self) {
        let start = self.at;
        let end = self.end(start);
        let pieces: Vec<Piece<'a>> = self.pieces.get(start..end).unwrap_or_default().to_vec();
        self.at = end;
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
        let passed_over = matches!(first.text, "inline" | "translator");
        if first.text == "}" {
            self.blocks.pop();
        }
        let depth = self.blocks.len();
        if passed_over || pieces.iter().any(|p| p.kind == Kind::Control) {
            self.writer.untouched(&pieces, depth);
        } else {
            self.writer.statement(&pieces, depth);
        }
        if last.text == "{" && !passed_over {
            let is_enum = pieces.iter().any(|p| p.text == "enum") && first.text != "provider";
            self.blocks.push(if is_enum { Block::Enum } else { Block::Other });
        }
        // Behind the end, on its line, stands what is said about it.
        while let Some(piece) = self.pieces.get(self.at) {
            if piece.kind != Kind::Comment || piece.lines > 0 {
                break;
            }
            self.writer.behind(piece);
            self.at += 1;
        }
    }

    /// Where the statement ends that begins at `start`.
    fn end(&self, start: usize) -> usize {
        let text = |at: usize| self.pieces.get(at).map_or("", |p| p.text);
        let passed_over = matches!(text(start), "inline" | "translator");
        let closing = text(start) == "}";
        let values = self.blocks.last() == Some(&Block::Enum) && !closing;
        let (mut at, mut parens, mut braces) = (start, 0usize, 0usize);
        while let Some(piece) = self.pieces.get(at) {
            match piece.text {
                "(" | "[" => parens += 1,
                ")" | "]" => parens = parens.saturating_sub(1),
                "{" if passed_over => braces += 1,
                "}" if passed_over && braces > 0 => {
                    braces -= 1;
                    if braces == 0 && text(at + 1) != ";" {
                        return at + 1;
                    }
                }
                ";" if parens == 0 && braces == 0 => return at + 1,
                "{" => return at + 1,
                "," if values && parens == 0 => return at + 1,
                // A block that ends; what stands in front of it has no end of its own.
                "}" if at > start && !passed_over => return at,
                _ => {}
            }
            at += 1;
            let Some(next) = self.pieces.get(at) else { break };
            let begins = next.kind == Kind::Word && BEGINNINGS.contains(&next.text);
            let lax = piece.text == ")" || (closing && at == start + 1);
            if parens == 0 && braces == 0 && begins && lax {
                return at;
            }
            // Comments behind a block, and lines of the preprocessor, are no part of its end.
            let apart = matches!(next.kind, Kind::Comment | Kind::Control);
            if closing && at == start + 1 && apart {
                return at;
            }
        }
        at
    }
}
