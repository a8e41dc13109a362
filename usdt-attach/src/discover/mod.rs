//! What can be traced: objects (files that processes map) and the probes in them.
//!
//! An object is known by device and inode, not by its path, and is held open from here on: what is attached is
//! what was read, also when the path is replaced or removed, or belongs to another mount namespace.

mod catalogue;
mod functions;
mod host;
mod notes;
mod object;
pub mod process;
#[cfg(any(test, fuzzing))]
pub mod sample;
mod schema_file;
pub mod select;

pub use functions::add_function_entries;
pub use host::scan_host;
pub use host::still_mapped;
pub(crate) use notes::running_goroutine;
pub use notes::{EnumLabels, Probe, Source};
pub use object::{Object, ObjectId};
pub use schema_file::SchemaFile;

use crate::error::{Error, Result, Warning, WarningKind};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// An object and the probes in it.
#[derive(Clone, Debug)]
pub struct ScannedObject {
    /// The file.
    pub object: Arc<Object>,
    /// In the order of their notes.
    pub probes: Vec<Arc<Probe>>,
    /// What could not be used.
    pub warnings: Vec<Warning>,
    /// The processes that it was found in; none where a file was asked for.
    pub pids: Arc<[u32]>,
}

/// The probes of a file.
pub fn scan_file(path: &Path) -> Result<ScannedObject> {
    scan_object(Object::open(path, path)?)
}

/// Which file a path leads to.
pub fn object_id(path: &Path) -> Option<ObjectId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|m| ObjectId { dev: m.dev(), ino: m.ino() })
}

/// The probes of everything a process maps, its executable first. An object that cannot be read is left out
/// with a warning unless it is the executable.
pub fn scan_process(pid: u32) -> Result<Vec<ScannedObject>> {
    scan_process_except(pid, &HashSet::new())
}

/// The same, without files that are known already: they are not read again.
pub(crate) fn scan_process_except(
    pid: u32,
    known: &HashSet<ObjectId>,
) -> Result<Vec<ScannedObject>> {
    let mut found: Vec<ScannedObject> = Vec::new();
    let mut trouble = None;
    let is_new = |object: &Result<Object>| object.as_ref().map_or(true, |o| !known.contains(&o.id));
    for object in process::objects(pid)?.into_iter().filter(is_new) {
        match object.and_then(scan_object) {
            Ok(one) => found.push(ScannedObject { pids: Arc::from([pid]), ..one }),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match trouble {
        Some(error) if found.is_empty() => Err(error),
        Some(error) => {
            if let Some(first) = found.first_mut() {
                first.warnings.push(Warning::new(WarningKind::SkippedObject, format!("{error:#}")));
            }
            Ok(found)
        }
        // A kernel thread maps nothing and is there all the same.
        None if found.is_empty() && !process::is_alive(pid) => Err(Error::no_process(pid)),
        None => Ok(found),
    }
}

fn scan_object(object: Object) -> Result<ScannedObject> {
    let (probes, warnings) = notes::scan(&object)?;
    let probes = probes.into_iter().map(Arc::new).collect();
    Ok(ScannedObject { object: Arc::new(object), probes, warnings, pids: Arc::from([]) })
}
