//! What a Go executable tells about itself, read from the file: the toolchain's version ([`buildinfo`]), its
//! functions and lines ([`pclntab`]), where a goroutine keeps its id ([`goid`]) and where the runtime keeps its goroutines
//! ([`state`]); and which probes its runtime and library can have ([`catalogue`]) or show at function entries
//! ([`function_entry`]). [`supported_releases`] has the Go releases for which that is known. Knows nothing of notes.
//!
//! Binaries are hostile input: every read is checked, and what cannot be read is absent.

pub mod buildinfo;
pub mod catalogue;
mod code;
mod dwarf;
pub mod function_entry;
pub mod goid;
pub mod pclntab;
pub mod state;
pub mod supported_releases;

use object::{Object, ObjectSection};

/// An ELF file that the Go toolchain linked.
#[derive(Debug)]
pub struct GoBinary<'a> {
    file: object::read::elf::ElfFile64<'a>,
    version: Option<String>,
}

impl<'a> GoBinary<'a> {
    /// Recognizes a Go binary by its build information or its function table; `None` for other files.
    pub fn parse(data: &'a [u8]) -> Option<GoBinary<'a>> {
        let file = object::read::elf::ElfFile64::parse(data).ok()?;
        let version = buildinfo::version(&file);
        let marked = [".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo"];
        let is_go =
            version.is_some() || marked.iter().any(|name| file.section_by_name(name).is_some());
        is_go.then_some(GoBinary { file, version })
    }

    /// Toolchain version as `runtime.Version()` says it, `go1.27.3`.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Offset of `goid` in `runtime.g`: from DWARF, which is right for any toolchain, else from the table of
    /// releases.
    pub fn goid_offset(&self) -> Option<u32> {
        dwarf::goid_offset(&self.file).or_else(|| self.goid_offset_by_version())
    }

    /// As [`GoBinary::goid_offset`], asking the table first: DWARF of a large binary takes long to unpack.
    pub fn goid_offset_quick(&self) -> Option<u32> {
        self.goid_offset_by_version().or_else(|| dwarf::goid_offset(&self.file))
    }

    fn goid_offset_by_version(&self) -> Option<u32> {
        goid::by_version(self.version()?)
    }

    /// Offset of a field, from the table of releases; from DWARF for versions that are not in it.
    pub fn field_offset(&self, field: &catalogue::Field) -> Option<u32> {
        match self.version().and_then(supported_releases::minor) {
            Some(minor) => catalogue::fields::offset(field, minor),
            None => self.field_offset_by_dwarf(field),
        }
    }

    /// Offset of a field as the binary itself describes it.
    pub fn field_offset_by_dwarf(&self, field: &catalogue::Field) -> Option<u32> {
        dwarf::member_offset(&self.file, field.structure, field.name)
    }

    /// Labels of an enum of the runtime, by code; `None` for releases whose labels are not known.
    pub fn labels(&self, set: catalogue::LabelSet) -> Option<&'static [&'static str]> {
        catalogue::labels::labels(set, supported_releases::minor(self.version()?)?)
    }

    /// The table of functions, where this version of Go is known.
    pub fn functions(&self) -> Option<pclntab::Layout> {
        pclntab::Layout::find(&self.file)
    }

    /// Whether the file carries DWARF.
    pub fn has_dwarf(&self) -> bool {
        [".debug_info", ".zdebug_info"]
            .iter()
            .any(|n| self.file.section_by_name(n).is_some_and(|s| s.size() > 0))
    }
}
