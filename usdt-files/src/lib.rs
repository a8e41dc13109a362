//! Files that other users may control: how `usdt-gen` and `usdt-attach` read and write them, often
//! as root.
//!
//! * [`read`] and [`read_text`] read small inputs: they do not wait for a named pipe, and they stop
//!   at a limit. [`open_regular`] opens large ones.
//! * [`Replacement`] replaces a file atomically and keeps its owner, mode and attributes.
//!   [`write_atomic`] and [`write_if_changed`] do so for content in memory.
//! * [`open_output`] opens a file to write to piece by piece.
//! * [`create_directories`] creates a directory and its parents.
//!
//! All writers find their file in the same way, see `resolve`: they do not follow a symbolic link
//! of another user to a place where that user cannot write.

mod attributes;
mod copy;
mod descriptor;
mod input;
mod output;
mod replace;
mod resolve;
mod temporary;

pub use copy::{copy_with_holes, read_with_holes};
pub use input::{TEXT_LIMIT, open_regular, read, read_text};
pub use output::open_output;
pub use replace::{Origin, Replacement, write_atomic, write_if_changed};
pub use resolve::create_directories;

use std::io;
use std::path::PathBuf;

/// A failed write. The file is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", stapsdt::escape::Escaped::new(path))]
pub struct WriteError {
    /// The path of the file to write, as the caller named it.
    pub path: PathBuf,
    /// The error of a system call, or the reason why the file is not written.
    pub source: io::Error,
}

/// Returns the error for a file that is not read or written because of what it is.
fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.into())
}

/// Describes a type of file that is neither read nor written.
fn describe(kind: rustix::fs::FileType) -> &'static str {
    use rustix::fs::FileType;
    match kind {
        FileType::Fifo => "a named pipe, not a regular file",
        FileType::Socket => "a socket, not a regular file",
        FileType::CharacterDevice | FileType::BlockDevice => "a device, not a regular file",
        FileType::Directory => "a directory, not a regular file",
        _ => "not a regular file",
    }
}
