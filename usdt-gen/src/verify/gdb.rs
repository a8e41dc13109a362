//! gdb: `gdb/stap-probe.c` (`stap_static_probe_ops::get_probes`, `handle_stap_probe`, `stap_parse_argument_1`)
//! and the notes as BFD hands them over (`bfd/elf.c`, `elfobj_grok_stapsdt_note`).

use super::{FIX, File, OTHER_OPERAND, Probe, Verdict, first_bad};
use stapsdt::argspec::{Arch, Arg, Operand, RegisterId};
use stapsdt::note;

/// `$_probe_arg0` to `$_probe_arg11`.
const VARIABLES: usize = 12;

pub(super) fn judge(file: &File<'_>, probe: &Probe) -> Verdict {
    let Some(arch) = file.arch() else {
        return Verdict::rejected("the model knows 64-bit amd64 and arm64 files only", "none");
    };
    if !file.view.sections.get(probe.section).is_some_and(stapsdt::elf::Section::is_note) {
        return Verdict::rejected("the section of notes has not the type SHT_NOTE", FIX);
    }
    if file.section(note::BASE_SECTION).is_none() {
        return Verdict::rejected(
            "without a section `.stapsdt.base` no probe of the file is shown",
            FIX,
        );
    }
    if !probe.exact {
        return Verdict::rejected(
            "the note's descsz counts its padding, and arguments have to end with the descriptor",
            FIX,
        );
    }
    if let Some((at, text)) = first_bad(probe, |arg| readable(arg, arch)) {
        let reason = format!("argument {at}, `{text}`, is not read, nor is any behind it");
        return Verdict::partial(reason, OTHER_OPERAND);
    }
    if probe.args.len() > VARIABLES {
        let reason = format!("it has {} arguments, {VARIABLES} have a variable", probe.args.len());
        return Verdict::partial(reason, "drop or combine arguments");
    }
    Verdict::Accepted
}

fn readable(arg: &Arg, arch: Arch) -> bool {
    let Ok(value) = &arg.value else { return false };
    let vector = |id: RegisterId| matches!(id, RegisterId::Vector(_));
    if value.float {
        return false;
    }
    match &value.operand {
        Operand::Constant(expr) => expr.symbol.is_none(),
        Operand::Register(r) => !vector(r.id),
        Operand::Memory { disp, base, index } => {
            disp.symbol.is_none() && base.is_some() && (arch == Arch::X86_64 || index.is_none())
        }
    }
}
