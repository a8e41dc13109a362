//! What the argument words of a probe mean: the machine-readable interface of a provider.
//!
//! Written as JSON into blobs and schema notes, by `usdt-gen schema` and by `usdt-attach list --json`. Unknown
//! fields are ignored when reading, so that older readers survive newer writers.

use crate::blob;
use crate::elf::View;
use crate::note::NoteIter;
use serde::{Deserialize, Serialize};

/// Version of the JSON shape.
pub const VERSION: u32 = 1;
/// Section that carries one schema note per probe in a sealed file.
pub const SECTION: &str = ".note.usdt";
/// Owner name of schema notes, without its NUL. The descriptor is one [`NoteBody`] as JSON.
pub const OWNER: &str = "usdt";
/// Note type of a schema note: `usdt` in ASCII, which no tool takes for a type of its own.
pub const NT_SCHEMA: u32 = 0x7573_6474;

/// Every provider of one definition file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// [`VERSION`].
    pub version: u32,
    /// Providers in declared order.
    pub providers: Vec<Provider>,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Name as in notes.
    pub name: String,
    /// Probes in declared order.
    pub probes: Vec<Probe>,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Name as in notes (`request__start`).
    pub name: String,
    /// Arguments in declared order.
    pub args: Vec<Arg>,
    /// Documentation, from the definition's comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// DTrace stability, `NAME/DATA/CLASS`, where a pragma gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<String>,
}

/// One declared argument: one word of the note, or two for [`Kind::String`] and its like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    /// Declared name, or `argN`.
    pub name: String,
    /// Type as declared.
    #[serde(rename = "type")]
    pub ty: String,
    /// How the words are to be read.
    pub kind: Kind,
    /// Bytes of the value, or of the pointer for what is passed by reference.
    pub size: u8,
    /// Two's complement.
    #[serde(default)]
    pub signed: bool,
    /// Unit of the value, by its UCUM code, where the definition says it: `ns` of durations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Documentation, from the definition's comments.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
}

impl Arg {
    /// As C declares it: `const char *path`, `int (*callback)(int)`.
    pub fn declaration(&self) -> String {
        declaration(&self.ty, &self.name)
    }
}

/// A C type with a name put where the declaration has it.
pub fn declaration(ty: &str, name: &str) -> String {
    // The name belongs behind the innermost star in parentheses, in front of brackets, else to the end.
    if let Some(open) = ty.rfind("(*") {
        let stars = ty.get(open + 1..).unwrap_or_default();
        let at = open + 1 + stars.find(|c| c != '*').unwrap_or(stars.len());
        let (before, behind) = ty.split_at(at);
        return format!("{before}{name}{behind}");
    }
    if let Some((before, behind)) = ty.split_once('[') {
        return format!("{}[{behind}", declaration(before.trim_end(), name));
    }
    let space = if ty.ends_with('*') { "" } else { " " };
    format!("{ty}{space}{name}")
}

/// How an argument's words are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An integer.
    Int,
    /// IEEE 754 bits in an integer word.
    Float,
    /// 0 or 1.
    Bool,
    /// Pointer to a NUL-terminated string.
    Cstring,
    /// Pointer and length of text.
    String,
    /// Pointer and length of bytes.
    Bytes,
    /// Pointer and length of an error's message; a nil error is a nil pointer.
    Error,
    /// An address.
    Pointer,
}

impl Probe {
    /// Argument words in the note, the goroutine id not counted.
    pub fn words(&self) -> usize {
        self.args.iter().map(|a| a.kind.words()).sum()
    }
}

impl Kind {
    /// Argument words in the note.
    pub fn words(self) -> usize {
        match self {
            Kind::String | Kind::Bytes | Kind::Error => 2,
            _ => 1,
        }
    }
}

/// Descriptor of a schema note: the probe it belongs to and its description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteBody {
    /// [`VERSION`].
    pub version: u32,
    /// Provider name.
    pub provider: String,
    /// The probe.
    #[serde(flatten)]
    pub probe: Probe,
}

impl NoteBody {
    /// The compact JSON that blobs and notes carry.
    pub fn to_json(&self) -> String {
        // Strings, numbers and booleans only: serialisation has no failing case.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`NoteBody::to_json`] wrote; `None` for anything else, including later versions and names that are no
    /// identifiers: they come from binaries and go into scripts.
    pub fn from_json(text: &str) -> Option<NoteBody> {
        let body: NoteBody = serde_json::from_str(text.trim_end_matches('\0')).ok()?;
        (body.version == VERSION && body.is_plain()).then_some(body)
    }

    fn is_plain(&self) -> bool {
        let args = &self.probe.args;
        let names = args.iter().map(|arg| &arg.name).chain([&self.provider, &self.probe.name]);
        names.into_iter().all(|name| is_identifier(name))
            && !args.iter().any(|arg| arg.ty.contains(char::is_control))
            && args.iter().filter_map(|arg| arg.unit.as_ref()).all(|unit| is_unit(unit))
    }
}

/// A UCUM code as far as units of arguments go.
fn is_unit(unit: &str) -> bool {
    (1..=16).contains(&unit.len())
        && unit.bytes().all(|b| b.is_ascii_alphanumeric() || b"%/{}.-".contains(&b))
}

/// What the definition language allows as a name.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let is_first = |c: char| c == '_' || c.is_ascii_alphabetic();
    chars.next().is_some_and(is_first) && chars.all(|c| is_first(c) || c.is_ascii_digit())
}

/// The descriptions that a file carries, in its order: of sealed files from their notes, of unsealed ones from
/// their blobs. What is damaged is left out.
pub fn read(view: &View<'_>) -> Vec<NoteBody> {
    let Some(section) = view.section(SECTION) else {
        let blobs = blob::scan(view).into_iter().filter_map(Result::ok);
        return blobs.filter_map(|b| NoteBody::from_json(b.schema)).collect();
    };
    let mut notes = NoteIter::new(view.section_data(section).unwrap_or_default(), view.format());
    let mut out = Vec::new();
    while let Ok(Some(raw)) = notes.next_note() {
        if raw.owner == OWNER.as_bytes() && raw.n_type == NT_SCHEMA {
            out.extend(std::str::from_utf8(raw.desc).ok().and_then(NoteBody::from_json));
        }
    }
    out
}

/// The same, grouped by provider.
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
    fn names_stand_where_c_has_them() {
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
    fn json_shape_is_the_documented_one() {
        let body = NoteBody {
            version: VERSION,
            provider: "app".into(),
            probe: Probe {
                name: "request__start".into(),
                args: vec![Arg {
                    name: "id".into(),
                    ty: "uint64_t".into(),
                    kind: Kind::Int,
                    size: 8,
                    signed: false,
                    unit: None,
                    doc: String::new(),
                }],
                doc: String::new(),
                stability: None,
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
        ] {
            assert_eq!(NoteBody::from_json(&json.replace(name, hostile)), None, "{hostile}");
        }
        let timed =
            NoteBody::from_json(&json.replace("\"size\":8", "\"unit\":\"ns\",\"size\":8")).unwrap();
        assert_eq!(timed.probe.args[0].unit.as_deref(), Some("ns"));
    }
}
