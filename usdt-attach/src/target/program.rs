//! The processes that run the file of [`Target::Executable`](super::Target::Executable), and the
//! libraries that they map.
//!
//! Other programs map the same libraries. BPF programs on them therefore compare the inode of the
//! executable of the running process with those that are found here.

use crate::discover::kernel_inode::KernelInode;
use crate::discover::{ObjectId, ScannedObject};
use crate::kernel::mapped_inodes::executable_of;
use std::collections::HashSet;

/// The number of versions of a file, and of mounts of it, that are remembered.
const MAX: usize = 1 << 12;

/// A program whose processes come and go.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The file, with those that replaced it.
    inodes: HashSet<KernelInode>,
    /// The addresses of the inodes by which BPF programs know its processes.
    addresses: Vec<u64>,
    /// The addresses that were not taken yet.
    new_addresses: Vec<u64>,
    /// The processes that were found.
    pub(super) running: HashSet<u32>,
    /// The files that its processes map.
    libraries: HashSet<ObjectId>,
}

impl Program {
    /// Adds a version of the file.
    pub(super) fn add_version(&mut self, scanned: &ScannedObject) {
        if self.inodes.len() < MAX {
            self.inodes.extend(scanned.object.kernel_inode());
        }
    }

    /// Returns true if a process runs the program.
    pub(super) fn is_run_by(&mut self, pid: u32) -> bool {
        let executable = executable_of(pid).filter(|one| self.inodes.contains(&one.inode));
        let Some(executable) = executable else {
            self.running.remove(&pid);
            return false;
        };
        self.running.insert(pid);
        if !self.addresses.contains(&executable.address) && self.addresses.len() < MAX {
            self.addresses.push(executable.address);
            self.new_addresses.push(executable.address);
        }
        true
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
        self.libraries.contains(&id).then(|| self.addresses.clone())
    }

    /// Returns the addresses that are new since the last call.
    pub(super) fn take_addresses(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.new_addresses)
    }
}
