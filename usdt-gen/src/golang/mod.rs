//! The Go package of a model: API and gates (`gates`), types of arguments (`struct_types`), stubs and blobs in assembly
//! (`stubs`), names (`names`).
//!
//! Output depends on nothing but the arguments of [`generate`]: same definition, same bytes.

mod gates;
mod names;
mod struct_types;
mod stubs;

pub use names::default_package;

use crate::model::{Model, Probe, Provider, Type};
use stapsdt::argspec::Arch;
use stapsdt::blob::BlobError;

/// A file of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Name without folder.
    pub name: String,
    /// Content.
    pub text: String,
}

/// Why no package can be made of a valid model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Not usable as a Go package name.
    #[error("`{0}` is no Go package name; give one with --package")]
    Package(String),
    /// A probe does not fit a blob.
    #[error("probe `{0}`: {1}")]
    Blob(String, BlobError),
}

/// The package that the files become part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// In front of the names of functions, where the files join a package that is there for something else.
    pub prefix: &'a str,
    /// Whether it is the Go runtime's own: functions have to do without growing the stack, and assembly can take
    /// arguments in the compiler's registers (ABIInternal).
    pub runtime: bool,
    /// Groups of probes with one semaphore, the first's: where they fire at the same place, one look tells of all.
    pub gates: &'a [Vec<String>],
}

/// Generates the package: `STEM.go`, `STEM_amd64.s`, `STEM_arm64.s`, `STEM_other.go`.
///
/// `source` is the definition's file name as the header mentions it; `STEM` comes from it.
pub fn generate(model: &Model, source: &str, package: &str) -> Result<Vec<File>, GenerateError> {
    generate_in(model, source, Package { name: package, ..Package::default() })
}

/// The same for a package that may be there already.
pub fn generate_in(model: &Model, source: &str, package: Package<'_>) -> Result<Vec<File>, GenerateError> {
    if !names::is_package(package.name) {
        return Err(GenerateError::Package(package.name.to_owned()));
    }
    let stem = names::stem(source);
    let (probes, mut taken) = names::assign(model, package)?;
    let type_names = struct_types::TypeNames::assign(model, &mut taken);
    let declared = struct_types::declare(model, &type_names, &mut taken, &names::exported(&stem));
    let unit = Unit { source, package, stem: &stem, probes, type_names, types: declared };
    Ok(vec![
        File { name: main_file(source), text: gates::linux(model, &unit) },
        File { name: format!("{stem}_amd64.s"), text: stubs::assembly(&unit, Arch::X86_64) },
        File { name: format!("{stem}_arm64.s"), text: stubs::assembly(&unit, Arch::Aarch64) },
        File { name: format!("{stem}_other.go"), text: gates::other(&unit) },
    ])
}

/// Name of the package's main file, whose package clause names the package.
pub fn main_file(source: &str) -> String {
    format!("{}.go", names::stem(source))
}

/// What every file of the package is made from.
struct Unit<'a> {
    source: &'a str,
    package: Package<'a>,
    stem: &'a str,
    probes: Vec<GoProbe<'a>>,
    type_names: struct_types::TypeNames,
    types: struct_types::Types,
}

/// A probe with its Go names.
struct GoProbe<'a> {
    provider: &'a Provider,
    probe: &'a Probe,
    /// What its symbols are named after: `RequestStart`.
    stem: String,
    /// Function that fires it: the same, behind the package's prefix.
    name: String,
    /// The probe whose semaphore says whether anybody is attached: itself, unless it shares one.
    gate: String,
    /// Parameter names, one for each declared argument.
    params: Vec<String>,
    blobs: stubs::Blobs,
}

impl GoProbe<'_> {
    /// `provider:probe`, as notes spell it.
    fn full_name(&self) -> String {
        format!("{}:{}", self.provider.name, self.probe.name)
    }
    /// The blob's symbol.
    fn blob(&self) -> String {
        format!("usdtProbe{}", self.stem)
    }
    /// The symbol that has the semaphore.
    fn gate(&self) -> String {
        format!("usdtProbe{}", self.gate)
    }
    /// The site's symbol.
    fn site(&self) -> String {
        format!("usdtSite{}", self.stem)
    }
    /// The function that puts the arguments into registers and goes on to the site.
    fn entry(&self) -> String {
        format!("usdtLoad{}", self.stem)
    }
    /// Whether text has to be looked at before it is passed on.
    fn has_text(&self) -> bool {
        self.probe
            .params
            .iter()
            .any(|p| matches!(p.ty, Type::String | Type::Bytes | Type::Error | Type::CString))
    }
    /// The out-of-line half of the gate.
    fn fire(&self) -> String {
        format!("usdtFire{}", self.stem)
    }
}

impl Unit<'_> {
    fn header(&self) -> String {
        // A file's name may have line ends in it.
        let source = self.source.replace(char::is_control, "?");
        format!("// Code generated by usdt-gen from {source}. DO NOT EDIT.\n\n")
    }
}

#[cfg(test)]
mod tests;
