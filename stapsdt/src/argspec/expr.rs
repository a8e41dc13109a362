//! Constant expressions of operands: integers and symbols.

use std::fmt;

/// The sum of a symbol and an offset, either of which may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expr {
    /// The symbol, to be resolved with the file's symbol table; `None` for a plain number.
    pub symbol: Option<String>,
    /// The number that is added to the symbol's address, or the number itself.
    pub offset: i64,
}

impl Expr {
    /// Returns a plain number.
    pub fn number(offset: i64) -> Expr {
        Expr { symbol: None, offset }
    }

    /// Parses a sum of integers and at most one symbol: `8`, `-0x10`, `sym`, `sym+8`, `8+sym-4`.
    pub(super) fn parse(source: &str) -> Option<Expr> {
        let mut out = Expr::default();
        let mut rest = source;
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

/// Parses a number as GNU as does: decimal, `0x` hexadecimal or `0` octal, without a sign. Values
/// above `i64::MAX` keep their 64 bits.
fn parse_integer(source: &str) -> Option<i64> {
    let value = if let Some(hex) = source.strip_prefix("0x").or_else(|| source.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if source.len() > 1 && source.starts_with('0') {
        u64::from_str_radix(source, 8)
    } else {
        source.parse()
    };
    // `from_str_radix` accepts a sign, but the caller has already consumed it.
    (!source.contains(['+', '-'])).then_some(value.ok()? as i64)
}

/// Returns true for a symbol name that assemblers accept here. The names of GCC's clones contain
/// dots, and versioned symbols contain an `@`.
fn is_symbol(source: &str) -> bool {
    // A leading `$` would mark an immediate.
    source.starts_with(|c: char| c.is_ascii_alphabetic() || "_.".contains(c))
        && source.chars().all(|c| c.is_ascii_alphanumeric() || "_.$@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sums_of_integers_and_one_symbol() {
        let expr = |t| Expr::parse(t).map(|e| (e.symbol, e.offset));
        assert_eq!(expr("-0x10"), Some((None, -16)));
        assert_eq!(expr("8+sym-4"), Some((Some("sym".into()), 4)));
        assert_eq!(expr(".LC0+1"), Some((Some(".LC0".into()), 1)));
        assert_eq!(expr("18446744073709551615"), Some((None, -1)));
        for bad in ["", "-", "8+", "a+b", "-sym", "1x", "0x", "+-8", "$", "$x"] {
            assert_eq!(expr(bad), None, "{bad}");
        }
    }
}
