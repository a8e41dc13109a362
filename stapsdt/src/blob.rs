//! Probe blobs: probes in the form of initialized data, for compilers that cannot emit notes.
//!
//! A blob is a writable data symbol without pointers, one per probe. The linker fills in its
//! addresses, and the program's use of the semaphore keeps it from being dropped. Readers find
//! blobs by their magic bytes, even in stripped files. Sealing copies the note in the blob and the
//! schema that it refers to into the sections that tracers read.
//!
//! ```text
//!  0  magic, 16 bytes           40  u32 size of the schema
//! 16  u16 layout version = 2    44  u32 offset of `goid` in `runtime.g`: 0 until sealed
//! 18  u16 semaphore             48  u32 register of the goroutine id, plus 1; 0: none
//! 20  u32 size of the blob      52  stapsdt note: pc at 72, base (0) at 80, semaphore at 88
//! 24  u64 address of the blob   ..  NULs up to `size` (a multiple of 8)
//! 32  u64 address of the schema
//! ```
//!
//! # Schema
//!
//! The schema is JSON in a read-only symbol of its own. It is the same on every architecture, so a
//! package has one copy. Only the blob refers to it, so the linker drops both together.
//!
//! # Goroutine id
//!
//! The offset of `goid` differs between Go releases, so it is known only for the linked binary. The
//! stub adds the offset to the address of the running goroutine and loads the id into a register.
//! Tracers read it there, like an argument.
//!
//! # Limits
//!
//! Blobs are little-endian and 64-bit, as are the Go ports with stubs (amd64 and arm64).

use crate::bytes::{addr_at, array_at, u32_at};
use crate::elf::View;
use crate::note::{Format, Note, NoteError, NoteIter};
use crate::source::{ScanBudget, Source, for_each_piece};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// The first bytes of every blob: random, so that no other data starts with them.
const MAGIC: [u8; 16] = [
    0xc5, 0x1e, 0x9d, 0x73, 0xa2, 0x4f, 0xe8, 0x06, 0xbb, 0x31, 0x7c, 0xd9, 0x58, 0x90, 0x2a, 0xf4,
];
/// The layout version that this module reads and writes.
const VERSION: u16 = 2;

/// Offsets of a blob's fields, in bytes from its start. Those that hold addresses are 8-aligned.
pub mod field {
    /// The semaphore, a `u16`: not 0 while a tracer is attached.
    pub const SEMAPHORE: usize = 18;
    /// The size of the blob in bytes, a `u32`.
    pub const SIZE: usize = 20;
    /// The link-time address of the blob itself, a `u64`.
    pub const SELF: usize = 24;
    /// The link-time address of the schema, a `u64`.
    pub const SCHEMA: usize = 32;
    /// The size of the schema in bytes, a `u32`.
    pub(super) const SCHEMA_SIZE: usize = 40;
    /// The offset of `goid` in `runtime.g`, a `u32`; 0 until the file is sealed.
    pub const GOID_OFFSET: usize = 44;
    /// The number plus 1 of the register that holds the goroutine id, a `u32`; 0 if there is none.
    pub(super) const GOID_REGISTER: usize = 48;
    /// The note, header included.
    pub(super) const NOTE: usize = 52;
    /// The link-time address of the site in the note, a `u64`.
    pub const PC: usize = NOTE + 20;
    /// The link-time address of the semaphore in the note, a `u64`.
    pub const NOTE_SEMAPHORE: usize = NOTE + 36;
}

/// The fields that hold addresses. In position-independent files, relocations have their values.
const ADDRESSES: [usize; 4] = [field::SELF, field::SCHEMA, field::PC, field::NOTE_SEMAPHORE];
/// The size limit of a blob in bytes. Names have at most 63 bytes, and arguments about 20.
const MAX_SIZE: usize = 1 << 16;
/// The size limit of a schema in bytes. A dozen documented arguments stay far below it.
const MAX_SCHEMA: usize = 1 << 20;
/// The number of blobs that are read from a file, which limits the memory that they take.
const MAX_BLOBS: usize = 1 << 16;
/// The total size of the blobs and schemas that are read from a file, in bytes. A program with
/// thousands of documented probes stays far below it.
const MAX_TOTAL: u64 = 8 << 20;

