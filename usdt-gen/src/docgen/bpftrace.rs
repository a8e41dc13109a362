//! Ready scripts for bpftrace: every probe printed with its names, latencies of pairs as histograms.

use super::numbered;
use stapsdt::schema::{Arg, Kind, Probe, Provider, Schema};
use std::fmt::Write as _;

/// bpftrace knows `arg0` to `arg5` on amd64, in probes of every kind (0.17; more on arm64).
const BUILTIN_ARGS: usize = 6;
/// Ends of names that belong together.
const PAIRS: [(&str, &str); 3] = [("start", "end"), ("begin", "end"), ("start", "done")];

/// One script for all providers. `binary` is the file to attach to; without one it is the script's first parameter.
pub fn scripts(schema: &Schema, binary: Option<&str>) -> String {
    let usage = binary.map_or("bpftrace THIS.bt ./BINARY", |_| "bpftrace THIS.bt");
    let target = binary.unwrap_or("$1");
    let mut out = format!("// Run as root: {usage}\n");
    if binary.is_none() {
        out.push_str("// bpftrace refuses probes that the binary does not use: `usdt-gen bpftrace BINARY` leaves them out.\n");
    }
    for provider in &schema.providers {
        for probe in &provider.probes {
            clause(&mut out, provider, probe, target);
        }
    }
    out
}

fn clause(out: &mut String, provider: &Provider, probe: &Probe, target: &str) {
    out.push('\n');
    // Writing to a string has no failing case.
    for line in probe.doc.lines() {
        let _ = writeln!(out, "{}", format!("// {line}").trim_end());
    }
    let _ = writeln!(out, "usdt:{target}:{}:{}\n{{", provider.name, probe.name);
    print(out, probe);
    match paired(provider, probe) {
        Some((Side::Start, stem)) => {
            let _ = writeln!(out, "\t@{stem}_started[{}] = nsecs;", goid(probe));
        }
        Some((Side::End, stem)) => {
            let _ = write!(
                out,
                "\tif (@{stem}_started[{key}]) {{\n\t\t@{stem}_ns = hist(nsecs - @{stem}_started[{key}]);\n\
                 \t\tdelete(@{stem}_started[{key}]);\n\t}}\n",
                key = goid(probe)
            );
        }
        None => {}
    }
    out.push_str("}\n");
}

fn print(out: &mut String, probe: &Probe) {
    let (mut format, mut values, mut unseen) = (probe.name.clone(), String::new(), Vec::new());
    for (word, arg) in numbered(probe) {
        if word + arg.kind.words() > BUILTIN_ARGS {
            unseen.push(arg.name.as_str());
            continue;
        }
        let (conversion, value) = shown(word, arg);
        let _ = write!(format, " {}={conversion}", arg.name.replace('%', ""));
        let _ = write!(values, ", {value}");
    }
    let _ = writeln!(out, "\tprintf(\"{format}\\n\"{values});");
    if !unseen.is_empty() {
        let _ = writeln!(
            out,
            "\t// bpftrace reads six words of arguments; not shown: {}",
            unseen.join(", ")
        );
    }
}

fn shown(word: usize, arg: &Arg) -> (&'static str, String) {
    match arg.kind {
        Kind::Int if arg.signed => ("%lld", format!("(int{})arg{word}", u32::from(arg.size) * 8)),
        Kind::Int => ("%llu", format!("arg{word}")),
        Kind::Bool => ("%d", format!("arg{word}")),
        Kind::Float | Kind::Pointer => ("0x%llx", format!("arg{word}")),
        Kind::Cstring => ("%s", format!("str(arg{word})")),
        Kind::String | Kind::Error => ("%s", format!("str(arg{word}, arg{})", word + 1)),
        Kind::Bytes => ("%r", format!("buf(arg{word}, arg{})", word + 1)),
    }
}

/// The goroutine id, which sealing puts behind the declared words.
fn goid(probe: &Probe) -> String {
    format!("arg{}", probe.words())
}

enum Side {
    Start,
    End,
}

/// Which side of a pair a probe is, and the pair's name. No pair where bpftrace cannot read the goroutine id of
/// both: a thread is no substitute, goroutines change theirs.
fn paired(provider: &Provider, probe: &Probe) -> Option<(Side, String)> {
    PAIRS
        .iter()
        .flat_map(|(start, end)| [(Side::Start, start, end), (Side::End, end, start)])
        .find_map(|(side, own, other)| {
            let stem = probe.name.strip_suffix(own).filter(|s| s.is_empty() || s.ends_with('_'))?;
            let partner = provider.probes.iter().find(|p| p.name == format!("{stem}{other}"))?;
            if [probe, partner].iter().any(|p| p.words() >= BUILTIN_ARGS) {
                return None;
            }
            let stem = stem.trim_end_matches('_');
            let name = if stem.is_empty() {
                provider.name.clone()
            } else {
                format!("{}_{stem}", provider.name)
            };
            Some((side, name))
        })
}
