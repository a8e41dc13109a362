//! Patterns of import paths, as the go command understands them: `...` matches any string, also an
//! empty one.
//!
//! The go command compiles each package with the flags of the last `-gcflags` whose pattern matches
//! it. So the set operations here decide which rules a pattern's flag has to stand for.

/// Matches any string.
const WILDCARD: &str = "...";

/// A part of a pattern: a byte, or the wildcard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Byte(u8),
    Wildcard,
}

/// Splits a pattern. A wildcard after the last slash also matches the path before the slash, as in
/// `net/...`, so patterns that end that way have two spellings.
fn spellings(pattern: &str) -> Vec<Vec<Element>> {
    let elements = |text: &str| {
        let mut out = Vec::new();
        for (i, part) in text.split(WILDCARD).enumerate() {
            if i > 0 {
                out.push(Element::Wildcard);
            }
            out.extend(part.bytes().map(Element::Byte));
        }
        out
    };
    let mut all = vec![elements(pattern)];
    all.extend(pattern.strip_suffix("/...").map(elements));
    all
}

/// Returns true if the pattern has a wildcard.
pub(crate) fn is_wildcard(pattern: &str) -> bool {
    pattern.contains(WILDCARD)
}

/// Returns true if the pattern matches an import path.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    contains(pattern, path)
}

/// Returns true if `outer` matches every path that `inner` matches. It may return false for
/// patterns of several wildcards that happen to match the same paths.
pub(crate) fn contains(outer: &str, inner: &str) -> bool {
    spellings(inner)
        .iter()
        .all(|inner| spellings(outer).iter().any(|outer| relate(outer, inner, false)))
}

/// Returns true if a path may exist that both patterns match.
pub(crate) fn overlaps(a: &str, b: &str) -> bool {
    spellings(a).iter().any(|a| spellings(b).iter().any(|b| relate(a, b, true)))
}

/// Compares two patterns element by element with a table of their suffixes.
///
/// With `both`, a wildcard of either pattern matches any elements of the other one, so the result
/// is whether they have a path in common. Otherwise only a wildcard of `a` does, and it also matches
/// wildcards, so the result is whether `a` covers `b`.
fn relate(a: &[Element], b: &[Element], both: bool) -> bool {
    // `row[j]` is the result for the rest of `a` after the current element and the rest of `b` from
    // `j`.
    let wild = |element: Option<&Element>| element == Some(&Element::Wildcard);
    let mut row: Vec<bool> = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let mut next = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            let (x, y) = (a.get(i), b.get(j));
            let after_b = next.get(j + 1).copied().unwrap_or(false);
            let after_a = i < a.len() && row.get(j).copied().unwrap_or(false);
            let after_both = i < a.len() && row.get(j + 1).copied().unwrap_or(false);
            let value = if x.is_none() && y.is_none() {
                true
            } else if wild(x) {
                after_a || j < b.len() && after_b
            } else if both && wild(y) {
                after_b || after_a
            } else {
                x.is_some() && x == y && after_both
            };
            if let Some(cell) = next.get_mut(j) {
                *cell = value;
            }
        }
        row = next;
    }
    row.first().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_as_the_go_command_does() {
        for (pattern, path, expected) in [
            ("net/http", "net/http", true),
            ("net/http", "net/http/httptest", false),
            ("net/...", "net", true),
            ("net/...", "net/http", true),
            ("net/...", "network", false),
            ("net...", "network", true),
            ("a/.../c", "a/b/c", true),
            ("a/.../c", "a/c", false),
            ("...", "anything", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn relates_patterns() {
        for (a, b, contained, overlap) in [
            ("a/...", "a/b", true, true),
            ("a/...", "a/b/...", true, true),
            ("a/b/...", "a/...", false, true),
            ("a/...", "b/...", false, false),
            ("a...c", "ab...", false, true),
            ("...", "x", true, true),
            ("x", "y", false, false),
        ] {
            assert_eq!(contains(a, b), contained, "{a} {b}");
            assert_eq!(overlaps(a, b), overlap, "{a} {b}");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["[ab/]", Just("...".to_owned())], 0..5)
            .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_contained_pattern_matches_nothing_else(
            outer in pattern(), inner in pattern(), path in "[ab/]{0,5}"
        ) {
            if contains(&outer, &inner) && matches(&inner, &path) {
                prop_assert!(matches(&outer, &path));
            }
        }

        #[test]
        fn patterns_with_a_common_path_overlap(
            a in pattern(), b in pattern(), path in "[ab/]{0,5}"
        ) {
            if matches(&a, &path) && matches(&b, &path) {
                prop_assert!(overlaps(&a, &b) && overlaps(&b, &a));
            }
        }
    }
}
