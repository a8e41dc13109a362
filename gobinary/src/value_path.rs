//! Paths from a parameter or a result to a value: `r.URL.Path`, `*p`, `a[2]`, `len(m)`.

use crate::dwarf::{DebugInfo, DebugInfoError};
use crate::signature::{Signature, Value, Variable};
use stapsdt::source::Source;

/// A path, parsed.
///
/// Its syntax is that of Go: a name, then fields (`.URL`) and indexes of arrays (`[2]`); `*` before
/// a path dereferences a pointer, and `len(…)` and `cap(…)` are the sizes of strings, slices, maps
/// and channels. As in Go, a field of a pointer is a field of the struct that it points to, and
/// embedded structs promote their fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePath {
    text: String,
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
    /// The function has no parameter or result with the name.
    #[error("`{function}` has no parameter or result `{name}`; it has {available}")]
    NoVariable {
        /// The function.
        function: String,
        /// The name.
        name: String,
        /// The names that exist, with their types.
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
        Ok(ValuePath { text: path.to_owned() })
    }

    /// Returns the name that the path begins with: that of a parameter or a result.
    pub fn variable(&self) -> &str {
        &self.text
    }
}

impl<'a, S: Source<'a>> DebugInfo<'a, S> {
    /// Returns the value at a path. The path begins at a parameter for a probe at the function's
    /// entry, and at a result for a probe at a return instruction: see [`Variable::placement`].
    ///
    /// # Errors
    ///
    /// Returns an error that says which part of the path does not exist, and what exists there.
    pub fn value_at(
        &mut self,
        _signature: &Signature,
        _path: &ValuePath,
    ) -> Result<Value, PathError> {
        Err(DebugInfoError::Missing.into())
    }

    /// Returns the value of a parameter or a result in its default form: scalars, strings, byte
    /// slices, errors, times, the sizes of slices, maps and channels, the dynamic types of
    /// interfaces, the addresses of pointers.
    ///
    /// # Errors
    ///
    /// Returns [`PathError::WrongType`] for structs and arrays, of which a path can choose a part,
    /// and [`PathError::Unreadable`] for values in floating-point registers.
    pub fn default_value(&mut self, _variable: &Variable) -> Result<Value, PathError> {
        Err(DebugInfoError::Missing.into())
    }
}
