//! Schemas: names, types and documentation of probes and their arguments.
//!
//! Blobs and schema notes contain them as JSON; `usdt-gen schema` and `usdt-attach list --json`
//! print them. Readers ignore unknown fields, so that new writers can add fields.

use crate::blob;
use crate::elf::View;
use crate::note::{self, Format, NoteError, NoteIter};
use crate::source::Source;
use serde::{Deserialize, Serialize};

/// The version of the JSON format.
pub const VERSION: u32 = 1;
/// The section of a sealed file with one schema note per probe.
pub const SECTION: &str = ".note.usdt";
/// Number of bytes that `usdt-attach` copies of a string at most. Generated Go code makes sure that
/// this part of a string is in memory when a probe fires.
pub const MAX_COPIED_STRING: u32 = 2048;
/// The owner name of schema notes, without its NUL. Their descriptor is a [`NoteBody`] as JSON.
pub(crate) const OWNER: &str = "usdt";
/// The note type of schema notes: `usdt` in ASCII, which no other tool uses.
pub(crate) const NT_SCHEMA: u32 = 0x7573_6474;

/// The providers of a definition file or of a binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// The providers in order of declaration.
    pub providers: Vec<Provider>,
}

/// A provider: a named group of probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// The name as in notes, such as `app`.
    pub name: String,
    /// The probes in order of declaration.
    pub probes: Vec<Probe>,
}

/// The declaration of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The name as in notes, such as `request__start`.
    pub name: String,
    /// The arguments in order of declaration, without the goroutine id.
    pub args: Vec<Arg>,
    /// The documentation comment of the probe; empty if it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The DTrace stability as `NAME/DATA/CLASS`; `None` if the definition has no pragma for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<String>,
    /// The function of whose calls the probe is, by the import path of its package, as
    /// `example.com/store.(*Store).Get`; with the suffix `%return` if the probe is that of the returns.
    /// `None` if the probe is not that of a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
}

/// The declaration of an argument, which has one word in the note or, for some kinds, two
/// (see [`Kind::words`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    /// The declared name, or `argN` for an argument without one.
    pub name: String,
    /// The declared type, such as `const char *`.
    #[serde(rename = "type")]
    pub ty: String,
    /// The interpretation of the words.
    pub kind: Kind,
    /// The size in bytes of the value, or of the pointer if the argument is passed by reference.
    pub size: u8,
    /// True if the value is a two's complement integer.
    #[serde(default)]
    pub signed: bool,
    /// The unit of the value as a UCUM code, such as `ns`; `None` if the definition does not say
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The documentation comment of the argument; empty if it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The names of values of an enumeration; empty for other arguments and if they are not known.
    /// A value occurs once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

/// The name of a value of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Label {
    /// The value. That of an unsigned argument is not negative.
    pub value: i64,
    /// The name of the constant, an identifier.
    pub name: String,
}

impl Arg {
    /// Returns an argument without a unit, a comment and names of values.
    pub fn new(
        name: impl Into<String>,
        ty: impl Into<String>,
        kind: Kind,
        size: u8,
        signed: bool,
    ) -> Arg {
        let (name, ty) = (name.into(), ty.into());
        Arg { name, ty, kind, size, signed, unit: None, doc: String::new(), labels: Vec::new() }
    }

    /// Returns the declaration in C: `const char *path`, `int (*callback)(int)`.
    pub fn declaration(&self) -> String {
        declaration(&self.ty, &self.name)
    }
}

/// Returns the C declaration of `name` with a type.
///
/// ```
/// use stapsdt::schema::declaration;
///
/// assert_eq!(declaration("int (*)(int)", "callback"), "int (*callback)(int)");
/// ```
pub fn declaration(ty: &str, name: &str) -> String {
    // The name goes after the innermost star in parentheses, else before brackets, else to the end.
    if let Some(open) = ty.rfind("(*") {
        let stars = ty.get(open + 1..).unwrap_or_default();
        let at = open + 1 + stars.find(|c| c != '*').unwrap_or(stars.len());
        let (before, after) = ty.split_at(at);
        return format!("{before}{name}{after}");
    }
    if let Some((before, after)) = ty.split_once('[') {
        return format!("{}[{after}", declaration(before.trim_end(), name));
    }
    let space = if ty.ends_with('*') { "" } else { " " };
    format!("{ty}{space}{name}")
}

