//! Spelling, glossary and Markdown: the rules of `docs/writing.md` that a program can check.

mod glossary;
mod markdown;

use crate::command::{Explain, Failure, Outcome, command, known_files, root};
use crate::setup;

/// The task.
pub(crate) fn run(_: &[String]) -> Outcome {
    setup::spelling()?;
    check()
}

/// Checks every file of the project's own words.
pub(crate) fn check() -> Outcome {
    let files = files()?;
    let phrases = glossary::load()?;
    let mut findings = Vec::new();
    for file in &files {
        let text =
            std::fs::read_to_string(root().join(file)).explain(&format!("cannot read {file}"))?;
        if file != glossary::PAGE {
            findings.extend(glossary::find(&text, &phrases).into_iter().map(|finding| {
                let glossary::Finding { line, phrase, instead } = finding;
                format!("{file}:{line}: `{phrase}`: write {instead}")
            }));
        }
        if file.ends_with(".md") && !OTHER_FORM.contains(&file.as_str()) {
            findings.extend(
                markdown::check(&text)
                    .into_iter()
                    .map(|finding| format!("{file}:{}: {}", finding.line, finding.problem)),
            );
        }
    }
    if !findings.is_empty() {
        return Err(Failure(format!("words to change:\n{}", findings.join("\n"))));
    }
    spelling(&files)
}

/// Fails if codespell finds a misspelled or British word.
fn spelling(files: &[String]) -> Outcome {
    // Assembly splits strings into pieces of eight bytes, and the glossary names what not to write.
    let files = files.iter().filter(|file| !file.ends_with(".s") && *file != glossary::PAGE);
    let mut codespell = command("codespell", &["--builtin", "clear,rare,en-GB_to_en-US"]);
    codespell.args(["--ignore-words", "xtask/src/words/accepted.txt"]).args(files);
    let output = codespell.output().explain("cannot run codespell")?;
    if output.status.success() {
        return Ok(());
    }
    let findings = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure(format!("misspelled words:\n{findings}{errors}")))
}

/// Pages whose form a program dictates: rows of data, and mdBook's table of contents.
const OTHER_FORM: &[&str] = &["docs/catalog.md", "docs/SUMMARY.md"];

/// Endings of files that hold words of this project.
const ENDINGS: &[&str] =
    &["rs", "go", "s", "d", "md", "toml", "c", "py", "yaml", "yml", "sh", "txt"];

/// Folders of input from elsewhere, kept as found.
const FOREIGN: &[&str] = &["usdt-gen/corpus/", "usdt-gen/src/dlang/tests/snapshots/"];

fn files() -> Outcome<Vec<String>> {
    let mut files = known_files()?;
    files.retain(|file| {
        let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
        ENDINGS.contains(&ending) && !FOREIGN.iter().any(|folder| file.starts_with(folder))
    });
    Ok(files)
}
