//! The sources of the ready-made Go packages, collected in one file that `usdt-gen` embeds: a
//! published crate holds no files of other folders.

use crate::command::{Explain, Failure, Outcome, root};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const SOURCES: &str = "usdt-gen/src/packages/sources.txt";

/// Rewrites the file.
pub(crate) fn write() -> Outcome {
    std::fs::write(root().join(SOURCES), collect()?).explain(&format!("cannot write {SOURCES}"))
}

/// Fails if the file is not what the packages are.
pub(crate) fn check() -> Outcome {
    let text =
        std::fs::read_to_string(root().join(SOURCES)).explain(&format!("cannot read {SOURCES}"))?;
    if text == collect()? {
        return Ok(());
    }
    Err(Failure(format!("{SOURCES} is out of date; run `cargo xtask golden packages`")))
}

/// Collects the definitions and the code that is written by hand, without tests.
fn collect() -> Outcome<String> {
    let folder = root().join("go-stubs");
    let mut packages = entries(&folder)?;
    packages.extend(entries(&folder.join("libraries"))?);
    packages.retain(|path| name(path).starts_with("usdt"));
    let mut out = String::new();
    for package in packages {
        let mut files = entries(&package)?;
        files.retain(|file| file.extension().is_some_and(|e| e == "go"));
        files.retain(|file| !name(file).ends_with("_test.go"));
        files.push(package.join("internal/probes/probes.d"));
        for file in files {
            let path = file.strip_prefix(package.parent().unwrap_or(&folder)).unwrap_or(&file);
            let path = path.display();
            let text = std::fs::read_to_string(&file).explain(&format!("cannot read {path}"))?;
            let _ = write!(out, "-- {path} --\n{text}");
        }
    }
    Ok(out)
}

/// The entries of a folder, sorted.
fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).explain(&format!("cannot read {}", folder.display()))?;
    let mut entries: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