/// The interpretation of an argument's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An integer.
    Int,
    /// The IEEE 754 bits of a number in an integer word.
    Float,
    /// A boolean: 0 or 1.
    Bool,
    /// A pointer to a NUL-terminated string.
    Cstring,
    /// Pointer and length of a string, two words.
    String,
    /// Pointer and length of a byte slice, two words.
    Bytes,
    /// Pointer and length of an error's message, two words. A nil error has a nil pointer.
    Error,
    /// The fields `wall` and `ext` of a `time.Time` of Go, two words.
    Time,
    /// An address.
    Pointer,
}

impl Probe {
    /// Returns the number of argument words in the note, without the goroutine id.
    pub fn words(&self) -> usize {
        self.args.iter().map(|a| a.kind.words()).sum()
    }
}

impl Kind {
    /// Returns the number of argument words in the note: 1 or 2.
    pub fn words(self) -> usize {
        match self {
            Kind::String | Kind::Bytes | Kind::Error | Kind::Time => 2,
            _ => 1,
        }
    }
}

/// The descriptor of a schema note: a probe's schema and its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteBody {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// The provider's name.
    pub provider: String,
    /// The declaration of the probe.
    #[serde(flatten)]
    pub probe: Probe,
}

impl NoteBody {
    /// Returns the compact JSON that blobs and schema notes contain.
    pub fn to_json(&self) -> String {
        // Serialization of strings, numbers and booleans cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the output of [`NoteBody::to_json`], with or without NULs after it.
    ///
    /// Returns `None` for invalid JSON and other versions, and for names, types and units that
    /// could inject code into generated scripts. Schemas come from binaries, which are hostile
    /// input.
    pub fn from_json(json: &str) -> Option<NoteBody> {
        let body: NoteBody = serde_json::from_str(json.trim_end_matches('\0')).ok()?;
        (body.version == VERSION && body.is_safe()).then_some(body)
    }

    /// Appends a schema note to `out`, with its header and padding. `json` is the output of
    /// [`NoteBody::to_json`].
    ///
    /// # Errors
    ///
    /// Returns [`NoteError::Unencodable`] if `json` has 4 GiB or more.
    pub fn encode_note(json: &str, format: Format, out: &mut Vec<u8>) -> Result<(), NoteError> {
        note::encode_raw(OWNER, NT_SCHEMA, json.as_bytes(), format, out)
    }

    fn is_safe(&self) -> bool {
        let args = &self.probe.args;
        let labels = args.iter().flat_map(|arg| &arg.labels).map(|label| &label.name);
        let names = args.iter().map(|arg| &arg.name).chain([&self.provider, &self.probe.name]);
        let names = names.chain(labels);
        names.into_iter().all(|name| is_identifier(name))
            && !args.iter().any(|arg| arg.ty.contains(char::is_control))
            && args.iter().filter_map(|arg| arg.unit.as_ref()).all(|unit| is_unit(unit))
            && !self.probe.symbol.iter().any(|symbol| symbol.contains(char::is_control))
    }
}

/// Returns true for the UCUM codes that are supported as units: up to 16 plain characters.
fn is_unit(unit: &str) -> bool {
    (1..=16).contains(&unit.len())
        && unit.bytes().all(|b| b.is_ascii_alphanumeric() || b"%/{}.-".contains(&b))
}

/// Returns true for identifiers of the definition language.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let is_start = |c: char| c == '_' || c.is_ascii_alphabetic();
    chars.next().is_some_and(is_start) && chars.all(|c| is_start(c) || c.is_ascii_digit())
}

