//! The book: `docs/` as a site, with links that lead somewhere.

use crate::command::{Explain, Failure, Outcome, command, execute, root};
use crate::{setup, suite};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const MDBOOK: &str = "0.5.4";

/// The task: builds everything and runs the examples.
pub(crate) fn run(_: &[String]) -> Outcome {
    let tools = setup::test()?;
    build()?;
    suite::run(&tools, &["docs::".to_owned()])
}

/// Checks the links of every page, builds `target/book` and the API documentation.
pub(crate) fn build() -> Outcome {
    links()?;
    let mdbook = mdbook()?;
    execute(&mut command(mdbook, &["build", "docs"]))?;
    execute(
        command("cargo", &["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// The program, installed where it is missing.
fn mdbook() -> Outcome<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
    let folder = Path::new(&home).join(".cache/usdt-tools").join(format!("mdbook-{MDBOOK}"));
    let program = folder.join("bin/mdbook");
    if !program.exists() {
        let place = folder.display().to_string();
        let mut install =
            command("cargo", &["install", "--quiet", "--locked", "mdbook", "--version", MDBOOK]);
        execute(install.args(["--no-default-features", "--root", &place]))?;
    }
    Ok(program)
}

/// Fails where a page links to a file or a heading that is not there.
fn links() -> Outcome {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for entry in std::fs::read_dir(root().join("docs")).explain("cannot read docs")?.flatten() {
        pages.push(entry.path());
    }
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    let mut anchors = HashMap::new();
    let mut broken = Vec::new();
    for page in &pages {
        let text =
            std::fs::read_to_string(page).explain(&format!("cannot read {}", page.display()))?;
        let folder = page.parent().unwrap_or(Path::new("."));
        for link in targets(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let known = anchors.entry(target.clone()).or_insert_with(|| headings(&target));
            if !target.exists() || !anchor.is_empty() && !known.iter().any(|a| a == anchor) {
                broken.push(format!(
                    "{}: {link}",
                    page.strip_prefix(root()).unwrap_or(page).display()
                ));
            }
        }
        if page.starts_with(root().join("docs")) {
            listed(page)?;
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure(format!("links lead nowhere:\n{}", broken.join("\n"))))
    }
}

/// A page that is not in the table of contents is in no book.
fn listed(page: &Path) -> Outcome {
    let name = page.file_name().unwrap_or_default().to_string_lossy();
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md"))
        .explain("cannot read the summary")?;
    if name == "SUMMARY.md" || summary.contains(&format!("({name})")) {
        return Ok(());
    }
    Err(Failure(format!("docs/{name} is not in docs/SUMMARY.md")))
}

/// Lines that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Where links lead that stay within this repository.
fn targets(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in prose(text) {
        let mut rest = line;
        while let Some((_, behind)) = rest.split_once("](") {
            let Some((target, behind)) = behind.split_once(')') else { break };
            rest = behind;
            if !target.contains("://") && !target.contains(' ') {
                out.push(target.to_owned());
            }
        }
    }
    out
}

/// Headings of a page as links name them.
fn headings(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let titles = prose(&text)
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    titles.map(slug).collect()
}

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
        assert_eq!(targets(page), ["y.md#z", "u.md", "#a-b-c"]);
        assert_eq!(slug("A `b`, c"), "a-b-c");
    }
}
