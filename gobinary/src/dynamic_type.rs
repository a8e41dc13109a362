//! Dynamic types of interface values: names from the type descriptors in a binary
//! (`internal/abi.Type`), which stripped binaries have, too.

use crate::binary::GoBinary;
use stapsdt::source::Source;
use std::marker::PhantomData;

/// Type descriptors, for look-ups.
#[derive(Debug)]
pub struct DynamicTypes<'a, S: Source<'a> = &'a [u8]> {
    lifetime: PhantomData<(&'a [u8], S)>,
}

/// What is at the start of the data of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorData {
    /// The error's message, or the beginning of it: a string.
    Message,
    /// A number: `syscall.Errno`.
    Errno,
    /// Something else. The message is what the method `Error` makes of it.
    Other,
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Returns the type descriptors. `None` if the file does not say where they are.
    pub fn dynamic_types(&self) -> Option<DynamicTypes<'a, S>> {
        None
    }
}

impl<'a, S: Source<'a>> DynamicTypes<'a, S> {
    /// Returns the name of the type whose descriptor is at a link-time address: `*errors.errorString`.
    /// `None` if no descriptor is there, such as for types that the program made with `reflect`.
    ///
    /// Packages have their last name only, as in messages of the Go runtime.
    pub fn name(&self, _address: u64) -> Option<String> {
        None
    }

    /// Returns what is at the start of the data of an error of this type.
    pub fn error_data(&self, _address: u64) -> ErrorData {
        ErrorData::Other
    }
}
