//! The directory of the user in which usdt-gen keeps what it can make again.

use std::io;
use std::path::{Path, PathBuf};

/// Returns the directory; `None` if neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
pub(crate) fn directory() -> Option<PathBuf> {
    let cache = absolute_path_in("XDG_CACHE_HOME")
        .or_else(|| Some(absolute_path_in("HOME")?.join(".cache")))?;
    Some(cache.join("usdt-gen"))
}

/// Returns the value of an environment variable if it is an absolute path.
fn absolute_path_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Creates the directory that a file will be in.
pub(crate) fn create_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), usdt_files::create_directories)
}
