//! Enums, structs and unions of a definition, laid out as C does on Linux.
//!
//! The layout follows the x86-64 psABI, section 3.1.2. AAPCS64 gives the same layout except
//! for unnamed bit-fields.

/// An enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enum {
    /// The tag, or the name of the typedef if there is no tag.
    pub(crate) name: String,
    /// True if `name` is a tag, so that C spells the type `enum name`.
    pub(crate) has_tag: bool,
    /// Documentation from the comment before the enum. Empty if there is none.
    pub(crate) doc: String,
    /// Size in bytes: 4, or 8 if a value needs it.
    pub(crate) size: u8,
    /// True for two's complement.
    pub(crate) signed: bool,
    /// Enumerators in declared order.
    pub(crate) values: Vec<Enumerator>,
}

/// A named value of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enumerator {
    /// Name as declared.
    pub(crate) name: String,
    /// Value, which fits in the enum's size.
    pub(crate) value: i128,
    /// Documentation from a comment next to the enumerator. Empty if there is none.
    pub(crate) doc: String,
}

impl Enum {
    /// Returns the size in bytes and the sign of an enum with these values. `None` if they do not
    /// fit in 8 bytes.
    ///
    /// Values without a negative one are signed as long as they fit, because enumerators are `int`
    /// in C.
    pub(crate) fn representation(values: impl Iterator<Item = i128> + Clone) -> Option<(u8, bool)> {
        let (low, high) = (values.clone().min().unwrap_or(0), values.max().unwrap_or(0));
        let fits = |min: i128, max: i128| min <= low && high <= max;
        if fits(i32::MIN.into(), i32::MAX.into()) {
            Some((4, true))
        } else if fits(0, u32::MAX.into()) {
            Some((4, false))
        } else if fits(i64::MIN.into(), i64::MAX.into()) {
            Some((8, true))
        } else {
            fits(0, u64::MAX.into()).then_some((8, false))
        }
    }
}

/// The name of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StructName {
    /// The tag in `struct tag`.
    Tag(String),
    /// The name in `typedef struct { … } name`.
    Typedef(String),
    /// The type of a member has neither a tag nor a typedef.
    Member {
        /// Index in [`super::Model::structs`] of the struct that has the member.
        parent: usize,
        /// Index of the member in [`Struct::fields`].
        field: usize,
    },
}

/// A struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    /// The name, or the member that the type belongs to.
    pub name: StructName,
    /// True for a union, whose members all have offset 0.
    pub is_union: bool,
    /// Documentation from the comment before the struct. Empty if there is none.
    pub(crate) doc: String,
    /// Size in bytes, including padding.
    pub size: u64,
    /// Alignment in bytes.
    pub align: u64,
    /// Members in declared order.
    pub fields: Vec<Field>,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Declared name. `None` for an unnamed bit-field, and for an unnamed struct or union, whose
    /// members belong to the outer struct.
    pub name: Option<String>,
    /// C spelling of the type.
    pub(crate) spelling: String,
    /// Resolved type.
    pub(crate) ty: FieldType,
    /// Documentation from a comment next to the member. Empty if there is none.
    pub(crate) doc: String,
    /// Offset in bytes from the start of the struct. For a bit-field, the offset of its first byte.
    pub offset: u64,
    /// The bits of a bit-field. `None` for any other member.
    pub(crate) bits: Option<BitField>,
}

impl Field {
    /// Returns true for a bit-field.
    pub fn is_bit_field(&self) -> bool {
        self.bits.is_some()
    }
}

/// The position of a bit-field in its first byte, and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BitField {
    /// The lowest bit in the first byte: 0 to 7.
    pub(crate) shift: u8,
    /// Number of bits. 0 for an unnamed bit-field that closes a unit.
    pub(crate) width: u8,
}

