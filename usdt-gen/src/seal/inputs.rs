//! The inputs of sealing: the blobs of the file, checked against its segments, and its existing
//! notes.

use super::error::SealError;
use super::probe::Probe;
use super::{function_entries, function_notes};
use gobinary::GoBinary;
use stapsdt::argspec::{Arch, Operand, Register, Value};
use stapsdt::blob;
use stapsdt::elf::View;
use stapsdt::note::{self, Note, NoteIter};
use std::collections::HashSet;

/// The file types of linked files: `ET_EXEC` and `ET_DYN`.
const LINKED: [u16; 2] = [2, 3];

/// Options of [`seal`](super::seal).
///
/// ```
/// use usdt_gen::seal::Options;
///
/// let options = Options { fix: true, ..Options::default() };
/// assert!(options.goid && !options.function_entries);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Append the goroutine id as the last argument, if its offset in the binary is known. Set by
    /// default.
    pub goid: bool,
    /// Repair notes that usdt-gen did not generate.
    pub fix: bool,
    /// Add notes at function entries for the probes of Go's runtime and standard library, for each
    /// provider that the binary has no probe of.
    pub function_entries: bool,
    /// Add notes of the provider `func` at these functions of a Go binary: `SYMBOL` at the entry and
    /// `SYMBOL%return` at the returns, with the wildcards of
    /// [`SymbolPattern`](gobinary::symbol_pattern::SymbolPattern).
    pub functions: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { goid: true, fix: false, function_entries: false, functions: Vec::new() }
    }
}

/// The inputs of the later stages.
pub(super) struct Inputs {
    /// The probes by site address, which is the order of declaration within a package.
    pub(super) probes: Vec<Probe>,
    /// Notes that usdt-gen did not generate, such as those of linked C code. They stay before ours.
    pub(super) third_party: Vec<Note>,
    /// The offset in bytes of `goid` in `runtime.g`; `None` if the notes get no goroutine id.
    pub(super) goid_offset: Option<u32>,
    /// [`Options::fix`].
    pub(super) fix: bool,
    /// True if the note section has to be rewritten because of its position or its type.
    pub(super) reorder: bool,
    /// Messages about functions that get no note.
    pub(super) warnings: Vec<String>,
}

/// Collects the inputs. Returns `None` if the file has no probes to seal and no notes to repair.
pub(super) fn collect(view: &View<'_>, options: &Options) -> Result<Option<Inputs>, SealError> {
    let blobs = blob::scan(view).into_iter().collect::<Result<Vec<_>, _>>()?;
    let has_notes = options.fix && view.section(note::SECTION).is_some();
    let describes_functions = options.function_entries || !options.functions.is_empty();
    if blobs.is_empty() && !has_notes && !describes_functions {
        return Ok(None);
    }
    // The kernel does not run such a file (ELF gABI, "Program Header").
    if view.segments.iter().any(|segment| segment.is_load() && segment.filesz > segment.memsz) {
        return Err(SealError::Layout("a segment is larger in the file than in memory"));
    }
    let Some(arch) = view.arch() else {
        return Err(SealError::Unsupported(format!(
            "unsupported architecture (e_machine {}): seal a 64-bit amd64 or arm64 file",
            view.machine()
        )));
    };
    if !LINKED.contains(&view.file_type()) {
        return Err(SealError::Unsupported(
            "not a linked executable or shared library: seal the output of the linker".into(),
        ));
    }
    let needs_go = options.goid && !blobs.is_empty() || describes_functions;
    let go = needs_go.then(|| GoBinary::parse(view.data())).flatten();
    let goid_offset = go.as_ref().filter(|_| options.goid).and_then(GoBinary::goid_offset);
    let mut probes = Vec::new();
    for blob in blobs {
        let mut note = blob.note;
        check_addresses(view, &note, arch)?;
        check_schema(&note, blob.schema)?;
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
    let mut third_party = third_party_notes(view, &probes, options.fix)?;
    if let Some(go) = go.as_ref().filter(|_| options.function_entries) {
        let notes = || probes.iter().map(|p| &p.note).chain(&third_party);
        let has = |provider: &str| notes().any(|note| note.provider == provider);
        let found = function_entries::probes(view, go, arch, has, goid_offset);
        probes.extend(found);
    }
    let mut warnings = Vec::new();
    if !options.functions.is_empty() {
        let go =
            go.as_ref().ok_or_else(|| SealError::Functions("it is not a Go binary".to_owned()))?;
        let found =
            function_notes::notes(view, go, arch, &options.functions, &third_party, goid_offset)?;
        probes.extend(found.probes);
        warnings = found.warnings;
    }
    probes.sort_by_key(|p| p.note.pc);
    if options.fix {
        for note in &mut third_party {
            repair(view, note, arch);
        }
    }
    if probes.is_empty() && third_party.is_empty() {
        return Ok(None);
    }
    let reorder = options.fix && needs_reordering(view);
    Ok(Some(Inputs { probes, third_party, goid_offset, fix: options.fix, reorder, warnings }))
}

/// Repairs the known defects of third-party notes: addresses from before prelinking, and 32-bit
/// register names on arm64, which libbpf and bcc do not know. Writing the note fixes base and size.
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
    let repaired = args.into_iter().map(|arg| match arg.value {
        Ok(mut value) => match &mut value.operand {
            Operand::Register(register) if register.bits == 32 => {
                register.bits = 64;
                value.to_spec(arch)
            }
            _ => arg.spec,
        },
        Err(_) => arg.spec,
    });
    note.args = repaired.collect::<Vec<_>>().join(" ");
}

/// Returns true if the note section has the wrong type, or its header is before that of `.probes`
/// or of the first executable section.
fn needs_reordering(view: &View<'_>) -> bool {
    let at = |name: &str| view.sections.iter().position(|s| s.name == name);
    let notes = at(note::SECTION);
    let predecessors = [
        at(note::PROBES_SECTION),
        view.sections.iter().position(stapsdt::elf::Section::is_executable),
    ];
    let is_unloaded_note =
        notes.and_then(|at| view.sections.get(at)).is_some_and(|s| s.is_note() && !s.is_alloc());
    !is_unloaded_note || predecessors.iter().flatten().any(|at| Some(*at) > notes)
}

/// Checks the addresses of a note against the file: the site has the stub's instructions in an
/// executable segment, and the semaphore is in a file-backed, writable, non-executable one.
fn check_addresses(view: &View<'_>, note: &Note, arch: Arch) -> Result<(), SealError> {
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

/// A schema in the headers, which sealing changes, would be another one the next time.
fn check_schema(note: &Note, schema: &str) -> Result<(), SealError> {
    let is_object =
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(schema).is_ok();
    if schema.is_empty() || is_object {
        return Ok(());
    }
    let probe = format!("{}:{}", note.provider, note.name);
    Err(SealError::Inconsistent { probe, problem: "its schema is not a JSON object" })
}

/// Appends the goroutine id, which the stub loads into a register. Stubs whose arguments reach the
/// limit of the tracers have no such register.
fn append_goid(note: &mut Note, register: u8, arch: Arch) {
    let operand = Operand::Register(Register::gpr(register));
    let arg = Value { size: 8, signed: false, float: false, operand }.to_spec(arch);
    if !note.args.is_empty() {
        note.args.push(' ');
    }
    note.args.push_str(&arg);
}

/// Returns the notes of the file that describe none of our blobs. With `fix`, note sections of the
/// wrong type are read, too.
fn third_party_notes(view: &View<'_>, ours: &[Probe], fix: bool) -> Result<Vec<Note>, SealError> {
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
