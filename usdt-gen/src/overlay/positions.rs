//! Line directives that give changed source the positions of its original.

use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;

/// Returns `changed` with a directive before each run of lines that it shares with `original`, so that
/// messages, tracebacks and profiles name these lines as the toolchain's own. Inserted lines have the
/// numbers that follow the line before them.
pub(super) fn keep(original: &str, changed: &str, path: &str) -> String {
    let mut out = String::with_capacity(changed.len() + 1024);
    let mut is_moved = true;
    for change in TextDiff::from_lines(original, changed).iter_all_changes() {
        match (change.tag(), change.old_index()) {
            (ChangeTag::Equal, Some(index)) if is_moved => {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "//line {path}:{}:1", index + 1);
                is_moved = false;
            }
            (ChangeTag::Equal, _) => {}
            (ChangeTag::Insert | ChangeTag::Delete, _) => is_moved = true,
        }
        if change.tag() != ChangeTag::Delete {
            out.push_str(change.value());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shared_lines_keep_their_numbers() {
        assert_eq!(
            keep("a\nb\nc\nd\n", "a\nnew\nb\nC\nd\n", "/go/x.go"),
            "//line /go/x.go:1:1\na\nnew\n//line /go/x.go:2:1\nb\nC\n//line /go/x.go:4:1\nd\n"
        );
    }

    proptest! {
        #[test]
        fn only_directives_are_added(
            original in "([abc]\n){0,12}", changed in "([abcd]\n){0,12}"
        ) {
            let text = keep(&original, &changed, "x.go");
            let kept: String =
                text.split_inclusive('\n').filter(|line| !line.starts_with("//line ")).collect();
            prop_assert_eq!(kept, &*changed);
            // A line after a directive is the original's.
            let lines: Vec<&str> = original.lines().collect();
            let mut named = None;
            for line in text.lines() {
                let number = line.strip_prefix("//line x.go:");
                let number = number.and_then(|place| place.strip_suffix(":1"));
                let number = number.map(|number| number.parse::<usize>().unwrap());
                if let (Some(named), None) = (named, number) {
                    prop_assert_eq!(lines.get(named - 1).copied(), Some(line));
                }
                named = number;
            }
        }
    }
}
