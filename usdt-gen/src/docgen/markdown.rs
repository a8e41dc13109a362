//! The reference of a provider's probes, as Markdown.

use super::{numbered, passed_as};
use stapsdt::schema::{Probe, Provider, Schema};
use std::fmt::Write as _;

/// One section a provider, one subsection a probe with a table of its arguments.
pub fn reference(schema: &Schema) -> String {
    let mut out = String::new();
    for provider in &schema.providers {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a string has no failing case.
        let _ = writeln!(out, "# Provider `{}`\n", provider.name);
        contents(&mut out, provider);
        for one in &provider.probes {
            probe(&mut out, provider, one);
        }
    }
    out
}

fn contents(out: &mut String, provider: &Provider) {
    out.push_str("| probe | |\n| --- | --- |\n");
    for probe in &provider.probes {
        let summary = probe.doc.lines().next().unwrap_or_default();
        let _ = writeln!(out, "| [`{0}`](#{0}) | {1} |", probe.name, cell(summary));
    }
}

fn probe(out: &mut String, provider: &Provider, probe: &Probe) {
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
    // A column for what nobody has written would be empty.
    let documented = probe.args.iter().any(|a| !a.doc.is_empty());
    let (head, rule) = if documented { (" meaning |", " --- |") } else { ("", "") };
    let _ = writeln!(out, "\n| argument | type | tracers see |{head}\n| --- | --- | --- |{rule}");
    for (word, arg) in numbered(probe) {
        let doc = if documented { format!(" {} |", cell(&arg.doc)) } else { String::new() };
        let seen = passed_as(word, arg);
        let _ = writeln!(out, "| {} | `{}` | {seen} |{doc}", cell(&arg.name), cell(&arg.ty));
    }
}

/// Text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
