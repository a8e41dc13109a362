//! Atomic replacement of files: a reader sees the old content or the new one, never a part.

use stapsdt::escape::Escaped;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A failed write. The file is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", Escaped::new(path))]
pub struct WriteError {
    /// The path of the file to write.
    pub path: PathBuf,
    /// The error of the system call.
    pub source: io::Error,
}

/// Replaces the content of `path` atomically: writes a temporary file in the same directory, syncs
/// it and renames it.
///
/// An existing file keeps its mode. Symbolic links are followed.
///
/// # Errors
///
/// Returns [`WriteError`] if any of the steps fails. The file is unchanged then.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut new = Replacement::new(path)?;
    // The sync keeps a crash of the machine from leaving an empty file.
    let written = new.file().write_all(bytes).and_then(|()| new.file().sync_all());
    written.map_err(|source| WriteError { path: path.to_owned(), source })?;
    new.finish(None)
}

/// Replaces the content of `path` atomically if it differs from `bytes`. An unchanged file keeps
/// its modification time, so that build tools do not rebuild its dependents.
///
/// # Errors
///
/// As for [`write_atomic`].
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    write_atomic(path, bytes)
}

/// A temporary file that replaces another one when it is finished, and is deleted if it is dropped
/// before.
#[derive(Debug)]
pub(crate) struct Replacement {
    path: PathBuf,
    target: PathBuf,
    new: NamedTempFile,
}

impl Replacement {
    /// Creates a temporary file in the directory of `path`, or of the target if `path` is a
    /// symbolic link.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the link cannot be resolved or the file cannot be created.
    pub(crate) fn new(path: &Path) -> Result<Replacement, WriteError> {
        let failed = |source| WriteError { path: path.to_owned(), source };
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(e) => return Err(failed(e)),
        };
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let new =
            tempfile::Builder::new().prefix(".usdt-gen-").tempfile_in(folder).map_err(failed)?;
        Ok(Replacement { path: path.to_owned(), target, new })
    }

    /// Returns the temporary file, to write the new content to.
    pub(crate) fn file(&mut self) -> &mut File {
        self.new.as_file_mut()
    }

    /// Renames the temporary file over the target. The new mode is `mode`, or that of the existing
    /// target, or the default under the user's umask.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the mode cannot be set or the file cannot be renamed.
    pub(crate) fn finish(self, mode: Option<Permissions>) -> Result<(), WriteError> {
        let Replacement { path, target, new } = self;
        let mode = match (mode, fs::metadata(&target)) {
            (Some(mode), _) => mode,
            (None, Ok(meta)) => meta.permissions(),
            (None, Err(_)) => default_mode(),
        };
        let renamed = new
            .as_file()
            .set_permissions(mode)
            .and_then(|()| new.persist(&target).map(|_| ()).map_err(|e| e.error));
        renamed.map_err(|source| WriteError { path, source })
    }
}

/// Returns the mode of a new file under the user's umask. The mode of a temporary file is stricter.
fn default_mode() -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    let umask = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|l| l.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    Permissions::from_mode(0o666 & !umask.unwrap_or(0o022))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keeps_mode_and_symbolic_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("app"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).unwrap();
        std::os::unix::fs::symlink("app", &link).unwrap();
        write_atomic(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o751);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn deletes_an_unfinished_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app");
        fs::write(&file, "old").unwrap();
        let mut new = Replacement::new(&file).unwrap();
        new.file().write_all(b"half").unwrap();
        drop(new);
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn reports_the_path_of_a_failed_write() {
        let error = write_atomic(Path::new("/proc/nothing/here"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /proc/nothing/here: "));
    }
}
