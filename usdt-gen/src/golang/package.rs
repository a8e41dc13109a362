//! The input of every generated file: the package, its probes with their Go names, and its types.

use super::blobs::ProbeData;
use super::identifiers::{Taken, exported, unexported};
use super::struct_types::{TypeNames, Types};
use crate::model::{Model, Probe, Provider, Type};
use stapsdt::blob::BlobError;
use std::collections::HashSet;

/// Version of the generator, which the header of each file names.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Oldest Go release that the files support. As a build constraint it also sets the language
/// version of the file, so it compiles in a module whose go.mod names an older version, or none.
pub(super) const TOOLCHAIN: &str = "go1.21";
/// Architectures that have assembly stubs, as a build constraint.
pub(super) const ARCHITECTURES: &str = "amd64 || arm64";
/// Build constraint that is false if the build tag `usdt_off` turns all probes off.
pub(super) const OPT_OUT: &str = "!usdt_off";

/// The reason why no package can be generated from a valid model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The name is not usable as the name of a Go package.
    #[error("`{0}` is not a valid Go package name; choose one with --package")]
    Package(String),
    /// The data of a probe, which is named `PROVIDER:PROBE`, does not fit into a blob.
    #[error("probe `{0}`: {1}")]
    Blob(String, BlobError),
}

/// The Go package that the generated files belong to.
///
/// ```
/// let package = usdt_gen::golang::Package::named("probes");
/// assert_eq!(package.prefix, "");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Package<'a> {
    /// Name of the package, as its package clause has it.
    pub name: &'a str,
    /// Prefix of the generated functions. It is empty unless the files join an existing package.
    pub prefix: &'a str,
    /// True for Go's own package `runtime`. Its functions must not grow the stack, and only its
    /// assembly may take arguments in the compiler's registers (ABIInternal).
    pub runtime: bool,
    /// Groups of probes, by name, that share the semaphore of the group's first probe. Probes that
    /// fire at the same place then need one test.
    pub semaphore_groups: &'a [Vec<String>],
    /// Whether each probe with arguments also gets a function `NAMEFunc`, which takes a function
    /// that computes them.
    pub lazy_args: bool,
    /// True for files that join a package of somebody else during its compilation. They import
    /// nothing but `unsafe`, because the go command provides only what the package itself imports,
    /// and a panic in an error's `Error` method does not reach the program. Go names have the
    /// probe's name as it is, so that the code that calls them needs no other information.
    pub injected: bool,
}

impl<'a> Package<'a> {
    /// Returns a package with this name and default settings: no prefix, not the runtime, a
    /// semaphore for each probe, no `NAMEFunc` functions, and not injected.
    pub fn named(name: &'a str) -> Package<'a> {
        Package { name, ..Package::default() }
    }
}

/// The input of every generated file.
pub(super) struct Unit<'a> {
    /// File name of the definition.
    pub(super) source: &'a str,
    pub(super) package: Package<'a>,
    /// Suffix of helper functions, see [`helper_suffix`].
    pub(super) helper_suffix: String,
    pub(super) probes: Vec<GoProbe<'a>>,
    pub(super) type_names: TypeNames,
    pub(super) types: Types,
}

/// A probe with its Go names.
pub(super) struct GoProbe<'a> {
    pub(super) provider: &'a Provider,
    pub(super) probe: &'a Probe,
    /// Name that all of the probe's symbols are derived from, such as `RequestStart`.
    pub(super) stem: String,
    /// Name of the function that fires the probe: the package's prefix and the stem.
    pub(super) name: String,
    /// Stem of the probe that owns the semaphore: this probe, unless it shares the one of a group.
    pub(super) semaphore_owner: String,
    /// Go parameter names, one for each declared argument.
    pub(super) params: Vec<String>,
    pub(super) data: ProbeData,
}

