//! Go comments from the documentation of a definition.
//!
//! gofmt rewrites doc comments: it turns a lone line that looks like a title into a heading, moves
//! link definitions to the end, and replaces quotes of the form ``` ``x'' ```. Generated files must
//! not change under gofmt, so the text written here is one that gofmt keeps. The rules are those of
//! Go's package `go/doc/comment`, for text without indented lines.

use std::fmt::Write as _;

/// Maximum length of a line of a wrapped paragraph, in bytes.
const WIDTH: usize = 100;
/// Characters that do not occur in a title, for gofmt.
const NOT_IN_TITLE: &str = ";:!?+*/=[]{}_^°&§~%#@<\">\\";
/// Schemes of a URL in a link definition.
const SCHEMES: [&str; 7] = ["file", "ftp", "gopher", "http", "https", "mailto", "nntp"];

/// Writes documentation as the lines of a Go doc comment.
pub(super) fn comment(out: &mut String, doc: &str) {
    let doc = canonical(doc);
    for line in doc.lines() {
        write_line(out, "", line);
    }
}

/// Writes documentation as further paragraphs of a comment.
pub(super) fn paragraphs(out: &mut String, doc: &str) {
    let start = out.len();
    out.push_str("//\n");
    let before = out.len();
    comment(out, doc);
    if out.len() == before {
        out.truncate(start);
    }
}

/// Writes documentation of a field or a constant. It is indented, so gofmt keeps its text.
pub(super) fn indented(out: &mut String, doc: &str) {
    for line in doc.lines() {
        write_line(out, "\t", &printable(line));
    }
}

