//! Go's calling convention: which registers and stack slots hold parameters and results
//! (`src/cmd/compile/abi-internal.md`, "Function call argument and result passing").

use crate::dwarf::DebugInfoError;
use crate::go_type::{GoType, TypeKind, TypeRef};
use crate::signature::{Register, RegisterPart};
use stapsdt::argspec::Arch;
use std::sync::Arc;

/// The hardware numbers of the registers for integers on amd64, in order: AX, BX, CX, DI, SI, R8 to
/// R11.
const AMD64_INTEGERS: [u8; 9] = [0, 3, 1, 7, 6, 8, 9, 10, 11];
/// Those on arm64: R0 to R15.
const ARM64_INTEGERS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// The number of registers for floating-point numbers: X0 to X14, and F0 to F15.
const AMD64_FLOATS: u8 = 15;
const ARM64_FLOATS: u8 = 16;
/// The size of a pointer in bytes, and the alignment of the groups on the stack.
const WORD: u64 = 8;
/// The limit on types that are visited for one signature: structs and arrays of hostile files can
/// be nested without end.
const MAX_VISITS: usize = 1 << 16;
/// The limit on the depth of nested structs and arrays.
const MAX_DEPTH: usize = 64;

/// Returns the hardware numbers of the registers that hold integer parameters and results, in
/// order, from Go 1.17 (amd64) and Go 1.18 (arm64) on.
pub fn integer_registers(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => &AMD64_INTEGERS,
        Arch::Aarch64 => &ARM64_INTEGERS,
    }
}

/// The registers of a calling convention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisterSet {
    integers: &'static [u8],
    floats: u8,
}

impl RegisterSet {
    /// No registers: the convention of assembly and of older releases (ABI0).
    pub(crate) const NONE: RegisterSet = RegisterSet { integers: &[], floats: 0 };

    /// The registers of ABIInternal.
    pub(crate) fn of(arch: Arch) -> RegisterSet {
        let floats = match arch {
            Arch::X86_64 => AMD64_FLOATS,
            Arch::Aarch64 => ARM64_FLOATS,
        };
        RegisterSet { integers: integer_registers(arch), floats }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.integers.is_empty()
    }
}

/// Knows types by reference.
pub(crate) trait TypeSource {
    fn go_type(&mut self, ty: TypeRef) -> Result<Arc<GoType>, DebugInfoError>;
}

/// A parameter or result to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Typed(TypeRef),
    /// A pointer that the compiler added.
    Pointer,
}

/// The place of a parameter or result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Registers(Vec<RegisterPart>),
    /// On the stack, at an offset in bytes from the first stack-assigned parameter.
    Stack(u64),
    /// The value has no bytes.
    Empty,
}

/// The places of the parameters and results of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) parameters: Vec<Home>,
    pub(crate) results: Vec<Home>,
    /// The size in bytes of the stack slots, including those into which the function may spill
    /// registers. The function table of the binary has the same number.
    pub(crate) stack_size: u64,
}

/// Places parameters, with the receiver as the first one, and results.
pub(crate) fn assign(
    parameters: &[Operand],
    results: &[Operand],
    registers: RegisterSet,
    types: &mut impl TypeSource,
) -> Result<Assignment, DebugInfoError> {
    let layouts = Layouts { types, visits_left: MAX_VISITS };
    let mut state = State { registers, layouts, integers: 0, floats: 0, stack: 0, spill: 0 };
    let mut place = |operands: &[Operand], spill: bool| {
        (state.integers, state.floats) = (0, 0);
        let homes = operands.iter().map(|operand| state.place(*operand, spill));
        let homes = homes.collect::<Result<Vec<Home>, DebugInfoError>>()?;
        state.stack = align_to(state.stack, WORD)?;
        Ok((homes, state.stack))
    };
    let (parameters, _) = place(parameters, true)?;
    let (results, stack) = place(results, false)?;
    let spill = align_to(state.spill, WORD)?;
    let stack_size = stack.checked_add(spill).ok_or(TOO_LARGE)?;
    Ok(Assignment { parameters, results, stack_size })
}

const TOO_LARGE: DebugInfoError = DebugInfoError::Damaged("the size of a type");

fn align_to(offset: u64, alignment: u64) -> Result<u64, DebugInfoError> {
    offset.checked_next_multiple_of(alignment.max(1)).ok_or(TOO_LARGE)
}

/// The state of the assignment algorithm.
struct State<'t, T> {
    registers: RegisterSet,
    layouts: Layouts<'t, T>,
    /// The registers in use.
    integers: usize,
    floats: u8,
    /// The ends in bytes of the stack slots and of the spill slots.
    stack: u64,
    spill: u64,
}

