//! The probes of one object: from notes, else from unsealed blobs.

use super::catalogue;
use super::object::Object;
use crate::error::{Error, Result, Warning, WarningKind};
use serde::Serialize;
use stapsdt::argspec::{self, Arch};
use stapsdt::blob;
use stapsdt::elf::View;
use stapsdt::note::{self, Note, NoteIter};
use stapsdt::schema::{self, NoteBody};
use stapsdt::site::{self, Instruction};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Where a probe's description comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A note in `.note.stapsdt`.
    Note,
    /// A blob in the data of an unsealed Go binary.
    Blob,
    /// A note of the Go toolchain's own, of a provider of the catalogue.
    Native,
    /// The beginning of a function, where the catalogue says what is to be seen there.
    Entry,
}

/// Texts for numbers, in their order from 0 on.
pub type Names = &'static [&'static str];

/// One site of a probe. A probe with several sites appears once for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Provider name as written.
    pub provider: String,
    /// Probe name as written.
    pub name: String,
    /// Link-time virtual address of the site.
    pub address: u64,
    /// File offset of the site.
    pub offset: u64,
    /// Link-time address of the semaphore.
    pub semaphore: Option<u64>,
    /// File offset of the semaphore.
    pub semaphore_offset: Option<u64>,
    /// Argument specification as written.
    pub args: String,
    /// Where the description comes from.
    pub source: Source,
    /// Names and kinds, where known.
    pub schema: Option<schema::Probe>,
    /// Architecture of the object.
    pub arch: Arch,
    /// What the first instruction at the site is.
    pub instruction: Instruction,
    /// The site is one that `usdt-gen` makes, with its optimisable no-ops.
    pub generated: bool,
    /// Offset of the goroutine id in `runtime.g`, where the site is Go code.
    pub goid_offset: Option<u32>,
    /// Texts for the numbers of arguments, by their names.
    pub names: Vec<(String, Names)>,
    /// Link-time addresses of the symbols in the arguments of the object's probes, as far as its symbol tables have
    /// them.
    pub symbols: Arc<BTreeMap<String, u64>>,
}

impl Probe {
    /// `provider:name`.
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.provider, self.name)
    }

    /// The declaration, as far as it is known: names and types from the schema, else the raw specification.
    pub fn prototype(&self) -> String {
        let args: Vec<String> = match &self.schema {
            Some(schema) => schema.args.iter().map(schema::Arg::declaration).collect(),
            None => argspec::parse(&self.args, self.arch).into_iter().map(|a| a.spec).collect(),
        };
        format!("{}({})", self.full_name(), args.join(", "))
    }
}

/// The register that Go code has the running goroutine in.
pub(crate) fn running_goroutine(arch: Arch) -> u8 {
    match arch {
        Arch::X86_64 => gobinary::G_REGISTER_AMD64,
        Arch::Aarch64 => gobinary::G_REGISTER_ARM64,
    }
}

/// `PT_NOTE` (gABI, "Program Header").
const PT_NOTE: u32 = 4;

/// Most notes of a file that are looked at: no program has as many, and each takes memory.
const MOST_NOTES: usize = 1 << 15;
/// Longest descriptor of a note.
const LONGEST_NOTE: usize = 1 << 16;
/// Most warnings about a file; further ones say nothing new.
const MOST_WARNINGS: usize = 50;

/// Sections by which a Go binary is told from others, before its data is searched.
const GO_SECTIONS: [&str; 3] = [".noptrdata", ".go.buildinfo", ".gopclntab"];

