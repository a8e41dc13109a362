//! An open ELF file, and its identity.

use super::file_bytes::FileBytes;
use super::kernel_inode::{KernelInode, identify, kernel_inode_of, on_overlay};
use crate::error::{Error, ErrorKind, Result};
use stapsdt::elf::View;
use stapsdt::escape::Escaped;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The limit in bytes of the memory that a scan takes for a file that a process maps.
///
/// Scans need the headers and the notes, far less than this. It is half of what an agent may take
/// as a whole, because any user can put any file into a process.
const MAPPED_LIMIT: u64 = 32 << 20;
/// The limit in bytes of the memory that a scan takes for a file that the user names.
const NAMED_LIMIT: u64 = 256 << 20;

/// The first bytes of every ELF file.
const MAGIC: &[u8; 4] = b"\x7fELF";

/// The identity of a file: the same for all of its paths, in every mount namespace, and on every
/// overlay over it if the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// The device, `st_dev` of stat(2).
    pub(crate) dev: u64,
    /// The inode number, `st_ino` of stat(2).
    pub(crate) ino: u64,
    /// The address of the inode in the kernel, where device and number may be ambiguous; else 0.
    pub(crate) address: u64,
}

impl ObjectId {
    /// Returns the identity of the file at a path; `None` if there is no file or it cannot be
    /// reached.
    pub fn from_path(path: &Path) -> Option<ObjectId> {
        let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
        let metadata = handle.metadata().ok()?;
        Some(identify(&handle, &metadata, || reopen(&handle).ok().filter(|_| metadata.is_file())))
    }
}

/// Opens the file of an `O_PATH` descriptor for reading.
fn reopen(handle: &File) -> std::io::Result<File> {
    File::open(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// The size and the time of the last write of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    /// In bytes.
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl FileVersion {
    fn of(metadata: &std::fs::Metadata) -> FileVersion {
        FileVersion {
            size: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }

    /// Fails if the file has been written to since.
    fn check(self, file: &File, name: &Path) -> Result<()> {
        let now = file.metadata().map_err(|source| Error::open(name, source))?;
        if FileVersion::of(&now) == self {
            return Ok(());
        }
        let message = format!("{}: the file changed while it was read", Escaped::new(name));
        Err(Error::new(ErrorKind::Io, message))
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
    /// The inode number that stat(2) returns.
    pub(super) number: u64,
    file: Arc<File>,
    /// The state of the file when it was opened.
    version: FileVersion,
    /// When the content or the attributes of the file were last changed, when it was opened:
    /// `st_ctime`, in seconds and nanoseconds.
    pub(super) change_time: (i64, i64),
    /// The limit in bytes of the memory that a scan takes.
    limit: u64,
}

impl Object {
    /// Opens the file at `path`, which the user names; messages and reports call it `name`.
    pub(crate) fn open(path: &Path, name: &Path) -> Result<Object> {
        let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
        let handle = handle.map_err(|source| Error::open(name, source))?;
        Object::from_handle(&handle, name, NAMED_LIMIT)?
            .ok_or_else(|| Error::object(name, "not an ELF file"))
    }

    /// Opens the file of an `O_PATH` descriptor, which a process maps. `None` if it is not an ELF
    /// file.
    pub(super) fn open_mapped(handle: &File, name: &Path) -> Result<Option<Object>> {
        Object::from_handle(handle, name, MAPPED_LIMIT)
    }

    fn from_handle(handle: &File, name: &Path, limit: u64) -> Result<Option<Object>> {
        let failed = |source| Error::open(name, source);
        let metadata = handle.metadata().map_err(failed)?;
        // Opening a pipe could wait forever, and opening a device can have side effects.
        if !metadata.is_file() {
            return Err(Error::object(name, "not a regular file"));
        }
        let file = reopen(handle).map_err(failed)?;
        let version = FileVersion::of(&metadata);
        let size = version.size;
        if size == 0 {
            return Err(Error::object(name, "the file is empty"));
        }
        if size < MAGIC.len() as u64 {
            return Ok(None);
        }
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)
            .map_err(|error| Error::io(format!("cannot read {}", Escaped::new(name)), error))?;
        if magic != *MAGIC {
            version.check(&file, name)?;
            return Ok(None);
        }
        Ok(Some(Object {
            path: name.to_owned(),
            id: identify(&file, &metadata, || file.try_clone().ok()),
            number: metadata.ino(),
            file: Arc::new(file),
            version,
            change_time: (metadata.ctime(), metadata.ctime_nsec()),
            limit,
        }))
    }

    /// Returns the content of the file, of which nothing is read yet.
    pub(crate) fn bytes(&self) -> FileBytes {
        self.bytes_with_limit(self.limit)
    }

    /// As [`Object::bytes`], with another limit of memory in bytes.
    pub(crate) fn bytes_with_limit(&self, limit: u64) -> FileBytes {
        FileBytes::new(Arc::clone(&self.file), self.version.size, limit)
    }

    /// Returns bytes of the file as they are now; `None` if it does not have all of them.
    pub(crate) fn read_at(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Fails if the file has been written to since it was opened, so that what was read may be
    /// neither the old content nor the new one.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.version.check(&self.file, &self.path)
    }

    /// Reads the ELF headers.
    pub(crate) fn view<'a>(&self, bytes: &'a FileBytes) -> Result<View<'a, &'a FileBytes>> {
        let view = View::read(bytes);
        bytes.check(self)?;
        view.map_err(|e| Error::object(&self.path, e))
    }

    /// Returns the inode that a uprobe on the file is attached to; `None` if the kernel does not
    /// tell.
    pub(crate) fn kernel_inode(&self) -> Option<KernelInode> {
        kernel_inode_of(&self.file)
    }

    /// Returns another descriptor of the file, which keeps its inode in the kernel.
    pub(crate) fn pin(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Returns true if the file is on overlayfs.
    pub(super) fn is_on_overlay(&self) -> bool {
        on_overlay(&self.file)
    }

    /// Returns a path by which the kernel finds this very file while the object lives.
    pub(crate) fn kernel_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}
