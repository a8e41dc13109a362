//! Sealing files: mapped, not read; copied by the kernel; replaced in one step.
#![allow(unsafe_code)] // mapping a file; see `map`

use super::error::SealError;
use super::inputs::Options;
use super::seal_bytes::{Sealed, check, seal};
use crate::atomic_write;
use memmap2::Mmap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What sealing a file did.
#[derive(Debug)]
pub struct Report {
    /// The probes of the file's blobs.
    pub probes: usize,
    /// Notes of others that were kept or repaired.
    pub foreign: usize,
    /// Whether the file was, or would have been, as it should be already.
    pub unchanged: bool,
}

/// Why a file was not sealed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It cannot be sealed.
    #[error("{}: {source}", path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: SealError,
    },
    /// The result cannot be written.
    #[error("{0}")]
    Write(#[from] atomic_write::WriteError),
}

/// Seals `path` in place, or into `target` with the mode of `path`. Memory use does not grow with the file.
pub fn seal_file(
    path: &Path,
    target: Option<&Path>,
    options: Options,
) -> Result<Report, FileError> {
    let unreadable = |source| FileError::Read { path: path.to_owned(), source };
    let failed = |source| FileError::Seal { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let data = map(&file).map_err(unreadable)?;
    let sealed = seal(&data, options).map_err(failed)?;
    let report = Report {
        probes: sealed.probes.len(),
        foreign: sealed.foreign.len(),
        unchanged: sealed.patches.is_none(),
    };
    if report.unchanged && target.is_none() {
        return Ok(report);
    }
    let mode = file.metadata().map_err(unreadable)?.permissions();
    let target = target.unwrap_or(path);
    let mut new = atomic_write::Replacement::new(target)?;
    let copied = copy(&file, new.file()).and_then(|()| patch(&sealed, &data, new.file()));
    copied.map_err(|source| atomic_write::WriteError { path: target.to_owned(), source })?;
    check(&sealed, &map(new.file()).map_err(unreadable)?).map_err(failed)?;
    new.finish(Some(mode))?;
    Ok(report)
}

/// Whether a file begins like an ELF file. Shorter ones are none.
pub fn is_elf(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let mut file = File::open(path)?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF")
}

/// By the kernel where it can: `std` uses `copy_file_range`, which shares blocks on file systems that do so.
fn copy(from: &File, to: &mut File) -> io::Result<()> {
    let mut from = from;
    from.seek(SeekFrom::Start(0))?;
    io::copy(&mut from, to).map(|_| ())
}

fn patch(sealed: &Sealed, old: &[u8], new: &mut File) -> io::Result<()> {
    let Some(patches) = &sealed.patches else { return Ok(()) };
    new.set_len(patches.kept())?;
    patches.apply(old, &mut |offset, bytes| new.write_all_at(bytes, offset))
}

/// Maps a file. Truncating it meanwhile would end this process by SIGBUS: the files are a linker's fresh output or
/// our own, and a tool that truncated an executable under its readers would break its runs as well.
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private, and outlives every reference into it.
    unsafe { Mmap::map(file) }
}
