//! The licenses of linked crates and libraries, as binary distributions must include them.

use crate::dependencies::{Crate, Dependencies};
use crate::error::{Result, entries, read};
use crate::sbom::LinkedLibrary;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Beginnings of the names of files that hold licenses, in capital letters.
const FILES: [&str; 4] = ["LICEN", "COPYING", "COPYRIGHT", "NOTICE"];

impl Dependencies {
    /// Returns a list of all crates of others and `libraries`, and the text of each license once.
    ///
    /// # Errors
    ///
    /// Fails if a crate's source cannot be read.
    pub fn licenses(&self, libraries: &[LinkedLibrary]) -> Result<String> {
        let mut out = String::from("The programs contain these crates and libraries:\n\n");
        let mut wordings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // Crates of this workspace have no checksum, and the license of the programs.
        for krate in self.crates.iter().filter(|krate| krate.checksum.is_some()) {
            let name = format!("{} {}", krate.name, krate.version);
            let license = krate.license.as_deref().unwrap_or("see its license below");
            let _ = writeln!(out, "{name}: {license}");
            for text in license_files(krate)? {
                wordings.entry(text).or_default().push(name.clone());
            }
        }
        for library in libraries {
            let _ = writeln!(out, "{} {}: {}", library.name, library.version, library.license);
        }
        let mut wordings: Vec<_> = wordings.into_iter().collect();
        wordings.sort_by(|(_, a), (_, b)| a.cmp(b));
        for (text, names) in wordings {
            let _ =
                write!(out, "\n{}\n{}\n\n{}\n", "-".repeat(72), names.join(", "), text.trim_end());
        }
        Ok(out)
    }
}

/// Returns the content of the files in the crate's folder that hold licenses.
fn license_files(krate: &Crate) -> Result<Vec<String>> {
    let mut wordings = Vec::new();
    for path in entries(&krate.folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && FILES.iter().any(|start| name.starts_with(start)) {
            let text = String::from_utf8_lossy(&read(&path)?).replace("\r\n", "\n");
            if !wordings.contains(&text) {
                wordings.push(text);
            }
        }
    }
    Ok(wordings)
}
