//! The input of the formatter: tokens and comments with the white space before them.

use crate::dlang::lexer::Kind;

/// Width of a tab in columns.
pub(super) const TAB_WIDTH: usize = 8;

/// A token or comment.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Number of line endings before it. The first piece of a file has 1.
    pub(super) newlines: usize,
    /// Column at which it began, from 0.
    pub(super) column: usize,
    /// White space between the previous piece and this one.
    pub(super) between: &'a str,
}

/// Returns the column after the given start of a line.
pub(super) fn column(line: &str) -> usize {
    line.chars().fold(0, |at, c| if c == '\t' { (at / TAB_WIDTH + 1) * TAB_WIDTH } else { at + 1 })
}

/// Removes white space from the end.
///
/// If a backslash comes before the white space, one white-space character is kept, because the
/// backslash would otherwise continue the line. A backslash that continues the last line is
/// removed.
pub(super) fn trimmed(text: &str) -> &str {
    let bare = text.trim_end();
    let rest = text.get(bare.len()..).unwrap_or_default();
    match (bare.strip_suffix('\\'), rest.chars().next()) {
        (Some(before), Some('\n' | '\r')) => trimmed(before),
        (Some(_), Some(c)) => text.get(..bare.len() + c.len_utf8()).unwrap_or(bare),
        _ => bare,
    }
}
