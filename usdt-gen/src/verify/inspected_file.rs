//! A file with its notes parsed, as the input of all models.

use super::verdict::Verdict;
use stapsdt::argspec::{self, Arch, Arg, Register, RegisterId};
use stapsdt::elf::{Section, View};
use stapsdt::note::{self, Note, NoteIter};
use std::collections::{HashMap, HashSet};

/// A file and the probes of its notes.
pub(super) struct InspectedFile<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) probes: Vec<InspectedProbe>,
    /// The first entry in a section named [`note::SECTION`] that is not a valid probe note,
    /// described for a message; `None` if all are valid.
    pub(super) invalid_note: Option<String>,
    pub(super) has_build_id: bool,
    /// Provider and name of the probes whose sites do not share one semaphore.
    pub(super) probes_with_several_semaphores: HashSet<(String, String)>,
}

/// A probe's note, and properties of its encoding that some tracers depend on.
pub(super) struct InspectedProbe {
    pub(super) note: Note,
    pub(super) args: Vec<Arg>,
    /// The index of the note's section.
    pub(super) section: usize,
    /// True if the descriptor's size does not include padding.
    pub(super) has_exact_size: bool,
}

impl<'a> InspectedFile<'a> {
    pub(super) fn new(view: &'a View<'a>) -> InspectedFile<'a> {
        let mut file = InspectedFile {
            view,
            probes: Vec::new(),
            invalid_note: None,
            has_build_id: view.build_id().is_some(),
            probes_with_several_semaphores: HashSet::new(),
        };
        // Sections with the right name and the wrong type are read too, so that they get a verdict.
        let sections = view
            .sections
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_note() || s.name == note::SECTION);
        for (index, section) in sections {
            let invalid_note = file.read_notes(index, section);
            if section.name == note::SECTION && file.invalid_note.is_none() {
                file.invalid_note = invalid_note;
            }
        }
        let mut semaphores: HashMap<(&str, &str), u64> = HashMap::new();
        for note in file.probes.iter().map(|p| &p.note) {
            let first = semaphores.entry((&note.provider, &note.name)).or_insert(note.semaphore);
            if *first != note.semaphore {
                file.probes_with_several_semaphores
                    .insert((note.provider.clone(), note.name.clone()));
            }
        }
        file
    }

    /// Adds a section's probes and returns a description of its first invalid note.
    fn read_notes(&mut self, index: usize, section: &Section) -> Option<String> {
        let format = self.view.format();
        let mut notes = NoteIter::new(self.view.section_data(section).unwrap_or_default(), format);
        let mut invalid = None;
        loop {
            let raw = match notes.next_note() {
                Ok(None) => return invalid,
                Ok(Some(raw)) => raw,
                Err(error) => return invalid.or(Some(format!("an invalid note: {error}"))),
            };
            if !raw.is_stapsdt() {
                let owner = String::from_utf8_lossy(raw.owner);
                invalid =
                    invalid.or(Some(format!("a note of owner `{owner}`, type {}", raw.n_type)));
                continue;
            }
            match raw.decode(format) {
                Ok(note) => {
                    let has_exact_size = raw.desc.len() == note.desc_size(format);
                    let arch = self.view.arch().unwrap_or(Arch::X86_64);
                    let args = argspec::parse(&note.args, arch);
                    self.probes.push(InspectedProbe { note, args, section: index, has_exact_size });
                }
                Err(error) => {
                    invalid = invalid.or(Some(format!("an invalid note: {error}")));
                }
            }
        }
    }

    pub(super) fn arch(&self) -> Option<Arch> {
        self.view.arch()
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.view.section(name)
    }

    /// Returns the index of the first section with this name.
    pub(super) fn section_index(&self, name: &str) -> Option<usize> {
        self.view.sections.iter().position(|s| s.name == name)
    }

    /// Rejects the probe if its section does not have the name that most tracers look for.
    pub(super) fn check_section_name(&self, probe: &InspectedProbe) -> Option<Verdict> {
        let name = self.view.sections.get(probe.section).map_or("", |s| s.name.as_str());
        (name != note::SECTION).then(|| {
            Verdict::rejected(
                format!("its note is in section `{name}`, not in `{}`", note::SECTION),
                "rename the section with objcopy --rename-section",
            )
        })
    }

    /// Returns the address of the site with prelinking undone, as libbpf and SystemTap compute it.
    pub(super) fn relocated_pc(&self, probe: &InspectedProbe) -> u64 {
        match self.section(note::BASE_SECTION) {
            Some(base) if base.addr != 0 && probe.note.base != 0 => {
                probe.note.pc.wrapping_add(base.addr).wrapping_sub(probe.note.base)
            }
            _ => probe.note.pc,
        }
    }

    /// Returns the file offsets of a probe's semaphore.
    pub(super) fn semaphore_offsets(&self, probe: &InspectedProbe) -> SemaphoreOffsets {
        let address = probe.note.semaphore;
        let by_probes_section = self
            .section(note::PROBES_SECTION)
            .map(|s| address.wrapping_sub(s.addr).wrapping_add(s.offset));
        SemaphoreOffsets { actual: self.view.vaddr_to_offset(address), by_probes_section }
    }
}

/// The file offset of a semaphore, computed in two ways.
pub(super) struct SemaphoreOffsets {
    /// The offset according to the segments; `None` if no byte of the file backs the semaphore.
    pub(super) actual: Option<u64>,
    /// The offset according to the `.probes` section; `None` if the file has no such section.
    pub(super) by_probes_section: Option<u64>,
}

/// An argument that a model cannot read.
pub(super) struct UnreadableArg<'a> {
    /// The argument's position, from 0.
    pub(super) position: usize,
    /// The argument's specification.
    pub(super) spec: &'a str,
}

/// Returns the first argument that does not satisfy `is_readable`.
pub(super) fn first_unreadable(
    probe: &InspectedProbe,
    is_readable: impl Fn(&Arg) -> bool,
) -> Option<UnreadableArg<'_>> {
    let mut args = probe.args.iter().enumerate();
    args.find(|(_, arg)| !is_readable(arg))
        .map(|(position, arg)| UnreadableArg { position, spec: &arg.spec })
}

/// Returns true for general-purpose registers whose names libbpf, bcc and perf know. They do not
/// know the high bytes of amd64 and the 32-bit names of arm64.
pub(super) fn is_known_register(register: &Register, arch: Arch) -> bool {
    match (register.id, arch) {
        (RegisterId::Gpr(_) | RegisterId::Pc, Arch::X86_64) => register.shift == 0,
        (RegisterId::Gpr(_) | RegisterId::Sp, Arch::Aarch64) => register.bits == 64,
        _ => false,
    }
}
