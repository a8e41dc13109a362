//! Probes of the Go runtime and standard library: the compiler gets the files of an overlay.
//!
//! In contrast to the go command's `-overlay`, this works for toolchains in the module cache, and
//! needs no files that outlive the build. It is sound for package `runtime`, too: no file adds an import
//! that the package has not already, so the import configuration stays true.

use super::InjectError;
use super::plan::Plan;
use super::toolchain::Toolchain;
use crate::overlay::{self, FileOrigin};
use std::ffi::OsStr;
use std::path::Path;

/// Changes of a package's files.
#[derive(Debug, Default)]
pub(crate) struct PackageChanges {
    /// New content of files, by their index.
    pub(crate) changed: Vec<(usize, String)>,
    /// Names and content of further Go files.
    pub(crate) added: Vec<(String, String)>,
    /// Names and content of assembly files.
    pub(crate) assembly: Vec<(String, String)>,
}

/// Returns what the runtime probes of a plan change in a package, whose compiler gets `files`.
pub(crate) fn changes(
    plan: &Plan,
    toolchain: &Toolchain,
    goarch: &str,
    package: &str,
    files: &[String],
) -> Result<PackageChanges, InjectError> {
    let folder = toolchain.goroot.join("src").join(package);
    let mut changes = PackageChanges::default();
    for (name, file) in overlay::files_of_package(&toolchain.goroot, &plan.providers, package)? {
        let path = folder.join(&name);
        match &file.origin {
            FileOrigin::Toolchain(_) => {
                let index = files.iter().position(|known| Path::new(known) == path);
                let index = index.ok_or_else(|| InjectError::NotCompiled {
                    package: package.to_owned(),
                    file: name.clone(),
                })?;
                changes.changed.push((index, file.at(&path.to_string_lossy())));
            }
            FileOrigin::Added { only_with } => {
                let is_known = |wanted: &String| {
                    let wanted = Path::new(wanted).file_name();
                    files.iter().any(|known| Path::new(known).file_name() == wanted)
                };
                if !only_with.as_ref().is_none_or(is_known) {
                    continue;
                }
                match kind(&name, goarch) {
                    Some(Kind::Go) => changes.added.push((name, file.text)),
                    Some(Kind::Assembly) => changes.assembly.push((name, file.text)),
                    None => {}
                }
            }
        }
    }
    Ok(changes)
}

/// What compiles a generated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Go,
    Assembly,
}

/// Returns what compiles a generated file for an architecture with probes; `None` if it is for
/// others.
pub(super) fn kind(name: &str, goarch: &str) -> Option<Kind> {
    let stem = Path::new(name).file_stem().and_then(OsStr::to_str)?;
    let is_for = |what: &str| stem.ends_with(&format!("_{what}"));
    match Path::new(name).extension().and_then(OsStr::to_str)? {
        "go" if !is_for("other") => Some(Kind::Go),
        "s" if is_for(goarch) || is_for("schema") => Some(Kind::Assembly),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_for_an_architecture() {
        for (name, expected) in [
            ("usdt_go.go", Some(Kind::Go)),
            ("usdt_go_other.go", None),
            ("usdt_go_amd64.s", Some(Kind::Assembly)),
            ("usdt_go_arm64.s", None),
            ("usdt_go_schema.s", Some(Kind::Assembly)),
            ("README", None),
        ] {
            assert_eq!(kind(name, "amd64"), expected, "{name}");
        }
    }
}
