//! The Go package of a model.
//!
//! `package` has the Go names of everything, `gates` writes the Go side, `struct_types` the types of arguments, `stubs` the
//! assembly, with the data from `blobs` and the calling convention from `registers`.
//!
//! Output depends on nothing but the arguments of [`generate`] and this crate's version: same definition, same bytes.

mod blobs;
mod comments;
mod gates;
mod identifiers;
mod package;
mod registers;
mod struct_types;
mod stubs;

pub use identifiers::default_package;
pub use package::{GenerateError, Package};

use crate::model::Model;
use package::Unit;
use stapsdt::argspec::Arch;

/// A file of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Name without folder.
    pub name: String,
    /// Content.
    pub text: String,
}

/// Generates the files `STEM.go`, `STEM_amd64.s`, `STEM_arm64.s`, `STEM_schema.s` and `STEM_other.go` of a package.
///
/// `source` is the definition's file name as the header mentions it; `STEM` comes from it.
///
/// # Errors
///
/// Where the package has no name that Go accepts, or a probe does not fit into a blob.
pub fn generate(
    model: &Model,
    source: &str,
    package: Package<'_>,
) -> Result<Vec<File>, GenerateError> {
    if !identifiers::is_package(package.name) {
        return Err(GenerateError::Package(package.name.to_owned()));
    }
    let stem = identifiers::stem(source);
    let (probes, mut taken) = package::probes(model, package)?;
    let type_names = struct_types::TypeNames::assign(model, &mut taken);
    let types =
        struct_types::declare(model, &type_names, &mut taken, &identifiers::exported(&stem));
    let unit = Unit { source, package, stem: &stem, probes, type_names, types };
    Ok(vec![
        File { name: main_file(source), text: gates::linux(model, &unit) },
        File { name: format!("{stem}_amd64.s"), text: stubs::assembly(&unit, Arch::X86_64) },
        File { name: format!("{stem}_arm64.s"), text: stubs::assembly(&unit, Arch::Aarch64) },
        File { name: format!("{stem}_schema.s"), text: stubs::schemas(&unit) },
        File { name: format!("{stem}_other.go"), text: gates::other(&unit) },
    ])
}

/// Name of the package's main file, whose package clause names the package.
pub fn main_file(source: &str) -> String {
    format!("{}.go", identifiers::stem(source))
}

#[cfg(test)]
mod tests;
