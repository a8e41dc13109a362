//! What the binary holds: its blobs, checked against its segments, and the notes it already has.

use super::{Options, SealError};
use stapsdt::argspec::{Arch, Expr, Operand, Register, Value};
use stapsdt::blob;
use stapsdt::elf::View;
use stapsdt::note::{self, Note, NoteIter};

/// `ET_EXEC` and `ET_DYN`: what a linker has finished.
const LINKED: [u16; 2] = [2, 3];

/// Input of the later stages.
pub(super) struct Found {
    /// In the order of their sites: within a package, as declared.
    pub(super) probes: Vec<Probe>,
    /// Notes of others (C code linked in), to be kept in front of ours.
    pub(super) foreign: Vec<Note>,
    /// Offset of `goid` in `runtime.g`, if appended to every note.
    pub(super) goid_offset: Option<u32>,
}

pub(super) struct Probe {
    /// Without `base`, with the goroutine id.
    pub(super) note: Note,
    pub(super) schema: String,
    /// Where the blob is.
    pub(super) blob: std::ops::Range<u64>,
}

/// `None` where the file has no probes of ours.
pub(super) fn collect(view: &View<'_>, options: Options) -> Result<Option<Found>, SealError> {
    let blobs = blob::scan(view).into_iter().collect::<Result<Vec<_>, _>>()?;
    if blobs.is_empty() {
        return Ok(None);
    }
    let Some(arch) = view.arch() else {
        return Err(SealError::Unsupported(format!(
            "architecture {} has no probe stubs: build for amd64 or arm64",
            view.machine()
        )));
    };
    if !LINKED.contains(&view.file_type()) {
        return Err(SealError::Unsupported("not a linked executable or shared library".into()));
    }
    let goid_offset = if options.goid {
        gobinary::GoBinary::parse(view.data()).and_then(|go| go.goid_offset())
    } else {
        None
    };
    let mut probes = Vec::new();
    for blob in blobs {
        let mut note = blob.note;
        check(view, &note, arch)?;
        if let Some(offset) = goid_offset {
            append_goid(&mut note, offset, arch);
        }
        let range = blob.self_addr..blob.self_addr.saturating_add(blob.size as u64);
        probes.push(Probe { note, schema: blob.schema, blob: range });
    }
    probes.sort_by_key(|p| p.note.pc);
    let foreign = foreign(view, &probes)?;
    Ok(Some(Found { probes, foreign, goid_offset }))
}

/// The conformance rules that depend on the binary: the site's bytes in an executable segment, the semaphore in
/// a file-backed, writable, non-executable one.
fn check(view: &View<'_>, note: &Note, arch: Arch) -> Result<(), SealError> {
    let bad =
        |problem| SealError::Inconsistent { probe: format!("{}:{}", note.provider, note.name), problem };
    let site = stapsdt::site::of(arch);
    let text = view.load_segment(note.pc, site.len() as u64).filter(|s| s.is_executable());
    if text.is_none() {
        return Err(bad("its site is in no executable segment"));
    }
    if view.at_vaddr(note.pc, site.len() as u64) != Some(site) {
        return Err(bad("its site does not hold the stub's instructions"));
    }
    let data = view.load_segment(note.semaphore, 2).filter(|s| s.is_writable() && !s.is_executable());
    data.map(|_| ()).ok_or_else(|| bad("its semaphore is not in file-backed writable data"))
}

/// The running goroutine is in a fixed register at the site: R14 on amd64 (ABIInternal keeps it, and the stub's
/// caller is Go code), R28 on arm64.
fn append_goid(note: &mut Note, offset: u32, arch: Arch) {
    let declared = stapsdt::argspec::parse(&note.args, arch).len();
    if declared >= crate::provider::MAX_WORDS {
        return;
    }
    let g = match arch {
        Arch::X86_64 => gobinary::goid::G_AMD64,
        Arch::Aarch64 => gobinary::goid::G_ARM64,
    };
    let operand =
        Operand::Memory { disp: Expr::number(offset.into()), base: Some(Register::gpr(g)), index: None };
    let arg = Value { size: 8, signed: false, float: false, operand }.print(arch);
    if !note.args.is_empty() {
        note.args.push(' ');
    }
    note.args.push_str(&arg);
}

/// Notes in the file that describe no blob of ours.
fn foreign(view: &View<'_>, ours: &[Probe]) -> Result<Vec<Note>, SealError> {
    let Some(section) = view.section(note::SECTION).filter(|s| s.is_note()) else { return Ok(Vec::new()) };
    let data = view.section_data(section).unwrap_or_default();
    let mut notes = NoteIter::new(data, view.format());
    let mut out = Vec::new();
    while let Some(raw) = notes.next_note()? {
        if raw.is_stapsdt() {
            let note = raw.decode(view.format())?;
            if !ours.iter().any(|p| p.note.pc == note.pc) {
                out.push(note);
            }
        }
    }
    Ok(out)
}