/// The type of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    /// `char`, usually part of a string.
    Char,
    /// An integer.
    Int {
        /// Size in bytes: 1, 2, 4 or 8.
        size: u8,
        /// True for two's complement.
        signed: bool,
    },
    /// An IEEE 754 number.
    Float {
        /// Size in bytes: 4 or 8.
        size: u8,
    },
    /// `bool`, of 1 byte.
    Bool,
    /// An enum, by its index in the model.
    Enum(usize),
    /// A struct or union, by its index in the model.
    Struct(usize),
    /// A pointer to a struct or union with a known layout, by its index in the model.
    StructPointer(usize),
    /// Any other pointer.
    Pointer,
    /// An array of a number of elements. The number is 0 for a flexible array member.
    Array(Box<FieldType>, u64),
}

/// A declared member that is not laid out yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldDecl {
    /// See [`Field::name`].
    pub(crate) name: Option<String>,
    /// See [`Field::spelling`].
    pub(crate) spelling: String,
    /// See [`Field::ty`].
    pub(crate) ty: FieldType,
    /// See [`Field::doc`].
    pub(crate) doc: String,
    /// Width of a bit-field in bits. `None` for any other member.
    pub(crate) bit_width: Option<u8>,
}

/// The largest struct in bytes. A larger one is treated as a type without a known layout.
const MAX_SIZE: u64 = 1 << 30;

impl FieldType {
    /// Returns the type of an array's elements, through all dimensions. Other types return
    /// themselves.
    pub(crate) fn innermost(&self) -> &FieldType {
        match self {
            FieldType::Array(element, _) => element.innermost(),
            other => other,
        }
    }

    /// Returns size and alignment in bytes. `structs` and `enums` are those of the model.
    ///
    /// `None` if an index is out of range or the size overflows.
    pub(crate) fn size_align(&self, structs: &[Struct], enums: &[Enum]) -> Option<(u64, u64)> {
        Some(match self {
            FieldType::Char | FieldType::Bool => (1, 1),
            FieldType::Int { size, .. } | FieldType::Float { size } => {
                (u64::from(*size), u64::from(*size))
            }
            FieldType::Enum(at) => {
                enums.get(*at).map(|e| (u64::from(e.size), u64::from(e.size)))?
            }
            FieldType::Struct(at) => structs.get(*at).map(|s| (s.size, s.align))?,
            FieldType::StructPointer(_) | FieldType::Pointer => (8, 8),
            FieldType::Array(element, length) => {
                let (size, align) = element.size_align(structs, enums)?;
                (size.checked_mul(*length)?, align)
            }
        })
    }
}

impl Struct {
    /// Lays out members in declared order.
    ///
    /// `None` if the result is larger than 1 GiB, or a bit-field is wider than its type.
    pub(crate) fn lay_out(
        name: StructName,
        is_union: bool,
        doc: String,
        members: Vec<FieldDecl>,
        structs: &[Struct],
        enums: &[Enum],
    ) -> Option<Struct> {
        let mut out = Struct { name, is_union, doc, size: 0, align: 1, fields: Vec::new() };
        let mut bit = 0u64; // where the next member can begin
        let mut end = 0u64; // end of the member that reaches furthest
        for member in members {
            let (size, align) = member.ty.size_align(structs, enums)?;
            if is_union {
                bit = 0;
            }
            let (offset, bits) = match member.bit_width {
                None => {
                    let offset = bit.div_ceil(8).checked_next_multiple_of(align)?;
                    bit = offset.checked_add(size)?.checked_mul(8)?;
                    out.align = out.align.max(align);
                    (offset, None)
                }
                Some(0) => {
                    // A bit-field of width 0 closes the storage unit.
                    bit = bit.checked_next_multiple_of(align * 8)?;
                    (bit / 8, Some(BitField { shift: 0, width: 0 }))
                }
                Some(width) => {
                    let unit = size * 8;
                    if u64::from(width) > unit {
                        return None;
                    }
                    // A bit-field does not straddle two storage units of its type.
                    if bit / unit != (bit + u64::from(width) - 1) / unit {
                        bit = bit.checked_next_multiple_of(unit)?;
                    }
                    let start = bit;
                    bit += u64::from(width);
                    if member.name.is_some() {
                        out.align = out.align.max(align);
                    }
                    (start / 8, Some(BitField { shift: (start % 8) as u8, width }))
                }
            };
            end = end.max(bit);
            if end / 8 > MAX_SIZE {
                return None;
            }
            let FieldDecl { name, spelling, ty, doc, .. } = member;
            out.fields.push(Field { name, spelling, ty, doc, offset, bits });
        }
        out.size = end.div_ceil(8).checked_next_multiple_of(out.align)?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, ty: FieldType, bit_width: Option<u8>) -> FieldDecl {
        let name = (!name.is_empty()).then(|| name.to_owned());
        FieldDecl { name, spelling: String::new(), ty, doc: String::new(), bit_width }
    }

