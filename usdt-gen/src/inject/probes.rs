//! The probes of injected functions, as a model for [`crate::golang`].

use super::helper::{Function, Value};
use crate::model::{Model, Param, Probe, Provider, Type};
use indexmap::IndexMap;

/// Returns the entry and return probes of functions. `package` is the path that the linker gives the
/// package: that of programs is `main`.
pub(super) fn model(import_path: &str, package: &str, functions: &[Function]) -> Model {
    let mut providers: IndexMap<String, Provider> = IndexMap::new();
    for function in functions {
        let provider = providers.entry(function.provider.clone()).or_insert_with(|| Provider {
            name: function.provider.clone(),
            doc: String::new(),
            stability: None,
            probes: IndexMap::new(),
        });
        let symbol = format!("{import_path}.{}", function.name);
        for (suffix, moment, point, values) in [
            ("entry", "Entry of", "", &function.entry),
            ("return", "Return from", "%return", &function.returns),
        ] {
            let name = format!("{}__{suffix}", function.probe);
            let probe = Probe {
                name: name.clone(),
                doc: format!("{moment} {symbol}."),
                params: values.iter().map(parameter).collect(),
                outputs: Vec::new(),
                symbol: Some(format!("{package}.{}{point}", function.name)),
            };
            provider.probes.insert(name, probe);
        }
    }
    Model { providers, ..Model::default() }
}

fn parameter(value: &Value) -> Param {
    let shown = !matches!(value.expr.as_str(), "") && value.expr != value.name;
    Param {
        name: Some(value.name.clone()),
        spelling: value.go_type.clone(),
        ty: kind(&value.kind),
        labels: value.labels.clone(),
        doc: if shown { value.expr.clone() } else { String::new() },
    }
}

/// Returns the type of a kind that the helper names.
fn kind(name: &str) -> Type {
    let int = |size, signed| Type::Int { size, signed };
    match name {
        "int8" => int(1, true),
        "int16" => int(2, true),
        "int32" => int(4, true),
        "int64" => int(8, true),
        "uint8" => int(1, false),
        "uint16" => int(2, false),
        "uint32" => int(4, false),
        "uint64" => int(8, false),
        "uint" => Type::GoInt { signed: false },
        "uintptr" => Type::Uintptr,
        "float32" => Type::Float { size: 4 },
        "float64" => Type::Float { size: 8 },
        "bool" => Type::Bool,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "error" => Type::Error,
        "duration" => Type::Duration,
        // The helper is part of this program; the remaining kind is `int`.
        _ => Type::GoInt { signed: true },
    }
}
