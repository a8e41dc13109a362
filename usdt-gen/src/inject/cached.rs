//! The files that injection keeps in the user's cache, and when they are removed.
//!
//! Each version of this program, each toolchain and each set of rules has a file of its own, and
//! nothing else says when one is no longer needed. So the cache is trimmed as the go command trims
//! its own: the modification time of a file tells when it was last used, with a precision of an
//! hour, and files that were not used for [`UNUSED`] are removed, at most once a day.

use super::InjectError;
use crate::cache;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Precision of the time of the last use. Marking a file less often saves writes.
const PRECISION: Duration = Duration::from_secs(60 * 60);
/// Time between two searches for unused files.
const TRIM_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Files that were not used for this long are removed: 30 days. The go command keeps its own for
/// five, but it can make them again on its own, while a plan needs `usdt-gen inject`.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// File whose modification time is that of the last trim.
const TRIMMED: &str = "trim.txt";
/// Starts of the names of all files and folders that may be removed.
const PREFIXES: [&str; 3] = [HELPER, PLAN, LIST];

/// Start of the names of helpers, and of the folders that they are built in.
pub(super) const HELPER: &str = "helper-";
/// Start of the names of plans.
pub(super) const PLAN: &str = "plan-";
/// Start of the names of folders for `--list`.
pub(super) const LIST: &str = "list-";

/// Returns the path of a file in the user's cache.
pub(super) fn path(name: &str) -> Result<PathBuf, InjectError> {
    Ok(folder()?.join(name))
}

fn folder() -> Result<PathBuf, InjectError> {
    Ok(cache::directory().ok_or(InjectError::NoCache)?.join("inject"))
}

/// Notes that a file is used. A cache that cannot be written stays as it is.
pub(super) fn mark_used(path: &Path) {
    mark_used_at(path, SystemTime::now());
}

fn mark_used_at(path: &Path, now: SystemTime) {
    if !path.metadata().is_ok_and(|file| age(&file, now).is_some_and(|age| age <= PRECISION)) {
        // Without the time of its use, the file is removed too early, and made again.
        let _ = File::open(path).and_then(|file| file.set_modified(now));
    }
}

/// Removes what was not used for a month. A cache that cannot be written stays as it is.
pub(crate) fn trim() {
    if let Ok(folder) = folder() {
        trim_at(&folder, SystemTime::now());
    }
}

fn trim_at(folder: &Path, now: SystemTime) {
    let trimmed = folder.join(TRIMMED);
    if trimmed.metadata().is_ok_and(|file| age(&file, now).is_some_and(|age| age <= TRIM_INTERVAL))
    {
        return;
    }
    let noted = File::create(&trimmed).and_then(|file| file.set_modified(now));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    if noted.is_err() {
        return;
    }
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = PREFIXES.iter().any(|p| name.as_encoded_bytes().starts_with(p.as_bytes()));
        // The metadata is that of a link itself.
        let Ok(metadata) = entry.metadata() else { continue };
        if !is_ours || age(&metadata, now).is_none_or(|age| age <= UNUSED) {
            continue;
        }
        // Another process may have removed it.
        let _ = if metadata.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
    }
}

/// Returns how long ago a file was changed; `None` if its time is in the future: a clock was wrong, or
/// another process has just written it.
fn age(file: &Metadata, now: SystemTime) -> Option<Duration> {
    file.modified().ok().and_then(|modified| now.duration_since(modified).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Creates a file or a folder that was last used some days ago.
    fn create(folder: &Path, name: &str, days: u32, now: SystemTime) {
        let path = folder.join(name);
        if name.ends_with('/') {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
        } else {
            std::fs::write(&path, "").unwrap();
        }
        File::open(&path).unwrap().set_modified(now - DAY * days).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn removes_what_was_not_used_for_a_month() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path(), SystemTime::now());
        for (name, days) in [
            ("helper-1", 31),
            ("helper-2", 29),
            ("plan-1.json", 400),
            ("plan-2.json", 0),
            ("list-1/", 31),
            ("list-2/", 0),
            ("helper-3.build-7/", 31),
            ("notes.txt", 400),
        ] {
            create(folder, name, days, now);
        }
        // Only the link is removed, not what it points to.
        std::os::unix::fs::symlink(folder.join("notes.txt"), folder.join("plan-3.json")).unwrap();
        trim_at(folder, now);
        let kept = ["helper-2", "list-2", "notes.txt", "plan-2.json", "plan-3.json", "trim.txt"];
        assert_eq!(names(folder), kept);
        trim_at(folder, now + DAY * 40);
        assert_eq!(names(folder), ["notes.txt", "trim.txt"]);
    }

    #[test]
    fn trims_once_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path(), SystemTime::now());
        trim_at(folder, now);
        create(folder, "plan-1.json", 31, now);
        trim_at(folder, now + DAY / 2);
        assert_eq!(names(folder), ["plan-1.json", "trim.txt"]);
        trim_at(folder, now + DAY * 2);
        assert_eq!(names(folder), ["trim.txt"]);
        // A time in the future, as of a clock that was wrong, does not stop later trims.
        create(folder, "plan-1.json", 31, now);
        trim_at(folder, now);
        assert_eq!(names(folder), ["trim.txt"]);
    }

    #[test]
    fn used_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path(), SystemTime::now());
        create(folder, "helper-1", 31, now);
        create(folder, "helper-2", 31, now);
        mark_used_at(&folder.join("helper-1"), now);
        mark_used_at(&folder.join("missing"), now);
        trim_at(folder, now);
        assert_eq!(names(folder), ["helper-1", "trim.txt"]);
        // Marks are not written more often than once an hour.
        let modified = || folder.join("helper-1").metadata().unwrap().modified().unwrap();
        let before = modified();
        mark_used_at(&folder.join("helper-1"), now + PRECISION / 2);
        assert_eq!(modified(), before);
        mark_used_at(&folder.join("helper-1"), now + PRECISION * 2);
        assert!(modified() > before);
    }

    #[test]
    fn a_cache_that_is_missing_is_not_created() {
        let folder = tempfile::tempdir().unwrap();
        trim_at(&folder.path().join("inject"), SystemTime::now());
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
