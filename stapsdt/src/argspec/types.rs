//! The types of a parsed argument specification.

use std::fmt;

use super::expr::Expr;

/// An architecture whose argument specifications can be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64 (Go's amd64), with operands in AT&T syntax.
    X86_64,
    /// 64-bit Arm (Go's arm64), little-endian.
    Aarch64,
}

/// One argument of a specification.
///
/// [`Display`](fmt::Display) prints the specification unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The argument's specification exactly as the note has it, such as `-4@%edi`.
    pub spec: String,
    /// The parsed specification, or the reason why it cannot be parsed.
    pub value: Result<Value, ArgError>,
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spec)
    }
}

/// The type and location of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Size in bytes: 1, 2, 4, 8 or 16. It overrides the width of the register's name.
    pub size: u8,
    /// True if the value is a two's complement integer; false for unsigned integers.
    pub signed: bool,
    /// True if the value is an IEEE 754 floating-point number.
    pub float: bool,
    /// The location of the value.
    pub operand: Operand,
}

/// The location of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The value itself.
    Constant(Expr),
    /// A register that holds the value.
    Register(Register),
    /// A memory location, at `disp + base + index.register * index.scale`.
    Memory {
        /// The displacement: the constant part of the address.
        disp: Expr,
        /// The base register; `None` for absolute addresses and for an index alone.
        base: Option<Register>,
        /// The scaled index register; `None` if the address has none.
        index: Option<Index>,
    },
}

impl Operand {
    /// Returns the symbol whose address is needed to read the value; `None` if it needs no symbol.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Operand::Constant(expr) | Operand::Memory { disp: expr, .. } => expr.symbol.as_deref(),
            Operand::Register(_) => None,
        }
    }
}

/// An index register and its scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// The register.
    pub register: Register,
    /// The factor by which the register is multiplied: 1, 2, 4 or 8.
    pub scale: u8,
}

/// A register, or the part of one that an operand names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The hardware register.
    pub id: RegisterId,
    /// Width of the named part in bits: 32 for `%eax`.
    pub bits: u16,
    /// Lowest bit of the named part: 8 for `%ah`, `%bh`, `%ch` and `%dh`, else 0.
    pub shift: u8,
}

impl Register {
    /// Returns the 64-bit general-purpose register with this hardware number.
    pub fn gpr(number: u8) -> Register {
        Register { id: RegisterId::Gpr(number), bits: 64, shift: 0 }
    }
}

/// A register by its hardware number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterId {
    /// A general-purpose register. On x86-64, 0 to 15 are rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi
    /// and r8 to r15; on aarch64, 0 to 30 are x0 to x30.
    Gpr(u8),
    /// The stack pointer of aarch64. On x86-64 the stack pointer is `Gpr(4)`.
    Sp,
    /// The instruction pointer of x86-64, `%rip`.
    Pc,
    /// The zero register of aarch64, `xzr` or `wzr`.
    Zero,
    /// A vector register: xmm, ymm or zmm on x86-64; b, h, s, d, q or v on aarch64.
    Vector(u8),
}

/// The reason why an argument's specification cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgError {
    /// The part before `@` is not a size.
    #[error(
        "`{0}` is not an argument size: expected 1, 2, 4, 8 or 16, with `-` before it or `f` after it"
    )]
    Size(String),
    /// The operand does not match the architecture's grammar.
    #[error("`{0}` is not an operand of this architecture")]
    Operand(String),
    /// The operand names a register that the architecture does not have.
    #[error("`{0}` is not a register of this architecture")]
    Register(String),
}
