//! Argument specifications: where a probe's arguments are when its site is reached.
//!
//! A note carries one string, arguments separated by spaces, each `[[-]N[f]@]OPERAND`: `N` bytes (1, 2, 4, 8),
//! `-` for two's complement, `f` for IEEE floats, and an operand in the assembler's syntax. The size governs,
//! whatever width the register's name has. Compilers choose the operands, so the grammar is whatever
//! GNU as accepts there; both architectures are read whole, and an operand that is not understood spoils
//! its own argument only.
//!
//! Printing gives back the text that was read ([`Arg`] keeps it); [`Value::print`] is the canonical form.

mod aarch64;
mod x86_64;

use std::fmt;

/// Architecture of a specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// AMD64, System V.
    X86_64,
    /// AArch64, little-endian.
    Aarch64,
}

/// One argument as it stands in a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The exact text.
    pub text: String,
    /// What it means, or why it cannot be read.
    pub value: Result<Value, ArgError>,
}

/// A readable argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Two's complement.
    pub signed: bool,
    /// IEEE 754.
    pub float: bool,
    /// Where the value is.
    pub operand: Operand,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The value itself.
    Constant(Expr),
    /// In a register.
    Register(Register),
    /// In memory, at `disp + base + index.register * index.scale`.
    Memory {
        /// Constant part of the address.
        disp: Expr,
        /// Base register.
        base: Option<Register>,
        /// Scaled register.
        index: Option<Index>,
    },
}

impl Operand {
    /// The symbol that has to be known to read the value.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Operand::Constant(expr) | Operand::Memory { disp: expr, .. } => expr.symbol.as_deref(),
            Operand::Register(_) => None,
        }
    }
}

/// `symbol + offset`, either of which may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expr {
    /// A name that the file's symbol table resolves.
    pub symbol: Option<String>,
    /// Added to it.
    pub offset: i64,
}

/// A scaled index register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// The register.
    pub register: Register,
    /// 1, 2, 4 or 8.
    pub scale: u8,
}

/// A register and the part of it that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which one.
    pub id: RegisterId,
    /// Width of the name used, in bits.
    pub bits: u16,
    /// Lowest bit meant: 8 for `%ah` and its like, else 0.
    pub shift: u8,
}

/// Registers by hardware number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterId {
    /// x86-64: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8…; aarch64: x0…x30.
    Gpr(u8),
    /// aarch64 `sp` (x86-64's is `Gpr(4)`).
    Sp,
    /// x86-64 `%rip`.
    Pc,
    /// aarch64 `xzr`, `wzr`: reads as zero.
    Zero,
    /// xmm, ymm, zmm; aarch64 b, h, s, d, q, v.
    Vector(u8),
}

/// Why an argument cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// The part before `@` is not a size.
    #[error("`{0}` is no argument size (1, 2, 4 or 8, with `-` or `f`)")]
    Size(String),
    /// The operand is in no form of this architecture's grammar.
    #[error("`{0}` is no operand of this architecture")]
    Operand(String),
    /// A register of another or no architecture.
    #[error("`{0}` is no register of this architecture")]
    Register(String),
}

/// Splits and reads a whole specification. Never fails: what cannot be read is an `Err` in its place, so
/// that argument positions always hold.
pub fn parse(spec: &str, arch: Arch) -> Vec<Arg> {
    split(spec).map(|text| Arg { text: text.to_owned(), value: parse_value(text, arch) }).collect()
}

/// Splits at spaces that are outside brackets: aarch64 writes `8@[sp, 16]`.
fn split(spec: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    spec.split(move |c: char| {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c.is_ascii_whitespace() && depth == 0
    })
    .filter(|text| !text.is_empty())
}

fn parse_value(text: &str, arch: Arch) -> Result<Value, ArgError> {
    // gdb accepts a bare operand as one machine word; so do some emitters.
    let (size_text, operand) = text.split_once('@').unwrap_or(("8", text));
    let bad_size = || ArgError::Size(size_text.to_owned());
    let (signed, rest) =
        size_text.strip_prefix('-').map_or((false, size_text), |rest| (true, rest));
    let (float, rest) = rest.strip_suffix('f').map_or((false, rest), |rest| (true, rest));
    let size = match rest {
        "1" => 1,
        "2" => 2,
        "4" => 4,
        "8" => 8,
        _ => return Err(bad_size()),
    };
    let operand = match arch {
        Arch::X86_64 => x86_64::operand(operand),
        Arch::Aarch64 => aarch64::operand(operand),
    }?;
    Ok(Value { size, signed, float, operand })
}

