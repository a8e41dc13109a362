//! What the binary holds: its blobs, checked against its segments, and the notes it already has.

use super::error::SealError;
use super::function_entries;
use super::probe::Probe;
use stapsdt::argspec::{Arch, Operand, Register, Value};
use stapsdt::blob;
use stapsdt::elf::View;
use stapsdt::note::{self, Note, NoteIter};
use std::collections::HashSet;

/// `ET_EXEC` and `ET_DYN`: what a linker has finished.
const LINKED: [u16; 2] = [2, 3];

/// What to add while sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Append the goroutine id as a trailing argument where its place is known.
    pub goid: bool,
    /// Repair the notes of other toolchains, too.
    pub fix: bool,
    /// Describe function entries of Go's runtime and standard library, where the binary has no probes of them.
    pub entries: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { goid: true, fix: false, entries: false }
    }
}

/// Input of the later stages.
pub(super) struct Inputs {
    /// In the order of their sites: within a package, as declared.
    pub(super) probes: Vec<Probe>,
    /// Notes of others (C code linked in), to be kept in front of ours.
    pub(super) foreign: Vec<Note>,
    /// Offset of `goid` in `runtime.g`, if the notes have the goroutine id.
    pub(super) goid_offset: Option<u32>,
    /// Notes of others are repaired, too.
    pub(super) fix: bool,
    /// The note sections are not where or what every consumer needs, whatever is in them.
    pub(super) reorder: bool,
}

/// `None` where the file has no probes to seal or to repair.
pub(super) fn collect(view: &View<'_>, options: Options) -> Result<Option<Inputs>, SealError> {
    let blobs = blob::scan(view).into_iter().collect::<Result<Vec<_>, _>>()?;
    let has_notes = options.fix && view.section(note::SECTION).is_some();
    if blobs.is_empty() && !has_notes && !options.entries {
        return Ok(None);
    }
    let Some(arch) = view.arch() else {
        return Err(SealError::Unsupported(format!(
            "architecture {} is not supported: only 64-bit amd64 and arm64 are",
            view.machine()
        )));
    };
    if !LINKED.contains(&view.file_type()) {
        return Err(SealError::Unsupported("not a linked executable or shared library".into()));
    }
    let goid_offset = if options.goid && (!blobs.is_empty() || options.entries) {
        gobinary::GoBinary::parse(view.data()).and_then(|go| go.goid_offset())
    } else {
        None
    };
    let mut probes = Vec::new();
    for blob in blobs {
        let mut note = blob.note;
        check(view, &note, arch)?;
        let wanted = match (goid_offset, blob.goid_register) {
            (Some(offset), Some(register)) => {
                append_goid(&mut note, register, arch);
                offset
            }
            _ => 0,
        };
        let goid_offset = (wanted != blob.goid_offset).then_some(wanted);
        let range = blob.self_addr..blob.self_addr.saturating_add(blob.size as u64);
        probes.push(Probe { note, schema: blob.schema.to_owned(), blob: Some(range), goid_offset });
    }
    let mut foreign = foreign(view, &probes, options.fix)?;
    if options.entries {
        let notes = || probes.iter().map(|p| &p.note).chain(&foreign);
        let has = |provider: &str| notes().any(|note| note.provider == provider);
        let found = function_entries::probes(view, arch, has, goid_offset);
        probes.extend(found);
    }
    probes.sort_by_key(|p| p.note.pc);
    if options.fix {
        for note in &mut foreign {
            repair(view, note, arch);
        }
    }
    if probes.is_empty() && foreign.is_empty() {
        return Ok(None);
    }
    let reorder = options.fix && misplaced(view);
    Ok(Some(Inputs { probes, foreign, goid_offset, fix: options.fix, reorder }))
}

/// What other toolchains' notes are known to get wrong: addresses that prelinking has moved and registers by
/// their 32-bit names, which libbpf and bcc do not know. The base and the exact size come with writing.
fn repair(view: &View<'_>, note: &mut Note, arch: Arch) {
    if let Some(base) = view.section(note::BASE_SECTION).filter(|_| note.base != 0) {
        let shift = base.addr.wrapping_sub(note.base);
        note.pc = note.pc.wrapping_add(shift);
        if note.semaphore != 0 {
            note.semaphore = note.semaphore.wrapping_add(shift);
        }
    }
    if arch != Arch::Aarch64 {
        return;
    }
    let args = stapsdt::argspec::parse(&note.args, arch);
    let whole = args.into_iter().map(|arg| match arg.value {
        Ok(mut value) => match &mut value.operand {
            Operand::Register(register) if register.bits == 32 => {
                register.bits = 64;
                value.to_spec(arch)
            }
            _ => arg.spec,
        },
        Err(_) => arg.spec,
    });
    note.args = whole.collect::<Vec<_>>().join(" ");
}

/// Whether the sections of notes are not in the order or of the kind that every consumer needs.
fn misplaced(view: &View<'_>) -> bool {
    let at = |name: &str| view.sections.iter().position(|s| s.name == name);
    let notes = at(note::SECTION);
    let first = [
        at(note::PROBES_SECTION),
        view.sections.iter().position(stapsdt::elf::Section::is_executable),
    ];
    let kind =
        notes.and_then(|at| view.sections.get(at)).is_some_and(|s| s.is_note() && !s.is_alloc());
    !kind || first.iter().flatten().any(|at| Some(*at) > notes)
}

/// The conformance rules that depend on the binary: the site's bytes in an executable segment, the semaphore in
/// a file-backed, writable, non-executable one.
fn check(view: &View<'_>, note: &Note, arch: Arch) -> Result<(), SealError> {
    let bad = |problem| SealError::Inconsistent {
        probe: format!("{}:{}", note.provider, note.name),
        problem,
    };
    let site = stapsdt::site::code(arch);
    let text = view.load_segment(note.pc, site.len() as u64).filter(|s| s.is_executable());
    if text.is_none() {
        return Err(bad("its site is in no executable segment"));
    }
    if view.bytes_at(note.pc, site.len() as u64) != Some(site) {
        return Err(bad("its site does not hold the stub's instructions"));
    }
    let data =
        view.load_segment(note.semaphore, 2).filter(|s| s.is_writable() && !s.is_executable());
    data.map(|_| ()).ok_or_else(|| bad("its semaphore is not in file-backed writable data"))
}

/// The stub has the goroutine id in a register, unless the arguments take as many as tracers read.
fn append_goid(note: &mut Note, register: u8, arch: Arch) {
    let operand = Operand::Register(Register::gpr(register));
    let arg = Value { size: 8, signed: false, float: false, operand }.to_spec(arch);
    if !note.args.is_empty() {
        note.args.push(' ');
    }
    note.args.push_str(&arg);
}

/// Notes in the file that describe no blob of ours. To be repaired, they are also read from sections of the
/// wrong kind.
fn foreign(view: &View<'_>, ours: &[Probe], fix: bool) -> Result<Vec<Note>, SealError> {
    let ours: HashSet<u64> = ours.iter().map(|p| p.note.pc).collect();
    let mut out = Vec::new();
    for section in view.sections.iter().filter(|s| s.name == note::SECTION && (s.is_note() || fix))
    {
        let data = view.section_data(section).unwrap_or_default();
        let mut notes = NoteIter::new(data, view.format());
        while let Some(raw) = notes.next_note()? {
            if raw.is_stapsdt() {
                let note = raw.decode(view.format())?;
                if !ours.contains(&note.pc) {
                    out.push(note);
                }
            }
        }
    }
    Ok(out)
}
