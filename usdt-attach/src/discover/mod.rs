//! Discovery: which files a process executes, and which probes they contain.
//!
//! A file is identified by device and inode, not by its path, and stays open while its [`Object`]
//! lives. So the kernel attaches to the very file that was scanned, even if the path is replaced or
//! removed, or belongs to another mount namespace.
//!
//! [`scan_file`] and [`scan_process`] return the probes, [`select`] selects some of them by glob.

mod catalog;
mod debug_files;
mod enum_labels;
mod file_bytes;
mod file_facts;
mod function_arguments;
mod function_probes;
mod functions;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod host;
mod injected;
pub(crate) mod kernel_inode;
mod known;
mod linker;
mod mounts;
mod new_files;
mod notes;
mod object;
mod probe;
pub(crate) mod process;
mod process_memory;
pub(crate) mod process_state;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod sample;
mod schema_file;
#[doc(hidden)]
pub mod select;

pub use debug_files::{DebugFile, check_debug_files};
pub(crate) use enum_labels::EnumLabels;
pub(crate) use file_bytes::FileBytes;
#[doc(hidden)]
pub use file_facts::{FileFacts, file_facts};
pub use function_arguments::FunctionOptions;
pub use functions::{RuntimeEntries, add_function_entries, add_functions, runtime_entries};
pub use host::pids;
pub(crate) use host::scan_host;
pub use host::still_mapped;
pub(crate) use linker::{Linker, script_interpreter};
pub(crate) use mounts::Mounts;
pub(crate) use new_files::{FilesWithoutProbes, NewFiles};
pub use object::{Object, ObjectId};
pub(crate) use probe::{ArgumentGuard, InterfaceWords, NATIVE, goroutine_register};
pub use probe::{Probe, SchemaSource, Source};
pub use process::is_process_alive;
pub(crate) use process_memory::ProcessMemory;
#[doc(hidden)]
pub use process_memory::environment_answers;
pub use process_state::{check_proc, namespace_ids, no_process};
pub use schema_file::SchemaFile;

use crate::error::{Result, Warning, WarningKind};
use process::Visited;
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

/// The result of a scan of processes.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The files that could be read.
    pub objects: Vec<ScannedObject>,
    /// Files and processes that were skipped.
    pub warnings: Vec<Warning>,
}

/// The number of skipped files of a scan that are named.
const MAX_SKIPPED: usize = 20;

impl Scan {
    /// Adds warnings about files that were skipped. The first ones are named, the others counted.
    fn add_skipped(&mut self, skipped: impl IntoIterator<Item = String>) {
        let mut skipped = skipped.into_iter();
        let warning = |message| Warning::new(WarningKind::SkippedObject, message);
        self.warnings.extend(skipped.by_ref().take(MAX_SKIPPED).map(warning));
        let more = skipped.count();
        if more > 0 {
            self.warnings.push(warning(format!("skipped {more} more files for such reasons")));
        }
    }
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
/// A file that cannot be read is left out with a warning if there are others. So is a file on a
/// file system that may never answer, such as FUSE or NFS.
///
/// # Errors
///
/// `NotFound` if there is no such process; `Permission` if it belongs to another user and this
/// process lacks `CAP_SYS_PTRACE`; the error of the first file if none can be read.
pub fn scan_process(pid: u32) -> Result<Scan> {
    scan_process_with(pid, &Mounts::new(), &[])
}

/// As [`scan_process`], with the mount tables of a scan of several processes, and the files that it
/// has read, which are not read again.
pub(crate) fn scan_process_with(pid: u32, mounts: &Mounts, read: &[ScannedObject]) -> Result<Scan> {
    let mut scan = Scan::default();
    let (mut errors, mut skipped) = (Vec::new(), Vec::new());
    process::for_each_object(pid, mounts, &mut HashSet::new(), &mut |visited| match visited {
        Visited::Object { object, .. } => match object.and_then(|one| scan_unread(one, read)) {
            Ok(one) => scan.objects.push(ScannedObject { pids: Arc::from([pid]), ..one }),
            Err(error) => errors.push(error),
        },
        Visited::Skipped(reason) => skipped.push(reason),
    })?;
    scan.add_skipped(skipped);
    if scan.objects.is_empty() && !errors.is_empty() {
        return Err(errors.swap_remove(0));
    }
    if scan.objects.is_empty()
        && scan.warnings.is_empty()
        && let Some(error) = process_state::no_files(pid)
    {
        return Err(error);
    }
    scan.add_skipped(errors.iter().map(|error| format!("{error:#}")));
    Ok(scan)
}

/// Scans a file, unless it is one of those that are read.
fn scan_unread(object: Object, read: &[ScannedObject]) -> Result<ScannedObject> {
    match read.iter().find(|one| one.object.id == object.id) {
        Some(known) => Ok(known.clone()),
        None => scan_object(object),
    }
}

fn scan_object(object: Object) -> Result<ScannedObject> {
    let (probes, warnings) = notes::scan(&object)?;
    let probes = probes.into_iter().map(Arc::new).collect();
    Ok(ScannedObject { object: Arc::new(object), probes, warnings, pids: Arc::from([]) })
}
