//! A plan as C source: step for step what the embedded back end emits, so that records and tables are the same
//! bytes.

pub(super) mod access;
mod action;
mod condition;
mod reads;

use crate::bpf::{Counter, KernelFeatures, MapFds};
use crate::plan::{Action, Handler, Plan, pt_regs, record_layout};
use reads::step;
use std::fmt::Write as _;

/// Name of the program's function.
pub(super) const FUNCTION: &str = "usdt_attach";

/// Name of the function of one site, where programs cannot ask for their site's cookie.
pub(super) fn function_of(cookie: u32) -> String {
    format!("{FUNCTION}_{cookie}")
}

/// The source of the plan's program. Maps are named by descriptor: it is compiled where it is loaded.
/// Without cookies it has a function for each site.
pub(super) fn generate(plan: &Plan, maps: &MapFds, features: KernelFeatures) -> String {
    let mut out = String::from("#include <uapi/linux/ptrace.h>\n\n");
    let maps = [
        ("EVENTS", format!("((void *)bpf_pseudo_fd(1, {}))", maps.events)),
        ("COUNTERS", format!("bpf_pseudo_fd(1, {})", maps.counters)),
        ("CONTROL", format!("bpf_pseudo_fd(2, {})", maps.control)),
        ("RATES", format!("bpf_pseudo_fd(2, {})", maps.rates)),
        ("TABLE", format!("bpf_pseudo_fd(1, {})", maps.table)),
        ("ZERO", format!("((void *)bpf_pseudo_fd(2, {}))", maps.zero)),
        ("STARTS", format!("bpf_pseudo_fd(1, {})", maps.starts)),
        ("CGROUP", format!("((void *)bpf_pseudo_fd(1, {}))", maps.cgroup)),
    ];
    for (name, value) in maps {
        let _ = writeln!(out, "#define {name} {value}");
    }
    let _ = write!(
        out,
        "#define AT(type, at) (*(type *)(base + (at)))\n#define FAULT(bit) AT(u32, {faults}) |= 1u << (bit)\n\
         #define FAULTED(bit) (AT(u32, {faults}) >> (bit) & 1)\n\
         #define COUNT(counter) __sync_fetch_and_add(&counts[counter], 1)\n\
         #define FILTERED {{ COUNT({filtered}); return 0; }}\n\
         #define DROPPED {{ COUNT({dropped}); return 0; }}\n\n\
         static u64 (*attach_cookie)(void *) = (void *)174;\n\
         static long (*under_cgroup)(void *, u32) = (void *)37;\n\
         static long (*get_stack)(void *, void *, u32, u64) = (void *)67;\n\n\
         static __always_inline int handle(struct pt_regs *ctx, u32 cookie) {{\n",
        faults = record_layout::FAULTS,
        filtered = Counter::Filtered as u32,
        dropped = Counter::Dropped as u32,
    );
    prologue(&mut out, plan);
    let sites = plan.sites();
    for (index, handler) in (0u32..).zip(&plan.handlers) {
        let mut run: Option<(u32, u32)> = None;
        let close = |run: Option<(u32, u32)>, out: &mut String| {
            if let Some((from, to)) = run {
                let _ = writeln!(out, "  case {from} ... {to}:");
            }
        };
        for site in sites.iter().filter(|s| s.handler == index) {
            run = match run {
                Some((from, to)) if to + 1 == site.cookie => Some((from, site.cookie)),
                other => {
                    close(other, &mut out);
                    Some((site.cookie, site.cookie))
                }
            };
        }
        close(run, &mut out);
        out.push_str("  {\n");
        one(&mut out, plan, handler);
        out.push_str("    return 0;\n  }\n");
    }
    out.push_str("  }\n  return 0;\n}\n");
    if features.cookies {
        let _ = writeln!(
            out,
            "int {FUNCTION}(struct pt_regs *ctx) {{ return handle(ctx, attach_cookie(ctx)); }}"
        );
        return out;
    }
    for site in sites {
        let cookie = site.cookie;
        let function = function_of(cookie);
        let _ = writeln!(
            out,
            "int {function}(struct pt_regs *ctx) {{ return handle(ctx, {cookie}); }}"
        );
    }
    out
}

/// Everything before the site's own handler.
fn prologue(out: &mut String, plan: &Plan) {
    if let Some(pids) = &plan.pids {
        let others: Vec<String> = pids.iter().map(|pid| format!("tgid != {pid}")).collect();
        let _ = write!(
            out,
            "  u32 tgid = bpf_get_current_pid_tgid() >> 32;\n  if ({}) return 0;\n",
            others.join(" && ")
        );
    }
    if plan.cgroup.is_some() {
        out.push_str("  if (under_cgroup(CGROUP, 0) != 1) return 0;\n");
    }
    if plan.limit.is_some() {
        out.push_str(
            "  s64 *budget = (s64 *)CONTROL;\n  if (*(volatile s64 *)budget <= 0) return 0;\n",
        );
    }
    let _ = write!(
        out,
        "  u64 *counts = bpf_map_lookup_elem_(COUNTERS, &cookie);\n  if (!counts) return 0;\n\
         \x20 COUNT({});\n  u8 *base;\n  u64 *slot, *budget_of_second;\n  u64 flags, length, value, number, index;\n\
         \x20 s64 got;\n  switch (cookie) {{\n",
        Counter::Hits as u32
    );
}

fn one(out: &mut String, plan: &Plan, handler: &Handler) {
    if handler.stack_check {
        let _ = write!(
            out,
            "    if ((ctx->pstate >> {} & 3) != 1) {{\n\
             \x20     __sync_fetch_and_add(&counts[{}], -1);\n      return 0;\n    }}\n",
            pt_regs::CARRY_BIT,
            Counter::Hits as u32
        );
    }
    let frame = &handler.frame;
    // A record is put together on the stack, too, which has no room for both.
    let records = matches!(handler.action, Action::Record(_));
    if records {
        out.push_str("    {\n");
    }
    if frame.size > 0 {
        let _ = writeln!(out, "    u64 frame[{}] = {{}};\n    base = (u8 *)frame;", frame.size / 8);
        for one in &frame.filter_reads {
            step(out, one);
        }
    }
    if let Some(condition) = &handler.filter {
        let _ = writeln!(out, "    if (!{}) FILTERED", condition::expression(condition));
    }
    if records {
        out.push_str("    }\n");
    }
    if let Some(every) = plan.sample {
        let share = (u64::from(u32::MAX) + 1) / u64::from(every.max(1));
        let _ = writeln!(out, "    if ((u64)bpf_get_prandom_u32() >= {share}ULL) FILTERED");
    }
    if let (Some(most), Some(slot)) = (plan.rate, handler.rate) {
        // libbcc's BPF target has no fetching atomics: hits on several CPUs at once may pass together.
        let _ = write!(
            out,
            "    number = bpf_ktime_get_ns() / 1000000000;\n\
             \x20   budget_of_second = (u64 *)((u8 *)RATES + {});\n\
             \x20   if (*(volatile u64 *)budget_of_second >> 32 != number)\n\
             \x20     *(volatile u64 *)budget_of_second = number << 32;\n\
             \x20   if ((u32)*(volatile u64 *)budget_of_second >= {most}) FILTERED\n\
             \x20   __sync_fetch_and_add(budget_of_second, 1);\n",
            slot * 8
        );
    }
    if plan.limit.is_some() {
        // For the same reason the session drops the records beyond the limit.
        out.push_str("    __sync_fetch_and_add(budget, -1);\n");
    }
    action::action(out, plan, handler);
}