    const fn int(size: u8) -> FieldType {
        FieldType::Int { size, signed: true }
    }

    /// Offset of each member; for a bit-field also its shift and width.
    type Offsets = Vec<(u64, Option<(u8, u8)>)>;

    /// Returns the offsets, the size and the alignment of a struct or union with these members.
    fn lay_out(is_union: bool, members: Vec<FieldDecl>) -> (Offsets, u64, u64) {
        let s = Struct::lay_out(
            StructName::Tag("s".into()),
            is_union,
            String::new(),
            members,
            &[],
            &[],
        )
        .unwrap();
        let offset = |f: &Field| (f.offset, f.bits.map(|b| (b.shift, b.width)));
        (s.fields.iter().map(offset).collect(), s.size, s.align)
    }

    #[test]
    fn aligns_members_naturally() {
        let members = vec![
            member("a", FieldType::Char, None),
            member("b", int(8), None),
            member("c", int(2), None),
            member("d", FieldType::Array(Box::new(FieldType::Char), 3), None),
        ];
        assert_eq!(
            lay_out(false, members.clone()),
            (vec![(0, None), (8, None), (16, None), (18, None)], 24, 8)
        );
        assert_eq!(lay_out(true, members), (vec![(0, None); 4], 8, 8));
    }

    /// The expected values are gcc's, for `struct { int a:3, b:30, :0; char c:4; unsigned long
    /// d:60; short e; }` and a similar struct.
    #[test]
    fn keeps_a_bit_field_in_one_storage_unit() {
        let members = vec![
            member("a", int(4), Some(3)),
            member("b", int(4), Some(30)),
            member("", int(4), Some(0)),
            member("c", FieldType::Char, Some(4)),
            member("d", int(8), Some(60)),
            member("e", int(2), None),
        ];
        assert_eq!(
            lay_out(false, members),
            (
                vec![
                    (0, Some((0, 3))),
                    (4, Some((0, 30))),
                    (8, Some((0, 0))),
                    (8, Some((0, 4))),
                    (8, Some((4, 60))),
                    (16, None)
                ],
                24,
                8
            )
        );
        let small = vec![
            member("a", int(1), Some(3)),
            member("", int(4), Some(7)),
            member("b", int(1), Some(2)),
        ];
        assert_eq!(
            lay_out(false, small),
            (vec![(0, Some((0, 3))), (0, Some((3, 7))), (1, Some((2, 2)))], 2, 1)
        );
    }

    #[test]
    fn chooses_the_smallest_representation_of_an_enum() {
        for (values, representation) in [
            (&[][..], Some((4, true))),
            (&[0, 1, -1], Some((4, true))),
            (&[0, 0xffff_ffff], Some((4, false))),
            (&[-1, 0xffff_ffff], Some((8, true))),
            (&[0, i128::from(u64::MAX)], Some((8, false))),
            (&[-1, i128::from(u64::MAX)], None),
        ] {
            assert_eq!(Enum::representation(values.iter().copied()), representation, "{values:?}");
        }
    }
}
