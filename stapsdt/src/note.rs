//! Stapsdt notes: the ELF notes from which tracers learn a probe's site, semaphore and arguments.
//!
//! The layout is version 3 of SystemTap's `sys/sdt.h`. The container is a note of the gABI, chapter
//! 5, "Note Section":
//!
//! ```text
//! u32 namesz = 8 | u32 descsz | u32 type = 3 | "stapsdt\0"
//! addr pc | addr base | addr semaphore (0: none)     4 or 8 bytes each, in the file's byte order
//! provider\0 name\0 args\0                           end of descsz; padded to 4 bytes after it
//! ```

use crate::bytes::{addr_at, align4, u32_at};
use byteorder::{BigEndian, ByteOrder, LittleEndian};

/// The section with the notes.
pub const SECTION: &str = ".note.stapsdt";
/// The section whose address is the `base` of notes. If it differs from a note's `base`, the file
/// was prelinked, and readers add the difference to the note's addresses.
pub const BASE_SECTION: &str = ".stapsdt.base";
/// The section from which bcc and perf compute the file offset of a semaphore.
pub const PROBES_SECTION: &str = ".probes";
/// The owner name of stapsdt notes, without its NUL.
pub(crate) const OWNER: &str = "stapsdt";
/// The note type of version 3 of the format.
pub(crate) const NT_STAPSDT: u32 = 3;

/// The address size and the byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// True if addresses have 8 bytes (ELFCLASS64), false if they have 4 (ELFCLASS32).
    pub is64: bool,
    /// True if the most significant byte comes first (ELFDATA2MSB).
    pub big_endian: bool,
}

impl Format {
    /// The format of amd64 and arm64 files: 64-bit, little-endian.
    pub const LE64: Format = Format { is64: true, big_endian: false };

    fn addr_size(self) -> usize {
        if self.is64 { 8 } else { 4 }
    }
}

/// A probe site, as described by its note.
///
/// ```
/// use stapsdt::note::{Format, Note, NoteIter};
///
/// let note = Note {
///     pc: 0x401000,
///     base: 0,
///     semaphore: 0,
///     provider: "app".into(),
///     name: "request__start".into(),
///     args: "-4@%edi".into(),
/// };
/// let mut section = Vec::new();
/// note.encode(Format::LE64, &mut section)?;
/// let raw = NoteIter::new(&section, Format::LE64).next_note()?.unwrap();
/// assert_eq!(raw.decode(Format::LE64)?, note);
/// # Ok::<(), stapsdt::note::NoteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The link-time address of the site's first instruction.
    pub pc: u64,
    /// The link-time address of [`BASE_SECTION`] when the note was written; 0 if there was none.
    pub base: u64,
    /// The link-time address of the 16-bit semaphore; 0 if the probe has none.
    pub semaphore: u64,
    /// The provider's name as stored: `__` is not replaced by `-`.
    pub provider: String,
    /// The probe's name as stored: `__` is not replaced by `-`.
    pub name: String,
    /// The argument specification, to be parsed by [`argspec::parse`](crate::argspec::parse). Empty
    /// if the probe has no arguments.
    pub args: String,
}

/// The reason why a note cannot be decoded or encoded. Offsets are in bytes from the start of the
/// section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The section ends inside a note.
    #[error("the note at offset {offset:#x} is truncated in its {part}")]
    Truncated {
        /// The offset of the note.
        offset: usize,
        /// The part of the note that is incomplete.
        part: &'static str,
    },
    /// A string is not NUL-terminated or not UTF-8.
    #[error("the {part} of the note at offset {offset:#x} is not a NUL-terminated UTF-8 string")]
    BadString {
        /// The offset of the note.
        offset: usize,
        /// The part of the note that has the string.
        part: &'static str,
    },
    /// A value cannot be encoded: it is too large for the file's format, or a string contains a
    /// NUL.
    #[error("cannot encode {value} in a stapsdt note: it is too large or contains a NUL")]
    Unencodable {
        /// The value.
        value: &'static str,
    },
}

/// An undecoded note of any owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawNote<'a> {
    /// The offset of the note in bytes from the start of the section.
    pub offset: usize,
    /// The owner name without its NUL.
    pub owner: &'a [u8],
    /// The note type, whose meaning depends on the owner.
    pub n_type: u32,
    /// The descriptor, without padding after it.
    pub desc: &'a [u8],
}

/// A fallible iterator over the notes of a section.
#[derive(Clone, Debug)]
pub struct NoteIter<'a> {
    data: &'a [u8],
    at: usize,
    format: Format,
}

impl<'a> NoteIter<'a> {
    /// Returns an iterator over `data`, the contents of a `SHT_NOTE` section or a `PT_NOTE`
    /// segment.
    pub fn new(data: &'a [u8], format: Format) -> Self {
        NoteIter { data, at: 0, format }
    }

