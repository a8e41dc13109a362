//! Files written whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A write that failed; what was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// Replaces `path` by `bytes` in one step: a temporary file beside it, flushed, renamed over it. The mode of an
/// existing file is kept, symbolic links are followed.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut new = Replacement::new(path)?;
    // What people wrote by hand may lie beside it; a crash of the machine must not leave an empty file.
    let written = new.file().write_all(bytes).and_then(|()| new.file().sync_all());
    written.map_err(|source| WriteError { path: path.to_owned(), source })?;
    new.finish(None)
}

/// The same where something changes: an unchanged file keeps its time stamp, and with it everything built from it.
pub(crate) fn write_changed(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    write_atomic(path, bytes)
}

/// A file that takes another's place when it is finished, and goes away when it is not.
#[derive(Debug)]
pub(crate) struct Replacement {
    path: PathBuf,
    target: PathBuf,
    new: NamedTempFile,
}

impl Replacement {
    /// Opens a temporary file beside `path`, or beside what that links to.
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

    /// To write to.
    pub(crate) fn file(&mut self) -> &mut File {
        self.new.as_file_mut()
    }

    /// Renames it over the target. Its mode is `mode`, else the target's, else what the user's umask gives.
    pub(crate) fn finish(self, mode: Option<Permissions>) -> Result<(), WriteError> {
        let Replacement { path, target, new } = self;
        let mode = match (mode, fs::metadata(&target)) {
            (Some(mode), _) => mode,
            (None, Ok(meta)) => meta.permissions(),
            (None, Err(_)) => new_file_mode(),
        };
        let done = new
            .as_file()
            .set_permissions(mode)
            .and_then(|()| new.persist(&target).map(|_| ()).map_err(|e| e.error));
        done.map_err(|source| WriteError { path, source })
    }
}

/// Temporary files are private; a new file is readable as the user's umask has it for others, too.
fn new_file_mode() -> Permissions {
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
    fn mode_and_link_survive() {
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
    fn an_unfinished_replacement_leaves_nothing() {
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
    fn a_failed_write_leaves_the_old_file() {
        let error = write_atomic(Path::new("/proc/nothing/here"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /proc/nothing/here: "));
    }
}
