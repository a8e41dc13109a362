//! Finding the file to write: a walk over the path that knows whose symbolic links it follows.
//!
//! Link ownership. A user who can write to a directory can place a symbolic link there, and wait
//! until root writes through it. The kernel refuses such links only in sticky directories, only
//! as the last component, and only with `fs.protected_symlinks`. Here the walk opens each component
//! with `O_PATH | O_NOFOLLOW` and reads the links itself:
//!
//! * Links of root and of this user are followed. So is `bin -> build` that somebody has in their
//!   own project.
//! * A link of another user must lead to a directory, and if it exists a file, of that same user:
//!   to a place where they could have written themselves.
//! * In a sticky directory that others can write to, such as `/tmp`, a link of another user is not
//!   followed at all.
//!
//! `openat2` with `RESOLVE_NO_SYMLINKS` would reject the second case and links such as
//! `/bin -> usr/bin`. The result is a descriptor of the directory and a name in it. What is done
//! with the file goes through that descriptor, so exchanging a directory meanwhile has no effect.

use crate::refused;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

/// The number of symbolic links in one path, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// What an output path names.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// An open file of this process, by its number.
    Descriptor(u32),
    /// A name in a directory.
    Entry(Entry),
}

/// A name in an open directory.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The directory, opened with O_PATH.
    pub(crate) directory: OwnedFd,
    pub(crate) name: OsString,
    /// The status of the file, which is no symbolic link; `None` if there is none.
    pub(crate) status: Option<Stat>,
}

impl Entry {
    /// Returns the type of the file; `None` if there is none.
    pub(crate) fn kind(&self) -> Option<FileType> {
        self.status.map(|status| FileType::from_raw_mode(status.st_mode))
    }

    /// Returns true if others can create files in the directory: they may have created this one.
    pub(crate) fn is_shared(&self) -> io::Result<bool> {
        let directory = rustix::fs::fstat(&self.directory)?;
        let trusted = is_trusted(directory.st_uid);
        Ok(!trusted || directory.st_mode & 0o022 != 0)
    }

    /// Rejects a file that another user has placed in a sticky directory, such as `/tmp`, before
    /// content that does not come from it is written to it (as `fs.protected_regular`).
    pub(crate) fn reject_placed_file(&self) -> io::Result<()> {
        let Some(file) = &self.status else { return Ok(()) };
        let directory = rustix::fs::fstat(&self.directory)?;
        let own = file.st_uid == directory.st_uid || is_own(file.st_uid);
        if is_sticky_and_shared(&directory) && !own {
            return Err(refused(format!(
                "it belongs to user {}, in a directory where others can write; \
                 choose another name or directory",
                file.st_uid
            )));
        }
        Ok(())
    }
}

/// Returns true if this process acts as the user.
fn is_own(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw()
}

/// Returns true for this user and for root, who can write everywhere anyway.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || is_own(uid)
}

fn is_sticky_and_shared(directory: &Stat) -> bool {
    directory.st_mode & 0o1000 != 0 && directory.st_mode & 0o022 != 0
}

/// Finds the file that a path names. It need not exist.
///
/// # Errors
///
/// Returns the error of a system call, or the reason why a symbolic link is not followed.
pub(crate) fn resolve(path: &Path) -> io::Result<Resolved> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(refused("a directory, not a regular file"));
    }
    let mut walk = Walk::new(path)?;
    while let Some(name) = walk.pending.pop() {
        let is_last = walk.pending.is_empty();
        if is_last && name != ".." && name != "/" {
            match walk.last(&name)? {
                Some(resolved) => return Ok(resolved),
                None => continue,
            }
        }
        walk.enter(&name, false)?;
    }
    Err(refused("a directory, not a regular file"))
}

/// Creates a directory and its parents, as `mkdir -p` does.
///
/// # Errors
///
/// Returns the error of a system call, or the reason why a symbolic link is not followed.
pub fn create_directories(path: &Path) -> io::Result<()> {
    let mut walk = Walk::new(path)?;
    while let Some(name) = walk.pending.pop() {
        walk.enter(&name, true)?;
    }
    Ok(())
}

/// A position in the file system and the components that are still to be entered.
struct Walk {
    directory: OwnedFd,
    /// The components, the next one last.
    pending: Vec<OsString>,
    links: usize,
    /// The owner of the links of another user that were followed.
    link_owner: Option<u32>,
    /// True after a link of `/proc/PID`, which may lead into another mount namespace. A symbolic
    /// link means something else there, so that none is followed.
    is_in_proc: bool,
}