impl<T: TypeSource> State<'_, T> {
    fn place(&mut self, operand: Operand, spill: bool) -> Result<Home, DebugInfoError> {
        let (size, alignment, parts) = match operand {
            Operand::Pointer => (WORD, WORD, Some(vec![Part::integer(0, WORD)])),
            Operand::Typed(ty) => {
                let size = self.layouts.types.go_type(ty)?.size;
                (size, self.layouts.alignment(ty, 0)?, self.layouts.parts_of_value(ty)?)
            }
        };
        if size > 0
            && let Some(assigned) = parts.and_then(|parts| self.take_registers(&parts))
        {
            if spill {
                self.spill = align_to(self.spill, alignment)?.checked_add(size).ok_or(TOO_LARGE)?;
            }
            return Ok(Home::Registers(assigned));
        }
        // A value without bytes takes no space, but aligns the next one.
        let offset = align_to(self.stack, alignment)?;
        self.stack = offset.checked_add(size).ok_or(TOO_LARGE)?;
        Ok(if size == 0 { Home::Empty } else { Home::Stack(offset) })
    }

    /// Assigns registers to all parts of a value; `None`, and none taken, if too few are left.
    fn take_registers(&mut self, parts: &[Part]) -> Option<Vec<RegisterPart>> {
        let (mut integers, mut floats) = (self.integers, self.floats);
        let mut assigned = Vec::with_capacity(parts.len());
        for part in parts {
            let register = if part.is_float {
                floats += 1;
                (floats <= self.registers.floats).then(|| Register::Float(floats - 1))?
            } else {
                integers += 1;
                Register::Integer(*self.registers.integers.get(integers - 1)?)
            };
            assigned.push(RegisterPart { register, offset: part.offset, size: part.size });
        }
        (self.integers, self.floats) = (integers, floats);
        Some(assigned)
    }
}

/// A part of a value that needs a register of its own.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    size: u8,
    is_float: bool,
}

impl Part {
    fn integer(offset: u64, size: u64) -> Part {
        Part { offset, size: size.min(WORD) as u8, is_float: false }
    }
}

/// Computes layouts, with a limit of work.
struct Layouts<'t, T> {
    types: &'t mut T,
    visits_left: usize,
}

