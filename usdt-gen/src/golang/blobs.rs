//! The data of a probe: a blob for each architecture, whose note names registers, and the schema
//! that all of them share.

use super::registers::register;
use crate::model::{Probe, Provider};
use stapsdt::argspec::{Arch, Operand, Register, Value};
use stapsdt::blob::{self, BlobError};
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};
use std::fmt::Write as _;

/// The blobs and the schema of a probe. Every address in the blobs is zero: the linker fills them
/// in.
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
            // The stub loads the goroutine ID into the register after those of the arguments.
            let goid_register = register(probe.words(), arch).map(|(_, number)| number);
            blob::encode_template(&note, schema.len(), goid_register)
        };
        let (mut amd64, mut arm64) = (template(Arch::X86_64)?, template(Arch::Aarch64)?);
        // One Go declaration describes both blobs, so the shorter one is padded.
        let size = amd64.len().max(arm64.len());
        for bytes in [&mut amd64, &mut arm64] {
            bytes.resize(size, 0);
            if let Some(field) = bytes.get_mut(blob::field::SIZE..blob::field::SIZE + 4) {
                field.copy_from_slice(&(size as u32).to_le_bytes());
            }
        }
        Ok(ProbeData { amd64, arm64, schema })
    }

    /// Returns the size of a blob in bytes, which is the same on every architecture.
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

/// Returns the argument specification of the note. Every argument is a register, with the declared
/// size and sign, because tracers get registers from the kernel without reading the memory of the
/// program.
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

/// The symbol of a blob, and those that it refers to.
pub(super) struct BlobSymbols<'a> {
    pub(super) blob: &'a str,
    pub(super) site: &'a str,
    pub(super) schema: &'a str,
    /// The blob that contains the semaphore.
    pub(super) semaphore_blob: &'a str,
}

/// Writes the definition of a blob in assembly.
pub(super) fn write_blob(
    out: &mut String,
    data: &ProbeData,
    arch: Arch,
    symbols: &BlobSymbols<'_>,
) {
    let BlobSymbols { blob, site, schema, semaphore_blob } = symbols;
    write_data(out, blob, data.blob(arch), |out, at, chunk| match at {
        blob::field::SELF => write!(out, "·{blob}(SB)"),
        blob::field::SCHEMA => write!(out, "·{schema}(SB)"),
        blob::field::PC => write!(out, "·{site}(SB)"),
        blob::field::NOTE_SEMAPHORE => {
            write!(out, "·{semaphore_blob}+{}(SB)", blob::field::SEMAPHORE)
        }
        // Numbers come first, as words; the names after them stay readable, as strings.
        _ if at < blob::field::NOTE_SEMAPHORE => {
            let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            write!(out, "0x{word:016x}")
        }
        _ => write_string(out, chunk),
    });
    let _ = writeln!(out, "GLOBL ·{blob}(SB), NOPTR, ${}", data.blob_size());
}

/// Writes the definition of a schema in assembly.
pub(super) fn write_schema(out: &mut String, data: &ProbeData, symbol: &str) {
    let mut bytes = data.schema.clone().into_bytes();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    write_data(out, symbol, &bytes, |out, _, chunk| write_string(out, chunk));
    let _ = writeln!(out, "GLOBL ·{symbol}(SB), RODATA|NOPTR, ${}", bytes.len());
}

/// Writes `DATA` lines of eight bytes, the maximum of the assembler. `value` writes the value of a
/// line from its offset and its bytes.
fn write_data(
    out: &mut String,
    symbol: &str,
    bytes: &[u8],
    value: impl Fn(&mut String, usize, &[u8]) -> std::fmt::Result,
) {
    // Most of the output is these lines, so their common part is formatted once.
    let start = format!("DATA ·{symbol}+");
    for (at, chunk) in (0..).step_by(8).zip(bytes.chunks(8)) {
        out.push_str(&start);
        // Writing to a string cannot fail.
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
