//! Atomic replacement of files: a reader sees the old content or the new one, never a part.

use crate::attributes::Attributes;
use crate::resolve::{Entry, Resolved, resolve};
use crate::temporary::Temporary;
use crate::{WriteError, describe, descriptor, refused};
use rustix::fs::{FileType, Mode, OFlags};
use stapsdt::escape::Escaped;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where the new content of a file comes from. It decides whether the file keeps its privileges,
/// which are setuid, setgid and capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file itself, changed. It keeps its privileges if it keeps its owner and group.
    Edited,
    /// Elsewhere. The file loses its privileges, as they were given to other content.
    New,
}

/// A temporary file that replaces another one when it is finished, and is deleted if it is dropped
/// before.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    new: Temporary,
    target: Target,
    origin: Origin,
}

/// What is done with the new content.
#[derive(Debug)]
enum Target {
    /// It becomes a file of this name, with the attributes of the existing one.
    Name(Box<Entry>, Option<Box<Attributes>>),
    /// It is written to a device or to an open file of this process.
    Stream(File),
}

impl Replacement {
    /// Creates a temporary file in the directory of `path`, or of the target if `path` is a
    /// symbolic link. `mode` is the mode of a file that does not exist yet, under the user's umask.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the file must not or cannot be replaced: because of its type, a
    /// symbolic link of another user, or missing permissions.
    pub fn new(path: &Path, origin: Origin, mode: u32) -> Result<Replacement, WriteError> {
        Self::create(path, origin, mode)
            .map_err(|source| WriteError { path: path.to_owned(), source })
    }

    fn create(path: &Path, origin: Origin, mode: u32) -> io::Result<Replacement> {
        let (new, target) = match find(path)? {
            Found::Stream(stream) => {
                let folder = rustix::fs::open(
                    std::env::temp_dir(),
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                (Temporary::new(folder, 0o600)?, Target::Stream(stream))
            }
            Found::Name(entry) => {
                if origin == Origin::New {
                    entry.reject_placed_file()?;
                }
                let old = open_existing(&entry)?;
                let attributes = old.as_ref().map(Attributes::read).transpose()?;
                // Until it has the owner and ACL of the old file, the new one is private.
                let mode = if attributes.is_some() { 0o600 } else { mode & 0o777 };
                let directory = entry.directory.try_clone()?;
                (
                    Temporary::new(directory, mode)?,
                    Target::Name(Box::new(entry), attributes.map(Box::new)),
                )
            }
        };
        Ok(Replacement { path: path.to_owned(), new, target, origin })
    }

    /// Returns the temporary file, to write the new content to.
    pub fn file(&mut self) -> &mut File {
        self.new.file_mut()
    }

    /// Checks that an open file is the one that will be replaced, and that neither its content nor
    /// its attributes have changed since the replacement was created. Call it after the content was
    /// read: a user who writes to their file meanwhile must not get back the privileges that the
    /// kernel has removed from it because of that.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the file is another one or has changed.
    pub fn check_unchanged(&self, file: &File) -> Result<(), WriteError> {
        let Target::Name(_, Some(old)) = &self.target else { return Ok(()) };
        if Attributes::read(file).is_ok_and(|now| now.is_unchanged_since(old)) {
            return Ok(());
        }
        let source = refused("it has changed meanwhile; try again");
        Err(WriteError { path: self.path.clone(), source })
    }

    /// Gives the new file the owner, mode and attributes of the old one, and its name.
    ///
    /// Returns warnings about what was not kept.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the attributes cannot be kept or the file cannot be renamed.
    #[must_use = "the warnings are to be printed"]
    pub fn finish(self) -> Result<Vec<String>, WriteError> {
        let Replacement { path, mut new, target, origin } = self;
        let finished = match target {
            Target::Stream(mut stream) => {
                let file = new.file_mut();
                file.seek(SeekFrom::Start(0))
                    .and_then(|_| io::copy(file, &mut stream))
                    .and_then(|_| stream.flush())
                    .map(|()| Vec::new())
            }
            Target::Name(entry, attributes) => replace(new, &entry, attributes.as_deref(), origin),
        };
        match finished {
            Ok(lost) => Ok(lost.iter().map(|w| format!("{}: {w}", Escaped::new(&path))).collect()),
            Err(source) => Err(WriteError { path, source }),
        }
    }
}

/// Passes on the attributes of the old file, and publishes the new one.
fn replace(
    new: Temporary,
    entry: &Entry,
    attributes: Option<&Attributes>,
    origin: Origin,
) -> io::Result<Vec<String>> {
    let mut lost = Vec::new();
    if let Some(old) = attributes {
        lost = old.apply(new.file(), origin == Origin::Edited)?;
        let others = old.status().st_nlink.saturating_sub(1);
        if others > 0 {
            lost.push(format!("the other names of the file ({others}) keep the old content"));
        }
    }
    new.publish(&entry.name, attributes.is_some())?;
    Ok(lost)
}

/// What an output path leads to.
enum Found {
    Name(Entry),
    Stream(File),
}

/// Finds the file to replace, or opens the device or descriptor to write to.
fn find(path: &Path) -> io::Result<Found> {
    let number = match descriptor::number(path) {
        Some(number) => number,
        None => match resolve(path)? {
            Resolved::Descriptor(number) => number,
            Resolved::Entry(entry) => {
                return match entry.kind() {
                    None | Some(FileType::RegularFile) => Ok(Found::Name(entry)),
                    Some(FileType::CharacterDevice) => Ok(Found::Stream(open_device(&entry)?)),
                    Some(kind) => Err(refused(describe(kind))),
                };
            }
        },
    };
    Ok(Found::Stream(descriptor::writer(number)?))
}

/// Opens a character device, such as `/dev/null`, to write to it.
pub(crate) fn open_device(entry: &Entry) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&entry.directory, &entry.name, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
    if kind != FileType::CharacterDevice {
        return Err(refused("it was replaced while it was opened; try again"));
    }
    descriptor::clear_nonblocking(&fd)?;
    Ok(fd.into())
}

