//! Sealing of files put together here: a text segment, a data segment with one blob, and what else is asked for.

use super::{Options, SealError, seal};
use object::elf::{FileHeader64, ProgramHeader64, SectionHeader64};
use object::{LittleEndian as Le, pod};
use proptest::prelude::*;
use stapsdt::blob::{self, Blob};
use stapsdt::elf::View;
use stapsdt::note::{Format, Note, NoteIter};

const TEXT: u64 = 0x40_1000;
const DATA: u64 = 0x40_2000;
/// The blob stands behind other data.
const BLOB: u64 = DATA + 64;

fn blob(pc: u64, semaphore: u64) -> Vec<u8> {
    let note = Note {
        pc: 0,
        base: 0,
        semaphore: 0,
        provider: "app".into(),
        name: "tick".into(),
        args: "-4@8(%rsp)".into(),
    };
    let mut bytes = Blob::template(&note, "{\"version\":1}").unwrap();
    for (at, value) in [(blob::SELF, BLOB), (blob::PC, pc), (blob::NOTE_SEMAPHORE, semaphore)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// `.text`, `.noptrdata` with the blob and `tail` more bytes, `.shstrtab`; the table of sections at the end.
fn file(blob: &[u8], tail: usize) -> Vec<u8> {
    let mut out = vec![0; 0x2000];
    out[0x1000..0x1000 + stapsdt::site::X86_64.len()].copy_from_slice(&stapsdt::site::X86_64);
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
    for (at, value) in [(16, 2u16), (18, 62), (52, 64), (54, 56), (56, 2), (58, 64), (60, 4), (62, 3)] {
        head[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    head[32..40].copy_from_slice(&64u64.to_le_bytes());
    head[40..48].copy_from_slice(&table.to_le_bytes());
    out[..64].copy_from_slice(&head);
    for (i, (flags, offset, addr, size)) in
        [(5u32, 0u64, 0x40_0000u64, 0x2000u64), (6, 0x2000, DATA, data_size)].into_iter().enumerate()
    {
        let mut raw = [0u8; size_of::<ProgramHeader64<Le>>()];
        raw[..4].copy_from_slice(&1u32.to_le_bytes());
        raw[4..8].copy_from_slice(&flags.to_le_bytes());
        for (at, value) in [(8, offset), (16, addr), (24, addr), (32, size), (40, size), (48, 4096)] {
            raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        out[64 + 56 * i..64 + 56 * (i + 1)].copy_from_slice(&raw);
    }
    out
}

fn sealed_bytes(data: &[u8]) -> Option<Vec<u8>> {
    Some(seal(data, Options::default()).unwrap().edit?.to_vec(data))
}

fn good() -> Vec<u8> {
    file(&blob(TEXT, BLOB + blob::SEMAPHORE as u64), 32)
}

#[test]
fn sections_stand_where_tracers_look() {
    let sealed = sealed_bytes(&good()).unwrap();
    let view = View::parse(&sealed).unwrap();
    let names: Vec<&str> = view.sections.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["", ".stapsdt.base", ".text", ".noptrdata", ".probes", ".shstrtab", ".note.stapsdt", ".note.usdt"]
    );
    let at = |name: &str| view.section(name).unwrap();
    assert_eq!((at(".noptrdata").addr, at(".noptrdata").size), (DATA, 64));
    assert_eq!((at(".probes").addr, at(".probes").offset), (BLOB, 0x2040), "takes the rest of the section");
    let notes = view.section_data(at(".note.stapsdt")).unwrap();
    let raw = NoteIter::new(notes, Format::LE64).next_note().unwrap().unwrap();
    let note = raw.decode(Format::LE64).unwrap();
    assert_eq!((note.pc, note.base, note.semaphore), (TEXT, at(".stapsdt.base").addr, BLOB + 18));
    assert_eq!(note.args, "-4@8(%rsp)", "not a Go binary: nobody knows where the goroutine id is");
}

#[test]
fn sealing_again_changes_nothing() {
    let sealed = sealed_bytes(&good()).unwrap();
    let again = seal(&sealed, Options::default()).unwrap();
    assert!(again.edit.is_none());
    assert_eq!(again.probes.len(), 1);
}

#[test]
fn a_section_of_blobs_alone_becomes_probes() {
    let mut data = good();
    // Move the section's start to the blob and its end to the blob's.
    let size = blob(0, 0).len() as u64;
    let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
    let row = table + 2 * 64;
    data[row + 16..row + 24].copy_from_slice(&BLOB.to_le_bytes());
    data[row + 24..row + 32].copy_from_slice(&0x2040u64.to_le_bytes());
    data[row + 32..row + 40].copy_from_slice(&size.to_le_bytes());
    let sealed = sealed_bytes(&data).unwrap();
    let view = View::parse(&sealed).unwrap();
    assert!(view.section(".noptrdata").is_none());
    assert_eq!(view.section(".probes").unwrap().size, size);
}

#[test]
fn files_without_probes_are_left_alone() {
    let mut data = good();
    let at = 0x2040;
    data[at] ^= 1;
    let sealed = seal(&data, Options::default()).unwrap();
    assert!(sealed.edit.is_none() && sealed.probes.is_empty());
}

#[test]
fn contradictions_are_named() {
    let sealed =
        |pc, semaphore| seal(&file(&blob(pc, semaphore), 32), Options::default()).unwrap_err().to_string();
    let good = BLOB + 18;
    for (error, problem) in [
        (sealed(DATA, good), "its site is in no executable segment"),
        (sealed(TEXT + 1, good), "its site does not hold the stub's instructions"),
        (sealed(TEXT, TEXT), "its semaphore is not in file-backed writable data"),
    ] {
        assert_eq!(error, format!("probe app:tick: {problem}; was the binary changed after linking?"));
    }
    let mut headless = good_file_without_sections();
    assert_eq!(
        seal(&headless, Options::default()).unwrap_err(),
        SealError::Layout("the file has no section headers; seal before removing them")
    );
    headless.truncate(50);
    assert!(matches!(seal(&headless, Options::default()), Err(SealError::Elf(_))));
}

fn good_file_without_sections() -> Vec<u8> {
    let mut data = good();
    data[40..48].fill(0);
    data[60..64].fill(0);
    data
}

proptest! {
    #[test]
    fn damage_never_panics(hits in prop::collection::vec((0usize..0x2200, any::<u8>()), 1..12), tail in 0usize..4) {
        let mut data = good();
        let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
        for (at, value) in hits {
            // Most of the file is padding: aim at headers, the blob and the section table.
            let at = match at % 3 {
                0 => at % 176,
                1 => 0x2040 + at % 200,
                _ => table + at % 256,
            };
            if let Some(byte) = data.get_mut(at) { *byte = value; }
        }
        data.truncate(data.len() - tail);
        if let Ok(sealed) = seal(&data, Options::default())
            && let Some(bytes) = sealed.edit.map(|edit| edit.to_vec(&data))
        {
            prop_assert!(View::parse(&bytes).is_ok());
            let again = seal(&bytes, Options::default()).unwrap();
            prop_assert!(again.edit.is_none(), "sealing again changes nothing");
        }
    }
}

/// Found by the property above: carved out of a section that lies about its place, `.probes` would be elsewhere.
#[test]
fn sections_that_contradict_the_segments_are_refused() {
    let mut data = good();
    let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
    data[table + 80] = 184;
    data[table + 2 * 64 + 16] = 8;
    assert_eq!(
        seal(&data, Options::default()).unwrap_err(),
        SealError::Layout("no section holds all of the probe data")
    );
}
