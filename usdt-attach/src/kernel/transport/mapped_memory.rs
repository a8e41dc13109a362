//! The memory of transports whose records BPF programs write into a mapped array map.

use crate::bpf::Map;
use crate::error::{Error, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsFd as _, AsRawFd as _};

/// Maps the value of an array map. `bytes` is the size that the transport needs; `None` if that is
/// invalid.
pub(super) fn map_value(map: &Map, bytes: Option<u32>) -> Result<MmapRaw> {
    let failed = |source| Error::io("cannot map the event buffer", source);
    let bytes = bytes.filter(|bytes| *bytes == map.shape().value);
    let bytes = bytes.ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
    MmapOptions::new().len(bytes as usize).map_raw(map.as_fd().as_raw_fd()).map_err(failed)
}

/// The error for a record whose length no program writes.
pub(super) fn corrupt_length(length: u64) -> Error {
    Error::unsupported(format!("the event buffer is corrupt: record of {length} bytes"))
}
