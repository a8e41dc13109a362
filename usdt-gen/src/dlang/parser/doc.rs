//! Extracts documentation and annotations from comments.

use super::cursor::Parser;
use crate::dlang::lexer::Kind;
use crate::dlang::source::Span;

impl Parser<'_> {
    /// Consumes comments and directives, and returns the documentation for the declaration that
    /// follows.
    pub(super) fn parse_doc(&mut self) -> String {
        let mut doc: Vec<Span> = Vec::new();
        self.skipped_comments.clear();
        loop {
            let token = self.peek().clone();
            match token.kind {
                Kind::Comment => {
                    if doc
                        .last()
                        .is_some_and(|last| self.gap_has_blank_line(last.end..token.span.start))
                    {
                        doc.clear();
                    }
                    doc.push(token.span);
                    self.at += 1;
                }
                Kind::Directive => {
                    doc.clear();
                    self.at += 1;
                    self.parse_pragma(&token);
                }
                _ => {
                    let next = token.span.start;
                    if doc.last().is_some_and(|last| self.gap_has_blank_line(last.end..next)) {
                        doc.clear();
                    }
                    // A comment on the line of the previous declaration documents that declaration.
                    if let Some(first) = doc.first()
                        && !self.sources.line_before(first.start).trim().is_empty()
                    {
                        doc.remove(0);
                    }
                    return self.doc_of(&doc);
                }
            }
        }
    }

    fn gap_has_blank_line(&self, gap: Span) -> bool {
        self.sources.text(&gap).matches('\n').count() > 1
    }

    /// Returns the documentation in some comments.
    fn doc_of(&self, comments: &[Span]) -> String {
        doc_text(comments.iter().map(|span| self.sources.text(span)))
    }

    /// Returns the documentation in the comments that were skipped since the last call.
    pub(super) fn take_skipped_doc(&mut self) -> String {
        let comments = std::mem::take(&mut self.skipped_comments);
        self.doc_of(&comments)
    }

    /// Consumes the comments at the end of the last token's line and returns their documentation.
    ///
    /// Comments that are followed by code on the same line belong to that code and are not
    /// consumed.
    pub(super) fn trailing_doc(&mut self) -> String {
        let before = self.at;
        let mut comments = Vec::new();
        let mut end = self.previous().map_or(0, |t| t.span.end);
        while self.peek().kind == Kind::Comment {
            let span = self.peek().span.clone();
            if self.sources.text(&(end..span.start)).contains('\n') || span.start < end {
                break;
            }
            end = span.end;
            comments.push(span);
            self.at += 1;
        }
        let next = self.peek().span.start;
        if next >= end
            && !self.sources.text(&(end..next)).contains('\n')
            && self.peek().kind != Kind::End
        {
            self.at = before;
            return String::new();
        }
        self.doc_of(&comments)
    }
}

/// Removes comment markers and leading stars. Paragraphs are separated by one empty line.
fn doc_text<'a>(comments: impl Iterator<Item = &'a str>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for comment in comments {
        let body = match comment.strip_prefix("/*") {
            Some(body) => body.strip_suffix("*/").unwrap_or(body).trim_start_matches('*'),
            None => comment.trim_start_matches('/'),
        };
        // An empty line comment is an empty line.
        let empty = (body.is_empty() && comment.starts_with("//")).then_some("");
        for line in body.lines().chain(empty) {
            let line = line.trim();
            let line = line.strip_prefix('*').unwrap_or(line).trim();
            if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
                lines.push(line.to_owned());
            }
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n")
}

/// Removes `@param NAME DESCRIPTION` from the documentation of a probe, and returns the names with
/// their descriptions.
///
/// A description ends at an empty line or the next annotation. An annotation that does not name a
/// parameter is kept.
pub(super) fn split_params(
    doc: &str,
    is_param: impl Fn(&str) -> bool,
) -> (String, Vec<(String, String)>) {
    let (mut rest, mut params): (Vec<&str>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    let mut open = false;
    for line in doc.lines() {
        let named = line
            .strip_prefix("@param ")
            .or_else(|| line.strip_prefix("\\param "))
            .and_then(|rest| {
                let rest = rest.trim();
                let (name, description) =
                    rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                is_param(name).then(|| (name.to_owned(), description.trim().to_owned()))
            });
        match (named, params.last_mut()) {
            (Some(param), _) => {
                params.push(param);
                open = true;
            }
            (None, Some((_, description)))
                if open && !line.is_empty() && !line.starts_with('@') =>
            {
                if !description.is_empty() {
                    description.push('\n');
                }
                description.push_str(line);
            }
            _ => {
                open = false;
                if !line.is_empty() || rest.last().is_some_and(|l| !l.is_empty()) {
                    rest.push(line);
                }
            }
        }
    }
    while rest.last().is_some_and(|l| l.is_empty()) {
        rest.pop();
    }
    (rest.join("\n"), params)
}

/// Removes lines `@go NAME TYPE` from the documentation of a probe if NAME is a parameter, and
/// returns the names with their types.
pub(super) fn split_go_types(
    doc: &str,
    is_param: impl Fn(&str) -> bool,
) -> (String, Vec<(String, String)>) {
    let (mut rest, mut types) = (Vec::new(), Vec::new());
    for line in doc.lines() {
        let words = line
            .strip_prefix("@go ")
            .and_then(|words| words.trim().split_once(char::is_whitespace));
        match words.filter(|(name, _)| is_param(name)) {
            Some((name, ty)) => types.push((name.to_owned(), ty.trim().to_owned())),
            None => rest.push(line),
        }
    }
    (rest.join("\n").trim_end().to_owned(), types)
}

/// Removes a line `@go TYPE` from the documentation of a parameter, and returns the type.
pub(super) fn split_go_type(doc: &str) -> (String, Option<String>) {
    let (annotations, rest): (Vec<&str>, Vec<&str>) =
        doc.lines().partition(|line| line.starts_with("@go "));
    let ty = annotations
        .first()
        .and_then(|line| line.strip_prefix("@go "))
        .map(|ty| ty.trim().to_owned());
    (rest.join("\n").trim_end().to_owned(), ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_comment_markers_and_stars() {
        for (comments, text) in [
            (&["/** One.\n * Two.\n *\n *\n * Three. */"][..], "One.\nTwo.\n\nThree."),
            (&["// a", "/// b", "//", "// c"][..], "a\nb\n\nc"),
            (&["/* @appdata {\"x\": [1]} */"][..], "@appdata {\"x\": [1]}"),
            (&["/**/"][..], ""),
        ] {
            assert_eq!(doc_text(comments.iter().copied()), text);
        }
    }

    #[test]
    fn extracts_go_annotations() {
        let doc = "Said.\n@go d  time.Duration\n@go none int\n@param d it";
        let (rest, types) = split_go_types(doc, |name| name == "d");
        assert_eq!(rest, "Said.\n@go none int\n@param d it");
        assert_eq!(types, [("d".to_owned(), "time.Duration".to_owned())]);
        assert_eq!(
            split_go_type("How long.\n@go time.Duration"),
            ("How long.".into(), Some("time.Duration".into()))
        );
        assert_eq!(split_go_type("@gone"), ("@gone".into(), None));
    }

    #[test]
    fn extracts_param_annotations() {
        let doc = "Said.\n@param id the id,\nof the request\n@param none stays\n\n@stable yes";
        let (rest, params) = split_params(doc, |name| name == "id");
        assert_eq!(rest, "Said.\n@param none stays\n\n@stable yes");
        assert_eq!(params, [("id".to_owned(), "the id,\nof the request".to_owned())]);
    }
}
