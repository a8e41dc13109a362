//! BPF maps: creating them, and reading and writing their entries.
#![allow(unsafe_code)] // keys and values are passed by address; their sizes are checked against those of the map

use super::cpus::possible_cpus;
use super::memlock::retry_with_raised_memlock;
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
    /// Number of values per key: the number of possible CPUs for per-CPU maps, else 1.
    values: usize,
}

/// The kind and the sizes of a map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// `BPF_MAP_TYPE_*`
    pub(crate) kind: u32,
    /// Size of a key in bytes.
    pub(crate) key: u32,
    /// Size of a value in bytes. Per-CPU maps have one for each possible CPU.
    pub(crate) value: u32,
    /// Number of entries at most; for a ring buffer, its size in bytes.
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
        let fd =
            retry_with_raised_memlock(|| unsafe { bpf_fd(uapi::BPF_MAP_CREATE, &mut attributes) })?;
        Map::with_shape(fd, shape)
    }

    /// Wraps the descriptor of an existing map.
    pub(crate) fn with_shape(fd: OwnedFd, shape: Shape) -> io::Result<Map> {
        let values = if is_per_cpu(shape.kind) { possible_cpus()? } else { 1 };
        Ok(Map { fd, shape, values })
    }

    /// Returns the kind and the sizes of the map.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the number of 64-bit words that one value takes in the buffer of [`Map::lookup`].
    pub(crate) fn words(&self) -> usize {
        (self.shape.value as usize).div_ceil(8)
    }

    /// Returns a buffer for [`Map::lookup`].
    pub(crate) fn buffer(&self) -> Vec<u64> {
        vec![0; self.words() * self.values]
    }

    /// Sets the value of a key. Fails for per-CPU maps and for keys and values of the wrong size.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let fits = value.len() == self.shape.value as usize && !is_per_cpu(self.shape.kind);
        self.check(key, fits)?;
        let mut attributes = self.element(key, pointer(value.as_ptr()));
        // SAFETY: the key and the value have the sizes of the map and outlive the call.
        unsafe { bpf(uapi::BPF_MAP_UPDATE_ELEM, &mut attributes).map(drop) }
    }

    /// Sets the value of a key that exists. Returns false if there is no such key. Fails as
    /// [`Map::update`] does.
    pub(crate) fn replace(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        /// `BPF_EXIST`.
        const EXIST: u64 = 2;
        let fits = value.len() == self.shape.value as usize && !is_per_cpu(self.shape.kind);
        self.check(key, fits)?;
        let mut attributes =
            uapi::MapElem { flags: EXIST, ..self.element(key, pointer(value.as_ptr())) };
        // SAFETY: the key and the value have the sizes of the map and outlive the call.
        was_found(unsafe { bpf(uapi::BPF_MAP_UPDATE_ELEM, &mut attributes) })
    }

    /// Reads the value of a key; for a per-CPU map, one value for each possible CPU. Each value is
    /// rounded up to 8 bytes. Returns false if there is no such key.
    pub(crate) fn lookup(&self, key: &[u8], values: &mut [u64]) -> io::Result<bool> {
        self.check(key, values.len() >= self.words() * self.values)?;
        let mut attributes = self.element(key, pointer(values.as_mut_ptr()));
        // SAFETY: the key has the size of the map's keys, and the buffer has space for all values.
        was_found(unsafe { bpf(uapi::BPF_MAP_LOOKUP_ELEM, &mut attributes) })
    }

    /// Removes a key of a hash. Returns false if there is no such key.
    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<bool> {
        self.check(key, true)?;
        let mut attributes = self.element(key, 0);
        // SAFETY: the key has the size of the map's keys and outlives the call.
        was_found(unsafe { bpf(uapi::BPF_MAP_DELETE_ELEM, &mut attributes) })
    }

    /// Returns all keys of a hash. Keys that are added or removed meanwhile may be missing.
    pub(crate) fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        // The kernel restarts the walk if the last key has been removed meanwhile, so the number of
        // steps is bounded.
        let most = 2 * self.shape.entries as usize;
        let mut out: Vec<Vec<u8>> = Vec::new();
        while out.len() < most {
            let mut next = vec![0u8; self.shape.key as usize];
            let last = out.last().map_or(&[][..], Vec::as_slice);
            let mut attributes = self.element(last, pointer(next.as_mut_ptr()));
            if out.is_empty() {
                // A null pointer requests the first key.
                attributes.key = 0;
            }
            // SAFETY: the keys have the size of the map's keys and outlive the call.
            if !was_found(unsafe { bpf(uapi::BPF_MAP_GET_NEXT_KEY, &mut attributes) })? {
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

/// Maps `ENOENT` to false.
fn was_found<T>(result: io::Result<T>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
