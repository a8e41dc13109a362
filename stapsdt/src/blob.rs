//! The probe blob: a probe as a compiler without note support can emit it.
//!
//! One writable, pointer-free data symbol per probe. The linker fills the addresses in, the program's use of
//! the semaphore keeps the symbol alive, and a reader finds it by its magic, also in stripped files. Sealing
//! copies the notes inside into the sections that other tracers look for.
//!
//! ```text
//!  0  magic, 16 bytes          32  u32 schema size, bytes before padding
//! 16  u16 layout version = 1   36  u32 offset of `goid` in `runtime.g`: 0 until sealing
//! 18  u16 semaphore            40  u32 register of the goroutine id, plus 1; 0: none
//! 20  u32 size of the blob     44  stapsdt note: pc at 64, base (0) at 72, semaphore at 80
//! 24  u64 self: own address    ..  schema JSON, then NULs up to `size` (a multiple of 8)
//! ```
//!
//! The offset differs between Go releases, so only the linked binary tells it. The stub adds it to the running
//! goroutine's address and loads the id, which a tracer then has in a register, as it has the arguments.
//!
//! Little-endian and 64-bit only, as the Go ports with stubs are.

use crate::bytes::{addr_at, array, u32_at};
use crate::elf::View;
use crate::note::{Format, Note, NoteError, NoteIter};
use std::collections::BTreeSet;

/// First bytes of every blob: random, so that nothing else begins like it.
pub const MAGIC: [u8; 16] =
    [0xc5, 0x1e, 0x9d, 0x73, 0xa2, 0x4f, 0xe8, 0x06, 0xbb, 0x31, 0x7c, 0xd9, 0x58, 0x90, 0x2a, 0xf4];
/// Layout version described here.
pub const VERSION: u16 = 1;
/// Offset of the 16-bit semaphore.
pub const SEMAPHORE: usize = 18;
/// Offset of the whole blob's size, a u32.
pub const SIZE: usize = 20;
/// Offset of the schema's size, a u32.
const SCHEMA_SIZE: usize = 32;
/// Offset of the blob's own address.
pub const SELF: usize = 24;
/// Offset of the goroutine id's offset in `runtime.g`, a u32 that sealing writes.
pub const GOID_OFFSET: usize = 36;
/// Offset of the number of the register that has the goroutine id at the site once the file is sealed, plus 1, a u32.
pub const GOID_REGISTER: usize = 40;
/// Offset of the note.
pub const NOTE: usize = 44;
/// Offset of the note's `pc` field: 8-aligned, as is every address in the blob.
pub const PC: usize = NOTE + 20;
/// Offset of the note's `semaphore` field.
pub const NOTE_SEMAPHORE: usize = NOTE + 36;
/// No blob is larger: a dozen arguments with their documentation stay far below.
pub const MAX_SIZE: usize = 1 << 20;

/// Why bytes that carry the magic are no usable blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The bytes end before the blob does.
    #[error("probe blob is cut off")]
    Truncated,
    /// Made by a newer generator.
    #[error("probe blob has layout version {0}, this version reads {VERSION}; upgrade usdt")]
    Version(u16),
    /// A size field contradicts the content.
    #[error("probe blob has an impossible {0}")]
    Inconsistent(&'static str),
    /// The embedded note is damaged.
    #[error("probe blob: {0}")]
    Note(#[from] NoteError),
}

/// A blob as read from a file or from memory; addresses as the bytes hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The blob's own address.
    pub self_addr: u64,
    /// Bytes the blob occupies.
    pub size: usize,
    /// Current value of the semaphore.
    pub semaphore: u16,
    /// Offset of `goid` in `runtime.g` that the stub uses; 0 until sealing.
    pub goid_offset: u32,
    /// The register that has the goroutine id at the site once the file is sealed.
    pub goid_register: Option<u8>,
    /// The note; `base` is 0 until sealing.
    pub note: Note,
    /// Schema as JSON, see [`crate::schema::Probe`].
    pub schema: String,
}

