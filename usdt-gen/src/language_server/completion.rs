//! Completion: keywords, type names, and the annotations of documentation comments.

use super::document::Document;
use super::text::Lines;
use crate::dlang::outline::TypeKind;
use crate::dlang::{Place, built_in_type, built_in_type_names, place};
use crate::golang;
use crate::model::GoName;
use lsp_types::{CompletionItem, CompletionItemKind, Position};

/// The types that come first in the list: those that definitions use most.
const COMMON: [&str; 10] = [
    "string", "uint64_t", "int64_t", "uint32_t", "int32_t", "bool", "error", "bytes", "double",
    "uint8_t",
];
/// Keywords that declare something at the top level.
const TOP_LEVEL: [&str; 5] = ["provider", "struct", "union", "enum", "typedef"];
/// Directives, without `#`.
const DIRECTIVES: [&str; 9] = [
    "include",
    "define",
    "undef",
    "if",
    "ifdef",
    "ifndef",
    "else",
    "endif",
    "pragma D attributes Evolving/Evolving/Common provider",
];

/// Returns what can be written at a position.
pub(super) fn completions(document: &Document, position: Position) -> Vec<CompletionItem> {
    let offset = Lines::new(&document.text).offset(position);
    let before = document.text.get(..offset).unwrap_or_default();
    match place(before) {
        Place::Other => Vec::new(),
        Place::Documentation => annotations(document, before, offset),
        Place::Directive => DIRECTIVES.iter().map(|word| keyword(word)).collect(),
        Place::Provider => vec![keyword("probe")],
        Place::TopLevel => TOP_LEVEL.iter().map(|word| keyword(word)).collect(),
        Place::Parameters | Place::Members => types(document),
    }
}

fn keyword(word: &str) -> CompletionItem {
    item(word, CompletionItemKind::KEYWORD)
}

fn item(label: &str, kind: CompletionItemKind) -> CompletionItem {
    CompletionItem { label: label.to_owned(), kind: Some(kind), ..CompletionItem::default() }
}

/// Returns the types: those of the definition, the common ones, and all others.
fn types(document: &Document) -> Vec<CompletionItem> {
    let declared = document.outline.types.iter().map(|ty| {
        let name = &ty.declaration.name;
        let (label, kind) = match ty.kind {
            TypeKind::Struct => (format!("struct {name}"), CompletionItemKind::STRUCT),
            TypeKind::Union => (format!("union {name}"), CompletionItemKind::STRUCT),
            TypeKind::Enum => (format!("enum {name}"), CompletionItemKind::ENUM),
            TypeKind::Typedef => (name.clone(), CompletionItemKind::CLASS),
        };
        CompletionItem { sort_text: Some(format!("0{label}")), ..item(&label, kind) }
    });
    let common = COMMON.iter().copied();
    let others = built_in_type_names().filter(|name| !COMMON.contains(name));
    let built_in = common.chain(others).enumerate().map(|(at, name)| CompletionItem {
        detail: built_in_type(name).and_then(golang::built_in_go_type),
        sort_text: Some(format!("1{at:04}")),
        ..item(name, CompletionItemKind::KEYWORD)
    });
    declared.chain(built_in).collect()
}

/// Returns the annotations, or after one the parameters of the probe that the comment is for, or
/// after a parameter the Go types.
fn annotations(document: &Document, before: &str, offset: usize) -> Vec<CompletionItem> {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let Some(at) = line.rfind('@') else { return Vec::new() };
    let written = line.get(at..).unwrap_or_default();
    // The last word is the one that is being written.
    match written.split([' ', '\t']).collect::<Vec<_>>().as_slice() {
        [_] => ["go", "param"].map(|word| item(word, CompletionItemKind::KEYWORD)).into(),
        ["@go" | "@param", _] => {
            let probes = document.outline.providers.iter().flat_map(|p| &p.probes);
            let next = probes.filter(|p| p.declaration.extent.start >= offset);
            let next = next.min_by_key(|p| p.declaration.extent.start);
            let names = next.map_or(&[][..], |probe| &probe.params);
            names.iter().map(|name| item(name, CompletionItemKind::VARIABLE)).collect()
        }
        ["@go", _, _] => {
            let types = GoName::ALL.iter();
            types.map(|name| item(name.spelling(), CompletionItemKind::CLASS)).collect()
        }
        _ => Vec::new(),
    }
}
