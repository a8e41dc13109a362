//! Discovery: which files a process executes, and which probes they contain.
//!
//! A file is identified by device and inode, not by its path, and stays open while its [`Object`]
//! lives. So the kernel attaches to the very file that was scanned, even if the path is replaced or
//! removed, or belongs to another mount namespace.
//!
//! [`scan_file`] and [`scan_process`] return the probes, [`select`] selects some of them by glob.

mod catalog;
mod functions;
mod host;
mod new_files;
mod notes;
mod object;
pub(crate) mod process;
pub(crate) mod process_state;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod sample;
mod schema_file;
#[doc(hidden)]
pub mod select;

pub use functions::add_function_entries;
pub(crate) use host::pids;
pub(crate) use host::scan_host;
pub use host::still_mapped;
pub(crate) use new_files::{FilesWithoutProbes, NewFiles};
pub(crate) use notes::{EnumLabels, goroutine_register};
pub use notes::{Probe, Source};
pub use object::{Object, ObjectId};
pub use process::is_process_alive;
pub use process_state::no_process;
pub use schema_file::SchemaFile;

use crate::error::{Result, Warning, WarningKind};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// A scanned file and the probes in it.
#[derive(Clone, Debug)]
pub struct ScannedObject {
    /// The file, held open.
    pub object: Arc<Object>,
    /// The sites of the file's probes, in the order of their notes. A probe with several sites
    /// appears once for each.
    pub probes: Vec<Arc<Probe>>,
    /// Notes that are damaged and probes that cannot be used.
    pub warnings: Vec<Warning>,
    /// The processes in which the file was found; empty for the result of [`scan_file`].
    pub pids: Arc<[u32]>,
}

/// Returns the probes of a file.
///
/// A file without probes is not an error. A Go binary is searched for probe definitions even if it
/// is not sealed.
///
/// # Errors
///
/// `NotFound` or `Permission` if the file cannot be opened; `InvalidObject` if it is not an ELF
/// file or is damaged.
pub fn scan_file(path: &Path) -> Result<ScannedObject> {
    scan_object(Object::open(path, path)?)
}

/// Returns the probes of every file that a process maps executable, its executable first.
///
/// A file that cannot be read is left out with a warning if there are others.
///
/// # Errors
///
/// `NotFound` if there is no such process; `Permission` if it belongs to another user and this
/// process lacks `CAP_SYS_PTRACE`; the error of the first file if none can be read.
pub fn scan_process(pid: u32) -> Result<Vec<ScannedObject>> {
    let mut found: Vec<ScannedObject> = Vec::new();
    let mut first_error = None;
    process::for_each_object(pid, &mut HashSet::new(), &mut |object| match object
        .and_then(scan_object)
    {
        Ok(one) => found.push(ScannedObject { pids: Arc::from([pid]), ..one }),
        Err(error) => first_error = first_error.take().or(Some(error)),
    })?;
    match first_error {
        Some(error) if found.is_empty() => Err(error),
        Some(error) => {
            if let Some(first) = found.first_mut() {
                first.warnings.push(Warning::new(WarningKind::SkippedObject, format!("{error:#}")));
            }
            Ok(found)
        }
        None if found.is_empty() => process_state::no_files(pid).map_or(Ok(found), Err),
        None => Ok(found),
    }
}

fn scan_object(object: Object) -> Result<ScannedObject> {
    let (probes, warnings) = notes::scan(&object)?;
    let probes = probes.into_iter().map(Arc::new).collect();
    Ok(ScannedObject { object: Arc::new(object), probes, warnings, pids: Arc::from([]) })
}
