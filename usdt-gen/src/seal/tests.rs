//! Tests with the sample file.

use super::sample_elf::{self, BLOB, DATA, TEXT, file, good};
use super::{Options, SealError, seal};
use proptest::prelude::*;
use stapsdt::blob::{self, BlobError};
use stapsdt::elf::View;
use stapsdt::note::{Format, NoteIter};

fn sealed_bytes(data: &[u8]) -> Option<Vec<u8>> {
    Some(seal(data, &Options::default()).unwrap().patches?.to_vec(data))
}

#[test]
fn writes_the_sections_that_tracers_read() {
    let sealed = sealed_bytes(&good()).unwrap();
    let view = View::parse(&sealed).unwrap();
    let names: Vec<&str> = view.sections.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "",
            ".stapsdt.base",
            ".text",
            ".noptrdata",
            ".probes",
            ".shstrtab",
            ".note.stapsdt",
            ".note.usdt"
        ]
    );
    let at = |name: &str| view.section(name).unwrap();
    assert_eq!((at(".noptrdata").addr, at(".noptrdata").size), (DATA, 64));
    assert_eq!(
        (at(".probes").addr, at(".probes").offset),
        (BLOB, 0x2040),
        "takes the rest of the section"
    );
    let notes = view.section_data(at(".note.stapsdt")).unwrap();
    let raw = NoteIter::new(notes, Format::LE64).next_note().unwrap().unwrap();
    let note = raw.decode(Format::LE64).unwrap();
    assert_eq!((note.pc, note.base, note.semaphore), (TEXT, at(".stapsdt.base").addr, BLOB + 18));
    assert_eq!(note.args, "-4@8(%rsp)", "no goroutine id: the sample is not a Go binary");
}

#[test]
fn sealing_again_changes_nothing() {
    let sealed = sealed_bytes(&good()).unwrap();
    let again = seal(&sealed, &Options::default()).unwrap();
    assert!(again.patches.is_none());
    assert_eq!(again.probes.len(), 1);
}

