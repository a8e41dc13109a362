//! bcc (`tplist`, `trace`, `argdist`), and with it bpftrace up to 0.23: `src/cc/bcc_elf.c` (`listprobes`,
//! `do_note_segment`) and `src/cc/usdt/usdt_args.cc` of bcc 0.26.
//!
//! It walks the section headers once: to the first executable section, from there to `.probes`, from there to the
//! notes. What stands before the previous stop is not seen, but for a walk that found nothing, which starts anew.

use super::{FIX, File, OTHER_OPERAND, Probe, Verdict, first_bad, known_register};
use stapsdt::argspec::{Arch, Arg, Operand, Register, RegisterId};
use stapsdt::elf::Section;
use stapsdt::note;

pub(super) fn judge(file: &File<'_>, probe: &Probe) -> Verdict {
    if let Some(verdict) = file.well_named(probe) {
        return verdict;
    }
    let Some(arch) = file.arch() else {
        return Verdict::rejected("the model knows 64-bit amd64 and arm64 files only", "none");
    };
    let sections = &file.view.sections;
    if !sections.get(probe.section).is_some_and(Section::is_note) {
        return Verdict::rejected("the section of notes has not the type SHT_NOTE", FIX);
    }
    let text = sections.iter().position(Section::is_executable);
    let behind = |at: usize| text.is_none_or(|text| at > text);
    let probes =
        sections.iter().enumerate().find(|(at, s)| behind(*at) && s.name == note::PROBES_SECTION);
    if let Some((at, _)) = probes
        && probe.section < at
    {
        return Verdict::rejected(
            "the header of `.note.stapsdt` stands before that of `.probes`, and notes are looked for behind it",
            FIX,
        );
    }
    if !probe.exact {
        return Verdict::rejected(
            "the note's descsz counts its padding, and notes that do not end with their arguments are skipped",
            FIX,
        );
    }
    let first = text.and_then(|at| sections.get(at)).map_or(0, |s| s.addr);
    if probe.note.pc < first {
        return Verdict::rejected(
            format!("its address {:#x} is before the first executable section", probe.note.pc),
            "link the program anew: its notes are of another layout",
        );
    }
    semaphore(file, probe).unwrap_or_else(|| arguments(probe, arch))
}

fn semaphore(file: &File<'_>, probe: &Probe) -> Option<Verdict> {
    if probe.note.semaphore == 0 {
        return None;
    }
    if file.several_semaphores.contains(&(probe.note.provider.clone(), probe.note.name.clone())) {
        return Some(Verdict::partial(
            "its sites have semaphores of their own, and one per probe is counted up",
            "use one semaphore for all sites of a probe",
        ));
    }
    match file.semaphore_offsets(probe) {
        (_, None) => Some(Verdict::partial(
            "without a section `.probes` its semaphore is counted up for a given process only",
            FIX,
        )),
        (actual, by_section) if actual != by_section => Some(Verdict::rejected(
            "`.probes` is not in its semaphore's segment, and another place would be counted up",
            "put the semaphore into .probes",
        )),
        _ => None,
    }
}

fn arguments(probe: &Probe, arch: Arch) -> Verdict {
    match first_bad(probe, |arg| readable(arg, arch)) {
        Some((at, text)) => {
            let mend =
                if arch == Arch::Aarch64 && text.contains("@w") { FIX } else { OTHER_OPERAND };
            let reason =
                format!("argument {at}, `{text}`, is not read, and those behind it move up");
            Verdict::partial(reason, mend)
        }
        None => Verdict::Accepted,
    }
}

fn readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    if value.float {
        return false;
    }
    let register = |r: &Register| known_register(r, arch);
    match &value.operand {
        Operand::Constant(expr) => expr.symbol.is_none() && !arg.spec.contains('#'),
        Operand::Register(r) => register(r),
        Operand::Memory { disp, base: Some(base), index } => {
            let through_ip = base.id == RegisterId::Pc;
            register(base)
                && !arg.spec.contains('#')
                && (disp.symbol.is_none() || through_ip)
                && index.as_ref().is_none_or(|i| arch == Arch::X86_64 && register(&i.register))
        }
        Operand::Memory { base: None, .. } => false,
    }
}
