//! Where a value is, while a path is followed to it.

use crate::function_entry::Location;
use crate::signature::{Placement, Register, RegisterPart, Word};

/// The limit on pointers that lead to a value.
const MAX_POINTERS: usize = 16;

/// Where a value, or a part of it, is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In registers. Offsets are those in the value.
    Registers(Vec<RegisterPart>),
    /// In memory: see [`Location::Memory`].
    Memory { base: u8, offsets: Vec<i64> },
}

/// A reason why a word cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is in a floating-point register.
    FloatRegister,
    /// It is behind too many pointers.
    TooManyPointers,
    /// It is behind too many indexes and type assertions.
    TooManyGuards,
    /// The debug information contradicts itself.
    Damaged,
    /// The value has no bytes.
    Empty,
    /// DWARF does not describe all parameters.
    Unknown,
}

impl Unreadable {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Unreadable::FloatRegister => {
                "it is in a floating-point register, which the kernel does not save for probes"
            }
            Unreadable::TooManyPointers => "it is behind too many pointers",
            Unreadable::TooManyGuards => "it is behind too many indexes and type assertions",
            Unreadable::Damaged => "the debug information of its type is damaged",
            Unreadable::Empty => "values of its type have no bytes",
            Unreadable::Unknown => {
                "the debug information does not say where it is: the function has parameters without a name; build it with Go 1.24 or newer, or name them"
            }
        }
    }
}

impl Place {
    pub(super) fn new(placement: &Placement) -> Result<Place, Unreadable> {
        match placement {
            Placement::Registers(parts) => Ok(Place::Registers(parts.clone())),
            Placement::Memory { base, offset } => {
                Ok(Place::Memory { base: *base, offsets: vec![*offset] })
            }
            Placement::Empty => Err(Unreadable::Empty),
            Placement::Unknown => Err(Unreadable::Unknown),
        }
    }

    /// Returns the place of a part of the value.
    pub(super) fn part(&self, offset: u64, size: u64) -> Result<Place, Unreadable> {
        match self {
            Place::Registers(parts) => {
                let end = offset.checked_add(size).ok_or(Unreadable::Damaged)?;
                let is_inside = |part: &&RegisterPart| (offset..end).contains(&part.offset);
                let moved =
                    |part: &RegisterPart| RegisterPart { offset: part.offset - offset, ..*part };
                Ok(Place::Registers(parts.iter().filter(is_inside).map(moved).collect()))
            }
            Place::Memory { base, offsets } => {
                let mut offsets = offsets.clone();
                let distance = i64::try_from(offset).map_err(|_| Unreadable::Damaged)?;
                let last = offsets.last_mut().ok_or(Unreadable::Damaged)?;
                *last = last.checked_add(distance).ok_or(Unreadable::Damaged)?;
                Ok(Place::Memory { base: *base, offsets })
            }
        }
    }

    /// Returns the place that a pointer at an offset of the value points to.
    pub(super) fn dereference(&self, offset: u64) -> Result<Place, Unreadable> {
        match self.word(offset, 8, false)?.location {
            Location::Register(base) => Ok(Place::Memory { base, offsets: vec![0] }),
            Location::Memory { base, mut offsets } if offsets.len() < MAX_POINTERS => {
                offsets.push(0);
                Ok(Place::Memory { base, offsets })
            }
            Location::Memory { .. } => Err(Unreadable::TooManyPointers),
            Location::Constant(_) => Err(Unreadable::Damaged),
        }
    }

    /// Returns a word of the value.
    pub(super) fn word(&self, offset: u64, size: u64, signed: bool) -> Result<Word, Unreadable> {
        let size = u8::try_from(size).map_err(|_| Unreadable::Damaged)?;
        if ![1, 2, 4, 8].contains(&size) {
            return Err(Unreadable::Damaged);
        }
        let location = match self {
            Place::Registers(parts) => {
                let part = parts.iter().find(|part| part.offset == offset && part.size == size);
                match part.ok_or(Unreadable::Damaged)?.register {
                    Register::Integer(number) => Location::Register(number),
                    Register::Float(_) => return Err(Unreadable::FloatRegister),
                }
            }
            Place::Memory { .. } => match self.part(offset, size.into())? {
                Place::Memory { base, offsets } => Location::Memory { base, offsets },
                Place::Registers(_) => return Err(Unreadable::Damaged),
            },
        };
        Ok(Word { location, size, signed })
    }
}
