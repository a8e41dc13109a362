//! perf: `tools/perf/util/symbol-elf.c` (`construct_sdt_notes_list`, `populate_sdt_note`), `probe-file.c` and the
//! architectures' `perf_regs.c` (`arch_sdt_arg_parse_op`) of Linux 6.1.
//!
//! It hands file offsets to the kernel. Those of sites come from `.stapsdt.base`, those of semaphores from
//! `.probes`, whatever segments they are in.

use super::{FIX, File, OTHER_OPERAND, Probe, Verdict, first_bad, known_register};
use stapsdt::argspec::{Arch, Arg, Operand, Register, RegisterId};
use stapsdt::note;

pub(super) fn judge(file: &File<'_>, probe: &Probe) -> Verdict {
    if let Some(verdict) = file.well_named(probe) {
        return verdict;
    }
    let Some(arch) = file.arch() else {
        return Verdict::rejected("the model knows 64-bit amd64 and arm64 files only", "none");
    };
    let section = file.view.sections.get(probe.section);
    if file.index(note::SECTION) != Some(probe.section) {
        return Verdict::rejected("only the first section of notes is read", FIX);
    }
    if !section.is_some_and(|s| s.is_note() && !s.is_alloc()) {
        return Verdict::rejected(
            "the section of notes is loaded or has not the type SHT_NOTE",
            FIX,
        );
    }
    if let Some(verdict) = offsets(file, probe) {
        return verdict;
    }
    let name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !name(&probe.note.provider) || !name(&probe.note.name) {
        return Verdict::rejected(
            "the kernel takes letters, digits and `_` in names of events only",
            "write `__` for `-` in the name",
        );
    }
    if let Some((at, text)) = first_bad(probe, |arg| !vector(arg)) {
        let reason = format!("the kernel refuses argument {at}, `{text}`, and with it the probe");
        return Verdict::rejected(reason, OTHER_OPERAND);
    }
    if let Some((at, text)) = first_bad(probe, |arg| readable(arg, arch)) {
        return Verdict::partial(format!("argument {at}, `{text}`, is left out"), OTHER_OPERAND);
    }
    if !file.build_id {
        return Verdict::partial(
            "without a GNU build id it cannot be added to the cache that `perf list` reads",
            "link with -ldflags='-B gobuildid' (Go 1.22 and 1.23; before that -B 0xHEX) or -Wl,--build-id (C)",
        );
    }
    Verdict::Accepted
}

fn offsets(file: &File<'_>, probe: &Probe) -> Option<Verdict> {
    let pc = probe.note.pc;
    let offset = match file.section(note::BASE_SECTION) {
        Some(base) if base.offset != 0 => {
            pc.wrapping_add(base.offset).wrapping_sub(probe.note.base)
        }
        _ => pc,
    };
    // What prelinking did to the address is no part of the file offset.
    if file.view.vaddr_to_offset(file.relocated(probe)) != Some(offset) {
        return Some(Verdict::rejected(
            format!("`.stapsdt.base` leads to file offset {offset:#x}, which is not the site's"),
            FIX,
        ));
    }
    if probe.note.semaphore == 0 {
        return None;
    }
    let (actual, by_section) = file.semaphore_offsets(probe);
    // Without the section the address itself goes to the kernel.
    let by_section = by_section.unwrap_or(probe.note.semaphore);
    (actual != Some(by_section)).then(|| {
        let mend = if actual.is_some() {
            FIX
        } else {
            "put the semaphore into .probes or .data, not .bss"
        };
        Verdict::rejected(
            format!("`.probes` leads to file offset {by_section:#x}, which is not its semaphore's"),
            mend,
        )
    })
}

/// Registers that no uprobe event can name.
fn vector(arg: &Arg) -> bool {
    matches!(
        &arg.value,
        Ok(value) if matches!(value.operand, Operand::Register(Register { id: RegisterId::Vector(_), .. }))
    )
}

fn readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    let register = |r: &Register| known_register(r, arch);
    match &value.operand {
        Operand::Constant(_) => false,
        Operand::Register(r) => register(r),
        Operand::Memory { disp, base, index } => {
            disp.symbol.is_none()
                && index.is_none()
                && base.as_ref().is_some_and(register)
                && !arg.spec.contains('#')
        }
    }
}
