//! SystemTap: `tapsets.cxx` (`sdt_query::setup_note_probe_entry`, `sdt_uprobe_var_expanding_visitor`) of 4.8.
//!
//! Its grammar of arguments is the widest of all; addresses are relocated by `.stapsdt.base`.

use super::{FIX, File, OTHER_OPERAND, Probe, Verdict, first_bad};
use stapsdt::note;

pub(super) fn judge(file: &File<'_>, probe: &Probe) -> Verdict {
    if let Some(verdict) = file.well_named(probe) {
        return verdict;
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
    match first_bad(probe, |arg| arg.value.is_ok()) {
        Some((at, text)) => Verdict::partial(format!("argument {at}, `{text}`, is not read"), OTHER_OPERAND),
        None => Verdict::Accepted,
    }
}
