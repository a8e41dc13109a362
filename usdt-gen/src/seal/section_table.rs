//! The new section header table.
//!
//! It has the note sections appended, `.probes` carved out and `.stapsdt.base` added. References to
//! sections by index are adjusted.

use super::elf_header::{self, LE, Le};
use super::error::{DAMAGED, SealError};
use super::inputs::Inputs;
use super::note_sections;
use super::patch_set::{MovedRange, PatchSet, SectionIndexMap, SymbolTable};
use super::placement::{BaseSection, Plan, ProbesSection};
use object::elf::{
    SHF_ALLOC, SHF_INFO_LINK, SHF_WRITE, SHT_DYNSYM, SHT_NOTE, SHT_PROGBITS, SHT_REL, SHT_RELA,
    SHT_SYMTAB, SectionFlags, SectionHeader64, SectionType,
};
use object::{U32, U64, pod};
use stapsdt::blob;
use stapsdt::elf::View;
use stapsdt::note;
use stapsdt::schema;

type Section = SectionHeader64<Le>;

/// `SHN_LORESERVE`: this index and those above it do not refer to sections.
const FIRST_RESERVED_INDEX: usize = 0xff00;

/// A row of the new section header table.
struct Row {
    /// The index in the old table, which references to the section use; `None` for a new section.
    old: Option<usize>,
    name: String,
    header: Section,
}

/// Returns the patches that seal the file; `None` if it is already sealed.
pub(super) fn write(
    view: &View<'_>,
    inputs: &Inputs,
    plan: &Plan,
) -> Result<Option<PatchSet>, SealError> {
    let notes = note_sections::encode_notes(view, inputs, plan.base.addr())?;
    let schemas = note_sections::encode_schemas(view, inputs)?;
    let mut rows = old_rows(view)?;
    let contents = [(note::SECTION, &notes), (schema::SECTION, &schemas)];
    let notes_are_current = contents.iter().all(|(name, content)| {
        let present = view.sections.iter().filter(|s| s.name == *name).count();
        let same =
            view.section(name).and_then(|s| view.section_data(s)) == Some(content.as_slice());
        same && present == 1 || content.is_empty() && present == 0
    });
    let is_in_place = matches!(plan.probes, ProbesSection::NotNeeded | ProbesSection::Present)
        && matches!(plan.base, BaseSection::Present { .. });
    let blobs_change = inputs.probes.iter().any(|probe| probe.goid_offset.is_some());
    if notes_are_current && is_in_place && !inputs.reorder && !blobs_change {
        return Ok(None);
    }
    let mut patches = PatchSet::new(view);
    write_goid_offsets(view, inputs, &mut patches)?;
    elf_header::free_section_table(view, &mut patches)?;
    let moved = carve(&mut rows, &plan.probes)?;
    place_base(view, &mut rows, &mut patches, &plan.base)?;
    for (name, content) in contents {
        rows.retain(|row| row.name != name);
        if content.is_empty() {
            continue;
        }
        let offset = patches.append(content, 4);
        rows.push(Row {
            old: None,
            name: name.to_owned(),
            header: section(SHT_NOTE, SectionFlags(0), 0, offset, content.len() as u64, 4),
        });
    }
    write_table(view, rows, patches, moved).map(Some)
}

/// Writes the offset of the goroutine id into the blobs, from which the stubs read it.
fn write_goid_offsets(
    view: &View<'_>,
    inputs: &Inputs,
    patches: &mut PatchSet,
) -> Result<(), SealError> {
    for probe in &inputs.probes {
        let (Some(offset), Some(blob)) = (probe.goid_offset, &probe.blob) else { continue };
        let field = blob.start + blob::field::GOID_OFFSET as u64;
        let place = view.bytes_at(field, 4).and(view.vaddr_to_offset(field)).ok_or(DAMAGED)?;
        patches.patch(place, offset.to_le_bytes().to_vec());
    }
    Ok(())
}

