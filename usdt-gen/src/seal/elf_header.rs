//! Changes to the ELF header and to the program headers.
//!
//! In the ELF header, sealing changes the offset and size of the section header table (`e_shoff`,
//! `e_shnum`) and the index of the section names (`e_shstrndx`). In the program headers, it changes
//! the size of the segment that grows by the byte of `.stapsdt.base`.

use super::error::{DAMAGED, SealError};
use super::patch_set::PatchSet;
use object::elf::{FileHeader64, ProgramHeader64, SectionHeader64, SymbolSection};
use object::{LittleEndian, U16, U64, pod};
use stapsdt::elf::View;

pub(super) type Le = LittleEndian;
pub(super) const LE: Le = LittleEndian;
type Header = FileHeader64<Le>;
type Segment = ProgramHeader64<Le>;

fn header(data: &[u8]) -> Result<&Header, SealError> {
    pod::from_bytes::<Header>(data).map(|(h, _)| h).map_err(|()| DAMAGED)
}

/// Returns the file offset of the end of the ELF header and the program headers.
pub(super) fn headers_end(data: &[u8]) -> Option<u64> {
    let header = header(data).ok()?;
    let size = u64::from(header.e_phnum.get(LE)) * size_of::<Segment>() as u64;
    Some(header.e_phoff.get(LE).checked_add(size)?.max(size_of::<Header>() as u64))
}

/// Returns `e_shstrndx`, the index of the section with the section names.
pub(super) fn section_names_index(data: &[u8]) -> Result<usize, SealError> {
    Ok(usize::from(header(data)?.e_shstrndx.get(LE).0))
}

/// Returns `e_shoff`, the offset of the section header table, if its entries have the expected
/// size.
pub(super) fn section_table_offset(data: &[u8]) -> Result<u64, SealError> {
    let header = header(data)?;
    if usize::from(header.e_shentsize.get(LE)) != size_of::<SectionHeader64<Le>>() {
        return Err(DAMAGED);
    }
    Ok(header.e_shoff.get(LE))
}

/// Removes the old section header table: cuts it off at the end of the file, or zeroes it
/// elsewhere.
pub(super) fn free_section_table(view: &View<'_>, patches: &mut PatchSet) -> Result<(), SealError> {
    let header = header(view.data())?;
    let start = header.e_shoff.get(LE);
    let size = u64::from(header.e_shnum.get(LE)) * size_of::<SectionHeader64<Le>>() as u64;
    view.bytes_at_offset(start, size).ok_or(DAMAGED)?;
    patches.zero(start, size);
    Ok(())
}

/// Makes the ELF header refer to the new section header table.
pub(super) fn point_to_section_table(
    data: &[u8],
    patches: &mut PatchSet,
    offset: u64,
    count: u16,
    names: u16,
) -> Result<(), SealError> {
    let mut new = *header(data)?;
    new.e_shoff = U64::new(LE, offset);
    new.e_shnum = U16::new(LE, count);
    new.e_shstrndx = U16::new(LE, SymbolSection(names));
    patches.patch(0, pod::bytes_of(&new).to_vec());
    Ok(())
}

/// Extends segment `index` by one byte, in the file and in memory.
pub(super) fn grow_segment(
    view: &View<'_>,
    patches: &mut PatchSet,
    index: usize,
) -> Result<(), SealError> {
    let at = header(view.data())?.e_phoff.get(LE) + (index * size_of::<Segment>()) as u64;
    let raw = view.bytes_at_offset(at, size_of::<Segment>() as u64).ok_or(DAMAGED)?;
    let mut segment = *pod::from_bytes::<Segment>(raw).map_err(|()| DAMAGED)?.0;
    segment.p_filesz = U64::new(LE, segment.p_filesz.get(LE) + 1);
    segment.p_memsz = U64::new(LE, segment.p_memsz.get(LE) + 1);
    patches.patch(at, pod::bytes_of(&segment).to_vec());
    Ok(())
}
