//! Everything that runs: each file that any process maps is looked at once, however many processes map it.

use super::process::{self, FileMapping};
use super::{ObjectId, ScannedObject, scan_object};
use crate::error::{Error, ErrorKind, Result, Warning, WarningKind};
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Processes through which a file is tried: the first ones may end meanwhile.
const TRIES: usize = 4;

/// A file that processes map.
#[derive(Default)]
struct Candidate {
    /// Process and mapping.
    mappings: Vec<(u32, FileMapping)>,
    /// In ascending order.
    pids: Vec<u32>,
}

/// The probes of everything that any process maps, by path, on that many threads. Files without probes are left
/// out, and so are, with a warning at the first file, processes that may not be looked into.
pub fn scan_host(threads: NonZero<usize>) -> Result<Vec<ScannedObject>> {
    let pids = pids()?;
    let (candidates, foreign) = candidates(&pids, threads);
    let results = parallel(&candidates, threads, look);
    let mut found: HashMap<ObjectId, ScannedObject> = HashMap::new();
    for one in results.into_iter().flatten() {
        // A file may have several names in maps, by mount namespaces.
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
            "{foreign} {plural} may not be looked into; run as root or with CAP_SYS_PTRACE"
        );
        first.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
    }
    Ok(found)
}

/// Which of these files any process maps.
pub fn still_mapped(wanted: &HashSet<ObjectId>) -> Result<HashSet<ObjectId>> {
    let inodes: HashSet<u64> = wanted.iter().map(|id| id.ino).collect();
    let mut live = HashSet::new();
    for pid in pids()? {
        // Who may not be looked into has not been looked into before, either; others have ended.
        for mapping in process::file_mappings(pid).unwrap_or_default() {
            // Device numbers in maps are not those of the file on every file system.
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

/// Every process, in ascending order.
fn pids() -> Result<Vec<u32>> {
    let failed = |source| Error::io("cannot read /proc", source);
    let entries = std::fs::read_dir("/proc").map_err(failed)?;
    let mut pids: Vec<u32> =
        entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Every mapped file once, and how many processes could not be looked into.
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
            // It has ended.
            Err(_) => continue,
        };
        for mapping in mappings {
            let key = (mapping.device.clone(), mapping.inode);
            let file = files.entry(key).or_default();
            if file.pids.last() != Some(&pid) {
                file.pids.push(pid);
                if file.mappings.len() < TRIES {
                    file.mappings.push((pid, mapping));
                }
            }
        }
    }
    (files.into_values().collect(), foreign)
}

/// The file's probes, if it has any. What is no ELF file (fonts, archives) is mapped, too.
fn look(candidate: &Candidate) -> Option<ScannedObject> {
    let open = |(pid, mapping): &(u32, FileMapping)| process::open(*pid, mapping);
    let mut found = scan_object(candidate.mappings.iter().find_map(open)?).ok()?;
    found.pids = candidate.pids.as_slice().into();
    (!found.probes.is_empty()).then_some(found)
}

/// Runs `work` over all items on that many threads; results in the items' order.
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
    fn results_keep_the_items_order() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [1, 2, 7] {
            let doubled = parallel(&items, NonZero::new(threads).unwrap(), |n| n * 2);
            assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
        assert_eq!(parallel(&[0; 0], NonZero::new(4).unwrap(), |n| *n), [0; 0]);
    }
}
