//! The list of supported Go releases in `docs/compatibility.md`, generated from
//! `gobinary::supported_releases`.

use crate::command::{Explain, Failure, Outcome, root};
use gobinary::supported_releases::{MINORS, TESTED, TESTED_UNMODIFIED, UNMODIFIED_MINORS};

const PAGE: &str = "docs/compatibility.md";
const MARKERS: [&str; 2] = ["<!-- go releases -->\n", "<!-- /go releases -->\n"];

/// Rewrites the list.
pub(crate) fn write() -> Outcome {
    let text = with_list(&read()?)?;
    std::fs::write(root().join(PAGE), text).explain(&format!("cannot write {PAGE}"))
}

/// Fails if the list differs from the table in the code.
pub(crate) fn check() -> Outcome {
    let text = read()?;
    if with_list(&text)? == text {
        return Ok(());
    }
    Err(Failure(format!(
        "{PAGE}: the list of Go releases is out of date; run `cargo xtask golden` and commit the \
         result"
    )))
}

fn read() -> Outcome<String> {
    std::fs::read_to_string(root().join(PAGE)).explain(&format!("cannot read {PAGE}"))
}

/// Returns the page with the current list between its markers.
fn with_list(page: &str) -> Outcome<String> {
    let [begin, end] = MARKERS;
    let parts =
        page.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) =
        parts.ok_or_else(|| Failure(format!("{PAGE} has no `<!-- go releases -->` markers")))?;
    let (first, last, tested) = (MINORS.start(), MINORS.end(), TESTED.join(", "));
    let (oldest, unmodified) = (UNMODIFIED_MINORS.start(), TESTED_UNMODIFIED.join(", "));
    Ok(format!(
        "{before}{begin}Go 1.{first} to 1.{last} are supported.\n\
         The tests run with {tested}.\n\n\
         Unmodified binaries can be traced by [function entries](runtime-native.md#function-entries) from Go 1.{oldest} on.\n\
         For these, the matrix runs with {unmodified}, too.\n{end}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_list_between_the_markers() {
        let [begin, end] = MARKERS;
        let page = format!("before\n{begin}old\n{end}after\n");
        let written = with_list(&page).unwrap();
        assert!(written.contains(TESTED[0]) && !written.contains("old"), "{written}");
        assert!(written.starts_with("before\n") && written.ends_with("after\n"), "{written}");
        assert_eq!(with_list(&written).unwrap(), written);
        assert!(with_list("nothing").is_err());
    }
}
