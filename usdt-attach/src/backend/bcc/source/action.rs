//! The action of a handler: what happens with a hit that has passed the filter.

use super::nesting::{end_nested, start_nested};
use super::reads::{emit_fault_in, emit_read, number, slot_value};
use crate::bpf::Counter;
use crate::bpf::helper::{RB_FORCE_WAKEUP, RB_NO_WAKEUP};
use crate::plan::record_layout::{self, Layout};
use crate::plan::{
    Action, Buckets, FIRST_BUCKET, FrameRegion, Handler, KeyWrite, Plan, aligned_unit,
};
use std::fmt::Write as _;

/// Flags of `bpf_map_update_elem`: create or replace an entry, or only create one.
pub(super) const BPF_ANY: u32 = 0;
pub(super) const BPF_NOEXIST: u32 = 1;

/// Emits the statements of the action.
pub(super) fn action(out: &mut String, plan: &Plan, handler: &Handler) {
    match &handler.action {
        Action::Record(layout) => record(out, layout, plan.buffer),
        Action::Count => {}
        Action::Aggregate { key, value } => {
            read_arguments(out, handler);
            if let Some(value) = value {
                let _ = writeln!(out, "    value = {};", slot_value(*value));
            }
            write_region(out, key);
            aggregate(out, plan, key);
        }
        Action::Start { key, saved, nesting: Some(nesting), .. } => {
            read_arguments(out, handler);
            write_region(out, key);
            write_region(out, saved);
            start_nested(out, key, saved, *nesting);
        }
        Action::End { start, key, kept, nesting: Some(nesting), .. } => {
            read_arguments(out, handler);
            write_region(out, start);
            write_region(out, key);
            end_nested(out, start, key, *kept, *nesting);
            aggregate(out, plan, key);
        }
        Action::Start { key, saved, nesting: None, .. } => {
            read_arguments(out, handler);
            write_region(out, key);
            write_region(out, saved);
            let _ = write!(
                out,
                "    AT(u64, {at}) = bpf_ktime_get_ns();\n\
                 \x20   got = (int)bpf_map_update_elem_(STARTS, base + {key}, base + {at}, {BPF_NOEXIST});\n\
                 \x20   if (got) {{\n      if (got != -{eexist}) DROPPED\n      COUNT({overwritten});\n\
                 \x20     if (bpf_map_update_elem_(STARTS, base + {key}, base + {at}, {BPF_ANY})) DROPPED\n    }}\n",
                at = saved.at,
                key = key.at,
                overwritten = Counter::Overwritten as u32,
                eexist = libc::EEXIST,
            );
        }
        Action::End { start, key, kept, nesting: None, .. } => {
            read_arguments(out, handler);
            write_region(out, start);
            write_region(out, key);
            let unmatched = format!("{{ COUNT({}); return 0; }}", Counter::Unmatched as u32);
            let _ = write!(
                out,
                "    value = bpf_ktime_get_ns();\n    slot = bpf_map_lookup_elem_(STARTS, base + {});\n\
                 \x20   if (!slot) {unmatched}\n    value -= slot[0];\n",
                start.at
            );
            copy_labels(out, key, *kept);
            let _ = writeln!(
                out,
                "    if (bpf_map_delete_elem_(STARTS, base + {})) {unmatched}",
                start.at
            );
            aggregate(out, plan, key);
        }
    }
}

/// Emits the copies of the labels that a start has saved to the last `kept` bytes of a key.
pub(super) fn copy_labels(out: &mut String, key: &FrameRegion, kept: u32) {
    for index in 0..kept / 8 {
        let to = key.at + key.size - kept + 8 * index;
        let _ = writeln!(out, "    AT(u64, {to}) = slot[{}];", index + 1);
    }
}