/// Returns the schemas of a file, in the order of the file.
///
/// The schemas of a sealed file come from its schema notes, those of an unsealed file from its
/// blobs. Damaged schemas are skipped.
///
/// Schema notes beyond the first 4 MiB of their section are ignored.
pub fn read<'a, S: Source<'a>>(view: &View<'a, S>) -> Vec<NoteBody> {
    /// A program with thousands of documented probes stays below it.
    const MAX_SIZE: u64 = 4 << 20;
    let Some(section) = view.section(SECTION) else {
        let blobs = blob::scan(view).into_iter().filter_map(Result::ok);
        return blobs.filter_map(|b| NoteBody::from_json(b.schema)).collect();
    };
    let data = view.bytes_at_offset(section.offset, section.size.min(MAX_SIZE));
    let mut notes = NoteIter::new(data.unwrap_or_default(), view.format());
    let mut out = Vec::new();
    while let Ok(Some(raw)) = notes.next_note() {
        if raw.owner == OWNER.as_bytes() && raw.n_type == NT_SCHEMA {
            out.extend(std::str::from_utf8(raw.desc).ok().and_then(NoteBody::from_json));
        }
    }
    out
}

/// Groups schemas by provider.
impl FromIterator<NoteBody> for Schema {
    fn from_iter<T: IntoIterator<Item = NoteBody>>(bodies: T) -> Schema {
        let mut providers: Vec<Provider> = Vec::new();
        for body in bodies {
            match providers.iter_mut().find(|p| p.name == body.provider) {
                Some(provider) => provider.probes.push(body.probe),
                None => providers.push(Provider { name: body.provider, probes: vec![body.probe] }),
            }
        }
        Schema { version: VERSION, providers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declares_names_as_c_does() {
        for (ty, declared) in [
            ("int", "int x"),
            ("const char *", "const char *x"),
            ("void **", "void **x"),
            ("int (*)(int, char *)", "int (*x)(int, char *)"),
            ("int (**)[3]", "int (**x)[3]"),
            ("char [16]", "char x[16]"),
            ("int *[2][3]", "int *x[2][3]"),
        ] {
            assert_eq!(declaration(ty, "x"), declared);
        }
    }

    #[test]
    fn reads_and_writes_the_documented_json() {
        let body = NoteBody {
            version: VERSION,
            provider: "app".into(),
            probe: Probe {
                name: "request__start".into(),
                args: vec![Arg::new("id", "uint64_t", Kind::Int, 8, false)],
                doc: String::new(),
                stability: None,
                symbol: None,
            },
        };
        let json = body.to_json();
        assert_eq!(
            json,
            r#"{"version":1,"provider":"app","name":"request__start","args":[{"name":"id","type":"uint64_t","kind":"int","size":8,"signed":false}]}"#
        );
        assert_eq!(NoteBody::from_json(&json), Some(body));
        assert_eq!(NoteBody::from_json(&json.replace("\"version\":1", "\"version\":2")), None);
        for (name, hostile) in [
            ("\"app\"", "\"a{}BEGIN\""),
            ("\"id\"", "\"a\\nb\""),
            ("request__start", ""),
            ("uint64_t", "a\\u0007"),
            ("\"size\":8", "\"unit\":\"n s\",\"size\":8"),
            ("\"size\":8", "\"unit\":\"\",\"size\":8"),
            ("\"size\":8", "\"labels\":[{\"value\":1,\"name\":\"a b\"}],\"size\":8"),
        ] {
            assert_eq!(NoteBody::from_json(&json.replace(name, hostile)), None, "{hostile}");
        }
        let timed =
            NoteBody::from_json(&json.replace("\"size\":8", "\"unit\":\"ns\",\"size\":8")).unwrap();
        assert_eq!(timed.probe.args[0].unit.as_deref(), Some("ns"));
        let labels = "\"labels\":[{\"value\":-1,\"name\":\"StateIdle\"}],\"size\":8";
        let labeled = NoteBody::from_json(&json.replace("\"size\":8", labels)).unwrap();
        let label = Label { value: -1, name: "StateIdle".into() };
        assert_eq!(labeled.probe.args[0].labels, [label]);
        assert_eq!(NoteBody::from_json(&labeled.to_json()), Some(labeled));
        let symbol = |symbol: &str| {
            let member = format!("\"symbol\":\"{symbol}\",\"args\"");
            NoteBody::from_json(&json.replace("\"args\"", &member))
        };
        let injected = symbol("a/b.(*T).M%return").unwrap();
        assert_eq!(injected.probe.symbol.as_deref(), Some("a/b.(*T).M%return"));
        assert_eq!(NoteBody::from_json(&injected.to_json()), Some(injected));
        assert_eq!(symbol("a\\u0007"), None);
    }
}
