//! The spaces between the tokens of a line.

use super::piece::Piece;
use crate::dlang::lexer::{Kind, OPERATORS};

/// Joins the tokens of a statement, or of a part of it, to one line.
pub(super) fn join(pieces: &[Piece<'_>]) -> String {
    let mut out = String::new();
    // In an expression a star multiplies; elsewhere it belongs to the name after it.
    let (mut brackets, mut after_assignment) = (0usize, false);
    for (at, piece) in pieces.iter().enumerate() {
        let before = |distance: usize| at.checked_sub(distance).and_then(|at| pieces.get(at));
        if let Some(last) = before(1) {
            let context = Context {
                before: before(2),
                last,
                after: pieces.get(at + 1),
                in_expression: brackets > 0 || after_assignment,
            };
            if context.wants_space(piece) || would_merge(last, piece) {
                out.push(' ');
            }
        }
        out.push_str(piece.text);
        match piece.text {
            "[" => brackets += 1,
            "]" => brackets = brackets.saturating_sub(1),
            "=" => after_assignment = true,
            "," => after_assignment = false,
            _ => {}
        }
    }
    out
}

/// Returns true if two tokens would become another token without a space between them.
fn would_merge(last: &Piece<'_>, next: &Piece<'_>) -> bool {
    let (Some(a), Some(b)) = (last.text.chars().next_back(), next.text.chars().next()) else {
        return false;
    };
    let is_word_character = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let pair = String::from_iter([a, b]);
    is_word_character(a) && is_word_character(b)
        || OPERATORS.contains(&pair.as_str())
        || ["//", "/*", ".."].contains(&pair.as_str())
}

/// The tokens around a possible space.
struct Context<'a> {
    /// The token before `last`.
    before: Option<&'a Piece<'a>>,
    /// The token before the space.
    last: &'a Piece<'a>,
    /// The token after the one that follows the space.
    after: Option<&'a Piece<'a>>,
    in_expression: bool,
}

impl Context<'_> {
    /// Returns true if a space belongs before `next`.
    fn wants_space(&self, next: &Piece<'_>) -> bool {
        let last = self.last;
        if next.kind == Kind::Comment || last.kind == Kind::Comment {
            return true;
        }
        match (last.text, next.text) {
            (_, "," | ";" | ")" | "]") | ("(" | "[", _) => false,
            ("," | "{", _) | (_, "{") => true,
            // `[]byte` of Go.
            ("const" | "volatile", "[") => true,
            ("]", "byte" | "uint8") => self.before.is_none_or(|b| b.text != "["),
            (_, "." | "->" | "[") | ("." | "->" | "~" | "!", _) => false,
            ("*", _) if !self.in_expression => false,
            (_, "*") if !self.in_expression => last.text != "*",
            ("-" | "+" | "&" | "*", _) if !is_operand(self.before) => false,
            // `int (*call)(int)`, but `probe name(int)`.
            (_, "(") => {
                let is_pointer = self.after.is_some_and(|b| b.text == "*");
                if last.kind == Kind::Word { is_pointer } else { !matches!(last.text, ")" | "]") }
            }
            // Punctuation that the language does not use keeps its spacing.
            (a, b) if is_unknown_punctuation(a) || is_unknown_punctuation(b) => {
                !next.between.is_empty()
            }
            _ => true,
        }
    }
}

fn is_unknown_punctuation(text: &str) -> bool {
    const KNOWN: [&str; 26] = [
        "=", ":", "?", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "&&", "||", "==", "!=",
        "<=", ">=", "<<", ">>", ")", "]", "}", "~", "!",
    ];
    text.chars().all(|c| c.is_ascii_punctuation() && c != '_') && !KNOWN.contains(&text)
}

fn is_operand(piece: Option<&Piece<'_>>) -> bool {
    piece.is_some_and(|p| {
        matches!(p.kind, Kind::Word | Kind::Number | Kind::Quoted) || matches!(p.text, ")" | "]")
    })
}
