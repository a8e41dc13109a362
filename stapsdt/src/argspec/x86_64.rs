//! Operands of x86-64 in AT&T syntax: `$imm`, `%reg`, `disp(%base,%index,scale)`, `sym±off(%rip)`
//! and absolute addresses.

use super::expr::Expr;
use super::types::{ArgError, Index, Operand, Register, RegisterId};

/// Names of the first eight registers by hardware number, each with 64, 32, 16 and 8 bits.
const LEGACY: [[&str; 4]; 8] = [
    ["rax", "eax", "ax", "al"],
    ["rcx", "ecx", "cx", "cl"],
    ["rdx", "edx", "dx", "dl"],
    ["rbx", "ebx", "bx", "bl"],
    ["rsp", "esp", "sp", "spl"],
    ["rbp", "ebp", "bp", "bpl"],
    ["rsi", "esi", "si", "sil"],
    ["rdi", "edi", "di", "dil"],
];
/// Names of the second-lowest byte of registers 0 to 3.
const HIGH_BYTES: [&str; 4] = ["ah", "ch", "dh", "bh"];
/// Widths in bits of the names in [`LEGACY`].
const WIDTHS: [u16; 4] = [64, 32, 16, 8];

pub(super) fn parse_operand(source: &str) -> Result<Operand, ArgError> {
    let bad = || ArgError::Operand(source.to_owned());
    if let Some(imm) = source.strip_prefix('$') {
        return Expr::parse(imm).map(Operand::Constant).ok_or_else(bad);
    }
    if source.starts_with('%') {
        return parse_register(source)
            .map(Operand::Register)
            .ok_or_else(|| ArgError::Register(source.to_owned()));
    }
    let Some((disp, inner)) = source.split_once('(') else {
        let disp = Expr::parse(source).ok_or_else(bad)?;
        return Ok(Operand::Memory { disp, base: None, index: None });
    };
    let inner = inner.strip_suffix(')').ok_or_else(bad)?;
    let disp = if disp.is_empty() { Expr::default() } else { Expr::parse(disp).ok_or_else(bad)? };
    let mut parts = inner.split(',').map(str::trim);
    let base = match parts.next().unwrap_or_default() {
        "" => None,
        name => Some(parse_address_register(name)?),
    };
    let index = match parts.next() {
        None | Some("") => None,
        Some(name) => {
            let scale = match parts.next() {
                None | Some("" | "1") => 1,
                Some("2") => 2,
                Some("4") => 4,
                Some("8") => 8,
                Some(_) => return Err(bad()),
            };
            Some(Index { register: parse_address_register(name)?, scale })
        }
    };
    if parts.next().is_some() || (base.is_none() && index.is_none()) {
        return Err(bad());
    }
    Ok(Operand::Memory { disp, base, index })
}

/// Parses a register that can be part of an address.
fn parse_address_register(source: &str) -> Result<Register, ArgError> {
    match parse_register(source) {
        Some(r) if matches!(r.id, RegisterId::Gpr(_) | RegisterId::Pc) && r.bits >= 32 => Ok(r),
        _ => Err(ArgError::Register(source.to_owned())),
    }
}

fn parse_register(source: &str) -> Option<Register> {
    let name = source.strip_prefix('%')?;
    for (number, names) in (0u8..).zip(LEGACY) {
        if let Some(width) = names.iter().position(|n| *n == name) {
            return Some(Register {
                id: RegisterId::Gpr(number),
                bits: *WIDTHS.get(width)?,
                shift: 0,
            });
        }
    }
    if let Some(number) = HIGH_BYTES.iter().position(|n| *n == name) {
        return Some(Register { id: RegisterId::Gpr(number as u8), bits: 8, shift: 8 });
    }
    match name {
        "rip" => return Some(Register { id: RegisterId::Pc, bits: 64, shift: 0 }),
        "eip" => return Some(Register { id: RegisterId::Pc, bits: 32, shift: 0 }),
        _ => {}
    }
    for (prefix, bits) in [("xmm", 128), ("ymm", 256), ("zmm", 512)] {
        if let Some(n) = name.strip_prefix(prefix).and_then(|n| parse_number(n, 0..32)) {
            return Some(Register { id: RegisterId::Vector(n), bits, shift: 0 });
        }
    }
    let extended = name.strip_prefix('r')?;
    let (digits, bits) = match extended.as_bytes().last()? {
        b'd' => (extended.strip_suffix('d')?, 32),
        b'w' => (extended.strip_suffix('w')?, 16),
        b'b' => (extended.strip_suffix('b')?, 8),
        b'l' => (extended.strip_suffix('l')?, 8),
        _ => (extended, 64),
    };
    Some(Register { id: RegisterId::Gpr(parse_number(digits, 8..16)?), bits, shift: 0 })
}

