//! C functions with which a custom program reads arguments by name.

use super::fault_in_macros;
use super::pid_namespace::pid_tgid_function;
use super::reads::{emit_read, slot_value};
use crate::bpf::PidNamespace;
use crate::bpf::helper::GET_ATTACH_COOKIE;
use crate::plan::{Access, StringEnd, record_layout};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The definitions that every custom program starts with. A program that may sleep waits for strings
/// that are not in memory. In a PID namespace, the program's own calls of
/// `bpf_get_current_pid_tgid` return the ids of that namespace.
pub(in crate::backend::bcc) fn prelude(
    may_sleep: bool,
    pid_namespace: Option<&PidNamespace>,
) -> String {
    let ids = pid_namespace.map_or(String::new(), |namespace| {
        format!("{}#define bpf_get_current_pid_tgid usdt_pid_tgid\n", pid_tgid_function(namespace))
    });
    let definitions = format!(
        "#include <uapi/linux/ptrace.h>\n\
         #define AT(type, at) (*(type *)(base + (at)))\n#define FAULT(bit) AT(u32, {faults}) |= 1u << (bit)\n\
         #define USDT(provider, probe) int usdt__##provider##__##probe(struct pt_regs *ctx)\n\
         #define usdt_arg(provider, probe, name) usdt_arg__##provider##__##probe##__##name(ctx)\n\
         #define usdt_text(provider, probe, name, to, size) \\\n\
         \x20 usdt_text__##provider##__##probe##__##name(ctx, to, size)\n\
         static u64 (*usdt_cookie)(void *) = (void *){GET_ATTACH_COOKIE};\n{fault_in}",
        fault_in = fault_in_macros(true, may_sleep),
        faults = record_layout::FAULTS,
    );
    definitions + &ids
}

/// A name as part of a C identifier: `-` becomes `__`, other characters that C does not allow become
/// `_`.
pub(in crate::backend::bcc) fn identifier(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    name.replace('-', "__").chars().map(allowed).collect()
}

/// How to read an argument at a site.
pub(in crate::backend::bcc) struct SiteAccess<'a> {
    pub(in crate::backend::bcc) cookie: u32,
    pub(in crate::backend::bcc) access: &'a Access,
}

/// How to read an argument at each site of its probe.
pub(in crate::backend::bcc) type Sites<'a> = Vec<SiteAccess<'a>>;

/// The functions that return the arguments of a probe. A probe can have several sites with different
/// operands, so each function selects the site by its cookie.
pub(in crate::backend::bcc) fn accessors(
    probe: &str,
    arguments: &BTreeMap<&str, Sites<'_>>,
) -> String {
    let mut out = String::new();
    for (name, sites) in arguments {
        let signed = sites.iter().any(|site| site.access.slot.signed);
        let ty = if signed { "s64" } else { "u64" };
        let function = identifier(name);
        let _ = write!(
            out,
            "static __always_inline {ty} usdt_arg__{probe}__{function}(struct pt_regs *ctx) {{\n\
             \x20 u8 *base;\n  switch (usdt_cookie(ctx)) {{\n"
        );
        for site in sites {
            begin_site(&mut out, site);
            let _ = writeln!(out, "    return {};\n  }}", slot_value(site.access.slot));
        }
        out.push_str("  }\n  return 0;\n}\n");
        if sites.iter().all(|site| site.access.string.is_some()) {
            string_accessor(&mut out, probe, &function, sites);
        }
    }
    out
}

/// A function that copies a string, truncated to the given size, and returns its length or a negative
/// error number. A C string is copied with its NUL, which the length includes.
fn string_accessor(out: &mut String, probe: &str, function: &str, sites: &Sites<'_>) {
    let _ = write!(
        out,
        "static __always_inline s64 usdt_text__{probe}__{function}(struct pt_regs *ctx, void *to, u64 size) {{\n\
         \x20 u8 *base;\n  u64 length;\n  switch (usdt_cookie(ctx)) {{\n"
    );
    for site in sites {
        begin_site(out, site);
        let pointer = slot_value(site.access.slot);
        match site.access.string {
            Some(StringEnd::Length(length)) => {
                let copy = format!("bpf_probe_read_user(to, length, (void *)({pointer}))");
                let failed = match site.access.fault_in {
                    true => format!("{copy} && (!FAULT_IN({pointer}, length) || {copy})"),
                    false => copy,
                };
                let _ = write!(
                    out,
                    "    length = {};\n{}\
                     \x20   if (length > size) length = size;\n\
                     \x20   asm volatile(\"\" : \"+r\"(length));\n    if (length > size) return 0;\n\
                     \x20   if ({failed}) return {};\n\
                     \x20   return length;\n  }}\n",
                    slot_value(length),
                    if length.signed {
                        format!("    if ((s64)length < 0) return {};\n", -libc::EINVAL)
                    } else {
                        String::new()
                    },
                    -libc::EFAULT
                );
            }
            Some(StringEnd::Nul) | None => {
                let copy = format!("bpf_probe_read_user_str(to, size, (void *)({pointer}))");
                let again = match site.access.fault_in {
                    true => format!(
                        "    s64 got = {copy};\n    if (got >= 0 || !FAULT_IN({pointer}, size)) return got;\n"
                    ),
                    false => String::new(),
                };
                let _ = writeln!(out, "{again}    return {copy};\n  }}");
            }
        }
    }
    let _ = write!(out, "  }}\n  return {};\n}}\n", -libc::ENOENT);
}

/// Emits the start of the `case` of a site: reading the argument into a frame.
fn begin_site(out: &mut String, site: &SiteAccess<'_>) {
    let _ = writeln!(
        out,
        "  case {}: {{\n    u64 frame[{}] = {{}};\n    base = (u8 *)frame;",
        site.cookie,
        site.access.size / 8
    );
    for read in &site.access.reads {
        emit_read(out, read, false);
    }
}
