//! The processes that run the file of [`Target::Executable`](super::Target::Executable), and the
//! libraries that they map.
//!
//! Other programs map the same libraries. BPF programs on them therefore compare the inode of the
//! executable of the running process with those that are found here.
//!
//! # Identity
//!
//! BPF programs know an inode by its address, which the kernel uses again for another one when the
//! inode is freed. It is not as long as a process runs the executable. The current version of the
//! file is kept by a descriptor, so that its next process is known from its first instruction.
//! Other versions, and the same file on other mounts, are forgotten within a second of their last
//! process.

use crate::discover::kernel_inode::KernelInode;
use crate::discover::{ObjectId, ScannedObject, is_process_alive};
use crate::kernel::mapped_inodes::{Executable, executable_of};
use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The number of versions of a file, and of mounts of it, that are remembered.
const MAX: usize = 1 << 12;

/// Device and inode number as stat(2) has them.
type StatId = (u64, u64);

/// A version of a file that its path leads to.
#[derive(Debug)]
struct CurrentVersion {
    inode: KernelInode,
    stat_id: StatId,
    /// Keeps the inode in the kernel, so that no other one gets its address.
    _file: File,
}

/// A program whose processes come and go.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The current version by the path of the file.
    current: HashMap<PathBuf, CurrentVersion>,
    /// The inodes of the file and of versions that were replaced.
    inodes: HashSet<KernelInode>,
    /// The addresses of the inodes by which BPF programs know its processes, and what stat(2) says
    /// about them.
    addresses: HashMap<u64, StatId>,
    changes: ExecutableChanges,
    /// The processes that were found, with what they run.
    running: HashMap<u32, Executable>,
    /// The files that its processes map.
    libraries: HashSet<ObjectId>,
}

/// How the executables to which sessions are limited have changed, by the addresses of their inodes
/// in the kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExecutableChanges {
    /// Those whose processes are traced from now on.
    pub(crate) added: Vec<u64>,
    /// Those that no process runs any more.
    pub(crate) removed: Vec<u64>,
}

impl Program {
    /// Adds a version of the file, which replaces the one that its path led to.
    pub(super) fn add_version(&mut self, scanned: &ScannedObject) {
        let Some(inode) = scanned.object.kernel_inode() else { return };
        if self.inodes.len() >= MAX {
            return;
        }
        self.inodes.insert(inode);
        let file = scanned.object.pin();
        let version = file.and_then(|file| {
            Ok(CurrentVersion { inode, stat_id: stat_id(&file.metadata()?), _file: file })
        });
        match version {
            Ok(version) => drop(self.current.insert(scanned.object.path.clone(), version)),
            // Without descriptors, its processes keep it.
            Err(_) => drop(self.current.remove(&scanned.object.path)),
        }
    }

    /// Returns true if a process runs the program.
    pub(super) fn is_run_by(&mut self, pid: u32) -> bool {
        let Some(executable) = executable_of(pid) else {
            // Without descriptors, the kernel does not tell.
            return self.running.contains_key(&pid) && is_process_alive(pid);
        };
        if !self.inodes.contains(&executable.inode) {
            self.running.remove(&pid);
            return false;
        }
        self.running.insert(pid, executable);
        let address = executable.address;
        if !self.addresses.contains_key(&address) && self.addresses.len() < MAX {
            let exe = std::fs::metadata(format!("/proc/{pid}/exe"));
            self.addresses.insert(address, exe.map_or((0, 0), |exe| stat_id(&exe)));
            self.changes.add(address);
        }
        true
    }

