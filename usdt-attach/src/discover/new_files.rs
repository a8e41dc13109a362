//! Finding files that processes have begun to map, without keeping those that have no probes open.

use super::mounts::Mounts;
use super::object::{Object, ObjectId};
use super::process::{self, Visited};
use super::{ScannedObject, scan_object};
use crate::error::Error;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Files in which there is nothing to attach to, with the times of their last changes. They are not
/// read again until they change. A file that was replaced by another with the same inode number has
/// another time.
#[derive(Debug, Default)]
pub(crate) struct FilesWithoutProbes(HashMap<ObjectId, (i64, i64)>);

impl FilesWithoutProbes {
    /// The number of files that are remembered. Any user can map any number of files.
    const MAX: usize = 1 << 16;

    pub(crate) fn insert(&mut self, object: &Object) {
        self.add(object.id, object.change_time);
    }

    fn add(&mut self, id: ObjectId, change_time: (i64, i64)) {
        // Reading some files again costs less than remembering which of them are still mapped.
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        self.0.insert(id, change_time);
    }

    fn contains(&self, object: &Object) -> bool {
        self.0.get(&object.id) == Some(&object.change_time)
    }
}

/// A scan of several processes, in which each file is read once.
#[derive(Debug)]
pub(crate) struct NewFiles<'a> {
    /// Files that need not be read.
    known: &'a HashSet<ObjectId>,
    without_probes: &'a mut FilesWithoutProbes,
    /// Files that were opened, as `/proc/PID/maps` shows them.
    seen: HashSet<(String, u64)>,
    pub(crate) mounts: Mounts,
    /// The files found: those with probes, and executables.
    pub(crate) objects: Vec<ScannedObject>,
    /// Why other files were not read.
    pub(crate) skipped: Vec<String>,
    /// The time that reading files has taken.
    spent: Duration,
}

impl<'a> NewFiles<'a> {
    /// The number of files that are found at once, because each is open.
    const MAX: usize = 32;
    /// The time after which no further file is read, so that its caller can do other work.
    const MAX_TIME: Duration = Duration::from_millis(250);

    /// True if there may be more files. The scan is to be repeated when these are settled.
    pub(crate) fn is_full(&self) -> bool {
        self.objects.len() >= Self::MAX || self.spent > Self::MAX_TIME
    }

    pub(crate) fn new(
        known: &'a HashSet<ObjectId>,
        without_probes: &'a mut FilesWithoutProbes,
    ) -> NewFiles<'a> {
        NewFiles {
            known,
            without_probes,
            seen: HashSet::new(),
            mounts: Mounts::new(),
            objects: Vec::new(),
            skipped: Vec::new(),
            spent: Duration::ZERO,
        }
    }

    /// Adds the files that a process maps. A process that has ended, or that this process may not
    /// read, has none.
    ///
    /// # Errors
    ///
    /// `ResourceLimit` if files are missing because there are no descriptors left.
    pub(crate) fn add_process(&mut self, pid: u32) -> Result<(), Error> {
        let NewFiles { known, without_probes, seen, mounts, objects, skipped, spent } = self;
        let mut shortage = None;
        let result = process::for_each_object(pid, mounts, seen, &mut |visited| {
            let (object, is_executable) = match visited {
                Visited::Object { object: Ok(object), is_executable } => (object, is_executable),
                Visited::Object { object: Err(error), .. } if error.is_resource_limit() => {
                    shortage = shortage.take().or(Some(error));
                    return;
                }
                Visited::Object { object: Err(error), .. } => {
                    skip(skipped, format!("{error:#}"));
                    return;
                }
                Visited::Skipped(reason) => {
                    skip(skipped, reason);
                    return;
                }
            };
            if let Some(found) = objects.iter_mut().find(|o| o.object.id == object.id) {
                found.pids = found.pids.iter().copied().chain([pid]).collect();
                return;
            }
            if objects.len() >= Self::MAX
                || *spent > Self::MAX_TIME
                || known.contains(&object.id)
                || without_probes.contains(&object)
            {
                return;
            }
            let (id, change_time) = (object.id, object.change_time);
            let start = Instant::now();
            let scanned = scan_object(object);
            *spent += start.elapsed();
            match scanned {
                // An executable without probes may have function entries.
                Ok(one) if is_executable || !one.probes.is_empty() => {
                    objects.push(ScannedObject { pids: Arc::from([pid]), ..one });
                }
                Err(error) if error.is_resource_limit() => {
                    shortage = shortage.take().or(Some(error));
                }
                // A damaged file is read again when it has changed.
                Ok(_) | Err(_) => without_probes.add(id, change_time),
            }
        });
        match (shortage, result) {
            (Some(error), _) => Err(error),
            (None, Err(error)) if error.is_resource_limit() => Err(error),
            (None, _) => Ok(()),
        }
    }
}

/// Keeps a reason. Any user can cause any number of them.
fn skip(skipped: &mut Vec<String>, reason: String) {
    const MAX: usize = 64;
    if skipped.len() < MAX {
        skipped.push(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_without_probes_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        let open = || Object::open(&path, &path).unwrap();
        let mut files = FilesWithoutProbes::default();
        files.insert(&open());
        assert!(files.contains(&open()));
        // The clock of file times has a resolution of some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let permissions = std::fs::metadata(&path).unwrap().permissions();
        std::fs::set_permissions(&path, permissions).unwrap();
        assert!(!files.contains(&open()));
    }

    #[test]
    fn bounds_the_files_that_it_remembers() {
        let mut files = FilesWithoutProbes::default();
        for ino in 0..3 * FilesWithoutProbes::MAX as u64 {
            files.add(ObjectId { dev: 1, ino, address: 0 }, (0, 0));
            assert!(files.0.len() <= FilesWithoutProbes::MAX);
        }
    }

    #[test]
    fn stops_reading_when_its_time_is_over() {
        let (known, mut without_probes) = (HashSet::new(), FilesWithoutProbes::default());
        let mut files = NewFiles::new(&known, &mut without_probes);
        files.spent = NewFiles::MAX_TIME + Duration::from_millis(1);
        files.add_process(std::process::id()).unwrap();
        assert!(files.is_full() && files.objects.is_empty());
        assert!(without_probes.0.is_empty(), "they are read by the next scan");
    }

    #[test]
    fn finds_the_files_of_a_process_once() {
        let (known, mut without_probes) = (HashSet::new(), FilesWithoutProbes::default());
        let own = std::process::id();
        let mut files = NewFiles::new(&known, &mut without_probes);
        files.add_process(own).unwrap();
        files.add_process(own).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(files.objects.iter().filter(|o| o.object.path == exe).count(), 1);
        assert!(files.add_process(u32::MAX - 1).is_ok(), "a process that has ended has no files");
    }
}
