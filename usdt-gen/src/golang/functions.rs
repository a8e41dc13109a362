//! The Go functions of a model, as documentation and editors show them.

use super::go_source::{go_type, parameters};
use super::package::{self, GenerateError, GoProbe, Package, Unit};
use super::struct_types::{TypeNames, Types};
use crate::model::Model;

/// The function that fires a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Name of the provider, as declared.
    pub(crate) provider: String,
    /// Name of the probe, as declared.
    pub(crate) probe: String,
    /// Go name of the function, such as `RequestStart`.
    pub(crate) name: String,
    /// Go parameters, such as `id uint64, method, path string`.
    pub(crate) parameters: String,
    /// Go type of each argument of the probe.
    pub(crate) types: Vec<String>,
}

/// Returns the functions that a package has for a model, in declared order.
///
/// # Errors
///
/// Returns the errors of [`super::generate`] that concern probes.
pub(crate) fn functions(
    model: &Model,
    package: Package<'_>,
) -> Result<Vec<Function>, GenerateError> {
    let (probes, mut taken) = package::probes(model, package)?;
    let type_names = TypeNames::assign(model, &mut taken);
    let types = Types { declarations: String::new(), layout_checks: String::new() };
    let unit =
        Unit { source: "", package, helper_suffix: String::new(), probes, type_names, types };
    let function = |probe: &GoProbe<'_>| Function {
        provider: probe.provider.name.clone(),
        probe: probe.probe.name.clone(),
        name: probe.name.clone(),
        parameters: parameters(probe, &unit),
        types: probe.probe.params.iter().map(|param| go_type(param.ty, &unit)).collect(),
    };
    Ok(unit.probes.iter().map(function).collect())
}
