//! libbpf, and with it bpftrace from its 2025 releases on: `src/usdt.c` of libbpf (`collect_usdt_targets`,
//! `parse_usdt_note`, `parse_usdt_arg`).
//!
//! It reads the first section of the right name; one note there that is no probe fails every attachment to the
//! file, and one argument it cannot read fails the probe's.

use super::{FIX, File, OTHER_OPERAND, Probe, Verdict, first_bad, known_register};
use stapsdt::argspec::{Arch, Arg, Operand, Register};
use stapsdt::note;

/// `USDT_MAX_ARG_CNT`.
const MAX_ARGS: usize = 12;
/// `ET_EXEC` and `ET_DYN`.
const TYPES: [u16; 2] = [2, 3];

pub(super) fn judge(file: &File<'_>, probe: &Probe) -> Verdict {
    if let Some(verdict) = file.well_named(probe) {
        return verdict;
    }
    let Some(arch) = file.arch() else {
        return Verdict::rejected("the model knows 64-bit amd64 and arm64 files only", "none");
    };
    if !TYPES.contains(&file.view.file_type()) {
        return Verdict::rejected("it is no linked executable or shared library", "link it");
    }
    if file.index(note::SECTION) != Some(probe.section) {
        return Verdict::rejected("only the first section of notes is read", FIX);
    }
    if !file.view.sections.get(probe.section).is_some_and(stapsdt::elf::Section::is_note) {
        return Verdict::rejected("the section of notes has not the type SHT_NOTE", FIX);
    }
    if let Some(strange) = &file.strange {
        return Verdict::rejected(format!("{strange} fails every probe of the file"), FIX);
    }
    addresses(file, probe).unwrap_or_else(|| arguments(probe, arch))
}

fn addresses(file: &File<'_>, probe: &Probe) -> Option<Verdict> {
    // Its segments end with their memory, .bss included.
    let segment = |address: u64| {
        let covers = |vaddr: u64, size: u64| address.checked_sub(vaddr).is_some_and(|at| at < size);
        file.view.segments.iter().find(|s| s.is_load() && covers(s.vaddr, s.memsz))
    };
    let pc = file.relocated(probe);
    if probe.note.name.is_empty() {
        return Some(Verdict::rejected("the probe has no name", "name it"));
    }
    if !segment(pc).is_some_and(stapsdt::elf::Segment::is_executable) {
        let reason = format!("its address {pc:#x} is in no executable segment");
        return Some(Verdict::rejected(
            reason,
            "link the program anew: its notes are of another layout",
        ));
    }
    let semaphore = probe.note.semaphore;
    if semaphore == 0 {
        return None;
    }
    match segment(semaphore) {
        Some(s) if s.is_executable() => Some(Verdict::rejected(
            "its semaphore is in an executable segment",
            "put the semaphore into a section of data",
        )),
        Some(s) if !s.file_backs(semaphore, 2) => Some(Verdict::rejected(
            "its semaphore is in memory that no file backs, and the kernel would count elsewhere",
            "put the semaphore into .probes or .data, not .bss",
        )),
        Some(_) => None,
        None => Some(Verdict::rejected("its semaphore is in no segment", "link the program anew")),
    }
}

fn arguments(probe: &Probe, arch: Arch) -> Verdict {
    if probe.args.len() > MAX_ARGS {
        let reason = format!("it has {} arguments, {MAX_ARGS} are taken", probe.args.len());
        return Verdict::rejected(reason, "drop or combine arguments");
    }
    if let Some((at, text)) = first_bad(probe, |arg| readable(arg, arch)) {
        let mend = if wide_register(text, arch) { FIX } else { OTHER_OPERAND };
        return Verdict::rejected(
            format!("argument {at}, `{text}`, is not read, which fails the probe"),
            mend,
        );
    }
    match first_bad(probe, |arg| !scaled(arg)) {
        Some((at, text)) => Verdict::partial(
            format!("argument {at}, `{text}`, is read by the newest releases only"),
            OTHER_OPERAND,
        ),
        None => Verdict::Accepted,
    }
}

/// A register's 32-bit name on arm64.
fn wide_register(text: &str, arch: Arch) -> bool {
    arch == Arch::Aarch64 && text.contains("@w")
}

fn scaled(arg: &Arg) -> bool {
    matches!(&arg.value, Ok(value) if matches!(value.operand, Operand::Memory { index: Some(_), .. }))
}

fn readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    if value.float || !arg.spec.contains('@') {
        return false;
    }
    let register = |r: &Register| known_register(r, arch);
    match &value.operand {
        // GNU as takes `#` in front of constants on arm64, `sscanf` does not.
        Operand::Constant(expr) => expr.symbol.is_none() && !arg.spec.contains('#'),
        Operand::Register(r) => register(r),
        Operand::Memory { disp, base, index } => {
            disp.symbol.is_none()
                && !arg.spec.contains('#')
                && base.as_ref().is_some_and(&register)
                && index.as_ref().is_none_or(|i| arch == Arch::X86_64 && register(&i.register))
        }
    }
}
