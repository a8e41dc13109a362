//! Argument specifications: the locations of a probe's arguments at its site.
//!
//! A note has one string with the arguments separated by spaces. Each argument is
//! `[[-]N[f]@]OPERAND`: `N` is the size in bytes (1, 2, 4, 8 or 16), `-` marks two's complement
//! integers, `f` marks IEEE 754 numbers. The operand is in the assembler's syntax.
//!
//! Compilers choose the operands, so this module accepts every form that GNU as accepts there. An
//! operand that it cannot parse makes only its own argument an error.
//!
//! [`Arg::spec`] keeps the original string; [`Value::to_spec`] prints the canonical form.

mod aarch64;
mod expr;
mod spec;
mod types;
mod x86_64;

pub use expr::Expr;
pub use spec::{parse, split};
pub use types::{Arch, Arg, ArgError, Index, Operand, Register, RegisterId, Value};
