//! A plan as C source: step for step what the embedded back end emits, so that records are the same bytes.

use crate::backend::kernel::MapFds;
use crate::plan::Plan;
use crate::plan::layout::{self, Address, Layout, Step};
use std::fmt::Write as _;

/// Name of the program's function.
pub(super) const FUNCTION: &str = "usdt_attach";

/// The source of the plan's program. Maps are named by descriptor: it is compiled where it is loaded.
pub fn generate(plan: &Plan, maps: &MapFds) -> String {
    let mut out = String::from("#include <uapi/linux/ptrace.h>\n\n");
    let _ = write!(
        out,
        "#define RING ((void *)bpf_pseudo_fd(1, {}))\n#define COUNTERS bpf_pseudo_fd(1, {})\n\
         #define CONTROL bpf_pseudo_fd(2, {})\n#define U32(at) (*(u32 *)(record + (at)))\n\
         #define U64(at) (*(u64 *)(record + (at)))\n#define FAULT(bit) U32({}) |= 1u << (bit)\n\n\
         static u64 (*attach_cookie)(void *) = (void *)174;\n\n\
         int {FUNCTION}(struct pt_regs *ctx) {{\n",
        maps.ring,
        maps.counters,
        maps.control,
        layout::FAULTS
    );
    if let Some(pids) = &plan.pids {
        let others: Vec<String> = pids.iter().map(|pid| format!("tgid != {pid}")).collect();
        let _ = write!(
            out,
            "  u32 tgid = bpf_get_current_pid_tgid() >> 32;\n  if ({}) return 0;\n",
            others.join(" && ")
        );
    }
    out.push_str("  u32 cookie = attach_cookie(ctx);\n");
    if plan.limit.is_some() {
        // libbcc's BPF target has no fetching atomics: hits on several CPUs at once may pass together, and the
        // session drops the records beyond the limit.
        out.push_str(
            "  s64 *budget = (s64 *)CONTROL;\n  if (*(volatile s64 *)budget <= 0) return 0;\n\
             \x20 __sync_fetch_and_add(budget, -1);\n",
        );
    }
    out.push_str(
        "  u64 *counts = bpf_map_lookup_elem_(COUNTERS, &cookie);\n  if (!counts) return 0;\n\
         \x20 __sync_fetch_and_add(&counts[0], 1);\n  u8 *record;\n  u64 flags, length;\n  s64 got;\n\
         \x20 switch (cookie) {\n",
    );
    let sites = plan.sites();
    for (index, layout) in (0u32..).zip(&plan.layouts) {
        let mut first: Option<(u32, u32)> = None;
        let close = |run: Option<(u32, u32)>, out: &mut String| {
            if let Some((from, to)) = run {
                let _ = writeln!(out, "  case {from} ... {to}:");
            }
        };
        for site in sites.iter().filter(|s| s.layout == index) {
            first = match first {
                Some((from, to)) if to + 1 == site.cookie => Some((from, site.cookie)),
                run => {
                    close(run, &mut out);
                    Some((site.cookie, site.cookie))
                }
            };
        }
        close(first, &mut out);
        record(&mut out, layout, plan.buffer);
    }
    out.push_str("  }\n  return 0;\n}\n");
    out
}

fn record(out: &mut String, layout: &Layout, buffer: u32) {
    let _ = write!(
        out,
        "    record = bpf_ringbuf_reserve(RING, {}, 0);\n\
         \x20   if (!record) {{ __sync_fetch_and_add(&counts[1], 1); return 0; }}\n\
         \x20   U64({}) = cookie;\n    U64({}) = bpf_ktime_get_ns();\n    U64({}) = bpf_get_current_pid_tgid();\n",
        layout.size,
        layout::COOKIE,
        layout::TIME,
        layout::PID_TGID
    );
    if !layout.goid {
        let _ = writeln!(out, "    U64({}) = 0;", layout::GOID);
    }
    let _ = writeln!(out, "    bpf_get_current_comm(record + {}, 16);", layout::COMM);
    for one in &layout.steps {
        step(out, one);
    }
    // One record in 64 looks at the fill level, as in the embedded back end.
    let _ = write!(
        out,
        "    flags = 1;\n    if (!(U64({}) & 63) && bpf_ringbuf_query(RING, 0) > {}) flags = 2;\n\
         \x20   bpf_ringbuf_submit(record, flags);\n    return 0;\n",
        layout::TIME,
        buffer / 2
    );
}

fn step(out: &mut String, step: &Step) {
    // Writing to a string has no failing case.
    let _ = match step {
        Step::Constant { to, value } => writeln!(out, "    U64({to}) = {value}LL;"),
        Step::Register { to, from } => writeln!(out, "    U64({to}) = ctx->{};", register(*from)),
        Step::Memory { to, len, from, fault } => writeln!(
            out,
            "    if (bpf_probe_read_user(record + {to}, {len}, (void *)({}))) FAULT({fault});",
            address(from)
        ),
        Step::Text { to, max, pointer, length: Some(length), fault } => write!(
            out,
            "    length = U64({length});\n    if (length > {max}) length = {max};\n\
             \x20   asm volatile(\"\" : \"+r\"(length));\n    U32({to}) = length;\n\
             \x20   if (bpf_probe_read_user(record + {}, length, (void *)U64({pointer}))) FAULT({fault});\n",
            to + 8
        ),
        Step::Text { to, max, pointer, length: None, fault } => write!(
            out,
            "    got = bpf_probe_read_user_str(record + {}, {max}, (void *)U64({pointer}));\n\
             \x20   U32({to}) = got;\n    if (got < 0) FAULT({fault});\n",
            to + 8
        ),
    };
}

fn address(from: &Address) -> String {
    let mut terms = Vec::new();
    if let Some(base) = from.base {
        terms.push(format!("ctx->{}", register(base)));
    }
    if let Some((index, scale)) = from.index {
        terms.push(format!("ctx->{} * {scale}", register(index)));
    }
    terms.push(format!("{}LL", from.disp));
    terms.join(" + ")
}

/// Member of the kernel's own `struct pt_regs` at an offset of the user-space one: the layouts agree, the names
/// do not.
#[cfg(target_arch = "x86_64")]
fn register(offset: i16) -> String {
    const NAMES: [&str; 20] = [
        "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di",
        "orig_ax", "ip", "cs", "flags", "sp",
    ];
    usize::try_from(offset / 8).ok().and_then(|i| NAMES.get(i)).copied().unwrap_or("ax").to_owned()
}

/// See above.
#[cfg(target_arch = "aarch64")]
fn register(offset: i16) -> String {
    match offset / 8 {
        31 => "sp".to_owned(),
        n => format!("regs[{n}]"),
    }
}
