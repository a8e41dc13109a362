//! Writes formatted lines: indentation, blank lines, comments, and parameters that do not fit on a
//! line.

use super::piece::{Piece, TAB_WIDTH, column, trimmed};
use super::spacing::join;
use crate::dlang::lexer::Kind;

/// The longest line in columns. A longer statement has one line per parameter.
const MAX_WIDTH: usize = 120;

/// The formatted definition, written line by line.
#[derive(Default)]
pub(super) struct Writer {
    out: String,
    /// True if the last line opened a block.
    at_block_start: bool,
}

impl Writer {
    /// Returns the formatted definition, which ends with a single line ending unless it is empty.
    pub(super) fn finish(mut self) -> String {
        self.out.push('\n');
        let length = trimmed(&self.out).len();
        self.out.truncate(length);
        if length > 0 {
            self.out.push('\n');
        }
        self.out
    }

    /// Begins a line. A blank line before it is kept, except at the start or end of a block.
    fn begin_line(&mut self, piece: &Piece<'_>, depth: usize) {
        let is_first = self.out.is_empty() || self.at_block_start;
        if piece.newlines > 1 && !is_first && piece.text != "}" {
            self.out.push('\n');
        }
        self.indent(depth * TAB_WIDTH);
    }

    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n('\t', columns / TAB_WIDTH));
        self.out.extend(std::iter::repeat_n(' ', columns % TAB_WIDTH));
    }

    /// Ends a line. `opens_block` is true if its last token is `{`.
    fn end_line(&mut self, opens_block: bool) {
        let length = trimmed(&self.out).len();
        self.out.truncate(length);
        self.out.push('\n');
        self.at_block_start = opens_block;
    }

    /// Writes a line without formatting it.
    pub(super) fn verbatim(&mut self, piece: &Piece<'_>, depth: usize) {
        self.begin_line(piece, depth);
        self.out.push_str(&normalize_newlines(piece.text));
        self.end_line(false);
    }

    /// Writes a comment on lines of its own.
    pub(super) fn comment(&mut self, piece: &Piece<'_>, depth: usize) {
        self.begin_line(piece, depth);
        self.comment_at(piece, depth * TAB_WIDTH);
        self.end_line(false);
    }

    /// Writes a comment at the end of the last line.
    pub(super) fn trailing_comment(&mut self, piece: &Piece<'_>) {
        let opens_block = self.at_block_start;
        self.out.truncate(self.out.trim_end_matches('\n').len());
        self.out.push(' ');
        self.comment_at(piece, self.current_column());
        self.end_line(opens_block);
    }

    /// Returns the column at the end of the output.
    fn current_column(&self) -> usize {
        column(self.out.rsplit('\n').next().unwrap_or_default())
    }

    /// Writes a comment that begins at a column. Its other lines move by as much as its first line.
    fn comment_at(&mut self, piece: &Piece<'_>, at: usize) {
        let mut rest = piece.text.lines();
        self.out.push_str(trimmed(rest.next().unwrap_or_default()));
        for line in rest {
            self.out.push('\n');
            let content = trimmed(line.trim_start());
            if !content.is_empty() {
                let indentation =
                    column(line.get(..line.len() - line.trim_start().len()).unwrap_or_default());
                self.indent((indentation + at).saturating_sub(piece.column));
                self.out.push_str(content);
            }
        }
    }

    /// Writes a statement without formatting it, except for the indentation of its first line.
    pub(super) fn unformatted(&mut self, pieces: &[Piece<'_>], depth: usize) {
        let Some(first) = pieces.first() else { return };
        self.begin_line(first, depth);
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                self.out.push_str(&normalize_newlines(piece.between));
            }
            self.out.push_str(&normalize_newlines(piece.text));
        }
        self.end_line(pieces.last().is_some_and(|p| p.text == "{"));
    }

    /// Writes a statement on one line, or with one line per parameter.
    pub(super) fn statement(&mut self, pieces: &[Piece<'_>], depth: usize) {
        let Some(first) = pieces.first() else { return };
        let opens_block = pieces.last().is_some_and(|p| p.text == "{");
        let has_comments = pieces.iter().any(|p| p.kind == Kind::Comment);
        let line = join(pieces);
        if !has_comments && depth * TAB_WIDTH + line.chars().count() <= MAX_WIDTH {
            self.begin_line(first, depth);
            self.out.push_str(&line);
            return self.end_line(opens_block);
        }
        match split_parameters(pieces) {
            Some(parts) => {
                self.begin_line(first, depth);
                self.wrapped(&parts, depth);
            }
            None if has_comments => return self.unformatted(pieces, depth),
            None => {
                self.begin_line(first, depth);
                self.out.push_str(&line);
            }
        }
        self.end_line(opens_block);
    }

    /// Writes a statement with one line per parameter. Trailing comments are aligned.
    fn wrapped(&mut self, parts: &Parts<'_>, depth: usize) {
        let inside = (depth + 1) * TAB_WIDTH;
        self.out.push_str(&join(parts.head));
        let declarations: Vec<String> = parts.params.iter().map(|p| join(p.tokens)).collect();
        let params = || parts.params.iter().zip(&declarations);
        let widest = params()
            .filter(|(param, _)| !param.trailing.is_empty())
            .map(|(_, declaration)| declaration.chars().count())
            .max()
            .unwrap_or(0);
        for (param, declaration) in params() {
            for comment in param.leading {
                self.end_line(false);
                self.indent(inside);
                self.comment_at(comment, inside);
            }
            if !declaration.is_empty() {
                self.end_line(false);
                self.indent(inside);
                self.out.push_str(declaration);
            }
            let mut before: Option<&Piece<'_>> = None;
            for comment in param.trailing {
                match before {
                    // It would become a part of the comment before.
                    Some(before) if before.text.starts_with("//") => {
                        self.end_line(false);
                        self.indent(inside);
                    }
                    // The comment before can have several lines.
                    Some(_) => self.out.push(' '),
                    None => {
                        let pad = widest - declaration.chars().count() + 1;
                        self.out.extend(std::iter::repeat_n(' ', pad));
                    }
                }
                self.comment_at(comment, self.current_column());
                before = Some(comment);
            }
        }
        self.end_line(false);
        self.indent(depth * TAB_WIDTH);
        self.out.push_str(&join(parts.tail));
    }
}

