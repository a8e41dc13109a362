//! The Markdown reference of the probes.

use super::arguments::{describe_words, numbered};
use stapsdt::schema::{Probe, Provider, Schema};
use std::fmt::Write as _;

/// Returns a reference with one section per provider. Each probe has a subsection with a table of
/// its arguments.
pub(crate) fn markdown_reference(schema: &Schema) -> String {
    let mut out = String::new();
    for provider in &schema.providers {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# Provider `{}`\n", provider.name);
        write_contents(&mut out, provider);
        for probe in &provider.probes {
            write_probe(&mut out, provider, probe);
        }
    }
    out
}

fn write_contents(out: &mut String, provider: &Provider) {
    out.push_str("| probe | |\n| --- | --- |\n");
    for probe in &provider.probes {
        let summary = probe.doc.lines().next().unwrap_or_default();
        let _ = writeln!(out, "| [`{0}`](#{0}) | {1} |", probe.name, table_cell(summary));
    }
}

fn write_probe(out: &mut String, provider: &Provider, probe: &Probe) {
    let _ = writeln!(out, "\n## {}\n", probe.name);
    if !probe.doc.is_empty() {
        let _ = writeln!(out, "{}\n", probe.doc);
    }
    let stability = probe.stability.as_ref().map_or(String::new(), |s| format!(", stability {s}"));
    let _ = writeln!(out, "`{}:{}`{stability}", provider.name, probe.name);
    if probe.args.is_empty() {
        out.push_str("\nNo arguments.\n");
        return;
    }
    // Without documentation the column would be empty.
    let documented = probe.args.iter().any(|a| !a.doc.is_empty());
    let (head, rule) = if documented { (" meaning |", " --- |") } else { ("", "") };
    let _ = writeln!(out, "\n| argument | type | tracers see |{head}\n| --- | --- | --- |{rule}");
    for (word, arg) in numbered(probe) {
        let doc = if documented { format!(" {} |", table_cell(&arg.doc)) } else { String::new() };
        let seen = describe_words(word, arg);
        let _ = writeln!(
            out,
            "| {} | `{}` | {seen} |{doc}",
            table_cell(&arg.name),
            table_cell(&arg.ty)
        );
    }
}

/// Escapes the content of a table cell.
pub(crate) fn table_cell(content: &str) -> String {
    content.replace('|', "\\|").replace('\n', " ")
}
