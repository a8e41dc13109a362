//! The bytes of an open file, read on demand into memory of this process.
//!
//! Files of other users are never mapped: they can be truncated at any time, and the kernel then
//! ends the reader with SIGBUS. A failed read is a value here.
//!
//! # Memory
//!
//! Parts that were read stay in memory until the [`FileBytes`] is dropped, so that slices of them
//! stay valid. A limit bounds them. One file at a time in the process may exceed [`SMALL`], so that
//! many hostile files on several threads take no more memory than one.

use super::object::Object;
use crate::error::{Error, Result};
use stapsdt::escape::Escaped;
use stapsdt::source::Source;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// The granularity of reads in bytes.
const GRANULE: u64 = 16 << 10;
/// The number of lists of parts.
const LISTS: usize = 64;
/// The number of bytes that a file may hold while others do.
pub(super) const SMALL: u64 = 2 << 20;

/// The bytes of a file.
pub(crate) struct FileBytes {
    file: Arc<File>,
    /// The size of the file when it was opened.
    size: u64,
    limit: u64,
    /// The bytes read and reserved so far.
    held: AtomicU64,
    /// Append-only lists of the parts, by the number of their first granule.
    parts: [OnceLock<Box<Part>>; LISTS],
    /// Shared with the files that are read at the same time.
    permit: Arc<OnceLock<Permit>>,
    problem: OnceLock<Problem>,
}

/// Consecutive granules of a file.
struct Part {
    first: u64,
    bytes: Vec<u8>,
    next: OnceLock<Box<Part>>,
}

/// The first reason why bytes that the file should have could not be read.
#[derive(Debug)]
enum Problem {
    Read(io::Error),
    Truncated,
    TooLarge,
}

impl FileBytes {
    pub(crate) fn new(file: Arc<File>, size: u64, limit: u64) -> FileBytes {
        FileBytes {
            file,
            size,
            limit,
            held: AtomicU64::new(0),
            parts: std::array::from_fn(|_| OnceLock::new()),
            permit: Arc::default(),
            problem: OnceLock::new(),
        }
    }

    /// Shares the permit with another file, which the same thread reads at the same time.
    pub(crate) fn next_to(self, other: &FileBytes) -> FileBytes {
        FileBytes { permit: Arc::clone(&other.permit), ..self }
    }

    /// Returns true if more than half of the limit is in use.
    pub(crate) fn is_half_full(&self) -> bool {
        self.held.load(Relaxed) > self.limit / 2
    }

    /// Fails if a read failed, or if the limit was exceeded. What was found by then is incomplete.
    pub(crate) fn check(&self, object: &Object) -> Result<()> {
        let path = &object.path;
        match self.problem.get() {
            None => Ok(()),
            Some(Problem::Read(error)) => {
                let source = error.raw_os_error().map(io::Error::from_raw_os_error);
                let source = source.unwrap_or_else(|| error.kind().into());
                Err(Error::io(format!("cannot read {}", Escaped::new(&path)), source))
            }
            Some(Problem::Truncated) => {
                Err(Error::object(path, "the file was truncated while it was read"))
            }
            Some(Problem::TooLarge) => Err(Error::object(
                path,
                format!(
                    "reading it needs more than {} MiB of memory; is the file damaged?",
                    self.limit >> 20
                ),
            )),
        }
    }

    fn fail<T>(&self, problem: Problem) -> Option<T> {
        // Only the first problem is kept.
        let _ = self.problem.set(problem);
        None
    }

    fn list(&self, granule: u64) -> Option<&OnceLock<Box<Part>>> {
        self.parts.get((granule % LISTS as u64) as usize)
    }

    /// Returns the granules from `first`, with `len` bytes or more.
    fn part(&self, first: u64, len: usize) -> Option<&[u8]> {
        let mut next = self.list(first)?.get();
        while let Some(part) = next {
            if part.first == first && part.bytes.len() >= len {
                return Some(&part.bytes);
            }
            next = part.next.get();
        }
        None
    }

    fn load(&self, first: u64, len: usize) -> Option<&[u8]> {
        if !self.reserve(len as u64) {
            return None;
        }
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            return self.fail(Problem::TooLarge);
        }
        bytes.resize(len, 0);
        self.read_exact(first * GRANULE, &mut bytes)?;
        let mut part = Box::new(Part { first, bytes, next: OnceLock::new() });
        let mut end = self.list(first)?;
        // Another thread may append meanwhile.
        while let Err(rejected) = end.set(part) {
            part = rejected;
            end = &end.get()?.next;
        }
        end.get().map(|part| part.bytes.as_slice())
    }

    fn read_exact(&self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.fail(Problem::Truncated)
            }
            Err(error) => self.fail(Problem::Read(error)),
        }
    }

    fn is_inside(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.size)
    }
}

