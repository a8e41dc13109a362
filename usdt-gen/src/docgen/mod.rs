//! Documents generated from a schema: a reference for readers, a script for bpftrace.

mod bpftrace;
mod markdown;

pub use bpftrace::scripts;
pub use markdown::reference;

use stapsdt::schema::{Arg, Kind, Probe};

/// An argument and the number of its first word, as tracers count.
fn numbered(probe: &Probe) -> impl Iterator<Item = (usize, &Arg)> {
    probe.args.iter().scan(0, |next, arg| {
        let word = *next;
        *next += arg.kind.words();
        Some((word, arg))
    })
}

/// What a tracer finds in an argument's words.
fn passed_as(word: usize, arg: &Arg) -> String {
    match arg.kind {
        Kind::String | Kind::Bytes => format!("arg{word} pointer, arg{} length", word + 1),
        Kind::Error => format!("arg{word} pointer, arg{} length of its message", word + 1),
        Kind::Cstring => format!("arg{word} pointer to a NUL-terminated string"),
        Kind::Float => format!("arg{word} IEEE 754 bits"),
        Kind::Pointer => format!("arg{word} pointer"),
        Kind::Int | Kind::Bool => match &arg.unit {
            Some(unit) => format!("arg{word} in {unit}"),
            None => format!("arg{word}"),
        },
    }
}

#[cfg(test)]
mod tests;
