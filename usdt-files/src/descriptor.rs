//! Paths that name an open file of this process, such as `/dev/stdout` and `/dev/fd/63`.
//!
//! A shell passes pipes by such paths: `usdt-gen schema <(cat probes.d)`. The user has opened these
//! files, so any type of file is used, and waiting for the other end of a pipe is intended.

use rustix::fs::{FileType, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Returns the number of the descriptor that a path names; `None` for all other paths.
pub(crate) fn number(path: &Path) -> Option<u32> {
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        path => path
            .strip_prefix("/dev/fd/")
            .or_else(|| path.strip_prefix("/proc/self/fd/"))?
            .parse()
            .ok(),
    }
}

/// Opens a descriptor of this process to read from it.
pub(crate) fn reader(number: u32) -> io::Result<File> {
    let fd = match number {
        // A duplicate also works for sockets, which cannot be opened by path.
        0 => io::stdin().as_fd().try_clone_to_owned()?,
        _ => reopen(number, OFlags::RDONLY)?,
    };
    Ok(fd.into())
}

/// Opens a descriptor of this process to write to it. A regular file is appended to, as the shell
/// has decided with `>` or `>>` what becomes of its content.
pub(crate) fn writer(number: u32) -> io::Result<File> {
    let fd = match number {
        1 => io::stdout().as_fd().try_clone_to_owned()?,
        // The descriptor is duplicated; nothing is printed.
        #[allow(clippy::disallowed_methods)]
        2 => io::stderr().as_fd().try_clone_to_owned()?,
        _ => reopen(number, OFlags::WRONLY | OFlags::APPEND)?,
    };
    match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::BlockDevice | FileType::Directory => {
            Err(crate::refused("it is a block device or a directory"))
        }
        _ => Ok(fd.into()),
    }
}

fn reopen(number: u32, flags: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{number}");
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
    clear_nonblocking(&fd)?;
    Ok(fd)
}

/// Makes reads and writes wait, which is wanted once the file is known to be the right one.
pub(crate) fn clear_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags - OFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_paths_of_descriptors() {
        for (path, expected) in [
            ("/dev/stdin", Some(0)),
            ("/dev/fd/63", Some(63)),
            ("/proc/self/fd/3", Some(3)),
            ("/dev/fd/", None),
            ("/dev/fd/-1", None),
            ("/proc/1/fd/3", None),
            ("dev/stdin", None),
        ] {
            assert_eq!(number(Path::new(path)), expected, "{path}");
        }
    }
}
