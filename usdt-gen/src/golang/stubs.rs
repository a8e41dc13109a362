//! The assembly side: one site and one blob a probe.
//!
//! The site is a function of its own, so the note's pc is a symbol's address; another one puts the arguments into
//! registers, with the goroutine's id behind them, and jumps there. amd64 sites carry the forms
//! that kernels know how to optimise behind the `nop` that every tracer attaches to: `nop10` (libbpf's
//! `nop,nop10` pair) and `nop5` (safe in Go, which has no red zone). The linker aligns functions to 32 bytes
//! (amd64) and 16 (arm64), so a site never crosses a page.

use super::{GoProbe, Unit};
use crate::model::{Probe, Provider};
use stapsdt::argspec::{Arch, Operand, Register, Value};
use stapsdt::blob::{self, Blob, BlobError};
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};
use std::fmt::Write as _;

/// A probe's blobs, of one size: the Go declaration is shared. The longer argument text, arm64's, decides.
pub(super) struct Blobs {
    amd64: Vec<u8>,
    arm64: Vec<u8>,
}

impl Blobs {
    pub(super) fn new(provider: &Provider, probe: &Probe, runtime: bool) -> Result<Blobs, BlobError> {
        let schema = NoteBody {
            version: schema::VERSION,
            provider: provider.name.clone(),
            probe: provider.probe_schema(probe),
        };
        let schema = schema.to_json();
        let template = |arch| {
            let note = Note {
                pc: 0,
                base: 0,
                semaphore: 0,
                provider: provider.name.clone(),
                name: probe.name.clone(),
                args: args(probe, arch, registers(runtime)),
            };
            Blob::template(&note, &schema, goid_register(probe, arch, registers(runtime)))
        };
        let (mut amd64, mut arm64) = (template(Arch::X86_64)?, template(Arch::Aarch64)?);
        let size = amd64.len().max(arm64.len());
        for bytes in [&mut amd64, &mut arm64] {
            // The size field and the padding at the end grow together.
            bytes.resize(size, 0);
            if let Some(field) = bytes.get_mut(blob::SIZE..blob::SIZE + 4) {
                field.copy_from_slice(&(size as u32).to_le_bytes());
            }
        }
        Ok(Blobs { amd64, arm64 })
    }

    /// Bytes of either.
    pub(super) fn size(&self) -> usize {
        self.amd64.len()
    }

    fn of(&self, arch: Arch) -> &[u8] {
        match arch {
            Arch::X86_64 => &self.amd64,
            Arch::Aarch64 => &self.arm64,
        }
    }
}

/// `STEM_GOARCH.s`.
pub(super) fn assembly(unit: &Unit<'_>, arch: Arch) -> String {
    let mut out = format!("{}//go:build linux && !usdt_off\n\n#include \"textflag.h\"\n", unit.header());
    for probe in &unit.probes {
        site(&mut out, probe, arch, unit.package.runtime);
        data(&mut out, probe, arch);
    }
    out
}

/// Registers of the first words, by the assembler's names and the hardware's numbers. Assembly functions keep none of
/// them for their callers; `R14` is the goroutine, `BP` the caller's frame, `R15` the linker's in shared code.
const AMD64: [(&str, u8); crate::model::MAX_WORDS] = [
    ("AX", 0),
    ("BX", 3),
    ("CX", 1),
    ("DX", 2),
    ("SI", 6),
    ("DI", 7),
    ("R8", 8),
    ("R9", 9),
    ("R10", 10),
    ("R11", 11),
    ("R12", 12),
    ("R13", 13),
];

/// The compiler's own order (`src/cmd/compile/abi-internal.md`), then what it leaves to scratch.
const AMD64_INTERNAL: [(&str, u8); crate::model::MAX_WORDS] = [
    ("AX", 0),
    ("BX", 3),
    ("CX", 1),
    ("DI", 7),
    ("SI", 6),
    ("R8", 8),
    ("R9", 9),
    ("R10", 10),
    ("R11", 11),
    ("R12", 12),
    ("R13", 13),
    ("DX", 2),
];

