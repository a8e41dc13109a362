//! The probes of one file, read from its notes and, in unsealed Go binaries, from blobs in its
//! data.

use super::file_bytes::FileBytes;
use super::object::Object;
use super::probe::{Probe, SchemaSource, Source};
use super::{catalog, known};
use crate::error::{Error, Result, Warning, WarningKind};
use gobinary::GoBinary;
use gobinary::symbol_pattern::FUNCTIONS;
use stapsdt::argspec::{self, Arch};
use stapsdt::blob;
use stapsdt::elf::View;
use stapsdt::escape::Escaped;
use stapsdt::note::{self, Note, NoteIter};
use stapsdt::schema::{self, NoteBody};
use stapsdt::site::{self, Instruction};
use stapsdt::source::Source as _;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// `PT_NOTE` (gABI, "Program Header").
const PT_NOTE: u32 = 4;

/// Number of notes read from a file at most. Real programs have fewer; a hostile file must not
/// exhaust memory.
const MAX_NOTES: usize = 1 << 15;
/// Size of the largest note descriptor that is read, in bytes.
const MAX_NOTE_LEN: usize = 1 << 16;
/// Size of all notes that are read from a file, in bytes.
const MAX_NOTES_SIZE: u64 = 8 << 20;
/// Size of all schemas that the probes of a file get, in bytes. Notes can share a schema, but each
/// probe has a copy.
const MAX_SCHEMAS_SIZE: usize = 8 << 20;
/// Number of warnings kept for a file; a damaged file could cause thousands.
const MAX_WARNINGS: usize = 50;

/// Sections that identify a Go binary; the data of other binaries is not searched for blobs.
const GO_SECTIONS: [&str; 3] = [".noptrdata", ".go.buildinfo", ".gopclntab"];

/// Returns the probes of a file, and warnings about notes and blobs that cannot be used.
pub(super) fn scan(object: &Object) -> Result<(Vec<Probe>, Vec<Warning>)> {
    let bytes = object.bytes();
    let view = object.view(&bytes)?;
    let mut scanner = Scanner {
        view: &view,
        probes: Vec::new(),
        warnings: Warnings::default(),
        goid: None,
        notes_left: MAX_NOTES,
        bytes_left: MAX_NOTES_SIZE,
        schemas_left: MAX_SCHEMAS_SIZE,
    };
    scanner.notes().map_err(|problem| Error::object(object.path.clone(), problem))?;
    if view.arch().is_some() {
        let sealed = view.section(schema::SECTION).is_some();
        if !sealed && (view.sections.is_empty() || scanner.is_go()) {
            scanner.blobs();
        }
        scanner.resolve_symbols();
    }
    let Scanner { probes, warnings, .. } = scanner;
    let name = Escaped::new(&object.path);
    let mut out: Vec<Warning> = warnings
        .into_messages()
        .map(|w| Warning::new(WarningKind::InvalidNote, format!("{name}: {w}")))
        .collect();
    match bytes.check(object).and_then(|()| object.check_unchanged()) {
        Err(error) if probes.is_empty() => return Err(error),
        Err(error) => {
            let message = format!("{error:#}; some of its probes may be missing");
            out.push(Warning::new(WarningKind::SkippedObject, message));
        }
        Ok(()) => {}
    }
    Ok((probes, out))
}

/// The warnings about a file, the first [`MAX_WARNINGS`] of them.
#[derive(Default)]
struct Warnings {
    messages: Vec<String>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, message: impl FnOnce() -> String) {
        if self.messages.len() < MAX_WARNINGS {
            self.messages.push(message());
        } else {
            self.more += 1;
        }
    }

    /// Adds a warning before the others.
    fn push_front(&mut self, message: String) {
        self.messages.insert(0, message);
    }

    fn into_messages(self) -> impl Iterator<Item = String> {
        let more = (self.more > 0)
            .then(|| format!("{} more warnings of this kind are not shown", self.more));
        self.messages.into_iter().chain(more)
    }
}

struct Scanner<'v, 'a> {
    view: &'v View<'a, &'a FileBytes>,
    probes: Vec<Probe>,
    warnings: Warnings,
    /// The offset of the goroutine id, computed when it is first needed; the inner `None` means not
    /// known.
    goid: Option<Option<u32>>,
    /// The number of notes that may still be read.
    notes_left: usize,
    /// The number of bytes of notes that may still be read.
    bytes_left: u64,
    /// The number of bytes of schemas that probes may still get.
    schemas_left: usize,
}

