//! The model of perf in Linux 6.1: `construct_sdt_notes_list` and `populate_sdt_note` of
//! `tools/perf/util/symbol-elf.c`, `probe-file.c`, and `arch_sdt_arg_parse_op` of each
//! architecture's `perf_regs.c`.
//!
//! perf passes file offsets to the kernel. It computes those of sites from `.stapsdt.base` and
//! those of semaphores from `.probes`, without regard to the segments that these are in.

use super::inspected_file::{InspectedFile, InspectedProbe, first_unreadable, is_known_register};
use super::verdict::{HINT_FIX, HINT_OTHER_OPERAND, Verdict};
use stapsdt::argspec::{Arch, Arg, Operand, Register, RegisterId};
use stapsdt::note;

pub(super) fn judge(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Verdict {
    if let Some(verdict) = file.check_section_name(probe) {
        return verdict;
    }
    let Some(arch) = file.arch() else { return Verdict::unknown_architecture() };
    let section = file.view.sections.get(probe.section);
    if file.section_index(note::SECTION) != Some(probe.section) {
        return Verdict::rejected("perf reads only the first note section", HINT_FIX);
    }
    if !section.is_some_and(|s| s.is_note() && !s.is_alloc()) {
        return Verdict::rejected(
            "the note section is loaded or does not have the type SHT_NOTE",
            HINT_FIX,
        );
    }
    if let Some(verdict) = check_offsets(file, probe) {
        return verdict;
    }
    if !is_event_name(&probe.note.provider) || !is_event_name(&probe.note.name) {
        return Verdict::rejected(
            "the kernel accepts only letters, digits and `_` in event names",
            "write `__` for `-` in the name",
        );
    }
    if let Some(arg) = first_unreadable(probe, |arg| !is_vector_register(arg)) {
        let reason = format!(
            "the kernel rejects argument {}, `{}`, and therefore the probe",
            arg.position, arg.spec
        );
        return Verdict::rejected(reason, HINT_OTHER_OPERAND);
    }
    if let Some(arg) = first_unreadable(probe, |arg| is_readable(arg, arch)) {
        let reason = format!("argument {}, `{}`, is left out", arg.position, arg.spec);
        return Verdict::partial(reason, HINT_OTHER_OPERAND);
    }
    if !file.has_build_id {
        return Verdict::partial(
            "a file without a GNU build ID cannot be in the cache that `perf list` reads",
            "link with -ldflags='-B gobuildid' (Go 1.22 and 1.23; before that -B 0xHEX) or -Wl,--build-id (C)",
        );
    }
    Verdict::Accepted
}

/// Rejects the probe if perf computes a wrong file offset for its site or its semaphore.
fn check_offsets(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Option<Verdict> {
    let pc = probe.note.pc;
    let offset = match file.section(note::BASE_SECTION) {
        Some(base) if base.offset != 0 => {
            pc.wrapping_add(base.offset).wrapping_sub(probe.note.base)
        }
        _ => pc,
    };
    // Prelinking changes the address but not the file offset.
    if file.view.vaddr_to_offset(file.relocated_pc(probe)) != Some(offset) {
        return Some(Verdict::rejected(
            format!("`.stapsdt.base` leads to file offset {offset:#x}, which is not the site's"),
            HINT_FIX,
        ));
    }
    if probe.note.semaphore == 0 {
        return None;
    }
    let offsets = file.semaphore_offsets(probe);
    // Without a `.probes` section, perf passes the address itself to the kernel.
    let offset = offsets.by_probes_section.unwrap_or(probe.note.semaphore);
    (offsets.actual != Some(offset)).then(|| {
        let hint = if offsets.actual.is_some() {
            HINT_FIX
        } else {
            "put the semaphore into .probes or .data, not .bss"
        };
        Verdict::rejected(
            format!("`.probes` leads to file offset {offset:#x}, which is not its semaphore's"),
            hint,
        )
    })
}

/// Returns true for names that the kernel accepts for events.
fn is_event_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns true for an argument in a register that uprobe events cannot name.
fn is_vector_register(arg: &Arg) -> bool {
    matches!(
        &arg.value,
        Ok(value) if matches!(value.operand, Operand::Register(Register { id: RegisterId::Vector(_), .. }))
    )
}

fn is_readable(arg: &Arg, arch: Arch) -> bool {
    let Some(value) = arg.value.as_ref().ok().filter(|value| value.size <= 8) else { return false };
    match &value.operand {
        Operand::Constant(_) => false,
        Operand::Register(register) => is_known_register(register, arch),
        Operand::Memory { disp, base, index } => {
            disp.symbol.is_none()
                && index.is_none()
                && base.as_ref().is_some_and(|base| is_known_register(base, arch))
                && !arg.spec.contains('#')
        }
    }
}
