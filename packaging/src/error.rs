//! Errors, which name the file or the program.

use std::io;
use std::path::{Path, PathBuf};

/// The result of a packaging step.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why a file of a release could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}; `cargo xtask setup` installs it")]
    Start {
        /// Name of the program.
        program: String,
        /// The error of the system call.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{program}` failed ({status}): {message}")]
    Failed {
        /// Name of the program.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        message: String,
    },
    /// A program printed something unexpected, or a file has unexpected content.
    #[error("{0}")]
    Unexpected(String),
}

/// Adds the path to an error of a system call.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { action, path: path.to_owned(), source })
    }
}

pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).at("create", path)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).at("read", path)
}

pub(crate) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).at("read", path)
}

pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content).at("write", path)
}

/// Returns the entries of a folder, sorted by name.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).at("read", folder)?;
    let mut entries = read
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()
        .at("read", folder)?;
    entries.sort();
    Ok(entries)
}
