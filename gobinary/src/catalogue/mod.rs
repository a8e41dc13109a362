//! Probes of Go's runtime and standard library: one vocabulary, whichever way a binary offers them.
//!
//! The data is in the `.toml` files beside this one.

pub mod fields;
pub mod names;

use indexmap::IndexMap;
use names::Names;
use serde::Deserialize;
use std::sync::LazyLock;

/// A provider of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// As in notes: `net_http`.
    pub name: String,
    /// What its probes are about.
    pub doc: String,
    /// In documented order.
    #[serde(rename = "probe")]
    pub probes: Vec<Probe>,
}

/// A probe of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// As in notes: `goroutine__create`.
    pub name: String,
    /// When it fires.
    pub doc: String,
    /// The event of the runtime's own trace (`internal/trace/tracev2`) that it mirrors.
    pub event: Option<String>,
    /// In order.
    pub args: Vec<Arg>,
    /// Functions at whose beginning it can be seen, too.
    #[serde(default)]
    pub entry: Vec<Entry>,
}

/// A function that begins when a probe would fire.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// As the function table names it.
    pub function: String,
    /// Where arguments are then, by name.
    pub args: IndexMap<String, Place>,
}

/// Where an argument is at the beginning of a function.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Place {
    /// The integer register of this number, in the order of Go's convention (`src/cmd/compile/abi-internal.md`); text
    /// is in this one and the next.
    Register(u8),
    /// What a register points to has this field (of a field, and so on), which points to something that has the next.
    Fields(u8, Vec<Vec<Field>>),
    /// The text for the number in a register, whose lowest byte it is.
    Named(u8, Names),
    /// The id of the goroutine that a register points to, else of the running one.
    Goid(Option<u8>),
    /// A number.
    Constant(i64),
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// The struct, with its package's path: `net/http.Request`.
    pub structure: String,
    /// The field's own name.
    pub name: String,
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Place, String> {
        let register = |text: &str| match text.parse() {
            Ok(number @ 0..9) => Ok(number),
            _ => Err(format!("`{text}` is no register")),
        };
        if let Some(number) = text.strip_prefix('=') {
            return number.parse().map(Place::Constant).map_err(|e| e.to_string());
        }
        if let Some(of) = text.strip_prefix("goid") {
            return Ok(Place::Goid(if of.is_empty() { None } else { Some(register(of.trim_start())?) }));
        }
        for (beginning, names) in [("wait_reason ", Names::WaitReason), ("stop_reason ", Names::StopReason)] {
            if let Some(number) = text.strip_prefix(beginning) {
                return Ok(Place::Named(register(number)?, names));
            }
        }
        let mut words = text.split(' ');
        let number = register(words.next().unwrap_or_default())?;
        let field = |word: &str| match word.rsplit_once('.') {
            Some((structure, name)) => Ok(Field { structure: structure.to_owned(), name: name.to_owned() }),
            None => Err(format!("`{word}` is no field")),
        };
        let nested = |word: &str| word.split('+').map(field).collect();
        let fields = words.map(nested).collect::<Result<Vec<Vec<_>>, _>>()?;
        Ok(if fields.is_empty() { Place::Register(number) } else { Place::Fields(number, fields) })
    }
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// In the language of provider definitions: `uint64_t`, `string`, `error`.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it is, with its unit.
    pub doc: String,
}

/// Every provider, in documented order.
pub fn providers() -> &'static [Provider] {
    static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        let files = [
            include_str!("go.toml"),
            include_str!("net_http.toml"),
            include_str!("sql.toml"),
            include_str!("tls.toml"),
            include_str!("net.toml"),
        ];
        // The files are part of this program; a test reads each of them.
        files.iter().filter_map(|text| toml::from_str(text).ok()).collect()
    });
    &PROVIDERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn places() {
        let read = |text: &str| Place::try_from(text.to_owned());
        assert_eq!(read("2"), Ok(Place::Register(2)));
        let field = |structure: &str, name: &str| Field { structure: structure.into(), name: name.into() };
        assert_eq!(
            read("3 net/http.Request.URL net/url.URL.Path"),
            Ok(Place::Fields(
                3,
                vec![vec![field("net/http.Request", "URL")], vec![field("net/url.URL", "Path")]]
            ))
        );
        assert_eq!(read("wait_reason 2"), Ok(Place::Named(2, Names::WaitReason)));
        assert_eq!(read("0 a.b.C+d.E"), Ok(Place::Fields(0, vec![vec![field("a.b", "C"), field("d", "E")]])));
        assert_eq!((read("goid"), read("goid 1")), (Ok(Place::Goid(None)), Ok(Place::Goid(Some(1)))));
        assert_eq!(read("=-1"), Ok(Place::Constant(-1)));
        for bad in ["", "9", "x", "1 ", "1 x", "1  a.b", "goid 9", "goidx", "=", "=y"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_file_is_read_and_says_what_users_need() {
        let names: Vec<&str> = providers().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["go", "net_http", "sql", "tls", "net"]);
        for provider in providers() {
            let mut seen = HashSet::new();
            for probe in &provider.probes {
                assert!(seen.insert(&probe.name), "{} twice", probe.name);
                assert!(probe.doc.ends_with('.'), "{}: {}", probe.name, probe.doc);
                for (name, _) in probe.entry.iter().flat_map(|entry| &entry.args) {
                    assert!(probe.args.iter().any(|a| a.name == *name), "{}: {name}", probe.name);
                }
                for arg in &probe.args {
                    assert!(!arg.doc.is_empty() && !arg.doc.ends_with('.'), "{}: {}", probe.name, arg.name);
                    let timed = arg.name.ends_with("ns");
                    assert!(!timed || arg.doc.contains("nanoseconds"), "{}: {}", probe.name, arg.name);
                }
            }
        }
    }
}
