//! Scanning the whole host: each file is read once, no matter how many processes map it.

use super::process::{self, FileMapping};
use super::{ObjectId, ScannedObject, scan_object};
use crate::error::{Error, ErrorKind, Result, Warning, WarningKind};
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Number of processes through which a file is opened at most. The first ones may exit during the
/// scan.
const MAX_TRIES: usize = 4;

/// A file that processes map, before it is opened.
#[derive(Default)]
struct Candidate {
    /// Processes through which the file can be opened, each with its mapping of the file.
    mappings: Vec<(u32, FileMapping)>,
    /// All processes that map the file, in ascending order.
    pids: Vec<u32>,
}

/// Returns the probes of every file that any process maps executable, sorted by path, using up to
/// `threads` threads.
///
/// Files without probes are left out. Processes of other users that this process may not read are
/// left out, too, with one warning at the first file.
pub(crate) fn scan_host(threads: NonZero<usize>) -> Result<Vec<ScannedObject>> {
    let pids = pids()?;
    let (candidates, foreign) = candidates(&pids, threads);
    let results = parallel(&candidates, threads, scan_candidate);
    let mut found: HashMap<ObjectId, ScannedObject> = HashMap::new();
    for one in results.into_iter().flatten() {
        // Device numbers in `/proc/PID/maps` differ between mounts of some file systems, so one
        // file can be two candidates.
        match found.get_mut(&one.object.id) {
            Some(known) => {
                let mut all: Vec<u32> = known.pids.iter().chain(one.pids.iter()).copied().collect();
                all.sort_unstable();
                all.dedup();
                known.pids = all.into();
            }
            None => drop(found.insert(one.object.id, one)),
        }
    }
    let mut found: Vec<ScannedObject> = found.into_values().collect();
    found.sort_by(|a, b| (&a.object.path, a.object.id).cmp(&(&b.object.path, b.object.id)));
    if foreign > 0
        && let Some(first) = found.first_mut()
    {
        let plural = if foreign == 1 { "process" } else { "processes" };
        let message = format!(
            "skipped {foreign} {plural} of other users; run as root or with CAP_SYS_PTRACE to include them"
        );
        first.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
    }
    Ok(found)
}

/// Returns those of the given files that a process still maps executable.
///
/// Processes that this process may not read are not counted.
///
/// # Errors
///
/// `Io` if `/proc` cannot be read.
pub fn still_mapped(wanted: &HashSet<ObjectId>) -> Result<HashSet<ObjectId>> {
    let inodes: HashSet<u64> = wanted.iter().map(|id| id.ino).collect();
    let mut live = HashSet::new();
    for pid in pids()? {
        // A process whose mappings cannot be read has exited, or was never scanned because it
        // belongs to another user.
        for mapping in process::file_mappings(pid).unwrap_or_default() {
            // The device number in `/proc/PID/maps` is not `st_dev` on every file system, so only
            // the inode is compared.
            if inodes.contains(&mapping.inode)
                && let Some(object) = process::open(pid, &mapping)
            {
                live.insert(object.id);
            }
        }
        if live.len() == wanted.len() {
            break;
        }
    }
    live.retain(|id| wanted.contains(id));
    Ok(live)
}

/// Returns the ids of all processes in ascending order.
pub(crate) fn pids() -> Result<Vec<u32>> {
    let failed = |source| Error::io("cannot read /proc", source);
    let entries = std::fs::read_dir("/proc").map_err(failed)?;
    let mut pids: Vec<u32> =
        entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Returns every file that is mapped executable, and the number of processes that this process may
/// not read.
fn candidates(pids: &[u32], threads: NonZero<usize>) -> (Vec<Candidate>, usize) {
    let maps = parallel(pids, threads, |pid| (*pid, process::file_mappings(*pid)));
    let mut files: HashMap<(String, u64), Candidate> = HashMap::new();
    let mut foreign = 0;
    for (pid, mappings) in maps {
        let mappings = match mappings {
            Ok(mappings) => mappings,
            Err(error) if error.kind() == ErrorKind::Permission => {
                foreign += 1;
                continue;
            }
            // The process has exited.
            Err(_) => continue,
        };
        for mapping in mappings {
            let key = (mapping.device.clone(), mapping.inode);
            let file = files.entry(key).or_default();
            if file.pids.last() != Some(&pid) {
                file.pids.push(pid);
                if file.mappings.len() < MAX_TRIES {
                    file.mappings.push((pid, mapping));
                }
            }
        }
    }
    (files.into_values().collect(), foreign)
}

/// Scans a file; `None` if it has no probes or is not an ELF file.
fn scan_candidate(candidate: &Candidate) -> Option<ScannedObject> {
    let open = |(pid, mapping): &(u32, FileMapping)| process::open(*pid, mapping);
    let mut found = scan_object(candidate.mappings.iter().find_map(open)?).ok()?;
    found.pids = candidate.pids.as_slice().into();
    (!found.probes.is_empty()).then_some(found)
}

/// Calls `work` for all items on up to `threads` threads and returns the results in the order of
/// the items.
fn parallel<T: Sync, R: Send>(
    items: &[T],
    threads: NonZero<usize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(items.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_keeps_the_order_of_items() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [1, 2, 7] {
            let doubled = parallel(&items, NonZero::new(threads).unwrap(), |n| n * 2);
            assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
        assert_eq!(parallel(&[0; 0], NonZero::new(4).unwrap(), |n| *n), [0; 0]);
    }
}