impl Scanner<'_, '_> {
    fn notes(&mut self) -> std::result::Result<(), String> {
        // Only a sealed file has a schema section; the blobs of an unsealed file carry their own
        // schemas.
        let sealed =
            self.view.section(schema::SECTION).map(|_| schema::read(self.view)).unwrap_or_default();
        let schemas: HashMap<(String, String), schema::Probe> =
            sealed.into_iter().map(|b| ((b.provider, b.probe.name.clone()), b.probe)).collect();
        if self.view.sections.is_empty() {
            // The section headers were stripped; segments still locate the notes that are loaded.
            let notes = self.view.segments.iter().filter(|s| s.kind == PT_NOTE);
            let mut ranges: Vec<(u64, u64)> = notes.map(|s| (s.offset, s.filesz)).collect();
            ranges.sort_unstable();
            // Segments of a hostile file can overlap.
            let mut end = 0;
            for (offset, size) in ranges {
                if offset >= end {
                    end = offset.saturating_add(size);
                    self.read(offset, size, &schemas);
                }
            }
            return Ok(());
        }
        let Some(section) = self.view.section(note::SECTION).filter(|s| s.is_note()) else {
            return Ok(());
        };
        let (offset, size) = (section.offset, section.size);
        if offset.checked_add(size).is_none_or(|end| end > self.view.source().size()) {
            return Err(
                "section .note.stapsdt lies outside the file (is the file truncated?)".into()
            );
        }
        self.read(offset, size, &schemas);
        Ok(())
    }

    /// Reads the notes at a file offset.
    fn read(&mut self, offset: u64, size: u64, schemas: &HashMap<(String, String), schema::Probe>) {
        let len = size.min(self.bytes_left);
        self.bytes_left -= len;
        let Some(data) = self.view.bytes_at_offset(offset, len) else { return };
        // Prelinking moves addresses but not notes. The distance is that between `.stapsdt.base`
        // and the note's base.
        let base = self.view.section(note::BASE_SECTION).map(|s| s.addr);
        let mut notes = NoteIter::new(data, self.view.format());
        loop {
            let decoded = match notes.next_note() {
                Ok(None) | Err(_) if len < size => {
                    self.warnings.push_front(format!(
                        "more than {} MiB of notes; skipped the others",
                        MAX_NOTES_SIZE >> 20
                    ));
                    return;
                }
                Ok(None) => return,
                Ok(Some(raw)) if !raw.is_stapsdt() => continue,
                Ok(Some(_)) if self.notes_left == 0 => {
                    self.warnings
                        .push_front(format!("more than {MAX_NOTES} notes; skipped the others"));
                    return;
                }
                Ok(Some(raw)) if raw.desc.len() > MAX_NOTE_LEN => {
                    self.warnings.push(|| {
                        format!("skipped a note of {} bytes (limit {MAX_NOTE_LEN})", raw.desc.len())
                    });
                    continue;
                }
                Ok(Some(raw)) => raw.decode(self.view.format()),
                Err(error) => Err(error),
            };
            self.notes_left = self.notes_left.saturating_sub(1);
            match decoded {
                Ok(mut note) => {
                    if let Some(base) = base.filter(|_| note.base != 0) {
                        note.pc = note.pc.wrapping_add(base.wrapping_sub(note.base));
                    }
                    let schema = schemas.get(&(note.provider.clone(), note.name.clone()));
                    let schema = schema.filter(|schema| self.is_within_limit(schema)).cloned();
                    if schema.is_none() && self.is_go() && catalog::has_provider(&note.provider) {
                        let words = argspec::split(&note.args).count();
                        let schema = catalog::schema_for_words(&note.provider, &note.name, words);
                        let goid = self.goid_offset();
                        let schema = schema.map(|schema| (schema, SchemaSource::Catalog));
                        self.add(note, schema, Source::Native, goid);
                        continue;
                    }
                    let goid = self.goid_without_word(&note, schema.as_ref());
                    let schema = match (schema, self.view.arch()) {
                        (Some(schema), _) => Some((schema, SchemaSource::Binary)),
                        (None, Some(arch)) => {
                            known::schema_for(&note.provider, &note.name, &note.args, arch)
                                .filter(|schema| self.is_within_limit(schema))
                                .map(|schema| (schema, SchemaSource::Known))
                        }
                        // The operands of other architectures are not parsed.
                        (None, None) => None,
                    };
                    self.add(note, schema, Source::Note, goid);
                }
                Err(error) => self.warnings.push(|| error.to_string()),
            }
        }
    }

    /// Returns true if a schema may be kept: all schemas together are not too large.
    fn is_within_limit(&mut self, schema: &schema::Probe) -> bool {
        let args = schema
            .args
            .iter()
            .map(|a| size_of::<schema::Arg>() + a.name.len() + a.ty.len() + a.doc.len());
        let size = args.sum::<usize>() + schema.name.len() + schema.doc.len();
        let Some(left) = self.schemas_left.checked_sub(size) else {
            let problem =
                "argument names are left out: the descriptions of all sites take more than";
            let name = &schema.name;
            self.warnings.push(|| format!("{name}: {problem} {} MiB", MAX_SCHEMAS_SIZE >> 20));
            return false;
        };
        self.schemas_left = left;
        true
    }