/// Replaces line endings of Windows. Several carriage returns before a line feed stay, because removing
/// one would leave another line ending of Windows.
fn normalize_newlines(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        match line.strip_suffix("\r\n").filter(|before| !before.ends_with('\r')) {
            Some(before) => {
                out.push_str(before);
                out.push('\n');
            }
            None => out.push_str(line),
        }
    }
    out
}

/// A statement, split at its parameters.
struct Parts<'a> {
    /// Up to and including the opening parenthesis.
    head: &'a [Piece<'a>],
    params: Vec<Param<'a>>,
    /// From the closing parenthesis on.
    tail: &'a [Piece<'a>],
}

/// A parameter with its comments.
struct Param<'a> {
    /// Comments before the parameter.
    leading: &'a [Piece<'a>],
    /// Tokens of the parameter, including its comma.
    tokens: &'a [Piece<'a>],
    /// Comments after the comma on the same line.
    trailing: &'a [Piece<'a>],
}

/// Splits a statement at its parameters. `None` if it has none, or has comments at other positions
/// than before and after parameters.
fn split_parameters<'a>(pieces: &'a [Piece<'a>]) -> Option<Parts<'a>> {
    let open = pieces.iter().position(|p| p.text == "(")?;
    let mut depth = 0usize;
    let close = pieces.iter().skip(open).position(|p| {
        match p.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0
    })? + open;
    let (head, tail) = (pieces.get(..=open)?, pieces.get(close..)?);
    if has_comment(head) || has_comment(tail) {
        return None;
    }
    let inner = pieces.get(open + 1..close)?;
    let mut params = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        let begin = at + count_comments(inner, at, |_| true);
        let mut depth = 0usize;
        let length = inner.iter().skip(begin).position(|p| {
            match p.text {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && p.text == ","
        });
        let mut end = length.map_or(inner.len(), |n| begin + n + 1);
        if length.is_none() {
            // The last parameter has no comma, so its trailing comments are searched from the end.
            while end > begin && inner.get(end - 1).is_some_and(|p| p.kind == Kind::Comment) {
                end -= 1;
            }
        }
        let next = match length {
            Some(_) => end + count_comments(inner, end, |p| p.newlines == 0),
            None => inner.len(),
        };
        if has_comment(inner.get(begin..end)?) {
            return None;
        }
        params.push(Param {
            leading: inner.get(at..begin)?,
            tokens: inner.get(begin..end)?,
            trailing: inner.get(end..next)?,
        });
        at = next;
    }
    Some(Parts { head, params, tail })
}

fn has_comment(pieces: &[Piece<'_>]) -> bool {
    pieces.iter().any(|p| p.kind == Kind::Comment)
}

/// Returns the number of comments from `start` on, up to the first piece that is another token or
/// does not satisfy `pred`.
fn count_comments(pieces: &[Piece<'_>], start: usize, pred: fn(&Piece<'_>) -> bool) -> usize {
    pieces.iter().skip(start).take_while(|p| p.kind == Kind::Comment && pred(p)).count()
}
