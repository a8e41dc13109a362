//! The identity of files on overlayfs.
//!
//! `st_dev` and `st_ino` of a file on overlayfs belong to the mount: containers of one image have
//! different ones for the same file. A uprobe is attached to the inode of the layer that has the
//! file, so attaching to two of them would report each hit twice. Only the kernel knows that inode.
//! The interface to the kernel registers how to ask it; without an answer, files on overlayfs are
//! identified by `stat`, as all others are.
//!
//! overlayfs copies a file of a lower layer when it is changed, even by chmod(1). Processes that run
//! it keep the old inode, which no path leads to any more.

use super::ObjectId;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// `OVERLAYFS_SUPER_MAGIC` (`include/uapi/linux/magic.h`).
const OVERLAYFS: u64 = 0x794c_7630;
/// File systems on which device and inode number identify an inode: ext2 to ext4, XFS, tmpfs, ramfs,
/// squashfs, EROFS and F2FS. Subvolumes of others have the same device and numbers.
const NUMBERED: [u64; 7] =
    [0xef53, 0x5846_5342, 0x0102_1994, 0x8584_58f6, 0x7371_7368, 0xe0f5_e1e2, 0xf2f5_2010];

/// An inode as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KernelInode {
    /// The address in the kernel. While a process maps the file or a link is attached to it, no
    /// other inode has the same.
    pub(crate) address: u64,
    /// The device of the superblock, as `st_dev` has it.
    pub(crate) device: u64,
    /// The inode number.
    pub(crate) number: u64,
    /// The type of the file system, as statfs(2) has it.
    pub(crate) magic: u64,
}

impl KernelInode {
    pub(crate) fn id(&self) -> ObjectId {
        let address = if NUMBERED.contains(&self.magic) { 0 } else { self.address };
        ObjectId { dev: self.device, ino: self.number, address }
    }
}

/// The inodes that a process maps, by the first address of the mapping.
pub(crate) type Mappings = Vec<(u64, KernelInode)>;

/// How to ask the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelInodes {
    /// Returns the inode that a uprobe on a file is attached to.
    pub(crate) of_file: fn(&File) -> Option<KernelInode>,
    /// Returns the inodes that a process maps.
    pub(crate) of_process: fn(u32) -> Option<Mappings>,
}

static KERNEL: OnceLock<KernelInodes> = OnceLock::new();
/// True once a file on overlayfs was identified.
static HAS_OVERLAYS: AtomicBool = AtomicBool::new(false);

/// Registers how to ask the kernel. The first call counts.
pub(crate) fn register(kernel: KernelInodes) {
    let _ = KERNEL.set(kernel);
}

/// Returns the identity of a file. `open` opens it for reading.
pub(super) fn identify(
    file: &File,
    metadata: &Metadata,
    open: impl FnOnce() -> Option<File>,
) -> ObjectId {
    on_overlay(file).then(|| (KERNEL.get()?.of_file)(&open()?)).flatten().map_or(
        ObjectId { dev: metadata.dev(), ino: metadata.ino(), address: 0 },
        |inode| {
            HAS_OVERLAYS.store(true, Relaxed);
            inode.id()
        },
    )
}

/// Returns the inode that a uprobe on a file is attached to; `None` if the kernel does not tell.
pub(super) fn kernel_inode_of(file: &File) -> Option<KernelInode> {
    (KERNEL.get()?.of_file)(file)
}

/// Returns true if a file is on overlayfs.
pub(super) fn on_overlay(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type as u64 == OVERLAYFS)
}

/// Returns the identities of the files that a process maps, with the first address of each mapping;
/// `None` if the kernel does not tell, or if no file on overlayfs was identified.
pub(super) fn mapped_ids(pid: u32) -> Option<Vec<(u64, ObjectId)>> {
    if !HAS_OVERLAYS.load(Relaxed) {
        return None;
    }
    let inodes = (KERNEL.get()?.of_process)(pid)?;
    Some(inodes.into_iter().map(|(start, inode)| (start, inode.id())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_counts_where_numbers_are_ambiguous() {
        let inode = |address, magic| KernelInode { address, device: 1, number: 2, magic }.id();
        assert_eq!(inode(10, 0xef53), inode(11, 0xef53));
        const BTRFS: u64 = 0x9123_683e;
        assert_ne!(inode(10, BTRFS), inode(11, BTRFS));
        assert_eq!(inode(10, BTRFS), inode(10, BTRFS));
    }
}
