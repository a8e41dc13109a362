//! Scans of large tables in pieces, with limits of work.

use stapsdt::source::{Source, for_each_piece};
use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, Range};

/// Returns the offsets, from the start of `range`, of NUL-terminated names in a list of names.
pub(crate) fn find_names<'a, 'n, S: Source<'a>>(
    file: S,
    range: Range<u64>,
    names: impl IntoIterator<Item = &'n str>,
) -> HashMap<u64, &'n str> {
    /// The number of offsets, which limits the memory that they take. The Go linker writes each
    /// name once.
    const MAX_OFFSETS: usize = 1 << 14;
    let names: HashSet<&str> = names.into_iter().collect();
    let names: HashMap<&[u8], &'n str> = names.into_iter().map(|n| (n.as_bytes(), n)).collect();
    let longest = names.keys().map(|name| name.len()).max().unwrap_or_default();
    let mut found = HashMap::new();
    for_each_name(file, range, longest, |offset, name| {
        if let Some(name) = names.get(name) {
            found.insert(offset, *name);
        }
        if found.len() > MAX_OFFSETS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

/// Returns the names in a list of NUL-terminated names that match, by their offsets from the start
/// of `range`: up to `limit` and one more. Names that are not UTF-8 are left out.
pub(crate) fn matching_names<'a, S: Source<'a>>(
    file: S,
    range: Range<u64>,
    mut matches: impl FnMut(&str) -> bool,
    limit: usize,
) -> HashMap<u64, String> {
    /// The length in bytes of the longest name that is found. Names of generic functions have some
    /// hundred bytes.
    const LONGEST: usize = 1 << 13;
    let mut found = HashMap::new();
    for_each_name(file, range, LONGEST, |offset, name| {
        if let Some(name) = std::str::from_utf8(name).ok().filter(|name| matches(name)) {
            found.insert(offset, name.to_owned());
        }
        if found.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

/// Calls `visit` with the names in a list of NUL-terminated names and their offsets from the start of
/// `range`, until it breaks. Some names are visited twice, and names longer than `longest` bytes
/// may be left out.
fn for_each_name<'a, S: Source<'a>>(
    file: S,
    range: Range<u64>,
    longest: usize,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) {
    let start = range.start;
    // A name is found in the piece that has it with the NULs before and after it.
    for_each_piece(file, range, longest + 2, |offset, piece| {
        let mut name_start = if offset == start { Some(0) } else { None };
        for nul in memchr::memchr_iter(0, piece) {
            if let Some(from) = name_start
                && let Some(name) = piece.get(from..nul)
            {
                visit(offset - start + from as u64, name)?;
            }
            name_start = Some(nul + 1);
        }
        ControlFlow::Continue(())
    });
}

/// Reads words of a table, mostly in ascending order, through a window that moves over it.
///
/// A damaged table can refer to its words in any order. So that the window does not move for each
/// of them, it reads each byte of the table twice at most, on average.
pub(crate) struct TableWindow<S> {
    file: S,
    /// The file offset of the table.
    offset: u64,
    /// The size of the table in bytes.
    size: u64,
    window: Vec<u8>,
    /// The offset in the table of the window.
    start: u64,
    /// The number of bytes that may still be read.
    left: u64,
}

impl<'a, S: Source<'a>> TableWindow<S> {
    /// The size of the window in bytes.
    const SIZE: u64 = 1 << 15;

    pub(crate) fn new(file: S, offset: u64, size: u64) -> Self {
        let left = size.saturating_mul(2).saturating_add(64 * Self::SIZE);
        TableWindow { file, offset, size, window: Vec::new(), start: 0, left }
    }

    /// Returns the little-endian word at an offset in the table; `None` if the table is shorter or
    /// cannot be read, or if too much was read already.
    pub(crate) fn u32_at(&mut self, at: u64) -> Option<u32> {
        if let Some(word) = self.in_window(at) {
            return Some(word);
        }
        let len = self.size.checked_sub(at)?.min(Self::SIZE);
        self.left = self.left.checked_sub(Self::SIZE).unwrap_or_else(|| {
            self.window.clear();
            0
        });
        if self.is_exhausted() {
            return None;
        }
        self.window.resize(usize::try_from(len).ok()?, 0);
        self.file.copy(self.offset.checked_add(at)?, &mut self.window)?;
        self.start = at;
        self.in_window(at)
    }

    /// Returns true if the words are in an order that needs too many reads.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    fn in_window(&self, at: u64) -> Option<u32> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.window.get(from..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_across_pieces_but_no_parts_of_names() {
        let mut data = b"main.main\0".to_vec();
        while data.len() < 200_000 {
            data.extend(format!("filler.{}\0xmain.work\0", data.len()).bytes());
        }
        let at = data.len() as u64;
        data.extend(b"main.work\0main");
        let found = find_names(&data[..], 0..data.len() as u64, ["main.main", "main.work", "main"]);
        assert_eq!(found, HashMap::from([(0, "main.main"), (at, "main.work")]));
    }

    #[test]
    fn finds_matching_names_up_to_the_limit() {
        let data = b"\0main.main\0main.work\0os.Exit\0main.\xff\0";
        let find = |limit| {
            let range = 0..data.len() as u64;
            matching_names(&data[..], range, |name| name.starts_with("main."), limit)
        };
        let all = HashMap::from([(1, "main.main".to_owned()), (11, "main.work".to_owned())]);
        assert_eq!(find(10), all);
        assert_eq!(find(1).len(), 2, "one more than the limit");
        assert_eq!(find(0).len(), 1);
    }

    #[test]
    fn window_rejects_words_in_random_order() {
        let data: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
        let size = data.len() as u64;
        let mut window = TableWindow::new(&data[..], 0, size);
        assert!((0..1 << 18).all(|n| window.u32_at(4 * n) == Some(n as u32)));
        assert_eq!(window.u32_at(size - 3), None);
        let mut window = TableWindow::new(&data[..], 0, size);
        let last_read = (0..1000).find(|n| window.u32_at(4 * (n * 131_071 % (1 << 18))).is_none());
        assert!(last_read.is_some() && window.is_exhausted());
    }
}
