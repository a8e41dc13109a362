//! The inodes that a process maps, as the kernel has them: an iterator over the mappings of a process
//! (`task_vma`, Linux 5.12; of one process since 6.1) returns them, with BTF.
//!
//! A uprobe is attached to an inode. `st_dev` and `st_ino` of a file on overlayfs are those of the
//! overlay, of which each container has its own, and since Linux 6.8 `/proc/PID/maps` shows these,
//! too. What a mapping refers to, and a uprobe with it, is the inode of the layer below: one for all
//! containers of an image.
#![allow(unsafe_code)] // a file is mapped; the mapping is not accessed

use super::btf;
use super::capabilities::{CAP_BPF, Capabilities};
use super::load::load_tracing;
use crate::bpf::asm::{
    Assembler, Cond, Insn, JumpError, R0, R1, R2, R3, R6, R7, R8, R9, R10, Width,
};
use crate::bpf::uapi::BPF_TRACE_ITER;
use crate::bpf::{helper, syscall};
use crate::discover::kernel_inode::{KernelInode, KernelInodes};
use crate::discover::process::executable_start;
use memmap2::MmapOptions;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::OnceLock;

/// The inodes that a process maps.
#[derive(Clone, Debug, Default)]
pub(crate) struct MappedInodes {
    /// The address of the inode of its executable; 0 if there is none. On overlayfs, it is the inode
    /// of the overlay.
    pub(crate) executable: u64,
    /// The mappings of files by their first address, in ascending order.
    mappings: Vec<(u64, KernelInode)>,
}

impl MappedInodes {
    /// Returns the inodes that a process maps; `None` if the kernel cannot list them, or does not
    /// permit it.
    pub(crate) fn of_process(pid: u32) -> Option<MappedInodes> {
        let output = syscall::iterate_task(program()?.as_fd(), pid).ok()?;
        let mut records = Vec::new();
        File::from(output).take(MAX_OUTPUT).read_to_end(&mut records).ok()?;
        let mut out = MappedInodes::default();
        for record in records.as_chunks::<RECORD>().0 {
            let mut words = record.as_chunks::<8>().0.iter().map(|raw| u64::from_ne_bytes(*raw));
            let mut next = || words.next().unwrap_or_default();
            let (start, address, number, device, magic) = (next(), next(), next(), next(), next());
            out.executable = next();
            let device = user_device(device);
            out.mappings.push((start, KernelInode { address, device, number, magic }));
        }
        Some(out)
    }

    /// Returns the inode that is mapped at the first address of a mapping.
    pub(crate) fn at(&self, start: u64) -> Option<KernelInode> {
        let index = self.mappings.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        self.mappings.get(index).map(|(_, inode)| *inode)
    }
}

/// Returns the inode that a uprobe on this file is attached to; `None` if the kernel does not tell.
///
/// Nothing of the file is read.
pub(crate) fn inode_of(file: &File) -> Option<KernelInode> {
    program()?;
    // SAFETY: the memory is not accessed, so that it may change or vanish.
    let mapping = unsafe { MmapOptions::new().len(1).map(file) }.ok()?;
    MappedInodes::of_process(std::process::id())?.at(mapping.as_ptr() as u64)
}

/// How discovery asks the kernel.
pub(crate) const KERNEL_INODES: KernelInodes = KernelInodes {
    of_file: inode_of,
    of_process: |pid| MappedInodes::of_process(pid).map(|inodes| inodes.mappings),
};

/// The executable of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The inode that a uprobe on it is attached to.
    pub(crate) inode: KernelInode,
    /// The address of the inode by which BPF programs know the processes that run it. On overlayfs,
    /// it is another one for each mount.
    pub(crate) address: u64,
}

/// Returns the executable of a process; `None` if the kernel does not tell.
pub(crate) fn executable_of(pid: u32) -> Option<Executable> {
    program()?;
    let start = executable_start(pid)?;
    let inodes = MappedInodes::of_process(pid)?;
    let address = Some(inodes.executable).filter(|address| *address != 0)?;
    Some(Executable { inode: inodes.at(start)?, address })
}

/// The size limit of the output of an iterator in bytes. A process can have 65,530 mappings.
const MAX_OUTPUT: u64 = 8 << 20;
/// The size of a record in bytes.
const RECORD: usize = 48;

/// Converts a `dev_t` of the kernel to one of stat(2).
fn user_device(device: u64) -> u64 {
    /// `MINORBITS` (`include/linux/kdev_t.h`).
    const MINOR_BITS: u32 = 20;
    let (major, minor) = (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1));
    rustix::fs::makedev(major as u32, minor as u32)
}

