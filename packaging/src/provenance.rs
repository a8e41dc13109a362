//! Where a release comes from: an in-toto statement with a SLSA provenance predicate.
//!
//! The statement is not signed: it says which source and compiler the files were built from, so that
//! anybody can build them again and compare. The forge signs its own statement.

use crate::error::{Result, write};
use crate::{NAME, Release, checksums};
use serde_json::json;
use std::path::PathBuf;

/// Identifies the parameters of the statement: those of `cargo xtask release`.
const BUILD_TYPE: &str = "urn:usdt-go:cargo-xtask-release:v1";

/// What a release was built from.
#[derive(Debug)]
pub struct Provenance<'a> {
    /// The git commit.
    pub revision: &'a str,
    /// URL of the repository; `None` if the release has no known home.
    pub repository: Option<&'a str>,
    /// The first line of `rustc -vV`.
    pub compiler: &'a str,
    /// The names of the architectures.
    pub architectures: &'a [&'a str],
}

/// Writes the statement about the files, and returns its path.
///
/// # Errors
///
/// Fails if a file cannot be read or written, or sha256sum is not installed.
pub fn write_provenance(
    release: &Release,
    provenance: &Provenance<'_>,
    files: &[PathBuf],
) -> Result<PathBuf> {
    let mut subjects = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        subjects.push(json!({"name": name, "digest": {"sha256": checksums::sha256(file)?}}));
    }
    let mut source = json!({"name": NAME, "digest": {"gitCommit": provenance.revision}});
    if let Some(url) = provenance.repository {
        source["uri"] = json!(format!("git+{url}@{}", provenance.revision));
    }
    let lock = checksums::sha256(&release.source.join("Cargo.lock"))?;
    let mut statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "command": ["cargo", "xtask", "release"],
                    "architectures": provenance.architectures,
                    "version": release.version,
                },
                "internalParameters": {
                    "compiler": provenance.compiler,
                    "SOURCE_DATE_EPOCH": release.time,
                },
                "resolvedDependencies": [
                    source,
                    {"name": "Cargo.lock", "digest": {"sha256": lock}},
                ],
            },
            "runDetails": {"builder": {"id": BUILD_TYPE}},
        },
    });
    // Another crate of the build may have switched on the order of insertion.
    statement.sort_all_objects();
    let output = release.output_file(&format!("{NAME}-{}.provenance.json", release.version))?;
    write(&output, format!("{statement:#}\n").as_bytes())?;
    Ok(output)
}
