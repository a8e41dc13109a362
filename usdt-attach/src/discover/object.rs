//! An open and mapped ELF file, and its identity.
#![allow(unsafe_code)] // mapping a file; see `Object::map`

use crate::error::{Error, Result};
use memmap2::Mmap;
use stapsdt::elf::View;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The identity of a file: the same for all of its paths, in every mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// The device, `st_dev` of stat(2).
    pub(crate) dev: u64,
    /// The inode number, `st_ino` of stat(2).
    pub(crate) ino: u64,
}

impl ObjectId {
    /// Returns the identity of the file at a path; `None` if there is no file or it cannot be
    /// reached.
    pub fn from_path(path: &Path) -> Option<ObjectId> {
        std::fs::metadata(path).ok().as_ref().map(ObjectId::from_metadata)
    }

    fn from_metadata(metadata: &std::fs::Metadata) -> ObjectId {
        ObjectId { dev: metadata.dev(), ino: metadata.ino() }
    }
}

/// An open ELF file.
#[derive(Debug)]
pub struct Object {
    /// The path for messages and reports: as the caller or, in a process, `/proc/PID/maps` names
    /// the file.
    pub path: PathBuf,
    /// The identity of the file.
    pub id: ObjectId,
    file: File,
    map: Mmap,
}

impl Object {
    /// Opens the file at `path`; messages and reports call it `name`.
    pub(crate) fn open(path: &Path, name: &Path) -> Result<Object> {
        let failed = |source| Error::open(name, source);
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        // Opening a pipe could wait forever, and opening a device can have side effects.
        if kind.is_dir()
            || kind.is_fifo()
            || kind.is_socket()
            || kind.is_char_device()
            || kind.is_block_device()
        {
            return Err(Error::object(name, "not a regular file"));
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() == 0 {
            return Err(Error::object(name, "the file is empty"));
        }
        let map = Self::map(&file).map_err(failed)?;
        let id = ObjectId::from_metadata(&metadata);
        let object = Object { path: name.to_owned(), id, file, map };
        object.view()?;
        Ok(object)
    }

    fn map(file: &File) -> std::io::Result<Mmap> {
        // SAFETY: the mapping is private and read-only. If another process truncates the file while
        // we read, SIGBUS ends this process, which is a failed scan and not undefined behavior.
        // Executables that run cannot be written to (ETXTBSY).
        unsafe { Mmap::map(file) }
    }

    /// Returns the content of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Parses the ELF headers.
    pub(crate) fn view(&self) -> Result<View<'_>> {
        View::parse(&self.map).map_err(|e| Error::object(self.path.clone(), e.to_string()))
    }

    /// Returns a path by which the kernel finds this very file while the object lives.
    pub(crate) fn kernel_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}
