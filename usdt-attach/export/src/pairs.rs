//! Pairs of probes that are the start and the end of the same work, recognized by their names.

use usdt_attach::discover::select::RETURN;
use usdt_attach::plan::PlannedProbe;

/// The suffix of a start, and the suffixes of its possible ends.
struct Suffixes {
    start: &'static str,
    ends: &'static [&'static str],
}

const SUFFIXES: &[Suffixes] = &[
    Suffixes { start: "start", ends: &["end", "done", "stop", "finish"] },
    Suffixes { start: "begin", ends: &["end", "done", "finish"] },
    Suffixes { start: "enter", ends: &["exit", "leave", "return"] },
    Suffixes { start: "entry", ends: &["return", "exit"] },
    Suffixes { start: "open", ends: &["close"] },
    Suffixes { start: "block", ends: &["unblock"] },
];

/// What comes between the stem of a name and its suffix. The longest comes first, so that the stem
/// of `a__start` is `a` and not `a_`.
const SEPARATORS: &[&str] = &["__", "_", "-"];

/// Returns the name of the work that a probe starts: a function, or the name of the probe without
/// its suffix and with `_` for `__`.
pub fn work_name(start: &PlannedProbe) -> String {
    match start.function() {
        Some(function) => function.to_owned(),
        None => stem(&start.name).replace("__", "_"),
    }
}

/// Returns the name of a start without its suffix, or the whole name if it has none.
///
/// ```
/// assert_eq!(usdt_export::pairs::stem("request__start"), "request");
/// assert_eq!(usdt_export::pairs::stem("query"), "query");
/// ```
pub fn stem(name: &str) -> &str {
    split(name).map_or(name, |start| start.stem)
}

/// The parts of the name of a start.
struct StartName<'a> {
    stem: &'a str,
    separator: &'static str,
    ends: &'static [&'static str],
}

fn split(name: &str) -> Option<StartName<'_>> {
    SUFFIXES.iter().find_map(|suffixes| {
        let rest = name.strip_suffix(suffixes.start)?;
        let (stem, separator) = SEPARATORS
            .iter()
            .find_map(|separator| Some((rest.strip_suffix(separator)?, *separator)))?;
        (!stem.is_empty()).then_some(StartName { stem, separator, ends: suffixes.ends })
    })
}

/// Returns the end of the probe `start` among `names`, the probes of the same provider.
///
/// A start without one of the known suffixes ends in the probe of the same name with the suffix
/// `done`, and a function in its returns. `None` if there is no such probe.
///
/// ```
/// let names = ["request__start", "request__done", "query", "query_done"];
/// assert_eq!(usdt_export::pairs::end("request__start", &names), Some("request__done"));
/// assert_eq!(usdt_export::pairs::end("query", &names), Some("query_done"));
/// assert_eq!(usdt_export::pairs::end("query_done", &names), None);
/// assert_eq!(usdt_export::pairs::end("main.f", &["main.f%return"]), Some("main.f%return"));
/// ```
pub fn end<'a>(start: &str, names: &[&'a str]) -> Option<&'a str> {
    let find = |wanted: String| names.iter().copied().find(|name| **name == wanted);
    if let Some(StartName { stem, separator, ends }) = split(start) {
        let end = ends.iter().find_map(|end| find(format!("{stem}{separator}{end}")));
        return end.or_else(|| find(format!("{start}{RETURN}")));
    }
    let done = || SEPARATORS.iter().find_map(|separator| find(format!("{start}{separator}done")));
    find(format!("{start}{RETURN}")).or_else(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_with_the_same_stem_and_separator() {
        let names = ["request__end", "gc_done", "query_done", "query", "a_unblock"];
        for (start, expected) in [
            ("request__start", Some("request__end")),
            ("gc_start", Some("gc_done")),
            ("query", Some("query_done")),
            ("a_block", Some("a_unblock")),
            ("request_start", None),
            ("start", None),
            ("request__end", None),
        ] {
            assert_eq!(end(start, &names), expected, "{start}");
        }
    }

    #[test]
    fn strips_the_suffix_of_a_start() {
        assert_eq!(stem("request__start"), "request");
        assert_eq!(stem("query"), "query");
        assert_eq!(stem("_start"), "_start");
    }
}