/// Like the embedded back end, assembles the record on the stack if it fits there. A longer record is
/// reserved in the ring buffer, and its prefix is copied there.
fn record(out: &mut String, layout: &Layout, buffer: u32) {
    let prefix_len = layout.stack_prefix_len();
    let _ = write!(
        out,
        "    u64 image[{}] = {{}};\n    base = (u8 *)image;\n\
         \x20   AT(u64, {}) = cookie;\n    AT(u64, {time}) = bpf_ktime_get_ns();\n\
         \x20   AT(u64, {}) = PID_TGID;\n    bpf_get_current_comm(base + {}, 16);\n",
        prefix_len / 8,
        record_layout::COOKIE,
        record_layout::PID_TGID,
        record_layout::COMM,
        time = record_layout::TIME,
    );
    let (prefix_reads, other_reads) = layout.split_reads();
    for read in prefix_reads {
        emit_read(out, read, true);
    }
    for read in other_reads {
        emit_fault_in(out, read);
    }
    // One record in 64 checks whether the buffer is half full, and then wakes the reader.
    let _ = write!(
        out,
        "    flags = {RB_NO_WAKEUP};\n    if (!(AT(u64, {}) & 63) && bpf_ringbuf_query(EVENTS, 0) > {}) flags = {RB_FORCE_WAKEUP};\n",
        record_layout::TIME,
        buffer / 2
    );
    if prefix_len == layout.size {
        let _ =
            writeln!(out, "    if (bpf_ringbuf_output(EVENTS, base, {prefix_len}, flags)) DROPPED");
        return;
    }
    let _ = write!(
        out,
        "    base = bpf_ringbuf_reserve(EVENTS, {}, 0);\n    if (!base) DROPPED\n\
         \x20   __builtin_memcpy(base, image, {prefix_len});\n",
        layout.size
    );
    for read in other_reads {
        emit_read(out, read, false);
    }
    out.push_str("    bpf_ringbuf_submit(base, flags);\n");
}

/// Emits the reads of the action. A hit whose required arguments cannot be read is dropped.
fn read_arguments(out: &mut String, handler: &Handler) {
    for read in &handler.frame.action_reads {
        emit_read(out, read, true);
    }
    if handler.frame.required != 0 {
        let _ = writeln!(
            out,
            "    if (AT(u32, {}) & {}u) DROPPED",
            record_layout::FAULTS,
            handler.frame.required
        );
    }
}

/// Emits the writes that complete a region of the frame, such as a map key.
pub(super) fn write_region(out: &mut String, region: &FrameRegion) {
    for write in &region.writes {
        let _ = match *write {
            KeyWrite::Constant { to, value } => writeln!(out, "    AT(u64, {to}) = {value};"),
            KeyWrite::Slot { to, from } => {
                writeln!(out, "    AT(u64, {to}) = {};", slot_value(from))
            }
            KeyWrite::Difference { to, from, subtract } => {
                let (from, subtract) = (slot_value(from), slot_value(subtract));
                writeln!(out, "    AT(u64, {to}) = {from} - {subtract};")
            }
        };
    }
}

