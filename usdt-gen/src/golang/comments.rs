//! Go comments from the words of a definition.

use std::fmt::Write as _;

/// Longest line of a wrapped paragraph.
const WIDTH: usize = 110;

/// Words from a definition as Go comment lines. A line that would be a compiler directive loses that meaning.
pub(super) fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        // Older constraints may be indented.
        let quote = if line.trim_start().starts_with("+build") { "\\" } else { "" };
        let _ = writeln!(out, "//{}{quote}{line}", if line.is_empty() { "" } else { " " });
    }
}

/// Documentation as further paragraphs of a comment.
pub(super) fn paragraphs(out: &mut String, doc: &str) {
    if !doc.is_empty() {
        out.push_str("//\n");
        comment(out, doc);
    }
}

/// A paragraph of a comment, in lines that fit an editor.
pub(super) fn wrapped(out: &mut String, text: &str) {
    let mut line = String::from("//");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("//");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}