impl Value {
    /// The canonical text of the argument, which [`parse`] reads back to the same value.
    pub fn print(&self, arch: Arch) -> String {
        let sign = if self.signed { "-" } else { "" };
        let float = if self.float { "f" } else { "" };
        let operand = match arch {
            Arch::X86_64 => x86_64::print(&self.operand),
            Arch::Aarch64 => aarch64::print(&self.operand),
        };
        format!("{sign}{}{float}@{operand}", self.size)
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Register {
    /// A whole 64-bit general register.
    pub fn gpr(number: u8) -> Register {
        Register { id: RegisterId::Gpr(number), bits: 64, shift: 0 }
    }

    /// aarch64's stack pointer.
    pub fn sp() -> Register {
        Register { id: RegisterId::Sp, bits: 64, shift: 0 }
    }
}

impl Expr {
    /// A plain number.
    pub fn number(offset: i64) -> Expr {
        Expr { symbol: None, offset }
    }

    /// Sum of integers and at most one symbol: `8`, `-0x10`, `sym`, `sym+8`, `8+sym-4`.
    fn parse(text: &str) -> Option<Expr> {
        let mut out = Expr::default();
        let mut rest = text;
        let mut negative = false;
        if let Some(tail) = rest.strip_prefix(['-', '+']) {
            negative = rest.starts_with('-');
            rest = tail;
        }
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let (term, tail) = rest.split_at_checked(end)?;
            if term.starts_with(|c: char| c.is_ascii_digit()) {
                let n = parse_integer(term)?;
                out.offset = out.offset.wrapping_add(if negative { n.wrapping_neg() } else { n });
            } else if is_symbol(term) && out.symbol.is_none() && !negative {
                out.symbol = Some(term.to_owned());
            } else {
                return None;
            }
            if tail.is_empty() {
                return Some(out);
            }
            negative = tail.starts_with('-');
            rest = tail.get(1..)?;
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.symbol, self.offset) {
            (None, n) => write!(f, "{n}"),
            (Some(s), 0) => f.write_str(s),
            (Some(s), n) => write!(f, "{s}{n:+}"),
        }
    }
}

/// Unsigned decimal, `0x` hexadecimal or `0` octal as GNU as reads them; the bits of a `u64` are kept.
fn parse_integer(text: &str) -> Option<i64> {
    let value = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        u64::from_str_radix(text, 8)
    } else {
        text.parse()
    };
    // `from_str_radix` takes a sign of its own; a second one is no number.
    (!text.contains(['+', '-'])).then_some(value.ok()? as i64)
}

/// A name as assemblers allow it in these positions (GCC clones carry dots, versions an `@`).
fn is_symbol(text: &str) -> bool {
    // A `$` in front marks an immediate.
    text.starts_with(|c: char| c.is_ascii_alphabetic() || "_.".contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.$@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(spec: &str) -> Vec<&str> {
        split(spec).collect()
    }

    #[test]
    fn spaces_inside_brackets_do_not_split() {
        assert_eq!(texts("8@[sp, 16] -4@x1  4@[x0, x1]"), ["8@[sp, 16]", "-4@x1", "4@[x0, x1]"]);
        assert_eq!(texts("  "), [""; 0]);
    }

    #[test]
    fn one_bad_argument_leaves_the_others() {
        let args = parse("-4@%edi 3@%rax 8@%zap 8@8(%rsp)", Arch::X86_64);
        assert_eq!(args.len(), 4);
        assert!(args[0].value.is_ok() && args[3].value.is_ok());
        assert_eq!(args[1].value, Err(ArgError::Size("3".into())));
        assert_eq!(args[2].value, Err(ArgError::Register("%zap".into())));
    }

    #[test]
    fn expressions() {
        let expr = |t| Expr::parse(t).map(|e| (e.symbol, e.offset));
        assert_eq!(expr("-0x10"), Some((None, -16)));
        assert_eq!(expr("8+sym-4"), Some((Some("sym".into()), 4)));
        assert_eq!(expr(".LC0+1"), Some((Some(".LC0".into()), 1)));
        assert_eq!(expr("18446744073709551615"), Some((None, -1)));
        for bad in ["", "-", "8+", "a+b", "-sym", "1x", "0x", "+-8", "$", "$x"] {
            assert_eq!(expr(bad), None, "{bad}");
        }
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        // `%` and `[` come before symbols, so any assembler name may stand here, `x0x` included.
        (prop::option::of("[a-z_][a-z0-9_.]{4,12}"), -100_000i64..100_000)
            .prop_map(|(symbol, offset)| Expr { symbol, offset })
    }

    fn any_value(arch: Arch) -> impl Strategy<Value = Value> {
        let register = (0u8..if arch == Arch::X86_64 { 16 } else { 31 }).prop_map(Register::gpr);
        let index = (register.clone(), prop::sample::select(vec![1u8, 2, 4, 8])).prop_map(
            move |(register, scale)| Index {
                register,
                scale: if arch == Arch::X86_64 { scale } else { 1 },
            },
        );
        let memory = (any_expr(), register.clone(), prop::option::of(index)).prop_map(
            move |(disp, base, index)| {
                // aarch64 has either an offset or an index, and numeric offsets only.
                let disp = match (arch, index) {
                    (Arch::Aarch64, Some(_)) => Expr::default(),
                    (Arch::Aarch64, None) => Expr::number(disp.offset),
                    _ => disp,
                };
                Operand::Memory { disp, base: Some(base), index }
            },
        );
        let operand = prop_oneof![
            any_expr().prop_map(Operand::Constant),
            register.prop_map(Operand::Register),
            memory,
        ];
        (prop::sample::select(vec![1u8, 2, 4, 8]), any::<bool>(), any::<bool>(), operand)
            .prop_map(|(size, signed, float, operand)| Value { size, signed, float, operand })
    }

    proptest! {
        #[test]
        fn print_then_parse_is_identity_x86_64(value in any_value(Arch::X86_64)) {
            let args = parse(&value.print(Arch::X86_64), Arch::X86_64);
            prop_assert_eq!(args.len(), 1);
            prop_assert_eq!(args[0].value.clone(), Ok(value));
        }

        #[test]
        fn print_then_parse_is_identity_aarch64(value in any_value(Arch::Aarch64)) {
            let args = parse(&value.print(Arch::Aarch64), Arch::Aarch64);
            prop_assert_eq!(args.len(), 1);
            prop_assert_eq!(args[0].value.clone(), Ok(value));
        }

        #[test]
        fn any_text_is_kept_and_never_panics(spec in "[ -~]{0,60}") {
            for arch in [Arch::X86_64, Arch::Aarch64] {
                let printed: Vec<String> = parse(&spec, arch).iter().map(ToString::to_string).collect();
                prop_assert_eq!(printed.join(" "), texts(&spec).join(" "));
            }
        }
    }
}
