//! Which tracers accept the probes of a binary, and why the others do not.
//!
//! Each consumer reads the same notes in a way of its own. A module per consumer models how that one finds a
//! note, computes addresses and reads arguments, from its source; the models hold for ELF files of any language.

mod bcc;
mod gdb;
mod libbpf;
mod perf;
mod systemtap;

use serde::Serialize;
use stapsdt::argspec::{self, Arch, Arg, Register, RegisterId};
use stapsdt::elf::{Section, View};
use stapsdt::note::{self, Note, NoteIter};
use std::collections::{HashMap, HashSet};

/// What one consumer makes of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `libbpf`, `bcc`, `gdb`, `perf` or `systemtap`.
    pub consumer: &'static str,
    /// Provider name.
    pub provider: String,
    /// Probe name.
    pub probe: String,
    /// Link-time address of the site: probes may have several.
    pub address: u64,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Found, with every argument.
    Accepted,
    /// Found, but something of it is lost.
    Partial(Trouble),
    /// Not found, or found in the wrong place.
    Rejected(Trouble),
}

/// What is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Why.
    pub reason: String,
    /// The way out.
    pub mend: String,
}

/// Repairs notes as well as sections.
const FIX: &str = "usdt-gen seal --fix";
const OTHER_OPERAND: &str = "pass the value in a general register or on the stack";

impl Verdict {
    fn rejected(reason: impl Into<String>, mend: impl Into<String>) -> Verdict {
        Verdict::Rejected(Trouble { reason: reason.into(), mend: mend.into() })
    }

    fn partial(reason: impl Into<String>, mend: impl Into<String>) -> Verdict {
        Verdict::Partial(Trouble { reason: reason.into(), mend: mend.into() })
    }
}

/// A file as all models see it.
struct File<'a> {
    view: &'a View<'a>,
    probes: Vec<Probe>,
    /// What stands in note sections named [`note::SECTION`] and is no probe, as text.
    strange: Option<String>,
    build_id: bool,
    /// Provider and name of probes whose sites have semaphores of their own.
    several_semaphores: HashSet<(String, String)>,
}

/// A note and how it is written.
struct Probe {
    note: Note,
    args: Vec<Arg>,
    /// Index of its section.
    section: usize,
    /// The descriptor's size is that of its content.
    exact: bool,
}

/// A consumer: its name and its model.
type Model = (&'static str, fn(&File<'_>, &Probe) -> Verdict);

const MODELS: [Model; 5] = [
    ("libbpf", libbpf::judge),
    ("bcc", bcc::judge),
    ("gdb", gdb::judge),
    ("perf", perf::judge),
    ("systemtap", systemtap::judge),
];

/// One row per consumer and probe, in that order. Empty for files without notes.
pub fn verify(view: &View<'_>) -> Vec<Row> {
    let file = File::new(view);
    let rows = MODELS.iter().flat_map(|(consumer, judge)| {
        file.probes.iter().map(|probe| Row {
            consumer,
            provider: probe.note.provider.clone(),
            probe: probe.note.name.clone(),
            address: probe.note.pc,
            verdict: judge(&file, probe),
        })
    });
    rows.collect()
}

impl<'a> File<'a> {
    fn new(view: &'a View<'a>) -> File<'a> {
        let mut file = File {
            view,
            probes: Vec::new(),
            strange: None,
            build_id: view.build_id().is_some(),
            several_semaphores: HashSet::new(),
        };
        // A section of that name is looked at whatever its type is: that it is wrong is worth a row.
        let sections = view
            .sections
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_note() || s.name == note::SECTION);
        for (at, section) in sections {
            let strange = file.read(at, section);
            if section.name == note::SECTION && file.strange.is_none() {
                file.strange = strange;
            }
        }
        let mut semaphores: HashMap<(&str, &str), u64> = HashMap::new();
        for note in file.probes.iter().map(|p| &p.note) {
            let first = semaphores.entry((&note.provider, &note.name)).or_insert(note.semaphore);
            if *first != note.semaphore {
                file.several_semaphores.insert((note.provider.clone(), note.name.clone()));
            }
        }
        file
    }

    /// Collects a section's probes; returns what is strange about its notes.
    fn read(&mut self, at: usize, section: &Section) -> Option<String> {
        let format = self.view.format();
        let mut notes = NoteIter::new(self.view.section_data(section).unwrap_or_default(), format);
        let mut strange = None;
        loop {
            let raw = match notes.next_note() {
                Ok(None) => return strange,
                Ok(Some(raw)) => raw,
                Err(error) => return strange.or(Some(error.to_string())),
            };
            if !raw.is_stapsdt() {
                let owner = String::from_utf8_lossy(raw.owner);
                strange =
                    strange.or(Some(format!("a note of owner `{owner}`, type {}", raw.n_type)));
                continue;
            }
            match raw.decode(format) {
                Ok(note) => {
                    let exact = raw.desc.len() == note.desc_size(format);
                    let arch = self.view.arch().unwrap_or(Arch::X86_64);
                    let args = argspec::parse(&note.args, arch);
                    self.probes.push(Probe { note, args, section: at, exact });
                }
                Err(error) => strange = strange.or(Some(error.to_string())),
            }
        }
    }

    fn arch(&self) -> Option<Arch> {
        self.view.arch()
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.view.section(name)
    }

    /// Index of the first section of a name.
    fn index(&self, name: &str) -> Option<usize> {
        self.view.sections.iter().position(|s| s.name == name)
    }

    /// Whether the probe's section has the one name that most consumers look for.
    fn well_named(&self, probe: &Probe) -> Option<Verdict> {
        let name = self.view.sections.get(probe.section).map_or("", |s| s.name.as_str());
        (name != note::SECTION).then(|| {
            Verdict::rejected(
                format!("its note is in section `{name}`, not in `{}`", note::SECTION),
                "rename the section with objcopy --rename-section",
            )
        })
    }

    /// Address of the site after prelinking is undone, as libbpf and SystemTap do it.
    fn relocated(&self, probe: &Probe) -> u64 {
        match self.section(note::BASE_SECTION) {
            Some(base) if base.addr != 0 && probe.note.base != 0 => {
                probe.note.pc.wrapping_add(base.addr).wrapping_sub(probe.note.base)
            }
            _ => probe.note.pc,
        }
    }

    /// The file offset that a semaphore has, and the one that the `.probes` section leads to.
    fn semaphore_offsets(&self, probe: &Probe) -> (Option<u64>, Option<u64>) {
        let address = probe.note.semaphore;
        let by_section = self
            .section(note::PROBES_SECTION)
            .map(|s| address.wrapping_sub(s.addr).wrapping_add(s.offset));
        (self.view.vaddr_to_offset(address), by_section)
    }
}

/// The first argument that a model cannot read, with its position and text.
fn first_bad(probe: &Probe, readable: impl Fn(&Arg) -> bool) -> Option<(usize, &str)> {
    let mut args = probe.args.iter().enumerate();
    args.find(|(_, arg)| !readable(arg)).map(|(at, arg)| (at, arg.spec.as_str()))
}

/// A general register by a name that libbpf, bcc and perf know: not amd64's high bytes, 64 bits wide on arm64.
fn known_register(register: &Register, arch: Arch) -> bool {
    match (register.id, arch) {
        (RegisterId::Gpr(_) | RegisterId::Pc, Arch::X86_64) => register.shift == 0,
        (RegisterId::Gpr(_) | RegisterId::Sp, Arch::Aarch64) => register.bits == 64,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
