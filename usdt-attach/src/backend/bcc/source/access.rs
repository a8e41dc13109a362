//! Functions by which a user's own program reads arguments by name.

use super::reads::{step, word};
use crate::plan::{StringEnd, record_layout};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What stands in front of every program.
pub(in crate::backend::bcc) fn prelude() -> String {
    format!(
        "#include <uapi/linux/ptrace.h>\n\
         #define AT(type, at) (*(type *)(base + (at)))\n#define FAULT(bit) AT(u32, {}) |= 1u << (bit)\n\
         #define USDT(provider, probe) int usdt__##provider##__##probe(struct pt_regs *ctx)\n\
         #define usdt_arg(provider, probe, name) usdt_arg__##provider##__##probe##__##name(ctx)\n\
         #define usdt_text(provider, probe, name, to, size) \\\n\
         \x20 usdt_text__##provider##__##probe##__##name(ctx, to, size)\n\
         static u64 (*usdt_cookie)(void *) = (void *)174;\n",
        record_layout::FAULTS
    )
}

/// A name as part of an identifier.
pub(in crate::backend::bcc) fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    name.replace('-', "__").chars().map(plain).collect()
}

/// An argument of a probe: how each of its sites, by cookie, has it.
pub(in crate::backend::bcc) type Sites<'a> = Vec<(u32, &'a crate::plan::Access)>;

/// The functions for the arguments of a probe, by name.
pub(in crate::backend::bcc) fn accessors(
    probe: &str,
    arguments: &BTreeMap<&str, Sites<'_>>,
) -> String {
    let mut out = String::new();
    for (name, sites) in arguments {
        let signed = sites.iter().any(|(_, access)| access.slot.signed);
        let ty = if signed { "s64" } else { "u64" };
        let function = identifier(name);
        let _ = write!(
            out,
            "static __always_inline {ty} usdt_arg__{probe}__{function}(struct pt_regs *ctx) {{\n\
             \x20 u8 *base;\n  switch (usdt_cookie(ctx)) {{\n"
        );
        for (cookie, access) in sites {
            fill(&mut out, *cookie, access);
            let _ = writeln!(out, "    return {};\n  }}", word(access.slot));
        }
        out.push_str("  }\n  return 0;\n}\n");
        if sites.iter().all(|(_, access)| access.string.is_some()) {
            text(&mut out, probe, &function, sites);
        }
    }
    out
}

/// Copies text and returns its length, or a negative error number; what does not fit is cut off. Text that a zero
/// ends is copied with it, which the length counts.
fn text(out: &mut String, probe: &str, function: &str, sites: &Sites<'_>) {
    let _ = write!(
        out,
        "static __always_inline s64 usdt_text__{probe}__{function}(struct pt_regs *ctx, void *to, u64 size) {{\n\
         \x20 u8 *base;\n  u64 length;\n  switch (usdt_cookie(ctx)) {{\n"
    );
    for (cookie, access) in sites {
        fill(out, *cookie, access);
        let pointer = word(access.slot);
        match access.string {
            Some(StringEnd::Length(length)) => {
                let _ = write!(
                    out,
                    "    length = {};\n    if (length > size) length = size;\n\
                     \x20   asm volatile(\"\" : \"+r\"(length));\n    if (length > size) return 0;\n\
                     \x20   if (bpf_probe_read_user(to, length, (void *)({pointer}))) return -14;\n\
                     \x20   return length;\n  }}\n",
                    word(length)
                );
            }
            Some(StringEnd::Nul) | None => {
                let _ = writeln!(
                    out,
                    "    return bpf_probe_read_user_str(to, size, (void *)({pointer}));\n  }}"
                );
            }
        }
    }
    out.push_str("  }\n  return -2;\n}\n");
}

fn fill(out: &mut String, cookie: u32, access: &crate::plan::Access) {
    let _ = writeln!(
        out,
        "  case {cookie}: {{\n    u64 frame[{}] = {{}};\n    base = (u8 *)frame;",
        access.size / 8
    );
    for one in &access.reads {
        step(out, one);
    }
}
