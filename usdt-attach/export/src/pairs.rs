//! Which probes are start and end of the same work, by the names that people give them.

/// What starts end in, and what their ends do.
const PAIRS: &[(&str, &[&str])] = &[
    ("start", &["end", "done", "stop", "finish"]),
    ("begin", &["end", "done", "finish"]),
    ("enter", &["exit", "leave", "return"]),
    ("entry", &["return", "exit"]),
    ("open", &["close"]),
    ("block", &["unblock"]),
];

const SEPARATORS: &[&str] = &["__", "_", "-"];

/// The name without what says that it is a start, or whole where nothing does.
pub fn stem(name: &str) -> &str {
    split(name).map_or(name, |(stem, ..)| stem)
}

/// Stem, separator and the names of ends.
fn split(name: &str) -> Option<(&str, &'static str, &'static [&'static str])> {
    PAIRS.iter().find_map(|(start, ends)| {
        let rest = name.strip_suffix(start)?;
        // The longest separator first: `a__start` is no `a_` with `_`.
        let (stem, separator) =
            SEPARATORS.iter().find_map(|s| Some((rest.strip_suffix(s)?, *s)))?;
        (!stem.is_empty()).then_some((stem, separator, *ends))
    })
}

/// The end of the probe named `start`, among `names`.
pub fn end<'a>(start: &str, names: &[&'a str]) -> Option<&'a str> {
    let find = |wanted: String| names.iter().copied().find(|name| **name == wanted);
    if let Some((stem, separator, ends)) = split(start) {
        return ends.iter().find_map(|end| find(format!("{stem}{separator}{end}")));
    }
    SEPARATORS.iter().find_map(|separator| find(format!("{start}{separator}done")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let names = ["request__end", "gc_done", "query_done", "query", "a_unblock"];
        let end = |start| end(start, &names);
        assert_eq!(end("request__start"), Some("request__end"));
        assert_eq!(end("gc_start"), Some("gc_done"));
        assert_eq!(end("query"), Some("query_done"));
        assert_eq!(end("a_block"), Some("a_unblock"));
        assert_eq!(end("request_start"), None, "other separators are other names");
        assert_eq!((end("start"), end("request__end")), (None, None));
        assert_eq!(
            (stem("request__start"), stem("query"), stem("_start")),
            ("request", "query", "_start")
        );
    }
}
