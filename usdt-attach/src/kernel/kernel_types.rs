//! The file with the type information (BTF) of the running kernel.
//!
//! `read` copies a page per call, so that a search through it takes a thousand calls. Since Linux 6.16
//! the file can be mapped (`btf_sysfs_vmlinux_mmap` in `kernel/bpf/sysfs_btf.c`), which makes a search
//! almost twice as fast.
#![allow(unsafe_code)] // the mapping

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

/// The file, since Linux 5.4 with `CONFIG_DEBUG_INFO_BTF`.
const PATH: &str = "/sys/kernel/btf/vmlinux";

/// The opened file.
pub(super) struct KernelTypes {
    file: File,
    mapping: Option<Mmap>,
}

impl KernelTypes {
    pub(super) fn open() -> io::Result<KernelTypes> {
        let file = File::open(PATH)?;
        let mapping = map(&file);
        Ok(KernelTypes { file, mapping })
    }

    /// Reads at an offset, possibly less than requested.
    pub(super) fn read_at(&self, at: u64, to: &mut [u8]) -> io::Result<usize> {
        let Some(mapping) = &self.mapping else { return self.file.read_at(to, at) };
        read_bytes_at(mapping, at, to)
    }
}

/// Reads from memory like [`KernelTypes::read_at`].
pub(super) fn read_bytes_at(bytes: &[u8], at: u64, to: &mut [u8]) -> io::Result<usize> {
    let mut rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    rest.read(to)
}

/// Returns `None` if the kernel does not permit it.
fn map(file: &File) -> Option<Mmap> {
    let size = usize::try_from(file.metadata().ok()?.len()).ok()?;
    // SAFETY: nobody writes to the file or truncates it: it is read-only data of the kernel.
    unsafe { MmapOptions::new().len(size).map_copy_read_only(file) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_same_with_and_without_a_mapping() {
        let Ok(mut kernel) = KernelTypes::open() else { return };
        let size = kernel.file.metadata().unwrap().len();
        let read = |kernel: &KernelTypes, at: u64| {
            let mut bytes = [0; 4096];
            let size = kernel.read_at(at, &mut bytes).unwrap();
            bytes[..size].to_vec()
        };
        let places = [0, 4096, size / 2, size - 10, size, size + 10];
        let first = places.map(|at| read(&kernel, at));
        assert_eq!((first[3].len(), first[4].len()), (10, 0));
        kernel.mapping = None;
        assert_eq!(places.map(|at| read(&kernel, at)), first);
    }
}