/// The reason why bytes that start with the magic are not a valid blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The data ends before the blob does.
    #[error("a probe blob is truncated; is the file complete?")]
    Truncated,
    /// An incompatible version of `usdt-gen` generated the blob. The value is its layout version.
    #[error(
        "a probe blob has layout version {0}, but only version {VERSION} is supported: use the version of usdt-gen that generated the package"
    )]
    Version(u16),
    /// A field is out of range or contradicts the file. The value names the field.
    #[error("a probe blob has an invalid {0}")]
    Inconsistent(&'static str),
    /// The file has more blobs, or larger ones, than are read.
    #[error("the file has more than {MAX_BLOBS} probe blobs or {} MiB of them; the others are ignored", MAX_TOTAL >> 20)]
    TooMany,
    /// The data of the file is not searched for blobs.
    #[error(
        "the writable segments overlap or are larger than 512 MiB; they are not searched for probes"
    )]
    Segments,
    /// The note in the blob is damaged.
    #[error("in a probe blob: {0}")]
    Note(#[from] NoteError),
}

/// A blob of a file. All addresses are link-time addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The address of the blob.
    pub self_addr: u64,
    /// The size of the blob in bytes.
    pub size: usize,
    /// The offset in bytes of `goid` in `runtime.g` that the stub uses; 0 until the file is sealed.
    pub goid_offset: u32,
    /// The hardware number of the register that holds the goroutine id at the site of a sealed
    /// file. `None` if the stub does not load the id.
    pub goid_register: Option<u8>,
    /// The note; its `base` is 0.
    pub note: Note,
    /// The schema as JSON, see [`NoteBody::from_json`](crate::schema::NoteBody::from_json).
    pub schema: &'a str,
}

/// Encodes a blob with all addresses 0, for `note` and a schema of `schema_size` bytes.
///
/// The linker fills in the addresses, by relocations at [`field::SELF`], [`field::SCHEMA`],
/// [`field::PC`] and [`field::NOTE_SEMAPHORE`]. `goid_register` is the hardware number of the
/// register into which the stub loads the goroutine id; `None` if it does not load the id.
///
/// # Errors
///
/// Returns [`BlobError::Inconsistent`] if the note or the schema is too large, and
/// [`BlobError::Note`] if the note cannot be encoded.
pub fn encode_template(
    note: &Note,
    schema_size: usize,
    goid_register: Option<u8>,
) -> Result<Vec<u8>, BlobError> {
    if schema_size > MAX_SCHEMA {
        return Err(BlobError::Inconsistent("schema size"));
    }
    let note = Note { pc: 0, base: 0, semaphore: 0, ..note.clone() };
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.resize(field::SCHEMA_SIZE, 0);
    out.extend_from_slice(&(schema_size as u32).to_le_bytes());
    out.resize(field::GOID_REGISTER, 0);
    out.extend_from_slice(&goid_register.map_or(0, |number| u32::from(number) + 1).to_le_bytes());
    note.encode(Format::LE64, &mut out)?;
    out.resize(out.len().next_multiple_of(8), 0);
    if out.len() > MAX_SIZE {
        return Err(BlobError::Inconsistent("size"));
    }
    let size = (out.len() as u32).to_le_bytes();
    if let Some(field) = out.get_mut(field::SIZE..field::SIZE + 4) {
        field.copy_from_slice(&size);
    }
    Ok(out)
}

/// The fields of a blob as stored in the file. The addresses may lack their relocation.
#[derive(Debug, PartialEq, Eq)]
struct RawBlob {
    self_addr: u64,
    size: usize,
    schema: u64,
    schema_size: usize,
    goid_offset: u32,
    goid_register: Option<u8>,
    note: Note,
}

impl RawBlob {
    /// Parses the blob at the start of `data`, after the caller has checked for [`MAGIC`].
    fn parse(data: &[u8]) -> Result<RawBlob, BlobError> {
        let version =
            array_at::<2>(data, 16).map(u16::from_le_bytes).ok_or(BlobError::Truncated)?;
        if version != VERSION {
            return Err(BlobError::Version(version));
        }
        let size_field =
            |at| u32_at(data, at, false).map(|n| n as usize).ok_or(BlobError::Truncated);
        let size = size_field(field::SIZE)?;
        if !(field::NOTE..=MAX_SIZE).contains(&size) {
            return Err(BlobError::Inconsistent("size"));
        }
        let data = data.get(..size).ok_or(BlobError::Truncated)?;
        let address_field = |at| addr_at(data, at, false, true).ok_or(BlobError::Truncated);
        let schema_size = size_field(field::SCHEMA_SIZE)?;
        if schema_size > MAX_SCHEMA {
            return Err(BlobError::Inconsistent("schema size"));
        }
        let goid_register = match u8::try_from(size_field(field::GOID_REGISTER)?) {
            Ok(0) => None,
            Ok(number @ 1..=32) => Some(number - 1),
            _ => return Err(BlobError::Inconsistent("goroutine id register")),
        };
        let body = data.get(field::NOTE..).ok_or(BlobError::Truncated)?;
        let raw = NoteIter::new(body, Format::LE64).next_note()?.ok_or(BlobError::Truncated)?;
        if !raw.is_stapsdt() {
            return Err(BlobError::Inconsistent("note owner"));
        }
        Ok(RawBlob {
            self_addr: address_field(field::SELF)?,
            size,
            schema: address_field(field::SCHEMA)?,
            schema_size,
            goid_offset: u32_at(data, field::GOID_OFFSET, false).ok_or(BlobError::Truncated)?,
            goid_register,
            note: raw.decode(Format::LE64)?,
        })
    }

