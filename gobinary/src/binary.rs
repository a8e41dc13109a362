//! The Go binary: recognition, version, offsets and labels.

use crate::{buildinfo, catalog, dwarf, goid, pclntab, supported_releases};
use object::{Object, ObjectSection};

/// A 64-bit ELF file that the Go toolchain linked.
///
/// ```no_run
/// let data = std::fs::read("/usr/local/bin/app")?;
/// if let Some(go) = gobinary::GoBinary::parse(&data) {
///     println!("{} has goid at {:?}", go.version().unwrap_or("go?"), go.goid_offset());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct GoBinary<'a> {
    pub(crate) file: object::read::elf::ElfFile64<'a>,
    version: Option<String>,
}

impl<'a> GoBinary<'a> {
    /// Parses the headers of a file. Returns `None` if the file is not a 64-bit ELF file, or has
    /// neither Go's build information nor its function table.
    pub fn parse(data: &'a [u8]) -> Option<GoBinary<'a>> {
        /// Sections that only the Go linker writes.
        const GO_SECTIONS: [&str; 3] = [".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo"];
        let file = object::read::elf::ElfFile64::parse(data).ok()?;
        let version = buildinfo::version(&file);
        let is_go = version.is_some()
            || GO_SECTIONS.iter().any(|name| file.section_by_name(name).is_some());
        is_go.then_some(GoBinary { file, version })
    }

    /// Returns the toolchain's version as `runtime.Version()` does, such as `go1.27.3`. `None` if
    /// the build information is missing or damaged.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns the offset in bytes of `goid` in `runtime.g`.
    ///
    /// The table of [supported releases](crate::supported_releases) comes before DWARF, because the
    /// DWARF of a large binary is slow to decompress. `None` if neither has the offset.
    pub fn goid_offset(&self) -> Option<u32> {
        self.version().and_then(goid::by_version).or_else(|| self.goid_offset_from_dwarf())
    }

    /// Returns the offset in bytes of `goid` in `runtime.g` from DWARF, which is right for every
    /// toolchain. `None` if the file has no DWARF.
    pub fn goid_offset_from_dwarf(&self) -> Option<u32> {
        dwarf::goid_offset(&self.file)
    }

    /// Returns the offset of a field in bytes, from the table of
    /// [supported releases](crate::supported_releases) or, for other versions, from DWARF.
    ///
    /// `None` if the release has no such field, or if an unsupported version has no DWARF.
    pub fn field_offset(&self, field: &catalog::Field) -> Option<u32> {
        match self.version().and_then(supported_releases::minor) {
            Some(minor) => catalog::field_offset(field, minor),
            None => self.field_offset_from_dwarf(field),
        }
    }

    /// Returns the offset of a field in bytes from DWARF. `None` if the file has no DWARF, or the
    /// struct has no such field.
    pub fn field_offset_from_dwarf(&self, field: &catalog::Field) -> Option<u32> {
        dwarf::member_offset(&self.file, field.structure, field.name)
    }

    /// Returns the labels of a runtime enum by code; `None` for releases whose labels are unknown.
    pub(crate) fn labels(&self, set: catalog::LabelSet) -> Option<&'static [&'static str]> {
        catalog::labels(set, supported_releases::minor(self.version()?)?)
    }

    /// Locates the function table. `None` if the file has none, or one of a Go release before 1.18.
    pub fn function_table(&self) -> Option<pclntab::TableLayout> {
        pclntab::TableLayout::find(&self.file)
    }

    /// Returns true if the file has DWARF, compressed or not.
    pub fn has_dwarf(&self) -> bool {
        [".debug_info", ".zdebug_info"]
            .iter()
            .any(|n| self.file.section_by_name(n).is_some_and(|s| s.size() > 0))
    }
}
