//! A small ELF file for tests and fuzzing: a text segment with a site, a data segment with a blob.
#![allow(clippy::unwrap_used)] // a sample that cannot be built fails the test

use object::elf::{FileHeader64, ProgramHeader64, SectionHeader64};
use object::{LittleEndian as Le, pod};
use stapsdt::blob;
use stapsdt::note::Note;

pub(super) const TEXT: u64 = 0x40_1000;
pub(super) const DATA: u64 = 0x40_2000;
/// The address of the blob, which is after other data.
pub(super) const BLOB: u64 = DATA + 64;
/// The address of the schema, in the read-only segment of the code.
pub(super) const SCHEMA: u64 = TEXT + 0x100;
const SCHEMA_JSON: &str = "{\"version\":1}";

pub(super) fn blob(pc: u64, semaphore: u64) -> Vec<u8> {
    blob_with(pc, semaphore, "-4@8(%rsp)")
}

/// Returns a valid file whose probe has these arguments.
#[cfg(test)]
pub(crate) fn with_args(args: &str) -> Vec<u8> {
    file(&blob_with(TEXT, BLOB + blob::field::SEMAPHORE as u64, args), 32)
}

fn blob_with(pc: u64, semaphore: u64, args: &str) -> Vec<u8> {
    let note = Note {
        pc: 0,
        base: 0,
        semaphore: 0,
        provider: "app".into(),
        name: "tick".into(),
        args: args.into(),
    };
    let mut bytes = blob::encode_template(&note, SCHEMA_JSON.len(), None).unwrap();
    for (at, value) in [
        (blob::field::SELF, BLOB),
        (blob::field::SCHEMA, SCHEMA),
        (blob::field::PC, pc),
        (blob::field::NOTE_SEMAPHORE, semaphore),
    ] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// Returns a file with the sections `.text`, `.noptrdata` (the blob and `tail` more bytes) and
/// `.shstrtab`, with the section header table at its end.
pub(super) fn file(blob: &[u8], tail: usize) -> Vec<u8> {
    let mut out = vec![0; 0x2000];
    let site = stapsdt::site::code(stapsdt::argspec::Arch::X86_64);
    out[0x1000..0x1000 + site.len()].copy_from_slice(site);
    out[0x1100..0x1100 + SCHEMA_JSON.len()].copy_from_slice(SCHEMA_JSON.as_bytes());
    out.resize(0x2000 + 64, 0xaa);
    out.extend_from_slice(blob);
    out.resize(out.len() + tail, 0xbb);
    let data_size = out.len() as u64 - 0x2000;
    let names = b"\0.text\0.noptrdata\0.shstrtab\0";
    let names_at = out.len() as u64;
    out.extend_from_slice(names);
    out.resize(out.len().next_multiple_of(8), 0);
    let table = out.len() as u64;
    let section = |name: u32, kind: u32, flags: u64, addr: u64, offset: u64, size: u64| {
        let mut raw = [0u8; 64];
        raw[..4].copy_from_slice(&name.to_le_bytes());
        raw[4..8].copy_from_slice(&kind.to_le_bytes());
        for (at, value) in [(8, flags), (16, addr), (24, offset), (32, size), (48, 1)] {
            raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        *pod::from_bytes::<SectionHeader64<Le>>(&raw).unwrap().0
    };
    let sections = [
        section(0, 0, 0, 0, 0, 0),
        section(1, 1, 6, TEXT, 0x1000, 0x1000),
        section(7, 1, 3, DATA, 0x2000, data_size),
        section(18, 3, 0, 0, names_at, names.len() as u64),
    ];
    out.extend_from_slice(pod::bytes_of_slice(&sections));
    let mut head = [0u8; size_of::<FileHeader64<Le>>()];
    head[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for (at, value) in
        [(16, 2u16), (18, 62), (52, 64), (54, 56), (56, 2), (58, 64), (60, 4), (62, 3)]
    {
        head[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    head[32..40].copy_from_slice(&64u64.to_le_bytes());
    head[40..48].copy_from_slice(&table.to_le_bytes());
    out[..64].copy_from_slice(&head);
    for (i, (flags, offset, addr, size)) in
        [(5u32, 0u64, 0x40_0000u64, 0x2000u64), (6, 0x2000, DATA, data_size)]
            .into_iter()
            .enumerate()
    {
        let mut raw = [0u8; size_of::<ProgramHeader64<Le>>()];
        raw[..4].copy_from_slice(&1u32.to_le_bytes());
        raw[4..8].copy_from_slice(&flags.to_le_bytes());
        for (at, value) in [(8, offset), (16, addr), (24, addr), (32, size), (40, size), (48, 4096)]
        {
            raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        out[64 + 56 * i..64 + 56 * (i + 1)].copy_from_slice(&raw);
    }
    out
}

/// Returns a valid file.
pub(super) fn good() -> Vec<u8> {
    file(&blob(TEXT, BLOB + blob::field::SEMAPHORE as u64), 32)
}

/// Turns the input of a fuzzer into a file.
///
/// Input with the ELF magic number is used unchanged. Other input is a list of offsets and values
/// to write into the valid file. The offsets select bytes of the headers, the blob and the section
/// header table, because the rest is padding.
#[cfg(fuzzing)]
pub fn corrupted(data: &[u8]) -> Vec<u8> {
    if data.starts_with(b"\x7fELF") {
        return data.to_vec();
    }
    let mut out = good();
    let table = out.len() - 256;
    for hit in data.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([hit[0], hit[1]]));
        let at = match at % 3 {
            0 => at / 3 % 176,
            1 => 0x2040 + at / 3 % 220,
            _ => table + at / 3 % 256,
        };
        if let Some(byte) = out.get_mut(at) {
            *byte = hit[2];
        }
    }
    out
}
