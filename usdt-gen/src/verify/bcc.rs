//! The model of bcc 0.26 (`tplist`, `trace`, `argdist`) and of bpftrace up to 0.23, which uses bcc:
//! `listprobes` and `do_note_segment` of `src/cc/bcc_elf.c`, and `src/cc/usdt/usdt_args.cc`.
//!
//! bcc walks the section headers once, in three steps: to the first executable section, from there
//! to `.probes`, and from there to the notes. It misses a section before the current step, unless a
//! step finds nothing; the next step then starts at the first header again.

use super::inspected_file::{InspectedFile, InspectedProbe, first_unreadable, is_known_register};
use super::verdict::{HINT_FIX, HINT_OTHER_OPERAND, HINT_RELINK, Verdict};
use stapsdt::argspec::{Arch, Arg, Operand, RegisterId};
use stapsdt::elf::Section;
use stapsdt::note;

pub(super) fn judge(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Verdict {
    if let Some(verdict) = file.check_section_name(probe) {
        return verdict;
    }
    let Some(arch) = file.arch() else { return Verdict::unknown_architecture() };
    let sections = &file.view.sections;
    if !sections.get(probe.section).is_some_and(Section::is_note) {
        return Verdict::rejected("the note section does not have the type SHT_NOTE", HINT_FIX);
    }
    let text = sections.iter().position(Section::is_executable);
    let probes = sections.iter().enumerate().find(|(index, section)| {
        text.is_none_or(|text| *index > text) && section.name == note::PROBES_SECTION
    });
    if let Some((index, _)) = probes
        && probe.section < index
    {
        return Verdict::rejected(
            "the section header of `.note.stapsdt` is before that of `.probes`, and bcc expects it after that",
            HINT_FIX,
        );
    }
    if !probe.has_exact_size {
        return Verdict::rejected(
            "the note's descsz includes padding, and bcc skips notes that do not end with their arguments",
            HINT_FIX,
        );
    }
    let text_address = text.and_then(|index| sections.get(index)).map_or(0, |s| s.addr);
    if probe.note.pc < text_address {
        return Verdict::rejected(
            format!("its address {:#x} is before the first executable section", probe.note.pc),
            HINT_RELINK,
        );
    }
    check_semaphore(file, probe).unwrap_or_else(|| judge_arguments(probe, arch))
}

/// Returns a verdict if bcc cannot increment the probe's semaphore.
fn check_semaphore(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Option<Verdict> {
    if probe.note.semaphore == 0 {
        return None;
    }
    let name = (probe.note.provider.clone(), probe.note.name.clone());
    if file.probes_with_several_semaphores.contains(&name) {
        return Some(Verdict::partial(
            "each of its sites has its own semaphore, but bcc increments one per probe",
            "use one semaphore for all sites of a probe",
        ));
    }
    let offsets = file.semaphore_offsets(probe);
    match offsets.by_probes_section {
        None => Some(Verdict::partial(
            "without a section `.probes`, bcc increments its semaphore only for a process given by PID",
            HINT_FIX,
        )),
        by_probes_section if offsets.actual != by_probes_section => Some(Verdict::rejected(
            "`.probes` is not in its semaphore's segment, so bcc would increment another place",
            "put the semaphore into .probes",
        )),
        _ => None,
    }
}

fn judge_arguments(probe: &InspectedProbe, arch: Arch) -> Verdict {
    match first_unreadable(probe, |arg| is_readable(arg, arch)) {
        Some(arg) => {
            // `seal --fix` rewrites the 32-bit register names of arm64.
            let is_narrow = arch == Arch::Aarch64 && arg.spec.contains("@w");
            let reason = format!(
                "argument {}, `{}`, is not read, so the positions of those after it are wrong",
                arg.position, arg.spec
            );
            Verdict::partial(reason, if is_narrow { HINT_FIX } else { HINT_OTHER_OPERAND })
        }
        None => Verdict::Accepted,
    }
}

fn is_readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    if value.size > 8 || value.float {
        return false;
    }
    match &value.operand {
        Operand::Constant(expr) => expr.symbol.is_none() && !arg.spec.contains('#'),
        Operand::Register(register) => is_known_register(register, arch),
        Operand::Memory { disp, base: Some(base), index } => {
            let is_ip_relative = base.id == RegisterId::Pc;
            is_known_register(base, arch)
                && !arg.spec.contains('#')
                && (disp.symbol.is_none() || is_ip_relative)
                && index.as_ref().is_none_or(|index| {
                    arch == Arch::X86_64 && is_known_register(&index.register, arch)
                })
        }
        Operand::Memory { base: None, .. } => false,
    }
}
