//! The assembly side: one site and one blob a probe.
//!
//! The site is the first thing in TEXT, so the note's pc is the symbol's address. amd64 sites carry the forms
//! that kernels know how to optimise behind the `nop` that every tracer attaches to: `nop10` (libbpf's
//! `nop,nop10` pair) and `nop5` (safe in Go, which has no red zone). The linker aligns functions to 32 bytes
//! (amd64) and 16 (arm64), so a site never crosses a page.

use super::{GenerateError, GoProbe, Unit};
use stapsdt::argspec::{Arch, Expr, Operand, Register, Value};
use stapsdt::blob::{self, Blob};
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};
use std::fmt::Write as _;

/// `STEM_GOARCH.s`.
pub(super) fn assembly(unit: &Unit<'_>, arch: Arch) -> Result<String, GenerateError> {
    let mut out = format!("{}//go:build linux && !usdt_off\n\n#include \"textflag.h\"\n", unit.header());
    for probe in &unit.probes {
        site(&mut out, probe, arch);
        data(&mut out, probe, arch)?;
    }
    Ok(out)
}

/// Bytes of the probe's blob: the same on both architectures, as the Go declaration is shared. The longer
/// argument text, arm64's, decides.
pub(super) fn blob_size(probe: &GoProbe<'_>) -> usize {
    [Arch::X86_64, Arch::Aarch64]
        .iter()
        .filter_map(|a| template(probe, *a).ok())
        .map(|b| b.len())
        .max()
        .unwrap_or(0)
}

fn site(out: &mut String, probe: &GoProbe<'_>, arch: Arch) {
    let words = probe.probe.words();
    let _ = write!(
        out,
        "\n// {}\nTEXT ·{}(SB), NOSPLIT|NOFRAME, $0-{}\n",
        probe.full_name(),
        probe.site(),
        words * 8
    );
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

/// The argument specification: 8-byte ABI0 slots behind the return address, sized and signed as declared.
fn args(probe: &GoProbe<'_>, arch: Arch) -> String {
    let mut slots = Vec::new();
    for param in &probe.probe.params {
        slots.push((param.ty.size(), param.ty.signed()));
        slots.extend(std::iter::repeat_n((8, false), param.ty.words() - 1));
    }
    let slots = slots.iter().zip(1i64..).map(|((size, signed), slot)| {
        let base = match arch {
            Arch::X86_64 => Register::gpr(4),
            Arch::Aarch64 => Register::sp(),
        };
        let operand = Operand::Memory { disp: Expr::number(8 * slot), base: Some(base), index: None };
        Value { size: *size, signed: *signed, float: false, operand }.print(arch)
    });
    slots.collect::<Vec<_>>().join(" ")
}

fn template(probe: &GoProbe<'_>, arch: Arch) -> Result<Vec<u8>, blob::BlobError> {
    let note = Note {
        pc: 0,
        base: 0,
        semaphore: 0,
        provider: probe.provider.name.clone(),
        name: probe.probe.name.clone(),
        args: args(probe, arch),
    };
    let schema = NoteBody {
        version: schema::VERSION,
        provider: probe.provider.name.clone(),
        probe: probe.provider.probe_schema(probe.probe),
    };
    Blob::template(&note, &schema.to_json())
}

fn data(out: &mut String, probe: &GoProbe<'_>, arch: Arch) -> Result<(), GenerateError> {
    let mut bytes = template(probe, arch).map_err(|e| GenerateError::Blob(probe.full_name(), e))?;
    // Equal sizes on both architectures: the size field and the padding at the end grow together.
    let size = blob_size(probe);
    bytes.resize(size, 0);
    if let Some(field) = bytes.get_mut(20..24) {
        field.copy_from_slice(&(size as u32).to_le_bytes());
    }
    let symbol = probe.blob();
    out.push('\n');
    for (at, chunk) in (0..).step_by(8).zip(bytes.chunks(8)) {
        let value = match at {
            blob::SELF => format!("·{symbol}(SB)"),
            blob::PC => format!("·{}(SB)", probe.site()),
            blob::NOTE_SEMAPHORE => format!("·{symbol}+{}(SB)", blob::SEMAPHORE),
            _ => literal(at, chunk),
        };
        let _ = writeln!(out, "DATA ·{symbol}+{at}(SB)/8, ${value}");
    }
    let _ = writeln!(out, "GLOBL ·{symbol}(SB), NOPTR, ${size}");
    Ok(())
}

/// Names and text stay readable in the assembly; the binary head is hexadecimal.
fn literal(at: usize, chunk: &[u8]) -> String {
    let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    if at < blob::NOTE_SEMAPHORE + 8 {
        return format!("0x{word:016x}");
    }
    let mut text = String::from("\"");
    for byte in chunk {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x20..0x7f => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}