/// Parses a register number in `range`, without a sign and without leading zeros.
fn parse_number(source: &str, range: std::ops::Range<u8>) -> Option<u8> {
    let n: u8 = source.parse().ok()?;
    (range.contains(&n) && n.to_string() == source).then_some(n)
}

fn register_name(register: &Register) -> String {
    let suffixes = [(32, "d"), (16, "w"), (8, "b")];
    let body = match register.id {
        RegisterId::Gpr(n) if register.shift == 8 => {
            HIGH_BYTES.get(usize::from(n)).map_or(String::new(), |s| (*s).to_owned())
        }
        RegisterId::Gpr(n) if n < 8 => {
            let width = WIDTHS.iter().position(|w| *w == register.bits).unwrap_or(0);
            LEGACY
                .get(usize::from(n))
                .and_then(|names| names.get(width))
                .map_or(String::new(), |s| (*s).to_owned())
        }
        RegisterId::Gpr(n) => {
            let suffix =
                suffixes.iter().find(|(bits, _)| *bits == register.bits).map_or("", |(_, s)| s);
            format!("r{n}{suffix}")
        }
        RegisterId::Pc => if register.bits == 32 { "eip" } else { "rip" }.to_owned(),
        RegisterId::Vector(n) => {
            let class = match register.bits {
                256 => "ymm",
                512 => "zmm",
                _ => "xmm",
            };
            format!("{class}{n}")
        }
        // This module's parser never returns the registers of aarch64.
        RegisterId::Sp => "rsp".to_owned(),
        RegisterId::Zero => String::new(),
    };
    format!("%{body}")
}

pub(super) fn print_operand(operand: &Operand) -> String {
    match operand {
        Operand::Constant(expr) => format!("${expr}"),
        Operand::Register(r) => register_name(r),
        Operand::Memory { disp, base: None, index: None } => disp.to_string(),
        Operand::Memory { disp, base, index } => {
            let disp = if *disp == Expr::default() { String::new() } else { disp.to_string() };
            let base = base.as_ref().map(register_name).unwrap_or_default();
            let index = index
                .map(|i| format!(",{},{}", register_name(&i.register), i.scale))
                .unwrap_or_default();
            format!("{disp}({base}{index})")
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::argspec::{Arch, parse};

    /// GCC and clang emit these forms.
    #[test]
    fn prints_canonical_forms_unchanged() {
        let forms = "-4@%edi 8@%rax 1@%ah 2@%r8w 4@%r15d 1@%sil -1@%r10b 8f@%xmm0 4f@%xmm15 8@%rip \
                     -4@$-12 8@$sym 8@$sym+16 8@(%rax) -4@-20(%rbp) 8@152(%r14) 4@(%rax,%rbx,1) \
                     4@8(%rax,%rbx,4) 8@-8(,%rcx,8) 8@sym(%rip) -4@sym+8(%rip) -4@sym-8(%rip) 8@4198400 8@table(,%rax,8)";
        for arg in parse(forms, Arch::X86_64) {
            let value = arg.value.clone().unwrap_or_else(|e| panic!("{arg}: {e}"));
            assert_eq!(value.to_spec(Arch::X86_64), arg.spec);
        }
    }

    #[test]
    fn normalizes_equivalent_forms() {
        for (spec, canonical) in [
            ("8@0(%rax)", "8@(%rax)"),
            ("8@+8(%rax)", "8@8(%rax)"),
            ("8@0x10(%rsp)", "8@16(%rsp)"),
            ("8@(%rax,%rbx)", "8@(%rax,%rbx,1)"),
            ("8@8+sym(%rip)", "8@sym+8(%rip)"),
            ("%rdi", "8@%rdi"),
            ("1@%r9l", "1@%r9b"),
        ] {
            let args = parse(spec, Arch::X86_64);
            assert_eq!(args[0].value.as_ref().unwrap().to_spec(Arch::X86_64), canonical);
            assert_eq!(args[0].to_string(), spec);
        }
    }

    #[test]
    fn rejects_invalid_operands() {
        for bad in [
            "8@",
            "8@%",
            "8@%r16",
            "8@%r08",
            "8@()",
            "8@(%rax",
            "8@8(%ax)",
            "8@(%rax,%rbx,3)",
            "8@x0,",
            "8@[sp, 8]",
            "8@%xmm32",
            "8@(%rax,%rbx,1,1)",
            "32@%rax",
            "f@%rax",
            "--4@%eax",
            "8@(%xmm0)",
        ] {
            assert!(parse(bad, Arch::X86_64).iter().any(|a| a.value.is_err()), "{bad}");
        }
    }
}
