//! Generates the Go package of a model: exported Go functions, assembly, and the data of the
//! probes.
//!
//! * `package` assigns Go names to probes and arguments.
//! * `go_source` writes the Go files, with the types from `struct_types`.
//! * `assembly` writes the assembly files, with the data from `blobs` and the calling convention
//!   from `registers`.
//! * `identifiers` and `comments` turn names and documentation of a definition into valid Go.
//!
//! The output depends only on the arguments of [`generate`] and on this crate's version, so the
//! same definition always gives the same bytes.

mod assembly;
mod blobs;
mod comments;
mod functions;
mod go_source;
mod identifiers;
mod package;
mod registers;
mod struct_types;

pub(crate) use functions::{Function, functions};
pub(crate) use go_source::built_in_go_type;
pub(crate) use identifiers::default_package;
pub use package::{GenerateError, Package};

use crate::model::Model;
use package::Unit;
use stapsdt::argspec::Arch;

/// A generated file of the Go package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// File name without a folder, such as `probes_amd64.s`.
    pub name: String,
    /// Content of the file.
    pub text: String,
}

/// Generates the files `STEM.go`, `STEM_amd64.s`, `STEM_arm64.s`, `STEM_schema.s` and
/// `STEM_other.go` of a package.
///
/// `source` is the file name of the definition. The header of each file names it, and `STEM` is
/// derived from it.
///
/// # Errors
///
/// Returns [`GenerateError::Package`] if Go does not accept the package's name, and
/// [`GenerateError::Blob`] if a probe is too large for its blob.
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
    let helper_suffix = package::helper_suffix(&stem);
    let types = struct_types::declare(model, &type_names, &mut taken, &helper_suffix);
    let unit = Unit { source, package, helper_suffix, probes, type_names, types };
    Ok(vec![
        File { name: main_file(source), text: go_source::with_probes(model, &unit) },
        File { name: format!("{stem}_amd64.s"), text: assembly::stubs(&unit, Arch::X86_64) },
        File { name: format!("{stem}_arm64.s"), text: assembly::stubs(&unit, Arch::Aarch64) },
        File { name: format!("{stem}_schema.s"), text: assembly::schemas(&unit) },
        File { name: format!("{stem}_other.go"), text: go_source::without_probes(&unit) },
    ])
}

/// Returns the name of the package's main file, `STEM.go`. Its package clause names the package.
pub(crate) fn main_file(source: &str) -> String {
    format!("{}.go", identifiers::stem(source))
}

#[cfg(test)]
mod tests;
