//! Messages about a definition file: where, what, and the way out.

use crate::dlang::source::{Place, Sources, Span};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How serious a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is generated.
    Error,
    /// Worth knowing.
    Warning,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What is wrong, one line.
    pub message: String,
    /// Said at the span itself.
    pub label: String,
    /// Another place that belongs to it, and what is there.
    pub related: Option<(Span, String)>,
    /// The way out.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            span,
            message: message.into(),
            label: label.into(),
            related: None,
            help: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(span, message, label) }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that belongs to it.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.related = Some((span, label.into()));
        self
    }

    /// Whether nothing may be generated.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The message with its source lines, as a terminal shows it.
    pub fn render(&self, sources: &Sources, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = level.primary_title(self.message.as_str());
        let place = sources.locate(&self.span);
        let other =
            self.related.as_ref().and_then(|(span, label)| Some((sources.locate(span)?, label)));
        let mut title = match place {
            Some(place) => {
                let mut snippet = snippet(place, AnnotationKind::Primary, &self.label);
                if let Some((near, label)) = other.filter(|(o, _)| o.file == place.file) {
                    snippet = snippet.annotation(
                        AnnotationKind::Context.span(near.start..near.end).label(label.as_str()),
                    );
                }
                group.element(snippet)
            }
            None => group.elements([Level::NOTE.message(self.label.as_str())]),
        };
        if let Some((far, label)) = other.filter(|(o, _)| Some(o.file) != place.map(|p| p.file)) {
            title = title.element(snippet(far, AnnotationKind::Context, label));
        }
        if let Some(help) = &self.help {
            title = title.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[title]).to_string()
    }
}

fn snippet<'a>(
    place: Place<'a>,
    kind: AnnotationKind,
    label: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    Snippet::source(place.text)
        .path(place.file)
        .annotation(kind.span(place.start..place.end).label(label))
}
