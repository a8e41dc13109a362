//! Reading perf buffers, one for each CPU, on kernels without the ring buffer.
#![allow(unsafe_code)] // libbpf's perf-buffer reader calls back through a raw pointer

use crate::error::{Error, Result};
use crate::kernel::context::Context;
use crate::kernel::maps::{page, possible_cpus};
use crate::plan::record_layout;
use libbpf_sys as bpf;
use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// How old a record is when it is handed over: those that other CPUs began before it have arrived by then.
const SETTLED_NS: u64 = 1_000_000;

/// Bytes in front of a sample's data: its size.
const SIZE_FIELD: usize = 4;

/// A reader of one `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
pub(super) struct PerfBuffer {
    reader: NonNull<bpf::perf_buffer>,
    /// What the callback fills.
    arrived: Context<Vec<Record>>,
    /// Records that were too young, in order.
    waiting: Vec<Record>,
    _map: OwnedFd,
}

/// A record and its time.
type Record = (u64, Box<[u8]>);

impl PerfBuffer {
    /// Shares so many bytes among the CPUs.
    pub(super) fn new(map: OwnedFd, bytes: u32) -> Result<PerfBuffer> {
        use std::os::fd::AsRawFd as _;
        let cpus = possible_cpus()?.max(1) as u32;
        let page = page();
        let pages = (bytes / cpus / page).max(1);
        // A power of two, as the kernel wants it.
        let pages = 1 << pages.ilog2();
        let mut attributes = bpf::perf_event_attr {
            type_: bpf::PERF_TYPE_SOFTWARE,
            size: size_of::<bpf::perf_event_attr>() as u32,
            config: bpf::PERF_COUNT_SW_BPF_OUTPUT.into(),
            sample_type: bpf::PERF_SAMPLE_RAW.into(),
            ..Default::default()
        };
        attributes.__bindgen_anon_1.sample_period = 1;
        // As with the ring buffer, the reader comes by himself and is called at the half.
        attributes.set_watermark(1);
        attributes.__bindgen_anon_2.wakeup_watermark = pages * page / 2;
        let arrived = Context::<Vec<Record>>::default();
        // SAFETY: the attributes are copied; the records live until `drop`, which frees the reader first.
        let reader = unsafe {
            bpf::perf_buffer__new_raw(
                map.as_raw_fd(),
                pages.into(),
                &raw mut attributes,
                Some(on_event),
                arrived.as_ptr().cast::<c_void>(),
                std::ptr::null(),
            )
        };
        let reader = NonNull::new(reader).ok_or_else(|| Error::last_os("cannot map the perf buffers"))?;
        Ok(PerfBuffer { reader, arrived, waiting: Vec::new(), _map: map })
    }
}

impl super::RecordReader for PerfBuffer {
    fn consume(&mut self, last: bool, sink: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let settled = if last { u64::MAX } else { now.saturating_sub(SETTLED_NS) };
        // SAFETY: the reader is alive.
        let code = unsafe { bpf::perf_buffer__consume(self.reader.as_ptr()) };
        if code < 0 {
            return Err(Error::errno("cannot read the perf buffers", code));
        }
        // SAFETY: the callback writes to it during the call above alone.
        self.waiting.append(unsafe { &mut *self.arrived.as_ptr() });
        self.waiting.sort_by_key(|(time, _)| *time);
        let ready = self.waiting.partition_point(|(time, _)| *time <= settled);
        for (_, record) in self.waiting.drain(..ready) {
            sink(&record);
        }
        Ok(false)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the reader keeps its epoll descriptor open as long as it lives, and lives as long as `self`.
        unsafe { BorrowedFd::borrow_raw(bpf::perf_buffer__epoll_fd(self.reader.as_ptr())) }
    }
}

impl Drop for PerfBuffer {
    fn drop(&mut self) {
        // SAFETY: created by `perf_buffer__new_raw`, freed once; the records are still there.
        unsafe { bpf::perf_buffer__free(self.reader.as_ptr()) };
    }
}

/// Keeps samples. Notices of lost ones are not needed: the program is told of each, and counts it.
unsafe extern "C" fn on_event(
    context: *mut c_void,
    _cpu: c_int,
    event: *mut bpf::perf_event_header,
) -> bpf::bpf_perf_event_ret {
    // SAFETY: libbpf passes a whole event, and the context given to `perf_buffer__new_raw`, on the thread that
    // consumes.
    let (arrived, header, bytes) = unsafe {
        let header = *event;
        let bytes = std::slice::from_raw_parts(event.cast::<u8>(), header.size.into());
        (&mut *context.cast::<Vec<Record>>(), header, bytes)
    };
    if header.type_ == bpf::PERF_RECORD_SAMPLE {
        // Its size and its data, which ends in padding: records are of whole words, the sample is with its size.
        let data = bytes.get(size_of::<bpf::perf_event_header>() + SIZE_FIELD..).unwrap_or_default();
        let record = data.get(..data.len() / 8 * 8).unwrap_or_default();
        let time = record.get(record_layout::TIME as usize..).and_then(|rest| rest.first_chunk::<8>());
        if let Some(time) = time {
            arrived.push((u64::from_ne_bytes(*time), Box::from(record)));
        }
    }
    bpf::LIBBPF_PERF_EVENT_CONT
}
