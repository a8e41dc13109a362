//! The file `SHA256SUMS`, in the format that `sha256sum --check` reads.

use crate::Release;
use crate::error::{At, Error, Result, write};
use crate::run::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the file.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// Writes the checksums of the files, and returns the path.
///
/// # Errors
///
/// Fails if a file cannot be read or written, or sha256sum is not installed.
pub fn write_checksums(release: &Release, files: &[PathBuf]) -> Result<PathBuf> {
    let mut lines = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        lines.push((name.clone().into_owned(), format!("{}  {name}\n", sha256(file)?)));
    }
    lines.sort();
    let text: String = lines.into_iter().map(|(_, line)| line).collect();
    let output = release.output_file(CHECKSUMS)?;
    write(&output, text.as_bytes())?;
    Ok(output)
}

/// Returns the SHA-256 digest of a file in hexadecimal digits.
pub(crate) fn sha256(file: &Path) -> Result<String> {
    // Reading standard input keeps the file's name, which may need escapes, out of the output.
    let input = std::fs::File::open(file).at("read", file)?;
    let output = run(Command::new("sha256sum").stdin(input))?;
    let digest = output.split_whitespace().next().unwrap_or_default();
    if digest.len() == 64 {
        return Ok(digest.to_owned());
    }
    Err(Error::Unexpected(format!("sha256sum printed `{}`", output.trim())))
}
