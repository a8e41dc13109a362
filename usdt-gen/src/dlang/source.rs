//! The source files of one run: the definition and the files that it includes.
//!
//! [`Sources`] keeps the content of all files in one string. A byte range of that string therefore
//! identifies a position in any of the files.

use std::ops::Range;

/// A byte range over the concatenated content of all files.
pub type Span = Range<usize>;

/// The files of one run, with everything that messages need to show a position.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    content: String,
    files: Vec<SourceFile>,
}

#[derive(Clone, Debug)]
struct SourceFile {
    name: String,
    span: Span,
}

/// A position in a file, as messages show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location<'a> {
    /// Name of the file, as passed to [`Sources::add`].
    pub(crate) file: &'a str,
    /// Whole content of the file.
    pub(crate) content: &'a str,
    /// Start of the byte range in `content`.
    pub(crate) start: usize,
    /// End of the byte range in `content`.
    pub(crate) end: usize,
}

impl Sources {
    /// Adds a file and returns the span of its content. `name` is the file's name in messages.
    pub fn add(&mut self, name: &str, content: &str) -> Span {
        let span = self.push(content);
        self.files.push(SourceFile { name: name.to_owned(), span: span.clone() });
        // The next file begins on a line of its own.
        self.content.push('\n');
        span
    }

    /// Adds tokens that belong to no file, because a macro produced them.
    pub(crate) fn scratch(&mut self, tokens: &str) -> Span {
        let span = self.push(tokens);
        self.content.push('\n');
        span
    }

    fn push(&mut self, content: &str) -> Span {
        let start = self.content.len();
        self.content.push_str(content);
        start..self.content.len()
    }

    /// Returns the size of all files in bytes.
    pub(crate) fn size(&self) -> usize {
        self.content.len()
    }

    /// Returns the source at a span. Invalid spans give an empty string.
    pub(crate) fn text(&self, span: &Span) -> &str {
        self.content.get(span.clone()).unwrap_or_default()
    }

    /// Returns the part of the line before `offset`.
    pub(crate) fn line_before(&self, offset: usize) -> &str {
        let before = self.content.get(..offset).unwrap_or_default();
        before.rsplit('\n').next().unwrap_or_default()
    }

    /// Returns the position of a span in its file. A span outside all files is located in the first
    /// file; `None` means that there are no files.
    pub(crate) fn locate(&self, span: &Span) -> Option<Location<'_>> {
        let file = self
            .files
            .iter()
            .find(|f| f.span.start <= span.start && span.start <= f.span.end)
            .or(self.files.first())?;
        let content = self.text(&file.span);
        let offset_in_file = |at: usize| at.saturating_sub(file.span.start).min(content.len());
        Some(Location {
            file: &file.name,
            content,
            start: offset_in_file(span.start),
            end: offset_in_file(span.end),
        })
    }

    /// Returns true if a span is in the first file, which is the definition that the user named.
    pub(crate) fn in_main(&self, span: &Span) -> bool {
        self.files.first().is_some_and(|f| f.span.start <= span.start && span.start <= f.span.end)
    }

    /// Returns the name of the file that contains a span.
    pub(crate) fn file_of(&self, span: &Span) -> &str {
        self.locate(span).map_or("", |location| location.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locates_spans_in_their_file() {
        let mut sources = Sources::default();
        let main = sources.add("a.d", "one\ntwo");
        let other = sources.add("b.h", "three");
        let scratch = sources.scratch("pasted");
        assert_eq!((sources.text(&main), sources.text(&other)), ("one\ntwo", "three"));
        assert_eq!(sources.text(&scratch), "pasted");
        let location = sources.locate(&(other.start + 1..other.end)).unwrap();
        assert_eq!((location.file, location.start, location.end), ("b.h", 1, 5));
        assert!(sources.in_main(&(4..7)) && !sources.in_main(&other));
        assert_eq!(sources.line_before(6), "tw");
        assert_eq!(sources.locate(&scratch).unwrap().file, "a.d");
    }
}