pub(super) fn scan(object: &Object) -> Result<(Vec<Probe>, Vec<Warning>)> {
    let view = object.view()?;
    let mut scanner = Scanner { view: &view, probes: Vec::new(), warnings: Vec::new(), goid: None };
    if let Some(arch) = view.arch() {
        scanner.notes(arch).map_err(|problem| Error::object(object.path.clone(), problem))?;
        let sealed = view.section(schema::SECTION).is_some();
        if !sealed && (view.sections.is_empty() || scanner.is_go()) {
            scanner.blobs(arch);
        }
        scanner.resolve();
    }
    let more = scanner.warnings.len().saturating_sub(MOST_WARNINGS);
    if more > 0 {
        scanner.warnings.truncate(MOST_WARNINGS);
        scanner.warnings.push(format!("and {more} more of the kind"));
    }
    let name = object.path.display();
    let warnings = scanner
        .warnings
        .into_iter()
        .map(|w| Warning::new(WarningKind::InvalidNote, format!("{name}: {w}")));
    let warnings = warnings.collect();
    Ok((scanner.probes, warnings))
}

struct Scanner<'a> {
    view: &'a View<'a>,
    probes: Vec<Probe>,
    warnings: Vec<String>,
    /// Looked up once, when a blob needs it.
    goid: Option<Option<u32>>,
}