    /// The processes that run the program, as far as they were reported.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.running.keys().copied().collect()
    }

    /// Forgets processes that have ended.
    pub(super) fn retain_running(&mut self) {
        self.running.retain(|pid, _| is_process_alive(*pid));
    }

    /// Returns true if there is an inode that may be freed: all processes that are known to run it
    /// have ended, and it is not the current version.
    pub(super) fn has_stale(&mut self) -> bool {
        self.retain_running();
        self.addresses.iter().any(|(address, stat_id)| self.is_stale(*address, *stat_id))
    }

    /// Forgets inodes that no process runs, except for the current versions. All processes must have
    /// been looked at since [`Program::retain_running`].
    pub(super) fn forget_stale(&mut self) {
        let stale = self.addresses.iter().filter(|(address, id)| self.is_stale(**address, **id));
        for address in stale.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.addresses.remove(&address);
            self.changes.remove(address);
        }
        let (current, running) = (&self.current, &self.running);
        self.inodes.retain(|inode| {
            current.values().any(|version| version.inode == *inode)
                || running.values().any(|executable| executable.inode == *inode)
        });
    }

    fn is_stale(&self, address: u64, stat_id: StatId) -> bool {
        self.running.values().all(|executable| executable.address != address)
            && self.current.values().all(|version| version.stat_id != stat_id)
    }

    /// Returns true if an object is the file itself.
    pub(super) fn is_version(&self, scanned: &ScannedObject) -> bool {
        scanned.object.kernel_inode().is_some_and(|inode| self.inodes.contains(&inode))
    }

    pub(super) fn add_library(&mut self, id: ObjectId) {
        self.libraries.insert(id);
    }

    /// Returns the addresses to which tracing a file is limited; `None` for the program itself.
    pub(super) fn limit(&self, id: ObjectId) -> Option<Vec<u64>> {
        self.libraries.contains(&id).then(|| self.addresses.keys().copied().collect())
    }

    /// Returns the changes since the last call.
    pub(super) fn take_changes(&mut self) -> ExecutableChanges {
        std::mem::take(&mut self.changes)
    }
}

impl ExecutableChanges {
    fn add(&mut self, address: u64) {
        self.removed.retain(|one| *one != address);
        self.added.push(address);
    }

    fn remove(&mut self, address: u64) {
        self.added.retain(|one| *one != address);
        self.removed.push(address);
    }
}

fn stat_id(metadata: &Metadata) -> StatId {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::{kernel_inode, scan_file};
    use crate::kernel::mapped_inodes::KERNEL_INODES;
    use std::path::Path;
    use std::process::{Child, Command};

    /// Replaces `place` by a copy of sleep(1), as an upgrade does.
    fn install(place: &Path) -> ScannedObject {
        let new = place.with_extension("new");
        std::fs::copy("/bin/sleep", &new).unwrap();
        std::fs::rename(&new, place).unwrap();
        scan_file(place).unwrap()
    }

    fn start(program: &Path) -> Child {
        Command::new(program).arg("60").spawn().unwrap()
    }

    /// Waits until the kernel reports that a process, which has just started, runs the program.
    fn wait_until_run_by(program: &mut Program, child: &Child) {
        for _ in 0..500 {
            if program.is_run_by(child.id()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the process does not run the program");
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn forgets_a_replaced_version_with_its_last_process() {
        kernel_inode::register(KERNEL_INODES);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app");
        let first = install(&path);
        if first.object.kernel_inode().is_none() {
            return;
        }
        let mut program = Program::default();
        program.add_version(&first);
        let child = start(&path);
        wait_until_run_by(&mut program, &child);
        let changes = program.take_changes();
        let [address] = changes.added[..] else { panic!("{changes:?}") };
        end(child);
        assert!(!program.has_stale(), "the next process runs the same inode");
        program.forget_stale();
        assert_eq!(program.take_changes(), ExecutableChanges::default());

        let child = start(&path);
        wait_until_run_by(&mut program, &child);
        program.add_version(&install(&path));
        assert!(!program.has_stale(), "a process runs the old version");
        end(child);
        assert!(program.has_stale());
        program.forget_stale();
        let removed = ExecutableChanges { added: Vec::new(), removed: vec![address] };
        assert_eq!(program.take_changes(), removed);
        assert!(!program.is_version(&first), "another file may get its inode");
    }

    #[test]
    fn an_address_is_either_added_or_removed() {
        let mut changes = ExecutableChanges::default();
        changes.add(1);
        changes.remove(1);
        assert_eq!(changes, ExecutableChanges { added: vec![], removed: vec![1] });
        changes.add(1);
        assert_eq!(changes, ExecutableChanges { added: vec![1], removed: vec![] });
    }
}
