//! Diagnostics: the messages of the command line, at the same positions.

use super::document::Document;
use crate::dlang::Diagnostic;
use crate::golang::GenerateError;
use lsp_types::{DiagnosticRelatedInformation, DiagnosticSeverity, Location, Uri};

/// Returns the diagnostics of a document, each with the document that it is in: an included file
/// can have some, too.
pub(super) fn diagnostics(document: &Document) -> Vec<(Uri, lsp_types::Diagnostic)> {
    let parsed = document.analysis.diagnostics.iter();
    let mut out: Vec<_> = parsed.filter_map(|d| converted(document, d)).collect();
    let has_errors = document.analysis.diagnostics.iter().any(Diagnostic::is_error);
    if let (Err(error), false) = (&document.functions, has_errors) {
        let span = failed_probe(document, error).unwrap_or(0..0);
        out.extend(converted(document, &Diagnostic::error(span, error.to_string(), "")));
    }
    out
}

/// Returns the position of the probe that does not fit into its package.
fn failed_probe(document: &Document, error: &GenerateError) -> Option<std::ops::Range<usize>> {
    let GenerateError::Blob(failed, _) = error else { return None };
    document.outline.providers.iter().find_map(|provider| {
        let probe = provider.probes.iter().find(|probe| {
            *failed == format!("{}:{}", provider.declaration.name, probe.declaration.name)
        })?;
        Some(probe.declaration.span.clone())
    })
}

fn converted(document: &Document, diagnostic: &Diagnostic) -> Option<(Uri, lsp_types::Diagnostic)> {
    let Location { uri, range } = document.location(&diagnostic.span)?;
    let mut message = diagnostic.message.clone();
    for (prefix, part) in [("", Some(&diagnostic.label)), ("help: ", diagnostic.help.as_ref())] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            message.push('\n');
            message.push_str(prefix);
            message.push_str(part);
        }
    }
    let related = diagnostic.related.as_ref().and_then(|(span, label)| {
        let location = document.location(span)?;
        Some(vec![DiagnosticRelatedInformation { location, message: label.clone() }])
    });
    let severity =
        if diagnostic.is_error() { DiagnosticSeverity::ERROR } else { DiagnosticSeverity::WARNING };
    let converted = lsp_types::Diagnostic {
        range,
        severity: Some(severity),
        source: Some("usdt-gen".to_owned()),
        message,
        related_information: related,
        ..lsp_types::Diagnostic::default()
    };
    Some((uri, converted))
}