impl Blob {
    /// Bytes of a blob for `note` and `schema` with every address zero: the linker's relocations at [`SELF`],
    /// [`PC`] and [`NOTE_SEMAPHORE`] fill them in.
    pub fn template(note: &Note, schema: &str, goid_register: Option<u8>) -> Result<Vec<u8>, BlobError> {
        let note = Note { pc: 0, base: 0, semaphore: 0, ..note.clone() };
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.resize(SCHEMA_SIZE, 0);
        let schema_size = u32::try_from(schema.len()).map_err(|_| BlobError::Inconsistent("schema size"))?;
        out.extend_from_slice(&schema_size.to_le_bytes());
        out.resize(GOID_REGISTER, 0);
        out.extend_from_slice(&goid_register.map_or(0, |number| u32::from(number) + 1).to_le_bytes());
        note.encode(Format::LE64, &mut out)?;
        out.extend_from_slice(schema.as_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
        if out.len() > MAX_SIZE {
            return Err(BlobError::Inconsistent("size"));
        }
        let size = (out.len() as u32).to_le_bytes();
        if let Some(field) = out.get_mut(SIZE..SIZE + 4) {
            field.copy_from_slice(&size);
        }
        Ok(out)
    }

    /// Reads the blob at the start of `data`. The caller has seen [`MAGIC`] there.
    pub fn parse(data: &[u8]) -> Result<Blob, BlobError> {
        let half = |at| array::<2>(data, at).map(u16::from_le_bytes).ok_or(BlobError::Truncated);
        let version = half(16)?;
        if version != VERSION {
            return Err(BlobError::Version(version));
        }
        let word = |at| u32_at(data, at, false).map(|n| n as usize).ok_or(BlobError::Truncated);
        let (size, schema_size) = (word(SIZE)?, word(SCHEMA_SIZE)?);
        if !(NOTE..=MAX_SIZE).contains(&size) {
            return Err(BlobError::Inconsistent("size"));
        }
        let data = data.get(..size).ok_or(BlobError::Truncated)?;
        let goid_register = match u8::try_from(word(GOID_REGISTER)?) {
            Ok(0) => None,
            Ok(number @ 1..=32) => Some(number - 1),
            _ => return Err(BlobError::Inconsistent("register")),
        };
        let body = data.get(NOTE..).ok_or(BlobError::Truncated)?;
        let raw = NoteIter::new(body, Format::LE64).next_note()?.ok_or(BlobError::Truncated)?;
        if !raw.is_stapsdt() {
            return Err(BlobError::Inconsistent("note owner"));
        }
        let note = raw.decode(Format::LE64)?;
        let schema_at = (NOTE + 20 + raw.desc.len()).next_multiple_of(4);
        let schema = schema_at
            .checked_add(schema_size)
            .and_then(|end| data.get(schema_at..end))
            .ok_or(BlobError::Inconsistent("schema size"))?;
        let schema =
            std::str::from_utf8(schema).map_err(|_| BlobError::Inconsistent("schema text"))?.to_owned();
        Ok(Blob {
            self_addr: addr_at(data, SELF, false, true).ok_or(BlobError::Truncated)?,
            size,
            semaphore: half(SEMAPHORE)?,
            goid_offset: u32_at(data, GOID_OFFSET, false).ok_or(BlobError::Truncated)?,
            goid_register,
            note,
            schema,
        })
    }
}

/// Offsets in `data` at which a blob may begin, in order. Most bytes that carry the magic are blobs; the
/// caller rules out the rest (this very constant in a tool's own data) by comparing [`Blob::self_addr`].
pub fn find(data: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr::memmem::find_iter(data, &MAGIC)
}

/// Every blob of a file, in address order, with link-time addresses filled in from the relocations where the
/// file's bytes do not hold them (arm64 PIE). Bytes that carry the magic but are not where they say they are
/// belong to something else and are passed over; damaged blobs are returned as errors beside the rest.
pub fn scan(view: &View<'_>) -> Vec<Result<Blob, BlobError>> {
    let mut candidates = Vec::new();
    for segment in view.segments.iter().filter(|s| s.is_load() && s.is_writable()) {
        let Some(data) = view.range(segment.offset, segment.filesz) else { continue };
        candidates.extend(find(data).filter_map(|at| {
            let vaddr = segment.vaddr.checked_add(at as u64)?;
            Some((vaddr, data.get(at..)?))
        }));
    }
    if candidates.is_empty() {
        return Vec::new();
    }
    let places: BTreeSet<u64> = candidates
        .iter()
        .flat_map(|(vaddr, _)| [SELF, PC, NOTE_SEMAPHORE].map(|field| vaddr.wrapping_add(field as u64)))
        .collect();
    let relocations = view.relocations(|place| places.contains(&place));
    let mut found = Vec::new();
    for (vaddr, data) in candidates {
        let word = |field: usize, stored: u64| {
            relocations.get(&vaddr.wrapping_add(field as u64)).copied().unwrap_or(stored)
        };
        match Blob::parse(data) {
            Ok(mut blob) => {
                blob.self_addr = word(SELF, blob.self_addr);
                blob.note.pc = word(PC, blob.note.pc);
                blob.note.semaphore = word(NOTE_SEMAPHORE, blob.note.semaphore);
                if blob.self_addr == vaddr {
                    found.push(Ok(blob));
                }
            }
            Err(error) => {
                let stored = addr_at(data, SELF, false, true).unwrap_or(0);
                if word(SELF, stored) == vaddr {
                    found.push(Err(error));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note() -> Note {
        Note {
            pc: 0,
            base: 0,
            semaphore: 0,
            provider: "app".into(),
            name: "tick".into(),
            args: "-4@8(%rsp)".into(),
        }
    }

    #[test]
    fn a_template_is_read_back() {
        let bytes = Blob::template(&note(), "{\"name\":\"tick\"}", Some(3)).unwrap();
        assert_eq!(bytes.len() % 8, 0);
        let blob = Blob::parse(&bytes).unwrap();
        assert_eq!((blob.size, blob.semaphore, blob.self_addr), (bytes.len(), 0, 0));
        assert_eq!((blob.goid_offset, blob.goid_register), (0, Some(3)));
        assert_eq!((blob.note, blob.schema.as_str()), (note(), "{\"name\":\"tick\"}"));
    }

    #[test]
    fn addresses_are_aligned_and_where_the_header_says() {
        let mut bytes = Blob::template(&note(), "", None).unwrap();
        for (at, value) in [(SELF, 0x1111_u64), (PC, 0x2222), (NOTE_SEMAPHORE, 0x3333)] {
            assert_eq!(at % 8, 0);
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let blob = Blob::parse(&bytes).unwrap();
        assert_eq!((blob.self_addr, blob.note.pc, blob.note.semaphore), (0x1111, 0x2222, 0x3333));
    }

    #[test]
    fn a_newer_layout_is_named() {
        let mut bytes = Blob::template(&note(), "", None).unwrap();
        bytes[16] = 2;
        assert_eq!(Blob::parse(&bytes), Err(BlobError::Version(2)));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 16usize..200, value: u8, cut in 0usize..250) {
            let mut bytes = Blob::template(&note(), "{\"a\":[1,2,3],\"doc\":\"some words of documentation\"}", Some(3)).unwrap();
            if let Some(b) = bytes.get_mut(at) { *b = value; }
            bytes.truncate(cut);
            let _ = Blob::parse(&bytes);
        }
    }
}
