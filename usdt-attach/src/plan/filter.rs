//! A filter as conditions on words.

use super::condition::{Condition, MAX_FILTER_STRING};
use super::handler::{HandlerBuilder, ResolvedName};
use super::reads::ReadOp;
use crate::discover::EnumLabels;
use crate::filter::{Expr, Literal, Subject, Test};
use stapsdt::schema::Kind;

impl HandlerBuilder<'_> {
    pub(super) fn condition(&mut self, expr: &Expr) -> Result<Condition, String> {
        Ok(match expr {
            Expr::All(a, b) => {
                Condition::All(Box::new(self.condition(a)?), Box::new(self.condition(b)?))
            }
            Expr::Any(a, b) => {
                Condition::Any(Box::new(self.condition(a)?), Box::new(self.condition(b)?))
            }
            Expr::Not(inner) => Condition::Not(Box::new(self.condition(inner)?)),
            Expr::Compare { subject, test, value } => self.comparison(subject, *test, value)?,
        })
    }

    fn comparison(
        &mut self,
        subject: &Subject,
        test: Test,
        value: &Literal,
    ) -> Result<Condition, String> {
        let kind = self.kind(subject)?;
        if let (Literal::String { bytes, prefix }, Some(names)) = (value, self.labels(subject)?) {
            return Ok(asked(test, self.name_comparison(subject, names, bytes, *prefix)?));
        }
        let text = matches!(kind, Kind::Cstring | Kind::String | Kind::Error | Kind::Bytes);
        match value {
            Literal::Nil if text || kind == Kind::Pointer => {
                Ok(Condition::number(self.word(subject)?, test, 0))
            }
            Literal::Nil => Err(format!("`{subject}` is no pointer, and is compared with nil")),
            Literal::String { bytes, prefix } if text => {
                Ok(asked(test, self.text_comparison(subject, bytes, *prefix)?))
            }
            Literal::String { .. } => {
                Err(format!("`{subject}` is no text; for a C string that is `str({subject})`"))
            }
            Literal::Int(_) | Literal::Float(_) if text => {
                Err(format!("`{subject}` is text, and is compared with a number"))
            }
            Literal::Int(n) if kind == Kind::Float => {
                Ok(Condition::float(self.word(subject)?, test, *n as f64))
            }
            Literal::Float(n) if kind == Kind::Float => {
                Ok(Condition::float(self.word(subject)?, test, *n))
            }
            Literal::Int(n) => Ok(Condition::number(self.word(subject)?, test, *n)),
            Literal::Float(n) => {
                Err(format!("`{subject}` is an integer, and is compared with {n}"))
            }
        }
    }

    fn text_comparison(
        &mut self,
        subject: &Subject,
        bytes: &[u8],
        prefix: bool,
    ) -> Result<Condition, String> {
        if bytes.len() > MAX_FILTER_STRING {
            return Err(format!("text to compare with has at most {MAX_FILTER_STRING} bytes"));
        }
        if let ResolvedName::Comm = self.resolve(subject)? {
            let at = self.layout.take(16);
            self.layout.reads.push(ReadOp::Comm { to: at });
            let mut bytes = bytes.to_vec();
            if bytes.len() > 15 {
                return Ok(Condition::Constant(false));
            }
            if !prefix {
                bytes.push(0);
            }
            return Ok(Condition::FixedString { at, bytes });
        }
        let pointer = self.word(subject)?;
        let length = self.length(subject)?;
        if pointer.size != 8 {
            return Err(format!("`{subject}` is no pointer to text"));
        }
        // The helper for C strings writes a zero, and one byte more tells a longer text.
        let scratch = self.layout.take(bytes.len() as u32 + 2);
        Ok(Condition::String { pointer, length, bytes: bytes.to_vec(), prefix, scratch })
    }

    /// The texts that an argument's numbers stand for.
    fn labels(&self, subject: &Subject) -> Result<Option<EnumLabels>, String> {
        Ok(match self.resolve(subject)? {
            ResolvedName::Argument(_, argument) => argument.labels,
            _ => None,
        })
    }

    /// Whether a number is one of those that have such a text.
    fn name_comparison(
        &mut self,
        subject: &Subject,
        names: EnumLabels,
        bytes: &[u8],
        prefix: bool,
    ) -> Result<Condition, String> {
        let word = self.word(subject)?;
        let fits = |name: &str| {
            if prefix { name.as_bytes().starts_with(bytes) } else { name.as_bytes() == bytes }
        };
        let numbers = (0i64..).zip(names).filter(|(_, name)| fits(name)).map(|(number, _)| number);
        let any = numbers
            .map(|number| Condition::number(word, Test::Eq, number.into()))
            .reduce(|a, b| Condition::Any(Box::new(a), Box::new(b)));
        Ok(any.unwrap_or(Condition::Constant(false)))
    }
}

/// Texts are compared for being equal and for not being so.
fn asked(test: Test, equal: Condition) -> Condition {
    if test == Test::Eq { equal } else { Condition::Not(Box::new(equal)) }
}
