//! Errors and warnings about a definition: the position, the problem and a hint.

use crate::dlang::source::{Location, Sources, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::collections::HashSet;
use std::ops::Range;

/// How serious a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// There is no model, so nothing can be generated.
    Error,
    /// The definition is usable, but part of it is ignored or not portable.
    Warning,
}

/// An error or a warning with its position in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub(crate) severity: Severity,
    /// The position of the problem.
    pub(crate) span: Span,
    /// The problem in one line.
    pub(crate) message: String,
    /// A remark shown next to the marked source.
    pub(crate) label: String,
    /// A second position that explains the problem, with its label.
    pub(crate) related: Option<(Span, String)>,
    /// How to fix the problem.
    pub(crate) help: Option<String>,
}

impl Diagnostic {
    /// Creates an error at `span`.
    pub(crate) fn error(
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            span,
            message: message.into(),
            label: label.into(),
            related: None,
            help: None,
        }
    }

    /// Creates a warning at `span`.
    pub(crate) fn warning(
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(span, message, label) }
    }

    /// Adds a hint how to fix the problem.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Adds a second position that explains the problem.
    #[must_use]
    pub(crate) fn related(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.related = Some((span, label.into()));
        self
    }

    /// Returns true for an error and false for a warning.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Renders the message with its source lines for a terminal. The result spans several lines.
    ///
    /// `sources` are the [`super::Parsed::sources`] of the same run.
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let location = sources.locate(&self.span);
        let related =
            self.related.as_ref().and_then(|(span, label)| Some((sources.locate(span)?, label)));
        // A position in another file, or far away, needs a snippet of its own.
        let is_near = |other: &Location<'_>| {
            location.is_some_and(|l| {
                l.file == other.file && l.start.abs_diff(other.start) <= MAX_SNIPPET
            })
        };
        let (near, far) = match related {
            Some((other, label)) if is_near(&other) => (Some((other, label)), None),
            related => (None, related),
        };
        let mut group = match location {
            Some(location) => {
                show(Group::with_title(title), location, AnnotationKind::Primary, &self.label, near)
            }
            None => title.elements([Level::NOTE.message(self.label.as_str())]),
        };
        if let Some((related, label)) = far {
            group = show(group, related, AnnotationKind::Context, label, None);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group]).to_string()
    }
}

/// The largest distance of two positions that one snippet shows, and half of the largest snippet,
/// in bytes.
const MAX_SNIPPET: usize = 16 << 10;
/// The largest number of errors, and of warnings, that are kept.
pub(crate) const MAX_DIAGNOSTICS: usize = 100;

/// The diagnostics of one run: each once, and up to [`MAX_DIAGNOSTICS`] of each severity.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    kept: Vec<Diagnostic>,
    /// Spans and messages of those that are kept. A type that several arguments use is checked
    /// several times.
    seen: HashSet<(Span, String)>,
    errors: Bounded,
    warnings: Bounded,
}

/// The number of diagnostics of one severity.
#[derive(Debug, Default)]
struct Bounded {
    count: usize,
    /// Position of the first one that was not kept.
    dropped: Option<Span>,
}

impl Diagnostics {
    fn bounded(&mut self, severity: Severity) -> &mut Bounded {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }

    /// Adds a diagnostic, unless it is there already or there are too many.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full(diagnostic.severity) {
            self.bounded(diagnostic.severity).dropped.get_or_insert(diagnostic.span);
        } else if self.seen.insert((diagnostic.span.clone(), diagnostic.message.clone())) {
            self.bounded(diagnostic.severity).count += 1;
            self.kept.push(diagnostic);
        }
    }

    /// Returns true if another diagnostic of this severity would not be kept.
    pub(crate) fn is_full(&self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Error => self.errors.count,
            Severity::Warning => self.warnings.count,
        };
        count >= MAX_DIAGNOSTICS
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors.count > 0
    }

    /// Returns a position for [`Diagnostics::roll_back`].
    pub(crate) fn position(&self) -> usize {
        self.kept.len()
    }

    /// Removes the diagnostics that were added since a position.
    pub(crate) fn roll_back(&mut self, position: usize) {
        for diagnostic in self.kept.split_off(position.min(self.kept.len())) {
            self.bounded(diagnostic.severity).count -= 1;
        }
    }

    /// Returns the diagnostics in source order. The last one of a severity says if there were more.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        for (severity, what) in [(Severity::Error, "errors"), (Severity::Warning, "warnings")] {
            if let Some(span) = self.bounded(severity).dropped.take() {
                let message = format!("more than {MAX_DIAGNOSTICS} {what}");
                let label = "further ones are not shown";
                self.kept.push(Diagnostic { severity, ..Diagnostic::error(span, message, label) });
            }
        }
        self.kept.sort_by_key(|d| (d.span.start, d.span.end));
        self.kept
    }
}