/// Emits the lookup of the table entry, creating it if necessary, and its update.
fn aggregate(out: &mut String, plan: &Plan, key: &FrameRegion) {
    let Some(table) = &plan.table else { return };
    let _ = writeln!(out, "    slot = bpf_map_lookup_elem_(TABLE, base + {});", key.at);
    if !table.is_array() {
        let _ = write!(
            out,
            "    if (!slot) {{\n      bpf_map_update_elem_(TABLE, base + {at}, ZERO, {BPF_NOEXIST});\n\
             \x20     slot = bpf_map_lookup_elem_(TABLE, base + {at});\n    }}\n",
            at = key.at
        );
    }
    out.push_str("    if (!slot) DROPPED\n");
    let Some(buckets) = table.buckets else {
        out.push_str("    __sync_fetch_and_add(slot, 1);\n");
        return;
    };
    out.push_str("    __sync_fetch_and_add(slot, value);\n");
    // Inverting the sign bit makes signed numbers compare as unsigned ones.
    let ordered = if buckets.signed() { "value ^ 1ULL << 63" } else { "value" };
    let _ = write!(
        out,
        "    number = {ordered};\n    if (number > slot[1]) slot[1] = number;\n\
         \x20   number = ~number;\n    if (number > slot[2]) slot[2] = number;\n"
    );
    match buckets {
        Buckets::Log2 { signed } => {
            magnitude(out, signed);
            count_bits(out);
            apply_sign(out, signed, buckets.center());
        }
        Buckets::Exponential { unit, signed } => {
            magnitude(out, signed);
            exponential_index(out, unit);
            apply_sign(out, signed, buckets.center());
        }
        Buckets::Time { unit, signed } => {
            magnitude(out, signed);
            search(out, unit.bounds(), 0);
            apply_sign(out, signed, buckets.center());
        }
        Buckets::Linear { low, high, step, signed } => {
            let sign = if signed { 's' } else { 'u' };
            // An unsigned value cannot be below a negative bound.
            let (from, to) = if signed { (low, high) } else { (low.max(0), high.max(0)) };
            let _ = write!(
                out,
                "    if (({sign}64)value < ({sign}64){}) index = 0;\n\
                 \x20   else if (({sign}64)value >= ({sign}64){}) index = {};\n\
                 \x20   else index = 1 + (value - (u64){}) / {step};\n",
                number(from),
                number(to),
                buckets.count() - 1,
                number(low)
            );
        }
    }
    // The verifier must see that the index is in range. The `asm` keeps the compiler, which knows it,
    // from removing the check.
    let _ = write!(
        out,
        "    asm volatile(\"\" : \"+r\"(index));\n    if (index >= {}) DROPPED\n\
         \x20   __sync_fetch_and_add(&slot[{FIRST_BUCKET} + index], 1);\n",
        buckets.count()
    );
}

/// Emits the absolute value.
fn magnitude(out: &mut String, signed: bool) {
    let magnitude = if signed { "(s64)value < 0 ? -value : value" } else { "value" };
    let _ = writeln!(out, "    number = {magnitude};\n    index = 0;");
}

/// Emits the number of significant bits, by binary search.
fn count_bits(out: &mut String) {
    for half in [32, 16, 8, 4, 2, 1] {
        let _ =
            writeln!(out, "    if (number >> {half}) {{ number >>= {half}; index += {half}; }}");
    }
    out.push_str("    index += number;\n");
}

/// Emits the index in exponential buckets: the number of significant bits, plus one if the value is
/// above the unit scaled to as many bits.
fn exponential_index(out: &mut String, unit: u32) {
    out.push_str("    if (number) {\n      index = 64;\n");
    for half in [32, 16, 8, 4, 2, 1] {
        let _ = writeln!(
            out,
            "      if (!(number >> {})) {{ number <<= {half}; index -= {half}; }}",
            64 - half
        );
    }
    let _ = writeln!(out, "      if (number > {}ULL) index++;\n    }}", aligned_unit(unit));
}

/// Emits the number of bounds below the magnitude, plus `first`, by binary search.
fn search(out: &mut String, bounds: &[u64], first: usize) {
    let middle = bounds.len() / 2;
    let (lower, upper) = bounds.split_at(middle);
    let Some((bound, upper)) = upper.split_first() else {
        let _ = writeln!(out, "    index = {first};");
        return;
    };
    let _ = writeln!(out, "    if (number > {bound}ULL) {{");
    search(out, upper, first + middle + 1);
    out.push_str("    } else {\n");
    search(out, lower, first);
    out.push_str("    }\n");
}

/// Emits the reflection of negative values to the lower half of the buckets.
fn apply_sign(out: &mut String, signed: bool, center: usize) {
    if signed {
        let _ = writeln!(out, "    index = (s64)value < 0 ? {center} - index : {center} + index;");
    }
}