    /// Replaces the addresses that have a relocation. The blob is at address `vaddr`.
    fn relocate(&mut self, vaddr: u64, relocations: &BTreeMap<u64, u64>) {
        let fields = [
            (field::SELF, &mut self.self_addr),
            (field::SCHEMA, &mut self.schema),
            (field::PC, &mut self.note.pc),
            (field::NOTE_SEMAPHORE, &mut self.note.semaphore),
        ];
        for (field, value) in fields {
            if let Some(address) = relocations.get(&vaddr.wrapping_add(field as u64)) {
                *value = *address;
            }
        }
    }

    /// Adds the schema. `budget` limits the total size of all schemas in bytes, because any number
    /// of blobs in a hostile file can refer to one schema.
    fn with_schema<'a, S: Source<'a>>(
        self,
        view: &View<'a, S>,
        budget: &mut ScanBudget,
    ) -> Result<Blob<'a>, BlobError> {
        let mut schema = "";
        if self.schema_size > 0 {
            if !budget.take(self.schema_size as u64) {
                return Err(BlobError::Inconsistent("schema address"));
            }
            let bytes = view
                .bytes_at(self.schema, self.schema_size as u64)
                .ok_or(BlobError::Inconsistent("schema address"))?;
            schema = std::str::from_utf8(bytes)
                .map_err(|_| BlobError::Inconsistent("schema encoding"))?;
        }
        Ok(Blob {
            self_addr: self.self_addr,
            size: self.size,
            goid_offset: self.goid_offset,
            goid_register: self.goid_register,
            note: self.note,
            schema,
        })
    }
}

