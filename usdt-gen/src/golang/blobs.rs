//! A probe's data: a blob for each architecture, whose notes name registers, and the schema that all share.

use super::registers::register;
use crate::model::{Probe, Provider};
use stapsdt::argspec::{Arch, Operand, Register, Value};
use stapsdt::blob::{self, BlobError};
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};
use std::fmt::Write as _;

/// The data of a probe with every address zero.
pub(super) struct ProbeData {
    amd64: Vec<u8>,
    arm64: Vec<u8>,
    schema: String,
}

impl ProbeData {
    pub(super) fn new(provider: &Provider, probe: &Probe) -> Result<ProbeData, BlobError> {
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
                args: argument_spec(probe, arch),
            };
            // The stub loads the goroutine id into the first register after the arguments'.
            let goid = register(probe.words(), arch).map(|(_, number)| number);
            blob::encode_template(&note, schema.len(), goid)
        };
        let (mut amd64, mut arm64) = (template(Arch::X86_64)?, template(Arch::Aarch64)?);
        // The Go declaration is shared, so both have one size: the longer specification, arm64's, decides.
        let size = amd64.len().max(arm64.len());
        for bytes in [&mut amd64, &mut arm64] {
            bytes.resize(size, 0);
            if let Some(field) = bytes.get_mut(blob::field::SIZE..blob::field::SIZE + 4) {
                field.copy_from_slice(&(size as u32).to_le_bytes());
            }
        }
        Ok(ProbeData { amd64, arm64, schema })
    }

    /// Bytes of a blob, the same on every architecture.
    pub(super) fn blob_size(&self) -> usize {
        self.amd64.len()
    }

    fn blob(&self, arch: Arch) -> &[u8] {
        match arch {
            Arch::X86_64 => &self.amd64,
            Arch::Aarch64 => &self.arm64,
        }
    }
}

/// The argument specification: whole registers, sized and signed as declared. Tracers read them from what the kernel
/// saved, which costs the traced program nothing; memory of its own they would have to copy.
fn argument_spec(probe: &Probe, arch: Arch) -> String {
    let mut words = Vec::new();
    for param in &probe.params {
        words.push((param.ty.size(), param.ty.signed()));
        words.extend(std::iter::repeat_n((8, false), param.ty.words() - 1));
    }
    let values = words.into_iter().enumerate().filter_map(|(word, (size, signed))| {
        let operand = Operand::Register(Register::gpr(register(word, arch)?.1));
        Some(Value { size, signed, float: false, operand }.to_spec(arch))
    });
    values.collect::<Vec<_>>().join(" ")
}

/// The symbols that a blob refers to and its own.
pub(super) struct BlobSymbols<'a> {
    pub(super) blob: &'a str,
    pub(super) site: &'a str,
    pub(super) schema: &'a str,
    /// The blob that has the semaphore.
    pub(super) gate: &'a str,
}

/// Writes the definition of a blob for the assembler.
pub(super) fn write_blob(
    out: &mut String,
    data: &ProbeData,
    arch: Arch,
    symbols: &BlobSymbols<'_>,
) {
    let BlobSymbols { blob, site, schema, gate } = symbols;
    write_data(out, blob, data.blob(arch), |out, at, chunk| match at {
        blob::field::SELF => write!(out, "·{blob}(SB)"),
        blob::field::SCHEMA => write!(out, "·{schema}(SB)"),
        blob::field::PC => write!(out, "·{site}(SB)"),
        blob::field::NOTE_SEMAPHORE => write!(out, "·{gate}+{}(SB)", blob::field::SEMAPHORE),
        // Names stay readable; what is before them is numbers.
        _ if at < blob::field::NOTE_SEMAPHORE => {
            let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            write!(out, "0x{word:016x}")
        }
        _ => write_string(out, chunk),
    });
    let _ = writeln!(out, "GLOBL ·{blob}(SB), NOPTR, ${}", data.blob_size());
}

/// Writes the definition of a schema for the assembler.
pub(super) fn write_schema(out: &mut String, data: &ProbeData, symbol: &str) {
    let mut bytes = data.schema.clone().into_bytes();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    write_data(out, symbol, &bytes, |out, _, chunk| write_string(out, chunk));
    let _ = writeln!(out, "GLOBL ·{symbol}(SB), RODATA|NOPTR, ${}", bytes.len());
}

/// Writes `DATA` lines of eight bytes, the most that the assembler takes.
fn write_data(
    out: &mut String,
    symbol: &str,
    bytes: &[u8],
    value: impl Fn(&mut String, usize, &[u8]) -> std::fmt::Result,
) {
    // Most of the output is these lines: what they share is put together once.
    let head = format!("DATA ·{symbol}+");
    for (at, chunk) in (0..).step_by(8).zip(bytes.chunks(8)) {
        out.push_str(&head);
        // Writing to a string has no failing case.
        let _ = write!(out, "{at}");
        out.push_str("(SB)/8, $");
        let _ = value(out, at, chunk);
        out.push('\n');
    }
}

fn write_string(out: &mut String, chunk: &[u8]) -> std::fmt::Result {
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
