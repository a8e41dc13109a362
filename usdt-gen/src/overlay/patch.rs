//! Edits of a source file, anchored by the lines that they replace.

use serde::Deserialize;
use std::fmt;

/// An edit of one source file.
///
/// It has one replacement for each way that Go releases spell the code. Exactly one of them must
/// match the file, and only once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// Path of the file below `GOROOT/src`.
    pub(super) file: String,
    /// Probes that the inserted code fires.
    pub(super) probes: Vec<String>,
    #[serde(rename = "replacement")]
    replacements: Vec<Replacement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    /// The anchor: whole lines of the file.
    find: String,
    /// The lines that replace the anchor.
    replace: String,
}

/// A source file in which the anchor of an edit is missing or not unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Provider whose probes cannot be added.
    provider: String,
    /// Names of the probes.
    probes: Vec<String>,
    /// Path of the file below `GOROOT/src`.
    file: String,
    /// Number of matches of all anchors: 0, or more than 1.
    pub(super) matches: usize,
    /// The anchor that was found, or else the one that matches most lines of the file.
    anchor: String,
    /// The best partial match of that anchor. `None` if even its first line is not in the file.
    partial: Option<PartialMatch>,
    /// The line of the file that differs from the anchor. Empty without a partial match.
    found_line: String,
}

/// The lines of a file that match the beginning of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PartialMatch {
    /// Number of the first matching line, from 1.
    first_line: usize,
    /// Number of matching lines, at least 1.
    matching_lines: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probes: Vec<String> =
            self.probes.iter().map(|p| format!("{}:{p}", self.provider)).collect();
        write!(
            f,
            "{} differs from the Go releases that this version of usdt-gen knows",
            self.file
        )?;
        write!(f, ", so {} cannot be added: ", probes.join(", "))?;
        if self.matches > 1 {
            write!(f, "these lines occur {} times:\n\n{}", self.matches, self.anchor)?;
        } else if let Some(PartialMatch { first_line, matching_lines }) = self.partial {
            writeln!(f, "line {} differs", first_line + matching_lines)?;
            let expected = self.anchor.lines().nth(matching_lines).unwrap_or_default();
            write!(
                f,
                "  expected: {}\n  found:    {}\n",
                expected.trim_start(),
                self.found_line.trim_start()
            )?;
        } else {
            write!(f, "these lines are missing:\n\n{}", self.anchor)?;
        }
        write!(f, "try a newer usdt-gen, or leave the provider out with --providers")
    }
}

impl Edit {
    /// Returns the changed source.
    pub(super) fn apply(&self, provider: &str, source: &str) -> Result<String, Box<Mismatch>> {
        let matches: Vec<(&Replacement, usize)> = self
            .replacements
            .iter()
            .flat_map(|r| find_lines(source, &r.find).map(move |offset| (r, offset)))
            .collect();
        if let [(replacement, offset)] = matches.as_slice() {
            let (before, rest) = source.split_at(*offset);
            let after = rest.strip_prefix(replacement.find.as_str()).unwrap_or_default();
            return Ok(format!("{before}{}{after}", replacement.replace));
        }
        let (replacement, partial) = match matches.first() {
            Some((replacement, _)) => (*replacement, None),
            None => {
                let partial = self.replacements.iter().map(|r| (r, best_match(source, &r.find)));
                let Some(best) = partial.max_by_key(|(_, p)| p.map(|p| p.matching_lines)) else {
                    return Ok(source.to_owned());
                };
                best
            }
        };
        let found_line =
            partial.and_then(|p| source.lines().nth(p.first_line + p.matching_lines - 1));
        Err(Box::new(Mismatch {
            provider: provider.to_owned(),
            probes: self.probes.clone(),
            file: self.file.clone(),
            matches: matches.len(),
            anchor: replacement.find.clone(),
            partial,
            found_line: found_line.unwrap_or_default().to_owned(),
        }))
    }
}

/// Returns the offsets of lines of the source that begin with `anchor`.
pub(crate) fn find_lines<'t>(source: &'t str, anchor: &'t str) -> impl Iterator<Item = usize> + 't {
    source.match_indices(anchor).map(|(offset, _)| offset).filter(move |offset| {
        let before = source.get(..*offset).unwrap_or_default();
        before.is_empty() || before.ends_with('\n')
    })
}

/// Returns the position at which the most lines of the anchor match, counted from its first line.
/// Of several such positions it is the first one.
fn best_match(source: &str, anchor: &str) -> Option<PartialMatch> {
    let lines: Vec<&str> = source.lines().collect();
    let anchor: Vec<&str> = anchor.lines().collect();
    let matching_lines_at = |index: usize| {
        let rest = lines.get(index..).unwrap_or_default();
        rest.iter().zip(&anchor).take_while(|(a, b)| a == b).count()
    };
    // `max_by_key` returns the last maximum, so the positions are visited in reverse.
    (0..lines.len())
        .rev()
        .map(|index| PartialMatch {
            first_line: index + 1,
            matching_lines: matching_lines_at(index),
        })
        .max_by_key(|partial| partial.matching_lines)
        .filter(|partial| partial.matching_lines > 0)
}
