//! Places for the new sections: a piece of existing data for `.probes`, a spare byte for
//! `.stapsdt.base`.

use super::elf_header;
use super::error::SealError;
use super::inputs::Inputs;
use stapsdt::elf::{Section, Segment, View};
use stapsdt::note;

/// The places of the new sections. `section_table` writes them.
pub(super) struct Plan {
    pub(super) probes: ProbesSection,
    pub(super) base: BaseSection,
}

/// The origin of the `.probes` section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProbesSection {
    /// The file needs none: no probe has a semaphore that the kernel can increment.
    NotNeeded,
    /// The file already has one in the segment of the semaphores.
    Present,
    /// An address range of section `index` becomes `.probes`. The rest of the section keeps its
    /// name.
    Carved { index: usize, range: std::ops::Range<u64> },
}

/// The origin of the `.stapsdt.base` section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BaseSection {
    /// The file already has one that all tracers can use.
    Present { addr: u64 },
    /// A byte of a loaded segment that no section covers.
    Gap { addr: u64, offset: u64 },
    /// The byte after the text segment, which is mapped with its last page. Segment `index` grows
    /// by that byte.
    Grow { index: usize, addr: u64, offset: u64 },
}

impl BaseSection {
    pub(super) fn addr(&self) -> u64 {
        match self {
            BaseSection::Present { addr }
            | BaseSection::Gap { addr, .. }
            | BaseSection::Grow { addr, .. } => *addr,
        }
    }
}

/// Chooses the places of the new sections.
pub(super) fn plan(view: &View<'_>, inputs: &Inputs) -> Result<Plan, SealError> {
    if view.sections.is_empty() {
        return Err(SealError::Layout(
            "the file has no section headers; seal it before you strip them",
        ));
    }
    let blobs = inputs.probes.iter().filter_map(|p| p.blob.clone());
    let pc = inputs
        .probes
        .iter()
        .map(|p| &p.note)
        .chain(&inputs.third_party)
        .map(|n| n.pc)
        .next()
        .unwrap_or(0);
    let text = view.load_segment(pc, 1).ok_or(SealError::Layout(
        "no loaded segment contains the probe sites; was the binary changed after linking?",
    ))?;
    let probes = if let Some(range) = blobs.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)) {
        place_probes(view, range)?
    } else {
        let semaphores = inputs
            .third_party
            .iter()
            .map(|n| n.semaphore)
            .filter(|s| view.load_segment(*s, 2).is_some());
        match semaphores.min() {
            Some(first) => place_probes(view, first..first.saturating_add(2))?,
            None => ProbesSection::NotNeeded,
        }
    };
    Ok(Plan { probes, base: place_base(view, text)? })
}

/// Finds a place for `.probes` that covers an address range.
fn place_probes(view: &View<'_>, range: std::ops::Range<u64>) -> Result<ProbesSection, SealError> {
    let length = range.end - range.start;
    let segment = view.load_segment(range.start, length).ok_or(SealError::Layout(
        "no loaded segment contains the probe data; was the binary changed after linking?",
    ))?;
    // bcc and perf use only the address-offset delta of `.probes`, so any section with the delta of
    // the segment is good enough.
    let matches_segment = |s: &Section| {
        segment.file_backs(s.addr, s.size) && delta(s.addr, s.offset) == segment_delta(segment)
    };
    if view
        .sections
        .iter()
        .any(|s| s.name == note::PROBES_SECTION && s.is_alloc() && matches_segment(s))
    {
        return Ok(ProbesSection::Present);
    }
    // A section whose offset contradicts its segment would lead to the wrong bytes.
    let covers_range = |s: &Section| {
        s.is_alloc()
            && s.addr <= range.start
            && range.end <= s.addr.saturating_add(s.size)
            && matches_segment(s)
    };
    let section = view.sections.iter().enumerate().find(|(_, s)| covers_range(s));
    let (index, section) = section.ok_or(SealError::Layout(
        "no section contains all of the probe data; was the binary changed after linking?",
    ))?;
    let end = section.addr + section.size;
    // If `.probes` does not start the section, it extends to the section's end, so that at most two
    // sections remain.
    let end = if section.addr < range.start { end } else { range.end };
    Ok(ProbesSection::Carved { index, range: range.start..end })
}

fn delta(addr: u64, offset: u64) -> u64 {
    addr.wrapping_sub(offset)
}

fn segment_delta(segment: &Segment) -> u64 {
    delta(segment.vaddr, segment.offset)
}

/// Finds a byte for `.stapsdt.base` with the address-offset delta of `text`.
fn place_base(view: &View<'_>, text: &Segment) -> Result<BaseSection, SealError> {
    let wanted = segment_delta(text);
    // perf computes `pc - base.addr + base.offset`.
    let existing = view.section(note::BASE_SECTION);
    if let Some(section) = existing.filter(|s| s.is_alloc() && delta(s.addr, s.offset) == wanted) {
        return Ok(BaseSection::Present { addr: section.addr });
    }
    let mut segments: Vec<(usize, &Segment)> = view
        .segments
        .iter()
        .enumerate()
        .filter(|(_, s)| s.is_load() && !s.is_writable() && segment_delta(s) == wanted)
        .collect();
    segments.sort_by_key(|(_, s)| s.offset);
    for (_, segment) in &segments {
        if let Some(offset) = find_gap(view, segment) {
            return Ok(BaseSection::Gap { addr: offset.wrapping_add(wanted), offset });
        }
    }
    segments
        .iter()
        .find_map(|(index, segment)| byte_after_segment(view, *index, segment))
        .ok_or(SealError::Layout("the text segment has no free byte for .stapsdt.base"))
}

/// Returns the offset of the segment's first byte that neither headers nor sections cover. The
/// section header table counts as free, because sealing moves it to the end of the file.
fn find_gap(view: &View<'_>, segment: &Segment) -> Option<u64> {
    let mut covered: Vec<(u64, u64)> = vec![(0, elf_header::headers_end(view.data())?)];
    let in_file = |s: &&Section| s.is_alloc() && s.size > 0 && s.kind != object::elf::SHT_NOBITS.0;
    covered.extend(
        view.sections.iter().filter(in_file).map(|s| (s.offset, s.offset.saturating_add(s.size))),
    );
    covered.sort_unstable();
    let mut at = segment.offset;
    for (start, end) in covered {
        if start > at {
            break;
        }
        at = at.max(end);
    }
    (at < segment.offset.saturating_add(segment.filesz)).then_some(at)
}

/// Returns the byte after the segment's file content, if the page has room and the file has zero
/// padding there.
fn byte_after_segment(view: &View<'_>, index: usize, segment: &Segment) -> Option<BaseSection> {
    const PAGE: u64 = 4096;
    let (addr, offset) =
        (segment.vaddr.checked_add(segment.filesz)?, segment.offset.checked_add(segment.filesz)?);
    let is_mapped = addr % PAGE != 0 && segment.filesz == segment.memsz;
    let is_free = view.bytes_at_offset(offset, 1)? == [0]
        && view.sections.iter().all(|s| {
            s.kind == object::elf::SHT_NOBITS.0
                || offset < s.offset
                || offset >= s.offset.saturating_add(s.size)
        })
        && view
            .segments
            .iter()
            .all(|s| !s.is_load() || addr < s.vaddr || addr >= s.vaddr.saturating_add(s.memsz));
    (is_mapped && is_free).then_some(BaseSection::Grow { index, addr, offset })
}