/// Writes documentation of an argument as an item of a list.
pub(super) fn list_item(out: &mut String, name: &str, doc: &str) {
    let mut lines: Vec<String> = Vec::new();
    for line in doc.lines().map(|line| straight_quotes_replaced(&printable(line))) {
        match lines.last_mut() {
            _ if line.is_empty() => {}
            // The line would begin another item.
            Some(last) if is_bullet(&line) => {
                last.push(' ');
                last.push_str(&line);
            }
            _ => lines.push(line),
        }
    }
    let item = format!("//   - {name}: {}", lines.join("\n//     "));
    let _ = writeln!(out, "{}", item.trim_end());
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

/// Writes a line of a comment.
fn write_line(out: &mut String, indent: &str, line: &str) {
    let space = if line.is_empty() { "" } else { " " };
    let _ = writeln!(out, "{indent}//{space}{line}");
}

/// Returns documentation in the form that gofmt gives it. Blocks are separated by one empty line.
fn canonical(doc: &str) -> String {
    let lines: Vec<String> =
        doc.lines().map(|line| straight_quotes_replaced(&printable(line))).collect();
    let blocks: Vec<String> = lines
        .split(String::is_empty)
        .filter(|block| !block.is_empty())
        .map(canonical_block)
        .collect();
    blocks.join("\n\n")
}

/// Returns a block of consecutive lines in the form that gofmt gives it.
fn canonical_block(lines: &[String]) -> String {
    // gofmt would move a block of link definitions to the end of the comment.
    let links: Option<Vec<String>> = lines.iter().map(|line| link_as_text(line)).collect();
    let lines = links.as_deref().unwrap_or(lines);
    let [line] = lines else { return lines.join("\n") };
    if let Some(heading) = line.strip_prefix("# ").or_else(|| line.strip_prefix("#\t")) {
        return format!("# {}", heading.trim());
    }
    // A sentence without a period would become a heading.
    if looks_like_title(line) { format!("{line}.") } else { line.clone() }
}

/// Returns true if gofmt can take a line for a title.
fn looks_like_title(line: &str) -> bool {
    let ends = (line.chars().next(), line.chars().next_back());
    matches!(ends, (Some(first), Some(last)) if first.is_uppercase() && last.is_alphanumeric())
        && !line.contains(|c| NOT_IN_TITLE.contains(c))
}

/// Returns a link definition, `[text]: url`, without its brackets. `None` if the line is none.
fn link_as_text(line: &str) -> Option<String> {
    let (text, url) = line.strip_prefix('[')?.split_once("]:")?;
    let url = url.strip_prefix([' ', '\t'])?.trim();
    let (scheme, _) = url.split_once("://")?;
    SCHEMES.contains(&scheme).then(|| format!("{text}: {url}").trim().to_owned())
}

/// Returns true if gofmt can take a line, or what it becomes with the next one, for an item of a
/// list.
fn is_bullet(line: &str) -> bool {
    line.strip_prefix(['-', '*', '+', '•'])
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// Returns a line without control characters and byte-order marks, which Go does not accept, and
/// without white space at its ends. A line that the go command would take for a build constraint is
/// escaped: the old form, `// +build`, may be indented.
fn printable(line: &str) -> String {
    let line = line.replace(|c: char| (c.is_control() && c != '\t') || c == '\u{feff}', " ");
    let line = line.trim();
    let escape = if line.starts_with("+build") { "\\" } else { "" };
    format!("{escape}{line}")
}

/// Replaces two backquotes and two apostrophes by typographic quotes, as gofmt does. A code fence of
/// Markdown gets tildes, because gofmt replaces some of its backquotes.
fn straight_quotes_replaced(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let (before, quotes) = rest.split_at(at);
        let after = quotes.trim_start_matches('`');
        out.push_str(before);
        match quotes.len() - after.len() {
            1 => out.push('`'),
            2 => out.push('“'),
            length => out.push_str(&"~".repeat(length)),
        }
        rest = after;
    }
    out.push_str(rest);
    out.replace("''", "”")
}

#[cfg(test)]
mod tests {
    use super::{canonical, comment, list_item, paragraphs};

    #[test]
    fn a_lone_line_becomes_a_sentence() {
        assert_eq!(canonical("Fired for a get-command"), "Fired for a get-command.");
        assert_eq!(canonical("One\n\nTwo\nlines\n\nThree"), "One.\n\nTwo\nlines\n\nThree.");
        for kept in ["lower case", "Ends here.", "A: b", "x", "Really?", "It has f()", ""] {
            assert_eq!(canonical(kept), kept);
        }
    }

    #[test]
    fn writes_headings_links_and_quotes_as_gofmt_does() {
        for (doc, expected) in [
            ("#  Values", "# Values"),
            ("#\tValues", "# Values"),
            ("#5 is alive", "#5 is alive"),
            ("# a\nb", "# a\nb"),
            ("[x]: http://y/z", "x: http://y/z"),
            ("[# x]: http://y", "# x: http://y"),
            ("[x]: gone\n[y]: http://y", "[x]: gone\n[y]: http://y"),
            ("``as is''", "“as is”"),
            ("```go ' '''", "~~~go ' ”'"),
            ("a\u{b}b\rc\u{feff}", "a b c"),
        ] {
            assert_eq!(canonical(doc), expected, "{doc}");
        }
    }

    #[test]
    fn an_item_of_a_list_stays_one_item() {
        let mut out = String::new();
        list_item(&mut out, "mode", "How:\n-\n- read\n* write\n\n1. x\n+build y");
        list_item(&mut out, "none", "\u{feff}");
        let expected =
            "//   - mode: How: - - read * write\n//     1. x\n//     \\+build y\n//   - none:\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn writes_no_paragraph_without_text() {
        let mut out = String::new();
        paragraphs(&mut out, "");
        paragraphs(&mut out, "\u{feff}\n \n");
        assert_eq!(out, "");
    }

    #[test]
    fn escapes_build_constraints() {
        let mut out = String::new();
        comment(&mut out, "\u{c}+build ignore\n\n+build");
        assert_eq!(out, "// \\+build ignore\n//\n// \\+build\n");
    }
}
