//! Formatting, as `usdt-gen fmt` does it.

use super::document::Document;
use super::text::Lines;
use crate::dlang::{self, Diagnostic};
use lsp_types::TextEdit;

/// Returns the edits that format a document: none if it is formatted, or if its diagnostics already
/// say why it cannot be. The error is a message for the user.
pub(super) fn edits(document: &Document) -> Result<Vec<TextEdit>, String> {
    let old: &str = &document.text;
    match dlang::format(&document.analysis.sources, &document.analysis.main) {
        Ok(new) => Ok(edit(old, &new).into_iter().collect()),
        Err(_) if document.analysis.diagnostics.iter().any(Diagnostic::is_error) => Ok(Vec::new()),
        Err(problem) => Err(format!("{}: {}", problem.message, problem.label)),
    }
}

/// Returns the edit that replaces the lines that differ, so the cursor stays in place in the others.
fn edit(old: &str, new: &str) -> Option<TextEdit> {
    if old == new {
        return None;
    }
    let (old_lines, new_lines) = (lines(old), lines(new));
    let pairs = old_lines.iter().zip(&new_lines);
    let before = pairs.take_while(|(a, b)| a == b).count();
    let shorter = old_lines.len().min(new_lines.len());
    let pairs = old_lines.iter().rev().zip(new_lines.iter().rev());
    let after = pairs.take_while(|(a, b)| a == b).count().min(shorter - before);
    let length = |lines: &[&str]| lines.iter().map(|line| line.len()).sum::<usize>();
    let start = length(old_lines.get(..before).unwrap_or_default());
    let end = length(old_lines.get(..old_lines.len() - after).unwrap_or_default());
    let changed = new_lines.get(before..new_lines.len() - after).unwrap_or_default();
    Some(TextEdit { range: Lines::new(old).range(&(start..end)), new_text: changed.concat() })
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language_server::document::edited;
    use lsp_types::TextDocumentContentChangeEvent;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_edit_gives_the_formatted_document(old in "[ab\n]{0,20}", new in "[ab\n]{0,20}") {
            let applied = edit(&old, &new).map_or(Some(old.clone()), |edit| {
                edited(&old, &TextDocumentContentChangeEvent {
                    range: Some(edit.range),
                    range_length: None,
                    text: edit.new_text,
                })
            });
            prop_assert_eq!(applied, Some(new));
        }
    }
}
