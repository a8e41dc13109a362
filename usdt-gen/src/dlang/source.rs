//! Source texts of one run: the definition file and what it includes.
//!
//! All texts stand behind each other in one string, so that a byte range names a place in any of them.

use std::ops::Range;

/// Byte range over all texts.
pub type Span = Range<usize>;

/// The texts.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    text: String,
    files: Vec<SourceFile>,
}

#[derive(Clone, Debug)]
struct SourceFile {
    name: String,
    span: Span,
}

/// A place as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file's name as it was given.
    pub file: &'a str,
    /// The file's whole text.
    pub text: &'a str,
    /// Byte range in `text`.
    pub start: usize,
    /// Its end.
    pub end: usize,
}

impl Sources {
    /// Adds a file; its text is at the returned span.
    pub fn add(&mut self, name: &str, text: &str) -> Span {
        let span = self.push(text);
        self.files.push(SourceFile { name: name.to_owned(), span: span.clone() });
        // Whatever comes next begins a line.
        self.text.push('\n');
        span
    }

    /// Adds text that belongs to no file: what macros put together.
    pub(crate) fn scratch(&mut self, text: &str) -> Span {
        let span = self.push(text);
        self.text.push('\n');
        span
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The text at a span; empty for spans that are none.
    pub fn text(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The line's text before a position.
    pub(crate) fn line_before(&self, at: usize) -> &str {
        let before = self.text.get(..at).unwrap_or_default();
        before.rsplit('\n').next().unwrap_or_default()
    }

    /// The file a span is in, and where; the first file where it is in none.
    pub fn locate(&self, span: &Span) -> Option<Place<'_>> {
        let holds = |f: &&SourceFile| f.span.start <= span.start && span.start <= f.span.end;
        let file = self.files.iter().find(holds).or(self.files.first())?;
        let text = self.text(&file.span);
        let local = |at: usize| at.saturating_sub(file.span.start).min(text.len());
        Some(Place { file: &file.name, text, start: local(span.start), end: local(span.end) })
    }

    /// Whether a span is in the first file, the one the user named.
    pub(crate) fn in_main(&self, span: &Span) -> bool {
        self.files.first().is_some_and(|f| f.span.start <= span.start && span.start <= f.span.end)
    }

    /// The name of the file that a span is in.
    pub(crate) fn file_of(&self, span: &Span) -> &str {
        self.locate(span).map_or("", |p| p.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_find_their_file() {
        let mut sources = Sources::default();
        let main = sources.add("a.d", "one\ntwo");
        let other = sources.add("b.h", "three");
        let scratch = sources.scratch("pasted");
        assert_eq!((sources.text(&main), sources.text(&other)), ("one\ntwo", "three"));
        assert_eq!(sources.text(&scratch), "pasted");
        let place = sources.locate(&(other.start + 1..other.end)).unwrap();
        assert_eq!((place.file, place.start, place.end), ("b.h", 1, 5));
        assert!(sources.in_main(&(4..7)) && !sources.in_main(&other));
        assert_eq!(sources.line_before(6), "tw");
        assert_eq!(sources.locate(&scratch).unwrap().file, "a.d");
    }
}
