//! Go comments from the documentation of a definition.

use std::fmt::Write as _;

/// Maximum length of a line of a wrapped paragraph, in bytes.
const WIDTH: usize = 100;

/// Writes documentation as Go comment lines. It escapes lines that the go command would take for a
/// build constraint.
pub(super) fn comment(out: &mut String, doc: &str) {
    for line in doc.lines() {
        // The old form of build constraints, `// +build`, may be indented.
        let escape = if line.trim_start().starts_with("+build") { "\\" } else { "" };
        let _ = writeln!(out, "//{}{escape}{line}", if line.is_empty() { "" } else { " " });
    }
}

/// Writes documentation as further paragraphs of a comment.
pub(super) fn paragraphs(out: &mut String, doc: &str) {
    if !doc.is_empty() {
        out.push_str("//\n");
        comment(out, doc);
    }
}

/// Writes a paragraph of a comment, wrapped at [`WIDTH`].
pub(super) fn wrapped(out: &mut String, paragraph: &str) {
    let mut line = String::from("//");
    for word in paragraph.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("//");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}
