//! What a definition is made of for the formatter: tokens and comments, with the white space before them.

use crate::dlang::lexer::Kind;

/// Columns of a tab.
pub(super) const TAB: usize = 8;

/// A token or comment.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Line ends in front of it.
    pub(super) lines: usize,
    /// Column that it began at.
    pub(super) column: usize,
    /// What stood between the one before and it.
    pub(super) between: &'a str,
}

/// The column behind a line's beginning.
pub(super) fn column(line: &str) -> usize {
    line.chars().fold(0, |at, c| if c == '\t' { (at / TAB + 1) * TAB } else { at + 1 })
}

/// Without white space at its end. A backslash there stays apart from the line's end, which it would swallow; one that has
/// swallowed it, with nothing behind, goes with it.
pub(super) fn trimmed(text: &str) -> &str {
    let bare = text.trim_end();
    let rest = text.get(bare.len()..).unwrap_or_default();
    match (bare.strip_suffix('\\'), rest.chars().next()) {
        (Some(before), Some('\n' | '\r')) => trimmed(before),
        (Some(_), Some(c)) => text.get(..bare.len() + c.len_utf8()).unwrap_or(bare),
        _ => bare,
    }
}
