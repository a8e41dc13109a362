//! The `stapsdt` note: what a tracer reads to find a probe.
//!
//! Layout (SystemTap's `sys/sdt.h`, version 3; the note container is gABI chapter 5, "Note Section"):
//!
//! ```text
//! u32 namesz = 8 | u32 descsz | u32 type = 3 | "stapsdt\0"
//! addr pc | addr base | addr semaphore (0: none)     4 or 8 bytes each, the file's byte order
//! provider\0 name\0 args\0                           descsz ends here; padding to 4 is outside it
//! ```

use crate::bytes::{addr_at, align4, u32_at};
use byteorder::{BigEndian, ByteOrder, LittleEndian};

/// The section that holds the notes.
pub const SECTION: &str = ".note.stapsdt";
/// The section whose address notes carry as `base`, so that prelinking can be undone.
pub const BASE_SECTION: &str = ".stapsdt.base";
/// The section through which bcc and perf turn a semaphore's address into a file offset.
pub const PROBES_SECTION: &str = ".probes";
/// Owner name of the notes, without its NUL.
pub const OWNER: &str = "stapsdt";
/// Note type of version 3 of the format.
pub const NT_STAPSDT: u32 = 3;

/// Word size and byte order of the file a note stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Addresses are 8 bytes wide (ELFCLASS64) rather than 4.
    pub is64: bool,
    /// Most significant byte first (ELFDATA2MSB).
    pub big_endian: bool,
}

impl Format {
    /// 64-bit little-endian: amd64 and arm64.
    pub const LE64: Format = Format { is64: true, big_endian: false };

    fn addr_size(self) -> usize {
        if self.is64 { 8 } else { 4 }
    }
}

/// One probe site as its note describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Link-time virtual address of the site's first instruction.
    pub pc: u64,
    /// Link-time address of `.stapsdt.base`, 0 where there is none.
    pub base: u64,
    /// Link-time address of the 16-bit semaphore, 0 where there is none.
    pub semaphore: u64,
    /// Provider name, as written (underscores kept).
    pub provider: String,
    /// Probe name, as written.
    pub name: String,
    /// Argument specification, see [`crate::argspec`]; may be empty.
    pub args: String,
}

/// Why a note could not be read or written. `offset` counts from the start of the section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The section ends inside a note.
    #[error("note at offset {offset:#x} is cut off: {what}")]
    Truncated {
        /// Where the note starts.
        offset: usize,
        /// Which part is missing.
        what: &'static str,
    },
    /// A name is not NUL-terminated or not UTF-8.
    #[error("note at offset {offset:#x} has a bad {what} string")]
    BadString {
        /// Where the note starts.
        offset: usize,
        /// Which string.
        what: &'static str,
    },
    /// A value does not fit the format when writing.
    #[error("{what} does not fit a stapsdt note of this format")]
    Unencodable {
        /// Which field.
        what: &'static str,
    },
}

/// A note of any owner inside a note section or segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawNote<'a> {
    /// Where the note starts, from the start of the section.
    pub offset: usize,
    /// Owner name without its NUL.
    pub owner: &'a [u8],
    /// Owner-defined type.
    pub n_type: u32,
    /// Descriptor, without padding.
    pub desc: &'a [u8],
}

/// Walks the notes of a section; fallible, stops after the first error.
#[derive(Clone, Debug)]
pub struct NoteIter<'a> {
    data: &'a [u8],
    at: usize,
    format: Format,
}

impl<'a> NoteIter<'a> {
    /// Starts at the beginning of `data`, the bytes of a `SHT_NOTE` section.
    pub fn new(data: &'a [u8], format: Format) -> Self {
        NoteIter { data, at: 0, format }
    }

    /// The next note, `None` at the end. After an error the iterator is at its end.
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
            Err(what) => {
                self.at = self.data.len();
                Err(NoteError::Truncated { offset, what })
            }
        }
    }

    fn read(&self, at: usize) -> Result<(RawNote<'a>, usize), &'static str> {
        let big = self.format.big_endian;
        let word = |i: usize| u32_at(self.data, at + 4 * i, big).ok_or("header");
        let (namesz, descsz, n_type) = (word(0)? as usize, word(1)? as usize, word(2)?);
        let name_at = at + 12;
        let name = name_at
            .checked_add(namesz)
            .and_then(|end| self.data.get(name_at..end))
            .ok_or("owner")?;
        let desc_at = align4(name_at + namesz).ok_or("owner")?;
        let desc_end = desc_at.checked_add(descsz).ok_or("descriptor")?;
        let desc = self.data.get(desc_at..desc_end).ok_or("descriptor")?;
        let owner = name.strip_suffix(b"\0").unwrap_or(name);
        // The last note's padding may be missing.
        let next = align4(desc_end).map_or(self.data.len(), |n| n.min(self.data.len()));
        Ok((RawNote { offset: at, owner, n_type, desc }, next))
    }
}