/// Returns the blobs of a file by address. A damaged blob is an `Err` in its position.
///
/// In arm64 PIEs and Go plugins, relocations have the link-time addresses. Bytes that start with
/// the magic are ignored if they do not contain their own address, such as the magic in this
/// program.
pub fn scan<'a, S: Source<'a>>(view: &View<'a, S>) -> Vec<Result<Blob<'a>, BlobError>> {
    let mut candidates: Vec<(u64, u64)> = Vec::new();
    let mut segments = ScanBudget::for_file(view.source().size());
    for segment in view.segments.iter().filter(|s| s.is_load() && s.is_writable()) {
        let Some(end) = segment.offset.checked_add(segment.filesz) else { continue };
        if end > view.source().size() {
            continue;
        }
        if !segments.take(segment.filesz) {
            return vec![Err(BlobError::Segments)];
        }
        let overlap = MAGIC.len() - 1;
        for_each_piece(view.source(), segment.offset..end, overlap, |offset, piece| {
            let found = memchr::memmem::find_iter(piece, &MAGIC).filter_map(|at| {
                let offset = offset + at as u64;
                Some((segment.vaddr.checked_add(offset - segment.offset)?, end - offset))
            });
            candidates.extend(found.take(MAX_BLOBS + 1 - candidates.len()));
            if candidates.len() > MAX_BLOBS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    }
    if candidates.is_empty() {
        return Vec::new();
    }
    let too_many = candidates.len() > MAX_BLOBS;
    candidates.truncate(MAX_BLOBS);
    let address_fields: BTreeSet<u64> = candidates
        .iter()
        .flat_map(|(vaddr, _)| ADDRESSES.map(|field| vaddr.wrapping_add(field as u64)))
        .collect();
    let relocations = view.relocations(|place| address_fields.contains(&place));
    let mut budget = ScanBudget::for_file(view.source().size().min(MAX_TOTAL));
    let mut found: Vec<Result<Blob<'_>, BlobError>> = Vec::new();
    for (vaddr, left) in candidates {
        // Blobs do not overlap: a magic inside a blob is data.
        if let Some(Ok(last)) = found.last()
            && (last.self_addr..last.self_addr.saturating_add(last.size as u64)).contains(&vaddr)
        {
            continue;
        }
        let Some(data) = blob_bytes(view, vaddr, left) else { continue };
        if !budget.take(data.len() as u64) {
            found.push(Err(BlobError::TooMany));
            return found;
        }
        match RawBlob::parse(data) {
            Ok(mut raw) => {
                raw.relocate(vaddr, &relocations);
                if raw.self_addr == vaddr {
                    found.push(raw.with_schema(view, &mut budget));
                }
            }
            Err(error) => {
                let stored = addr_at(data, field::SELF, false, true).unwrap_or(0);
                let self_addr = relocations
                    .get(&vaddr.wrapping_add(field::SELF as u64))
                    .copied()
                    .unwrap_or(stored);
                if self_addr == vaddr {
                    found.push(Err(error));
                }
            }
        }
    }
    if too_many {
        found.push(Err(BlobError::TooMany));
    }
    found
}

/// Returns the bytes of the blob at an address, `left` bytes before the end of its segment. If the
/// size of the blob is invalid, it returns the fixed part.
fn blob_bytes<'a, S: Source<'a>>(view: &View<'a, S>, vaddr: u64, left: u64) -> Option<&'a [u8]> {
    let fixed = view.bytes_at(vaddr, left.min(field::NOTE as u64))?;
    let size = u32_at(fixed, field::SIZE, false).unwrap_or(0) as usize;
    if !(field::NOTE..=MAX_SIZE).contains(&size) {
        return Some(fixed);
    }
    view.bytes_at(vaddr, left.min(size as u64))
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
    fn parses_an_encoded_template() {
        let bytes = encode_template(&note(), 15, Some(3)).unwrap();
        assert_eq!(bytes.len() % 8, 0);
        let raw = RawBlob::parse(&bytes).unwrap();
        assert_eq!((raw.size, raw.self_addr), (bytes.len(), 0));
        assert_eq!((raw.goid_offset, raw.goid_register), (0, Some(3)));
        assert_eq!((raw.note, raw.schema, raw.schema_size), (note(), 0, 15));
    }

    #[test]
    fn applies_relocations_to_aligned_addresses() {
        let mut bytes = encode_template(&note(), 0, None).unwrap();
        for (at, value) in ADDRESSES.into_iter().zip([0x1111_u64, 0x2222, 0x3333, 0x4444]) {
            assert_eq!(at % 8, 0);
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let mut raw = RawBlob::parse(&bytes).unwrap();
        let addresses =
            |raw: &RawBlob| [raw.self_addr, raw.schema, raw.note.pc, raw.note.semaphore];
        assert_eq!(addresses(&raw), [0x1111, 0x2222, 0x3333, 0x4444]);
        let places = ADDRESSES.map(|field| (0x8000 + field as u64, field as u64));
        raw.relocate(0x8000, &BTreeMap::from(places));
        assert_eq!(addresses(&raw), ADDRESSES.map(|field| field as u64));
    }

    #[test]
    fn rejects_other_layout_versions() {
        let mut bytes = encode_template(&note(), 0, None).unwrap();
        for version in [1, 3] {
            bytes[16] = version;
            assert_eq!(RawBlob::parse(&bytes), Err(BlobError::Version(version.into())));
        }
    }

    #[test]
    fn rejects_sizes_above_the_limits() {
        assert_eq!(
            encode_template(&note(), MAX_SCHEMA + 1, None),
            Err(BlobError::Inconsistent("schema size"))
        );
        let long = Note { args: "x".repeat(MAX_SIZE), ..note() };
        assert_eq!(encode_template(&long, 0, None), Err(BlobError::Inconsistent("size")));
        let mut bytes = encode_template(&note(), MAX_SCHEMA, None).unwrap();
        bytes[field::SCHEMA_SIZE] += 1;
        assert_eq!(RawBlob::parse(&bytes), Err(BlobError::Inconsistent("schema size")));
    }

    proptest! {
        #[test]
        fn parses_damaged_blobs_without_panic(at in 16usize..200, value: u8, cut in 0usize..250) {
            let mut bytes = encode_template(&note(), 40, Some(3)).unwrap();
            if let Some(b) = bytes.get_mut(at) { *b = value; }
            bytes.truncate(cut);
            let _ = RawBlob::parse(&bytes);
        }
    }
}
