//! The new section header table: note sections appended, `.probes` carved out, `.stapsdt.base` added; what refers to
//! sections by index follows.

use super::elf_header::{self, LE, Le};
use super::error::{DAMAGED, SealError};
use super::inputs::Inputs;
use super::note_sections;
use super::patch_set::{Index, Moved, PatchSet, Symbols};
use super::placement::{Base, Carve, Plan};
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

/// `SHN_LORESERVE`: indices from here on are not sections.
const RESERVED: usize = 0xff00;

/// A row of the new section header table.
struct Row {
    /// Index in the old table, for what refers to it.
    old: Option<usize>,
    name: String,
    header: Section,
}

/// The patches that make the file sealed; `None` where it is sealed already.
pub(super) fn write(
    view: &View<'_>,
    inputs: &Inputs,
    plan: &Plan,
) -> Result<Option<PatchSet>, SealError> {
    let notes = note_sections::notes(view, inputs, plan.base.addr())?;
    let schemas = note_sections::schemas(view, inputs)?;
    let mut rows = old_rows(view)?;
    let contents = [(note::SECTION, &notes), (schema::SECTION, &schemas)];
    let unchanged = contents.iter().all(|(name, content)| {
        let present = view.sections.iter().filter(|s| s.name == *name).count();
        let same =
            view.section(name).and_then(|s| view.section_data(s)) == Some(content.as_slice());
        same && present == 1 || content.is_empty() && present == 0
    });
    let in_place = matches!(plan.probes, Carve::None | Carve::Present)
        && matches!(plan.base, Base::Present { .. });
    let stubs_change = inputs.probes.iter().any(|probe| probe.goid_offset.is_some());
    if unchanged && in_place && !inputs.reorder && !stubs_change {
        return Ok(None);
    }
    let mut patches = PatchSet::new(view);
    goroutine_ids(view, inputs, &mut patches)?;
    elf_header::retire_section_table(view, &mut patches)?;
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

/// Tells the stubs where the goroutine id is.
fn goroutine_ids(
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

/// Cuts the section in two or three. Returns what `.probes` took with it.
fn carve(rows: &mut Vec<Row>, plan: &Carve) -> Result<Option<Moved>, SealError> {
    let Carve::Section { index, range } = plan else { return Ok(None) };
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
        // Whatever refers to the section follows its larger remainder.
        after.old = row.old;
    }
    pieces.push(probes);
    if range.end < start + size {
        pieces.push(after);
    } else if range.start == start {
        // The section consisted of blobs alone.
        if let Some(probes) = pieces.first_mut() {
            probes.old = row.old;
        }
    }
    let moved = Moved { old: *index, range: range.clone() };
    rows.splice(*index..=*index, pieces);
    Ok(Some(moved))
}

/// Adds `.stapsdt.base` in address order, as binutils expect of allocated sections.
fn place_base(
    view: &View<'_>,
    rows: &mut Vec<Row>,
    patches: &mut PatchSet,
    plan: &Base,
) -> Result<(), SealError> {
    let (addr, offset) = match *plan {
        Base::Present { .. } => return Ok(()),
        Base::Gap { addr, offset } => (addr, offset),
        Base::Grow { index, addr, offset } => {
            elf_header::grow_segment(view, patches, index)?;
            (addr, offset)
        }
    };
    // A section of that name with the wrong delta misleads perf.
    rows.retain(|row| row.name != note::BASE_SECTION);
    let follows = |row: &Row| {
        row.header.sh_flags.get(LE).0 & SHF_ALLOC.0 != 0 && row.header.sh_addr.get(LE) > addr
    };
    let at = rows.iter().position(follows).unwrap_or(rows.len());
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
    moved: Option<Moved>,
) -> Result<PatchSet, SealError> {
    if rows.len() >= RESERVED {
        return Err(SealError::Layout("the file has too many sections"));
    }
    let old_names = elf_header::names_index(view.data())?;
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
    let index = Index::new(old, view.sections.len(), moved.zip(probes));
    for row in &mut rows {
        relink(&index, &mut row.header)?;
    }
    for row in &rows {
        let kind = row.header.sh_type.get(LE);
        if kind == SHT_SYMTAB || kind == SHT_DYNSYM {
            let (offset, size) = (row.header.sh_offset.get(LE), row.header.sh_size.get(LE));
            view.bytes_at_offset(offset, size).ok_or(DAMAGED)?;
            if overlaps(view, offset, size) {
                return Err(SealError::Layout("a symbol table overlaps other parts of the file"));
            }
            patches.symbols(Symbols { offset, size });
        }
    }
    patches.reindex(index);
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

/// Whether a piece of the file is more than the one section there: the headers', or another section's as well.
fn overlaps(view: &View<'_>, offset: u64, size: u64) -> bool {
    let end = offset.saturating_add(size);
    let sections = view.sections.iter().filter(|s| {
        let shares = s.offset < end && offset < s.offset.saturating_add(s.size);
        s.kind != object::elf::SHT_NOBITS.0 && s.size > 0 && shares
    });
    elf_header::headers_end(view.data()).is_none_or(|headers| offset < headers)
        || sections.count() > 1
}

/// `sh_link` is an index in every kind of section that uses it; `sh_info` only where the kind or flag says so.
fn relink(index: &Index, header: &mut Section) -> Result<(), SealError> {
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
