//! Reading the event buffer.
#![allow(unsafe_code)] // libbpf's ring-buffer reader calls back through a raw pointer

use crate::error::{Error, Result};
use crate::kernel::context::Context;
use libbpf_sys as bpf;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// A reader of one `BPF_MAP_TYPE_RINGBUF`.
pub(crate) struct RingBuf {
    reader: NonNull<bpf::ring_buffer>,
    /// Where the callback finds its closure.
    slot: Context<Slot>,
    /// Keeps the map alive as long as the reader.
    map: OwnedFd,
}

/// What takes the records.
type Sink = dyn FnMut(&[u8]);

#[derive(Default)]
struct Slot {
    sink: Option<*mut Sink>,
}

/// Most records read before the caller gets to look at signals again.
const BATCH: u64 = 8192;

impl RingBuf {
    pub(crate) fn new(map: OwnedFd) -> Result<RingBuf> {
        let slot = Context::<Slot>::default();
        // SAFETY: the slot lives until `drop`, which frees the reader first.
        let reader = unsafe {
            bpf::ring_buffer__new(
                map.as_raw_fd(),
                Some(on_record),
                slot.as_ptr().cast::<c_void>(),
                std::ptr::null(),
            )
        };
        let reader = NonNull::new(reader).ok_or_else(|| Error::last_os("cannot map the event buffer"))?;
        Ok(RingBuf { reader, slot, map })
    }
}

impl super::RecordReader for RingBuf {
    fn consume(&mut self, _last: bool, sink: &mut dyn FnMut(&[u8])) -> Result<bool> {
        // SAFETY: only the lifetime changes; the pointer is used by `on_record` during the call below alone and
        // taken back before this function returns. Nobody else touches the slot: `self` is borrowed.
        unsafe {
            (*self.slot.as_ptr()).sink =
                Some(std::mem::transmute::<*mut (dyn FnMut(&[u8]) + '_), *mut Sink>(sink));
        }
        // SAFETY: the reader is alive.
        let count = unsafe { bpf::ring_buffer__consume_n(self.reader.as_ptr(), BATCH) };
        // SAFETY: as above.
        unsafe { (*self.slot.as_ptr()).sink = None };
        match u64::try_from(count) {
            Ok(count) => Ok(count >= BATCH),
            Err(_) => Err(Error::errno("cannot read the event buffer", count)),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl Drop for RingBuf {
    fn drop(&mut self) {
        // SAFETY: created by `ring_buffer__new`, freed once; the slot is still there.
        unsafe { bpf::ring_buffer__free(self.reader.as_ptr()) };
    }
}

unsafe extern "C" fn on_record(context: *mut c_void, data: *mut c_void, size: bpf::size_t) -> c_int {
    // SAFETY: the context is the slot given to `ring_buffer__new`; libbpf calls on the thread that consumes.
    let sink = unsafe { (*context.cast::<Slot>()).sink };
    if let Some(sink) = sink {
        // SAFETY: libbpf passes `size` readable bytes; the sink is the one that `consume` set for this call. A
        // panic in it cannot unwind through C: `extern "C"` aborts, and the sinks here do not panic.
        unsafe { (*sink)(std::slice::from_raw_parts(data.cast::<u8>(), size as usize)) };
    }
    0
}
