//! The kernel's BPF ring buffer, `BPF_MAP_TYPE_RINGBUF`: the consumer side of its protocol
//! (`kernel/bpf/ringbuf.c`).
//!
//! # Memory layout
//!
//! ```text
//! page 0    consumer position: where the next record is read; the consumer writes it
//! page 1    producer position: where the next record will be reserved; read-only
//! page 2…   the data, mapped twice in a row and read-only, so that every record is contiguous
//! ```
//!
//! # Protocol
//!
//! Positions only grow; modulo the size they are offsets in the data. A record is a header of 8
//! bytes and the content, rounded up to 8 bytes. The first word of the header is the length with
//! two flags, *busy* and *discarded*.
//!
//! A producer reserves a record by setting the busy flag and moving the producer position. It
//! submits the record by clearing the flag with release semantics. A busy record blocks the records
//! after it. The consumer skips discarded records.
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

/// Size of a record's header in bytes.
const HEADER: usize = BPF_RINGBUF_HDR_SZ as usize;

/// The reader of a ring buffer. A ring buffer has one reader.
#[derive(Debug)]
pub(crate) struct RingBuf {
    consumer: Consumer<Mapping>,
    /// The map; its descriptor becomes readable when a producer requests a wakeup.
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

    /// Discards all records; returns true if there was one.
    pub(super) fn empty(&mut self) -> Result<bool> {
        let mut had_record = false;
        while self.advance()? {
            had_record = true;
        }
        Ok(had_record)
    }
}

impl RecordReader for RingBuf {
    fn advance(&mut self) -> Result<bool> {
        self.consumer.advance().map_err(|problem| {
            Error::new(ErrorKind::Kernel, format!("the event buffer is corrupt: {problem}"))
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
/// Twice the size of the buffer can be read at `data`, which is aligned to 8 bytes. A record
/// between the consumer position and the producer position is not written to once its busy flag is
/// clear.
unsafe trait Memory {
    fn consumer(&self) -> &AtomicUsize;
    /// May be in read-only memory, so it must be loaded with [`Ordering::Relaxed`].
    fn producer(&self) -> &AtomicUsize;
    fn data(&self) -> *const u8;
}

#[derive(Debug)]
struct Mapping {
    consumer: MmapRaw,
    /// The producer position and the data.
    producer: MmapRaw,
    page: usize,
}

// SAFETY: the kernel maps the data twice in a row, after the page with the producer position.
unsafe impl Memory for Mapping {
    fn consumer(&self) -> &AtomicUsize {
        // SAFETY: the page begins with the position, an `unsigned long`, which only this process
        // writes.
        unsafe { &*self.consumer.as_ptr().cast() }
    }

    fn producer(&self) -> &AtomicUsize {
        // SAFETY: the page begins with the position, which the kernel changes atomically.
        unsafe { &*self.producer.as_ptr().cast() }
    }

    fn data(&self) -> *const u8 {
        self.producer.as_ptr().wrapping_add(self.page)
    }
}

/// The consumer of the records in a memory.
#[derive(Debug)]
struct Consumer<M> {
    memory: M,
    /// Size of the data in bytes, a power of two.
    size: usize,
    /// The consumer position: that of the current record, or of the next one if there is none.
    position: usize,
    /// The producer position when it was last read.
    end: usize,
    current: Option<Current>,
}

/// The record that is lent, at the consumer position.
#[derive(Clone, Copy, Debug)]
struct Current {
    /// Length of the content in bytes.
    length: usize,
    /// Size in bytes including the header, rounded up to 8.
    size: usize,
}

impl<M: Memory> Consumer<M> {
    fn new(memory: M, size: usize) -> Consumer<M> {
        let position = memory.consumer().load(Ordering::Relaxed);
        Consumer { memory, size, position, end: position, current: None }
    }

    /// Moves to the next record that is not discarded; returns false if there is none. The error
    /// describes an invalid record.
    fn advance(&mut self) -> std::result::Result<bool, String> {
        self.release();
        loop {
            if self.end == self.position {
                self.end = self.memory.producer().load(Ordering::Relaxed);
                // Pairs with the release store of the producer position: all headers before it are
                // visible, with their busy flags set. It is a fence because acquire loads are not
                // allowed in read-only memory.
                fence(Ordering::Acquire);
                if self.end == self.position {
                    return Ok(false);
                }
            }
            let available = self.end.wrapping_sub(self.position);
            if available > self.size || available < HEADER {
                return Err(format!("{available} bytes in a buffer of {}", self.size));
            }
            // SAFETY: the header is inside the data, because positions are multiples of 8. The
            // kernel changes it atomically.
            let word = unsafe { &*self.header().cast::<AtomicU32>() }.load(Ordering::Relaxed);
            // Pairs with the release store that clears the busy flag: the content is visible.
            fence(Ordering::Acquire);
            if word & BPF_RINGBUF_BUSY_BIT != 0 {
                return Ok(false);
            }
            let length = (word & !BPF_RINGBUF_DISCARD_BIT) as usize;
            let size = (HEADER + length).next_multiple_of(8);
            if size > available {
                return Err(format!("record of {length} bytes"));
            }
            self.current = Some(Current { length, size });
            if word & BPF_RINGBUF_DISCARD_BIT == 0 {
                return Ok(true);
            }
            self.release();
        }
    }

    fn record(&self) -> &[u8] {
        let Some(current) = self.current else { return &[] };
        // SAFETY: the record ends before the producer position, and so inside the second copy of
        // the data at the latest. The kernel does not write to it before the consumer position has
        // moved past it, which borrows this object mutably.
        unsafe { std::slice::from_raw_parts(self.header().wrapping_add(HEADER), current.length) }
    }

    /// Moves past the current record and releases its space.
    fn release(&mut self) {
        if let Some(current) = self.current.take() {
            self.position = self.position.wrapping_add(current.size);
            // Release, because producers may overwrite the record as soon as they see the new
            // position.
            self.memory.consumer().store(self.position, Ordering::Release);
        }
    }

    fn header(&self) -> *const u8 {
        self.memory.data().wrapping_add(self.position & (self.size - 1))
    }
}

#[cfg(test)]
mod tests;
