//! Starts and ends of nested calls; `plan::nesting` describes the two maps.

use super::action::{BPF_ANY, BPF_NOEXIST, copy_labels};
use crate::bpf::Counter;
use crate::plan::nesting::{INNERMOST, OUTERMOST};
use crate::plan::record_layout::FAULTS;
use crate::plan::{FrameRegion, Nesting};
use std::fmt::Write as _;

/// Emits the push of a start. One whose labels cannot be read is saved with the time 0, so that its
/// end does not take the start of another call.
pub(super) fn start_nested(
    out: &mut String,
    key: &FrameRegion,
    saved: &FrameRegion,
    nesting: Nesting,
) {
    let (key, level) = (slot_of(key), saved.at + saved.size - 8);
    let _ = write!(
        out,
        "    AT(u64, {at}) = bpf_ktime_get_ns();\n    AT(u64, {level}) = 0;\n",
        at = saved.at
    );
    if nesting.label_faults != 0 {
        let _ = writeln!(out, "    if ({}) AT(u64, {}) = 0;", has_fault(nesting), saved.at);
    }
    let _ = write!(
        out,
        "    got = (int)bpf_map_update_elem_(STARTS, base + {base}, base + {at}, {BPF_NOEXIST});\n\
         \x20   if (got) {{\n      if (got != -{eexist}) DROPPED\n\
         \x20     slot = bpf_map_lookup_elem_(STARTS, base + {base});\n      if (!slot) DROPPED\n\
         \x20     number = slot[{count}] + 1;\n      slot[{count}] = number;\n      AT(u64, {level}) = number;\n\
         \x20     {store}\n\
         \x20     if (bpf_map_update_elem_(NESTED, base + {base}, base + {at}, {BPF_ANY})) DROPPED\n    }}\n",
        base = key.base,
        at = saved.at,
        eexist = libc::EEXIST,
        count = saved.size / 8 - 1,
        store = key.store,
    );
    if nesting.label_faults != 0 {
        let _ = writeln!(out, "    if ({}) DROPPED", has_fault(nesting));
    }
}

/// Emits the pop of the innermost start. `value` is the time since then afterwards.
pub(super) fn end_nested(
    out: &mut String,
    start: &FrameRegion,
    key: &FrameRegion,
    kept: u32,
    nesting: Nesting,
) {
    let unmatched = format!("{{ COUNT({}); return 0; }}", Counter::Unmatched as u32);
    let (start, count) = (slot_of(start), kept / 8 + 1);
    let _ = write!(
        out,
        "    value = bpf_ktime_get_ns();\n    slot = bpf_map_lookup_elem_(STARTS, base + {base});\n\
         \x20   if (!slot) {unmatched}\n    number = slot[{count}];\n    if (number) {{\n\
         \x20     slot[{count}] = number - 1;\n      {store}\n\
         \x20     slot = bpf_map_lookup_elem_(NESTED, base + {base});\n\
         \x20     if (!slot || slot[{count}] != number) {{\n\
         \x20       if (number < {OUTERMOST}) {unmatched}\n        COUNT({too_deep});\n        return 0;\n      }}\n    }}\n\
         \x20   flags = slot[0];\n    value -= flags;\n",
        base = start.base,
        store = start.store,
        too_deep = Counter::TooDeep as u32,
    );
    copy_labels(out, key, kept);
    let _ = write!(
        out,
        "    if (number) got = bpf_map_delete_elem_(NESTED, base + {base});\n\
         \x20   else got = bpf_map_delete_elem_(STARTS, base + {base});\n    if (got) {unmatched}\n",
        base = start.base
    );
    if kept > 0 {
        let _ = writeln!(out, "    if (!flags) {unmatched}");
    }
    if nesting.label_faults != 0 {
        let _ = writeln!(out, "    if ({}) DROPPED", has_fault(nesting));
    }
}

/// The condition that a label could not be read.
fn has_fault(nesting: Nesting) -> String {
    format!("AT(u32, {FAULTS}) & {}u", nesting.label_faults)
}

/// The key of a start, which the slot of its level follows.
struct KeyAndSlot {
    /// Offset of the key in the frame.
    base: u32,
    /// The statement that stores the slot of the level `number`.
    store: String,
}

fn slot_of(key: &FrameRegion) -> KeyAndSlot {
    let store = format!(
        "AT(u64, {}) = number < {OUTERMOST} ? number : {OUTERMOST} + (number & {});",
        key.at + key.size,
        INNERMOST - 1
    );
    KeyAndSlot { base: key.at, store }
}
