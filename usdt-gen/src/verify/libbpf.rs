//! The model of libbpf and of bpftrace since its 2025 releases, which uses libbpf:
//! `collect_usdt_targets`, `parse_usdt_note` and `parse_usdt_arg` of libbpf's `src/usdt.c`.
//!
//! libbpf reads the first section with the right name. An invalid note in that section fails every
//! attachment to the file, and an argument that libbpf cannot read fails its probe.

use super::inspected_file::{InspectedFile, InspectedProbe, first_unreadable, is_known_register};
use super::verdict::{HINT_FEWER_ARGUMENTS, HINT_FIX, HINT_OTHER_OPERAND, HINT_RELINK, Verdict};
use stapsdt::argspec::{Arch, Arg, Operand};
use stapsdt::elf::Segment;
use stapsdt::note;

/// `USDT_MAX_ARG_CNT`.
const MAX_ARGS: usize = 12;
/// `ET_EXEC` and `ET_DYN`.
const FILE_TYPES: [u16; 2] = [2, 3];

pub(super) fn judge(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Verdict {
    if let Some(verdict) = file.check_section_name(probe) {
        return verdict;
    }
    let Some(arch) = file.arch() else { return Verdict::unknown_architecture() };
    if !FILE_TYPES.contains(&file.view.file_type()) {
        return Verdict::rejected(
            "the file is neither an executable nor a shared library",
            "link the object file",
        );
    }
    if file.section_index(note::SECTION) != Some(probe.section) {
        return Verdict::rejected("libbpf reads only the first note section", HINT_FIX);
    }
    if !file.view.sections.get(probe.section).is_some_and(stapsdt::elf::Section::is_note) {
        return Verdict::rejected("the note section does not have the type SHT_NOTE", HINT_FIX);
    }
    if let Some(note) = &file.invalid_note {
        return Verdict::rejected(
            format!("libbpf rejects every probe of the file because of {note}"),
            HINT_FIX,
        );
    }
    check_addresses(file, probe).unwrap_or_else(|| judge_arguments(probe, arch))
}

/// Rejects the probe if its site or its semaphore is at an address that libbpf rejects.
fn check_addresses(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Option<Verdict> {
    let pc = file.relocated_pc(probe);
    if probe.note.name.is_empty() {
        return Some(Verdict::rejected("the probe has no name", "name the probe"));
    }
    if !segment_of(file, pc).is_some_and(Segment::is_executable) {
        let reason = format!("its address {pc:#x} is in no executable segment");
        return Some(Verdict::rejected(reason, HINT_RELINK));
    }
    let semaphore = probe.note.semaphore;
    if semaphore == 0 {
        return None;
    }
    match segment_of(file, semaphore) {
        Some(s) if s.is_executable() => Some(Verdict::rejected(
            "its semaphore is in an executable segment",
            "put the semaphore into a data section",
        )),
        Some(s) if !s.file_backs(semaphore, 2) => Some(Verdict::rejected(
            "no byte of the file backs its semaphore, so the kernel would increment another place",
            "put the semaphore into .probes or .data, not .bss",
        )),
        Some(_) => None,
        None => Some(Verdict::rejected("its semaphore is in no segment", HINT_RELINK)),
    }
}

/// Returns the loaded segment of an address. As in libbpf, a segment includes its `.bss`.
fn segment_of<'a>(file: &'a InspectedFile<'_>, address: u64) -> Option<&'a Segment> {
    file.view.segments.iter().find(|segment| {
        segment.is_load() && address.checked_sub(segment.vaddr).is_some_and(|at| at < segment.memsz)
    })
}

fn judge_arguments(probe: &InspectedProbe, arch: Arch) -> Verdict {
    if probe.args.len() > MAX_ARGS {
        let reason = format!("it has {} arguments; the limit is {MAX_ARGS}", probe.args.len());
        return Verdict::rejected(reason, HINT_FEWER_ARGUMENTS);
    }
    if let Some(arg) = first_unreadable(probe, |arg| is_readable(arg, arch)) {
        // `seal --fix` rewrites the 32-bit register names of arm64.
        let is_narrow = arch == Arch::Aarch64 && arg.spec.contains("@w");
        return Verdict::rejected(
            format!(
                "argument {}, `{}`, is not read, which makes the probe fail",
                arg.position, arg.spec
            ),
            if is_narrow { HINT_FIX } else { HINT_OTHER_OPERAND },
        );
    }
    match first_unreadable(probe, |arg| !has_index(arg)) {
        Some(arg) => Verdict::partial(
            format!(
                "only the newest libbpf releases read argument {}, `{}`",
                arg.position, arg.spec
            ),
            HINT_OTHER_OPERAND,
        ),
        None => Verdict::Accepted,
    }
}

fn has_index(arg: &Arg) -> bool {
    matches!(&arg.value, Ok(value) if matches!(value.operand, Operand::Memory { index: Some(_), .. }))
}

fn is_readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    if value.size > 8 || value.float || !arg.spec.contains('@') {
        return false;
    }
    match &value.operand {
        // On arm64, GNU as accepts `#` before constants, but libbpf's `sscanf` does not.
        Operand::Constant(expr) => expr.symbol.is_none() && !arg.spec.contains('#'),
        Operand::Register(register) => is_known_register(register, arch),
        Operand::Memory { disp, base, index } => {
            disp.symbol.is_none()
                && !arg.spec.contains('#')
                && base.as_ref().is_some_and(|base| is_known_register(base, arch))
                && index.as_ref().is_none_or(|index| {
                    arch == Arch::X86_64 && is_known_register(&index.register, arch)
                })
        }
    }
}
