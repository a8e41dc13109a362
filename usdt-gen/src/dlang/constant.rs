//! Constant expressions: the conditions of `#if`, array lengths, enumerators and bit-field widths.
//!
//! Operators and their precedence are those of C. Values have 128 bits, so that every 64-bit result
//! is exact. A value that does not fit in 128 bits is an error.

use super::character;
use super::lexer::{Kind, Token};
use crate::dlang::source::{Sources, Span};

/// Deepest nesting of parentheses and unary operators.
const MAX_DEPTH: usize = 64;

/// Why an expression cannot be evaluated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EvalError {
    pub(super) span: Span,
    pub(super) reason: String,
}

/// The names and types that an expression can refer to.
pub(super) trait Scope {
    /// Returns the value of a name, or `None` if it is not a constant.
    fn value_of(&self, name: &str) -> Option<i128>;
    /// Returns the size in bytes of the type that the tokens spell, or `None` if it is unknown.
    fn size_of(&self, tokens: &[Token]) -> Option<i128>;
}

/// Evaluates an expression. Tokens after its end are an error. `at` is the position of errors about
/// the end of the expression.
pub(super) fn evaluate(
    sources: &Sources,
    tokens: &[Token],
    at: &Span,
    scope: &dyn Scope,
) -> Result<i128, EvalError> {
    let mut eval = Evaluator { sources, tokens, next: 0, end: at.clone(), scope, depth: 0 };
    let value = eval.conditional(true)?;
    match eval.peek() {
        None => Ok(value),
        Some(token) => {
            let reason = format!("expected an operator, found `{}`", sources.text(&token.text));
            Err(EvalError { span: token.span.clone(), reason })
        }
    }
}

struct Evaluator<'a> {
    sources: &'a Sources,
    tokens: &'a [Token],
    next: usize,
    end: Span,
    scope: &'a dyn Scope,
    depth: usize,
}

/// The binary operators by precedence, lowest first.
const PRECEDENCE: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<", ">", "<=", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Evaluator<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn text(&self) -> &str {
        self.peek().map_or("", |t| self.sources.text(&t.text))
    }

    fn eat(&mut self, what: &str) -> bool {
        let found = self.text() == what && self.peek().is_some_and(|t| t.kind != Kind::Quoted);
        self.next += usize::from(found);
        found
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, EvalError> {
        let span = self.peek().map_or(self.end.clone(), |t| t.span.clone());
        Err(EvalError { span, reason: reason.into() })
    }

    fn expect(&mut self, what: &str) -> Result<(), EvalError> {
        if self.eat(what) { Ok(()) } else { self.fail(format!("expected `{what}`")) }
    }

    /// `live` is false in a branch that is not taken. Division by zero is not an error there.
    fn conditional(&mut self, live: bool) -> Result<i128, EvalError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("the expression is nested too deeply");
        }
        let condition = self.binary(0, live)?;
        let value = if self.eat("?") {
            let yes = self.conditional(live && condition != 0)?;
            self.expect(":")?;
            let no = self.conditional(live && condition == 0)?;
            if condition != 0 { yes } else { no }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(value)
    }

    fn binary(&mut self, level: usize, live: bool) -> Result<i128, EvalError> {
        let Some(operators) = PRECEDENCE.get(level) else { return self.unary(live) };
        let mut left = self.binary(level + 1, live)?;
        while let Some(operator) = operators.iter().copied().find(|o| self.text() == *o) {
            let start = self.next;
            self.next += 1;
            let live = live
                && match operator {
                    "||" => left == 0,
                    "&&" => left != 0,
                    _ => true,
                };
            let right = self.binary(level + 1, live)?;
            left = match apply(operator, left, right) {
                Some(value) => value,
                None if !live => 0,
                None => {
                    self.next = start;
                    let reason =
                        if right == 0 { "division by zero" } else { "the result is too large" };
                    return self.fail(reason);
                }
            };
        }
        Ok(left)
    }

    fn unary(&mut self, live: bool) -> Result<i128, EvalError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("the expression is nested too deeply");
        }
        let value = if self.eat("!") {
            i128::from(self.unary(live)? == 0)
        } else if self.eat("~") {
            !self.unary(live)?
        } else if self.eat("+") {
            self.unary(live)?
        } else if self.eat("-") {
            match self.unary(live)?.checked_neg() {
                Some(value) => value,
                None => return self.fail("the result is too large"),
            }
        } else {
            self.primary(live)?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn primary(&mut self, live: bool) -> Result<i128, EvalError> {
        let Some(token) = self.peek() else { return self.fail("expected a value") };
        let text = self.sources.text(&token.text);
        let value = match token.kind {
            Kind::Number => number(text),
            Kind::Quoted if text.ends_with('\'') => match character::value(text) {
                Ok(value) => Some(value),
                Err(reason) => return self.fail(format!("`{text}` {reason}")),
            },
            Kind::Word if text == "sizeof" => return self.size_of(),
            Kind::Word => match self.scope.value_of(text) {
                Some(value) => Some(value),
                None => return self.fail(format!("`{text}` is not a constant")),
            },
            Kind::Punct('(') => {
                self.next += 1;
                let value = self.conditional(live)?;
                self.expect(")")?;
                return Ok(value);
            }
            _ => None,
        };
        match value {
            Some(value) => {
                self.next += 1;
                Ok(value)
            }
            None => self.fail(format!("`{text}` is not a number")),
        }
    }

    fn size_of(&mut self) -> Result<i128, EvalError> {
        self.next += 1;
        self.expect("(")?;
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        let length = rest.iter().position(|t| t.kind == Kind::Punct(')')).unwrap_or(rest.len());
        match self.scope.size_of(rest.get(..length).unwrap_or_default()) {
            Some(size) => {
                self.next += length;
                self.expect(")")?;
                Ok(size)
            }
            None => self.fail("the size of this type is unknown"),
        }
    }
}