    /// Returns the next note; `None` at the end of the section.
    ///
    /// # Errors
    ///
    /// Returns [`NoteError::Truncated`] if the section ends inside the note. The iterator is at its
    /// end after an error.
    pub fn next_note(&mut self) -> Result<Option<RawNote<'a>>, NoteError> {
        let offset = self.at;
        if self.data.len() - offset.min(self.data.len()) == 0 {
            return Ok(None);
        }
        match self.read(offset) {
            Ok((note, next)) => {
                self.at = next;
                Ok(Some(note))
            }
            Err(part) => {
                self.at = self.data.len();
                Err(NoteError::Truncated { offset, part })
            }
        }
    }

    fn read(&self, at: usize) -> Result<(RawNote<'a>, usize), &'static str> {
        let big = self.format.big_endian;
        let header_word = |i: usize| u32_at(self.data, at + 4 * i, big).ok_or("header");
        let (namesz, descsz, n_type) =
            (header_word(0)? as usize, header_word(1)? as usize, header_word(2)?);
        let name_at = at + 12;
        let name = name_at
            .checked_add(namesz)
            .and_then(|end| self.data.get(name_at..end))
            .ok_or("owner")?;
        let desc_at = align4(name_at + namesz).ok_or("owner")?;
        let desc_end = desc_at.checked_add(descsz).ok_or("descriptor")?;
        let desc = self.data.get(desc_at..desc_end).ok_or("descriptor")?;
        let owner = name.strip_suffix(b"\0").unwrap_or(name);
        // The section may end without the padding of the last note.
        let next = align4(desc_end).map_or(self.data.len(), |n| n.min(self.data.len()));
        Ok((RawNote { offset: at, owner, n_type, desc }, next))
    }
}

impl<'a> RawNote<'a> {
    /// Returns true if this is a stapsdt note of version 3, which [`decode`](RawNote::decode)
    /// accepts.
    pub fn is_stapsdt(&self) -> bool {
        self.owner == OWNER.as_bytes() && self.n_type == NT_STAPSDT
    }

    /// Decodes the descriptor of a stapsdt note.
    ///
    /// NULs after the arguments are ignored: some emitters include the padding in the descriptor.
    ///
    /// # Errors
    ///
    /// Returns [`NoteError::Truncated`] if the descriptor is too short for its addresses, and
    /// [`NoteError::BadString`] if one of its strings is not NUL-terminated or not UTF-8.
    pub fn decode(&self, format: Format) -> Result<Note, NoteError> {
        let size = format.addr_size();
        let address = |i: usize, part| {
            addr_at(self.desc, i * size, format.big_endian, format.is64)
                .ok_or(NoteError::Truncated { offset: self.offset, part })
        };
        let (pc, base, semaphore) =
            (address(0, "pc")?, address(1, "base")?, address(2, "semaphore")?);
        let mut rest = self.desc.get(3 * size..).unwrap_or_default();
        let mut next_string = |part| {
            let bad_string = NoteError::BadString { offset: self.offset, part };
            let end = memchr::memchr(0, rest).ok_or_else(|| bad_string.clone())?;
            let (string, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            std::str::from_utf8(string).map(str::to_owned).map_err(|_| bad_string)
        };
        Ok(Note {
            pc,
            base,
            semaphore,
            provider: next_string("provider name")?,
            name: next_string("probe name")?,
            args: next_string("argument specification")?,
        })
    }
}

impl Note {
    /// Returns the size in bytes of the descriptor without padding. bcc and SystemTap skip notes
    /// whose `descsz` includes padding.
    pub fn desc_size(&self, format: Format) -> usize {
        3 * format.addr_size() + self.provider.len() + self.name.len() + self.args.len() + 3
    }

    /// Appends the note to `out`, with its header and padding.
    ///
    /// # Errors
    ///
    /// Returns [`NoteError::Unencodable`] if a string contains a NUL, or an address does not fit
    /// `format`.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) -> Result<(), NoteError> {
        for (string, value) in [
            (&self.provider, "a provider"),
            (&self.name, "a probe name"),
            (&self.args, "an argument string"),
        ] {
            if string.as_bytes().contains(&0) {
                return Err(NoteError::Unencodable { value });
            }
        }
        let mut desc = Vec::with_capacity(self.desc_size(format));
        for (addr, value) in
            [(self.pc, "the pc"), (self.base, "the base"), (self.semaphore, "the semaphore")]
        {
            put_addr(&mut desc, addr, format).ok_or(NoteError::Unencodable { value })?;
        }
        for string in [&self.provider, &self.name, &self.args] {
            desc.extend_from_slice(string.as_bytes());
            desc.push(0);
        }
        encode_raw(OWNER, NT_STAPSDT, &desc, format, out)
    }
}

