//! The argument words of a probe, as tracers number and read them.

use stapsdt::schema::{Arg, Kind, Probe};

/// Returns each argument with the index of its first word, which is its number for tracers.
pub(crate) fn numbered(probe: &Probe) -> impl Iterator<Item = (usize, &Arg)> {
    probe.args.iter().scan(0, |next, arg| {
        let word = *next;
        *next += arg.kind.words();
        Some((word, arg))
    })
}

/// Describes what a tracer reads from the words of an argument.
pub(crate) fn describe_words(word: usize, arg: &Arg) -> String {
    match arg.kind {
        Kind::String | Kind::Bytes => format!("arg{word} pointer, arg{} length", word + 1),
        Kind::Error => format!("arg{word} pointer, arg{} length of its message", word + 1),
        Kind::Time => format!("arg{word} and arg{} fields `wall` and `ext`", word + 1),
        Kind::Cstring => format!("arg{word} pointer to a NUL-terminated string"),
        Kind::Float => format!("arg{word} IEEE 754 bits"),
        Kind::Pointer => format!("arg{word} pointer"),
        Kind::Int | Kind::Bool => match &arg.unit {
            Some(unit) => format!("arg{word} in {unit}"),
            None => format!("arg{word}"),
        },
    }
}
