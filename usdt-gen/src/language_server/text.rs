//! Positions in a document: the protocol counts lines and UTF-16 units, the parser bytes.

use lsp_types::{Position, Range};
use std::ops;

/// A document with the offsets of its lines. Lines end in `\n`, `\r\n` or `\r`.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Offsets at which the lines start. The first one is 0.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        let bytes = text.as_bytes();
        let ends_line = |at: usize, byte: u8| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        let ends = bytes.iter().enumerate().filter(|(at, byte)| ends_line(*at, **byte));
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    /// Returns the position of an offset. An offset after the end is taken for the end.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = (0..=offset.min(self.text.len()))
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0);
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        // An offset between `\r` and `\n` is the end of the line.
        let before = before.trim_end_matches('\r');
        Position::new(clamped(line), clamped(before.encode_utf16().count()))
    }

    /// Returns the range of a byte range.
    pub(super) fn range(&self, bytes: &ops::Range<usize>) -> Range {
        Range::new(self.position(bytes.start), self.position(bytes.end.max(bytes.start)))
    }

    /// Returns the offset of a position. A position after the end of its line is the end of the
    /// line, and one after the last line is the end of the document.
    pub(super) fn offset(&self, position: Position) -> usize {
        let line = position.line as usize;
        let Some(start) = self.starts.get(line) else { return self.text.len() };
        let end = self.starts.get(line.saturating_add(1)).copied().unwrap_or(self.text.len());
        let content = self.text.get(*start..end).unwrap_or_default().trim_end_matches(['\r', '\n']);
        let mut units = 0;
        for (at, c) in content.char_indices() {
            if units >= position.character as usize {
                return start + at;
            }
            units += c.len_utf16();
        }
        start + content.len()
    }
}

fn clamped(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_utf16_units() {
        let lines = Lines::new("a😀b\r\n\u{fc}\rc\n");
        for (offset, line, character) in [
            (0, 0, 0),
            (1, 0, 1),
            (5, 0, 3),
            (6, 0, 4),
            (8, 1, 0),
            (10, 1, 1),
            (11, 2, 0),
            (13, 3, 0),
        ] {
            assert_eq!(lines.position(offset), Position::new(line, character), "{offset}");
            assert_eq!(lines.offset(Position::new(line, character)), offset);
        }
        // Within a character, after the end of a line, and after the end of the document.
        assert_eq!(lines.position(3), Position::new(0, 1));
        assert_eq!(lines.offset(Position::new(0, 2)), 5);
        assert_eq!(lines.offset(Position::new(0, 99)), 6);
        assert_eq!(lines.offset(Position::new(9, 0)), 13);
        assert_eq!(lines.position(99), Position::new(3, 0));
    }

    proptest! {
        #[test]
        fn an_offset_survives_the_way_to_a_position_and_back(
            text in "[a\u{e4}\u{1f600}\r\n]{0,40}", at in 0usize..120
        ) {
            let lines = Lines::new(&text);
            let position = lines.position(at);
            let offset = lines.offset(position);
            prop_assert!(text.is_char_boundary(offset));
            prop_assert_eq!(lines.position(offset), position);
        }
    }
}