fn old_rows(view: &View<'_>) -> Result<Vec<Row>, SealError> {
    let offset = elf_header::section_table_offset(view.data())?;
    let start = usize::try_from(offset).map_err(|_| DAMAGED)?;
    let table = view.data().get(start..).ok_or(DAMAGED)?;
    let (headers, _) =
        pod::slice_from_bytes::<Section>(table, view.sections.len()).map_err(|()| DAMAGED)?;
    Ok(headers
        .iter()
        .zip(&view.sections)
        .enumerate()
        .map(|(i, (header, s))| Row { old: Some(i), name: s.name.clone(), header: *header })
        .collect())
}

fn section(
    kind: SectionType,
    flags: SectionFlags,
    addr: u64,
    offset: u64,
    size: u64,
    align: u64,
) -> Section {
    Section {
        sh_name: U32::new(LE, 0),
        sh_type: U32::new(LE, kind),
        sh_flags: U64::new(LE, flags),
        sh_addr: U64::new(LE, addr),
        sh_offset: U64::new(LE, offset),
        sh_size: U64::new(LE, size),
        sh_link: U32::new(LE, 0),
        sh_info: U32::new(LE, 0),
        sh_addralign: U64::new(LE, align),
        sh_entsize: U64::new(LE, 0),
    }
}

/// Carves `.probes` out of a section and returns the range that moved to it.
fn carve(rows: &mut Vec<Row>, plan: &ProbesSection) -> Result<Option<MovedRange>, SealError> {
    let ProbesSection::Carved { index, range } = plan else { return Ok(None) };
    let row = rows.get(*index).ok_or(DAMAGED)?;
    let whole = row.header;
    let (start, size) = (whole.sh_addr.get(LE), whole.sh_size.get(LE));
    let offset = |addr: u64| whole.sh_offset.get(LE) + (addr - start);
    let probes = Row {
        old: None,
        name: note::PROBES_SECTION.to_owned(),
        header: section(
            SHT_PROGBITS,
            SectionFlags(SHF_ALLOC.0 | SHF_WRITE.0),
            range.start,
            offset(range.start),
            range.end - range.start,
            2,
        ),
    };
    let mut before = Row { old: row.old, name: row.name.clone(), header: whole };
    before.header.sh_size = U64::new(LE, range.start - start);
    let mut after = Row { old: None, name: row.name.clone(), header: whole };
    after.header.sh_addr = U64::new(LE, range.end);
    after.header.sh_offset = U64::new(LE, offset(range.end));
    after.header.sh_size = U64::new(LE, start + size - range.end);
    after.header.sh_addralign = U64::new(LE, 1);
    let mut pieces = Vec::new();
    if range.start > start {
        pieces.push(before);
    } else {
        // References to the section now refer to its remainder.
        after.old = row.old;
    }
    pieces.push(probes);
    if range.end < start + size {
        pieces.push(after);
    } else if range.start == start {
        // The section consisted of blobs only.
        if let Some(probes) = pieces.first_mut() {
            probes.old = row.old;
        }
    }
    let moved = MovedRange { old: *index, range: range.clone() };
    rows.splice(*index..=*index, pieces);
    Ok(Some(moved))
}

/// Adds `.stapsdt.base` in address order, which binutils expects of allocated sections.
fn place_base(
    view: &View<'_>,
    rows: &mut Vec<Row>,
    patches: &mut PatchSet,
    plan: &BaseSection,
) -> Result<(), SealError> {
    let (addr, offset) = match *plan {
        BaseSection::Present { .. } => return Ok(()),
        BaseSection::Gap { addr, offset } => (addr, offset),
        BaseSection::Grow { index, addr, offset } => {
            elf_header::grow_segment(view, patches, index)?;
            (addr, offset)
        }
    };
    // perf would use an existing section with the wrong delta.
    rows.retain(|row| row.name != note::BASE_SECTION);
    let has_higher_address = |row: &Row| {
        row.header.sh_flags.get(LE).0 & SHF_ALLOC.0 != 0 && row.header.sh_addr.get(LE) > addr
    };
    let at = rows.iter().position(has_higher_address).unwrap_or(rows.len());
    rows.insert(
        at,
        Row {
            old: None,
            name: note::BASE_SECTION.to_owned(),
            header: section(SHT_PROGBITS, SHF_ALLOC, addr, offset, 1, 1),
        },
    );
    Ok(())
}

