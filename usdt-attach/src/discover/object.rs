//! A file that can hold probes: open, mapped, identified.
#![allow(unsafe_code)] // mapping a file; see `Object::map`

use crate::error::{Error, Result};
use memmap2::Mmap;
use stapsdt::elf::View;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a file is, whatever its paths are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// An open ELF file.
#[derive(Debug)]
pub struct Object {
    /// As the user or the process names it.
    pub path: PathBuf,
    /// Device and inode.
    pub id: ObjectId,
    file: File,
    map: Mmap,
}

impl Object {
    /// Opens the file at `path`; `name` is what reports call it.
    pub fn open(path: &Path, name: &Path) -> Result<Object> {
        let failed = |source| Error::open(name, source);
        let meta = std::fs::metadata(path).map_err(failed)?;
        let kind = meta.file_type();
        if kind.is_dir()
            || kind.is_fifo()
            || kind.is_socket()
            || kind.is_char_device()
            || kind.is_block_device()
        {
            return Err(Error::object(name, "not a regular file"));
        }
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.len() == 0 {
            return Err(Error::object(name, "the file is empty"));
        }
        let map = Self::map(&file).map_err(failed)?;
        let object = Object {
            path: name.to_owned(),
            id: ObjectId { dev: meta.dev(), ino: meta.ino() },
            file,
            map,
        };
        object.view()?;
        Ok(object)
    }

    fn map(file: &File) -> std::io::Result<Mmap> {
        // SAFETY: the mapping is private and read-only. Someone who truncates the file while we read ends this
        // process by SIGBUS, which is a failure to list, not undefined behaviour of ours; executables that run
        // cannot be written to (ETXTBSY).
        unsafe { Mmap::map(file) }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Its structure.
    pub fn view(&self) -> Result<View<'_>> {
        View::parse(&self.map).map_err(|e| Error::object(self.path.clone(), e.to_string()))
    }

    /// A path by which the kernel finds this very file, as long as the object lives.
    pub fn kernel_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}
