//! The Go binary: recognition, version, offsets and labels.

use crate::{buildinfo, catalog, dwarf, dynamic_type, goid, pclntab, supported_releases};
use stapsdt::elf::View;
use stapsdt::note::Format;
use stapsdt::source::Source;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// The symbols that are looked up, all in one pass over the symbol table.
const SYMBOLS: [&str; 8] = [
    "runtime.pclntab",
    "runtime.text",
    "go:func.*",
    "runtime.allgs",
    "runtime.gcController",
    dynamic_type::TYPES,
    dynamic_type::TYPES_END,
    dynamic_type::MODULE_DATA,
];

/// The id of a goroutine.
const GOID: catalog::Field = catalog::Field { structure: "runtime.g", name: "goid" };

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
pub struct GoBinary<'a, S: Source<'a> = &'a [u8]> {
    pub(crate) view: View<'a, S>,
    version: Option<String>,
    /// The addresses of [`SYMBOLS`].
    symbols: OnceLock<BTreeMap<&'static str, u64>>,
    /// The position of the function table, which is searched for in some files.
    table: OnceLock<Option<pclntab::TableLayout>>,
    /// The offsets of fields in DWARF, which are read all at once.
    dwarf_offsets: OnceLock<HashMap<catalog::Field, u32>>,
}

impl<'a> GoBinary<'a> {
    /// Parses the headers of a file in memory. Returns `None` if the file is not a 64-bit ELF file,
    /// or has neither Go's build information nor its function table.
    pub fn parse(data: &'a [u8]) -> Option<GoBinary<'a>> {
        GoBinary::read(data)
    }
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Reads the headers of a file. Returns `None` in the same cases as [`GoBinary::parse`].
    pub fn read(source: S) -> Option<GoBinary<'a, S>> {
        /// Sections that only the Go linker writes.
        const GO_SECTIONS: [&str; 3] = [".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo"];
        let view = View::read(source).ok().filter(|view| view.format() == Format::LE64)?;
        let version = buildinfo::version(&view);
        let is_go =
            version.is_some() || GO_SECTIONS.iter().any(|name| view.section(name).is_some());
        let (symbols, table, dwarf_offsets) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        is_go.then_some(GoBinary { view, version, symbols, table, dwarf_offsets })
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
        self.field_offset_from_dwarf(&GOID)
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

    /// Returns the offset of a field in bytes from DWARF. `None` if the file has no DWARF, if the
    /// struct has no such field, or if the field is not one of the [catalog](catalog::all_fields).
    pub fn field_offset_from_dwarf(&self, field: &catalog::Field) -> Option<u32> {
        let fields = || catalog::all_fields().into_iter().copied().chain([GOID]);
        let read = || dwarf::field_offsets(&self.view, fields());
        self.dwarf_offsets.get_or_init(read).get(field).copied()
    }

    /// Returns the labels of a runtime enum by code; `None` for releases whose labels are unknown.
    pub(crate) fn labels(&self, set: catalog::LabelSet) -> Option<&'static [&'static str]> {
        catalog::labels(set, supported_releases::minor(self.version()?)?)
    }

    /// Locates the function table. `None` if the file has none, or one of a Go release before 1.16.
    pub fn function_table(&self) -> Option<pclntab::TableLayout> {
        *self.table.get_or_init(|| pclntab::TableLayout::find(self))
    }

    /// Returns true if the file has DWARF, compressed or not.
    pub fn has_dwarf(&self) -> bool {
        dwarf::has_debug_info(&self.view)
    }

    /// Returns the link-time address of one of [`SYMBOLS`]; `None` if the file is stripped or does
    /// not have it.
    pub(crate) fn symbol_address(&self, name: &str) -> Option<u64> {
        self.symbols.get_or_init(|| self.view.symbols(SYMBOLS)).get(name).copied()
    }
}
