//! Byte sources: a file in memory, or a file that is read piece by piece.

use std::ops::{ControlFlow, Range};

/// The bytes of a file.
///
/// Slices are a source. A type that reads a file on demand implements this trait for its reference,
/// so that a view of a large file reads only what it needs.
pub trait Source<'a>: Copy {
    /// Returns the size of the file in bytes.
    fn size(self) -> u64;

    /// Returns `len` bytes at a file offset, which the source keeps in memory. `None` if the file
    /// is shorter or cannot be read, or if the source has a memory limit that this exceeds.
    fn read(self, offset: u64, len: u64) -> Option<&'a [u8]>;

    /// Copies bytes at a file offset into a buffer, without keeping them. `None` if the file is
    /// shorter or cannot be read.
    fn copy(self, offset: u64, buffer: &mut [u8]) -> Option<()>;

    /// Returns true if a reader may allocate `len` more bytes for data that it derives from the
    /// file, such as the content of a compressed section. The default limit is 1 GiB at a time.
    fn reserve(self, len: u64) -> bool {
        len <= 1 << 30
    }
}

impl<'a> Source<'a> for &'a [u8] {
    fn size(self) -> u64 {
        self.len() as u64
    }

    fn read(self, offset: u64, len: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    }

    fn copy(self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        buffer.copy_from_slice(self.read(offset, buffer.len() as u64)?);
        Some(())
    }
}

/// The size in bytes of the pieces that [`for_each_piece`] reads. A multiple of the sizes of
/// symbols and relocations of 64-bit files, 24 bytes.
const PIECE: usize = 24 << 11;

/// Calls `visit` with consecutive pieces of a file and their offsets, until it breaks. Each piece
/// but the first repeats the last `overlap` bytes of the piece before it. `None` if the range
/// cannot be read; `visit` may have been called for a part of it.
///
/// Tables and data are scanned in pieces so that memory use does not depend on their size.
pub fn for_each_piece<'a>(
    source: impl Source<'a>,
    range: Range<u64>,
    overlap: usize,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Option<()> {
    let mut buffer = vec![0; overlap.checked_add(PIECE)?];
    let mut at = range.start;
    let mut kept = 0;
    while at < range.end {
        let len = (range.end - at).min(PIECE as u64) as usize;
        source.copy(at, buffer.get_mut(kept..kept + len)?)?;
        let filled = kept + len;
        if visit(at - kept as u64, buffer.get(..filled)?).is_break() {
            break;
        }
        at += len as u64;
        let repeat = overlap.min(filled);
        buffer.copy_within(filled - repeat..filled, 0);
        kept = repeat;
    }
    Some(())
}

/// A budget for the bytes that a scan of tables may read.
///
/// The sections and segments of a valid file do not overlap, so all of one kind together are not
/// larger than the file. In a hostile file, thousands of them can refer to the same bytes. A sparse
/// file can have terabytes that take no space on the disk.
#[derive(Debug)]
pub struct ScanBudget(u64);

/// The largest budget in bytes. Tables and data of real programs are smaller.
const MAX_SCAN: u64 = 512 << 20;

impl ScanBudget {
    /// Returns the budget for the tables of one kind in a file of `size` bytes: its size, but at
    /// most 512 MiB.
    pub fn for_file(size: u64) -> ScanBudget {
        ScanBudget(size.min(MAX_SCAN))
    }

    /// Subtracts `len` bytes from the budget. Returns false if less is left.
    pub fn take(&mut self, len: u64) -> bool {
        let left = self.0.checked_sub(len);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_overlap_and_cover_the_range() {
        let data: Vec<u8> = (0..3 * PIECE as u32 + 100).map(|n| (n % 251) as u8).collect();
        let mut next = 7;
        let range = 7..data.len() as u64 - 3;
        for_each_piece(&data[..], range.clone(), 15, |offset, piece| {
            let overlap = if offset == 7 { 0 } else { 15 };
            assert_eq!(offset + overlap, next);
            next = offset + piece.len() as u64;
            assert_eq!(piece, &data[offset as usize..next as usize]);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(next, range.end);
        assert_eq!(
            for_each_piece(&data[..], 0..data.len() as u64 + 1, 0, |_, _| {
                ControlFlow::Continue(())
            }),
            None
        );
    }
}
