//! Operands of aarch64: `xN`, `wN`, `sp`, vector registers, `[r]`, `[r, off]`, `[r, r]` and
//! constants.

use super::expr::Expr;
use super::types::{ArgError, Index, Operand, Register, RegisterId};

pub(super) fn parse_operand(source: &str) -> Result<Operand, ArgError> {
    let bad = || ArgError::Operand(source.to_owned());
    if let Some(inner) = source.strip_prefix('[') {
        return parse_memory(inner.strip_suffix(']').ok_or_else(bad)?, &bad);
    }
    if let Some(r) = parse_register(source) {
        return Ok(Operand::Register(r));
    }
    parse_immediate(source).map(Operand::Constant).ok_or_else(bad)
}

/// Parses an immediate, with or without `#`. A bare name is the address of a symbol, unless it is
/// the name of a register.
fn parse_immediate(source: &str) -> Option<Expr> {
    let expr = Expr::parse(source.strip_prefix('#').unwrap_or(source))?;
    expr.symbol.as_deref().is_none_or(|name| parse_register(name).is_none()).then_some(expr)
}

fn parse_memory(inner: &str, bad: &dyn Fn() -> ArgError) -> Result<Operand, ArgError> {
    let mut parts = inner.split(',').map(str::trim);
    let base = parse_base(parts.next().unwrap_or_default())?;
    let (mut disp, mut index) = (Expr::default(), None);
    if let Some(second) = parts.next() {
        if let Some(r) = parse_register(second) {
            if matches!(r.id, RegisterId::Vector(_) | RegisterId::Sp) {
                return Err(ArgError::Register(second.to_owned()));
            }
            let scale =
                parts.next().map_or(Some(1), |shift| parse_lsl(shift, r)).ok_or_else(bad)?;
            index = Some(Index { register: r, scale });
        } else {
            disp = parse_immediate(second).ok_or_else(bad)?;
        }
    }
    if parts.next().is_some() {
        return Err(bad());
    }
    Ok(Operand::Memory { disp, base: Some(base), index })
}

/// Parses the base register of an address.
fn parse_base(source: &str) -> Result<Register, ArgError> {
    match parse_register(source) {
        Some(r) if !matches!(r.id, RegisterId::Vector(_)) => Ok(r),
        _ => Err(ArgError::Register(source.to_owned())),
    }
}

/// Parses `lsl #n` of a 64-bit index and returns the scale. [`Index`] cannot express the extending
/// forms (`sxtw`, `uxtw`), so they are rejected.
fn parse_lsl(source: &str, index: Register) -> Option<u8> {
    let amount = source.strip_prefix("lsl")?.trim().trim_start_matches('#');
    match (amount, index.bits) {
        ("0", 64) => Some(1),
        ("1", 64) => Some(2),
        ("2", 64) => Some(4),
        ("3", 64) => Some(8),
        _ => None,
    }
}

fn parse_register(source: &str) -> Option<Register> {
    let whole = |id, bits| Some(Register { id, bits, shift: 0 });
    match source {
        "sp" => return whole(RegisterId::Sp, 64),
        "wsp" => return whole(RegisterId::Sp, 32),
        "xzr" => return whole(RegisterId::Zero, 64),
        "wzr" => return whole(RegisterId::Zero, 32),
        "fp" => return whole(RegisterId::Gpr(29), 64),
        "lr" => return whole(RegisterId::Gpr(30), 64),
        _ => {}
    }
    let number =
        source.get(1..).filter(|n| !n.starts_with(['+', '0']) || *n == "0")?.parse::<u8>().ok()?;
    let (id, bits) = match source.as_bytes().first()? {
        b'x' if number <= 30 => (RegisterId::Gpr(number), 64),
        b'w' if number <= 30 => (RegisterId::Gpr(number), 32),
        b'b' if number <= 31 => (RegisterId::Vector(number), 8),
        b'h' if number <= 31 => (RegisterId::Vector(number), 16),
        b's' if number <= 31 => (RegisterId::Vector(number), 32),
        b'd' if number <= 31 => (RegisterId::Vector(number), 64),
        b'q' | b'v' if number <= 31 => (RegisterId::Vector(number), 128),
        _ => return None,
    };
    whole(id, bits)
}

fn register_name(register: &Register) -> String {
    let narrow = register.bits == 32;
    match register.id {
        RegisterId::Sp => if narrow { "wsp" } else { "sp" }.to_owned(),
        RegisterId::Zero => if narrow { "wzr" } else { "xzr" }.to_owned(),
        RegisterId::Gpr(n) => format!("{}{n}", if narrow { 'w' } else { 'x' }),
        RegisterId::Vector(n) => {
            let class = match register.bits {
                8 => 'b',
                16 => 'h',
                32 => 's',
                64 => 'd',
                _ => 'q',
            };
            format!("{class}{n}")
        }
        // This module's parser never returns the instruction pointer of x86-64.
        RegisterId::Pc => "pc".to_owned(),
    }
}

pub(super) fn print_operand(operand: &Operand) -> String {
    match operand {
        Operand::Constant(expr) => expr.to_string(),
        Operand::Register(r) => register_name(r),
        Operand::Memory { disp, base, index } => {
            let mut out = format!("[{}", base.as_ref().map(register_name).unwrap_or_default());
            if let Some(index) = index {
                out.push_str(&format!(", {}", register_name(&index.register)));
                if index.scale > 1 {
                    out.push_str(&format!(", lsl #{}", index.scale.ilog2()));
                }
            } else if *disp != Expr::default() {
                out.push_str(&format!(", {disp}"));
            }
            out.push(']');
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::argspec::{Arch, parse};

    #[test]
    fn prints_canonical_forms_unchanged() {
        let forms = "-4@x0 4@w1 8@sp 8@x30 8f@d0 4f@s31 8@xzr 8@[x0] 8@[sp, 40] -4@[x29, -20] 8@[x0, x1] 8@[x0, x1, lsl #3] 4@42 -4@-1 8@sym+8";
        for arg in parse(forms, Arch::Aarch64) {
            let value = arg.value.clone().unwrap_or_else(|e| panic!("{arg}: {e}"));
            assert_eq!(value.to_spec(Arch::Aarch64), arg.spec);
        }
    }

    /// A symbol with the name of a register would be printed as the register. Found by fuzzing.
    #[test]
    fn rejects_register_names_as_symbols() {
        for spec in ["8@#x0", "8@+sp", "8@[x1, #w2]"] {
            assert!(parse(spec, Arch::Aarch64)[0].value.is_err(), "{spec}");
        }
    }

    #[test]
    fn normalizes_equivalent_forms() {
        for (spec, canonical) in [
            ("8@[sp,#40]", "8@[sp, 40]"),
            ("4@#42", "4@42"),
            ("8@[fp, 16]", "8@[x29, 16]"),
            ("8@[x0, 0]", "8@[x0]"),
        ] {
            let args = parse(spec, Arch::Aarch64);
            assert_eq!(args[0].value.as_ref().unwrap().to_spec(Arch::Aarch64), canonical);
            assert_eq!(args[0].to_string(), spec);
        }
    }

    #[test]
    fn rejects_invalid_operands() {
        for bad in [
            "8@[sp",
            "8@[d0]",
            "8@[sp, d0]",
            "8@[x0, w1, sxtw #2]",
            "8@[]",
            "8@(%rax)",
            "8@%rdi",
            "8@[x0, 8, 8]",
        ] {
            assert!(parse(bad, Arch::Aarch64).iter().any(|a| a.value.is_err()), "{bad}");
        }
    }
}
