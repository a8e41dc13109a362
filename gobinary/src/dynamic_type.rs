//! Dynamic types of interface values: names from the type descriptors in a binary
//! (`internal/abi.Type`), which stripped binaries have, too.

use crate::binary::GoBinary;
use crate::supported_releases::leading_minor;
use stapsdt::elf::View;
use stapsdt::source::{ScanBudget, Source, for_each_piece};
use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

/// The symbols of the start and the end of the type descriptors, and of the module's data.
pub(crate) const TYPES: &str = "runtime.types";
pub(crate) const TYPES_END: &str = "runtime.etypes";
pub(crate) const MODULE_DATA: &str = "runtime.firstmoduledata";
/// The section of the type descriptors, and that of the module's data, from Go 1.26 on.
const TYPE_SECTION: &str = ".go.type";
const MODULE_SECTION: &str = ".go.module";
/// The sections in which the module's data is, before Go 1.26.
const DATA_SECTIONS: [&str; 2] = [".noptrdata", ".data"];

/// Type descriptors, for look-ups.
#[derive(Clone, Debug)]
pub struct DynamicTypes<'a, S: Source<'a> = &'a [u8]> {
    view: View<'a, S>,
    /// The link-time addresses of the descriptors. Names are relative to the first one.
    range: Range<u64>,
}

