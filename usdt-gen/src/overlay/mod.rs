//! Adds probes to the Go runtime and standard library.
//!
//! The sources of the toolchain are not modified: changed copies are compiled instead. Either the go
//! command takes them with `-overlay`, or [`crate::inject`] hands them to the compiler.
//! The edits are in `data`. Each edit finds its position by the source lines around it, so an edit
//! applies only to a release that it fits. If the lines are missing or not unique, there is no
//! overlay.

pub(crate) mod patch;
mod positions;

use crate::dlang::catalog;
use crate::golang::{self, Package};
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use usdt_files::{Origin, TEXT_LIMIT, WriteError, write_if_changed};

/// Why an overlay could not be created. Nothing is written then, except after a failed write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverlayError {
    /// A source file of the toolchain differs from what an edit expects.
    #[error("{0}")]
    Mismatch(Box<patch::Mismatch>),
    /// A source file of the toolchain cannot be read.
    #[error("cannot read {}: {error}; is {} a Go toolchain with its sources?", Escaped::new(.path), Escaped::new(.goroot))]
    Read {
        /// Path of the source file.
        path: PathBuf,
        /// Root directory of the toolchain.
        goroot: PathBuf,
        /// Error of the operating system.
        error: std::io::Error,
    },
    /// There is no provider of this name.
    #[error("unknown provider `{name}`; available providers: {}", provider_names().join(", "))]
    UnknownProvider {
        /// The unknown name.
        name: String,
    },
    /// The catalog and the edits contradict each other, which is a bug in usdt-gen.
    #[error("cannot generate the probes of provider `{provider}`: {problem}")]
    Definition {
        /// Name of the provider.
        provider: String,
        /// What is wrong with its definition.
        problem: String,
    },
    /// An output file cannot be written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// An output directory cannot be created.
    #[error("cannot create {}: {error}", Escaped::new(.path))]
    CreateDirectory {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the operating system.
        error: std::io::Error,
    },
}

/// The changed and added source files of an overlay, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// Files by path below `GOROOT/src`.
    files: IndexMap<String, SourceFile>,
}

/// A changed or added source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) text: String,
    pub(crate) origin: FileOrigin,
}

/// Where a file of an overlay comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileOrigin {
    /// It replaces a file of the toolchain with this content.
    Toolchain(String),
    /// It is added if its package has the named file, which build tags may leave out.
    Added { only_with: Option<String> },
}

impl SourceFile {
    fn added(text: String, only_with: Option<&String>) -> SourceFile {
        SourceFile { text, origin: FileOrigin::Added { only_with: only_with.cloned() } }
    }

    /// Returns the text for a compiler that reads it from another path than `path`: line directives
    /// give it the positions of the toolchain's file.
    pub(crate) fn at(&self, path: &str) -> String {
        match &self.origin {
            FileOrigin::Toolchain(original) => positions::keep(original, &self.text, path),
            FileOrigin::Added { .. } => self.text.clone(),
        }
    }
}

/// Name of the file that `go build -overlay` reads.
const OVERLAY_JSON: &str = "overlay.json";

/// A data file: the package with a provider's stubs, and the edits that call them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEdits {
    package: StubPackage,
    #[serde(default, rename = "file")]
    files: Vec<AddedFile>,
    #[serde(default, rename = "edit")]
    edits: Vec<patch::Edit>,
}

/// The package that the generated stubs are added to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StubPackage {
    /// Import path.
    path: String,
    name: String,
    /// Prefix of the generated function names.
    prefix: String,
    /// True for package runtime, whose code must not grow the stack in some places.
    #[serde(default)]
    runtime: bool,
    /// Groups of probes that share a semaphore, and so one check whether a tracer is attached.
    #[serde(default)]
    semaphore_groups: Vec<Vec<String>>,
}

/// A source file that is added to the toolchain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedFile {
    /// Path below `GOROOT/src`.
    path: String,
    /// Name of the file in `data` with its content.
    source: String,
    /// The file is added only if the toolchain has this file, also below `GOROOT/src`.
    only_with: Option<String>,
}

/// The data files by provider.
static EDITS: LazyLock<IndexMap<&'static str, ProviderEdits>> = LazyLock::new(|| {
    let files = [
        ("go", include_str!("data/go.toml")),
        ("net_http", include_str!("data/net_http.toml")),
        ("sql", include_str!("data/sql.toml")),
        ("tls", include_str!("data/tls.toml")),
        ("net", include_str!("data/net.toml")),
    ];
    // The files are compiled in, and a test checks that each of them is valid.
    files.into_iter().filter_map(|(name, toml)| Some((name, toml::from_str(toml).ok()?))).collect()
});

/// Content of the added files, by name in `data`.
const ADDED_SOURCES: [(&str, &str); 6] = [
    ("runtime.go", include_str!("data/runtime.go")),
    ("http.go", include_str!("data/http.go")),
    ("h2_bundle.go", include_str!("data/h2_bundle.go")),
    ("http2.go", include_str!("data/http2.go")),
    ("tls.go", include_str!("data/tls.go")),
    ("net.go", include_str!("data/net.go")),
];

/// Returns the folder of a file below `GOROOT/src`, which is the import path of its package.
fn package_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(package, _)| package)
}

impl ProviderEdits {
    /// Returns the packages that get files in some release.
    fn packages(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|file| package_of(&file.path));
        let edits = self.edits.iter().map(|edit| package_of(&edit.file));
        std::iter::once(self.package.path.as_str()).chain(files).chain(edits)
    }
}

