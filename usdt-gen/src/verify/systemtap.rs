//! SystemTap: `tapsets.cxx` (`sdt_query::setup_note_probe_entry`, `sdt_uprobe_var_expanding_visitor`) of 4.8.
//!
//! Its grammar of arguments is the widest of all; addresses are relocated by `.stapsdt.base`.

use super::{FIX, File, OTHER_OPERAND, Probe, Verdict, first_bad};
use stapsdt::note;

/// A probe with more is not found (measured with 4.8).
const MAX_ARGS: usize = 12;

pub(super) fn judge(file: &File<'_>, probe: &Probe) -> Verdict {
    if let Some(verdict) = file.well_named(probe) {
        return verdict;
    }
    if !file.view.sections.get(probe.section).is_some_and(|s| s.is_note() && !s.is_alloc()) {
        return Verdict::rejected(
            "the section of notes is loaded or has not the type SHT_NOTE",
            FIX,
        );
    }
    if !probe.exact {
        return Verdict::rejected(
            "the note's descsz counts its padding, and arguments have to end with the descriptor",
            FIX,
        );
    }
    if probe.note.base != 0 && file.section(note::BASE_SECTION).is_none() {
        return Verdict::rejected(
            "its base has no section `.stapsdt.base` to be compared with, and its address would be wrong",
            FIX,
        );
    }
    if probe.args.len() > MAX_ARGS {
        let reason = format!("it has {} arguments, {MAX_ARGS} are taken", probe.args.len());
        return Verdict::rejected(reason, "drop or combine arguments");
    }
    match first_bad(probe, |arg| arg.value.is_ok()) {
        Some((at, text)) => {
            Verdict::partial(format!("argument {at}, `{text}`, is not read"), OTHER_OPERAND)
        }
        None => Verdict::Accepted,
    }
}
