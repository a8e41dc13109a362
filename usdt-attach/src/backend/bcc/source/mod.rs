//! Generates C source from a plan.
//!
//! The program takes the same steps as the one that the embedded back end generates. Both therefore
//! write the same records and tables.

pub(super) mod access;
mod action;
mod condition;
mod nesting;
mod pid_namespace;
mod reads;

use crate::bpf::helper::{COPY_FROM_USER, CURRENT_TASK_UNDER_CGROUP, GET_ATTACH_COOKIE, GET_STACK};
use crate::bpf::{Counter, KernelFeatures, MapFds};
use crate::plan::pt_regs::CheckedFlags;
use crate::plan::{Action, FrameRegion, Handler, Plan, record_layout};
use pid_namespace::pid_tgid_function;
use reads::emit_read;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// The name of the function that handles the hits of every site.
pub(super) const FUNCTION: &str = "usdt_attach";

/// The name of the function of one site, on kernels without BPF cookies.
pub(super) fn function_of(cookie: u32) -> String {
    format!("{FUNCTION}_{cookie}")
}

/// Generates the source of a plan's program. It refers to maps by their descriptors in this process.
/// On kernels without BPF cookies, it has a function for each site.
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
        ("NESTED", format!("bpf_pseudo_fd(1, {})", maps.nested)),
        ("CGROUP", format!("((void *)bpf_pseudo_fd(1, {}))", maps.cgroup)),
        ("PROCESSES", format!("bpf_pseudo_fd(1, {})", maps.processes)),
        ("EXECUTABLES", format!("bpf_pseudo_fd(1, {})", maps.executables)),
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
         static u64 (*attach_cookie)(void *) = (void *){GET_ATTACH_COOKIE};\n\
         static long (*under_cgroup)(void *, u32) = (void *){CURRENT_TASK_UNDER_CGROUP};\n\
         static long (*get_stack)(void *, void *, u32, u64) = (void *){GET_STACK};\n\n{pid_tgid}\n\
         {fault_in}\n\
         static __always_inline int handle(struct pt_regs *ctx, u32 cookie) {{\n",
        fault_in = fault_in_macros(plan.faults_in(), features.sleepable),
        faults = record_layout::FAULTS,
        filtered = Counter::Filtered as u32,
        dropped = Counter::Dropped as u32,
        pid_tgid = match &features.pid_namespace {
            // `ids` is a variable of the prologue.
            Some(namespace) => pid_tgid_function(namespace) + "#define PID_TGID ids\n",
            None => "#define PID_TGID bpf_get_current_pid_tgid()\n".to_owned(),
        },
    );
    prologue(&mut out, plan, features);
    let sites = plan.sites();
    for (index, handler) in (0u32..).zip(&plan.handlers) {
        let cookies = sites.iter().filter(|site| site.handler == index).map(|site| site.cookie);
        for range in ranges(cookies) {
            let _ = writeln!(out, "  case {} ... {}:", range.start(), range.end());
        }
        out.push_str("  {\n");
        match handler.action.frame_key() {
            None => handler_body(&mut out, plan, handler),
            Some(key) => out.push_str(&with_removed_start(plan, handler, key)),
        }
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

/// The macros that bring the first and the last of `length` bytes into memory. `FAULT_IN` is used
/// after a read has failed, and is 0 if the program may not sleep. `TOUCH` tests the bytes first.
pub(super) fn fault_in_macros(is_used: bool, may_sleep: bool) -> String {
    match (is_used, may_sleep) {
        (false, _) => String::new(),
        (true, false) => "#define FAULT_IN(at, length) 0\n#define TOUCH(at, length)\n".to_owned(),
        (true, true) => format!(
            "static long (*copy_from_user_)(void *, u32, const void *) = (void *){COPY_FROM_USER};\n\
             static __always_inline int fault_in(u64 at, u64 length) {{\n\
             \x20 u64 byte = 0;\n  copy_from_user_(&byte, 1, (void *)at);\n\
             \x20 copy_from_user_(&byte, 1, (void *)(at + length - 1));\n  return 1;\n}}\n\
             static __always_inline void touch(u64 at) {{\n\
             \x20 u64 byte = 0;\n  if (bpf_probe_read_user(&byte, 1, (void *)at)) copy_from_user_(&byte, 1, (void *)at);\n}}\n\
             #define FAULT_IN(at, length) fault_in(at, length)\n\
             #define TOUCH(at, length) {{ touch(at); touch(at + (length) - 1); }}\n"
        ),
    }
}

/// Joins consecutive cookies, which are in ascending order, to ranges.
fn ranges(cookies: impl Iterator<Item = u32>) -> Vec<RangeInclusive<u32>> {
    let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
    for cookie in cookies {
        match ranges.last_mut() {
            Some(last) if *last.end() + 1 == cookie => *last = *last.start()..=cookie,
            _ => ranges.push(cookie..=cookie),
        }
    }
    ranges
}

/// Emits what precedes the handlers: the checks of process, cgroup and limit, and the hit count.
fn prologue(out: &mut String, plan: &Plan, features: KernelFeatures) {
    let is_in_namespace = features.pid_namespace.is_some();
    if is_in_namespace {
        out.push_str("  u64 ids = usdt_pid_tgid();\n");
    }
    if plan.children.is_some() {
        out.push_str(
            "  u32 tgid = PID_TGID >> 32;\n  if (!bpf_map_lookup_elem_(PROCESSES, &tgid)) return 0;\n",
        );
    } else if let Some(pids) = &plan.pids {
        let others: Vec<String> = pids.iter().map(|pid| format!("tgid != {pid}")).collect();
        let _ =
            write!(out, "  u32 tgid = PID_TGID >> 32;\n  if ({}) return 0;\n", others.join(" && "));
    }
    if plan.cgroup.is_some() {
        out.push_str("  if (under_cgroup(CGROUP, 0) != 1) return 0;\n");
    }
    if let (Some(_), Some(offsets)) = (&plan.executables, features.executable) {
        // A scope of its own, so that a record may use the same part of the stack.
        out.push_str("  {\n  u64 executable = (u64)bpf_get_current_task();\n");
        for offset in [offsets.mm, offsets.file, offsets.inode] {
            let _ = writeln!(
                out,
                "  if (bpf_probe_read_kernel(&executable, 8, (void *)(executable + {offset}))) return 0;"
            );
        }
        out.push_str("  if (!bpf_map_lookup_elem_(EXECUTABLES, &executable)) return 0;\n  }\n");
    }
    if plan.limit.is_some() {
        out.push_str(
            "  s64 *budget = (s64 *)CONTROL;\n  if (*(volatile s64 *)budget <= 0) return 0;\n",
        );
    }
    let _ = write!(
        out,
        "  u64 *counts = bpf_map_lookup_elem_(COUNTERS, &cookie);\n  if (!counts) return 0;\n\
         {outside}  COUNT({hits});\n  u8 *base;\n  u64 *slot, *budget_of_second;\n  u64 flags, length, value, number, index;\n\
         \x20 s64 got;\n  switch (cookie) {{\n",
        hits = Counter::Hits as u32,
        // As in the embedded back end, they are no hits of the target.
        outside = if is_in_namespace && !plan.names_processes() {
            format!("  if (!ids) {{ COUNT({}); return 0; }}\n", Counter::Outside as u32)
        } else {
            String::new()
        },
    );
}

/// Returns the statements of a handler of call frames: a hit that is not taken removes the start of
/// the frame.
fn with_removed_start(plan: &Plan, handler: &Handler, key: &FrameRegion) -> String {
    let mut body = String::new();
    handler_body(&mut body, plan, handler);
    for outcome in ["FILTERED", "DROPPED"] {
        let remove = format!("{{ bpf_map_delete_elem_(STARTS, base + {}); {outcome} }}", key.at);
        body = body.replace(outcome, &remove);
    }
    body
}

/// Emits a handler: stack check, filter, sampling, rate limit, then the action.
fn handler_body(out: &mut String, plan: &Plan, handler: &Handler) {
    if handler.stack_check {
        let _ = write!(
            out,
            "    if ((ctx->{} & {:#x}) != {:#x}) {{\n\
             \x20     __sync_fetch_and_add(&counts[{}], -1);\n      return 0;\n    }}\n",
            CheckedFlags::NATIVE.name,
            CheckedFlags::NATIVE.mask,
            CheckedFlags::NATIVE.not_taken,
            Counter::Hits as u32
        );
    }
    let frame = &handler.frame;
    // The record is assembled on the stack as well, which has no room for both: the frame gets a
    // scope of its own.
    let records = matches!(handler.action, Action::Record(_));
    if records {
        out.push_str("    {\n");
    }
    if frame.size > 0 {
        let _ = writeln!(out, "    u64 frame[{}] = {{}};\n    base = (u8 *)frame;", frame.size / 8);
        for read in &frame.filter_reads {
            emit_read(out, read, true);
        }
    }
    if let Some(key) = handler.action.frame_key() {
        action::write_region(out, key);
    }
    if let Some(condition) = &handler.filter {
        let _ = writeln!(out, "    if (!{}) FILTERED", condition::expression(condition));
    }
    if records {
        out.push_str("    }\n");
    }
    if let Some(n) = plan.sample.filter(|_| handler.action.is_sampled()) {
        let threshold = (u64::from(u32::MAX) + 1) / u64::from(n.max(1));
        let _ = writeln!(out, "    if ((u64)bpf_get_prandom_u32() >= {threshold}ULL) FILTERED");
    }
    if let (Some(limit), Some(slot)) = (plan.rate, handler.rate) {
        // libbcc's BPF target has no atomics that return the old value, so concurrent hits may exceed
        // the limit.
        let _ = write!(
            out,
            "    number = bpf_ktime_get_ns() / 1000000000;\n\
             \x20   budget_of_second = (u64 *)((u8 *)RATES + {});\n\
             \x20   if (*(volatile u64 *)budget_of_second >> 32 != number)\n\
             \x20     *(volatile u64 *)budget_of_second = number << 32;\n\
             \x20   if ((u32)*(volatile u64 *)budget_of_second >= {limit}) FILTERED\n\
             \x20   __sync_fetch_and_add(budget_of_second, 1);\n",
            slot * 8
        );
    }
    if plan.limit.is_some() {
        // For the same reason, concurrent hits may exceed the budget. The session drops their records.
        out.push_str("    __sync_fetch_and_add(budget, -1);\n");
    }
    action::action(out, plan, handler);
}