fn apply(operator: &str, a: i128, b: i128) -> Option<i128> {
    let shift = u32::try_from(b).ok().filter(|n| *n < 64);
    Some(match operator {
        "||" => i128::from(a != 0 || b != 0),
        "&&" => i128::from(a != 0 && b != 0),
        "|" => a | b,
        "^" => a ^ b,
        "&" => a & b,
        "==" => i128::from(a == b),
        "!=" => i128::from(a != b),
        "<" => i128::from(a < b),
        ">" => i128::from(a > b),
        "<=" => i128::from(a <= b),
        ">=" => i128::from(a >= b),
        "<<" => a.checked_mul(1i128.checked_shl(shift?)?)?,
        ">>" => a.checked_shr(shift?)?,
        "+" => a.checked_add(b)?,
        "-" => a.checked_sub(b)?,
        "*" => a.checked_mul(b)?,
        "/" => a.checked_div(b)?,
        "%" => a.checked_rem(b)?,
        _ => return None,
    })
}

/// Parses an integer literal: `42`, `0x2aUL`, `052`, `0b101010`.
fn number(text: &str) -> Option<i128> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (lower.get(2..)?, 16),
        [b'0', b'b', ..] => (lower.get(2..)?, 2),
        [b'0', _, ..] => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    let digits = digits.trim_end_matches(['u', 'l']);
    // `0` and `0UL` consist of the octal prefix only.
    if digits.is_empty() && radix == 8 {
        return Some(0);
    }
    u64::from_str_radix(digits, radix).ok().map(i128::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows the constant `N` and one type of 8 bytes.
    struct TestScope;

    impl Scope for TestScope {
        fn value_of(&self, name: &str) -> Option<i128> {
            (name == "N").then_some(7)
        }
        fn size_of(&self, tokens: &[Token]) -> Option<i128> {
            (tokens.len() == 1).then_some(8)
        }
    }

    fn evaluate_source(text: &str) -> Result<i128, String> {
        let mut sources = Sources::default();
        let span = sources.add("x", text);
        let tokens = super::super::lexer::lex_line(&sources, &span);
        evaluate(&sources, &tokens, &(span.end..span.end), &TestScope).map_err(|e| e.reason)
    }

    #[test]
    fn follows_the_operator_precedence_of_c() {
        for (text, value) in [
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("1 << 4 | 1", 17),
            ("-1 < 0 && !0", 1),
            ("~0 & 0xffUL", 255),
            ("010 + 0b11", 11),
            ("'A' == 65 ? N : 0", 7),
            ("0 ? 1/0 : 2", 2),
            ("1 || 1/0", 1),
            ("0 && 1 % 0", 0),
            ("sizeof(long) * 2", 16),
            ("10 - 2 - 3", 5),
            ("'\\n' + 0", 10),
            ("L'\\u20ac' == 0x20ac && u'x' != U'y'", 1),
            ("18446744073709551615u", u64::MAX.into()),
            ("0", 0),
            ("0L", 0),
        ] {
            assert_eq!(evaluate_source(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn reports_why_an_expression_has_no_value() {
        for (text, reason) in [
            ("1 / 0", "division by zero"),
            ("", "expected a value"),
            ("1 +", "expected a value"),
            ("M", "`M` is not a constant"),
            ("1 2", "expected an operator, found `2`"),
            ("(1", "expected `)`"),
            ("1 ? 2", "expected `:`"),
            ("1.5", "expected an operator, found `.`"),
            ("08", "`08` is not a number"),
            ("1 << 64", "the result is too large"),
            ("\"text\"", "`\"text\"` is not a number"),
            ("L\"text\"", "`L\"text\"` is not a number"),
            ("''", "`''` is empty"),
        ] {
            assert_eq!(evaluate_source(text), Err(reason.to_owned()), "{text}");
        }
        for deep in ["(".repeat(5000), "!".repeat(5000)] {
            let error = evaluate_source(&deep).unwrap_err();
            assert_eq!(error, "the expression is nested too deeply");
        }
    }
}
