//! The documentation as a book, with checked links.

use crate::command::{Explain, Failure, Outcome, command, execute, root};
use crate::{setup, suite};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const MDBOOK_VERSION: &str = "0.5.4";

/// Builds the book and the API documentation, and runs the documented examples.
pub(crate) fn run(_: &[String]) -> Outcome {
    let tools = setup::test()?;
    build()?;
    suite::run(&tools, &["docs::".to_owned()])
}

/// Checks the links of every page, then builds `target/book` and the API documentation.
pub(crate) fn build() -> Outcome {
    check_links()?;
    let mdbook = mdbook()?;
    execute(&mut command(mdbook, &["build", "docs"]))?;
    execute(
        command("cargo", &["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Returns the path of mdbook, and installs it first if necessary.
fn mdbook() -> Outcome<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
    let folder =
        Path::new(&home).join(".cache/usdt-tools").join(format!("mdbook-{MDBOOK_VERSION}"));
    let program = folder.join("bin/mdbook");
    if !program.exists() {
        let place = folder.display().to_string();
        let mut install = command(
            "cargo",
            &["install", "--quiet", "--locked", "mdbook", "--version", MDBOOK_VERSION],
        );
        execute(install.args(["--no-default-features", "--root", &place]))?;
    }
    Ok(program)
}

/// Fails if a page links to a file or a heading that does not exist.
fn check_links() -> Outcome {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for entry in std::fs::read_dir(root().join("docs")).explain("cannot read docs")?.flatten() {
        pages.push(entry.path());
    }
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md"))
        .explain("cannot read the summary")?;
    let mut anchors = HashMap::new();
    let mut broken = Vec::new();
    for page in &pages {
        let text =
            std::fs::read_to_string(page).explain(&format!("cannot read {}", page.display()))?;
        let folder = page.parent().unwrap_or(Path::new("."));
        for link in link_targets(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let known = anchors.entry(target.clone()).or_insert_with(|| heading_anchors(&target));
            if !target.exists() || !anchor.is_empty() && !known.iter().any(|a| a == anchor) {
                broken.push(format!(
                    "{}: {link}",
                    page.strip_prefix(root()).unwrap_or(page).display()
                ));
            }
        }
        if page.starts_with(root().join("docs")) {
            check_summary(page, &summary)?;
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure(format!("broken links:\n{}", broken.join("\n"))))
    }
}

/// Fails if a page is missing from the table of contents, because mdbook would leave it out.
fn check_summary(page: &Path, summary: &str) -> Outcome {
    let name = page.file_name().unwrap_or_default().to_string_lossy();
    if name == "SUMMARY.md" || summary.contains(&format!("({name})")) {
        return Ok(());
    }
    Err(Failure(format!("docs/{name} is not in docs/SUMMARY.md")))
}

/// Returns the lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Returns the targets of links within this repository.
fn link_targets(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in prose(text) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            rest = after;
            if !target.contains("://") && !target.contains(' ') {
                out.push(target.to_owned());
            }
        }
    }
    out
}

/// Returns the anchors of the headings of a page.
fn heading_anchors(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let titles = prose(&text)
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    titles.map(slug).collect()
}

/// Converts a heading to its anchor.
fn slug(title: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    title.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_links_and_headings_outside_code() {
        let page = "# A `b`, c\n[x](y.md#z) and [w](https://e.org) [v](u.md)\n```\n[no](link)\n# no\n```\n[t](#a-b-c)";
        assert_eq!(link_targets(page), ["y.md#z", "u.md", "#a-b-c"]);
        assert_eq!(slug("A `b`, c"), "a-b-c");
    }
}
