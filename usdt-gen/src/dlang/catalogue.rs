//! The catalogue's providers as provider definitions.

use crate::dlang;
use crate::dlang::diagnostic::Diagnostic;
use crate::model::Model;
use gobinary::catalogue;
use std::fmt::Write as _;

/// Reads a provider of the catalogue as the language's parser does.
pub fn model(provider: &str) -> Result<Model, String> {
    let provider =
        catalogue::provider(provider).ok_or_else(|| "they are not in the catalogue".to_owned())?;
    let parsed = dlang::parse(&text(provider));
    let problem = parsed.diagnostics.into_iter().find(Diagnostic::is_error).map(|d| d.message);
    parsed.model.ok_or_else(|| problem.unwrap_or_default())
}

/// The interface of a provider of the catalogue; `None` for a name that is not in it.
pub fn schema(provider: &str) -> Option<stapsdt::schema::Provider> {
    model(provider).ok()?.schema().providers.pop()
}

/// The provider in the language.
fn text(provider: &catalogue::Provider) -> String {
    let mut out = format!("/** {} */\nprovider {} {{\n", provider.doc, provider.name);
    for probe in provider.probes {
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
