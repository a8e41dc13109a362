//! The crates that are linked into programs, according to cargo.

use crate::Architecture;
use crate::error::{Error, Result, read_text};
use crate::run::run;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate that is linked into a program.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression of the license; `None` if the manifest has none.
    pub(crate) license: Option<String>,
    /// Folder of the source.
    pub(crate) folder: PathBuf,
    /// SHA-256 of the published package; `None` for crates of this workspace.
    pub(crate) checksum: Option<String>,
    /// Package URLs of the linked crates that this one depends on.
    pub(crate) dependencies: BTreeSet<String>,
}

impl Crate {
    /// Returns the package URL, which identifies the crate in a bill of materials.
    pub(crate) fn url(&self) -> String {
        package_url(&self.name, &self.version)
    }
}

fn package_url(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// The crates that are linked into programs, sorted by name and version.
#[derive(Debug)]
pub struct Dependencies {
    pub(crate) crates: Vec<Crate>,
}

impl Dependencies {
    /// Returns the crates that are linked into the programs of `packages`, built one by one as a
    /// release builds them. `tree` is the root of the source tree.
    ///
    /// # Errors
    ///
    /// Fails if cargo fails, or if a crate is missing from its output.
    pub fn of(tree: &Path, packages: &[&str], architecture: Architecture) -> Result<Dependencies> {
        let target = architecture.target();
        let mut linked = BTreeSet::new();
        for package in packages {
            let mut list = Command::new("cargo");
            // Procedural macros run in the compiler and are not linked.
            list.args(["tree", "--locked", "--prefix", "none", "--format", "{p}"]).args([
                "--edges",
                "normal,no-proc-macro",
                "--target",
                &target,
                "-p",
                package,
            ]);
            linked.extend(listed_crates(&run(list.current_dir(tree))?));
        }
        let mut metadata = Command::new("cargo");
        metadata
            .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &target])
            .current_dir(tree);
        let metadata: Value = serde_json::from_str(&run(&mut metadata)?)
            .map_err(|e| Error::Unexpected(format!("cannot read cargo's metadata: {e}")))?;
        let checksums = checksums(&read_text(&tree.join("Cargo.lock"))?)?;
        let crates = linked_crates(&metadata, &linked, &checksums)?;
        Ok(Dependencies { crates })
    }
}

/// Name and version of a crate.
type Identity = (String, String);

/// Returns the crates that `cargo tree` lists, a line each: `NAME vVERSION (SOURCE)`.
fn listed_crates(list: &str) -> BTreeSet<Identity> {
    let crates = list.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    });
    crates.collect()
}

/// Returns the checksums of published crates.
fn checksums(lock: &str) -> Result<BTreeMap<Identity, String>> {
    let lock: toml::Table =
        lock.parse().map_err(|e| Error::Unexpected(format!("cannot read Cargo.lock: {e}")))?;
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    let checksums = packages.into_iter().flatten().filter_map(|package| {
        let field = |name: &str| Some(package.get(name)?.as_str()?.to_owned());
        Some(((field("name")?, field("version")?), field("checksum")?))
    });
    Ok(checksums.collect())
}

/// Returns the linked crates with what cargo's metadata says about them.
fn linked_crates(
    metadata: &Value,
    linked: &BTreeSet<Identity>,
    checksums: &BTreeMap<Identity, String>,
) -> Result<Vec<Crate>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut names = BTreeMap::new();
    let mut found = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let identity = (string(&package["name"]), string(&package["version"]));
        if linked.contains(&identity) {
            names.insert(string(&package["id"]), identity.clone());
            found.insert(identity, package);
        }
    }
    if let Some((name, version)) = linked.iter().find(|identity| !found.contains_key(identity)) {
        let message = format!("cargo's metadata lacks the linked crate {name} {version}");
        return Err(Error::Unexpected(message));
    }
    let mut edges: BTreeMap<&Identity, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let Some(from) = names.get(&string(&node["id"])) else { continue };
        for dependency in list(&node["deps"]) {
            let is_normal =
                list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            if let Some((name, version)) = names.get(&string(&dependency["pkg"]))
                && is_normal
            {
                edges.entry(from).or_default().insert(package_url(name, version));
            }
        }
    }
    let crates = found.iter().map(|(identity, package)| {
        let manifest = PathBuf::from(string(&package["manifest_path"]));
        Crate {
            name: identity.0.clone(),
            version: identity.1.clone(),
            // Old manifests separate alternatives by a slash.
            license: package["license"].as_str().map(|license| license.replace('/', " OR ")),
            folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            checksum: checksums.get(identity).cloned(),
            dependencies: edges.get(identity).cloned().unwrap_or_default(),
        }
    });
    Ok(crates.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_list_of_cargo_tree() {
        let list = "usdt-gen v0.1.0 (/src/usdt-gen)\nclap v4.5.0\nclap v4.5.0 (*)\n\n";
        let expected = [("clap", "4.5.0"), ("usdt-gen", "0.1.0")];
        let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(listed_crates(list), expected.into());
    }

    #[test]
    fn names_a_linked_crate_without_metadata() {
        let linked = [("clap".to_owned(), "4.5.0".to_owned())].into();
        let error = linked_crates(&Value::Null, &linked, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "cargo's metadata lacks the linked crate clap 4.5.0");
    }
}
