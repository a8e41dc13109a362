//! A bill of materials in the JSON format of CycloneDX 1.5.

use crate::dependencies::{Crate, Dependencies};
use crate::error::{Error, Result, read, write};
use crate::layout::PROGRAMS;
use crate::run::{date, run};
use crate::{Architecture, NAME, Release, checksums, tarball_name};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library that is linked into the programs and is not a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedLibrary {
    /// Name, such as `glibc`.
    pub name: &'static str,
    /// Version, such as `2.36`.
    pub version: String,
    /// SPDX expression of the license.
    pub license: &'static str,
}

impl LinkedLibrary {
    fn url(&self) -> String {
        format!("pkg:generic/{}@{}", self.name, self.version)
    }
}

/// Returns the libraries that are part of each static program: Rust's standard library and glibc.
/// `linker` is the C compiler that links the programs.
///
/// # Errors
///
/// Fails if the compilers cannot be run, or if the static glibc is not installed.
pub fn linked_libraries(linker: &str) -> Result<Vec<LinkedLibrary>> {
    let rustc = run(Command::new("rustc").arg("--version"))?;
    let rust = rustc.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let archive = run(Command::new(linker).arg("-print-file-name=libc.a"))?;
    let archive = Path::new(archive.trim());
    let glibc = glibc_version(&read(archive)?).ok_or_else(|| {
        Error::Unexpected(format!("{} does not name its version", archive.display()))
    })?;
    Ok(vec![
        LinkedLibrary { name: "rust-std", version: rust, license: "Apache-2.0 OR MIT" },
        LinkedLibrary { name: "glibc", version: glibc, license: "LGPL-2.1-or-later" },
    ])
}

/// Returns the version in glibc's banner, with that of the distribution's package:
/// `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
fn glibc_version(archive: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"GNU C Library (";
    let start = archive.windows(BANNER.len()).position(|window| window == BANNER)?;
    let banner = archive.get(start + BANNER.len()..)?;
    let end = banner.iter().take(200).position(|byte| *byte == b')')?;
    let name = String::from_utf8_lossy(banner.get(..end)?);
    name.split_whitespace().last().map(str::to_owned)
}

/// Writes the bill of materials of an architecture's programs, and returns its path. `programs` is
/// the folder that contains both.
///
/// # Errors
///
/// Fails if a program is missing, or a file cannot be written.
pub fn write_sbom(
    release: &Release,
    architecture: Architecture,
    programs: &Path,
    dependencies: &Dependencies,
    libraries: &[LinkedLibrary],
) -> Result<PathBuf> {
    let main = format!("pkg:generic/{NAME}@{}?arch={architecture}", release.version);
    let mut components = Vec::new();
    for name in PROGRAMS {
        let digest = checksums::sha256(&programs.join(name))?;
        components.push(json!({
            "type": "application",
            "bom-ref": format!("{main}#bin/{name}"),
            "name": name,
            "version": release.version,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }));
    }
    components.extend(dependencies.crates.iter().map(crate_component));
    components.extend(libraries.iter().map(|library| {
        json!({
            "type": "library",
            "bom-ref": library.url(),
            "name": library.name,
            "version": library.version,
            "licenses": [{"expression": library.license}],
            "purl": library.url(),
        })
    }));
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": date(release, "+%Y-%m-%dT%H:%M:%SZ")?,
            "component": {
                "type": "application",
                "bom-ref": main,
                "name": NAME,
                "version": release.version,
                "licenses": [{"expression": "Apache-2.0 OR MIT"}],
            },
        },
        "components": components,
        "dependencies": edges(&main, dependencies, libraries),
    });
    // Another crate of the build may have switched on the order of insertion.
    document.sort_all_objects();
    let name = format!("{}.cdx.json", tarball_name(&release.version, architecture));
    let output = release.output_file(&name)?;
    write(&output, format!("{document:#}\n").as_bytes())?;
    Ok(output)
}

fn crate_component(krate: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": krate.url(),
        "name": krate.name,
        "version": krate.version,
        "purl": krate.url(),
    });
    if let Some(license) = &krate.license {
        component["licenses"] = json!([{"expression": license}]);
    }
    if let Some(checksum) = &krate.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// Returns which component depends on which. The programs as a whole depend on the crates that no
/// other crate uses, and on the libraries.
fn edges(main: &str, dependencies: &Dependencies, libraries: &[LinkedLibrary]) -> Vec<Value> {
    let crates = &dependencies.crates;
    let is_used = |url: &String| crates.iter().any(|krate| krate.dependencies.contains(url));
    let mut roots: Vec<String> =
        crates.iter().map(Crate::url).filter(|url| !is_used(url)).collect();
    roots.extend(libraries.iter().map(LinkedLibrary::url));
    let mut edges = vec![json!({"ref": main, "dependsOn": roots})];
    edges.extend(
        crates.iter().map(|krate| json!({"ref": krate.url(), "dependsOn": krate.dependencies})),
    );
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_glibc() {
        let archive = b"!<arch>\0GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release\0";
        assert_eq!(glibc_version(archive).as_deref(), Some("2.36-9+deb12u14"));
        for invalid in [&b"!<arch>\n"[..], b"GNU C Library (", b"GNU C Library ()"] {
            assert_eq!(glibc_version(invalid), None);
        }
    }
}
