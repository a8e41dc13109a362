//! The bpftrace script: it prints every probe with its arguments, and a latency histogram for each
//! pair of start and end probes.

use super::arguments::numbered;
use stapsdt::schema::{Arg, Kind, Probe, Provider, Schema};
use std::fmt::Write as _;

/// bpftrace 0.17 has `arg0` to `arg5` on amd64, in probes of every kind. It has more on arm64.
const BUILTIN_ARGS: usize = 6;
/// The suffixes of the names of start and end probes.
const PAIR_SUFFIXES: [(&str, &str); 3] = [("start", "end"), ("begin", "end"), ("start", "done")];

/// Returns one script for all providers. `binary` is the path to attach to; if it is `None`, it
/// becomes the first parameter of the script.
pub(crate) fn bpftrace_script(schema: &Schema, binary: Option<&str>) -> String {
    let usage = binary.map_or("bpftrace THIS.bt ./BINARY", |_| "bpftrace THIS.bt");
    let target = binary.unwrap_or("$1");
    let mut out = format!("// Run as root: {usage}\n");
    if binary.is_none() {
        out.push_str("// bpftrace rejects probes that the binary does not contain: `usdt-gen bpftrace BINARY` leaves them out.\n");
    }
    for provider in &schema.providers {
        for probe in &provider.probes {
            write_clause(&mut out, provider, probe, target);
        }
    }
    out
}

fn write_clause(out: &mut String, provider: &Provider, probe: &Probe, target: &str) {
    out.push('\n');
    // Writing to a string cannot fail.
    for line in probe.doc.lines() {
        let _ = writeln!(out, "{}", format!("// {line}").trim_end());
    }
    let _ = writeln!(out, "usdt:{target}:{}:{}\n{{", provider.name, probe.name);
    write_printf(out, probe);
    match pair_of(provider, probe) {
        Some((Side::Start, stem)) => {
            let _ = writeln!(out, "\t@{stem}_started[{}] = nsecs;", goroutine_id(probe));
        }
        Some((Side::End, stem)) => {
            let _ = write!(
                out,
                "\tif (@{stem}_started[{key}]) {{\n\t\t@{stem}_ns = hist(nsecs - @{stem}_started[{key}]);\n\
                 \t\tdelete(@{stem}_started[{key}]);\n\t}}\n",
                key = goroutine_id(probe)
            );
        }
        None => {}
    }
    out.push_str("}\n");
}

fn write_printf(out: &mut String, probe: &Probe) {
    let (mut format, mut values, mut omitted) = (probe.name.clone(), String::new(), Vec::new());
    for (word, arg) in numbered(probe) {
        if word + arg.kind.words() > BUILTIN_ARGS {
            omitted.push(arg.name.as_str());
            continue;
        }
        let (conversion, value) = printf_argument(word, arg);
        let _ = write!(format, " {}={conversion}", arg.name.replace('%', ""));
        let _ = write!(values, ", {value}");
    }
    let _ = writeln!(out, "\tprintf(\"{format}\\n\"{values});");
    if !omitted.is_empty() {
        let _ = writeln!(
            out,
            "\t// bpftrace reads only six argument words; not shown: {}",
            omitted.join(", ")
        );
    }
}

/// Returns the printf conversion and the expression that prints an argument.
fn printf_argument(word: usize, arg: &Arg) -> (&'static str, String) {
    match arg.kind {
        Kind::Int if arg.signed => ("%lld", format!("(int{})arg{word}", u32::from(arg.size) * 8)),
        Kind::Int => ("%llu", format!("arg{word}")),
        Kind::Bool => ("%d", format!("arg{word}")),
        Kind::Float | Kind::Pointer | Kind::Time => ("0x%llx", format!("arg{word}")),
        Kind::Cstring => ("%s", format!("str(arg{word})")),
        Kind::String | Kind::Error => ("%s", format!("str(arg{word}, arg{})", word + 1)),
        Kind::Bytes => ("%r", format!("buf(arg{word}, arg{})", word + 1)),
    }
}

/// Returns the expression of the goroutine ID, which sealing adds after the declared words.
fn goroutine_id(probe: &Probe) -> String {
    format!("arg{}", probe.words())
}

enum Side {
    Start,
    End,
}

/// Returns the side of a pair that a probe is, and the name of the pair.
///
/// The goroutine ID matches start and end; the thread ID cannot, because goroutines move between
/// threads. There is no pair if bpftrace cannot read the goroutine ID of both probes.
fn pair_of(provider: &Provider, probe: &Probe) -> Option<(Side, String)> {
    PAIR_SUFFIXES
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
