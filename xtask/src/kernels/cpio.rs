//! cpio archives, which a kernel unpacks as its initial file system.

use super::debian::{self, create};
use crate::command::{Explain, Outcome, execute_quietly};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packs a folder in the format that the kernel unpacks.
pub(super) fn pack(folder: &Path, archive: &Path) -> Outcome {
    let mut shell = Command::new("sh");
    shell.args(["-c", "find . | cpio --create --format=newc --quiet > \"$0\""]).arg(archive);
    execute_quietly(shell.current_dir(folder))
}

/// Creates a new folder that every user can read.
pub(super) fn temporary_folder() -> Outcome<PathBuf> {
    let folder = debian::folder().join(format!("new-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    create(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))
        .explain("cannot make the temporary folder readable")?;
    Ok(folder)
}