/// Returns the import paths of the packages that providers change. A release may lack some of them.
pub(crate) fn packages(providers: &[String]) -> IndexSet<&'static str> {
    providers
        .iter()
        .filter_map(|name| EDITS.get(name.as_str()))
        .flat_map(ProviderEdits::packages)
        .collect()
}

/// Returns true if a provider changes a package in some release.
pub(crate) fn changes(provider: &str, package: &str) -> bool {
    EDITS.get(provider).is_some_and(|edits| edits.packages().any(|path| path == package))
}

/// Returns the files that providers change in a package and add to it, by their names.
pub(crate) fn files_of_package(
    goroot: &Path,
    providers: &[String],
    package: &str,
) -> Result<Vec<(String, SourceFile)>, OverlayError> {
    let providers: Vec<String> =
        providers.iter().filter(|name| changes(name, package)).cloned().collect();
    let files = Overlay::new(goroot, &providers)?.files.into_iter();
    let of_package = |(path, file): (String, SourceFile)| {
        let name = path.strip_prefix(package)?.strip_prefix('/')?;
        (!name.contains('/')).then(|| (name.to_owned(), file))
    };
    Ok(files.filter_map(of_package).collect())
}

/// Returns the names of the providers that an overlay can add.
pub(crate) fn provider_names() -> Vec<&'static str> {
    EDITS.keys().copied().collect()
}

impl Overlay {
    /// Applies the edits of some providers to the sources of a toolchain.
    pub(crate) fn new(goroot: &Path, providers: &[String]) -> Result<Overlay, OverlayError> {
        let mut overlay = Overlay { files: IndexMap::new() };
        // A provider that is named twice is added once.
        for name in providers.iter().collect::<IndexSet<_>>() {
            let edits = EDITS
                .get(name.as_str())
                .ok_or_else(|| OverlayError::UnknownProvider { name: name.clone() })?;
            overlay.add_stubs(name, &edits.package)?;
            for file in &edits.files {
                let exists = |path: &String| goroot.join("src").join(path).exists();
                if file.only_with.as_ref().is_none_or(exists) {
                    let (_, source) = ADDED_SOURCES
                        .iter()
                        .find(|(name, _)| *name == file.source)
                        .unwrap_or(&("", ""));
                    let added = SourceFile::added((*source).to_owned(), file.only_with.as_ref());
                    overlay.files.insert(file.path.clone(), added);
                }
            }
            for edit in &edits.edits {
                let old = match overlay.files.get(&edit.file) {
                    Some(source) => source.clone(),
                    None => {
                        let text = read_source(goroot, &edit.file)?;
                        SourceFile { origin: FileOrigin::Toolchain(text.clone()), text }
                    }
                };
                let text = edit.apply(name, &old.text).map_err(OverlayError::Mismatch)?;
                overlay.files.insert(edit.file.clone(), SourceFile { text, ..old });
            }
        }
        Ok(overlay)
    }

    /// Generates the Go package of a provider into the package of its stubs.
    fn add_stubs(&mut self, provider: &str, stubs: &StubPackage) -> Result<(), OverlayError> {
        let failed =
            |problem: String| OverlayError::Definition { provider: provider.to_owned(), problem };
        let model = catalog::model(provider).map_err(failed)?;
        let package = Package {
            prefix: &stubs.prefix,
            runtime: stubs.runtime,
            semaphore_groups: &stubs.semaphore_groups,
            ..Package::named(&stubs.name)
        };
        let source = format!("usdt_{provider}.d");
        let files =
            golang::generate(&model, &source, package).map_err(|e| failed(e.to_string()))?;
        for file in files {
            let added = SourceFile::added(file.text, None);
            self.files.insert(format!("{}/{}", stubs.path, file.name), added);
        }
        Ok(())
    }

    /// Writes the files below `directory`, and the JSON file for `go build -overlay`. Returns the
    /// path of the JSON file, and warnings about what existing files did not keep.
    pub(crate) fn write(
        &self,
        goroot: &Path,
        directory: &Path,
    ) -> Result<(PathBuf, Vec<String>), OverlayError> {
        #[derive(Serialize)]
        struct OverlayJson {
            #[serde(rename = "Replace")]
            replace: serde_json::Map<String, serde_json::Value>,
        }
        let mut warnings = Vec::new();
        let mut overlay = OverlayJson { replace: serde_json::Map::new() };
        for (path, file) in &self.files {
            let target = directory.join(path);
            let parent = target.parent().unwrap_or(directory);
            usdt_files::create_directories(parent).map_err(|error| {
                OverlayError::CreateDirectory { path: parent.to_owned(), error }
            })?;
            warnings.extend(write_if_changed(&target, file.text.as_bytes(), Origin::New)?);
            let original = goroot.join("src").join(path);
            overlay
                .replace
                .insert(original.to_string_lossy().into_owned(), target.to_string_lossy().into());
        }
        let file = directory.join(OVERLAY_JSON);
        let mut json = serde_json::to_string_pretty(&overlay).unwrap_or_default();
        json.push('\n');
        warnings.extend(write_if_changed(&file, json.as_bytes(), Origin::New)?);
        Ok((file, warnings))
    }
}

/// Reads a source file of the toolchain.
fn read_source(goroot: &Path, file: &str) -> Result<String, OverlayError> {
    let path = goroot.join("src").join(file);
    usdt_files::read_text(&path, TEXT_LIMIT).map_err(|error| OverlayError::Read {
        path,
        goroot: goroot.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests;