impl Walk {
    fn new(path: &Path) -> io::Result<Walk> {
        let mut walk = Walk {
            directory: open_directory(".")?,
            pending: Vec::new(),
            links: 0,
            link_owner: None,
            is_in_proc: false,
        };
        walk.push(path);
        Ok(walk)
    }

    /// Adds the components of a path before the pending ones.
    fn push(&mut self, path: &Path) {
        let components = path.components().filter(|c| *c != Component::CurDir);
        self.pending.extend(components.rev().map(|c| c.as_os_str().to_owned()));
    }

    /// Opens a component without following it; `None` if it does not exist.
    fn open(&self, name: &OsStr) -> io::Result<Option<(OwnedFd, Stat)>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(found) => {
                let status = rustix::fs::fstat(&found)?;
                Ok(Some((found, status)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles the last component; `None` if it is a link, whose target is pending then.
    fn last(&mut self, name: &OsStr) -> io::Result<Option<Resolved>> {
        let found = self.open(name)?;
        if let Some((link, status)) = &found
            && FileType::from_raw_mode(status.st_mode) == FileType::Symlink
        {
            if is_procfs(&self.directory)? {
                return self.own_descriptor(name).map(Some);
            }
            self.follow(link, status)?;
            return Ok(None);
        }
        let status = found.map(|(_, status)| status);
        self.check_link_owner(status.as_ref())?;
        let directory = self.directory.try_clone()?;
        Ok(Some(Resolved::Entry(Entry { directory, name: name.to_owned(), status })))
    }

    /// Returns the descriptor that a link in `/proc/self/fd` names.
    fn own_descriptor(&self, name: &OsStr) -> io::Result<Resolved> {
        let own = rustix::fs::stat("/proc/self/fd")?;
        let here = rustix::fs::fstat(&self.directory)?;
        let number = name.to_str().and_then(|name| name.parse().ok());
        match number {
            Some(number) if (own.st_dev, own.st_ino) == (here.st_dev, here.st_ino) => {
                Ok(Resolved::Descriptor(number))
            }
            _ => Err(refused("a link of /proc to a file of another process; name the file itself")),
        }
    }

    /// Enters a directory, which is created first if `create` is true and it does not exist.
    fn enter(&mut self, name: &OsStr, create: bool) -> io::Result<()> {
        if name == "/" {
            self.directory = open_directory("/")?;
            return Ok(());
        }
        let (found, status) = match self.open(name)? {
            Some(found) => found,
            None if create => {
                self.check_link_owner(None)?;
                match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o777)) {
                    // Another process may create the same directory.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.open(name)?.ok_or(Errno::NOENT)?
            }
            None => return Err(Errno::NOENT.into()),
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => self.directory = found,
            FileType::Symlink if is_procfs(&self.directory)? => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                self.directory = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
                self.is_in_proc = true;
            }
            FileType::Symlink => self.follow(&found, &status)?,
            _ => return Err(Errno::NOTDIR.into()),
        }
        Ok(())
    }

    /// Follows a symbolic link: its target becomes pending.
    fn follow(&mut self, link: &OwnedFd, status: &Stat) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if self.is_in_proc {
            return Err(refused("a symbolic link below /proc is not followed"));
        }
        let owner = status.st_uid;
        if !is_trusted(owner) {
            let directory = rustix::fs::fstat(&self.directory)?;
            let is_placed = is_sticky_and_shared(&directory) && owner != directory.st_uid;
            if is_placed || self.link_owner.is_some_and(|other| other != owner) {
                return Err(foreign_link(owner));
            }
            self.link_owner = Some(owner);
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        let target = OsString::from_vec(target.into_bytes());
        if target.is_empty() {
            return Err(Errno::NOENT.into());
        }
        self.push(Path::new(&target));
        Ok(())
    }

    /// Checks that the owner of the links could have written here without them.
    fn check_link_owner(&self, file: Option<&Stat>) -> io::Result<()> {
        let Some(owner) = self.link_owner else { return Ok(()) };
        let directory = rustix::fs::fstat(&self.directory)?;
        if directory.st_uid != owner || file.is_some_and(|file| file.st_uid != owner) {
            return Err(foreign_link(owner));
        }
        Ok(())
    }
}

fn foreign_link(owner: u32) -> io::Error {
    refused(format!(
        "the path has a symbolic link of user {owner}, which is not followed; name the target itself"
    ))
}

fn open_directory(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Returns true if a directory is in a proc file system. Its links are no paths.
fn is_procfs(directory: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(directory)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}
