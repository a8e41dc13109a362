//! Debug sections, compressed or not.
//!
//! A compressed section is inflated as far as it is read, and what was inflated is kept: units refer
//! to earlier ones. The file is read in pieces, which are not kept.

use super::DebugInfoError;
use flate2::{Decompress, FlushDecompress, Status};
use object::read::{CompressedData, CompressionFormat};
use stapsdt::elf::{Section, View};
use stapsdt::source::Source;
use std::ops::Range;

/// `SHF_COMPRESSED`.
const COMPRESSED: u64 = 1 << 11;
/// The size in bytes of the header of a compressed section (gABI, `Elf64_Chdr`).
const HEADER: u64 = 24;
/// `ELFCOMPRESS_ZLIB` and `ELFCOMPRESS_ZSTD`.
const ZLIB: u32 = 1;
const ZSTD: u32 = 2;
/// The header of `.zdebug_` sections, which Go before 1.19 writes: `ZLIB` and the size, big-endian.
const GNU_MAGIC: &[u8] = b"ZLIB";
const GNU_HEADER: u64 = 12;
/// The size in bytes of the pieces in which a file is read.
const PIECE: usize = 64 << 10;
/// No deflate stream is longer than this many times its compressed size.
const MAX_RATIO: u64 = 1032;
/// The limit in bytes of the size of a section that is not compressed.
const MAX_SIZE: u64 = 1 << 30;

/// The content of a debug section.
#[derive(Debug)]
pub(super) struct DebugSection<'a, S: Source<'a>> {
    size: u64,
    content: Content<'a, S>,
}

#[derive(Debug)]
enum Content<'a, S: Source<'a>> {
    /// At an offset of the file.
    Plain {
        source: S,
        offset: u64,
        lifetime: std::marker::PhantomData<&'a ()>,
    },
    Inflated(Box<Inflater<S>>),
    Whole(Vec<u8>),
}

/// A deflate stream, of which a part is inflated.
#[derive(Debug)]
struct Inflater<S> {
    source: S,
    /// The part of the file that is not inflated yet.
    rest: Range<u64>,
    stream: Decompress,
    /// Bytes of the file that `stream` has not consumed, from `consumed` on.
    input: Vec<u8>,
    consumed: usize,
    /// The section up to where it is inflated.
    output: Vec<u8>,
}

impl<'a, S: Source<'a>> DebugSection<'a, S> {
    /// Returns a debug section by its name without the prefix `.`; `None` if the file has none.
    pub(super) fn find(
        view: &View<'a, S>,
        name: &str,
    ) -> Result<Option<DebugSection<'a, S>>, DebugInfoError> {
        if let Some(section) = view.section(&format!(".{name}")) {
            if section.flags & COMPRESSED == 0 {
                return Ok(Some(DebugSection::plain(view, section)?));
            }
            let header = header(view, section, HEADER)?;
            let number = |at: usize| header.get(at..).and_then(|bytes| bytes.first_chunk());
            let kind = number(0).map(|bytes| u32::from_le_bytes(*bytes));
            let size = header.get(8..).and_then(|bytes| bytes.first_chunk());
            let size = size.map_or(0, |bytes| u64::from_le_bytes(*bytes));
            return match kind {
                Some(ZLIB) => DebugSection::zlib(view, section, HEADER, size).map(Some),
                Some(ZSTD) => DebugSection::zstd(view, section, size).map(Some),
                _ => Err(DebugInfoError::UnsupportedCompression),
            };
        }
        let Some(section) = view.section(&format!(".z{name}")) else { return Ok(None) };
        let header = header(view, section, GNU_HEADER)?;
        let size = header.strip_prefix(GNU_MAGIC).and_then(|size| size.first_chunk());
        let size = size.ok_or(DebugInfoError::UnsupportedCompression)?;
        DebugSection::zlib(view, section, GNU_HEADER, u64::from_be_bytes(*size)).map(Some)
    }

    fn plain(view: &View<'a, S>, section: &Section) -> Result<Self, DebugInfoError> {
        range(view, section, 0)?;
        let lifetime = std::marker::PhantomData;
        let (source, offset) = (view.source(), section.offset);
        Ok(DebugSection {
            size: section.size,
            content: Content::Plain { source, offset, lifetime },
        })
    }

    fn zlib(
        view: &View<'a, S>,
        section: &Section,
        header: u64,
        size: u64,
    ) -> Result<Self, DebugInfoError> {
        let rest = range(view, section, header)?;
        if size / MAX_RATIO > rest.end - rest.start {
            return Err(DebugInfoError::Damaged("the size of a compressed section"));
        }
        if size > MAX_SIZE {
            return Err(DebugInfoError::Limit("memory for a compressed section"));
        }
        let inflater = Inflater {
            source: view.source(),
            rest,
            stream: Decompress::new(true),
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
        };
        Ok(DebugSection { size, content: Content::Inflated(Box::new(inflater)) })
    }

    fn zstd(view: &View<'a, S>, section: &Section, size: u64) -> Result<Self, DebugInfoError> {
        let range = range(view, section, HEADER)?;
        if !view.source().reserve(size) {
            return Err(DebugInfoError::Limit("memory for a compressed section"));
        }
        let data = view.bytes_at_offset(range.start, range.end - range.start);
        let data = data.ok_or(DebugInfoError::Damaged("a section outside of the file"))?;
        let format = CompressionFormat::Zstandard;
        let compressed = CompressedData { format, data, uncompressed_size: size };
        let content = compressed.decompress();
        let content = content.map_err(|_| DebugInfoError::Damaged("a compressed section"))?;
        Ok(DebugSection { size, content: Content::Whole(content.into_owned()) })
    }

    /// Returns the size in bytes of the content, not compressed.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns a part of the content.
    pub(super) fn read(&mut self, range: Range<u64>) -> Result<&[u8], DebugInfoError> {
        const OUTSIDE: DebugInfoError = DebugInfoError::Damaged("a reference outside of a section");
        if range.start > range.end || range.end > self.size {
            return Err(OUTSIDE);
        }
        let content = match &mut self.content {
            Content::Plain { source, offset, .. } => {
                let start = offset.checked_add(range.start).ok_or(OUTSIDE)?;
                let bytes = source.read(start, range.end - range.start);
                return bytes.ok_or(DebugInfoError::Limit("memory for a section"));
            }
            Content::Inflated(inflater) => inflater.inflate_to(range.end, self.size)?,
            Content::Whole(bytes) => bytes,
        };
        content.get(range.start as usize..range.end as usize).ok_or(OUTSIDE)
    }

    /// Returns up to `len` bytes from an offset on, fewer at the end of the section.
    pub(super) fn read_up_to(&mut self, start: u64, len: u64) -> Result<&[u8], DebugInfoError> {
        let end = start.saturating_add(len).min(self.size);
        self.read(start..end)
    }

    /// Returns the whole content.
    pub(super) fn read_all(&mut self) -> Result<&[u8], DebugInfoError> {
        self.read(0..self.size)
    }

    /// Fills `buffer` with up to `len` bytes from an offset on. The source does not keep them.
    pub(super) fn copy_up_to(
        &mut self,
        start: u64,
        len: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(), DebugInfoError> {
        let end = start.saturating_add(len).min(self.size);
        buffer.clear();
        if let Content::Plain { source, offset, .. } = &self.content {
            buffer.resize(end.saturating_sub(start) as usize, 0);
            let at = offset.checked_add(start);
            let copied = at.and_then(|at| source.copy(at, buffer));
            return copied.ok_or(DebugInfoError::Damaged("a section outside of the file"));
        }
        buffer.extend_from_slice(self.read(start..end)?);
        Ok(())
    }
}

