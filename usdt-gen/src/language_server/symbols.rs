//! The outline of a document: its providers with their probes, and its types.

use super::document::Document;
use crate::dlang::outline::{Declaration, TypeKind};
use lsp_types::{DocumentSymbol, SymbolKind};

/// Returns the symbols that a document itself declares, in their order.
pub(super) fn symbols(document: &Document) -> Vec<DocumentSymbol> {
    let mut out: Vec<DocumentSymbol> = Vec::new();
    for provider in &document.outline.providers {
        let probes = provider.probes.iter().filter_map(|probe| {
            let params = format!("({})", probe.params.join(", "));
            symbol(document, &probe.declaration, SymbolKind::EVENT, Some(params), Vec::new())
        });
        let probes = probes.collect();
        out.extend(symbol(document, &provider.declaration, SymbolKind::NAMESPACE, None, probes));
    }
    for ty in &document.outline.types {
        let kind = match ty.kind {
            TypeKind::Struct | TypeKind::Union => SymbolKind::STRUCT,
            TypeKind::Enum => SymbolKind::ENUM,
            TypeKind::Typedef => SymbolKind::CLASS,
        };
        out.extend(symbol(document, &ty.declaration, kind, None, Vec::new()));
    }
    out.sort_by_key(|symbol| (symbol.range.start, symbol.range.end));
    out
}

fn symbol(
    document: &Document,
    declaration: &Declaration,
    kind: SymbolKind,
    detail: Option<String>,
    children: Vec<DocumentSymbol>,
) -> Option<DocumentSymbol> {
    #[allow(deprecated, reason = "the structure has no other constructor")]
    Some(DocumentSymbol {
        name: declaration.name.clone(),
        detail,
        kind,
        tags: None,
        deprecated: None,
        range: document.range(&declaration.extent)?,
        selection_range: document.range(&declaration.span)?,
        children: (!children.is_empty()).then_some(children),
    })
}
