//! The Go runtime and standard library with probes in them, by `go build -overlay`: stock sources stay as they are,
//! the go command compiles changed copies in their place.
//!
//! What is put where is in `data`: places in the sources are found by their text, so that it is known, not guessed,
//! that a change fits the release. A source without the place is refused.

mod patch;

use crate::atomic_write::{WriteError, write_changed};
use crate::dlang::catalogue;
use crate::golang::{self, Package};
use indexmap::{IndexMap, IndexSet};
pub use patch::Mismatch;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Why there is no overlay. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A source is not what the overlay was made for.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A file of the toolchain cannot be read.
    #[error("cannot read {}: {error}; is {} a Go toolchain with its sources?", .path.display(), .goroot.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The toolchain.
        goroot: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Asked for by that name.
    #[error("there is no provider `{name}`, but {}", names().join(", "))]
    Provider {
        /// The name.
        name: String,
    },
    /// The catalogue and the edits contradict each other.
    #[error("the probes of `{0}`: {1}")]
    Definition(String, String),
    /// The output.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The output's folder.
    #[error("cannot create {}: {error}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// An overlay that is not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// By path below `GOROOT/src`, in order.
    files: IndexMap<String, String>,
}

/// The file that `go build -overlay` reads.
const FILE: &str = "overlay.json";

/// Where a provider's probes go and what fires them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edits {
    package: Home,
    #[serde(default, rename = "file")]
    files: Vec<NewFile>,
    #[serde(default, rename = "edit")]
    edits: Vec<patch::Edit>,
}

/// The package that has the stubs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Home {
    path: String,
    name: String,
    prefix: String,
    #[serde(default)]
    runtime: bool,
    #[serde(default)]
    gates: Vec<Vec<String>>,
}

/// A file that is added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFile {
    path: String,
    /// In `data`.
    text: String,
    /// Only where the release has this one.
    beside: Option<String>,
}

/// By provider.
static EDITS: LazyLock<IndexMap<&'static str, Edits>> = LazyLock::new(|| {
    let files = [
        ("go", include_str!("data/go.toml")),
        ("net_http", include_str!("data/net_http.toml")),
        ("sql", include_str!("data/sql.toml")),
        ("tls", include_str!("data/tls.toml")),
        ("net", include_str!("data/net.toml")),
    ];
    // The files are part of this program; a test reads each of them.
    files.into_iter().filter_map(|(name, text)| Some((name, toml::from_str(text).ok()?))).collect()
});

/// Sources of added files.
const TEXTS: [(&str, &str); 6] = [
    ("runtime.go", include_str!("data/runtime.go")),
    ("http.go", include_str!("data/http.go")),
    ("h2_bundle.go", include_str!("data/h2_bundle.go")),
    ("http2.go", include_str!("data/http2.go")),
    ("tls.go", include_str!("data/tls.go")),
    ("net.go", include_str!("data/net.go")),
];

/// Providers there are.
pub fn names() -> Vec<&'static str> {
    EDITS.keys().copied().collect()
}

impl Overlay {
    /// Changes the sources of a toolchain for these providers.
    pub fn new(goroot: &Path, providers: &[String]) -> Result<Overlay, OverlayError> {
        let mut overlay = Overlay { files: IndexMap::new() };
        // Named twice is meant once.
        for name in providers.iter().collect::<IndexSet<_>>() {
            let edits = EDITS
                .get(name.as_str())
                .ok_or_else(|| OverlayError::Provider { name: name.clone() })?;
            overlay.add_stubs(name, &edits.package)?;
            for file in &edits.files {
                let there = |path: &String| goroot.join("src").join(path).exists();
                if file.beside.as_ref().is_none_or(there) {
                    let (_, text) =
                        TEXTS.iter().find(|(name, _)| *name == file.text).unwrap_or(&("", ""));
                    overlay.files.insert(file.path.clone(), (*text).to_owned());
                }
            }
            for edit in &edits.edits {
                let old = match overlay.files.get(&edit.file) {
                    Some(text) => text.clone(),
                    None => source(goroot, &edit.file)?,
                };
                let new = edit.apply(name, &old).map_err(OverlayError::Mismatch)?;
                overlay.files.insert(edit.file.clone(), new);
            }
        }
        Ok(overlay)
    }

    fn add_stubs(&mut self, provider: &str, home: &Home) -> Result<(), OverlayError> {
        let bad = |problem: String| OverlayError::Definition(provider.to_owned(), problem);
        let model = catalogue::model(provider).map_err(bad)?;
        let package = Package {
            prefix: &home.prefix,
            runtime: home.runtime,
            semaphore_groups: &home.gates,
            ..Package::named(&home.name)
        };
        let source = format!("usdt_{provider}.d");
        for file in golang::generate(&model, &source, package).map_err(|e| bad(e.to_string()))? {
            self.files.insert(format!("{}/{}", home.path, file.name), file.text);
        }
        Ok(())
    }

    /// Changed and added files, by their path below `GOROOT/src`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Writes the files and the list of them that the go command reads; returns that list's path.
    pub fn write(&self, goroot: &Path, folder: &Path) -> Result<PathBuf, OverlayError> {
        #[derive(Serialize)]
        struct List {
            #[serde(rename = "Replace")]
            replace: serde_json::Map<String, serde_json::Value>,
        }
        let mut list = List { replace: serde_json::Map::new() };
        for (path, text) in &self.files {
            let target = folder.join(path);
            let parent = target.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .map_err(|error| OverlayError::Folder { path: parent.to_owned(), error })?;
            write_changed(&target, text.as_bytes())?;
            let original = goroot.join("src").join(path);
            list.replace
                .insert(original.display().to_string(), target.display().to_string().into());
        }
        let file = folder.join(FILE);
        let mut text = serde_json::to_string_pretty(&list).unwrap_or_default();
        text.push('\n');
        write_changed(&file, text.as_bytes())?;
        Ok(file)
    }
}

fn source(goroot: &Path, file: &str) -> Result<String, OverlayError> {
    let path = goroot.join("src").join(file);
    std::fs::read_to_string(&path).map_err(|error| OverlayError::Read {
        path,
        goroot: goroot.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests;
