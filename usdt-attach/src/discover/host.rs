//! Scanning the whole host: each file is read once, no matter how many processes map it.

use super::kernel_inode::mapped_ids;
use super::mounts::Mounts;
use super::process::{self, FileMapping, MappedIds, Opened};
use super::{ObjectId, Scan, ScannedObject, scan_object};
use crate::error::{Error, ErrorKind, Warning, WarningKind};
use crate::kernel::capabilities::PtraceObstacle;
use crate::parallel;
use stapsdt::escape::Escaped;
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
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

/// The name of the threads that scan.
const SCAN_THREAD: &str = "usdt-scan";

/// The number of probe sites of a host that are kept.
///
/// Large programs have some thousand sites. Any user can map any number of files, each with as many
/// sites as a file may have.
const MAX_SITES: usize = 1 << 16;
/// The total length of the paths of a host's files that are kept, in bytes.
const MAX_PATHS: usize = 16 << 20;

/// Returns the probes of every file that any process maps executable, sorted by path, using up to
/// `threads` threads.
///
/// Files without probes are left out. These are left out with a warning: processes of other users
/// that this process may not read, files on file systems that may never answer, files that cannot
/// be read, and the files with the most probe sites if all together have more than 65,536.
pub(crate) fn scan_host(threads: NonZero<usize>) -> crate::Result<Scan> {
    let pids = pids()?;
    let mounts = Mounts::new();
    let Candidates { files, foreign, mut skipped } = candidates(&pids, threads);
    let scanned = Mutex::new((Kept::default(), Vec::new()));
    parallel::for_each(files, threads.get(), SCAN_THREAD, |file| {
        let mut warnings = Vec::new();
        let result = scan_candidate(&file, &mounts, &mut |warning| warnings.push(warning));
        let mut scanned = scanned.lock().unwrap_or_else(PoisonError::into_inner);
        scanned.1.extend(warnings);
        match result {
            Ok(Some(object)) => scanned.0.add(object),
            Ok(None) => {}
            Err(reason) => scanned.1.push(reason),
        }
    });
    let (kept, mut reasons) = scanned.into_inner().unwrap_or_else(PoisonError::into_inner);
    reasons.sort_unstable();
    skipped.extend(reasons);
    skipped.extend(kept.skipped);
    let mut found: HashMap<ObjectId, ScannedObject> = HashMap::new();
    for one in kept.objects {
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
    let mut scan = Scan { objects: found.into_values().collect(), warnings: Vec::new() };
    scan.objects.sort_by(|a, b| (&a.object.path, a.object.id).cmp(&(&b.object.path, b.object.id)));
    scan.add_skipped(skipped);
    if foreign > 0 {
        let plural = if foreign == 1 { "process" } else { "processes" };
        let message = match PtraceObstacle::current() {
            PtraceObstacle::OtherUser => format!(
                "skipped {foreign} {plural} of other users; run as root or with CAP_SYS_PTRACE to include them"
            ),
            obstacle => {
                format!("skipped {foreign} {plural} that cannot be read; {}", obstacle.hint())
            }
        };
        scan.warnings.push(Warning::new(WarningKind::SkippedProcess, message));
    }
    Ok(scan)
}

/// Scanned files with up to [`MAX_SITES`] sites.
#[derive(Default)]
struct Kept {
    objects: Vec<ScannedObject>,
    sites: usize,
    /// Why others were dropped.
    skipped: Vec<String>,
}

impl Kept {
    /// Adds a file. If there are too many sites then, it drops the files with the most of them, so
    /// that one with an absurd number does not displace the others.
    fn add(&mut self, object: ScannedObject) {
        self.sites += object.probes.len();
        self.objects.push(object);
        while self.sites > MAX_SITES {
            let sites = |at: &usize| self.objects.get(*at).map(|o| o.probes.len());
            let Some(largest) = (0..self.objects.len()).max_by_key(sites) else { return };
            let dropped = self.objects.swap_remove(largest);
            self.sites -= dropped.probes.len();
            self.skipped.push(format!(
                "skipped {}: of its {} probe sites and those of other files, more than {MAX_SITES} would be kept; name the file to read it",
                Escaped::new(&dropped.object.path),
                dropped.probes.len()
            ));
        }
    }
}

/// Returns those of the given files that a process still maps executable.
///
/// `mapped_by` has a process for each file, as far as one is known. These are read first, and the others
/// only if one of them does not map its file any more.
///
/// Processes that this process may not read are not counted.
///
/// # Errors
///
/// `Io` if `/proc` cannot be read, `ResourceLimit` if there are no descriptors left.
pub fn still_mapped(
    wanted: &HashSet<ObjectId>,
    mapped_by: &mut HashMap<ObjectId, u32>,
) -> crate::Result<HashSet<ObjectId>> {
    mapped_by.retain(|id, _| wanted.contains(id));
    let first: HashSet<u32> = mapped_by.drain().map(|(_, pid)| pid).collect();
    let mounts = Mounts::new();
    for pid in &first {
        add_mapped(*pid, wanted, &mounts, mapped_by)?;
    }
    if mapped_by.len() < wanted.len() {
        for pid in pids()?.into_iter().filter(|pid| !first.contains(pid)) {
            add_mapped(pid, wanted, &mounts, mapped_by)?;
            if mapped_by.len() == wanted.len() {
                break;
            }
        }
    }
    Ok(mapped_by.keys().copied().collect())
}

/// Adds those of the wanted files that a process maps executable.
fn add_mapped(
    pid: u32,
    wanted: &HashSet<ObjectId>,
    mounts: &Mounts,
    mapped_by: &mut HashMap<ObjectId, u32>,
) -> crate::Result<()> {
    let missing = || wanted.iter().filter(|id| !mapped_by.contains_key(*id));
    // The device number in `/proc/PID/maps` is not `st_dev` on every file system, so only the inode
    // is compared.
    let inodes: HashSet<u64> = missing().map(|id| id.ino).collect();
    let mappings = match process::file_mappings(pid) {
        Err(error) if error.is_resource_limit() => return Err(error),
        // The process has exited, or was never scanned because it belongs to another user.
        other => other.unwrap_or_default(),
    };
    // On overlayfs, a process may map another file than the one that is opened now.
    let mut found: Vec<ObjectId> =
        mapped_ids(pid).into_iter().flatten().map(|(_, id)| id).collect();
    for mapping in mappings.files.iter().filter(|mapping| inodes.contains(&mapping.inode)) {
        match process::open(pid, mapping, mounts) {
            Opened::Object(Ok(object)) => found.push(object.id),
            Opened::Object(Err(error)) if error.is_resource_limit() => return Err(error),
            Opened::Object(Err(_)) | Opened::Skipped(_) | Opened::Nothing => {}
        }
    }
    for id in found.into_iter().filter(|id| wanted.contains(id)) {
        mapped_by.entry(id).or_insert(pid);
    }
    Ok(())
}

/// Returns the ids of all processes in ascending order.
pub fn pids() -> crate::Result<Vec<u32>> {
    let failed = |source| Error::io("cannot read /proc", source);
    let entries = std::fs::read_dir("/proc").map_err(failed)?;
    let mut pids: Vec<u32> =
        entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// What the mappings of a host's processes say.
struct Candidates {
    /// Every file that is mapped executable.
    files: Vec<Candidate>,
    /// The number of processes that this process may not read.
    foreign: usize,
    /// Why files are missing.
    skipped: Vec<String>,
}

fn candidates(pids: &[u32], threads: NonZero<usize>) -> Candidates {
    let maps = map_in_order(pids, threads, |pid| (*pid, process::file_mappings(*pid)));
    let mut files: HashMap<(String, u64), Candidate> = HashMap::new();
    let (mut foreign, mut skipped, mut paths) = (0, Vec::new(), 0);
    let (mut unread, mut shortage) = (0, None);
    for (pid, mappings) in maps {
        let mappings = match mappings {
            Ok(mappings) => mappings,
            Err(error) if error.kind() == ErrorKind::Permission => {
                foreign += 1;
                continue;
            }
            Err(error) if error.is_resource_limit() => {
                unread += 1;
                shortage = shortage.or(Some(error));
                continue;
            }
            // The process has exited.
            Err(_) => continue,
        };
        skipped.extend(mappings.incomplete(pid));
        for mapping in mappings.files {
            if paths > MAX_PATHS {
                skipped.push(format!(
                    "skipped files of process {pid}: the paths of all files have more than {} MiB",
                    MAX_PATHS >> 20
                ));
                break;
            }
            let key = (mapping.device.clone(), mapping.inode);
            let file = files.entry(key).or_default();
            if file.pids.last() != Some(&pid) {
                file.pids.push(pid);
                if file.mappings.len() < MAX_TRIES {
                    paths += mapping.path_len();
                    file.mappings.push((pid, mapping));
                }
            }
        }
    }
    if let Some(error) = shortage {
        let plural = if unread == 1 { "process" } else { "processes" };
        skipped.push(format!("skipped {unread} {plural}: {error:#}"));
    }
    Candidates { files: files.into_values().collect(), foreign, skipped }
}

/// Scans a file; `None` if it has no probes or is not an ELF file.
///
/// # Errors
///
/// Why the file cannot be read.
fn scan_candidate(
    candidate: &Candidate,
    mounts: &Mounts,
    on_warning: &mut dyn FnMut(String),
) -> Result<Option<ScannedObject>, String> {
    let mut reason = None;
    for (pid, mapping) in &candidate.mappings {
        match process::open(*pid, mapping, mounts) {
            Opened::Object(Ok(object)) => {
                let warning = MappedIds::of(*pid).replaced(&object, Some(mapping.start()));
                let mut found = scan_object(object).map_err(|error| format!("{error:#}"))?;
                found.pids = candidate.pids.as_slice().into();
                let has_probes = !found.probes.is_empty();
                warning.filter(|_| has_probes).into_iter().for_each(on_warning);
                return Ok(has_probes.then_some(found));
            }
            Opened::Object(Err(error)) => reason = Some(format!("{error:#}")),
            Opened::Skipped(why) => reason = Some(why.message(mapping.path())),
            Opened::Nothing => {}
        }
    }
    reason.map_or(Ok(None), Err)
}

/// Calls `work` for all items on up to `threads` threads and returns the results in the order of
/// the items.
fn map_in_order<T: Sync, R: Send>(
    items: &[T],
    threads: NonZero<usize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let numbered = items.iter().enumerate().collect();
    parallel::for_each(numbered, threads.get(), SCAN_THREAD, |(at, item)| {
        let result = work(item);
        results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_items() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [1, 2, 7] {
            let doubled = map_in_order(&items, NonZero::new(threads).unwrap(), |n| n * 2);
            assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
        assert_eq!(map_in_order(&[0; 0], NonZero::new(4).unwrap(), |n| *n), [0; 0]);
    }

    #[test]
    fn finds_another_process_if_the_known_one_does_not_map_the_file() {
        let exe = ObjectId::from_path(&std::env::current_exe().unwrap()).unwrap();
        let unused = ObjectId { ino: u64::MAX, ..exe };
        let wanted = HashSet::from([exe, unused]);
        // The first process maps neither file, and no process has the other id.
        for pid in [1, u32::MAX] {
            let mut mapped_by = HashMap::from([(exe, pid), (unused, pid)]);
            assert_eq!(still_mapped(&wanted, &mut mapped_by).unwrap(), HashSet::from([exe]));
            assert_ne!(mapped_by[&exe], pid);
            assert!(!mapped_by.contains_key(&unused));
        }
        let mut mapped_by = HashMap::from([(exe, std::process::id()), (unused, 1)]);
        assert_eq!(still_mapped(&HashSet::from([exe]), &mut mapped_by).unwrap().len(), 1);
        assert_eq!(mapped_by, HashMap::from([(exe, std::process::id())]));
    }
}
