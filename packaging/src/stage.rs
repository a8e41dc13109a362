//! A folder that holds the files of a package as they are installed.

use crate::error::{At, Result, create_folder, entries, read, write};
use crate::run::run;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with the files of a package.
#[derive(Debug)]
pub(crate) struct Stage {
    root: PathBuf,
}

impl Stage {
    /// Creates an empty folder. What an earlier run has left there is removed.
    pub(crate) fn new(root: PathBuf) -> Result<Stage> {
        if root.exists() {
            std::fs::remove_dir_all(&root).at("remove", &root)?;
        }
        create_folder(&root)?;
        Ok(Stage { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file that is not executable.
    pub(crate) fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let file = self.root.join(path);
        create_folder(file.parent().unwrap_or(&self.root))?;
        write(&file, content)
    }

    /// Copies a file that is not executable.
    pub(crate) fn copy(&self, from: &Path, path: &str) -> Result<()> {
        self.write(path, &read(from)?)
    }

    /// Copies a program.
    pub(crate) fn copy_program(&self, from: &Path, path: &str) -> Result<()> {
        self.copy(from, path)?;
        set_mode(&self.root.join(path), 0o755)
    }

    /// Compresses a file, without the time and name that gzip records.
    pub(crate) fn compress(&self, path: &str) -> Result<()> {
        run(Command::new("gzip").args(["-9", "-n", "-f"]).arg(self.root.join(path))).map(drop)
    }

    /// Returns the paths of all files, sorted, and gives every file and folder its mode, whatever
    /// the umask is.
    pub(crate) fn finish(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        self.collect(&self.root, &mut files)?;
        Ok(files)
    }

    fn collect(&self, folder: &Path, files: &mut Vec<String>) -> Result<()> {
        set_mode(folder, 0o755)?;
        for path in entries(folder)? {
            if path.is_dir() {
                self.collect(&path, files)?;
                continue;
            }
            let metadata = path.metadata().at("read", &path)?;
            let is_program = metadata.permissions().mode() & 0o100 != 0;
            set_mode(&path, if is_program { 0o755 } else { 0o644 })?;
            let name = path.strip_prefix(&self.root).unwrap_or(&path);
            files.push(name.to_string_lossy().into_owned());
        }
        Ok(())
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).at("change the mode of", path)
}
