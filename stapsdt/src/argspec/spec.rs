//! Splitting, parsing and printing of whole specifications.

use super::types::{Arch, Arg, ArgError, Value};
use super::{aarch64, x86_64};

/// Parses a whole argument specification.
///
/// It never fails: an argument that cannot be parsed has an `Err` as its value, so that the
/// positions of the others stay right.
///
/// ```
/// use stapsdt::argspec::{Arch, Operand, Register, parse};
///
/// let args = parse("-4@%edi 8@16(%rsp) 3@%rax", Arch::X86_64);
/// let first = args[0].value.as_ref().unwrap();
/// assert!(first.signed && first.size == 4);
/// assert!(matches!(first.operand, Operand::Register(Register { bits: 32, .. })));
/// assert!(args[2].value.is_err());
/// ```
pub fn parse(spec: &str, arch: Arch) -> Vec<Arg> {
    split(spec).map(|arg| Arg { spec: arg.to_owned(), value: parse_value(arg, arch) }).collect()
}

/// Splits a specification into its arguments, at spaces outside of brackets: aarch64 has
/// `8@[sp, 16]`. It works for every architecture, as no operand has a space elsewhere.
pub fn split(spec: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    spec.split(move |c: char| {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c.is_ascii_whitespace() && depth == 0
    })
    .filter(|arg| !arg.is_empty())
}

fn parse_value(arg: &str, arch: Arch) -> Result<Value, ArgError> {
    // Some emitters write an operand without a size; like gdb, treat it as one machine word.
    let (type_spec, operand) = arg.split_once('@').unwrap_or(("8", arg));
    let (signed, rest) =
        type_spec.strip_prefix('-').map_or((false, type_spec), |rest| (true, rest));
    let (float, rest) = rest.strip_suffix('f').map_or((false, rest), |rest| (true, rest));
    let size = match rest {
        "1" => 1,
        "2" => 2,
        "4" => 4,
        "8" => 8,
        "16" => 16,
        _ => return Err(ArgError::Size(type_spec.to_owned())),
    };
    let operand = match arch {
        Arch::X86_64 => x86_64::parse_operand(operand),
        Arch::Aarch64 => aarch64::parse_operand(operand),
    }?;
    Ok(Value { size, signed, float, operand })
}

impl Value {
    /// Returns the canonical specification, which [`parse`] parses back to the same value.
    pub fn to_spec(&self, arch: Arch) -> String {
        let sign = if self.signed { "-" } else { "" };
        let float = if self.float { "f" } else { "" };
        let operand = match arch {
            Arch::X86_64 => x86_64::print_operand(&self.operand),
            Arch::Aarch64 => aarch64::print_operand(&self.operand),
        };
        format!("{sign}{}{float}@{operand}", self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::expr::Expr;
    use super::super::types::{Index, Operand, Register};
    use super::*;
    use proptest::prelude::*;

    fn split_all(spec: &str) -> Vec<&str> {
        split(spec).collect()
    }

    #[test]
    fn keeps_spaces_inside_brackets() {
        assert_eq!(
            split_all("8@[sp, 16] -4@x1  4@[x0, x1]"),
            ["8@[sp, 16]", "-4@x1", "4@[x0, x1]"]
        );
        assert_eq!(split_all("  "), [""; 0]);
    }

    #[test]
    fn a_bad_argument_does_not_affect_the_others() {
        let args = parse("-4@%edi 3@%rax 8@%zap 8@8(%rsp)", Arch::X86_64);
        assert_eq!(args.len(), 4);
        assert!(args[0].value.is_ok() && args[3].value.is_ok());
        assert_eq!(args[1].value, Err(ArgError::Size("3".into())));
        assert_eq!(args[2].value, Err(ArgError::Register("%zap".into())));
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        // Registers have a prefix on x86-64 only, so symbols have at least five characters: no
        // register of aarch64 is that long.
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
        (prop::sample::select(vec![1u8, 2, 4, 8, 16]), any::<bool>(), any::<bool>(), operand)
            .prop_map(|(size, signed, float, operand)| Value { size, signed, float, operand })
    }

    proptest! {
        #[test]
        fn parses_what_it_prints_on_x86_64(value in any_value(Arch::X86_64)) {
            let args = parse(&value.to_spec(Arch::X86_64), Arch::X86_64);
            prop_assert_eq!(args.len(), 1);
            prop_assert_eq!(args[0].value.clone(), Ok(value));
        }

        #[test]
        fn parses_what_it_prints_on_aarch64(value in any_value(Arch::Aarch64)) {
            let args = parse(&value.to_spec(Arch::Aarch64), Arch::Aarch64);
            prop_assert_eq!(args.len(), 1);
            prop_assert_eq!(args[0].value.clone(), Ok(value));
        }

        #[test]
        fn keeps_any_string_unchanged(spec in "[ -~]{0,60}") {
            for arch in [Arch::X86_64, Arch::Aarch64] {
                let printed: Vec<String> = parse(&spec, arch).iter().map(ToString::to_string).collect();
                prop_assert_eq!(printed.join(" "), split_all(&spec).join(" "));
            }
        }
    }
}
