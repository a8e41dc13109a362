//! Lines: indentation, blank lines, comments, parameters that do not fit one line.

use super::piece::{Piece, TAB, column, trimmed};
use super::spacing::join;
use crate::dlang::lexer::Kind;

/// Columns of a line that holds its parameters.
const WIDTH: usize = 120;

/// The new text, line by line.
#[derive(Default)]
pub(super) struct Writer {
    out: String,
    /// The last line opened a block, or nothing was written yet.
    fresh: bool,
}

impl Writer {
    pub(super) fn finish(mut self) -> String {
        self.out.push('\n');
        let length = trimmed(&self.out).len();
        self.out.truncate(length);
        if length > 0 {
            self.out.push('\n');
        }
        self.out
    }

    /// Begins a line, with the blank line that stood in front of it.
    fn begin(&mut self, piece: &Piece<'_>, depth: usize) {
        let opened = self.out.is_empty() || self.fresh;
        if piece.lines > 1 && !opened && piece.text != "}" {
            self.out.push('\n');
        }
        self.indent(depth * TAB);
    }

    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n('\t', columns / TAB));
        self.out.extend(std::iter::repeat_n(' ', columns % TAB));
    }

    fn end(&mut self, opened: bool) {
        let length = trimmed(&self.out).len();
        self.out.truncate(length);
        self.out.push('\n');
        self.fresh = opened;
    }

    /// A line as it was.
    pub(super) fn verbatim(&mut self, piece: &Piece<'_>, depth: usize) {
        self.begin(piece, depth);
        self.out.push_str(&lines(piece.text));
        self.end(false);
    }

    /// A comment on lines of its own.
    pub(super) fn comment(&mut self, piece: &Piece<'_>, depth: usize) {
        self.begin(piece, depth);
        self.text(piece, depth * TAB);
        self.end(false);
    }

    /// A comment behind what was written last.
    pub(super) fn behind(&mut self, piece: &Piece<'_>) {
        let opened = self.fresh;
        self.out.truncate(self.out.trim_end_matches('\n').len());
        self.out.push(' ');
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        let at = column(line);
        self.text(piece, at);
        self.end(opened);
    }

    /// A comment that begins at a column; its other lines move with its first.
    fn text(&mut self, piece: &Piece<'_>, at: usize) {
        let mut rest = piece.text.lines();
        self.out.push_str(trimmed(rest.next().unwrap_or_default()));
        for line in rest {
            self.out.push('\n');
            let content = trimmed(line.trim_start());
            if !content.is_empty() {
                let own =
                    column(line.get(..line.len() - line.trim_start().len()).unwrap_or_default());
                self.indent((own + at).saturating_sub(piece.column));
                self.out.push_str(content);
            }
        }
    }

    /// A statement as it was, from its first line's indentation on.
    pub(super) fn untouched(&mut self, pieces: &[Piece<'_>], depth: usize) {
        let Some(first) = pieces.first() else { return };
        self.begin(first, depth);
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                self.out.push_str(&lines(piece.between));
            }
            self.out.push_str(&lines(piece.text));
        }
        self.end(pieces.last().is_some_and(|p| p.text == "{"));
    }

    /// A statement, in one line or with a line for each parameter.
    pub(super) fn statement(&mut self, pieces: &[Piece<'_>], depth: usize) {
        let Some(first) = pieces.first() else { return };
        let opened = pieces.last().is_some_and(|p| p.text == "{");
        let commented = pieces.iter().any(|p| p.kind == Kind::Comment);
        let line = join(pieces);
        if !commented && depth * TAB + line.chars().count() <= WIDTH {
            self.begin(first, depth);
            self.out.push_str(&line);
            return self.end(opened);
        }
        match parameters(pieces) {
            Some(parts) => {
                self.begin(first, depth);
                self.wrapped(&parts, depth);
            }
            None if commented => return self.untouched(pieces, depth),
            None => {
                self.begin(first, depth);
                self.out.push_str(&line);
            }
        }
        self.end(opened);
    }

    fn wrapped(&mut self, parts: &Parts<'_>, depth: usize) {
        let inside = (depth + 1) * TAB;
        self.out.push_str(&join(parts.head));
        let texts: Vec<String> = parts.params.iter().map(|p| join(p.tokens)).collect();
        let noted = parts.params.iter().zip(&texts).filter(|(p, _)| !p.behind.is_empty());
        let widest = noted.map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        for (param, text) in parts.params.iter().zip(&texts) {
            for comment in param.above {
                self.end(false);
                self.indent(inside);
                self.text(comment, inside);
            }
            if !text.is_empty() {
                self.end(false);
                self.indent(inside);
                self.out.push_str(text);
            }
            let mut at = inside + text.chars().count();
            for (n, comment) in param.behind.iter().enumerate() {
                let pad = if n == 0 { widest + inside - at + 1 } else { 1 };
                self.out.extend(std::iter::repeat_n(' ', pad));
                self.text(comment, at + pad);
                at += pad + comment.text.chars().count();
            }
        }
        self.end(false);
        self.indent(depth * TAB);
        self.out.push_str(&join(parts.tail));
    }
}

/// Text with its lines' ends made plain.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// A statement with parameters: up to the parenthesis, each, and from the other parenthesis on.
struct Parts<'a> {
    head: &'a [Piece<'a>],
    params: Vec<Param<'a>>,
    tail: &'a [Piece<'a>],
}

/// A parameter with its comma, and the comments over it and behind it.
struct Param<'a> {
    above: &'a [Piece<'a>],
    tokens: &'a [Piece<'a>],
    behind: &'a [Piece<'a>],
}

/// `None` where comments stand in other places than these.
fn parameters<'a>(pieces: &'a [Piece<'a>]) -> Option<Parts<'a>> {
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
    let plain = |pieces: &[Piece<'_>]| pieces.iter().all(|p| p.kind != Kind::Comment);
    if !plain(head) || !plain(tail) {
        return None;
    }
    let inner = pieces.get(open + 1..close)?;
    let mut params = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        let comments = |from: usize, one: fn(&Piece<'_>) -> bool| {
            inner.iter().skip(from).take_while(|p| p.kind == Kind::Comment && one(p)).count()
        };
        let begin = at + comments(at, |_| true);
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
            // The last one has no comma in front of its comments.
            while end > begin && inner.get(end - 1).is_some_and(|p| p.kind == Kind::Comment) {
                end -= 1;
            }
        }
        let behind = match length {
            Some(_) => end + comments(end, |p| p.lines == 0),
            None => inner.len(),
        };
        if !plain(inner.get(begin..end)?) {
            return None;
        }
        params.push(Param {
            above: inner.get(at..begin)?,
            tokens: inner.get(begin..end)?,
            behind: inner.get(end..behind)?,
        });
        at = behind;
    }
    Some(Parts { head, params, tail })
}
