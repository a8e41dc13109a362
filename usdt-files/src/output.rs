//! Opening of output files that are written piece by piece.

use crate::replace::open_device;
use crate::resolve::{Entry, Resolved, resolve};
use crate::{WriteError, describe, descriptor, refused};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::Path;

/// Creates a file, or empties an existing one, to write to it.
///
/// Symbolic links are followed, except those of other users. Devices and open files of this
/// process, such as `/dev/stdout`, are written to. The content goes into the existing file, so a
/// file is refused if its owner or its other names suggest that another user has placed it.
///
/// # Errors
///
/// Returns [`WriteError`] if the file must not or cannot be opened.
pub fn open_output(path: &Path) -> Result<File, WriteError> {
    open(path).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(number) = descriptor::number(path) {
        return descriptor::writer(number);
    }
    match resolve(path)? {
        Resolved::Descriptor(number) => descriptor::writer(number),
        Resolved::Entry(entry) => match entry.kind() {
            None => create(&entry),
            Some(FileType::RegularFile) => truncate(&entry),
            Some(FileType::CharacterDevice) => open_device(&entry),
            Some(kind) => Err(refused(describe(kind))),
        },
    }
}

fn create(entry: &Entry) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    Ok(rustix::fs::openat(&entry.directory, &entry.name, flags, mode)?.into())
}

fn truncate(entry: &Entry) -> io::Result<File> {
    entry.reject_placed_file()?;
    let flags =
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&entry.directory, &entry.name, flags, Mode::empty())?;
    // The checks are about the open file: the name may lead to another one by now.
    let status = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(refused("it was replaced while it was opened; try again"));
    }
    let opened = Entry {
        directory: entry.directory.try_clone()?,
        name: entry.name.clone(),
        status: Some(status),
    };
    opened.reject_placed_file()?;
    if status.st_mode & 0o6000 != 0 {
        return Err(refused("it is setuid or setgid; choose another file"));
    }
    // Hard links of another user. A file of root can have a name in a directory of that user.
    if status.st_nlink > 1 && entry.is_shared()? {
        return Err(refused(
            "it has other names, and others can write to this directory; choose another file",
        ));
    }
    rustix::fs::ftruncate(&fd, 0)?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests;