impl Scanner<'_> {
    fn notes(&mut self, arch: Arch) -> std::result::Result<(), String> {
        // An unsealed file's descriptions stand in its blobs, which are read for themselves.
        let sealed =
            self.view.section(schema::SECTION).map(|_| schema::read(self.view)).unwrap_or_default();
        let schemas: HashMap<(String, String), schema::Probe> =
            sealed.into_iter().map(|b| ((b.provider, b.probe.name.clone()), b.probe)).collect();
        if self.view.sections.is_empty() {
            // What is loaded is still described by segments.
            let notes = self.view.segments.iter().filter(|s| s.kind == PT_NOTE);
            for data in notes.filter_map(|s| self.view.bytes_at_offset(s.offset, s.filesz)) {
                self.read(data, arch, &schemas);
            }
            return Ok(());
        }
        let Some(section) = self.view.section(note::SECTION).filter(|s| s.is_note()) else {
            return Ok(());
        };
        let data = self
            .view
            .section_data(section)
            .ok_or("the notes lie outside the file (is it cut off?)")?;
        self.read(data, arch, &schemas);
        Ok(())
    }

    fn read(
        &mut self,
        data: &[u8],
        arch: Arch,
        schemas: &HashMap<(String, String), schema::Probe>,
    ) {
        // Prelinking moves everything by the distance that `.stapsdt.base` has moved.
        let base = self.view.section(note::BASE_SECTION).map(|s| s.addr);
        let mut notes = NoteIter::new(data, self.view.format());
        let mut left = MOST_NOTES;
        loop {
            let decoded = match notes.next_note() {
                Ok(None) => return,
                Ok(Some(raw)) if !raw.is_stapsdt() => continue,
                Ok(Some(_)) if left == 0 => {
                    self.warnings.insert(
                        0,
                        format!("more than {MOST_NOTES} notes; the others are left out"),
                    );
                    return;
                }
                Ok(Some(raw)) if raw.desc.len() > LONGEST_NOTE => {
                    self.warnings
                        .push(format!("a note of {} bytes is none; left out", raw.desc.len()));
                    continue;
                }
                Ok(Some(raw)) => raw.decode(self.view.format()),
                Err(error) => Err(error),
            };
            left -= 1;
            match decoded {
                Ok(mut note) => {
                    if let Some(base) = base.filter(|_| note.base != 0) {
                        note.pc = note.pc.wrapping_add(base.wrapping_sub(note.base));
                    }
                    let schema = schemas.get(&(note.provider.clone(), note.name.clone())).cloned();
                    if schema.is_none() && self.is_go() && catalogue::has_provider(&note.provider) {
                        let words = argspec::parse(&note.args, arch).len();
                        let schema = catalogue::schema(&note.provider, &note.name, words);
                        let goid = self.goid_offset();
                        self.add(note, schema, Source::Native, arch, goid);
                        continue;
                    }
                    let goid = self.goid_beside(&note, schema.as_ref(), arch);
                    self.add(note, schema, Source::Note, arch, goid);
                }
                Err(error) => self.warnings.push(error.to_string()),
            }
        }
    }

    fn is_go(&self) -> bool {
        GO_SECTIONS.iter().any(|s| self.view.section(s).is_some())
    }

    /// A sealed note without room for the goroutine id (or sealed without it): the file may still tell its place.
    fn goid_beside(
        &mut self,
        note: &Note,
        schema: Option<&schema::Probe>,
        arch: Arch,
    ) -> Option<u32> {
        let declared = schema?.words();
        (argspec::parse(&note.args, arch).len() == declared).then(|| self.goid_offset()).flatten()
    }

    fn goid_offset(&mut self) -> Option<u32> {
        let data = self.view.data();
        *self
            .goid
            .get_or_insert_with(|| gobinary::GoBinary::parse(data).and_then(|go| go.goid_offset()))
    }

    fn blobs(&mut self, arch: Arch) {
        for blob in blob::scan(self.view) {
            match blob {
                Ok(blob) => {
                    // A blob beside its note says nothing new.
                    if self.probes.iter().any(|p| p.address == blob.note.pc) {
                        continue;
                    }
                    let schema = NoteBody::from_json(blob.schema).map(|body| body.probe);
                    let goid = self.goid_offset();
                    self.add(blob.note, schema, Source::Blob, arch, goid);
                }
                Err(error) => self.warnings.push(error.to_string()),
            }
        }
    }

    fn add(
        &mut self,
        note: Note,
        schema: Option<schema::Probe>,
        source: Source,
        arch: Arch,
        goid: Option<u32>,
    ) {
        let view = self.view;
        let text = view.load_segment(note.pc, 1).filter(|s| s.is_executable());
        let Some(text) = text else {
            self.warnings.push(format!(
                "{}:{} at {:#x} is in no executable segment; left out",
                note.provider, note.name, note.pc
            ));
            return;
        };
        let offset = text.offset.saturating_add(note.pc - text.vaddr);
        let semaphore = Some(note.semaphore).filter(|s| *s != 0);
        let semaphore_offset = semaphore.and_then(|s| {
            let segment = view.load_segment(s, 2).filter(|seg| seg.is_writable())?;
            segment.offset.checked_add(s - segment.vaddr)
        });
        if semaphore.is_some() && semaphore_offset.is_none() {
            self.warnings.push(format!(
                "{}:{}: its semaphore at {:#x} is in no file-backed data; the probe may never fire",
                note.provider, note.name, note.semaphore
            ));
        }
        let generated =
            view.bytes_at(note.pc, site::code(arch).len() as u64) == Some(site::code(arch));
        let code = view.bytes_up_to(note.pc, 4).unwrap_or_default();
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
            arch,
            instruction: Instruction::classify(code, arch),
            generated,
            goid_offset: goid,
            names: Vec::new(),
            symbols: Arc::default(),
        });
    }

    /// Looks up the symbols in all arguments at once: tables may be large.
    fn resolve(&mut self) {
        let args = self.probes.iter().flat_map(|probe| argspec::parse(&probe.args, probe.arch));
        let operands = args.filter_map(|arg| arg.value.ok()).map(|value| value.operand);
        let wanted: BTreeSet<String> =
            operands.filter_map(|operand| operand.symbol().map(str::to_owned)).collect();
        if wanted.is_empty() {
            return;
        }
        let known =
            self.view.symbols(|name| std::str::from_utf8(name).is_ok_and(|n| wanted.contains(n)));
        let known: BTreeMap<String, u64> = known
            .into_iter()
            .filter_map(|(name, at)| Some((String::from_utf8(name).ok()?, at)))
            .collect();
        let known = Arc::new(known);
        for probe in &mut self.probes {
            probe.symbols = Arc::clone(&known);
        }
    }
}
