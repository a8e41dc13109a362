//! Phrases that the project does not use, with what it writes instead.
//!
//! The table in `docs/writing.md` is the only list: people read it there, the check reads it from there.

use crate::command::{Explain, Failure, Outcome, root};

/// A phrase that must not occur.
#[derive(Debug, PartialEq)]
pub(super) struct Phrase {
    /// Lower-case words; the last one is a prefix if `prefix` is set.
    words: Vec<String>,
    prefix: bool,
    /// What to write instead.
    instead: String,
}

/// The page that holds the table, relative to the repository.
pub(super) const PAGE: &str = "docs/writing.md";

/// Reads the table.
///
/// # Errors
///
/// Fails if the page cannot be read or holds no table.
pub(super) fn load() -> Outcome<Vec<Phrase>> {
    let page =
        std::fs::read_to_string(root().join(PAGE)).explain(&format!("cannot read {PAGE}"))?;
    let phrases = parse(&page);
    if phrases.is_empty() {
        return Err(Failure(format!("{PAGE} has no table below its heading `Glossary`")));
    }
    Ok(phrases)
}

fn parse(page: &str) -> Vec<Phrase> {
    let table = page.split_once("\n## Glossary\n").map_or("", |(_, rest)| rest);
    let rows = table.lines().filter_map(|line| {
        let (phrases, instead) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((phrases, instead))
    });
    // The heading and the ruler are rows, too.
    let rows = rows.filter(|(phrases, _)| *phrases != "not" && !phrases.starts_with("---"));
    rows.flat_map(|(phrases, instead)| {
        phrases.split(", ").map(|phrase| Phrase {
            words: phrase.trim_end_matches('*').split(' ').map(str::to_lowercase).collect(),
            prefix: phrase.ends_with('*'),
            instead: instead.to_owned(),
        })
    })
    .collect()
}

/// One finding: line number from 1, the phrase as written, what to write instead.
#[derive(Debug, PartialEq)]
pub(super) struct Finding<'a> {
    pub(super) line: usize,
    pub(super) phrase: String,
    pub(super) instead: &'a str,
}

/// Finds the phrases in a file, also where a line break or the mark of a comment stands between two words.
pub(super) fn find<'a>(text: &str, phrases: &'a [Phrase]) -> Vec<Finding<'a>> {
    let words: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .flat_map(|(number, line)| split(line).map(move |word| (number + 1, word)))
        .collect();
    let mut findings = Vec::new();
    for (at, (line, _)) in words.iter().enumerate() {
        for phrase in phrases {
            let Some(found) = words.get(at..at + phrase.words.len()) else { continue };
            if phrase.matches(found) {
                let phrase_text: Vec<&str> = found.iter().map(|(_, word)| word.as_str()).collect();
                findings.push(Finding {
                    line: *line,
                    phrase: phrase_text.join(" "),
                    instead: &phrase.instead,
                });
            }
        }
    }
    findings
}

/// Lower-case words of a line. An underscore separates words, so that identifiers are checked as well.
fn split(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '-')
        .map(|word| word.trim_matches(['\'', '-']).to_lowercase())
        .filter(|word| !word.is_empty())
}

impl Phrase {
    fn matches(&self, found: &[(usize, String)]) -> bool {
        let last = self.words.len() - 1;
        self.words.iter().zip(found).enumerate().all(|(index, (wanted, (_, word)))| {
            if index == last && self.prefix { word.starts_with(wanted) } else { word == wanted }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# X\n\n## Glossary\n\n| not | but |\n| --- | --- |\n| foo*, bar baz | fix |\n";

    #[test]
    fn reads_every_phrase_of_a_row() {
        let words: Vec<Vec<String>> = parse(PAGE).into_iter().map(|phrase| phrase.words).collect();
        assert_eq!(words, [vec!["foo".to_owned()], vec!["bar".to_owned(), "baz".to_owned()]]);
    }

    #[test]
    fn finds_phrases_across_lines_and_in_identifiers() {
        let phrases = parse(PAGE);
        let found = find("fn fooed_file() {}\n// It bar\n// baz the rest.", &phrases);
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2]);
        assert!(find("Unfoo bar", &phrases).is_empty());
    }
}