impl GoProbe<'_> {
    /// Returns `provider:probe`, as notes spell the names.
    pub(super) fn full_name(&self) -> String {
        format!("{}:{}", self.provider.name, self.probe.name)
    }

    /// Returns the symbol of the blob.
    pub(super) fn blob(&self) -> String {
        format!("usdtProbe{}", self.stem)
    }

    /// Returns the symbol of the blob that contains the semaphore.
    pub(super) fn semaphore_blob(&self) -> String {
        format!("usdtProbe{}", self.semaphore_owner)
    }

    /// Returns the symbol of the site.
    pub(super) fn site(&self) -> String {
        format!("usdtSite{}", self.stem)
    }

    /// Returns the symbol of the schema.
    pub(super) fn schema(&self) -> String {
        format!("usdtSchema{}", self.stem)
    }

    /// Returns the symbol of the assembly function that loads the arguments into registers and
    /// jumps to the site.
    pub(super) fn stub(&self) -> String {
        format!("usdtStub{}", self.stem)
    }

    /// Returns the symbol of the Go function that runs if a tracer is attached: it converts the
    /// arguments and calls the stub.
    pub(super) fn fire(&self) -> String {
        format!("usdtFire{}", self.stem)
    }

    /// True if an argument is a string or a slice of bytes, whose memory has to be read or copied
    /// first.
    pub(super) fn has_strings(&self) -> bool {
        self.probe
            .params
            .iter()
            .any(|p| matches!(p.ty, Type::String | Type::Bytes | Type::Error | Type::CString))
    }
}

impl Unit<'_> {
    /// Returns the first line of each file.
    pub(super) fn header(&self) -> String {
        // A file name may contain line breaks, and Go rejects byte-order marks.
        let source = self.source.replace(|c: char| c.is_control() || c == '\u{feff}', "?");
        format!("// Code generated by usdt-gen {VERSION} from {source}. DO NOT EDIT.\n\n")
    }
}

/// Returns the suffix of the helper functions of a file. A package may have files from several
/// definitions, so all but the usual `probes.d` need a suffix.
pub(super) fn helper_suffix(stem: &str) -> String {
    if stem == "probes" { String::new() } else { exported(stem) }
}

/// Returns the names of the exported functions of a probe. `Func` is always reserved, so
/// `--lazy-args` renames nothing.
fn function_names(name: &str) -> impl Iterator<Item = String> {
    ["", "Enabled", "Func"].into_iter().map(move |suffix| format!("{name}{suffix}"))
}

/// Assigns every probe its exported name.
///
/// If another provider already uses the name, the probe's own provider becomes its prefix. Adding a
/// provider therefore never renames existing probes. If another probe of the same provider uses the
/// name, as with `go_on` and `go__on`, the later one gets a number.
pub(super) fn probes<'a>(
    model: &'a Model,
    package: Package<'_>,
) -> Result<(Vec<GoProbe<'a>>, Taken), GenerateError> {
    let mut taken = Taken::default();
    let mut probes = Vec::new();
    for provider in model.providers.values() {
        let mut provider_names: HashSet<String> = HashSet::new();
        for probe in provider.probes.values() {
            let stem = if package.injected {
                probe.name.clone()
            } else {
                assign_stem(provider, probe, &taken, &provider_names)
            };
            for name in function_names(&stem) {
                provider_names.insert(name.clone());
                taken.insert(name);
            }
            let data = ProbeData::new(provider, probe)
                .map_err(|e| GenerateError::Blob(format!("{}:{}", provider.name, probe.name), e))?;
            let semaphore_owner = package
                .semaphore_groups
                .iter()
                .find(|group| group.contains(&probe.name))
                .and_then(|group| group.first())
                .map_or_else(|| stem.clone(), |first| exported(first));
            probes.push(GoProbe {
                provider,
                probe,
                params: parameter_names(probe),
                name: format!("{}{stem}", package.prefix),
                stem,
                semaphore_owner,
                data,
            });
        }
    }
    Ok((probes, taken))
}

/// Returns a stem whose functions do not clash with those in `taken`. `provider_names` has the
/// functions of earlier probes of the same provider.
fn assign_stem(
    provider: &Provider,
    probe: &Probe,
    taken: &Taken,
    provider_names: &HashSet<String>,
) -> String {
    let find_clash = |stem: &str| function_names(stem).find(|name| taken.contains(name));
    let short = exported(&probe.name);
    let clashes_with_other_provider =
        find_clash(&short).is_some_and(|name| !provider_names.contains(&name));
    let stem = if clashes_with_other_provider {
        format!("{}{short}", exported(&provider.name))
    } else {
        short
    };
    std::iter::once(stem.clone())
        .chain((2..).map(|n| format!("{stem}{n}")))
        .find(|candidate| find_clash(candidate).is_none())
        .unwrap_or_default()
}

/// Returns a unique name for each parameter: the declared one, or `argN`.
fn parameter_names(probe: &Probe) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (i, param) in probe.params.iter().enumerate() {
        let mut name = param.name.as_ref().map_or_else(|| format!("arg{i}"), |n| unexported(n));
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    names
}
