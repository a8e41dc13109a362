//! Tables of abbreviations, read with limits.

use gimli::{Abbreviations, DebugAbbrev, EndianSlice, LittleEndian, Reader as _};

/// The size limit in bytes of a table of abbreviations. The Go linker's table has some kilobytes.
const MAX_ABBREVIATIONS: usize = 1 << 16;
/// The number of bytes of abbreviations that are read from a file. A table that other units used
/// before counts again.
const MAX_ABBREVIATIONS_READ: usize = 16 << 20;

/// A reader of `.debug_abbrev`, and the work that it may still do.
#[derive(Debug)]
pub(super) struct AbbreviationReader {
    bytes_left: usize,
}

/// A limit of work was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl AbbreviationReader {
    pub(super) fn new() -> AbbreviationReader {
        AbbreviationReader { bytes_left: MAX_ABBREVIATIONS_READ }
    }

    /// Reads the table at an offset in `section`; `None` if it is damaged.
    pub(super) fn read(
        &mut self,
        section: &[u8],
        offset: usize,
    ) -> Result<Option<Abbreviations>, Exhausted> {
        let table = section.get(offset..).unwrap_or_default();
        let table = table.get(..MAX_ABBREVIATIONS.min(table.len())).unwrap_or_default();
        let table = table.get(..table_len(table)).unwrap_or_default();
        self.bytes_left = self.bytes_left.checked_sub(table.len().max(1)).ok_or(Exhausted)?;
        let table = DebugAbbrev::new(table, LittleEndian);
        Ok(table.abbreviations(gimli::DebugAbbrevOffset(0)).ok())
    }
}

/// Returns the size in bytes of the table of abbreviations at the start of `data`, which may end
/// before it.
fn table_len(data: &[u8]) -> usize {
    /// `DW_FORM_implicit_const`, whose value is in the table.
    const IMPLICIT_CONST: u64 = 0x21;
    let mut rest = EndianSlice::new(data, LittleEndian);
    let mut skip_abbreviation = || -> gimli::Result<bool> {
        if rest.read_uleb128()? == 0 {
            return Ok(false);
        }
        rest.read_uleb128()?;
        rest.read_u8()?;
        loop {
            let (name, form) = (rest.read_uleb128()?, rest.read_uleb128()?);
            if form == IMPLICIT_CONST {
                rest.read_sleb128()?;
            }
            if (name, form) == (0, 0) {
                return Ok(true);
            }
        }
    };
    while skip_abbreviation() == Ok(true) {}
    data.len() - rest.len()
}
