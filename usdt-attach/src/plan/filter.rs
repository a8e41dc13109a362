//! Binding filters: the comparisons of a filter as conditions on slots of the frame.

use super::condition::{Condition, MAX_FILTER_STRING};
use super::handler_builder::{HandlerBuilder, ResolvedName};
use super::reads::{ArgSlot, ReadOp};
use crate::discover::EnumLabels;
use crate::filter::{Expr, Literal, Subject, Test};
use stapsdt::schema::Kind;

impl HandlerBuilder<'_> {
    /// Returns the condition for a filter and adds the reads that it needs.
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
        if let (Literal::String { bytes, prefix }, Some(labels)) = (value, self.labels(subject)?) {
            return Ok(with_test(test, self.label_equality(subject, &labels, bytes, *prefix)?));
        }
        if kind == Kind::Time {
            return Err(format!(
                "`{subject}` is a time, which a filter cannot compare; its fields `{subject}.wall` and `{subject}.ext` are integers"
            ));
        }
        let is_string = matches!(kind, Kind::Cstring | Kind::String | Kind::Error | Kind::Bytes);
        match value {
            Literal::Nil if is_string || kind == Kind::Pointer => {
                Ok(Condition::number(self.slot(subject)?, test, 0))
            }
            Literal::Nil => {
                Err(format!("`{subject}` is not a pointer, so it cannot be compared with nil"))
            }
            Literal::String { bytes, prefix } if is_string => {
                let equal = self.string_equality(subject, bytes, *prefix)?;
                let existing = if test == Test::Ne { self.exists(subject)? } else { None };
                let test = with_test(test, equal);
                Ok(match existing {
                    Some(existing) => Condition::All(Box::new(existing), Box::new(test)),
                    None => test,
                })
            }
            Literal::String { .. } => {
                Err(format!("`{subject}` is not a string; for a C string, write `str({subject})`"))
            }
            Literal::Int(_) | Literal::Float(_) if is_string => {
                Err(format!("`{subject}` is a string, so it cannot be compared with a number"))
            }
            Literal::Int(n) if kind == Kind::Float => {
                Ok(Condition::float(self.slot(subject)?, test, *n as f64))
            }
            Literal::Float(n) if kind == Kind::Float => {
                Ok(Condition::float(self.slot(subject)?, test, *n))
            }
            Literal::Int(n) => Ok(Condition::number(self.slot(subject)?, test, *n)),
            Literal::Float(n) => {
                Err(format!("`{subject}` is an integer, so it cannot be compared with {n}"))
            }
        }
    }

    /// Returns the condition that a value exists; `None` if it always does. The negation of a
    /// comparison does not say so.
    fn exists(&mut self, subject: &Subject) -> Result<Option<Condition>, String> {
        if matches!(self.resolve(subject)?, ResolvedName::Comm) {
            return Ok(None);
        }
        let slot = self.slot(subject)?;
        let unsigned = ArgSlot { signed: false, ..slot };
        let is_guarded = self.layout.missing_bit(slot).is_some();
        Ok(is_guarded.then(|| Condition::number(unsigned, Test::Ge, 0)))
    }

    fn string_equality(
        &mut self,
        subject: &Subject,
        bytes: &[u8],
        prefix: bool,
    ) -> Result<Condition, String> {
        if bytes.len() > MAX_FILTER_STRING {
            return Err(format!("a string in a filter has at most {MAX_FILTER_STRING} bytes"));
        }
        if let ResolvedName::Comm = self.resolve(subject)? {
            let at = self.layout.reserve(16);
            self.layout.reads.push(ReadOp::Comm { to: at });
            let mut bytes = bytes.to_vec();
            // A thread name has up to 15 bytes and a NUL.
            if bytes.len() > 15 {
                return Ok(Condition::Constant(false));
            }
            if !prefix {
                bytes.push(0);
            }
            return Ok(Condition::FixedString { at, bytes });
        }
        let pointer = self.slot(subject)?;
        let length = self.length(subject)?;
        if pointer.size != 8 {
            return Err(format!("`{subject}` is not a pointer to a string"));
        }
        // For C strings: the helper writes a NUL, and one more byte shows that the string goes on.
        let scratch = self.layout.reserve(bytes.len() as u32 + 2);
        let (bytes, fault_in) = (bytes.to_vec(), self.arguments.fault_in);
        Ok(Condition::String { pointer, length, bytes, prefix, scratch, fault_in })
    }

    /// Returns the labels of an enumeration argument; `None` for other subjects.
    fn labels(&self, subject: &Subject) -> Result<Option<EnumLabels>, String> {
        Ok(match self.resolve(subject)? {
            ResolvedName::Argument(_, argument) => argument.labels.clone(),
            _ => None,
        })
    }

    /// Returns the condition that an enumeration has a value whose label matches.
    fn label_equality(
        &mut self,
        subject: &Subject,
        labels: &EnumLabels,
        bytes: &[u8],
        prefix: bool,
    ) -> Result<Condition, String> {
        let slot = self.slot(subject)?;
        let matches = |label: &str| {
            if prefix { label.as_bytes().starts_with(bytes) } else { label.as_bytes() == bytes }
        };
        let values = labels.values().into_iter().filter(|(_, label)| matches(label));
        let any = values
            .map(|(value, _)| Condition::number(slot, Test::Eq, value.into()))
            .reduce(|a, b| Condition::Any(Box::new(a), Box::new(b)));
        Ok(any.unwrap_or(Condition::Constant(false)))
    }
}

/// Returns the condition for `==`, or its negation for `!=`; the parser allows no other operator
/// for strings.
fn with_test(test: Test, equal: Condition) -> Condition {
    if test == Test::Eq { equal } else { Condition::Not(Box::new(equal)) }
}