/// What is at the start of the data of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorData {
    /// The error's message: a string.
    Message,
    /// A number: `syscall.Errno`.
    Errno,
    /// Something else. The message is what the method `Error` makes of it.
    Other,
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Returns the type descriptors. `None` if the file does not say where they are.
    pub fn dynamic_types(&self) -> Option<DynamicTypes<'a, S>> {
        let range = self.types_by_symbol().or_else(|| self.types_by_module_data())?;
        let in_file = self.view.load_segment(range.start, 1).is_some();
        (in_file && range.start < range.end)
            .then(|| DynamicTypes { view: self.view.clone(), range })
    }

    fn types_by_symbol(&self) -> Option<Range<u64>> {
        if let Some(section) = self.view.section(TYPE_SECTION) {
            return Some(section.addr..section.addr.checked_add(section.size)?);
        }
        Some(self.symbol_address(TYPES)?..self.symbol_address(TYPES_END)?)
    }

    /// Reads the addresses from `runtime.firstmoduledata` (`runtime/symtab.go`).
    fn types_by_module_data(&self) -> Option<Range<u64>> {
        /// The minor release that added two fields before `types`.
        const FIRST_WITH_COVERAGE: u32 = 20;
        /// The minor release that added a field between `types` and `etypes`.
        const FIRST_WITH_LENGTH: u32 = 27;
        let minor = self.version().and_then(leading_minor)?;
        let module = self.symbol_address(MODULE_DATA).or_else(|| self.find_module_data())?;
        let types = if minor < FIRST_WITH_COVERAGE { 35 } else { 37 };
        let end = if minor < FIRST_WITH_LENGTH { types + 1 } else { types + 2 };
        let places = [types, end].map(|index| module.checked_add(8 * index));
        let [Some(types), Some(end)] = places else { return None };
        let wanted = HashSet::from([types, end]);
        // The dynamic loader fills them in, in position-independent files.
        let relocated = self.view.relocations(|place| wanted.contains(&place));
        let read = |place: u64| {
            let bytes = || Some(u64::from_le_bytes(*self.view.bytes_at(place, 8)?.first_chunk()?));
            relocated.get(&place).copied().or_else(bytes)
        };
        Some(read(types)?..read(end)?)
    }

    /// Finds the module's data in stripped files: it starts with the address of the function table.
    fn find_module_data(&self) -> Option<u64> {
        if let Some(section) = self.view.section(MODULE_SECTION) {
            return Some(section.addr);
        }
        let table = self.view.offset_to_vaddr(self.function_table()?.offset)?;
        let mut budget = ScanBudget::for_file(self.view.source().size());
        DATA_SECTIONS.iter().find_map(|name| {
            let section = self.view.section(name).filter(|section| budget.take(section.size))?;
            let range = section.offset..section.offset.checked_add(section.size)?;
            let mut found = None;
            for_each_piece(self.view.source(), range, 0, |offset, piece| {
                let words = piece.as_chunks::<8>().0;
                let index = words.iter().position(|word| u64::from_le_bytes(*word) == table);
                found = index.and_then(|index| offset.checked_add(8 * index as u64));
                if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            self.view.offset_to_vaddr(found?)
        })
    }
}

impl<'a, S: Source<'a>> DynamicTypes<'a, S> {
    /// Returns the name of the type whose descriptor is at a link-time address, such as
    /// `*errors.errorString`. `None` if no descriptor is there, such as for types that the program
    /// made with `reflect`.
    ///
    /// A package has the last part of its path only, as in messages of the Go runtime.
    pub fn name(&self, address: u64) -> Option<String> {
        /// The offset in bytes of the name, relative to the descriptors, and that of the flags.
        const NAME: usize = 40;
        const FLAGS: usize = 20;
        const DESCRIPTOR: u64 = 48;
        /// `abi.TFlagExtraStar`: the name has a `*` that is not part of it.
        const EXTRA_STAR: u8 = 1 << 1;
        const MAX_NAME: usize = 4096;
        if !self.range.contains(&address) {
            return None;
        }
        let descriptor = self.view.bytes_at(address, DESCRIPTOR)?;
        let name = i32::from_le_bytes(*descriptor.get(NAME..)?.first_chunk()?);
        let name = self.range.start.checked_add_signed(name.into())?;
        // Flags, then the length, then the name.
        let bytes = self.view.bytes_up_to(name, 4)?.get(1..)?;
        let (len, prefix) = match *bytes {
            [len @ 0..0x80, ..] => (usize::from(len), 2),
            [low, high @ 0..0x80, ..] => (usize::from(low & 0x7f) | usize::from(high) << 7, 3),
            _ => return None,
        };
        if len == 0 || len > MAX_NAME {
            return None;
        }
        let name = self.view.bytes_at(name.checked_add(prefix)?, len as u64)?;
        let name = std::str::from_utf8(name).ok()?;
        let has_extra_star = descriptor.get(FLAGS)? & EXTRA_STAR != 0;
        let name = if has_extra_star { name.strip_prefix('*')? } else { name };
        Some(name.to_owned())
    }

    /// Returns the link-time address of the first descriptor, which offsets of others count from.
    pub(crate) fn start(&self) -> u64 {
        self.range.start
    }

    /// Returns true if interfaces hold values of the type whose descriptor is at a link-time address
    /// in their second word: pointers, and what has the shape of one.
    pub(crate) fn is_direct(&self, address: u64) -> bool {
        /// The offsets of the flags and of the kind. Go 1.26 moved the bit from the kind to the
        /// flags; the other byte has no such bit.
        const BYTES: [usize; 2] = [20, 23];
        const DIRECT: u8 = 1 << 5;
        let descriptor = self.view.bytes_at(address, 24).unwrap_or_default();
        BYTES.iter().any(|at| descriptor.get(*at).is_some_and(|byte| byte & DIRECT != 0))
    }

    /// Returns what is at the start of the data of an error of this type.
    pub fn error_data(&self, address: u64) -> ErrorData {
        /// Pointers to structs that begin with the whole message.
        const MESSAGES: [&str; 4] =
            ["*errors.errorString", "*fmt.wrapError", "*fmt.wrapErrors", "*errors.fundamental"];
        match self.name(address).as_deref() {
            Some(name) if MESSAGES.contains(&name) => ErrorData::Message,
            Some("syscall.Errno") => ErrorData::Errno,
            _ => ErrorData::Other,
        }
    }
}
