//! Temporary files without a name, or with a name that is removed when their process is gone.
//!
//! A file without a name (O_TMPFILE) disappears with its process, also when that is killed.
//! `linkat` cannot replace a file. So to replace one, the complete file gets a temporary name, which
//! `renameat` moves at once: only a kill between these two calls leaves a file behind.
//!
//! On file systems without O_TMPFILE the file has a temporary name from the start. Its process holds
//! a lock (flock) on it, which the kernel releases when the process ends, however it ends. The next
//! writer in the directory removes files that nobody has locked. A process ID in the name would not
//! do, because processes in other containers are not visible.

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

const PREFIX: &str = ".usdt-gen-";
/// The number of hexadecimal digits after the prefix.
const DIGITS: usize = 16;
/// The number of names that are tried.
const ATTEMPTS: usize = 16;
/// The number of directory entries that are searched for stale files.
const MAX_ENTRIES: usize = 1 << 16;

/// A temporary file in a directory. Dropping it removes its name.
#[derive(Debug)]
pub(crate) struct Temporary {
    directory: OwnedFd,
    file: File,
    name: Option<String>,
}

impl Temporary {
    /// Creates a file in a directory. The user's umask applies to `mode`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system call.
    pub(crate) fn new(directory: OwnedFd, mode: u32) -> io::Result<Temporary> {
        remove_stale(&directory);
        match Temporary::unnamed(&directory, mode) {
            Some(file) => Ok(Temporary { directory, file, name: None }),
            None => Temporary::named(directory, mode),
        }
    }

    /// Creates a file without a name; `None` if the file system cannot do so, or if it could not be
    /// linked later. Other errors come back when a named file is created.
    fn unnamed(directory: &OwnedFd, mode: u32) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory, ".", flags, Mode::from_raw_mode(mode)).ok()?;
        rustix::fs::stat(descriptor_path(&fd)).ok()?;
        // The file will have a temporary name for a moment.
        let _ = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
        Some(fd.into())
    }

    fn named(directory: OwnedFd, mode: u32) -> io::Result<Temporary> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..ATTEMPTS {
            let name = random_name();
            let mode = Mode::from_raw_mode(mode);
            let file: File = match rustix::fs::openat(&directory, name.as_str(), flags, mode) {
                Ok(fd) => fd.into(),
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // Another process may have taken the file for a stale one before it was locked. Where
            // locks do not work, nobody removes it.
            let is_locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            let status = rustix::fs::fstat(&file)?;
            if is_locked != Err(Errno::WOULDBLOCK) && status.st_nlink > 0 {
                return Ok(Temporary { directory, file, name: Some(name) });
            }
        }
        Err(Errno::EXIST.into())
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its final name. An existing file of this name is replaced.
    ///
    /// # Errors
    ///
    /// Returns the error of the system call. Existing files are unchanged then.
    pub(crate) fn publish(mut self, name: &OsStr, replaces: bool) -> io::Result<()> {
        if self.name.is_none() {
            if !replaces {
                match self.link(name) {
                    // Another process has created the file meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    linked => return linked,
                }
            }
            let temporary = random_name();
            self.link(OsStr::new(&temporary))?;
            self.name = Some(temporary);
        }
        if let Some(temporary) = &self.name {
            rustix::fs::renameat(&self.directory, temporary.as_str(), &self.directory, name)?;
        }
        self.name = None;
        Ok(())
    }

    fn link(&self, name: &OsStr) -> io::Result<()> {
        // Linking the descriptor itself needs CAP_DAC_READ_SEARCH before Linux 6.10.
        rustix::fs::linkat(
            rustix::fs::CWD,
            descriptor_path(&self.file),
            &self.directory,
            name,
            AtFlags::SYMLINK_FOLLOW,
        )?;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // The directory may be gone, and then so is the file.
            let _ = rustix::fs::unlinkat(&self.directory, name.as_str(), AtFlags::empty());
        }
    }
}

fn descriptor_path(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn random_name() -> String {
    // Each `RandomState` has other keys, so that the hash of nothing is random.
    format!("{PREFIX}{:016x}", RandomState::new().build_hasher().finish())
}

fn is_temporary_name(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes())
        .is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Removes temporary files of this user whose process is gone, once for each directory. Failures
/// are ignored: the files are in nobody's way.
fn remove_stale(directory: &OwnedFd) {
    static SEARCHED: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());
    let Ok(status) = rustix::fs::fstat(directory) else { return };
    let is_new = match SEARCHED.lock() {
        Ok(mut searched) => searched.insert((status.st_dev, status.st_ino)),
        Err(_) => false,
    };
    if is_new {
        let _ = remove_unlocked(directory);
    }
}

fn remove_unlocked(directory: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    for entry in Dir::new(listing)?.take(MAX_ENTRIES) {
        let entry = entry?;
        let name = entry.file_name();
        if !is_temporary_name(name.to_bytes()) {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) else { continue };
        let status = rustix::fs::fstat(&file)?;
        let is_own = status.st_uid == rustix::process::geteuid().as_raw();
        let is_regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
        if is_own
            && is_regular
            && status.st_nlink == 1
            && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open(folder: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        rustix::fs::open(folder, flags, Mode::empty()).unwrap()
    }

    fn count(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn has_no_name_before_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(open(folder.path()), 0o600).unwrap();
        assert_eq!(count(folder.path()), 0);
        temporary.publish(OsStr::new("app"), false).unwrap();
        let again = Temporary::new(open(folder.path()), 0o600).unwrap();
        again.publish(OsStr::new("app"), true).unwrap();
        assert_eq!(count(folder.path()), 1);
    }

    #[test]
    fn removes_named_files_when_dropped_and_moves_them_when_published() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = Temporary::named(open(folder.path()), 0o600).unwrap();
        assert_eq!(count(folder.path()), 1);
        drop(temporary);
        assert_eq!(count(folder.path()), 0);
        Temporary::named(open(folder.path()), 0o600)
            .unwrap()
            .publish(OsStr::new("app"), false)
            .unwrap();
        assert!(folder.path().join("app").exists() && count(folder.path()) == 1);
    }

    #[test]
    fn removes_stale_files_but_not_those_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let in_use = Temporary::named(open(folder.path()), 0o600).unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [".usdt-gen-0123456789abcdef", ".usdt-gen-notes", "other"] {
            std::fs::write(path(name), "").unwrap();
        }
        std::fs::write(path(".usdt-gen-0000000000000000"), "").unwrap();
        std::fs::hard_link(path(".usdt-gen-0000000000000000"), path("linked")).unwrap();
        remove_unlocked(&open(folder.path())).unwrap();
        assert!(!path(".usdt-gen-0123456789abcdef").exists());
        assert!(path(in_use.name.as_ref().unwrap()).exists());
        assert_eq!(count(folder.path()), 5);
    }
}