/// Returns the loaded iterator; `None` if the kernel rejects it.
fn program() -> Option<&'static OwnedFd> {
    static PROGRAM: OnceLock<Option<OwnedFd>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            if !Capabilities::current().has(CAP_BPF) {
                // The kernel would reject it, after all of its types have been read.
                return None;
            }
            let [function] = btf::function_ids(["bpf_iter_task_vma"])?;
            load_tracing(&code().ok()??, BPF_TRACE_ITER, function).ok()
        })
        .as_ref()
}

/// Returns the program: it writes a record for each mapping of a file.
fn code() -> Result<Option<Vec<Insn>>, JumpError> {
    let fields = || {
        // Before Linux 6.1, the iterator cannot be limited to a process.
        btf::field_offsets("bpf_iter_aux_info", ["task"])?;
        let [start, file, mm] =
            btf::field_offsets("vm_area_struct", ["vm_start", "vm_file", "vm_mm"])?;
        let [inode] = btf::field_offsets("file", ["f_inode"])?;
        let [number, superblock] = btf::field_offsets("inode", ["i_ino", "i_sb"])?;
        let [device, magic] = btf::field_offsets("super_block", ["s_dev", "s_magic"])?;
        let [executable] = btf::field_offsets("mm_struct", ["exe_file"])?;
        let all = [start, file, mm, inode, number, superblock, device, magic, executable];
        let mut out = [0i16; 9];
        for (place, offset) in out.iter_mut().zip(all) {
            *place = offset.try_into().ok()?;
        }
        Some(out)
    };
    let Some([start, file, mm, inode, number, superblock, device, magic, executable]) = fields()
    else {
        return Ok(None);
    };
    let mut asm = Assembler::default();
    let done = asm.label();
    // The context: `meta`, `task`, `vma`.
    asm.mov(R6, R1);
    asm.load(Width::Dw, R7, R6, 16);
    asm.jump_if(Cond::Eq, R7, 0, done);
    asm.load(Width::Dw, R8, R7, file);
    asm.jump_if(Cond::Eq, R8, 0, done);
    asm.load(Width::Dw, R8, R8, inode);
    let record = -(RECORD as i16);
    asm.load(Width::Dw, R1, R7, start);
    asm.store(Width::Dw, R10, record, R1);
    asm.store(Width::Dw, R10, record + 8, R8);
    asm.load(Width::Dw, R1, R8, number);
    asm.store(Width::Dw, R10, record + 16, R1);
    asm.load(Width::Dw, R9, R8, superblock);
    asm.load(Width::W, R1, R9, device);
    asm.store(Width::Dw, R10, record + 24, R1);
    asm.load(Width::Dw, R1, R9, magic);
    asm.store(Width::Dw, R10, record + 32, R1);
    asm.load(Width::Dw, R1, R7, mm);
    asm.load(Width::Dw, R1, R1, executable);
    asm.load(Width::Dw, R1, R1, inode);
    asm.store(Width::Dw, R10, record + 40, R1);
    asm.load(Width::Dw, R1, R6, 0);
    asm.load(Width::Dw, R1, R1, 0);
    asm.mov(R2, R10);
    asm.add_imm(R2, record.into());
    asm.mov_imm(R3, RECORD as i32);
    asm.call(helper::SEQ_WRITE);
    asm.place(done);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn returns_the_inode_of_a_file() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let Some(inode) = inode_of(&file) else {
            assert!(program().is_none(), "the program is loaded, but finds nothing");
            return;
        };
        assert_eq!(inode_of(&file.try_clone().unwrap()), Some(inode));
        let metadata = file.metadata().unwrap();
        // Other file systems have numbers of their own in stat(2).
        if [0xef53, 0x0102_1994, 0x5846_5342].contains(&inode.magic) {
            assert_eq!((inode.device, inode.number), (metadata.dev(), metadata.ino()));
        }
        let mapped = MappedInodes::of_process(std::process::id()).unwrap();
        assert!(mapped.mappings.iter().any(|(_, one)| *one == inode), "this executable is mapped");
        let executable = executable_of(std::process::id()).unwrap();
        assert_eq!(executable, Executable { inode, address: mapped.executable });
    }

    #[test]
    fn converts_device_numbers() {
        assert_eq!(user_device(8 << 20 | 1), rustix::fs::makedev(8, 1));
        assert_eq!(user_device(0x12_3456), rustix::fs::makedev(1, 0x2_3456));
    }
}
