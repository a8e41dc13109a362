//! Reading a `BPF_MAP_TYPE_RINGBUF`: the consumer's side of the kernel's protocol (`kernel/bpf/ringbuf.c`).
//!
//! ```text
//! page 0    consumer position: where the next record is read, written here
//! page 1    producer position: where the next record will be reserved, read-only
//! page 2…   the data, mapped twice in a row, read-only: no record is cut by the end
//! ```
//!
//! Positions only grow; modulo the size they are offsets in the data. A record is a header of 8 bytes, whose first
//! word is the length with two flags, and the data, rounded up to 8 bytes. A producer reserves a record by moving its
//! position with the busy flag set, and submits it by clearing the flag with release semantics; records behind a busy
//! one wait for it. A discarded record is skipped.
#![allow(unsafe_code)] // memory that the kernel writes to

use super::record_reader::RecordReader;
use crate::bpf::Map;
use crate::bpf::uapi::{
    BPF_MAP_TYPE_RINGBUF, BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ,
};
use crate::error::{Error, ErrorKind, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

/// Bytes of a record's header.
const HEADER: usize = BPF_RINGBUF_HDR_SZ as usize;

/// A reader of one ring buffer, and the only one.
#[derive(Debug)]
pub(crate) struct RingBuf {
    consumer: Consumer<Mapping>,
    /// Becomes readable where there are records and a producer has asked for a wake-up.
    map: OwnedFd,
}

impl RingBuf {
    pub(crate) fn new(map: &Map) -> Result<RingBuf> {
        let failed = |source| Error::io("cannot map the event buffer", source);
        let (page, size) = (rustix::param::page_size(), map.shape().entries as usize);
        if map.shape().kind != BPF_MAP_TYPE_RINGBUF || !size.is_power_of_two() || size < page {
            return Err(failed(std::io::ErrorKind::InvalidInput.into()));
        }
        let map = map.as_fd().try_clone_to_owned().map_err(failed)?;
        let positions = MmapOptions::new().len(page).map_raw(map.as_raw_fd()).map_err(failed)?;
        let mut data = MmapOptions::new();
        let data = data.offset(page as u64).len(page + 2 * size).map_raw_read_only(map.as_raw_fd());
        let memory = Mapping { consumer: positions, producer: data.map_err(failed)?, page };
        Ok(RingBuf { consumer: Consumer::new(memory, size), map })
    }
}

impl RecordReader for RingBuf {
    fn advance(&mut self) -> Result<bool> {
        self.consumer.advance().map_err(|problem| {
            Error::new(ErrorKind::Kernel, format!("the event buffer has {problem}"))
        })
    }

    fn record(&self) -> &[u8] {
        self.consumer.record()
    }

    fn release(&mut self) {
        self.consumer.release();
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// The memory of a ring buffer.
///
/// # Safety
///
/// Twice the buffer's size can be read at `data`, which is aligned to 8 bytes; what is between the consumer's and the
/// producer's position is not written to, once the record's busy flag is clear.
unsafe trait Memory {
    fn consumer(&self) -> &AtomicUsize;
    /// May be read-only: to be loaded with [`Ordering::Relaxed`].
    fn producer(&self) -> &AtomicUsize;
    fn data(&self) -> *const u8;
}

#[derive(Debug)]
struct Mapping {
    consumer: MmapRaw,
    /// Position and data.
    producer: MmapRaw,
    page: usize,
}

// SAFETY: the kernel maps the data twice in a row behind the page of the producer's position.
unsafe impl Memory for Mapping {
    fn consumer(&self) -> &AtomicUsize {
        // SAFETY: the page begins with the position, an `unsigned long`, which nobody else writes to.
        unsafe { &*self.consumer.as_ptr().cast() }
    }

    fn producer(&self) -> &AtomicUsize {
        // SAFETY: likewise; the kernel changes it atomically.
        unsafe { &*self.producer.as_ptr().cast() }
    }

    fn data(&self) -> *const u8 {
        self.producer.as_ptr().wrapping_add(self.page)
    }
}

/// What reads the records of a memory.
#[derive(Debug)]
struct Consumer<M> {
    memory: M,
    /// Bytes of the data, a power of two.
    size: usize,
    /// The consumer's position: where the current record is, or the next one if there is none.
    position: usize,
    /// The producer's position when it was read last.
    end: usize,
    current: Option<Current>,
}

/// The record that is lent, at the consumer's position.
#[derive(Clone, Copy, Debug)]
struct Current {
    length: usize,
    /// With its header, rounded up.
    whole: usize,
}

impl<M: Memory> Consumer<M> {
    fn new(memory: M, size: usize) -> Consumer<M> {
        let position = memory.consumer().load(Ordering::Relaxed);
        Consumer { memory, size, position, end: position, current: None }
    }

    /// Moves to the next record that is not discarded; false if there is none. The error says what there is instead of a
    /// record.
    fn advance(&mut self) -> std::result::Result<bool, String> {
        self.release();
        loop {
            if self.end == self.position {
                self.end = self.memory.producer().load(Ordering::Relaxed);
                // Pairs with the release of the producer's position: the headers up to it, busy flags set, are seen.
                // A load with acquire semantics is not for read-only memory.
                fence(Ordering::Acquire);
                if self.end == self.position {
                    return Ok(false);
                }
            }
            let available = self.end.wrapping_sub(self.position);
            if available > self.size || available < HEADER {
                return Err(format!("{available} bytes, of {}", self.size));
            }
            // SAFETY: inside of the data, as the position is a multiple of 8; the kernel changes it atomically.
            let word = unsafe { &*self.header().cast::<AtomicU32>() }.load(Ordering::Relaxed);
            // Pairs with the release of the busy flag: the record's data is seen.
            fence(Ordering::Acquire);
            if word & BPF_RINGBUF_BUSY_BIT != 0 {
                return Ok(false);
            }
            let length = (word & !BPF_RINGBUF_DISCARD_BIT) as usize;
            let whole = (HEADER + length).next_multiple_of(8);
            if whole > available {
                return Err(format!("a record of {length} bytes"));
            }
            self.current = Some(Current { length, whole });
            if word & BPF_RINGBUF_DISCARD_BIT == 0 {
                return Ok(true);
            }
            self.release();
        }
    }

    fn record(&self) -> &[u8] {
        let Some(current) = self.current else { return &[] };
        // SAFETY: the record ends before the producer's position, and so inside of the second copy of the data at most.
        // The kernel does not write to it before the consumer's position has moved past it, for which this object is
        // borrowed mutably.
        unsafe { std::slice::from_raw_parts(self.header().wrapping_add(HEADER), current.length) }
    }

    /// Moves past the current record.
    fn release(&mut self) {
        if let Some(current) = self.current.take() {
            self.position = self.position.wrapping_add(current.whole);
            // The producers may write there once they see it: what was read must have been read by then.
            self.memory.consumer().store(self.position, Ordering::Release);
        }
    }

    fn header(&self) -> *const u8 {
        self.memory.data().wrapping_add(self.position & (self.size - 1))
    }
}

#[cfg(test)]
mod tests;
