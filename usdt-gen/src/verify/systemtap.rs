//! The model of SystemTap 4.8: `sdt_query::setup_note_probe_entry` and
//! `sdt_uprobe_var_expanding_visitor` of `tapsets.cxx`.
//!
//! SystemTap accepts more argument forms than the other tracers. It relocates addresses by
//! `.stapsdt.base`.

use super::inspected_file::{InspectedFile, InspectedProbe, first_unreadable};
use super::verdict::{HINT_FEWER_ARGUMENTS, HINT_FIX, HINT_OTHER_OPERAND, Verdict};
use stapsdt::note;

/// SystemTap 4.8 does not find probes with more arguments (measured).
const MAX_ARGS: usize = 12;

pub(super) fn judge(file: &InspectedFile<'_>, probe: &InspectedProbe) -> Verdict {
    if let Some(verdict) = file.check_section_name(probe) {
        return verdict;
    }
    if file.arch().is_none() {
        return Verdict::unknown_architecture();
    }
    if !file.view.sections.get(probe.section).is_some_and(|s| s.is_note() && !s.is_alloc()) {
        return Verdict::rejected(
            "the note section is loaded or does not have the type SHT_NOTE",
            HINT_FIX,
        );
    }
    if !probe.has_exact_size {
        return Verdict::rejected(
            "the note's descsz includes padding, but the descriptor must end with the arguments",
            HINT_FIX,
        );
    }
    if probe.note.base != 0 && file.section(note::BASE_SECTION).is_none() {
        return Verdict::rejected(
            "its address would be wrong: the note has a base, but the file has no section `.stapsdt.base`",
            HINT_FIX,
        );
    }
    if probe.args.len() > MAX_ARGS {
        let reason = format!("it has {} arguments; the limit is {MAX_ARGS}", probe.args.len());
        return Verdict::rejected(reason, HINT_FEWER_ARGUMENTS);
    }
    match first_unreadable(probe, |arg| matches!(&arg.value, Ok(value) if value.size <= 8)) {
        Some(arg) => Verdict::partial(
            format!("argument {}, `{}`, is not read", arg.position, arg.spec),
            HINT_OTHER_OPERAND,
        ),
        None => Verdict::Accepted,
    }
}
