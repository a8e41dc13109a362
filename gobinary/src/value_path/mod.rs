//! Paths from a parameter or a result to a value: `r.URL.Path`, `*p`, `a[2]`, `len(m)`.

mod parse;
mod place;
mod resolve;

use crate::dwarf::{DebugInfo, DebugInfoError};
use crate::signature::{Signature, Value, Variable};
use resolve::Resolver;
use stapsdt::source::Source;
use std::fmt;

/// A path, parsed.
///
/// Its syntax is that of Go: a name, then fields (`.URL`), indexes of arrays, slices and strings
/// (`[2]`) and type assertions (`.(*fs.PathError)`); `*` before a path dereferences a pointer, and `len(…)` and `cap(…)` are the sizes of strings, slices, maps
/// and channels. As in Go, a field of a pointer is a field of the struct that it points to, and
/// embedded structs promote their fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePath {
    /// The name of the parameter or result.
    variable: String,
    steps: Vec<Step>,
    size: Option<Size>,
}

/// A step from a value to a part of it, or to what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(u64),
    /// The value that an interface holds, if it has the type with this name.
    Assert(String),
    Dereference,
}

/// A size that is asked for in place of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Len,
    Cap,
}

/// The point of a function at which values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// The entry: parameters can be read.
    Entry,
    /// A return instruction: results can be read.
    Return,
}

/// A reason why a path leads to no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path is not in the syntax of [`ValuePath`].
    #[error("`{path}` is not a path to a value: {problem}")]
    Syntax {
        /// The path.
        path: String,
        /// The part that is wrong, and what is expected.
        problem: String,
    },
    /// The function has no parameter with the name, for a probe at its entry, or no result with the
    /// name, for a probe at its return.
    #[error("`{function}` has no {kind} `{name}`; it has {available}")]
    NoVariable {
        /// The function.
        function: String,
        /// What is looked for: `parameter` or `result`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        available: String,
    },
    /// The struct has no such field.
    #[error("`{path}` of type `{type_name}` has no field `{field}`; it has {available}")]
    NoField {
        /// The path up to the struct.
        path: String,
        /// The type of the struct.
        type_name: String,
        /// The field.
        field: String,
        /// The names that exist.
        available: String,
    },
    /// A step does not apply to the type: a field of something that is not a struct, an index of
    /// something that is not an array.
    #[error("`{path}` of type `{type_name}` {problem}")]
    WrongType {
        /// The path up to the value.
        path: String,
        /// The type of the value.
        type_name: String,
        /// What cannot be done with it, and what can.
        problem: String,
    },
    /// A type assertion names no type that an interface can hold.
    #[error("`{path}` has no dynamic type `{name}`: {reason}")]
    NoType {
        /// The path up to the interface.
        path: String,
        /// The name of the type.
        name: String,
        /// Why.
        reason: String,
    },
    /// The value exists, but a tracer cannot read it at this point.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The path up to the value.
        path: String,
        /// Why.
        reason: String,
    },
    /// The debug information of a type cannot be read.
    #[error(transparent)]
    DebugInfo(#[from] DebugInfoError),
}

impl ValuePath {
    /// Parses a path.
    ///
    /// # Errors
    ///
    /// Returns [`PathError::Syntax`].
    pub fn parse(path: &str) -> Result<ValuePath, PathError> {
        parse::parse(path)
    }

    /// Returns the name that the path begins with: that of a parameter or a result.
    pub fn variable(&self) -> &str {
        &self.variable
    }
}

impl fmt::Display for ValuePath {
    /// Writes the path in its shortest form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.steps.iter().fold(self.variable.clone(), |path, step| step.after(&path));
        match self.size {
            Some(Size::Len) => write!(f, "len({path})"),
            Some(Size::Cap) => write!(f, "cap({path})"),
            None => f.write_str(&path),
        }
    }
}

impl Step {
    /// Returns the path to what the step leads to.
    fn after(&self, path: &str) -> String {
        let operand = if path.starts_with('*') { format!("({path})") } else { path.to_owned() };
        match self {
            Step::Field(name) => format!("{operand}.{name}"),
            Step::Index(index) => format!("{operand}[{index}]"),
            Step::Assert(ty) => format!("{operand}.({ty})"),
            Step::Dereference => format!("*{path}"),
        }
    }
}

impl<'a, S: Source<'a>> DebugInfo<'a, S> {
    /// Returns the value at a path, which begins at a parameter or, at a return, at a result.
    ///
    /// # Errors
    ///
    /// Returns an error that says which part of the path does not exist, and what exists there.
    pub fn value_at(
        &mut self,
        signature: &Signature,
        point: Point,
        path: &ValuePath,
    ) -> Result<Value, PathError> {
        Resolver::start(self, signature, point, &path.variable)?.follow(path)
    }

    /// Returns the value of a parameter or a result in its default form: scalars, strings, byte
    /// slices, errors, times, the sizes of slices, maps and channels, the dynamic types of
    /// interfaces, the addresses of pointers.
    ///
    /// # Errors
    ///
    /// Returns [`PathError::WrongType`] for structs and arrays, of which a path can choose a part,
    /// and [`PathError::Unreadable`] for values in floating-point registers.
    pub fn default_value(&mut self, variable: &Variable) -> Result<Value, PathError> {
        Resolver::at(self, variable)?.value()
    }
}
