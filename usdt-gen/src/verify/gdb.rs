//! The model of gdb: `stap_static_probe_ops::get_probes`, `handle_stap_probe` and
//! `stap_parse_argument_1` of `gdb/stap-probe.c`, with the notes as `elfobj_grok_stapsdt_note` of
//! BFD's `elf.c` returns them.

use super::inspected_file::{InspectedFile, InspectedProbe, first_unreadable};
use super::verdict::{HINT_FEWER_ARGUMENTS, HINT_FIX, HINT_OTHER_OPERAND, Verdict};
use stapsdt::argspec::{Arch, Arg, Operand, RegisterId};
use stapsdt::note;

/// The number of argument variables, `$_probe_arg0` to `$_probe_arg11`.
const VARIABLES: usize = 12;

pub(super) fn judge(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Verdict {
    let Some(arch) = file.arch() else { return Verdict::unknown_architecture() };
    if !file.view.sections.get(probe.section).is_some_and(stapsdt::elf::Section::is_note) {
        return Verdict::rejected("the note section does not have the type SHT_NOTE", HINT_FIX);
    }
    if file.section(note::BASE_SECTION).is_none() {
        return Verdict::rejected(
            "gdb shows no probe of a file without a section `.stapsdt.base`",
            HINT_FIX,
        );
    }
    if !probe.has_exact_size {
        return Verdict::rejected(
            "the note's descsz includes padding, but the descriptor must end with the arguments",
            HINT_FIX,
        );
    }
    if let Some(arg) = first_unreadable(probe, |arg| is_readable(arg, arch)) {
        let reason =
            format!("argument {}, `{}`, and those after it are not read", arg.position, arg.spec);
        return Verdict::partial(reason, HINT_OTHER_OPERAND);
    }
    if probe.args.len() > VARIABLES {
        let reason =
            format!("it has {} arguments; only {VARIABLES} have a variable", probe.args.len());
        return Verdict::partial(reason, HINT_FEWER_ARGUMENTS);
    }
    Verdict::Accepted
}

fn is_readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    if value.size > 8 || value.float {
        return false;
    }
    match &value.operand {
        Operand::Constant(expr) => expr.symbol.is_none(),
        Operand::Register(register) => !matches!(register.id, RegisterId::Vector(_)),
        Operand::Memory { disp, base, index } => {
            disp.symbol.is_none() && base.is_some() && (arch == Arch::X86_64 || index.is_none())
        }
    }
}
