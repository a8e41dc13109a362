//! Read operations as C statements, which write to the record or frame at `base`.

use crate::plan::{Address, ArgSlot, GuardTest, GuardWord, ReadOp};
use std::fmt::Write as _;

/// Emits the statement of a read operation. `may_sleep` is false where the program must not sleep.
pub(super) fn emit_read(out: &mut String, read: &ReadOp, may_sleep: bool) {
    // Writing to a string cannot fail.
    let _ = match read {
        ReadOp::Constant { to, value } => writeln!(out, "    AT(u64, {to}) = {};", number(*value)),
        ReadOp::Register { to, from } => {
            writeln!(out, "    AT(u64, {to}) = ctx->{};", register(*from))
        }
        ReadOp::Memory { to, len, from, fault } => {
            writeln!(out, "    if ({}) FAULT({fault});", copy_memory(from, *to, *len))
        }
        ReadOp::Guarded { .. } => {
            emit_guarded(out, read, may_sleep);
            Ok(())
        }
        ReadOp::String { .. } => {
            emit_string(out, read, may_sleep);
            Ok(())
        }
        ReadOp::PidTgid { to } => writeln!(out, "    AT(u64, {to}) = PID_TGID;"),
        ReadOp::Comm { to } => writeln!(out, "    bpf_get_current_comm(base + {to}, 16);"),
        ReadOp::Stack { to, frames } => {
            writeln!(
                out,
                "    AT(u64, {to}) = get_stack(ctx, base + {}, {}, 256);",
                to + 8,
                frames * 8
            )
        }
    };
}

/// An expression that copies user memory, and is true if that fails.
fn copy_memory(from: &Address, to: u32, len: u32) -> String {
    let mut reads = Vec::new();
    let mut at = address(from);
    for offset in from.offsets_after_deref() {
        reads.push(format!("bpf_probe_read_user(base + {to}, 8, (void *)({at}))"));
        at = format!("AT(u64, {to}) + {}", number(offset));
    }
    reads.push(format!("bpf_probe_read_user(base + {to}, {len}, (void *)({at}))"));
    reads.join(" || ")
}

/// Emits the statements that execute an operation if its guards hold.
fn emit_guarded(out: &mut String, read: &ReadOp, may_sleep: bool) {
    let ReadOp::Guarded { to, len, guards, fault, missing, read } = read else { return };
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for at in (*to..to + len).step_by(8) {
        line(format!("    AT(u64, {at}) = 0;"));
    }
    line("    do {".to_owned());
    for guard in guards {
        let word = match &guard.word {
            GuardWord::Register(from) => format!("(u64)ctx->{}", register(*from)),
            GuardWord::Memory(from) => {
                let copy = copy_memory(from, *to, 8);
                line(format!("    if ({copy}) {{ AT(u64, {to}) = 0; FAULT({fault}); break; }}"));
                format!("AT(u64, {to})")
            }
        };
        let holds = match guard.test {
            GuardTest::Above(index) => format!("(s64)({word}) > {}", number(index)),
            GuardTest::NotZero => format!("({word}) != 0"),
            GuardTest::Equal { register: from, distance } => {
                format!("({word}) == (u64)ctx->{} + {}", register(from), number(distance))
            }
        };
        line(format!(
            "    if (!({holds})) {{ AT(u64, {to}) = 0; FAULT({fault}); FAULT({missing}); break; }}"
        ));
    }
    emit_read(out, read, may_sleep);
    out.push_str("    } while (0);\n");
}

/// Emits the statements that copy a string. If that fails, they bring it into memory and try again.
fn emit_string(out: &mut String, read: &ReadOp, may_sleep: bool) {
    let ReadOp::String { to, max, pointer, length, fault, fault_in } = read else { return };
    let (at, pointer) = (to + 8, format!("AT(u64, {pointer})"));
    // Writing to a string cannot fail.
    let _ = match length {
        Some(length) => {
            let copy = format!("bpf_probe_read_user(base + {at}, length, (void *){pointer})");
            let failed = match *fault_in && may_sleep {
                true => format!("{copy} && (!FAULT_IN({pointer}, length) || {copy})"),
                false => copy,
            };
            let unless_negative = if length.signed {
                format!("if ((s64)length < 0) AT(u32, {to}) = length;\n    else ")
            } else {
                String::new()
            };
            write!(
                out,
                "    length = {};\n    asm volatile(\"\" : \"+r\"(length));\n    {unless_negative}{{\n\
                 \x20   if (length > {max}) length = {max};\n\
                 \x20   asm volatile(\"\" : \"+r\"(length));\n    AT(u32, {to}) = length;\n\
                 \x20   if ({failed}) FAULT({fault});\n    }}\n",
                slot_value(*length),
            )
        }
        None => {
            let copy = format!("bpf_probe_read_user_str(base + {at}, {max}, (void *){pointer})");
            let again = match *fault_in && may_sleep {
                true => format!("    if (got < 0 && FAULT_IN({pointer}, {max})) got = {copy};\n"),
                false => String::new(),
            };
            write!(
                out,
                "    got = {copy};\n{again}    AT(u32, {to}) = got;\n    if (got < 0) FAULT({fault});\n"
            )
        }
    };
}

/// Emits the statements that bring a string into memory before it is copied where the program must
/// not sleep.
pub(super) fn emit_fault_in(out: &mut String, read: &ReadOp) {
    let ReadOp::String { max, pointer, length, fault_in: true, .. } = read else { return };
    let length = length.map_or_else(|| max.to_string(), slot_value);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "    length = {length};\n    if (length > {max}) length = {max};\n    TOUCH(AT(u64, {pointer}), length);\n"
    );
}

/// A 64-bit literal. C has none for the lowest number, which needs an expression.
pub(super) fn number(value: i64) -> String {
    if value == i64::MIN { "(-9223372036854775807LL - 1)".to_owned() } else { format!("{value}LL") }
}

/// A slot's value as a 64-bit expression of its sign.
pub(super) fn slot_value(slot: ArgSlot) -> String {
    let sign = if slot.signed { 's' } else { 'u' };
    format!("({sign}64)AT({sign}{}, {})", u32::from(slot.size) * 8, slot.at)
}

/// The address up to the first dereference.
fn address(from: &Address) -> String {
    let mut terms = Vec::new();
    if let Some(base) = from.base {
        terms.push(format!("ctx->{}", register(base)));
    }
    if let Some((index, scale)) = from.index {
        terms.push(format!("ctx->{} * {scale}", register(index)));
    }
    terms.push(number(from.first_offset()));
    terms.join(" + ")
}

/// The member of the kernel's `struct pt_regs` at an offset. User space has a `struct pt_regs` with
/// the same layout but other names.
#[cfg(target_arch = "x86_64")]
fn register(offset: i16) -> String {
    const NAMES: [&str; 20] = [
        "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si",
        "di", "orig_ax", "ip", "cs", "flags", "sp",
    ];
    usize::try_from(offset / 8).ok().and_then(|i| NAMES.get(i)).copied().unwrap_or("ax").to_owned()
}

/// The member of the kernel's `struct pt_regs` at an offset.
#[cfg(target_arch = "aarch64")]
fn register(offset: i16) -> String {
    match offset / 8 {
        31 => "sp".to_owned(),
        32 => "pc".to_owned(),
        n => format!("regs[{n}]"),
    }
}