/// Adds the source at a position to a message, with a label and perhaps a second label.
///
/// The renderer copies the source that it gets, so it gets only the lines around the position. A
/// line that is too long for a terminal is not shown.
fn show<'a>(
    group: Group<'a>,
    location: Location<'a>,
    kind: AnnotationKind,
    label: &'a str,
    near: Option<(Location<'a>, &'a String)>,
) -> Group<'a> {
    let starts = [Some(&location), near.as_ref().map(|(other, _)| other)];
    let first = starts.into_iter().flatten().map(|l| l.start).min().unwrap_or(0);
    let last = starts.into_iter().flatten().map(|l| l.end).max().unwrap_or(0);
    let (window, line) = lines_around(location.content, first, last);
    if window.len() > 2 * MAX_SNIPPET {
        let before = location.content.get(..location.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        return group
            .element(Origin::path(location.file).line(line))
            .element(Level::NOTE.message(label));
    }
    let text = location.content.get(window.clone()).unwrap_or_default();
    let span = |l: &Location<'_>| l.start - window.start..l.end - window.start;
    let mut snippet = Snippet::source(text)
        .line_start(line)
        .path(location.file)
        .annotation(kind.span(span(&location)).label(label));
    if let Some((other, label)) = &near {
        let annotation = AnnotationKind::Context.span(span(other)).label(label.as_str());
        snippet = snippet.annotation(annotation);
    }
    group.element(snippet)
}

/// Returns the range from the line before `first` to the line after `last`, and the number of its
/// first line, from 1.
fn lines_around(content: &str, first: usize, last: usize) -> (Range<usize>, usize) {
    let line_start = |at: usize| {
        content.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
    };
    let line_end = |at: usize| {
        let rest = content.get(at..).unwrap_or_default();
        rest.find('\n').map_or(content.len(), |newline| at + newline + 1)
    };
    let start = line_start(line_start(first).saturating_sub(1));
    let end = line_end(line_end(last));
    let line = content.get(..start).unwrap_or_default().matches('\n').count() + 1;
    (start..end, line)
}

#[cfg(test)]
mod tests {
    use crate::dlang::parse;

    #[test]
    fn shows_lines_of_a_long_file_by_their_numbers() {
        let source = format!("provider p {{\n{}\tprobe a(zz z);\n}};\n", "// x\n".repeat(100_000));
        let parsed = parse(&source);
        let shown = parsed.diagnostics[0].render(&parsed.sources, false);
        assert!(
            shown.contains("probes.d:100002:10\n") && shown.contains("probe a(zz z);"),
            "{shown}"
        );
        let far = format!("provider p {{ probe a();\n{}probe a(); }};", "// x\n".repeat(100_000));
        let parsed = parse(&far);
        let shown = parsed.diagnostics[0].render(&parsed.sources, false);
        assert!(
            shown.contains("probes.d:100002:7\n") && shown.contains("probes.d:1:20\n"),
            "{shown}"
        );
    }

    #[test]
    fn names_the_line_of_a_mistake_in_an_endless_line() {
        let source = format!("\nprovider p {{ {}probe a(zz z); }};\n", " ".repeat(1 << 20));
        let parsed = parse(&source);
        let shown = parsed.diagnostics[0].render(&parsed.sources, false);
        assert!(shown.contains("probes.d:2\n") && shown.len() < 1000, "{shown}");
    }
}
