//! DWARF of Go binaries: functions with their parameters, types and field offsets.
//!
//! [`DebugInfo`] reads the debug information of one file, and reads only what it is asked for: of
//! a compressed section, it inflates the part up to what is needed.

mod abbreviations;
mod convention;
mod entry;
mod field_offsets;
mod functions;
mod locations;
mod named_types;
mod section;
mod types;
mod units;

use crate::binary::GoBinary;
use crate::dynamic_type::DynamicTypes;
use crate::go_type::{GoType, TypeRef};
use crate::register_abi::TypeSource;
use crate::signature::{Placement, Signature};
use convention::Convention;
pub(crate) use field_offsets::field_offsets;
use functions::Functions;
use locations::Lists;
use named_types::NamedTypes;
pub(crate) use named_types::{NamedType, NoType};
use stapsdt::elf::View;
use stapsdt::source::Source;
use std::sync::Arc;
use types::{TypeReader, Types};
use units::Entries;

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
        /// The build ID of the binary: GNU's in hexadecimal digits, or Go's.
        expected: String,
        /// The build ID of the separate file.
        found: String,
    },
    /// A separate file is not an ELF file.
    #[error("the file with the debug information is not an ELF file")]
    NotElf,
    /// The binary is neither for amd64 nor for arm64.
    #[error("the binary is neither for amd64 nor for arm64")]
    UnsupportedArchitecture,
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

/// The debug information of a Go binary.
#[derive(Debug)]
pub struct DebugInfo<'a, S: Source<'a> = &'a [u8]> {
    entries: Entries<'a, S>,
    lists: Lists<'a, S>,
    functions: Functions,
    types: Types,
    named_types: NamedTypes,
    /// The type descriptors of the binary; `None` if they are not found.
    descriptors: Option<DynamicTypes<'a, S>>,
    convention: Convention<'a, S>,
}

impl<'a, S: Source<'a>> DebugInfo<'a, S> {
    /// Opens the debug information in the binary itself.
    ///
    /// # Errors
    ///
    /// Returns [`DebugInfoError::Missing`] if the binary has none, and an error if its headers are
    /// damaged.
    pub fn read(go: &GoBinary<'a, S>) -> Result<DebugInfo<'a, S>, DebugInfoError> {
        DebugInfo::read_from(go, &go.view)
    }

    /// Opens the debug information of a binary in a separate file, as `objcopy --only-keep-debug`
    /// writes it.
    ///
    /// # Errors
    ///
    /// As [`DebugInfo::read`], [`DebugInfoError::OtherBuildId`] if both files have build IDs that
    /// differ, and [`DebugInfoError::NotElf`] if the file is not an ELF file.
    pub fn read_separate(
        go: &GoBinary<'a, S>,
        file: S,
    ) -> Result<DebugInfo<'a, S>, DebugInfoError> {
        DebugInfo::is_of(go, file)?;
        let view = View::read(file).map_err(|_| DebugInfoError::NotElf)?;
        DebugInfo::read_from(go, &view)
    }

    /// Returns true if a separate file belongs to a binary, and false if that is not known, because
    /// one of them has no build ID.
    ///
    /// # Errors
    ///
    /// [`DebugInfoError::OtherBuildId`] if both files have build IDs that differ,
    /// [`DebugInfoError::NotElf`] if the file is not an ELF file, and [`DebugInfoError::Missing`] if
    /// it has no debug information.
    pub fn is_of(go: &GoBinary<'a, S>, file: S) -> Result<bool, DebugInfoError> {
        let view = View::read(file).map_err(|_| DebugInfoError::NotElf)?;
        if !has_debug_info(&view) {
            return Err(DebugInfoError::Missing);
        }
        let mut is_known = false;
        for (expected, found) in build_ids(&go.view).into_iter().zip(build_ids(&view)) {
            let Some((expected, found)) = expected.zip(found) else { continue };
            if expected != found {
                return Err(DebugInfoError::OtherBuildId { expected, found });
            }
            is_known = true;
        }
        Ok(is_known)
    }

    fn read_from(
        go: &GoBinary<'a, S>,
        view: &View<'a, S>,
    ) -> Result<DebugInfo<'a, S>, DebugInfoError> {
        Ok(DebugInfo {
            entries: Entries::read(view)?,
            lists: Lists::read(view)?,
            functions: Functions::default(),
            types: Types::default(),
            named_types: NamedTypes::default(),
            descriptors: go.dynamic_types(),
            convention: Convention::of(go).ok_or(DebugInfoError::UnsupportedArchitecture)?,
        })
    }

    /// Returns the signature of the function whose first instruction is at a link-time address.
    ///
    /// # Errors
    ///
    /// Returns [`DebugInfoError::NoFunction`] if there is none, such as for functions in assembly,
    /// and an error if the debug information is damaged.
    pub fn signature(&mut self, entry: u64) -> Result<Signature, DebugInfoError> {
        let DebugInfo { entries, lists, functions, types, convention, .. } = self;
        let function = functions.read(entry, convention.symbol(entry), entries, lists)?;
        convention.signature(function, types, entries, lists)
    }

    /// Returns a type.
    ///
    /// # Errors
    ///
    /// Returns an error if the debug information is damaged.
    pub fn go_type(&mut self, ty: TypeRef) -> Result<Arc<GoType>, DebugInfoError> {
        TypeReader { types: &mut self.types, entries: &mut self.entries }.go_type(ty)
    }

    /// Returns the type with a name that an interface can hold. `near` is any type.
    pub(crate) fn named_type(&mut self, name: &str, near: TypeRef) -> Result<NamedType, NoType> {
        self.named_types.find(name, near, &mut self.entries, self.descriptors.as_ref())
    }

    /// Returns where the location lists say that the parameters and results of a function are at a
    /// link-time address, by name. Places in memory are relative to the stack pointer at the
    /// function's entry.
    ///
    /// They are less reliable than [`Signature`]: see the [module](crate::signature).
    ///
    /// # Errors
    ///
    /// As [`DebugInfo::signature`].
    pub fn located_at(
        &mut self,
        entry: u64,
        address: u64,
    ) -> Result<Vec<(String, Placement)>, DebugInfoError> {
        let DebugInfo { entries, lists, functions, types, convention, .. } = self;
        let function = functions.read(entry, convention.symbol(entry), entries, lists)?;
        convention.located_at(&function, address, types, entries, lists)
    }
}

/// Returns true if a file has debug information (DWARF), compressed or not.
pub fn has_debug_info<'a, S: Source<'a>>(view: &View<'a, S>) -> bool {
    [".debug_info", ".zdebug_info"]
        .iter()
        .any(|name| view.section(name).is_some_and(|section| section.size > 0))
}

/// Returns the build IDs of a file: GNU's in hexadecimal digits, and Go's, which is text.
fn build_ids<'a, S: Source<'a>>(view: &View<'a, S>) -> [Option<String>; 2] {
    /// The size limit in bytes of Go's note.
    const MAX_NOTE: u64 = 4096;
    /// The size in bytes of the header of Go's note, with the name `Go`.
    const NOTE_HEADER: usize = 16;
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let go = view.section(".note.go.buildid").filter(|section| section.size <= MAX_NOTE);
    let go = go.and_then(|section| view.section_data(section));
    let text = |note: &[u8]| {
        let id = note.get(NOTE_HEADER..)?.iter().filter(|byte| byte.is_ascii_graphic());
        let id: String = id.map(|byte| char::from(*byte)).collect();
        Some(id).filter(|id| !id.is_empty())
    };
    [view.build_id().map(digits), go.and_then(text)]
}
