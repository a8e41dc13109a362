//! The form of Markdown files: one sentence a line, headings in order, a language at every fence.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What is wrong, with its line number from 1.
#[derive(Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) line: usize,
    pub(super) problem: String,
}

/// Checks one page.
pub(super) fn check(page: &str) -> Vec<Finding> {
    let line_of = |offset: usize| page[..offset].matches('\n').count() + 1;
    let mut findings = Vec::new();
    let mut add = |offset: usize, problem: &str| {
        findings.push(Finding { line: line_of(offset), problem: problem.to_owned() });
    };
    let mut heading = 0;
    let mut cell = None;
    // Byte ranges of code inside the current paragraph: a period there ends no sentence.
    let mut paragraph: Option<Paragraph> = None;
    for (event, range) in Parser::new_ext(page, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let level = level as usize;
                if level == 1 && heading > 0 {
                    add(range.start, "a page has one heading of the first level");
                } else if level > heading + 1 {
                    add(range.start, "a heading is more than one level below the one before it");
                }
                heading = level;
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                if language.is_empty() =>
            {
                add(range.start, "name the language of the code block, `text` if it has none");
            }
            Event::Start(Tag::TableCell) => cell = Some(Paragraph::new(range.start, range.end)),
            Event::End(TagEnd::TableCell) => {
                if let Some(cell) = cell.take()
                    && sentences(&cell.masked(page)).len() > 1
                {
                    add(range.start, "a table cell holds words; use a list for sentences");
                }
            }
            Event::Start(Tag::Paragraph) => {
                paragraph = Some(Paragraph::new(range.start, range.end));
            }
            // A tight list has no paragraphs.
            Event::Start(Tag::Item) => paragraph = Some(Paragraph::new(range.start, range.start)),
            Event::Text(_) | Event::SoftBreak => extend(&mut paragraph, &mut cell, &range, false),
            Event::Code(_) | Event::InlineHtml(_) => {
                extend(&mut paragraph, &mut cell, &range, true);
            }
            Event::End(TagEnd::Paragraph | TagEnd::Item)
            | Event::Start(Tag::List(_) | Tag::Table(_)) => {
                if let Some(paragraph) = paragraph.take() {
                    paragraph.check(page, &mut add);
                }
            }
            _ => {}
        }
    }
    findings
}

fn extend(
    paragraph: &mut Option<Paragraph>,
    cell: &mut Option<Paragraph>,
    range: &std::ops::Range<usize>,
    code: bool,
) {
    for part in [cell, paragraph].into_iter().flatten() {
        part.end = part.end.max(range.end);
        if code {
            part.code.push(range.clone());
        }
    }
}

/// The source of a paragraph, list item or table cell.
struct Paragraph {
    start: usize,
    end: usize,
    code: Vec<std::ops::Range<usize>>,
}

impl Paragraph {
    fn new(start: usize, end: usize) -> Paragraph {
        Paragraph { start, end, code: Vec::new() }
    }

    /// The source with code replaced, so that its periods do not count.
    fn masked(&self, page: &str) -> String {
        let source = &page[self.start..self.end];
        let mut masked = source.as_bytes().to_vec();
        for range in &self.code {
            masked[range.start - self.start..range.end - self.start].fill(b'x');
        }
        String::from_utf8_lossy(&masked).into_owned()
    }

    fn check(&self, page: &str, add: &mut impl FnMut(usize, &str)) {
        let masked = self.masked(page);
        let sentences = sentences(&masked);
        for start in &sentences[1..] {
            if !masked[..*start].trim_end_matches(' ').ends_with('\n') {
                add(self.start + start, "a second sentence on the line; begin a new line");
            }
        }
        for (at, _) in masked.trim_end().match_indices('\n') {
            let next = masked[at + 1..].len() - masked[at + 1..].trim_start().len() + at + 1;
            if !ends_sentence(&masked[..at]) && !sentences.contains(&next) {
                add(self.start + at + 1, "a line break inside a sentence; join the lines");
            }
        }
    }
}

/// Offsets at which a sentence begins, in a source whose code is masked.
fn sentences(masked: &str) -> Vec<usize> {
    let mut starts = vec![0];
    for (at, _) in masked.match_indices(['.', '!', '?']) {
        let rest = masked[at + 1..].trim_start_matches(['*', '_', ')', '"']);
        let next = rest.trim_start_matches([' ', '\n']);
        let begins = next
            .trim_start_matches(['*', '_', '(', '[', '"', '`'])
            .starts_with(|c: char| c.is_uppercase());
        if rest.starts_with([' ', '\n']) && begins && !is_abbreviation(&masked[..at]) {
            starts.push(masked.len() - next.len());
        }
    }
    starts
}

/// Whether a line may end here. A colon introduces the next line, as a list does.
fn ends_sentence(before: &str) -> bool {
    before
        .trim_end_matches(['*', '_', ')', '"', '`', '\\', ' '])
        .ends_with(['.', '!', '?', ':', ';', ','])
        || before.trim_end().ends_with("-->")
}

/// Whether the period after `before` belongs to an abbreviation or to an ordinal of a list.
fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit([' ', '\n', '(']).next().unwrap_or_default();
    ["e.g", "i.e", "vs", "etc", "cf", "Mr", "St", "no"].contains(&word)
        || !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(page: &str) -> Vec<usize> {
        check(page).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn accepts_one_sentence_a_line() {
        let page =
            "# A\n\nOne.\nTwo with `x. Y` and v1.2. \n\n* Three.\n  Four, e.g. Five.\n* six\n";
        assert!(problems(page).is_empty());
    }

    #[test]
    fn rejects_two_sentences_on_a_line() {
        assert_eq!(problems("# A\n\nOne. Two.\n\n* Three. **Four**.\n"), [3, 5]);
    }

    #[test]
    fn rejects_a_break_inside_a_sentence() {
        assert_eq!(problems("# A\n\nThis sentence\nis wrapped.\n"), [4]);
    }

    #[test]
    fn rejects_sentences_in_table_cells() {
        assert_eq!(problems("# A\n\n| a | b |\n| --- | --- |\n| One. Two. | c |\n"), [5]);
    }

    #[test]
    fn rejects_fences_without_a_language_and_headings_out_of_order() {
        assert_eq!(problems("# A\n\n### B\n\n```\nx\n```\n"), [3, 5]);
    }
}