impl<'a> Source<'a> for &'a FileBytes {
    fn size(self) -> u64 {
        self.size
    }

    fn read(self, offset: u64, len: u64) -> Option<&'a [u8]> {
        if !self.is_inside(offset, len) {
            return None;
        }
        let first = offset / GRANULE;
        let start = first * GRANULE;
        let end = (offset + len).div_ceil(GRANULE).saturating_mul(GRANULE).min(self.size);
        let (from, to) = ((offset - start) as usize, (offset - start + len) as usize);
        let part = self.part(first, to);
        part.or_else(|| self.load(first, usize::try_from(end - start).ok()?))?.get(from..to)
    }

    fn copy(self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        if !self.is_inside(offset, buffer.len() as u64) {
            return None;
        }
        self.read_exact(offset, buffer)
    }

    fn reserve(self, len: u64) -> bool {
        let held = self.held.load(Relaxed).saturating_add(len);
        if held > self.limit {
            self.fail::<()>(Problem::TooLarge);
            return false;
        }
        if held > SMALL {
            self.permit.get_or_init(Permit::wait);
        }
        self.held.fetch_add(len, Relaxed);
        true
    }
}

/// The permit to hold more than [`SMALL`] bytes of a file.
///
/// A thread must not wait for it while it has one: it drops one [`FileBytes`] before it reads
/// another, lets both share it by [`FileBytes::next_to`], or uses a limit of [`SMALL`].
struct Permit;

static PERMIT_IS_TAKEN: Mutex<bool> = Mutex::new(false);
static PERMIT_RETURNED: Condvar = Condvar::new();

impl Permit {
    fn wait() -> Permit {
        let mut taken = PERMIT_IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = PERMIT_RETURNED.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *PERMIT_IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        PERMIT_RETURNED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(content: &[u8], limit: u64) -> (Arc<File>, FileBytes) {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, content).unwrap();
        let file = Arc::new(file);
        (Arc::clone(&file), FileBytes::new(file, content.len() as u64, limit))
    }

    #[test]
    fn slices_have_the_bytes_of_the_file() {
        let content: Vec<u8> = (0..200_000u32).map(|n| (n / 3) as u8).collect();
        let (_, bytes) = bytes_of(&content, 4 << 20);
        let all = bytes.read(0, 200_000).unwrap();
        assert_eq!(all, content);
        for (offset, len) in [(0, 1), (16_383, 2), (16_384, 16_384), (199_999, 1), (5, 199_995)] {
            let range = offset as usize..(offset + len) as usize;
            assert_eq!(bytes.read(offset, len).unwrap(), &content[range.clone()]);
            let mut copy = vec![0; len as usize];
            bytes.copy(offset, &mut copy).unwrap();
            assert_eq!(copy, content[range]);
        }
        assert_eq!(bytes.read(200_000, 0), Some(&[][..]));
        assert_eq!((bytes.read(199_999, 2), bytes.read(u64::MAX, 2)), (None, None));
        assert!(bytes.problem.get().is_none(), "a read beyond the end is not a problem");
    }

    #[test]
    fn holds_no_more_than_the_limit() {
        let (_, bytes) = bytes_of(&vec![7; 1 << 20], 64 << 10);
        assert!(bytes.read(0, 40_000).is_some());
        assert!(bytes.read(0, 100).is_some(), "what is held costs nothing");
        assert_eq!(bytes.read(500_000, 40_000), None);
        assert!(matches!(bytes.problem.get(), Some(Problem::TooLarge)));
        assert!(bytes.copy(500_000, &mut [0; 40_000]).is_some(), "copies are not held");
    }

    #[test]
    fn truncation_is_an_error() {
        let (file, bytes) = bytes_of(&vec![7; 1 << 20], 64 << 10);
        file.set_len(100).unwrap();
        assert_eq!(bytes.read(0, 200), None);
        assert!(matches!(bytes.problem.get(), Some(Problem::Truncated)));
        assert_eq!(bytes.copy(99, &mut [0; 2]), None);
    }

    #[test]
    fn files_next_to_each_other_share_the_permit() {
        let content = vec![7; SMALL as usize + 1];
        let (_, first) = bytes_of(&content, 2 * SMALL);
        let second = bytes_of(&content, 2 * SMALL).1.next_to(&first);
        for bytes in [&first, &second] {
            assert!(bytes.read(0, SMALL + 1).is_some());
        }
        drop(first);
        assert!(second.permit.get().is_some());
    }

    #[test]
    fn large_files_take_turns() {
        let read = || {
            let (_, bytes) = bytes_of(&vec![7; SMALL as usize + 1], 2 * SMALL);
            bytes.read(0, SMALL + 1).map(<[u8]>::len)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), Some(SMALL as usize + 1));
            }
        });
    }
}
