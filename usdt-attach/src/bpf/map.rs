//! A BPF map: what user space reads and writes of it.
#![allow(unsafe_code)] // keys and values are passed by address; their sizes are checked against the map's

use super::memlock::with_room_for_locked_memory;
use super::possible_cpus::possible_cpus;
use super::syscall::{bpf, bpf_fd, number, object_name, pointer};
use super::uapi;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An owned map.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    shape: Shape,
    /// Possible CPUs, where there is a value for each of them; else 1.
    values: usize,
}

/// What a map is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// `BPF_MAP_TYPE_*`
    pub(crate) kind: u32,
    /// Bytes of a key.
    pub(crate) key: u32,
    /// Bytes of a value, of which per-CPU maps have one for each possible CPU.
    pub(crate) value: u32,
    /// Most entries; bytes, where it is a ring buffer.
    pub(crate) entries: u32,
    /// `BPF_F_*`
    pub(crate) flags: u32,
}

impl Map {
    /// Creates a map.
    pub(crate) fn create(name: &CStr, shape: Shape) -> io::Result<Map> {
        let mut attributes = uapi::MapCreate {
            map_type: shape.kind,
            key_size: shape.key,
            value_size: shape.value,
            max_entries: shape.entries,
            map_flags: shape.flags,
            map_name: object_name(name),
            ..uapi::MapCreate::default()
        };
        // SAFETY: there are no pointers.
        let fd = with_room_for_locked_memory(|| unsafe {
            bpf_fd(uapi::BPF_MAP_CREATE, &mut attributes)
        })?;
        Map::with_shape(fd, shape)
    }

    pub(crate) fn with_shape(fd: OwnedFd, shape: Shape) -> io::Result<Map> {
        let values = if is_per_cpu(shape.kind) { possible_cpus()? } else { 1 };
        Ok(Map { fd, shape, values })
    }

    /// What it is made of.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Words between one CPU's value and the next one's in what [`Map::lookup`] reads.
    pub(crate) fn words(&self) -> usize {
        (self.shape.value as usize).div_ceil(8)
    }

    /// Room for what [`Map::lookup`] reads.
    pub(crate) fn buffer(&self) -> Vec<u64> {
        vec![0; self.words() * self.values]
    }

    /// Sets the value of a key. Not for per-CPU maps.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let fits = value.len() == self.shape.value as usize && !is_per_cpu(self.shape.kind);
        self.check(key, fits)?;
        let mut attributes = self.element(key, pointer(value.as_ptr()));
        // SAFETY: key and value have the map's sizes and outlive the call.
        unsafe { bpf(uapi::BPF_MAP_UPDATE_ELEM, &mut attributes).map(drop) }
    }

    /// Reads the value of a key, or of a per-CPU map one for each possible CPU, every one rounded up to 8 bytes; false
    /// where there is no such key.
    pub(crate) fn lookup(&self, key: &[u8], values: &mut [u64]) -> io::Result<bool> {
        self.check(key, values.len() >= self.words() * self.values)?;
        let mut attributes = self.element(key, pointer(values.as_mut_ptr()));
        // SAFETY: the key has the map's key size, the buffer room for what the kernel copies.
        found(unsafe { bpf(uapi::BPF_MAP_LOOKUP_ELEM, &mut attributes) })
    }

    /// Every key of a hash. Those that come or go meanwhile may be among them or not.
    pub(crate) fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        // The walk begins anew where the key that was read last has been removed since; not without end.
        let most = 2 * self.shape.entries as usize;
        let mut out: Vec<Vec<u8>> = Vec::new();
        while out.len() < most {
            let mut next = vec![0u8; self.shape.key as usize];
            let last = out.last().map_or(&[][..], Vec::as_slice);
            let mut attributes = self.element(last, pointer(next.as_mut_ptr()));
            if out.is_empty() {
                // Without a key it is the first one that comes next.
                attributes.key = 0;
            }
            // SAFETY: the keys have the map's key size and outlive the call.
            if !found(unsafe { bpf(uapi::BPF_MAP_GET_NEXT_KEY, &mut attributes) })? {
                break;
            }
            out.push(next);
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    fn element(&self, key: &[u8], value: u64) -> uapi::MapElem {
        uapi::MapElem {
            map_fd: number(self.fd.as_fd()),
            key: pointer(key.as_ptr()),
            value,
            ..uapi::MapElem::default()
        }
    }

    fn check(&self, key: &[u8], value_fits: bool) -> io::Result<()> {
        let fits = key.len() == self.shape.key as usize && value_fits;
        if fits { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_per_cpu(kind: u32) -> bool {
    matches!(
        kind,
        uapi::BPF_MAP_TYPE_PERCPU_ARRAY
            | uapi::BPF_MAP_TYPE_PERCPU_HASH
            | uapi::BPF_MAP_TYPE_LRU_PERCPU_HASH
            | uapi::BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
    )
}

fn found<T>(result: io::Result<T>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
