//! The assembly side: a stub, a site and a blob per probe for each architecture, and the schemas in a file that all
//! share.
//!
//! The site is a function of its own, so the note's pc is a symbol's address; the stub puts the arguments into
//! registers, with the goroutine's id after them, and jumps there. amd64 sites carry the forms
//! that kernels know how to optimize after the `nop` that every tracer attaches to: `nop10` (libbpf's
//! `nop,nop10` pair) and `nop5` (safe in Go, which has no red zone). The linker aligns functions to 32 bytes
//! (amd64) and 16 (arm64), so a site never crosses a page.
//!
//! A symbol cannot have `DATA` in two files: the linker would leave zeros. So the schema, which is the same on every
//! architecture, is a symbol of its own.

use super::blobs::{self, BlobSymbols};
use super::package::{ARCHITECTURES, GoProbe, OPT_OUT, Package, TOOLCHAIN, Unit};
use super::registers::{moves_from_internal, register};
use stapsdt::argspec::Arch;
use stapsdt::blob;
use std::fmt::Write as _;

/// `STEM_GOARCH.s`; the file's name says which architecture it is for.
pub(super) fn assembly(unit: &Unit<'_>, arch: Arch) -> String {
    let mut out = head(unit, &format!("{TOOLCHAIN} && linux && {OPT_OUT}"));
    for probe in &unit.probes {
        let _ = write!(out, "\n// {}\n", probe.full_name());
        stub(&mut out, probe, arch, unit.package);
        site(&mut out, probe, arch);
        let (blob, site, schema, gate) =
            (&probe.blob(), &probe.site(), &probe.schema(), &probe.gate());
        out.push('\n');
        blobs::write_blob(&mut out, &probe.data, arch, &BlobSymbols { blob, site, schema, gate });
    }
    out
}

/// `STEM_schema.s`.
pub(super) fn schemas(unit: &Unit<'_>) -> String {
    let mut out = head(unit, &format!("{TOOLCHAIN} && linux && ({ARCHITECTURES}) && {OPT_OUT}"));
    for probe in &unit.probes {
        let _ = write!(out, "\n// {}\n", probe.full_name());
        blobs::write_schema(&mut out, &probe.data, &probe.schema());
    }
    out
}

fn head(unit: &Unit<'_>, constraint: &str) -> String {
    format!("{}//go:build {constraint}\n\n#include \"textflag.h\"\n", unit.header())
}

fn stub(out: &mut String, probe: &GoProbe<'_>, arch: Arch, package: Package<'_>) {
    let words = probe.probe.words();
    // ABIInternal is the runtime's privilege; where it passes arguments on the stack, ABI0 does as well.
    let internal = if package.runtime { moves_from_internal(words) } else { None };
    let abi = if internal.is_some() { "<ABIInternal>" } else { "" };
    let _ = writeln!(out, "TEXT ·{}{abi}(SB), NOSPLIT|NOFRAME, $0-{}", probe.stub(), words * 8);
    match (internal, arch) {
        (Some(moves), Arch::X86_64) => {
            for (source, target) in moves {
                let _ = writeln!(out, "\tMOVQ {source}, {target}");
            }
        }
        // The arguments are where they belong.
        (Some(_), Arch::Aarch64) => {}
        (None, arch) => {
            let load = if arch == Arch::X86_64 { "MOVQ" } else { "MOVD" };
            for (word, (name, _)) in
                (0..words).filter_map(|word| Some((word, register(word, arch)?)))
            {
                let _ = writeln!(out, "\t{load} arg{word}+{}(FP), {name}", 8 * word);
            }
        }
    }
    if let Some((name, _)) = register(words, arch) {
        // Unsealed, this loads the goroutine's first word.
        let offset = format!("·{}+{}(SB)", probe.blob(), blob::field::GOID_OFFSET);
        let _ = match arch {
            Arch::X86_64 => {
                write!(out, "\tMOVL {offset}, {name}\n\tMOVQ (R14)({name}*1), {name}\n")
            }
            Arch::Aarch64 => {
                write!(out, "\tMOVWU {offset}, {name}\n\tADD g, {name}\n\tMOVD ({name}), {name}\n")
            }
        };
    }
    let _ = write!(out, "\tJMP ·{}(SB)\n\n", probe.site());
}

fn site(out: &mut String, probe: &GoProbe<'_>, arch: Arch) {
    let _ = writeln!(out, "TEXT ·{}(SB), NOSPLIT|NOFRAME, $0-0", probe.site());
    match arch {
        Arch::X86_64 => out.push_str(
            "\tBYTE $0x90 // nop\n\
             \tLONG $0x1f0f2e66 // nop10\n\
             \tLONG $0x00000084\n\
             \tWORD $0x0000\n\
             \tLONG $0x00441f0f // nop5\n\
             \tBYTE $0x00\n\
             \tRET\n",
        ),
        Arch::Aarch64 => out.push_str("\tNOOP\n\tRET\n"),
    }
}