impl<'a> RawNote<'a> {
    /// Whether this is a probe note at all.
    pub fn is_stapsdt(&self) -> bool {
        self.owner == OWNER.as_bytes() && self.n_type == NT_STAPSDT
    }

    /// Decodes the descriptor. NUL padding after the argument string is tolerated, as some emitters count it in.
    pub fn decode(&self, format: Format) -> Result<Note, NoteError> {
        let size = format.addr_size();
        let addr = |i: usize, what| {
            addr_at(self.desc, i * size, format.big_endian, format.is64)
                .ok_or(NoteError::Truncated { offset: self.offset, what })
        };
        let (pc, base, semaphore) = (addr(0, "pc")?, addr(1, "base")?, addr(2, "semaphore")?);
        let mut rest = self.desc.get(3 * size..).unwrap_or_default();
        let mut string = |what| {
            let bad = NoteError::BadString { offset: self.offset, what };
            let end = memchr::memchr(0, rest).ok_or_else(|| bad.clone())?;
            let (text, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            std::str::from_utf8(text).map(str::to_owned).map_err(|_| bad)
        };
        Ok(Note {
            pc,
            base,
            semaphore,
            provider: string("provider")?,
            name: string("probe name")?,
            args: string("argument")?,
        })
    }
}

impl Note {
    /// Exact descriptor size, padding excluded: bcc and SystemTap skip notes whose `descsz` counts it.
    pub fn desc_size(&self, format: Format) -> usize {
        3 * format.addr_size() + self.provider.len() + self.name.len() + self.args.len() + 3
    }

    /// Appends the note, header to padding, to `out`.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) -> Result<(), NoteError> {
        for (text, what) in [
            (&self.provider, "a provider"),
            (&self.name, "a probe name"),
            (&self.args, "an argument string"),
        ] {
            if text.as_bytes().contains(&0) {
                return Err(NoteError::Unencodable { what });
            }
        }
        let mut desc = Vec::with_capacity(self.desc_size(format));
        for (addr, what) in
            [(self.pc, "the pc"), (self.base, "the base"), (self.semaphore, "the semaphore")]
        {
            put_addr(&mut desc, addr, format).ok_or(NoteError::Unencodable { what })?;
        }
        for text in [&self.provider, &self.name, &self.args] {
            desc.extend_from_slice(text.as_bytes());
            desc.push(0);
        }
        encode_raw(OWNER, NT_STAPSDT, &desc, format, out)
    }
}

/// Appends a note of any owner, padded to 4 bytes.
pub fn encode_raw(
    owner: &str,
    n_type: u32,
    desc: &[u8],
    format: Format,
    out: &mut Vec<u8>,
) -> Result<(), NoteError> {
    let fit = |n: usize, what| u32::try_from(n).map_err(|_| NoteError::Unencodable { what });
    for word in [fit(owner.len() + 1, "the owner")?, fit(desc.len(), "the descriptor")?, n_type] {
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
    fn layout_is_the_one_tracers_read() {
        let mut out = Vec::new();
        let note = Note { provider: "p".into(), name: "n".into(), args: String::new(), ..sample() };
        note.encode(Format::LE64, &mut out).unwrap();
        assert_eq!(&out[..12], &[8, 0, 0, 0, 29, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(&out[12..20], b"stapsdt\0");
        assert_eq!(&out[20..28], &0x40_1000u64.to_le_bytes());
        assert_eq!(&out[44..49], b"p\0n\0\0");
        assert_eq!(out.len(), 52, "padded to four outside descsz");
    }

    #[test]
    fn padding_counted_into_descsz_is_tolerated() {
        let note = sample();
        let mut exact = Vec::new();
        note.encode(Format::LE64, &mut exact).unwrap();
        let padded_size = align4(note.desc_size(Format::LE64)).unwrap() as u32;
        exact[4..8].copy_from_slice(&padded_size.to_le_bytes());
        assert_eq!(decode_all(&exact, Format::LE64).unwrap(), [note]);
    }

    #[test]
    fn an_address_too_wide_for_a_32_bit_file_is_refused() {
        let note = Note { pc: 1 << 40, ..sample() };
        let format = Format { is64: false, big_endian: false };
        assert_eq!(
            note.encode(format, &mut Vec::new()),
            Err(NoteError::Unencodable { what: "the pc" })
        );
    }

    #[test]
    fn a_cut_note_says_where() {
        let mut out = Vec::new();
        sample().encode(Format::LE64, &mut out).unwrap();
        let second = out.len();
        sample().encode(Format::LE64, &mut out).unwrap();
        out.truncate(second + 30);
        let err = decode_all(&out, Format::LE64).unwrap_err();
        assert_eq!(err, NoteError::Truncated { offset: second, what: "descriptor" });
    }

    fn format() -> impl Strategy<Value = Format> {
        (any::<bool>(), any::<bool>()).prop_map(|(is64, big_endian)| Format { is64, big_endian })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
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
        fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200), format in format()) {
            let _ = decode_all(&data, format);
        }
    }
}
