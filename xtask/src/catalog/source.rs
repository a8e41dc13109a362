//! Reads and checks the `.toml` files of the catalog. Errors name file and line.

use crate::command::{Failure, Outcome};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use toml::Spanned;

/// A provider of the catalog; these types mirror those of `gobinary::catalog`.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) probes: Vec<Probe>,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) event: Option<String>,
    pub(super) args: Vec<Arg>,
    pub(super) entries: Vec<FunctionEntry>,
}

#[derive(Debug)]
pub(super) struct Arg {
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) doc: String,
}

#[derive(Debug)]
pub(super) struct FunctionEntry {
    pub(super) function: String,
    /// The first and the last minor release of Go that the entry is for; `None` without a bound.
    pub(super) since: Option<u32>,
    pub(super) until: Option<u32>,
    /// In the order of the probe's arguments.
    pub(super) args: Vec<(String, Location)>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Location {
    Register(u8),
    FieldPath {
        register: u8,
        path: Vec<Vec<Field>>,
    },
    Enum {
        register: u8,
        /// A variant of `LabelSet`.
        labels: &'static str,
    },
    GoroutineId(Option<u8>),
    Constant(i64),
}

#[derive(Debug, PartialEq)]
pub(super) struct Field {
    pub(super) structure: String,
    pub(super) name: String,
}

/// Labels of each enum.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelSets {
    pub(super) wait_reason: Vec<Labels>,
    pub(super) stop_reason: Vec<Labels>,
}

/// Labels from a minor release of Go on, indexed by code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Labels {
    pub(super) from: u32,
    pub(super) labels: Vec<String>,
}

