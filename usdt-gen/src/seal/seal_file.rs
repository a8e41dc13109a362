//! Sealing of files: the file is copied next to its destination, the copy is sealed, and it
//! replaces the destination atomically.
//!
//! The copy is complete before it is parsed. What is parsed and what is written are therefore the
//! same bytes, whatever the owner of the file does meanwhile.
//!
//! The copy is read into memory, not mapped. Its file system may be served by a program that fails
//! or truncates it (FUSE, NFS), and a mapping would then end this process with SIGBUS.

use super::error::SealError;
use super::inputs::Options;
use super::seal_bytes::{Sealed, check, seal};
use crate::program_file::{self, Snapshot};
use stapsdt::elf::ElfError;
use stapsdt::escape::Escaped;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use usdt_files::{Origin, Replacement, WriteError, copy_with_holes};

/// The result of sealing a file.
#[derive(Debug)]
pub struct SealReport {
    /// The number of probe sites that got a note: of blobs and of function entries.
    pub probes: usize,
    /// The number of notes that usdt-gen did not generate, kept or repaired.
    pub third_party: usize,
    /// True if the file was already sealed, so that nothing was changed.
    pub unchanged: bool,
    /// What the file did not keep, such as its owner or setuid, and what the notes lack.
    pub warnings: Vec<String>,
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
    Write(#[from] WriteError),
}

/// Seals `path` in place, or writes the sealed file to `target`.
///
/// A file that is replaced keeps its owner, mode and attributes; see [`SealReport::warnings`]. A
/// new file gets the mode of `path`, without setuid and setgid and under the user's umask. The file
/// is replaced atomically. Sealing takes as much memory as the file takes space, up to 4 GiB.
///
/// A file system that never answers is waited for.
///
/// # Errors
///
/// Returns [`FileError`] if the file cannot be read, sealed or written. The file at the destination
/// is unchanged then.
pub fn seal_file(
    path: &Path,
    target: Option<&Path>,
    options: &Options,
) -> Result<SealReport, FileError> {
    let read_failed = |source| FileError::Read { path: path.to_owned(), source };
    let seal_failed = |source| FileError::Seal { path: path.to_owned(), source };
    let file = program_file::open(path).map_err(read_failed)?;
    reject_other_formats(&file).map_err(seal_failed)?;
    let mode = file.metadata().map_err(read_failed)?.mode();
    let target = target.filter(|target| !is_same_file(&file, target));
    let (output, origin) = target.map_or((path, Origin::Edited), |target| (target, Origin::New));
    let write_failed = |source| FileError::Write(WriteError { path: output.to_owned(), source });
    let mut new = match Replacement::new(output, origin, mode) {
        Ok(new) => new,
        // A file that needs no change need not be writable.
        Err(error) if target.is_none() => {
            let data = Snapshot::of(&file).map_err(read_failed)?;
            let sealed = seal(&data, options).map_err(seal_failed)?;
            return if sealed.patches.is_none() { Ok(report(&sealed)) } else { Err(error.into()) };
        }
        Err(error) => return Err(error.into()),
    };
    copy_with_holes(&file, new.file()).map_err(write_failed)?;
    if target.is_none() {
        new.check_unchanged(&file)?;
    }
    let data = Snapshot::of(new.file()).map_err(read_failed)?;
    let sealed = seal(&data, options).map_err(seal_failed)?;
    let mut report = report(&sealed);
    if report.unchanged && target.is_none() {
        return Ok(report);
    }
    drop(data);
    apply(&sealed, new.file()).map_err(write_failed)?;
    check(&sealed, &Snapshot::of(new.file()).map_err(read_failed)?).map_err(seal_failed)?;
    report.warnings.extend(new.finish()?);
    if options.goid && !sealed.probes.is_empty() && sealed.goid_offset.is_none() {
        report.warnings.push(format!(
            "{}: the notes have no goroutine id: the binary does not tell where its Go release keeps it; pair starts and ends by an argument",
            Escaped::new(output)
        ));
    }
    Ok(report)
}

fn report(sealed: &Sealed) -> SealReport {
    SealReport {
        probes: sealed.probes.len(),
        third_party: sealed.third_party.len(),
        unchanged: sealed.patches.is_none(),
        warnings: sealed.warnings.clone(),
    }
}

/// Rejects files that are not ELF files, before they are copied.
fn reject_other_formats(file: &File) -> Result<(), SealError> {
    if program_file::is_elf(file) {
        return Ok(());
    }
    Err(SealError::Elf(ElfError::NotElf))
}

/// Returns true if a path leads to an open file.
fn is_same_file(file: &File, path: &Path) -> bool {
    let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (Ok(one), Ok(other)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    id(one) == id(other)
}

/// Returns true if a file is a regular file that starts with the ELF magic number.
///
/// # Errors
///
/// Returns the system's error if the file cannot be opened.
pub fn is_elf(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    Ok(metadata.is_file() && program_file::is_elf(&usdt_files::open_regular(path)?))
}

/// Applies the changes to a copy of the file that was sealed.
fn apply(sealed: &Sealed, new: &File) -> io::Result<()> {
    let Some(patches) = &sealed.patches else { return Ok(()) };
    new.set_len(patches.kept_len())?;
    patches.write_to(&|offset, buffer| new.read_exact_at(buffer, offset), &mut |offset, bytes| {
        new.write_all_at(bytes, offset)
    })
}
