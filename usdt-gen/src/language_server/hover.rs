//! Hover: what a probe means, what its arguments are in C, in Go and for tracers, and which Go
//! function fires it.

use super::definition::{Target, function, target};
use super::document::Document;
use crate::dlang::outline::{Probe, TypeDeclaration};
use crate::dlang::{Word, built_in_type};
use crate::docgen::{describe_words, numbered, table_cell};
use crate::golang::{self, Function};
use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind, Position};
use stapsdt::schema;
use std::fmt::Write as _;

/// The longest declaration that is shown, in lines.
const MAX_LINES: usize = 40;

/// Returns what to show at a position. `markdown` is false for an editor that shows plain text only.
pub(super) fn hover(document: &Document, position: Position, markdown: bool) -> Option<Hover> {
    let (word, target) = target(document, position)?;
    let content = match target {
        Target::Probe(provider, probe) => probe_content(document, provider, probe),
        Target::Parameter(provider, probe) => {
            parameter_content(document, provider, probe, &word.text)
        }
        Target::Word => type_content(document, &word),
    }?;
    let (kind, value) = if markdown {
        (MarkupKind::Markdown, content)
    } else {
        let lines = content.lines().filter(|line| !line.starts_with("```"));
        (MarkupKind::PlainText, lines.collect::<Vec<_>>().join("\n"))
    };
    let contents = HoverContents::Markup(MarkupContent { kind, value });
    Some(Hover { contents, range: document.range(&word.span) })
}

fn probe_content(document: &Document, provider: &str, probe: &Probe) -> Option<String> {
    let mut out =
        code_block("d-provider", document.analysis.sources.text(&probe.declaration.extent));
    push_paragraph(&mut out, &probe.declaration.doc);
    // A probe with errors has neither a schema nor a function.
    if let (Some(schema), Some(function)) =
        (probe_schema(document, provider, probe), function(document, provider, probe))
    {
        push_paragraph(&mut out, &arguments_table(&schema, function));
        let (name, parameters) = (&function.name, &function.parameters);
        let go = format!("func {name}({parameters})\nfunc {name}Enabled() bool");
        push_paragraph(&mut out, &code_block("go", &go));
        let probe = probe.declaration.name.replace("__", "-");
        let trace = format!("usdt-attach trace --exe PROGRAM '{provider}:{probe}'");
        push_paragraph(&mut out, &code_block("sh", &trace));
    }
    Some(out)
}

/// Returns a table with a line for each argument. Empty if there are none.
fn arguments_table(schema: &schema::Probe, function: &Function) -> String {
    if schema.args.is_empty() {
        return String::new();
    }
    let documented = schema.args.iter().any(|arg| !arg.doc.is_empty());
    let (head, rule) = if documented { (" meaning |", " --- |") } else { ("", "") };
    let mut out =
        format!("| argument | C | Go | tracers see |{head}\n| --- | --- | --- | --- |{rule}");
    for ((word, arg), go) in numbered(schema).zip(&function.types) {
        let doc = if documented { format!(" {} |", table_cell(&arg.doc)) } else { String::new() };
        let seen = describe_words(word, arg);
        // Writing to a string cannot fail.
        let _ = write!(out, "\n| {} | `{}` | `{go}` | {seen} |{doc}", arg.name, arg.ty);
    }
    out
}

fn parameter_content(
    document: &Document,
    provider: &str,
    probe: &Probe,
    name: &str,
) -> Option<String> {
    let schema = probe_schema(document, provider, probe)?;
    let function = function(document, provider, probe)?;
    let mut arguments = numbered(&schema).zip(&function.types);
    let ((word, arg), go) = arguments.find(|((_, arg), _)| arg.name == name)?;
    let mut out = code_block("d-provider", &format!("{} {name}", arg.ty));
    push_paragraph(&mut out, &arg.doc);
    let seen = describe_words(word, arg);
    push_paragraph(&mut out, &format!("In Go: `{go}`. Tracers see: {seen}."));
    Some(out)
}

/// Returns the declaration of a type, or what a built-in type is in Go.
fn type_content(document: &Document, word: &Word) -> Option<String> {
    if let Some(ty) = document.outline.type_declaration(&word.previous, &word.text) {
        return Some(declaration_content(document, ty));
    }
    let ty = built_in_type(&word.text)?;
    let go = golang::built_in_go_type(ty)?;
    let size = ty.size();
    let what = match ty.kind() {
        schema::Kind::Int if ty.signed() => format!("signed integer of {size} bytes"),
        schema::Kind::Int => format!("unsigned integer of {size} bytes"),
        schema::Kind::Float => format!("floating-point number of {size} bytes"),
        schema::Kind::Bool => "truth value".to_owned(),
        schema::Kind::Pointer | schema::Kind::Cstring => "address".to_owned(),
        schema::Kind::String => "string, which tracers see as pointer and length".to_owned(),
        schema::Kind::Bytes => "bytes, which tracers see as pointer and length".to_owned(),
        schema::Kind::Time => "time, which tracers see as its fields `wall` and `ext`".to_owned(),
        schema::Kind::Error => "error, whose message tracers see as pointer and length".to_owned(),
    };
    Some(format!("`{}`: {what}, in Go `{go}`", word.text))
}

fn declaration_content(document: &Document, ty: &TypeDeclaration) -> String {
    let mut out = code_block("c", document.analysis.sources.text(&ty.declaration.extent));
    push_paragraph(&mut out, &ty.declaration.doc);
    out
}

fn probe_schema(document: &Document, provider: &str, probe: &Probe) -> Option<schema::Probe> {
    let provider = document.analysis.model.providers.get(provider)?;
    let probe = provider.probes.get(&probe.declaration.name)?;
    Some(provider.probe_schema(probe))
}

/// Returns a block of code, shortened if it is long.
fn code_block(language: &str, code: &str) -> String {
    let mut lines: Vec<&str> = code.lines().take(MAX_LINES).collect();
    if code.lines().count() > MAX_LINES {
        lines.push("…");
    }
    // A fence that the code cannot close.
    let fence = "`".repeat(3.max(1 + longest_run(code)));
    format!("{fence}{language}\n{}\n{fence}", lines.join("\n"))
}

/// Returns the length of the longest run of backquotes.
fn longest_run(code: &str) -> usize {
    code.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn push_paragraph(out: &mut String, paragraph: &str) {
    if !paragraph.is_empty() {
        out.push_str("\n\n");
        out.push_str(paragraph);
    }
}