fn write_table(
    view: &View<'_>,
    mut rows: Vec<Row>,
    mut patches: PatchSet,
    moved: Option<MovedRange>,
) -> Result<PatchSet, SealError> {
    if rows.len() >= FIRST_RESERVED_INDEX {
        return Err(SealError::Layout(
            "the file has more sections than ELF supports without extended numbering",
        ));
    }
    let old_names = elf_header::section_names_index(view.data())?;
    let names_at = rows.iter().position(|r| r.old == Some(old_names)).ok_or(DAMAGED)?;
    let mut names = vec![0];
    for row in &mut rows {
        let at = u32::try_from(names.len()).map_err(|_| DAMAGED)?;
        row.header.sh_name = U32::new(LE, if row.name.is_empty() { 0 } else { at });
        if !row.name.is_empty() {
            names.extend_from_slice(row.name.as_bytes());
            names.push(0);
        }
    }
    let offset = patches.append(&names, 1);
    if let Some(row) = rows.get_mut(names_at) {
        row.header.sh_offset = U64::new(LE, offset);
        row.header.sh_size = U64::new(LE, names.len() as u64);
        row.header.sh_addr = U64::new(LE, 0);
        row.header.sh_flags = U64::new(LE, SectionFlags(0));
    }
    let old = rows.iter().map(|r| r.old);
    let probes = rows.iter().position(|r| r.name == note::PROBES_SECTION);
    let index = SectionIndexMap::new(old, view.sections.len(), moved.zip(probes));
    for row in &mut rows {
        relink(&index, &mut row.header)?;
    }
    for row in &rows {
        let kind = row.header.sh_type.get(LE);
        if kind == SHT_SYMTAB || kind == SHT_DYNSYM {
            let (offset, size) = (row.header.sh_offset.get(LE), row.header.sh_size.get(LE));
            view.bytes_at_offset(offset, size).ok_or(DAMAGED)?;
            if overlaps(view, offset, size) {
                return Err(SealError::Layout(
                    "a symbol table overlaps other parts of the file; was the binary changed after linking?",
                ));
            }
            patches.rewrite_symbols(SymbolTable { offset, size });
        }
    }
    patches.set_section_indices(index);
    let headers: Vec<Section> = rows.iter().map(|r| r.header).collect();
    let table = patches.append(pod::bytes_of_slice(&headers), 8);
    elf_header::point_to_section_table(
        view.data(),
        &mut patches,
        table,
        headers.len() as u16,
        names_at as u16,
    )?;
    Ok(patches)
}

/// Returns true if a range of the file overlaps the headers or more than one section.
fn overlaps(view: &View<'_>, offset: u64, size: u64) -> bool {
    let end = offset.saturating_add(size);
    let sections = view.sections.iter().filter(|s| {
        let shares = s.offset < end && offset < s.offset.saturating_add(s.size);
        s.kind != object::elf::SHT_NOBITS.0 && s.size > 0 && shares
    });
    elf_header::headers_end(view.data()).is_none_or(|headers| offset < headers)
        || sections.count() > 1
}

/// Adjusts the section indices of a header. `sh_link` is always an index; `sh_info` is one only for
/// relocation sections and with the flag `SHF_INFO_LINK`.
fn relink(index: &SectionIndexMap, header: &mut Section) -> Result<(), SealError> {
    let link = header.sh_link.get(LE);
    if link != 0 {
        header.sh_link = U32::new(LE, u32::from(index.get(link as usize).ok_or(DAMAGED)?));
    }
    let kind = header.sh_type.get(LE);
    let info = header.sh_info.get(LE);
    let is_index =
        kind == SHT_REL || kind == SHT_RELA || header.sh_flags.get(LE).0 & SHF_INFO_LINK.0 != 0;
    if is_index && info != 0 {
        header.sh_info = U32::new(LE, u32::from(index.get(info as usize).ok_or(DAMAGED)?));
    }
    Ok(())
}
