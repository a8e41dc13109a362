//! Types by the names that users give them, for type assertions in paths.
//!
//! A name is that of Go's messages, `*fs.PathError`, or has the whole path of its package,
//! `*io/fs.PathError`. DWARF has the second form, and the type descriptors have the first one.

use super::DebugInfoError;
use super::entry::Name;
use super::functions::unescaped;
use super::units::Entries;
use crate::dynamic_type::DynamicTypes;
use crate::go_type::TypeRef;
use stapsdt::source::Source;
use std::collections::HashMap;

/// The number of names whose types are kept.
const MAX_KEPT: usize = 64;
/// The number of types whose names may match before the type descriptors are read.
const MAX_CANDIDATES: usize = 1 << 16;
/// The number of types of one name after which no others are looked for.
const MAX_FOUND: usize = 64;
/// The number of types that a message names.
const MAX_NAMED: usize = 4;

/// A type that an interface can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedType {
    pub(crate) ty: TypeRef,
    /// The link-time address of the type descriptor.
    pub(crate) descriptor: u64,
    /// True if the second word of an interface is the value, false if it points to the value.
    pub(crate) is_direct: bool,
}

/// A reason why a name stands for no type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoType {
    /// No type descriptor with the name is in the debug information.
    Unknown,
    /// Several packages have such a type. The value lists them with their paths.
    Ambiguous(String),
    /// The type descriptors of the binary are not found.
    NoDescriptors,
    DebugInfo(DebugInfoError),
}

/// The types that were found, by their names.
#[derive(Debug, Default)]
pub(super) struct NamedTypes {
    known: HashMap<String, Result<NamedType, NoType>>,
}

/// A type that may be the one.
struct Candidate {
    /// The offset of its entry.
    entry: u64,
    /// The link-time address of the type descriptor.
    descriptor: u64,
    name: Name,
}

impl NamedTypes {
    /// Finds the type with a name in the unit of another type: Go's linker puts all types into one.
    pub(super) fn find<'a, S: Source<'a>>(
        &mut self,
        wanted: &str,
        near: TypeRef,
        entries: &mut Entries<'a, S>,
        descriptors: Option<&DynamicTypes<'a, S>>,
    ) -> Result<NamedType, NoType> {
        if let Some(known) = self.known.get(wanted) {
            return known.clone();
        }
        let found = match descriptors {
            Some(descriptors) => search(wanted, near, entries, descriptors),
            None => Err(NoType::NoDescriptors),
        };
        if self.known.len() == MAX_KEPT {
            self.known.clear();
        }
        self.known.insert(wanted.to_owned(), found.clone());
        found
    }
}

fn search<'a, S: Source<'a>>(
    wanted: &str,
    near: TypeRef,
    entries: &mut Entries<'a, S>,
    descriptors: &DynamicTypes<'a, S>,
) -> Result<NamedType, NoType> {
    let candidates = candidates(wanted, near, entries, descriptors).map_err(NoType::DebugInfo)?;
    let mut found: Vec<(String, Candidate)> = Vec::new();
    for candidate in candidates {
        let path = entries.read_name(&candidate.name).map_err(NoType::DebugInfo)?;
        let path = unescaped(&path);
        // The descriptor says whether the entry is right, whatever the entry claims.
        let Some(name) = descriptors.name(candidate.descriptor) else { continue };
        let is_same_type = last_identifier(&name) == last_identifier(&path);
        let is_known = found.iter().any(|(_, other)| other.descriptor == candidate.descriptor);
        if is_same_type && !is_known && (path == wanted || name == wanted) {
            found.push((path, candidate));
            if found.len() == MAX_FOUND {
                break;
            }
        }
    }
    if found.iter().any(|(path, _)| path == wanted) {
        found.retain(|(path, _)| path == wanted);
    }
    match found.as_slice() {
        [] => Err(NoType::Unknown),
        [(_, one)] => Ok(NamedType {
            ty: TypeRef(one.entry),
            descriptor: one.descriptor,
            is_direct: descriptors.is_direct(one.descriptor),
        }),
        several => {
            let names = several.iter().take(MAX_NAMED).map(|(path, _)| format!("`{path}`"));
            Err(NoType::Ambiguous(names.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Returns the types that have descriptors and whose names may be the one.
fn candidates<'a, S: Source<'a>>(
    wanted: &str,
    near: TypeRef,
    entries: &mut Entries<'a, S>,
    descriptors: &DynamicTypes<'a, S>,
) -> Result<Vec<Candidate>, DebugInfoError> {
    let end = last_identifier(wanted);
    let mut out: Vec<Candidate> = Vec::new();
    let unit = entries.unit_of(near.0)?;
    entries.top_level_types(&unit, |entry| {
        let is_possible = match &entry.name {
            Some(Name::Inline(name)) => last_identifier(name) == end,
            Some(Name::Offset(_)) => true,
            None => false,
        };
        if !is_possible || entry.runtime_type == 0 || out.len() > MAX_CANDIDATES {
            return;
        }
        let descriptor = descriptors.start().checked_add(entry.runtime_type);
        if let Some((descriptor, name)) = descriptor.zip(entry.name) {
            out.push(Candidate { entry: entry.offset, descriptor, name });
        }
    })?;
    if out.len() > MAX_CANDIDATES {
        return Err(DebugInfoError::Limit("the number of types with similar names"));
    }
    Ok(out)
}

/// Returns the last identifier of the name of a type, which both forms of a name have, such as
/// `PathError` of `*io/fs.PathError`. Type arguments do not count.
fn last_identifier(name: &str) -> &str {
    let end = match name.strip_suffix(']') {
        // The brackets at the start of `[]T` and of `map[K]V` are not at the end.
        Some(_) => name.find('[').filter(|at| *at > 0).unwrap_or(name.len()),
        None => name.len(),
    };
    let name = name.get(..end).unwrap_or_default();
    let start = name.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| {
        at + name.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    name.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::last_identifier;

    #[test]
    fn finds_the_last_identifier_of_a_type() {
        for (name, expected) in [
            ("*io/fs.PathError", "PathError"),
            ("*fs.PathError", "PathError"),
            ("main.box[int]", "box"),
            ("main.box[example.com/a.T]", "box"),
            ("map[string]*a/b.T", "T"),
            ("[]string", "string"),
            ("int", "int"),
            ("größe", "größe"),
            ("", ""),
            ("]", ""),
            ("*", ""),
        ] {
            assert_eq!(last_identifier(name), expected, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_name(name: String) {
            proptest::prop_assert!(name.contains(last_identifier(&name)));
        }
    }
}