impl<T: TypeSource> Layouts<'_, T> {
    fn visit(&mut self, ty: TypeRef, depth: usize) -> Result<Arc<GoType>, DebugInfoError> {
        let left = self.visits_left.checked_sub(1).filter(|_| depth < MAX_DEPTH);
        self.visits_left = left.ok_or(DebugInfoError::Limit("the number of nested types"))?;
        self.types.go_type(ty)
    }

    /// Returns the alignment of a type in bytes.
    fn alignment(&mut self, ty: TypeRef, depth: usize) -> Result<u64, DebugInfoError> {
        let go_type = self.visit(ty, depth)?;
        match &go_type.kind {
            TypeKind::Bool | TypeKind::Int { .. } | TypeKind::Float => {
                Ok(go_type.size.clamp(1, WORD))
            }
            TypeKind::Complex => Ok((go_type.size / 2).clamp(1, WORD)),
            TypeKind::Array { element, .. } => self.alignment(*element, depth + 1),
            TypeKind::Struct { fields } => {
                let mut alignment = 1;
                for field in fields {
                    alignment = alignment.max(self.alignment(field.ty, depth + 1)?);
                }
                Ok(alignment)
            }
            _ => Ok(WORD),
        }
    }

    /// Returns the parts of a value; `None` if the value cannot be in registers.
    fn parts_of_value(&mut self, ty: TypeRef) -> Result<Option<Vec<Part>>, DebugInfoError> {
        let mut parts = Vec::new();
        let fits = self.add_parts(ty, 0, 0, &mut parts)?;
        Ok(fits.then_some(parts))
    }

    /// Adds the parts of a value at an offset; returns false if it cannot be in registers.
    fn add_parts(
        &mut self,
        ty: TypeRef,
        offset: u64,
        depth: usize,
        parts: &mut Vec<Part>,
    ) -> Result<bool, DebugInfoError> {
        /// More than the registers of any architecture.
        const MAX_PARTS: usize = 40;
        let go_type = self.visit(ty, depth)?;
        if go_type.size == 0 {
            return Ok(true);
        }
        let at = |distance: u64| offset.checked_add(distance).ok_or(TOO_LARGE);
        let mut words = |count: u64| {
            for index in 0..count {
                parts.push(Part::integer(at(index * WORD)?, WORD));
            }
            Ok(true)
        };
        let size = go_type.size;
        let float =
            |offset: u64, size: u64| Part { offset, size: size.min(WORD) as u8, is_float: true };
        let fits = match &go_type.kind {
            TypeKind::Bool | TypeKind::Int { .. } => {
                parts.push(Part::integer(offset, size));
                size <= WORD
            }
            TypeKind::Float => {
                parts.push(float(offset, size));
                true
            }
            TypeKind::Complex => {
                parts.extend([float(offset, size / 2), float(at(size / 2)?, size / 2)]);
                true
            }
            TypeKind::Pointer { .. }
            | TypeKind::Map { .. }
            | TypeKind::Chan { .. }
            | TypeKind::Func => words(1)?,
            TypeKind::String | TypeKind::Interface { .. } => words(2)?,
            TypeKind::Slice { .. } => words(3)?,
            TypeKind::Array { element, len } => match len {
                0 => true,
                1 => self.add_parts(*element, offset, depth + 1, parts)?,
                _ => false,
            },
            TypeKind::Struct { fields } => {
                for field in fields {
                    if !self.add_parts(field.ty, at(field.offset)?, depth + 1, parts)? {
                        return Ok(false);
                    }
                }
                true
            }
        };
        Ok(fits && parts.len() <= MAX_PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go_type::Field;
    use proptest::prelude::*;

    /// Types by their index.
    struct Sample(Vec<GoType>);

    impl TypeSource for Sample {
        fn go_type(&mut self, ty: TypeRef) -> Result<Arc<GoType>, DebugInfoError> {
            let found = self.0.get(ty.0 as usize).cloned();
            found.map(Arc::new).ok_or(DebugInfoError::Damaged("a type"))
        }
    }

    impl Sample {
        fn add(&mut self, size: u64, kind: TypeKind) -> TypeRef {
            self.0.push(GoType { name: String::new(), size, kind });
            TypeRef(self.0.len() as u64 - 1)
        }
    }

    fn integer(register: u8, offset: u64, size: u8) -> RegisterPart {
        RegisterPart { register: Register::Integer(register), offset, size }
    }

    /// The example of `abi-internal.md`: `func f(a1 uint8, a2 [2]uintptr, a3 uint8) (r1 struct { x
    /// uintptr; y [2]uintptr }, r2 string)`.
    #[test]
    fn places_the_example_of_the_specification() {
        let mut types = Sample(Vec::new());
        let byte = types.add(1, TypeKind::Int { signed: false });
        let word = types.add(8, TypeKind::Int { signed: false });
        let pair = types.add(16, TypeKind::Array { element: word, len: 2 });
        let string = types.add(16, TypeKind::String);
        let field =
            |name: &str, offset, ty| Field { name: name.into(), offset, ty, is_embedded: false };
        let fields = vec![field("x", 0, word), field("y", 8, pair)];
        let structure = types.add(24, TypeKind::Struct { fields });
        let parameters = [byte, pair, byte].map(Operand::Typed);
        let results = [structure, string].map(Operand::Typed);
        let set = RegisterSet::of(Arch::Aarch64);
        let placed = assign(&parameters, &results, set, &mut types).unwrap();
        let registers = |part| Home::Registers(vec![part]);
        assert_eq!(
            placed.parameters,
            [registers(integer(0, 0, 1)), Home::Stack(0), registers(integer(1, 0, 1))]
        );
        let text = Home::Registers(vec![integer(0, 0, 8), integer(1, 8, 8)]);
        assert_eq!(placed.results, [Home::Stack(16), text]);
        // Stack-assigned parameters and results, and two bytes to spill, rounded up.
        assert_eq!(placed.stack_size, 16 + 24 + 8);
        let on_stack = assign(&parameters, &results, RegisterSet::NONE, &mut types).unwrap();
        assert_eq!(on_stack.parameters, [Home::Stack(0), Home::Stack(8), Home::Stack(24)]);
        assert_eq!(on_stack.results, [Home::Stack(32), Home::Stack(56)]);
    }

    #[test]
    fn takes_all_registers_of_a_value_or_none() {
        let mut types = Sample(Vec::new());
        let slice = types.add(24, TypeKind::Slice { element: TypeRef(0) });
        let string = types.add(16, TypeKind::String);
        let complex = types.add(8, TypeKind::Complex);
        let operands = [slice, slice, string, string, complex].map(Operand::Typed);
        let set = RegisterSet::of(Arch::X86_64);
        let placed = assign(&operands, &[Operand::Pointer], set, &mut types).unwrap();
        // One register is left for the second string, which needs two.
        assert_eq!(placed.parameters[3], Home::Stack(0));
        let float =
            |number, offset| RegisterPart { register: Register::Float(number), offset, size: 4 };
        assert_eq!(placed.parameters[4], Home::Registers(vec![float(0, 0), float(1, 4)]));
        assert_eq!(placed.results, [Home::Registers(vec![integer(0, 0, 8)])]);
    }

    proptest! {
        #[test]
        fn ends_on_types_that_contain_themselves(
            shapes in prop::collection::vec((0u64..6, 0u64..6, 0u64..40, 0u64..3), 6),
        ) {
            let mut types = Sample(Vec::new());
            for (first, second, size, len) in shapes {
                let field = |ty, offset| Field { name: "f".into(), offset, ty: TypeRef(ty), is_embedded: false };
                let kind = match len {
                    0 => TypeKind::Int { signed: true },
                    1 => TypeKind::Array { element: TypeRef(first), len },
                    _ => TypeKind::Struct { fields: vec![field(first, 0), field(second, size)] },
                };
                types.add(size, kind);
            }
            let operands: Vec<Operand> = (0..6).map(|ty| Operand::Typed(TypeRef(ty))).collect();
            let _ = assign(&operands, &operands, RegisterSet::of(Arch::X86_64), &mut types);
        }
    }
}