    fn is_go(&self) -> bool {
        GO_SECTIONS.iter().any(|s| self.view.section(s).is_some())
    }

    /// Returns the offset of the goroutine id for a note that has no word for it; `None` if the
    /// note has the word. It is missing if the note had no space left or was sealed without
    /// goroutine ids.
    fn goid_without_word(&mut self, note: &Note, schema: Option<&schema::Probe>) -> Option<u32> {
        let declared = schema?.words();
        (argspec::split(&note.args).count() == declared).then(|| self.goid_offset()).flatten()
    }

    fn goid_offset(&mut self) -> Option<u32> {
        let source = self.view.source();
        self.view.arch()?;
        *self.goid.get_or_insert_with(|| GoBinary::read(source).and_then(|go| go.goid_offset()))
    }

    fn blobs(&mut self) {
        let mut known: HashSet<u64> = self.probes.iter().map(|p| p.address).collect();
        for blob in blob::scan(self.view) {
            match blob {
                Ok(blob) => {
                    // A site with a note, too, was read already.
                    if !known.insert(blob.note.pc) {
                        continue;
                    }
                    let schema = NoteBody::from_json(blob.schema).map(|body| body.probe);
                    let schema = schema.map(|schema| (schema, SchemaSource::Binary));
                    let goid = self.goid_offset();
                    self.add(blob.note, schema, Source::Blob, goid);
                }
                Err(error) => self.warnings.push(|| error.to_string()),
            }
        }
    }

    fn add(
        &mut self,
        note: Note,
        schema: Option<(schema::Probe, SchemaSource)>,
        source: Source,
        goid: Option<u32>,
    ) {
        let view = self.view;
        let code_segment = view.load_segment(note.pc, 1).filter(|s| s.is_executable());
        let Some(code_segment) = code_segment else {
            self.warnings.push(|| {
                format!(
                    "skipped {}:{}: its address {:#x} is not in an executable segment",
                    note.provider, note.name, note.pc
                )
            });
            return;
        };
        let offset = code_segment.offset.saturating_add(note.pc - code_segment.vaddr);
        let semaphore = Some(note.semaphore).filter(|s| *s != 0);
        let semaphore_offset = semaphore.and_then(|s| {
            let segment = view.load_segment(s, 2).filter(|seg| seg.is_writable())?;
            segment.offset.checked_add(s - segment.vaddr)
        });
        if semaphore.is_some() && semaphore_offset.is_none() {
            self.warnings.push(|| {
                format!(
                    "{}:{}: its semaphore at {:#x} is not in file-backed data, so the kernel cannot increment it; the probe may never fire",
                    note.provider, note.name, note.semaphore
                )
            });
        }
        let arch = view.arch();
        let generated = arch.is_some_and(|arch| {
            view.bytes_at(note.pc, site::code(arch).len() as u64) == Some(site::code(arch))
        });
        // Enough for a pair of NOPs.
        let code = view.bytes_up_to(note.pc, 16).unwrap_or_default();
        let (schema, schema_source) = schema.unzip();
        let instruction = arch.map_or(Instruction::Other, |arch| Instruction::classify(code, arch));
        // `usdt-gen seal` writes notes of the catalog and of functions at function entries.
        let is_at_function = catalog::has_provider(&note.provider) || note.provider == FUNCTIONS;
        let stack_check = instruction == Instruction::Branch && is_at_function;
        let is_amd64 = arch == Some(Arch::X86_64);
        self.probes.push(Probe {
            provider: note.provider,
            name: note.name,
            address: note.pc,
            offset,
            semaphore,
            semaphore_offset,
            args: note.args,
            source,
            schema,
            schema_source,
            machine: view.machine_kind(),
            instruction,
            generated,
            stack_check,
            has_nop10: is_amd64 && site::has_nop_pair(code),
            risks_red_zone: is_amd64 && source == Source::Note && site::is_nop5(code),
            goid_offset: goid,
            enum_labels: Vec::new(),
            interfaces: Vec::new(),
            guards: Vec::new(),
            symbols: Arc::default(),
            injected: None,
        });
    }

    /// Looks up the symbols of all argument specifications in one pass, because symbol tables can
    /// be large.
    fn resolve_symbols(&mut self) {
        let Some(arch) = self.view.arch() else { return };
        let args = self.probes.iter().flat_map(|probe| argspec::parse(&probe.args, arch));
        let operands = args.filter_map(|arg| arg.value.ok()).map(|value| value.operand);
        let wanted: BTreeSet<String> =
            operands.filter_map(|operand| operand.symbol().map(str::to_owned)).collect();
        if wanted.is_empty() {
            return;
        }
        let known = self.view.symbols(wanted.iter().map(String::as_str));
        let known = known.into_iter().map(|(name, at)| (name.to_owned(), at)).collect();
        let known = Arc::new(known);
        for probe in &mut self.probes {
            probe.symbols = Arc::clone(&known);
        }
    }
}