/// The structure of the files.
mod raw {
    use super::{BTreeMap, Deserialize, Spanned};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Provider {
        pub(super) name: String,
        pub(super) doc: String,
        #[serde(rename = "probe")]
        pub(super) probes: Vec<Probe>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Probe {
        pub(super) name: Spanned<String>,
        pub(super) doc: Spanned<String>,
        pub(super) event: Option<String>,
        pub(super) args: Vec<Arg>,
        #[serde(default)]
        pub(super) entry: Vec<Entry>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Arg {
        pub(super) name: String,
        #[serde(rename = "type")]
        pub(super) ty: String,
        pub(super) doc: Spanned<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Entry {
        pub(super) function: String,
        pub(super) since: Option<u32>,
        pub(super) until: Option<u32>,
        pub(super) args: BTreeMap<String, Spanned<String>>,
    }
}

/// A file and its name, for error messages.
#[derive(Clone, Copy)]
struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn parse<T: for<'de> Deserialize<'de>>(self) -> Outcome<T> {
        toml::from_str(self.text)
            .map_err(|e| self.failure(e.span().map_or(0, |span| span.start), e.message()))
    }

    fn failure(self, offset: usize, message: impl std::fmt::Display) -> Failure {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Failure(format!("{}:{line}: {message}", self.name))
    }

    /// Returns a failure at the position of a value.
    fn at<T>(self, value: &Spanned<T>, message: impl std::fmt::Display) -> Failure {
        self.failure(value.span().start, message)
    }
}

/// Reads a provider's file.
pub(super) fn provider(name: &str, text: &str) -> Outcome<Provider> {
    let file = File { name, text };
    let raw: raw::Provider = file.parse()?;
    let mut seen = HashSet::new();
    for probe in &raw.probes {
        if !seen.insert(probe.name.get_ref().clone()) {
            return Err(file.at(&probe.name, format!("duplicate probe `{}`", probe.name.get_ref())));
        }
    }
    let probes = raw.probes.into_iter().map(|raw| probe(file, raw)).collect::<Outcome<_>>()?;
    Ok(Provider { name: raw.name, doc: raw.doc, probes })
}

fn probe(file: File<'_>, raw: raw::Probe) -> Outcome<Probe> {
    if !raw.doc.get_ref().ends_with('.') {
        return Err(file.at(&raw.doc, "a probe's `doc` must be a sentence and end with a period"));
    }
    for arg in &raw.args {
        let doc = arg.doc.get_ref();
        if doc.is_empty() || doc.ends_with('.') {
            return Err(file.at(&arg.doc, "an argument's `doc` must be a phrase without a period"));
        }
        if arg.name.ends_with("ns") && !doc.contains("nanoseconds") {
            return Err(
                file.at(&arg.doc, format!("the `doc` of `{}` must mention nanoseconds", arg.name))
            );
        }
    }
    let entries = raw.entry.into_iter().map(|entry| function_entry(file, &raw.args, entry));
    let entries = entries.collect::<Outcome<_>>()?;
    let arg = |arg: raw::Arg| Arg { name: arg.name, ty: arg.ty, doc: arg.doc.into_inner() };
    Ok(Probe {
        name: raw.name.into_inner(),
        doc: raw.doc.into_inner(),
        event: raw.event,
        args: raw.args.into_iter().map(arg).collect(),
        entries,
    })
}

fn function_entry(
    file: File<'_>,
    declared: &[raw::Arg],
    mut raw: raw::Entry,
) -> Outcome<FunctionEntry> {
    let mut args = Vec::new();
    for arg in declared {
        if let Some(text) = raw.args.remove(&arg.name) {
            let location = location(text.get_ref()).map_err(|problem| file.at(&text, problem))?;
            args.push((arg.name.clone(), location));
        }
    }
    match raw.args.first_key_value() {
        Some((name, text)) => Err(file.at(text, format!("the probe has no argument `{name}`"))),
        None => {
            let (since, until) = (raw.since, raw.until);
            Ok(FunctionEntry { function: raw.function, since, until, args })
        }
    }
}

/// Parses the location of an argument; the syntax is explained at the top of `go.toml`.
fn location(text: &str) -> Result<Location, String> {
    let register = |text: &str| match text.parse() {
        Ok(number @ 0..9) => Ok(number),
        _ => Err(format!("`{text}` is not a register from 0 to 8")),
    };
    if let Some(number) = text.strip_prefix('=') {
        return number.parse().map(Location::Constant).map_err(|e| format!("`{text}`: {e}"));
    }
    if let Some(of) = text.strip_prefix("goid") {
        let of = if of.is_empty() { None } else { Some(register(of.trim_start())?) };
        return Ok(Location::GoroutineId(of));
    }
    for (prefix, labels) in [("wait_reason ", "WaitReason"), ("stop_reason ", "StopReason")] {
        if let Some(number) = text.strip_prefix(prefix) {
            return Ok(Location::Enum { register: register(number)?, labels });
        }
    }
    let mut words = text.split(' ');
    let register = register(words.next().unwrap_or_default())?;
    let fields = |word: &str| word.split('+').map(field).collect();
    let path = words.map(fields).collect::<Result<Vec<Vec<_>>, _>>()?;
    Ok(if path.is_empty() {
        Location::Register(register)
    } else {
        Location::FieldPath { register, path }
    })
}

/// Parses a field such as `net/http.Request.URL`: package path, struct, field.
fn field(text: &str) -> Result<Field, String> {
    match text.rsplit_once('.') {
        Some((structure, name)) => {
            Ok(Field { structure: structure.to_owned(), name: name.to_owned() })
        }
        None => Err(format!("`{text}` is not a field (PACKAGE.STRUCT.FIELD)")),
    }
}

/// For each field, minor releases and the offset from each of them on. -1 in the file is `None`
/// here.
pub(super) type FieldOffsets = Vec<(Field, Vec<(u32, Option<u32>)>)>;

/// Reads `fields.toml`.
pub(super) fn field_offsets(name: &str, text: &str) -> Outcome<FieldOffsets> {
    let file = File { name, text };
    let raw: BTreeMap<String, Spanned<Vec<(u32, i64)>>> = file.parse()?;
    let mut out = Vec::new();
    for (name, since) in raw {
        let problem = |message: String| file.at(&since, message);
        let field = field(&name).map_err(problem)?;
        let since_raw = since.get_ref();
        if since_raw.is_empty() || !since_raw.is_sorted_by(|a, b| a.0 < b.0 && a.1 != b.1) {
            return Err(problem(format!(
                "`{name}`: releases must ascend, and each offset must differ from the one before"
            )));
        }
        let mut offsets = Vec::new();
        for (from, offset) in since_raw {
            let offset = match offset {
                -1 => None,
                _ => Some(
                    u32::try_from(*offset)
                        .map_err(|e| problem(format!("`{name}`: {offset}: {e}")))?,
                ),
            };
            offsets.push((*from, offset));
        }
        out.push((field, offsets));
    }
    Ok(out)
}

/// Reads `labels.toml`.
pub(super) fn labels(name: &str, text: &str) -> Outcome<LabelSets> {
    let file = File { name, text };
    let sets: LabelSets = file.parse()?;
    for releases in [&sets.wait_reason, &sets.stop_reason] {
        if !releases.is_sorted_by(|a, b| a.from < b.from) {
            return Err(file.failure(0, "releases of an enum must ascend"));
        }
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed_field(structure: &str, name: &str) -> Field {
        Field { structure: structure.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn reads_every_kind_of_location() {
        assert_eq!(location("2"), Ok(Location::Register(2)));
        let path = vec![
            vec![parsed_field("net/http.Request", "URL")],
            vec![parsed_field("net/url.URL", "Path")],
        ];
        assert_eq!(
            location("3 net/http.Request.URL net/url.URL.Path"),
            Ok(Location::FieldPath { register: 3, path })
        );
        let nested = vec![vec![parsed_field("a.b", "C"), parsed_field("d", "E")]];
        assert_eq!(location("0 a.b.C+d.E"), Ok(Location::FieldPath { register: 0, path: nested }));
        assert_eq!(
            location("wait_reason 2"),
            Ok(Location::Enum { register: 2, labels: "WaitReason" })
        );
        assert_eq!(location("goid"), Ok(Location::GoroutineId(None)));
        assert_eq!(location("goid 1"), Ok(Location::GoroutineId(Some(1))));
        assert_eq!(location("=-1"), Ok(Location::Constant(-1)));
    }

    #[test]
    fn rejects_malformed_locations() {
        for bad in ["", "9", "x", "1 ", "1 x", "1  a.b", "goid 9", "goidx", "=", "=y"] {
            assert!(location(bad).is_err(), "{bad}");
        }
    }

    const GOOD: &str = "\
name = \"p\"
doc = \"d\"

[[probe]]
name = \"one\"
doc = \"It fires.\"
args = [
    { name = \"id\", type = \"uint64_t\", doc = \"the goroutine\" },
    { name = \"ns\", type = \"int64_t\", doc = \"time, nanoseconds\" },
]
entry = [
    { function = \"f\", args = { ns = \"1\", id = \"goid\" } },
]
";

    #[test]
    fn orders_arguments_of_entries_as_the_probe_does() {
        let provider = provider("p.toml", GOOD).unwrap();
        let names: Vec<&str> =
            provider.probes[0].entries[0].args.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["id", "ns"]);
    }

    #[test]
    fn reports_mistakes_with_file_and_line() {
        let again = GOOD.split_once("[[probe]]").unwrap().1;
        for (text, expected) in [
            (GOOD.replace("doc = \"d\"", "doc = "), "p.toml:2: "),
            (
                GOOD.replace("doc = \"d\"", "doc = \"d\"\nmore = 1"),
                "p.toml:3: unknown field `more`",
            ),
            (GOOD.replace("fires.", "fires"), "p.toml:6: a probe's `doc` must be a sentence"),
            (GOOD.replace(", nanoseconds", ""), "p.toml:9: the `doc` of `ns` must mention"),
            (GOOD.replace("\"1\"", "\"9\""), "p.toml:12: `9` is not a register from 0 to 8"),
            (GOOD.replace("{ ns =", "{ x ="), "p.toml:12: the probe has no argument `x`"),
            (format!("{GOOD}\n[[probe]]{again}"), "p.toml:16: duplicate probe `one`"),
        ] {
            let Failure(message) = provider("p.toml", &text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
        let Failure(message) =
            field_offsets("f.toml", "\n\"a.b\" = [[23, 1], [21, 2]]").unwrap_err();
        assert!(message.starts_with("f.toml:2: `a.b`: releases must ascend"), "{message}");
        let Failure(message) = field_offsets("f.toml", "\"a.b\" = [[23, -2]]").unwrap_err();
        assert!(message.starts_with("f.toml:1: `a.b`: -2: "), "{message}");
    }
}
