//! The catalogue's probes as schemas, for binaries that have them without saying what their arguments are.

use gobinary::catalogue::{self, Arg};
use stapsdt::schema::{self, Kind};

/// Whether a provider is one of Go's runtime or library.
pub(super) fn has_provider(name: &str) -> bool {
    catalogue::provider(name).is_some()
}

/// A probe with all its arguments.
pub(super) fn whole(provider: &str, probe: &str) -> Option<schema::Probe> {
    let probe = catalogue::provider(provider)?.probes.iter().find(|p| p.name == probe)?;
    Some(schema::Probe {
        name: probe.name.to_owned(),
        args: probe.args.iter().map(argument).collect(),
        doc: probe.doc.to_owned(),
        stability: None,
    })
}

/// What the words of a note are by the catalogue: its first arguments, as many as there are words for.
pub(super) fn schema(provider: &str, probe: &str, words: usize) -> Option<schema::Probe> {
    let mut found = whole(provider, probe)?;
    while found.words() > words {
        found.args.pop();
    }
    // With a word too many or too few they are something else.
    (found.words() == words).then_some(found)
}

/// An argument of the catalogue.
fn argument(arg: &Arg) -> schema::Arg {
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
    let (name, ty, doc) = (arg.name.to_owned(), arg.ty.to_owned(), arg.doc.to_owned());
    schema::Arg { name, ty, kind, size, signed, unit: None, doc }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_arguments_as_there_are_words_for() {
        let names = |words| -> Option<Vec<String>> {
            let schema = schema("net_http", "server_request_start", words)?;
            Some(schema.args.into_iter().map(|a| a.name).collect())
        };
        assert_eq!(names(4).unwrap(), ["method", "path"]);
        assert_eq!(names(7).unwrap(), ["method", "path", "host", "id"]);
        assert_eq!((names(3), names(8)), (None, None));
        assert!(schema("go", "nothing", 0).is_none() && schema("app", "panic", 2).is_none());
    }

    #[test]
    fn every_type_of_the_catalogue_is_known() {
        for arg in catalogue::providers().iter().flat_map(|p| p.probes).flat_map(|p| p.args) {
            let known = ["uint64_t", "uintptr_t"].contains(&arg.ty);
            let read = argument(arg);
            assert_eq!(
                read.kind == Kind::Int && read.size == 8 && !read.signed,
                known,
                "{}",
                arg.ty
            );
        }
    }
}
