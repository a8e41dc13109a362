//! Schemas of the catalog's probes, for binaries whose notes have no argument names and types.

use gobinary::catalog::{self, Arg};
use stapsdt::schema::{self, Kind};

/// Returns true for a provider of the Go runtime or standard library.
pub(super) fn has_provider(name: &str) -> bool {
    catalog::provider(name).is_some()
}

/// Returns the schema of a probe with all its arguments.
pub(super) fn full_schema(provider: &str, probe: &str) -> Option<schema::Probe> {
    let probe = catalog::provider(provider)?.probes.iter().find(|p| p.name == probe)?;
    Some(schema::Probe {
        name: probe.name.to_owned(),
        args: probe.args.iter().map(arg_schema).collect(),
        doc: probe.doc.to_owned(),
        stability: None,
        symbol: None,
    })
}

/// Returns the schema of a note with `words` argument words: the first arguments of the catalog's
/// probe, as many as fit. `None` if no number of arguments has exactly that many words; the note is
/// not the catalog's probe then.
pub(super) fn schema_for_words(provider: &str, probe: &str, words: usize) -> Option<schema::Probe> {
    let mut found = full_schema(provider, probe)?;
    while found.words() > words {
        found.args.pop();
    }
    (found.words() == words).then_some(found)
}

/// Returns the schema of an argument of the catalog.
fn arg_schema(arg: &Arg) -> schema::Arg {
    let (kind, size, signed) = match arg.ty {
        "string" => (Kind::String, 8, false),
        "error" => (Kind::Error, 8, false),
        "bool" => (Kind::Bool, 1, false),
        "int32_t" => (Kind::Int, 4, true),
        "int64_t" => (Kind::Int, 8, true),
        "uint16_t" => (Kind::Int, 2, false),
        "uint32_t" => (Kind::Int, 4, false),
        _ => (Kind::Int, 8, false),
    };
    let doc = arg.doc.to_owned();
    schema::Arg { doc, ..schema::Arg::new(arg.name, arg.ty, kind, size, signed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_arguments_that_the_words_cover() {
        let names = |words| -> Option<Vec<String>> {
            let schema = schema_for_words("net_http", "server_request_start", words)?;
            Some(schema.args.into_iter().map(|a| a.name).collect())
        };
        assert_eq!(names(4).unwrap(), ["method", "path"]);
        assert_eq!(names(7).unwrap(), ["method", "path", "host", "id"]);
        assert_eq!((names(3), names(8)), (None, None));
        assert!(schema_for_words("go", "nothing", 0).is_none());
        assert!(schema_for_words("app", "panic", 2).is_none());
    }

    #[test]
    fn knows_every_type_of_the_catalog() {
        for arg in catalog::providers().iter().flat_map(|p| p.probes).flat_map(|p| p.args) {
            let known = ["uint64_t", "uintptr_t"].contains(&arg.ty);
            let read = arg_schema(arg);
            assert_eq!(
                read.kind == Kind::Int && read.size == 8 && !read.signed,
                known,
                "{}",
                arg.ty
            );
        }
    }
}
