//! Types that definitions define, laid out as C does on Linux (x86-64 psABI 3.1.2; AAPCS64 agrees on all of it
//! but unnamed bit-fields).

/// An enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enum {
    /// The tag, or the typedef's name where there is none.
    pub name: String,
    /// Whether `name` is a tag: C says `enum name` then.
    pub tagged: bool,
    /// From the comment before it.
    pub doc: String,
    /// Bytes: 4, or 8 where a value needs them.
    pub size: u8,
    /// Two's complement.
    pub signed: bool,
    /// Enumerators in declared order: name, value, documentation.
    pub values: Vec<(String, i128, String)>,
}

impl Enum {
    /// Size and sign that hold all values; `None` where nothing does. Without negative values, signed as long as
    /// that fits: enumerators are `int` in C.
    pub fn representation(values: impl Iterator<Item = i128> + Clone) -> Option<(u8, bool)> {
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

/// What a struct is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StructName {
    /// `struct tag`.
    Tag(String),
    /// `typedef struct { … } name`.
    Typedef(String),
    /// The unnamed type of a member.
    Member {
        /// Index of the struct that has the member.
        parent: usize,
        /// Index of the field.
        field: usize,
    },
}

/// A struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    /// What it is called.
    pub name: StructName,
    /// A union.
    pub union: bool,
    /// From the comment before it.
    pub doc: String,
    /// Bytes.
    pub size: u64,
    /// Bytes.
    pub align: u64,
    /// Members in declared order.
    pub fields: Vec<Field>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Absent for unnamed structs and unions, whose members are the outer one's, and for unnamed bit-fields.
    pub name: Option<String>,
    /// The type as written.
    pub spelling: String,
    /// What it is.
    pub ty: FieldType,
    /// From a comment beside it.
    pub doc: String,
    /// Bytes from the start; of a bit-field, its first byte.
    pub offset: u64,
    /// Of a bit-field: the first bit in that byte, and the width.
    pub bits: Option<(u8, u8)>,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `char`: text, as a rule.
    Char,
    /// An integer.
    Int {
        /// Bytes.
        size: u8,
        /// Two's complement.
        signed: bool,
    },
    /// IEEE 754.
    Float {
        /// Bytes.
        size: u8,
    },
    /// `bool`, one byte.
    Bool,
    /// An enum, by its index.
    Enum(usize),
    /// A struct or union, by its index.
    Struct(usize),
    /// Pointer to a struct or union that is laid out, by its index.
    StructPointer(usize),
    /// Any other pointer.
    Pointer,
    /// An array.
    Array(Box<FieldType>, u64),
}

/// A member before it is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As [`Field::name`].
    pub name: Option<String>,
    /// As [`Field::spelling`].
    pub spelling: String,
    /// As [`Field::ty`].
    pub ty: FieldType,
    /// As [`Field::doc`].
    pub doc: String,
    /// Width, of a bit-field.
    pub width: Option<u8>,
}

/// Largest struct that is laid out: a definition describes what a program holds in memory.
const MAX_SIZE: u64 = 1 << 30;

impl FieldType {
    /// What an array is of, at the end.
    pub fn innermost(&self) -> &FieldType {
        match self {
            FieldType::Array(element, _) => element.innermost(),
            other => other,
        }
    }

    /// Size and alignment in bytes; `structs` and `enums` are those of the model.
    pub fn size_align(&self, structs: &[Struct], enums: &[Enum]) -> Option<(u64, u64)> {
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
    /// Lays out members. `None` where the result would be larger than a gibibyte, or a width does not fit its
    /// type.
    pub fn lay_out(
        name: StructName,
        union: bool,
        doc: String,
        members: Vec<Wanted>,
        structs: &[Struct],
        enums: &[Enum],
    ) -> Option<Struct> {
        let mut out = Struct { name, union, doc, size: 0, align: 1, fields: Vec::new() };
        let mut bit = 0u64; // where the next member may begin
        let mut end = 0u64; // furthest bit any member reaches
        for member in members {
            let (size, align) = member.ty.size_align(structs, enums)?;
            if union {
                bit = 0;
            }
            let (at, bits) = match member.width {
                None => {
                    let at = bit.div_ceil(8).checked_next_multiple_of(align)?;
                    bit = at.checked_add(size)?.checked_mul(8)?;
                    out.align = out.align.max(align);
                    (at, None)
                }
                Some(0) => {
                    // A width of nothing closes the unit.
                    bit = bit.checked_next_multiple_of(align * 8)?;
                    (bit / 8, Some((0, 0)))
                }
                Some(width) => {
                    let unit = size * 8;
                    if u64::from(width) > unit {
                        return None;
                    }
                    // It may not straddle two units of its type.
                    if bit / unit != (bit + u64::from(width) - 1) / unit {
                        bit = bit.checked_next_multiple_of(unit)?;
                    }
                    let start = bit;
                    bit += u64::from(width);
                    if member.name.is_some() {
                        out.align = out.align.max(align);
                    }
                    (start / 8, Some(((start % 8) as u8, width)))
                }
            };
            end = end.max(bit);
            if end / 8 > MAX_SIZE {
                return None;
            }
            let Wanted { name, spelling, ty, doc, .. } = member;
            out.fields.push(Field { name, spelling, ty, doc, offset: at, bits });
        }
        out.size = end.div_ceil(8).checked_next_multiple_of(out.align)?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, ty: FieldType, width: Option<u8>) -> Wanted {
        let name = (!name.is_empty()).then(|| name.to_owned());
        Wanted { name, spelling: String::new(), ty, doc: String::new(), width }
    }

    const fn int(size: u8) -> FieldType {
        FieldType::Int { size, signed: true }
    }

    type Places = Vec<(u64, Option<(u8, u8)>)>;

    fn offsets(union: bool, members: Vec<Wanted>) -> (Places, u64, u64) {
        let s =
            Struct::lay_out(StructName::Tag("s".into()), union, String::new(), members, &[], &[])
                .unwrap();
        (s.fields.iter().map(|f| (f.offset, f.bits)).collect(), s.size, s.align)
    }

    #[test]
    fn natural_alignment() {
        let members = vec![
            member("a", FieldType::Char, None),
            member("b", int(8), None),
            member("c", int(2), None),
            member("d", FieldType::Array(Box::new(FieldType::Char), 3), None),
        ];
        assert_eq!(
            offsets(false, members.clone()),
            (vec![(0, None), (8, None), (16, None), (18, None)], 24, 8)
        );
        assert_eq!(offsets(true, members), (vec![(0, None); 4], 8, 8));
    }

    /// What gcc says of `struct { int a:3, b:30, :0; char c:4; unsigned long d:60; short e; }` and its like.
    #[test]
    fn bit_fields_stay_in_their_unit() {
        let members = vec![
            member("a", int(4), Some(3)),
            member("b", int(4), Some(30)),
            member("", int(4), Some(0)),
            member("c", FieldType::Char, Some(4)),
            member("d", int(8), Some(60)),
            member("e", int(2), None),
        ];
        assert_eq!(
            offsets(false, members),
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
            offsets(false, small),
            (vec![(0, Some((0, 3))), (0, Some((3, 7))), (1, Some((2, 2)))], 2, 1)
        );
    }

    #[test]
    fn enums_take_what_their_values_need() {
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