#[test]
fn renames_a_section_that_has_only_blobs() {
    let mut data = good();
    // Shrink the section to the blob.
    let size = sample_elf::blob(0, 0).len() as u64;
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
fn leaves_files_without_probes_unchanged() {
    let mut data = good();
    let at = 0x2040;
    data[at] ^= 1;
    let sealed = seal(&data, &Options::default()).unwrap();
    assert!(sealed.patches.is_none() && sealed.probes.is_empty());
}

#[test]
fn names_contradictions_between_blob_and_file() {
    let sealed = |pc, semaphore| {
        seal(&file(&sample_elf::blob(pc, semaphore), 32), &Options::default())
            .unwrap_err()
            .to_string()
    };
    let good = BLOB + 18;
    for (error, problem) in [
        (sealed(DATA, good), "its site is in no executable segment"),
        (sealed(TEXT + 1, good), "its site does not hold the stub's instructions"),
        (sealed(TEXT, TEXT), "its semaphore is not in file-backed writable data"),
    ] {
        assert_eq!(
            error,
            format!("probe app:tick: {problem}; was the binary changed after linking?")
        );
    }
    let mut without_sections = good_file_without_sections();
    assert_eq!(
        seal(&without_sections, &Options::default()).unwrap_err(),
        SealError::Layout("the file has no section headers; seal it before you strip them")
    );
    without_sections.truncate(50);
    assert!(matches!(seal(&without_sections, &Options::default()), Err(SealError::Elf(_))));
}

/// Blobs are hostile input: schemas are read only from loaded parts of the file, and all schemas
/// together are at most as long as the file.
#[test]
fn reads_schemas_within_bounds() {
    let scanned = |patches: &[(usize, &[u8])]| {
        let mut bytes = sample_elf::blob(TEXT, BLOB + blob::field::SEMAPHORE as u64);
        for (at, value) in patches {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        let data = file(&bytes, 32);
        let found = blob::scan(&View::parse(&data).unwrap());
        found.into_iter().map(|blob| blob.map(|blob| blob.schema.to_owned())).collect::<Vec<_>>()
    };
    let (address, size) = (blob::field::SCHEMA, blob::field::SCHEMA + 8);
    assert_eq!(scanned(&[]), [Ok("{\"version\":1}".to_owned())]);
    assert_eq!(scanned(&[(size, &0u32.to_le_bytes())]), [Ok(String::new())]);
    let outside = [Err(BlobError::Inconsistent("schema address"))];
    assert_eq!(scanned(&[(address, &0x10u64.to_le_bytes())]), outside);
    assert_eq!(scanned(&[(address, &u64::MAX.to_le_bytes())]), outside);
    assert_eq!(scanned(&[(size, &0x1000u32.to_le_bytes())]), outside, "ends after the segment");
    assert_eq!(scanned(&[(size, &0x8000u32.to_le_bytes())]), outside, "larger than the file");
    assert_eq!(
        scanned(&[(size, &u32::MAX.to_le_bytes())]),
        [Err(BlobError::Inconsistent("schema size"))]
    );
    assert_eq!(
        scanned(&[(address, &DATA.to_le_bytes()), (size, &8u32.to_le_bytes())]),
        [Err(BlobError::Inconsistent("schema encoding"))]
    );
    // Blobs that share one schema: their schemas together are at most as long as the file.
    let one = sample_elf::blob(TEXT, BLOB + blob::field::SEMAPHORE as u64);
    let many: Vec<u8> = (0..64u64)
        .flat_map(|n| {
            let mut bytes = one.clone();
            bytes[blob::field::SELF..blob::field::SELF + 8]
                .copy_from_slice(&(BLOB + n * one.len() as u64).to_le_bytes());
            bytes[size..size + 4].copy_from_slice(&0xe00u32.to_le_bytes());
            bytes
        })
        .collect();
    let data = file(&many, 32);
    let view = View::parse(&data).unwrap();
    let total: usize = blob::scan(&view).iter().flatten().map(|blob| blob.schema.len()).sum();
    assert!(total > 0 && total <= data.len(), "{total}");
}

fn good_file_without_sections() -> Vec<u8> {
    let mut data = good();
    data[40..48].fill(0);
    data[60..64].fill(0);
    data
}

proptest! {
    #[test]
    fn seals_or_rejects_damaged_files(hits in prop::collection::vec((0usize..0x2200, any::<u8>()), 1..12), tail in 0usize..4) {
        let mut data = good();
        let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
        for (at, value) in hits {
            // Most of the file is padding: select headers, the blob and the section header table.
            let at = match at % 3 {
                0 => at % 176,
                1 => 0x2040 + at % 200,
                _ => table + at % 256,
            };
            if let Some(byte) = data.get_mut(at) { *byte = value; }
        }
        data.truncate(data.len() - tail);
        if let Ok(sealed) = seal(&data, &Options::default())
            && let Some(bytes) = sealed.patches.map(|patches| patches.to_vec(&data))
        {
            prop_assert!(View::parse(&bytes).is_ok());
            let again = seal(&bytes, &Options::default()).unwrap();
            prop_assert!(again.patches.is_none(), "sealing again changes nothing");
        }
    }
}

/// Carved out of a section with a wrong offset, `.probes` would have a wrong offset, too. Found by
/// the property test above.
#[test]
fn rejects_sections_that_contradict_segments() {
    let mut data = good();
    let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
    data[table + 80] = 184;
    data[table + 2 * 64 + 16] = 8;
    assert_eq!(
        seal(&data, &Options::default()).unwrap_err(),
        SealError::Layout(
            "no section contains all of the probe data; was the binary changed after linking?"
        )
    );
}

/// The base would be placed in the file's part of the segment, and not be found in its memory. Found
/// by fuzzing.
#[test]
fn rejects_segments_that_are_larger_in_the_file_than_in_memory() {
    let mut data = good();
    data[64 + 40..64 + 48].fill(0);
    let expected = SealError::Layout("a segment is larger in the file than in memory");
    assert_eq!(seal(&data, &Options::default()).unwrap_err(), expected);
}

/// Sealing changes the ELF header, so that the schema would be another one the next time. Found by
/// fuzzing.
#[test]
fn rejects_a_schema_in_the_elf_header() {
    let mut bytes = sample_elf::blob(TEXT, BLOB + blob::field::SEMAPHORE as u64);
    let schema = blob::field::SCHEMA;
    bytes[schema..schema + 8].copy_from_slice(&0x40_0031u64.to_le_bytes());
    let error = seal(&file(&bytes, 32), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("app:tick: its schema is not a JSON object"), "{error}");
}

/// Rewriting such a table would overwrite the headers. Found by fuzzing.
#[test]
fn rejects_symbol_tables_that_overlap_headers() {
    let mut data = good();
    let table = data.len() - 256;
    // The null section becomes a symbol table that starts at offset 0.
    data[table + 4] = 2;
    data[table + 33] = 0x21;
    assert_eq!(
        seal(&data, &Options::default()).unwrap_err(),
        SealError::Layout(
            "a symbol table overlaps other parts of the file; was the binary changed after linking?"
        )
    );
}