/// Appends a note of any owner to `out`, padded to 4 bytes.
///
/// # Errors
///
/// Returns [`NoteError::Unencodable`] if the owner or the descriptor is 4 GiB or longer.
pub(crate) fn encode_raw(
    owner: &str,
    n_type: u32,
    desc: &[u8],
    format: Format,
    out: &mut Vec<u8>,
) -> Result<(), NoteError> {
    let size = |n: usize, value| u32::try_from(n).map_err(|_| NoteError::Unencodable { value });
    for word in [size(owner.len() + 1, "the owner")?, size(desc.len(), "the descriptor")?, n_type] {
        let mut raw = [0; 4];
        if format.big_endian {
            BigEndian::write_u32(&mut raw, word);
        } else {
            LittleEndian::write_u32(&mut raw, word);
        }
        out.extend_from_slice(&raw);
    }
    for part in [[owner.as_bytes(), b"\0"].concat().as_slice(), desc] {
        out.extend_from_slice(part);
        out.extend(std::iter::repeat_n(0, (4 - part.len() % 4) % 4));
    }
    Ok(())
}

/// Appends an address. Returns `None` if it does not fit the format.
fn put_addr(out: &mut Vec<u8>, addr: u64, format: Format) -> Option<()> {
    let mut raw = [0; 8];
    match (format.is64, format.big_endian) {
        (true, true) => BigEndian::write_u64(&mut raw, addr),
        (true, false) => LittleEndian::write_u64(&mut raw, addr),
        (false, true) => BigEndian::write_u32(&mut raw, u32::try_from(addr).ok()?),
        (false, false) => LittleEndian::write_u32(&mut raw, u32::try_from(addr).ok()?),
    }
    out.extend_from_slice(raw.get(..format.addr_size())?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Note {
        Note {
            pc: 0x40_1000,
            base: 0x40_0190,
            semaphore: 0x51_e632,
            provider: "app".into(),
            name: "request__start".into(),
            args: "8@8(%rsp) 8@16(%rsp)".into(),
        }
    }

    fn decode_all(data: &[u8], format: Format) -> Result<Vec<Note>, NoteError> {
        let (mut iter, mut notes) = (NoteIter::new(data, format), Vec::new());
        while let Some(raw) = iter.next_note()? {
            if raw.is_stapsdt() {
                notes.push(raw.decode(format)?);
            }
        }
        Ok(notes)
    }

    #[test]
    fn encodes_the_layout_of_sys_sdt_h() {
        let mut out = Vec::new();
        let note = Note { provider: "p".into(), name: "n".into(), args: String::new(), ..sample() };
        note.encode(Format::LE64, &mut out).unwrap();
        assert_eq!(&out[..12], &[8, 0, 0, 0, 29, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(&out[12..20], b"stapsdt\0");
        assert_eq!(&out[20..28], &0x40_1000u64.to_le_bytes());
        assert_eq!(&out[44..49], b"p\0n\0\0");
        assert_eq!(out.len(), 52, "padding is not part of descsz");
    }

    #[test]
    fn decodes_notes_whose_descsz_includes_padding() {
        let note = sample();
        let mut exact = Vec::new();
        note.encode(Format::LE64, &mut exact).unwrap();
        let padded_size = align4(note.desc_size(Format::LE64)).unwrap() as u32;
        exact[4..8].copy_from_slice(&padded_size.to_le_bytes());
        assert_eq!(decode_all(&exact, Format::LE64).unwrap(), [note]);
    }

    #[test]
    fn rejects_64_bit_addresses_in_32_bit_files() {
        let note = Note { pc: 1 << 40, ..sample() };
        let format = Format { is64: false, big_endian: false };
        assert_eq!(
            note.encode(format, &mut Vec::new()),
            Err(NoteError::Unencodable { value: "the pc" })
        );
    }

    #[test]
    fn reports_the_offset_of_a_truncated_note() {
        let mut out = Vec::new();
        sample().encode(Format::LE64, &mut out).unwrap();
        let second = out.len();
        sample().encode(Format::LE64, &mut out).unwrap();
        out.truncate(second + 30);
        let err = decode_all(&out, Format::LE64).unwrap_err();
        assert_eq!(err, NoteError::Truncated { offset: second, part: "descriptor" });
    }

    fn format() -> impl Strategy<Value = Format> {
        (any::<bool>(), any::<bool>()).prop_map(|(is64, big_endian)| Format { is64, big_endian })
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(
            format in format(),
            notes in prop::collection::vec(("[a-z_]{1,20}", "[a-z_]{1,70}", "[ -~]{0,90}", any::<[u32; 3]>()), 0..5),
        ) {
            let notes: Vec<Note> = notes
                .into_iter()
                .map(|(provider, name, args, [pc, base, semaphore])| Note {
                    pc: pc.into(), base: base.into(), semaphore: semaphore.into(), provider, name, args,
                })
                .collect();
            let mut out = Vec::new();
            for note in &notes {
                note.encode(format, &mut out).unwrap();
            }
            prop_assert_eq!(decode_all(&out, format).unwrap(), notes);
        }

        #[test]
        fn decodes_any_bytes_without_panic(data in prop::collection::vec(any::<u8>(), 0..200), format in format()) {
            let _ = decode_all(&data, format);
        }
    }
}
