//! Go types from DWARF, as the Go linker describes them (`cmd/link/internal/ld/dwarf.go`).

use super::DebugInfoError;
use super::entry::Entry;
use super::units::Entries;
use crate::go_type::{Field, GoType, TypeKind, TypeRef};
use crate::register_abi::TypeSource;
use stapsdt::source::Source;
use std::collections::HashMap;
use std::sync::Arc;

/// The number of types and fields that are kept.
const MAX_KEPT: usize = 1 << 17;
/// The number of typedefs that lead to a type.
const MAX_TYPEDEFS: usize = 16;
/// The size of a word in bytes.
const WORD: u64 = 8;

/// Values of `DW_AT_go_kind` (`internal/abi.Kind`). Flags are in higher bits.
mod kind {
    pub(super) const MASK: u64 = 31;
    pub(super) const CHAN: u64 = 18;
    pub(super) const INTERFACE: u64 = 20;
    pub(super) const MAP: u64 = 21;
    pub(super) const SLICE: u64 = 23;
    pub(super) const STRING: u64 = 24;
}

/// The types that were read.
#[derive(Debug, Default)]
pub(super) struct Types {
    known: HashMap<u64, Arc<GoType>>,
    /// The number of types and fields in `known`.
    kept: usize,
}

/// A source of types that reads what it does not know yet.
pub(super) struct TypeReader<'t, 'a, S: Source<'a>> {
    pub(super) types: &'t mut Types,
    pub(super) entries: &'t mut Entries<'a, S>,
}

impl<'a, S: Source<'a>> TypeSource for TypeReader<'_, 'a, S> {
    fn go_type(&mut self, ty: TypeRef) -> Result<Arc<GoType>, DebugInfoError> {
        if let Some(known) = self.types.known.get(&ty.0) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(self.read(ty)?);
        let fields = match &read.kind {
            TypeKind::Struct { fields } => fields.len(),
            _ => 0,
        };
        self.types.kept += fields + 1;
        if self.types.kept > MAX_KEPT {
            self.types.known.clear();
            self.types.kept = fields + 1;
        }
        self.types.known.insert(ty.0, Arc::clone(&read));
        Ok(read)
    }
}

impl<'a, S: Source<'a>> TypeReader<'_, 'a, S> {
    fn read(&mut self, ty: TypeRef) -> Result<GoType, DebugInfoError> {
        let mut entry = self.entries.entry(ty.0)?;
        let mut name = self.entries.name(&entry)?;
        for _ in 0..MAX_TYPEDEFS {
            let go_kind = entry.go_kind & kind::MASK;
            let is_typedef = entry.tag == gimli::DW_TAG_typedef;
            match go_kind {
                kind::CHAN | kind::MAP | kind::INTERFACE if is_typedef => {
                    return self.runtime_type(name, &entry, go_kind);
                }
                _ if is_typedef => {
                    entry = self.entries.entry(entry.required_type()?)?;
                    // A type parameter stands for the type that the function was compiled for.
                    if name.starts_with('.') {
                        name = self.entries.name(&entry)?;
                    }
                }
                _ => return self.definition(name, &entry),
            }
        }
        Err(DebugInfoError::Damaged("typedefs without end"))
    }

    /// Reads a type that is a typedef of a type of the runtime.
    fn runtime_type(
        &mut self,
        name: String,
        entry: &Entry,
        go_kind: u64,
    ) -> Result<GoType, DebugInfoError> {
        let target = entry.required_type()?;
        if go_kind == kind::INTERFACE {
            let target = self.entries.entry(target)?;
            let is_empty = self.entries.name(&target)? == "runtime.eface";
            return Ok(GoType { name, size: 2 * WORD, kind: TypeKind::Interface { is_empty } });
        }
        // The runtime's type is a pointer to the header.
        let pointer = self.entries.entry(target)?;
        let header = TypeRef(pointer.required_type()?);
        let kind =
            if go_kind == kind::MAP { TypeKind::Map { header } } else { TypeKind::Chan { header } };
        Ok(GoType { name, size: WORD, kind })
    }

    fn definition(&mut self, name: String, entry: &Entry) -> Result<GoType, DebugInfoError> {
        let size = entry.byte_size.unwrap_or(WORD);
        let go_type = |size, kind| GoType { name, size, kind };
        Ok(match entry.tag {
            gimli::DW_TAG_base_type => {
                let encoding = u8::try_from(entry.encoding).ok().map(gimli::DwAte);
                let kind = match encoding {
                    Some(gimli::DW_ATE_boolean) => TypeKind::Bool,
                    Some(gimli::DW_ATE_signed | gimli::DW_ATE_signed_char) => {
                        TypeKind::Int { signed: true }
                    }
                    Some(gimli::DW_ATE_float) => TypeKind::Float,
                    Some(gimli::DW_ATE_complex_float) => TypeKind::Complex,
                    _ => TypeKind::Int { signed: false },
                };
                go_type(size, kind)
            }
            gimli::DW_TAG_pointer_type => {
                go_type(WORD, TypeKind::Pointer { target: entry.ty.map(TypeRef) })
            }
            gimli::DW_TAG_subroutine_type => go_type(WORD, TypeKind::Func),
            gimli::DW_TAG_array_type => {
                let element = TypeRef(entry.required_type()?);
                let ranges =
                    self.entries.children(entry, |tag| tag == gimli::DW_TAG_subrange_type)?;
                let len = ranges.first().and_then(|range| range.count).unwrap_or_default();
                go_type(entry.byte_size.unwrap_or_default(), TypeKind::Array { element, len })
            }
            gimli::DW_TAG_structure_type => match (entry.go_kind & kind::MASK, entry.go_elem) {
                (kind::STRING, _) => go_type(2 * WORD, TypeKind::String),
                (kind::SLICE, Some(element)) => {
                    go_type(3 * WORD, TypeKind::Slice { element: TypeRef(element) })
                }
                _ => {
                    let size = entry.byte_size.unwrap_or_default();
                    let fields = self.fields(entry)?;
                    go_type(size, TypeKind::Struct { fields })
                }
            },
            _ => return Err(DebugInfoError::Damaged("a type of an unknown kind")),
        })
    }

    fn fields(&mut self, entry: &Entry) -> Result<Vec<Field>, DebugInfoError> {
        let members = self.entries.children(entry, |tag| tag == gimli::DW_TAG_member)?;
        let field = |member: &Entry| {
            Ok(Field {
                name: self.entries.name(member)?,
                offset: member.member_offset,
                ty: TypeRef(member.required_type()?),
                is_embedded: member.is_embedded,
            })
        };
        members.iter().map(field).collect()
    }
}