/// Opens an existing regular file; `None` if there is none.
fn open_existing(entry: &Entry) -> io::Result<Option<File>> {
    let Some(status) = entry.status else { return Ok(None) };
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&entry.directory, &entry.name, flags, Mode::empty())?;
    let opened = rustix::fs::fstat(&fd)?;
    if (opened.st_dev, opened.st_ino) != (status.st_dev, status.st_ino) {
        return Err(refused("it was replaced while it was opened; try again"));
    }
    Ok(Some(fd.into()))
}

/// Replaces the content of `path` atomically: writes a temporary file in the same directory, syncs
/// it and renames it. Symbolic links are followed, except those of other users. Devices and open
/// files of this process, such as `/dev/stdout`, are written to.
///
/// An existing file keeps its owner, mode and attributes. Returns warnings about what was not kept.
///
/// # Errors
///
/// Returns [`WriteError`] if any of the steps fails. The file is unchanged then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<Vec<String>, WriteError> {
    write(path, bytes, Origin::New)
}

/// Replaces the content of `path` atomically if it differs from `bytes`. An unchanged file keeps
/// its modification time, so that build tools do not rebuild its dependents.
///
/// Returns warnings, as [`write_atomic`] does.
///
/// # Errors
///
/// As for [`write_atomic`].
pub fn write_if_changed(
    path: &Path,
    bytes: &[u8],
    origin: Origin,
) -> Result<Vec<String>, WriteError> {
    let is_equal =
        crate::open_regular(path).and_then(|file| is_equal(file, bytes)).unwrap_or(false);
    if is_equal { Ok(Vec::new()) } else { write(path, bytes, origin) }
}

fn write(path: &Path, bytes: &[u8], origin: Origin) -> Result<Vec<String>, WriteError> {
    let mut new = Replacement::new(path, origin, 0o666)?;
    // The sync keeps a crash of the machine from leaving an empty file.
    let written = new.file().write_all(bytes).and_then(|()| new.file().sync_all());
    written.map_err(|source| WriteError { path: path.to_owned(), source })?;
    new.finish()
}

fn is_equal(file: File, bytes: &[u8]) -> io::Result<bool> {
    if file.metadata()?.len() != bytes.len() as u64 {
        return Ok(false);
    }
    let mut old = Vec::new();
    file.take(bytes.len() as u64 + 1).read_to_end(&mut old)?;
    Ok(old == bytes)
}

#[cfg(test)]
mod tests;
