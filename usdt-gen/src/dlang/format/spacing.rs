//! What stands between the tokens of a line.

use super::piece::Piece;
use crate::dlang::lexer::{Kind, OPERATORS};

/// The tokens of a part of a statement in one line.
pub(super) fn join(pieces: &[Piece<'_>]) -> String {
    let mut out = String::new();
    // In expressions a star multiplies; elsewhere it belongs to the name behind it.
    let (mut brackets, mut assigned) = (0usize, false);
    for (at, piece) in pieces.iter().enumerate() {
        let before = |distance: usize| at.checked_sub(distance).and_then(|at| pieces.get(at));
        if let Some(last) = before(1) {
            let context = Context {
                before: before(2),
                last,
                behind: pieces.get(at + 1),
                expression: brackets > 0 || assigned,
            };
            if context.blank(piece) || glued(last, piece) {
                out.push(' ');
            }
        }
        out.push_str(piece.text);
        match piece.text {
            "[" => brackets += 1,
            "]" => brackets = brackets.saturating_sub(1),
            "=" => assigned = true,
            "," => assigned = false,
            _ => {}
        }
    }
    out
}

/// Whether two tokens would be one without a blank between them.
fn glued(last: &Piece<'_>, next: &Piece<'_>) -> bool {
    let (Some(a), Some(b)) = (last.text.chars().next_back(), next.text.chars().next()) else {
        return false;
    };
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let pair = String::from_iter([a, b]);
    in_word(a) && in_word(b)
        || OPERATORS.contains(&pair.as_str())
        || ["//", "/*", ".."].contains(&pair.as_str())
}

struct Context<'a> {
    before: Option<&'a Piece<'a>>,
    last: &'a Piece<'a>,
    behind: Option<&'a Piece<'a>>,
    expression: bool,
}

impl Context<'_> {
    /// Whether a blank stands in front of `next`.
    fn blank(&self, next: &Piece<'_>) -> bool {
        let last = self.last;
        if next.kind == Kind::Comment || last.kind == Kind::Comment {
            return true;
        }
        let word = last.kind == Kind::Word;
        match (last.text, next.text) {
            (_, "," | ";" | ")" | "]") | ("(" | "[", _) => false,
            ("," | "{", _) | (_, "{") => true,
            (_, "." | "->" | "[") | ("." | "->" | "~" | "!", _) => false,
            ("*", _) if !self.expression => false,
            (_, "*") if !self.expression => last.text != "*",
            ("-" | "+" | "&" | "*", _) if !operand(self.before) => false,
            // `int (*call)(int)`, but `probe name(int)`.
            (_, "(") => {
                let pointer = self.behind.is_some_and(|b| b.text == "*");
                if word { pointer } else { !matches!(last.text, ")" | "]") }
            }
            // What has no meaning in this language keeps its distance.
            (a, b) if odd(a) || odd(b) => !next.between.is_empty(),
            _ => true,
        }
    }
}

fn odd(text: &str) -> bool {
    const KNOWN: [&str; 26] = [
        "=", ":", "?", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "&&", "||", "==", "!=",
        "<=", ">=", "<<", ">>", ")", "]", "}", "~", "!",
    ];
    text.chars().all(|c| c.is_ascii_punctuation() && c != '_') && !KNOWN.contains(&text)
}

fn operand(piece: Option<&Piece<'_>>) -> bool {
    piece.is_some_and(|p| {
        matches!(p.kind, Kind::Word | Kind::Number | Kind::Quoted) || matches!(p.text, ")" | "]")
    })
}