impl<S> Inflater<S> {
    /// Inflates up to `end` of `size` bytes, and returns what is inflated.
    fn inflate_to<'a>(&mut self, end: u64, size: u64) -> Result<&[u8], DebugInfoError>
    where
        S: Source<'a>,
    {
        const DAMAGED: DebugInfoError = DebugInfoError::Damaged("a compressed section");
        const LIMIT: DebugInfoError = DebugInfoError::Limit("memory for a compressed section");
        if (self.output.len() as u64) < end {
            // Some more, so that reading on needs no call for each entry.
            let target = end.saturating_add(PIECE as u64).min(size) as usize;
            if target > self.output.capacity() {
                let room = target.max(target / 2 * 3).min(size as usize) - self.output.len();
                if !self.source.reserve((self.output.len() + room - self.output.capacity()) as u64)
                {
                    return Err(LIMIT);
                }
                self.output.try_reserve_exact(room).map_err(|_| LIMIT)?;
            }
            while self.output.len() < target {
                self.inflate_some(target).ok_or(DAMAGED)?;
            }
        }
        Ok(&self.output)
    }

    /// Inflates a piece, but not beyond `target`; `None` if the stream is damaged or too short.
    fn inflate_some<'a>(&mut self, target: usize) -> Option<()>
    where
        S: Source<'a>,
    {
        if self.consumed == self.input.len() {
            let len = (self.rest.end - self.rest.start).min(PIECE as u64);
            self.input.resize(len as usize, 0);
            self.source.copy(self.rest.start, &mut self.input)?;
            (self.rest.start, self.consumed) = (self.rest.start + len, 0);
        }
        let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
        let (start, room) = (self.output.len(), target - self.output.len());
        // Zeroing in small steps keeps the bytes in the processor's cache.
        self.output.resize(start + room.min(PIECE), 0);
        let (input, output) = (self.input.get(self.consumed..)?, self.output.get_mut(start..)?);
        let status = self.stream.decompress(input, output, FlushDecompress::None).ok()?;
        let written = (self.stream.total_out() - before_out) as usize;
        self.output.truncate(start + written);
        let read = (self.stream.total_in() - before_in) as usize;
        self.consumed += read;
        let is_stuck = written == 0 && (read == 0 || self.rest.is_empty());
        (!is_stuck && (status != Status::StreamEnd || self.output.len() == target)).then_some(())
    }
}

/// Returns the range of a section in the file, after a header.
fn range<'a, S: Source<'a>>(
    view: &View<'a, S>,
    section: &Section,
    header: u64,
) -> Result<Range<u64>, DebugInfoError> {
    let start = section.offset.checked_add(header);
    let end = section.offset.checked_add(section.size);
    let inside = end.filter(|end| *end <= view.source().size());
    start
        .zip(inside)
        .filter(|(start, end)| start <= end)
        .map(|(start, end)| start..end)
        .ok_or(DebugInfoError::Damaged("a section outside of the file"))
}

fn header<'a, S: Source<'a>>(
    view: &View<'a, S>,
    section: &Section,
    len: u64,
) -> Result<&'a [u8], DebugInfoError> {
    range(view, section, len)?;
    let header = view.bytes_at_offset(section.offset, len);
    header.ok_or(DebugInfoError::Damaged("a section outside of the file"))
}
