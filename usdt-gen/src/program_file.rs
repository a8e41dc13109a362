//! Reading of binaries that other users may own.
//!
//! A binary is copied before it is parsed. If its owner truncates it meanwhile, a mapping of the
//! file itself would end this process with SIGBUS, and if the owner changes it, the parser would
//! see two versions of the same byte.

use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The largest file that is taken for a program, in bytes with holes.
const MAX_SIZE: u64 = 16 << 30;
/// The largest file that is copied, in bytes without holes.
const MAX_STORED: u64 = 4 << 30;

/// Opens a regular file whose size a program can have.
///
/// # Errors
///
/// Returns the error of the system call, or the reason why the file is no program.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = usdt_files::open_regular(path)?;
    check_size(&file)?;
    Ok(file)
}

/// Returns the size of a file that a program can have, in bytes with holes.
fn check_size(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    for (size, limit) in
        [(metadata.len(), MAX_SIZE), (metadata.blocks().saturating_mul(512), MAX_STORED)]
    {
        if size > limit {
            let reason = format!("larger than {} GiB, too large for a program", limit >> 30);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
    }
    Ok(metadata.len())
}

/// Returns true if a file starts with the ELF magic number.
pub(crate) fn is_elf(file: &File) -> bool {
    let mut magic = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut magic, 0).is_ok() && magic == *b"\x7fELF"
}

/// A copy of a file in memory. Holes of the file take no memory.
#[derive(Debug)]
pub(crate) struct Snapshot(MmapMut);

impl Snapshot {
    /// Copies an open file.
    ///
    /// # Errors
    ///
    /// Returns the error of the system call, or the reason why the file is no program: it may have
    /// grown since it was opened.
    pub(crate) fn of(file: &File) -> io::Result<Snapshot> {
        let size = check_size(file)?;
        let mut memory = MmapMut::map_anon(usize::try_from(size).map_err(io::Error::other)?)?;
        usdt_files::read_with_holes(file, &mut memory, MAX_STORED)?;
        Ok(Snapshot(memory))
    }

    /// Opens and copies a file.
    ///
    /// # Errors
    ///
    /// As for [`open`] and [`Snapshot::of`].
    pub(crate) fn read(path: &Path) -> io::Result<Snapshot> {
        Snapshot::of(&open(path)?)
    }
}

impl Deref for Snapshot {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_files_that_are_too_large() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_SIZE + 1).unwrap();
        for error in [open(file.path()).unwrap_err(), Snapshot::of(file.as_file()).unwrap_err()] {
            assert_eq!(error.to_string(), "larger than 16 GiB, too large for a program");
        }
    }

    #[test]
    fn copies_empty_and_sparse_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Snapshot::read(file.path()).unwrap().is_empty());
        file.as_file().set_len(5 << 30).unwrap();
        assert_eq!(Snapshot::read(file.path()).unwrap().len(), 5 << 30);
    }
}
