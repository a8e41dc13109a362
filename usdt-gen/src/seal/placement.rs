//! Where the new sections go: a piece of existing data for `.probes`, a spare byte for `.stapsdt.base`.

use super::elf_header;
use super::error::SealError;
use super::inputs::Inputs;
use stapsdt::elf::{Section, Segment, View};
use stapsdt::note;

/// Decisions; carried out by `section_table`.
pub(super) struct Plan {
    pub(super) probes: Carve,
    pub(super) base: Base,
}

/// How `.probes` comes into being.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carve {
    /// No probe has a semaphore that the kernel could reach.
    None,
    /// A `.probes` section already stands for the segment that holds the semaphores.
    Present,
    /// Section `index` is cut: the range becomes `.probes`, what is before and behind keeps the name.
    Section { index: usize, range: std::ops::Range<u64> },
}

/// Where `.stapsdt.base` is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The section exists and serves.
    Present { addr: u64 },
    /// A byte that no section covers, inside a loaded segment.
    Gap { addr: u64, offset: u64 },
    /// The byte behind the text segment's end, which is mapped with its last page: segment `index` grows by it.
    Grow { index: usize, addr: u64, offset: u64 },
}

impl Base {
    pub(super) fn addr(&self) -> u64 {
        match self {
            Base::Present { addr } | Base::Gap { addr, .. } | Base::Grow { addr, .. } => *addr,
        }
    }
}

pub(super) fn plan(view: &View<'_>, inputs: &Inputs) -> Result<Plan, SealError> {
    if view.sections.is_empty() {
        return Err(SealError::Layout(
            "the file has no section headers; seal before removing them",
        ));
    }
    let blobs = inputs.probes.iter().filter_map(|p| p.blob.clone());
    let pc = inputs
        .probes
        .iter()
        .map(|p| &p.note)
        .chain(&inputs.foreign)
        .map(|n| n.pc)
        .next()
        .unwrap_or(0);
    let text =
        view.load_segment(pc, 1).ok_or(SealError::Layout("the sites are in no loaded segment"))?;
    let probes = if let Some(range) = blobs.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)) {
        carve(view, range)?
    } else {
        let semaphores = inputs
            .foreign
            .iter()
            .map(|n| n.semaphore)
            .filter(|s| view.load_segment(*s, 2).is_some());
        match semaphores.min() {
            Some(first) => carve(view, first..first.saturating_add(2))?,
            None => Carve::None,
        }
    };
    Ok(Plan { probes, base: base(view, text)? })
}

fn carve(view: &View<'_>, range: std::ops::Range<u64>) -> Result<Carve, SealError> {
    let length = range.end - range.start;
    let segment = view
        .load_segment(range.start, length)
        .ok_or(SealError::Layout("probe data is not loaded"))?;
    // bcc and perf use the section for its address-offset delta only: any in the same segment will do.
    let serves = |s: &Section| {
        segment.file_backs(s.addr, s.size) && delta(s.addr, s.offset) == segment_delta(segment)
    };
    if view.sections.iter().any(|s| s.name == note::PROBES_SECTION && s.is_alloc() && serves(s)) {
        return Ok(Carve::Present);
    }
    // A section that is not where its segment has it is no description of the file.
    let holds = |s: &Section| {
        s.is_alloc()
            && s.addr <= range.start
            && range.end <= s.addr.saturating_add(s.size)
            && serves(s)
    };
    let section = view.sections.iter().enumerate().find(|(_, s)| holds(s));
    let (index, section) =
        section.ok_or(SealError::Layout("no section holds all of the probe data"))?;
    let end = section.addr + section.size;
    // Two sections of one name confuse a reader less than three: with something in front, `.probes` takes the rest.
    let end = if section.addr < range.start { end } else { range.end };
    Ok(Carve::Section { index, range: range.start..end })
}

fn delta(addr: u64, offset: u64) -> u64 {
    addr.wrapping_sub(offset)
}

fn segment_delta(segment: &Segment) -> u64 {
    delta(segment.vaddr, segment.offset)
}

fn base(view: &View<'_>, text: &Segment) -> Result<Base, SealError> {
    let wanted = segment_delta(text);
    // perf computes `pc - base.addr + base.offset`.
    let existing = view.section(note::BASE_SECTION);
    if let Some(section) = existing.filter(|s| s.is_alloc() && delta(s.addr, s.offset) == wanted) {
        return Ok(Base::Present { addr: section.addr });
    }
    let mut segments: Vec<(usize, &Segment)> = view
        .segments
        .iter()
        .enumerate()
        .filter(|(_, s)| s.is_load() && !s.is_writable() && segment_delta(s) == wanted)
        .collect();
    segments.sort_by_key(|(_, s)| s.offset);
    for (_, segment) in &segments {
        if let Some(offset) = gap(view, segment) {
            return Ok(Base::Gap { addr: offset.wrapping_add(wanted), offset });
        }
    }
    segments
        .iter()
        .find_map(|(index, segment)| grow(view, *index, segment))
        .ok_or(SealError::Layout("no free byte in the text segment for .stapsdt.base"))
}

/// First byte of the segment that neither headers nor sections cover. The section header table counts as free:
/// it moves to the end of the file.
fn gap(view: &View<'_>, segment: &Segment) -> Option<u64> {
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

/// The byte behind the segment's file content, where the page has room and the file holds zero padding there.
fn grow(view: &View<'_>, index: usize, segment: &Segment) -> Option<Base> {
    const PAGE: u64 = 4096;
    let (addr, offset) =
        (segment.vaddr.checked_add(segment.filesz)?, segment.offset.checked_add(segment.filesz)?);
    let mapped = addr % PAGE != 0 && segment.filesz == segment.memsz;
    let free = view.bytes_at_offset(offset, 1)? == [0]
        && view.sections.iter().all(|s| {
            s.kind == object::elf::SHT_NOBITS.0
                || offset < s.offset
                || offset >= s.offset.saturating_add(s.size)
        })
        && view
            .segments
            .iter()
            .all(|s| !s.is_load() || addr < s.vaddr || addr >= s.vaddr.saturating_add(s.memsz));
    (mapped && free).then_some(Base::Grow { index, addr, offset })
}
