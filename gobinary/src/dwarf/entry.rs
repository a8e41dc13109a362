//! Entries of `.debug_info` with the attributes that this crate uses.

use super::DebugInfoError;
use gimli::{AttributeValue, DwAt, DwTag, EndianSlice, EntriesRaw, LittleEndian, UnitOffset};

pub(super) type Reader<'b> = EndianSlice<'b, LittleEndian>;

/// The offset of the type descriptor from the start of all of them; zero if there is none.
pub(super) const GO_RUNTIME_TYPE: DwAt = DwAt(0x2904);
/// The kind of a type (`internal/abi.Kind`).
pub(super) const GO_KIND: DwAt = DwAt(0x2900);
/// The type of the elements of slices.
pub(super) const GO_ELEM: DwAt = DwAt(0x2902);
/// True for embedded fields.
pub(super) const GO_EMBEDDED_FIELD: DwAt = DwAt(0x2903);

/// An address, or its index in `.debug_addr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Direct(u64),
    Index(u64),
}

/// The end of a function: an address, or the function's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Address(u64),
    Size(u64),
}

/// A string in the entry, or its offset in `.debug_str`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Inline(String),
    Offset(u64),
}

/// Where a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LocationAttribute {
    /// One expression for the whole function.
    Expression(Vec<u8>),
    /// The offset of a location list.
    List(u64),
}

/// An entry. Attributes that it does not have are `None`, zero or false.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The offset in `.debug_info`.
    pub(super) offset: u64,
    pub(super) tag: DwTag,
    pub(super) has_children: bool,
    pub(super) name: Option<Name>,
    /// The offsets in `.debug_info` of other entries.
    pub(super) ty: Option<u64>,
    pub(super) origin: Option<u64>,
    pub(super) go_elem: Option<u64>,
    pub(super) low_pc: Option<Address>,
    pub(super) high_pc: Option<End>,
    pub(super) location: Option<LocationAttribute>,
    pub(super) is_result: bool,
    pub(super) is_embedded: bool,
    pub(super) byte_size: Option<u64>,
    pub(super) encoding: u64,
    pub(super) go_kind: u64,
    pub(super) runtime_type: u64,
    pub(super) member_offset: u64,
    pub(super) count: Option<u64>,
    pub(super) language: u64,
    pub(super) ranges: Option<u64>,
    pub(super) addr_base: u64,
}

/// Reads the attributes of an entry whose abbreviation was read. `unit` is the offset of the unit
/// in `.debug_info`.
pub(super) fn read_attributes(
    entries: &mut EntriesRaw<'_, Reader<'_>>,
    abbreviation: &gimli::Abbreviation,
    offset: u64,
    unit: u64,
) -> gimli::Result<Entry> {
    let mut entry = Entry {
        offset,
        tag: abbreviation.tag(),
        has_children: abbreviation.has_children(),
        name: None,
        ty: None,
        origin: None,
        go_elem: None,
        low_pc: None,
        high_pc: None,
        location: None,
        is_result: false,
        is_embedded: false,
        byte_size: None,
        encoding: 0,
        go_kind: 0,
        runtime_type: 0,
        member_offset: 0,
        count: None,
        language: 0,
        ranges: None,
        addr_base: 0,
    };
    for specification in abbreviation.attributes() {
        let attribute = entries.read_attribute(*specification)?;
        entry.set(attribute.name(), &attribute.value(), unit);
    }
    Ok(entry)
}

impl Entry {
    fn set(&mut self, name: DwAt, value: &AttributeValue<Reader<'_>>, unit: u64) {
        let number = || value.udata_value().unwrap_or_default();
        match name {
            gimli::DW_AT_name => self.name = read_name(value),
            gimli::DW_AT_type => self.ty = reference(value, unit),
            gimli::DW_AT_abstract_origin => self.origin = reference(value, unit),
            GO_ELEM => self.go_elem = reference(value, unit),
            gimli::DW_AT_low_pc => {
                self.low_pc = match value {
                    AttributeValue::Addr(address) => Some(Address::Direct(*address)),
                    AttributeValue::DebugAddrIndex(index) => Some(Address::Index(index.0 as u64)),
                    _ => None,
                }
            }
            gimli::DW_AT_high_pc => {
                self.high_pc = match value {
                    AttributeValue::Addr(address) => Some(End::Address(*address)),
                    value => value.udata_value().map(End::Size),
                }
            }
            gimli::DW_AT_location => {
                self.location = match value {
                    AttributeValue::Exprloc(expression) => {
                        Some(LocationAttribute::Expression(expression.0.slice().to_vec()))
                    }
                    AttributeValue::Block(block) => {
                        Some(LocationAttribute::Expression(block.slice().to_vec()))
                    }
                    AttributeValue::LocationListsRef(offset) => {
                        Some(LocationAttribute::List(offset.0 as u64))
                    }
                    _ => None,
                }
            }
            gimli::DW_AT_variable_parameter => self.is_result = is_true(value),
            GO_EMBEDDED_FIELD => self.is_embedded = is_true(value),
            gimli::DW_AT_byte_size => self.byte_size = value.udata_value(),
            gimli::DW_AT_encoding => {
                self.encoding = match value {
                    AttributeValue::Encoding(encoding) => encoding.0.into(),
                    _ => number(),
                }
            }
            GO_KIND => self.go_kind = number(),
            GO_RUNTIME_TYPE => {
                self.runtime_type = match value {
                    AttributeValue::Addr(offset) => *offset,
                    _ => number(),
                }
            }
            gimli::DW_AT_data_member_location => self.member_offset = number(),
            gimli::DW_AT_count => self.count = value.udata_value(),
            gimli::DW_AT_language => {
                self.language = match value {
                    AttributeValue::Language(language) => language.0.into(),
                    _ => number(),
                }
            }
            gimli::DW_AT_ranges => {
                self.ranges = match value {
                    AttributeValue::RangeListsRef(offset) => Some(offset.0 as u64),
                    _ => None,
                }
            }
            gimli::DW_AT_addr_base => {
                if let AttributeValue::DebugAddrBase(base) = value {
                    self.addr_base = base.0 as u64;
                }
            }
            _ => {}
        }
    }

    /// Returns the reference to the entry's type.
    pub(super) fn required_type(&self) -> Result<u64, DebugInfoError> {
        self.ty.ok_or(DebugInfoError::Damaged("an entry without a type"))
    }
}

fn is_true(value: &AttributeValue<Reader<'_>>) -> bool {
    matches!(value, AttributeValue::Flag(true)) || value.udata_value().is_some_and(|n| n != 0)
}

fn read_name(value: &AttributeValue<Reader<'_>>) -> Option<Name> {
    match value {
        AttributeValue::String(string) => {
            Some(Name::Inline(String::from_utf8_lossy(string.slice()).into_owned()))
        }
        AttributeValue::DebugStrRef(offset) => Some(Name::Offset(offset.0 as u64)),
        _ => None,
    }
}

/// Returns the offset in `.debug_info` that an attribute refers to.
fn reference(value: &AttributeValue<Reader<'_>>, unit: u64) -> Option<u64> {
    match value {
        AttributeValue::DebugInfoRef(offset) => Some(offset.0 as u64),
        AttributeValue::UnitRef(UnitOffset(offset)) => unit.checked_add(*offset as u64),
        _ => None,
    }
}
