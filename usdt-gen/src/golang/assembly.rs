//! The assembly files: for each architecture a stub, a site and a blob per probe, and one file of
//! schemas for all.
//!
//! The site is a function of its own, so the note's pc is the address of a symbol. The stub loads
//! the arguments into registers, with the goroutine ID after them, and jumps to the site.
//!
//! On amd64, the `nop` that every tracer attaches to is followed by the forms that kernels can
//! optimize: `nop10` (libbpf's `nop,nop10` pair) and `nop5` (safe in Go, which has no red zone).
//! The linker aligns functions to 32 bytes on amd64 and to 16 bytes on arm64, so a site never
//! crosses a page.
//!
//! A symbol must have all of its `DATA` in one file; otherwise the linker leaves zeros. The schema,
//! which is the same on every architecture, is therefore a symbol of its own.

use super::blobs::{self, BlobSymbols};
use super::package::{ARCHITECTURES, GoProbe, OPT_OUT, Package, TOOLCHAIN, Unit};
use super::registers::{moves_from_internal, register};
use stapsdt::argspec::Arch;
use stapsdt::blob;
use std::fmt::Write as _;

/// Returns `STEM_GOARCH.s`. The file name selects the architecture.
pub(super) fn stubs(unit: &Unit<'_>, arch: Arch) -> String {
    let mut out = header(unit, &format!("{TOOLCHAIN} && linux && {OPT_OUT}"));
    for probe in &unit.probes {
        let _ = write!(out, "\n// {}\n", probe.full_name());
        write_stub(&mut out, probe, arch, unit.package);
        write_site(&mut out, probe, arch);
        let (blob, site, schema, semaphore_blob) =
            (&probe.blob(), &probe.site(), &probe.schema(), &probe.semaphore_blob());
        out.push('\n');
        let symbols = BlobSymbols { blob, site, schema, semaphore_blob };
        blobs::write_blob(&mut out, &probe.data, arch, &symbols);
    }
    out
}

/// Returns `STEM_schema.s`.
pub(super) fn schemas(unit: &Unit<'_>) -> String {
    let mut out = header(unit, &format!("{TOOLCHAIN} && linux && ({ARCHITECTURES}) && {OPT_OUT}"));
    for probe in &unit.probes {
        let _ = write!(out, "\n// {}\n", probe.full_name());
        blobs::write_schema(&mut out, &probe.data, &probe.schema());
    }
    out
}

fn header(unit: &Unit<'_>, constraint: &str) -> String {
    format!("{}//go:build {constraint}\n\n#include \"textflag.h\"\n", unit.header())
}

fn write_stub(out: &mut String, probe: &GoProbe<'_>, arch: Arch, package: Package<'_>) {
    let words = probe.probe.words();
    // Only the runtime may use ABIInternal. ABI0 is enough where ABIInternal passes arguments on
    // the stack as well.
    let moves = if package.runtime { moves_from_internal(words) } else { None };
    let abi = if moves.is_some() { "<ABIInternal>" } else { "" };
    let _ = writeln!(out, "TEXT ·{}{abi}(SB), NOSPLIT|NOFRAME, $0-{}", probe.stub(), words * 8);
    match (moves, arch) {
        (Some(moves), Arch::X86_64) => {
            for (source, target) in moves {
                let _ = writeln!(out, "\tMOVQ {source}, {target}");
            }
        }
        // ABIInternal on arm64 already has the arguments in the site's registers.
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
        // The offset of the goroutine ID is zero in unsealed binaries, which then load the
        // goroutine's first word.
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

fn write_site(out: &mut String, probe: &GoProbe<'_>, arch: Arch) {
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