type Registers = [(&'static str, u8); crate::model::MAX_WORDS];

fn registers(runtime: bool) -> &'static Registers {
    if runtime { &AMD64_INTERNAL } else { &AMD64 }
}

/// The first register behind the arguments': the stub loads the goroutine id into it.
fn goid_register(probe: &Probe, arch: Arch, amd64: &Registers) -> Option<u8> {
    let next = amd64.get(probe.words());
    next.map(|(_, amd64)| match arch {
        Arch::X86_64 => *amd64,
        Arch::Aarch64 => probe.words() as u8,
    })
}

fn site(out: &mut String, probe: &GoProbe<'_>, arch: Arch, runtime: bool) {
    let words = probe.probe.words();
    let _ = write!(out, "\n// {}\n", probe.full_name());
    let abi = if runtime { "<ABIInternal>" } else { "" };
    let _ = writeln!(out, "TEXT ·{}{abi}(SB), NOSPLIT|NOFRAME, $0-{}", probe.entry(), words * 8);
    // The runtime's own are there already.
    for (word, (amd64, _)) in (0..words).zip(AMD64).filter(|_| !runtime) {
        let _ = match arch {
            Arch::X86_64 => writeln!(out, "\tMOVQ arg{word}+{}(FP), {amd64}", 8 * word),
            Arch::Aarch64 => writeln!(out, "\tMOVD arg{word}+{}(FP), R{word}", 8 * word),
        };
    }
    if let Some((amd64, _)) = registers(runtime).get(words) {
        // Unsealed, this loads the goroutine's first word.
        let offset = format!("·{}+{}(SB)", probe.blob(), blob::GOID_OFFSET);
        let _ = match arch {
            Arch::X86_64 => write!(out, "\tMOVL {offset}, {amd64}\n\tMOVQ (R14)({amd64}*1), {amd64}\n"),
            Arch::Aarch64 => {
                write!(out, "\tMOVWU {offset}, R{words}\n\tADD g, R{words}\n\tMOVD (R{words}), R{words}\n")
            }
        };
    }
    let _ = write!(out, "\tJMP ·{}(SB)\n\n", probe.site());
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

/// The argument specification: whole registers, sized and signed as declared. Tracers read them from what the kernel
/// saved, which costs the traced program nothing; memory of its own they would have to copy.
fn args(probe: &Probe, arch: Arch, amd64: &Registers) -> String {
    let mut slots = Vec::new();
    for param in &probe.params {
        slots.push((param.ty.size(), param.ty.signed()));
        slots.extend(std::iter::repeat_n((8, false), param.ty.words() - 1));
    }
    let slots = slots.iter().zip(amd64).zip(0u8..).map(|(((size, signed), (_, amd64)), arm64)| {
        let register = match arch {
            Arch::X86_64 => *amd64,
            Arch::Aarch64 => arm64,
        };
        let operand = Operand::Register(Register::gpr(register));
        Value { size: *size, signed: *signed, float: false, operand }.print(arch)
    });
    slots.collect::<Vec<_>>().join(" ")
}

fn data(out: &mut String, probe: &GoProbe<'_>, arch: Arch) {
    let (symbol, site) = (probe.blob(), probe.site());
    out.push('\n');
    // Most of the output is these lines: what they share is put together once.
    let head = format!("DATA ·{symbol}+");
    for (at, chunk) in (0..).step_by(8).zip(probe.blobs.of(arch).chunks(8)) {
        out.push_str(&head);
        let _ = write!(out, "{at}");
        out.push_str("(SB)/8, $");
        let _ = match at {
            blob::SELF => write!(out, "·{symbol}(SB)"),
            blob::PC => write!(out, "·{site}(SB)"),
            blob::NOTE_SEMAPHORE => write!(out, "·{}+{}(SB)", probe.gate(), blob::SEMAPHORE),
            _ => literal(out, at, chunk),
        };
        out.push('\n');
    }
    let _ = writeln!(out, "GLOBL ·{symbol}(SB), NOPTR, ${}", probe.blobs.size());
}

/// Names and text stay readable in the assembly; the binary head is hexadecimal.
fn literal(out: &mut String, at: usize, chunk: &[u8]) -> std::fmt::Result {
    if at < blob::NOTE_SEMAPHORE + 8 {
        let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        return write!(out, "0x{word:016x}");
    }
    out.push('"');
    for byte in chunk {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            0x20..0x7f => out.push(char::from(*byte)),
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    out.push('"');
    Ok(())
}
