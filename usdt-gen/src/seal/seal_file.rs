//! Sealing of files: the input is mapped, the kernel copies it, and the result replaces it
//! atomically.
#![allow(unsafe_code)] // to map files, see `map`

use super::error::SealError;
use super::inputs::Options;
use super::seal_bytes::{Sealed, check, seal};
use crate::atomic_write;
use memmap2::Mmap;
use stapsdt::escape::Escaped;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The result of sealing a file.
#[derive(Debug)]
pub struct SealReport {
    /// The number of probe sites that got a note: of blobs and of function entries.
    pub probes: usize,
    /// The number of notes that usdt-gen did not generate, kept or repaired.
    pub third_party: usize,
    /// True if the file was already sealed, so that nothing was changed.
    pub unchanged: bool,
}

/// The reason why a file was not sealed. The file is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", Escaped::new(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The file cannot be sealed.
    #[error("{}: {source}", Escaped::new(path))]
    Seal {
        /// The file.
        path: PathBuf,
        /// The reason why it cannot be sealed.
        source: SealError,
    },
    /// The result cannot be written.
    #[error("{0}")]
    Write(#[from] atomic_write::WriteError),
}

/// Seals `path` in place, or writes the sealed file to `target` with the mode of `path`.
///
/// The file is replaced atomically. Memory use does not depend on the size of the file.
///
/// # Errors
///
/// Returns [`FileError`] if the file cannot be read, sealed or written. The file at the destination
/// is unchanged then.
pub fn seal_file(
    path: &Path,
    target: Option<&Path>,
    options: Options,
) -> Result<SealReport, FileError> {
    let read_failed = |source| FileError::Read { path: path.to_owned(), source };
    let seal_failed = |source| FileError::Seal { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_failed)?;
    let data = map(&file).map_err(read_failed)?;
    let sealed = seal(&data, options).map_err(seal_failed)?;
    let report = SealReport {
        probes: sealed.probes.len(),
        third_party: sealed.third_party.len(),
        unchanged: sealed.patches.is_none(),
    };
    if report.unchanged && target.is_none() {
        return Ok(report);
    }
    let mode = file.metadata().map_err(read_failed)?.permissions();
    let target = target.unwrap_or(path);
    let mut new = atomic_write::Replacement::new(target)?;
    let written = copy(&file, new.file()).and_then(|()| write_patches(&sealed, &data, new.file()));
    written.map_err(|source| atomic_write::WriteError { path: target.to_owned(), source })?;
    check(&sealed, &map(new.file()).map_err(read_failed)?).map_err(seal_failed)?;
    new.finish(Some(mode))?;
    Ok(report)
}

/// Returns true if a file starts with the ELF magic number.
///
/// # Errors
///
/// Returns the system's error if the file cannot be opened.
pub fn is_elf(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let mut file = File::open(path)?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF")
}

/// Copies a file. `std` uses `copy_file_range`, which shares blocks if the file system can do so.
fn copy(from: &File, to: &mut File) -> io::Result<()> {
    let mut from = from;
    from.seek(SeekFrom::Start(0))?;
    io::copy(&mut from, to).map(|_| ())
}

fn write_patches(sealed: &Sealed, old: &[u8], new: &mut File) -> io::Result<()> {
    let Some(patches) = &sealed.patches else { return Ok(()) };
    new.set_len(patches.kept_len())?;
    patches.write_to(old, &mut |offset, bytes| new.write_all_at(bytes, offset))
}

/// Maps a file.
///
/// If another process truncated the file meanwhile, SIGBUS would end this one. The files are fresh
/// output of a linker or of this process, and truncating an executable breaks its running
/// processes, too.
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private, and outlives every reference into it.
    unsafe { Mmap::map(file) }
}
