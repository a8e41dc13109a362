//! The providers of the built-in catalog, which describes the probes of the Go runtime and
//! standard library, as provider definitions.

use crate::dlang;
use crate::dlang::diagnostic::Diagnostic;
use crate::model::Model;
use gobinary::catalog;
use std::fmt::Write as _;

/// Returns the model of a catalog provider. The error is a message for the user.
pub(crate) fn model(provider: &str) -> Result<Model, String> {
    let provider = catalog::provider(provider).ok_or_else(|| "not in the catalog".to_owned())?;
    let parsed = dlang::parse(&definition(provider));
    let problem = parsed.diagnostics.into_iter().find(Diagnostic::is_error).map(|d| d.message);
    parsed.model.ok_or_else(|| problem.unwrap_or_default())
}

/// Returns the interface of a catalog provider, or `None` if the catalog has no such provider.
pub(crate) fn schema(provider: &str) -> Option<stapsdt::schema::Provider> {
    model(provider).ok()?.schema().providers.pop()
}

/// Writes a provider in the definition language.
fn definition(provider: &catalog::Provider) -> String {
    let mut out = format!("/** {} */\nprovider {} {{\n", provider.doc, provider.name);
    for probe in provider.probes {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\t/**\n\t * {}", probe.doc);
        if let Some(event) = probe.event {
            let _ = writeln!(
                out,
                "\t *\n\t * It mirrors the event {event} of the runtime's own trace."
            );
        }
        for arg in probe.args {
            let _ = writeln!(out, "\t * @param {} {}", arg.name, arg.doc);
        }
        let params: Vec<String> =
            probe.args.iter().map(|a| format!("{} {}", a.ty, a.name)).collect();
        let _ = writeln!(out, "\t */\n\tprobe {}({});", probe.name, params.join(", "));
    }
    out.push_str("};\n");
    out
}
