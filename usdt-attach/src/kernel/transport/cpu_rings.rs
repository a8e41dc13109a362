//! Per-CPU rings: a ring of records for each CPU, in the memory of a BPF array map that the reader
//! maps. The reader merges them by time.
//!
//! # Protocol
//!
//! ```text
//!    0  u64 tail      position of the next record; only grows       256  data: records, each
//!    8  u64 pending   time of the record that is being written;          u32 length, u32 session
//!                     1 if it is not known yet; 0 if none                 that many bytes
//!  128  u64 head      position up to which records are read; only grows
//! ```
//!
//! A program cannot be preempted while it writes, so that each ring has one writer at a time. It
//! stores `pending`, the time, the record, and then `tail`. The reader never writes to a cache line
//! to which programs write, and programs never write to that of `head`.
//!
//! # Order
//!
//! The records of a ring are in the order of their times. The reader takes a *snapshot*: it reads the
//! clock, and then `pending` and `tail` of each ring. Every record that is published later has a
//! later time, except for records that were being written, whose times `pending` has. So records up
//! to the *horizon*, the earliest of those times, can be merged.
//!
//! `docs/cpu-rings.md` has the protocol with its memory ordering and bounds.
#![allow(unsafe_code)] // memory that BPF programs write to

use super::mapped_memory::{corrupt_length, map_value};
use super::record_reader::RecordReader;
use super::ringbuf::RingBuf;
use crate::bpf::Map;
use crate::bpf::cpu_ring_format::{CpuRings, DATA, HEAD, PENDING, PENDING_UNKNOWN, TAIL};
use crate::bpf::ring_format::HEADER;
use crate::error::Result;
use crate::kernel::clock::monotonic_nanoseconds;
use crate::plan::record_layout;
use memmap2::MmapRaw;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long after a store other CPUs may not see it, in nanoseconds. Processors need less than a
/// microsecond.
const VISIBILITY_DELAY: u64 = 20_000;
/// How long the records of other CPUs wait for one that is being written, in nanoseconds. Only a
/// hypervisor or a long interrupt can delay a writer that much.
const MAX_WAIT: u64 = 10_000_000;
/// Number of bytes of a ring that are read before they are released, at most.
const RELEASE_BATCH: u64 = 1 << 17;

/// The reader of per-CPU rings.
#[derive(Debug)]
pub(crate) struct CpuRingsReader {
    merger: Merger,
    /// A ring buffer to which a program writes when its record fills the first half of a ring.
    wakeup: RingBuf,
}

/// Merges the records of all rings by time.
#[derive(Debug)]
struct Merger {
    memory: Memory,
    rings: Vec<Ring>,
    /// The time and the ring of the first unread record of each ring that has one in this snapshot.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// The ring of the current record.
    current: Option<usize>,
    /// Records up to this time can be merged.
    horizon: u64,
    /// The time of the last record.
    last_time: u64,
    out_of_order: u64,
    has_writers: bool,
}

/// [`PENDING_UNKNOWN`] as programs store it.
const UNKNOWN_TIME: u64 = PENDING_UNKNOWN as u64;

/// The reader's state of one ring.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    /// Position of the first unread record.
    head: u64,
    /// Length of the first unread record, if it is published as of the snapshot.
    length: usize,
    /// Number of the session that has written it.
    session: u32,
    /// Position up to which records are published, as of the snapshot.
    end: u64,
    /// Position up to which space has been released.
    released: u64,
    /// A record whose time is not known yet is not earlier than this.
    settled: u64,
}

impl CpuRingsReader {
    /// Maps the memory of `rings` with records of up to `longest` bytes. If `is_shared`, their headers
    /// have numbers of sessions.
    pub(super) fn new(
        map: &Map,
        wakeup: &Map,
        rings: CpuRings,
        longest: u32,
        is_shared: bool,
    ) -> Result<CpuRingsReader> {
        let map = map_value(map, rings.value_size())?;
        let memory = Memory { map, rings, longest, is_shared };
        let merger = Merger::new(memory, monotonic_nanoseconds());
        Ok(CpuRingsReader { merger, wakeup: RingBuf::new(wakeup)? })
    }
}

impl CpuRingsReader {
    /// Returns the number of the session that has written the current record.
    pub(super) fn session(&self) -> u32 {
        let current = self.merger.current.and_then(|index| self.merger.rings.get(index));
        current.map_or(0, |ring| ring.session)
    }

    /// Sets whether programs can still write. If not, the reader waits for no record.
    pub(super) fn set_has_writers(&mut self, has_writers: bool) {
        self.merger.has_writers = has_writers;
    }
}

impl Merger {
    fn new(memory: Memory, now: u64) -> Merger {
        let count = memory.rings.count as usize;
        let ring = Ring { settled: now, ..Ring::default() };
        Merger {
            memory,
            rings: vec![ring; count],
            heads: BinaryHeap::with_capacity(count),
            current: None,
            horizon: 0,
            last_time: 0,
            out_of_order: 0,
            has_writers: true,
        }
    }

    /// Moves past the current record.
    fn finish_record(&mut self) -> Result<()> {
        let Some(index) = self.current.take() else { return Ok(()) };
        let Some(ring) = self.rings.get_mut(index) else { return Ok(()) };
        ring.head += ring.length as u64 + HEADER as u64;
        let batch = RELEASE_BATCH.min(u64::from(self.memory.rings.capacity) / 8);
        if ring.head - ring.released >= batch {
            self.memory.release(index, ring);
        }
        self.push_head(index)
    }

    /// Adds the first unread record of a ring to the heads, if it has one in this snapshot.
    fn push_head(&mut self, index: usize) -> Result<()> {
        if let Some(ring) = self.rings.get_mut(index)
            && ring.head < ring.end
        {
            (ring.length, ring.session) = self.memory.header(index, ring)?;
            self.heads.push(Reverse((self.memory.time(index, ring), index)));
        }
        Ok(())
    }

    /// Moves to the first record that is not after the horizon.
    fn next_head(&mut self) -> bool {
        let Some(Reverse((time, index))) = self.heads.peek().copied() else { return false };
        if time > self.horizon {
            return false;
        }
        self.heads.pop();
        if time < self.last_time {
            self.out_of_order += 1;
        }
        self.last_time = self.last_time.max(time);
        self.current = Some(index);
        true
    }

    /// Looks for published records in all rings, and advances the horizon. `now` must have been read
    /// before.
    fn take_snapshot(&mut self, now: u64) -> Result<()> {
        let visible = now.saturating_sub(VISIBILITY_DELAY);
        let mut horizon = if self.has_writers { visible } else { u64::MAX };
        for index in 0..self.rings.len() {
            let Some(ring) = self.rings.get_mut(index) else { break };
            let started = match self.memory.word(index, PENDING).load(Ordering::Acquire) {
                UNKNOWN_TIME => ring.settled,
                time => {
                    ring.settled = visible;
                    if time == 0 { u64::MAX } else { time }
                }
            };
            if self.has_writers && now.saturating_sub(started) < MAX_WAIT {
                horizon = horizon.min(started.saturating_sub(1));
            }
            let was_empty = ring.head == ring.end;
            ring.end = self.memory.word(index, TAIL).load(Ordering::Acquire);
            if was_empty {
                self.push_head(index)?;
            }
        }
        self.horizon = horizon;
        Ok(())
    }

    fn record(&self) -> &[u8] {
        let Some(index) = self.current else { return &[] };
        self.rings.get(index).map_or(&[], |ring| self.memory.record(index, ring))
    }

    /// Releases the space of all records before the current one.
    fn release(&mut self) {
        for (index, ring) in self.rings.iter_mut().enumerate() {
            self.memory.release(index, ring);
        }
    }
}

impl RecordReader for CpuRingsReader {
    fn advance(&mut self) -> Result<bool> {
        self.merger.finish_record()?;
        if self.merger.next_head() {
            return Ok(true);
        }
        self.merger.take_snapshot(monotonic_nanoseconds())?;
        if self.merger.next_head() {
            return Ok(true);
        }
        self.merger.release();
        // The wakeup ring is emptied only now, so that its descriptor stays readable while there
        // are records. A notification may have come since the snapshot, so look once more.
        if self.wakeup.empty()? {
            self.merger.take_snapshot(monotonic_nanoseconds())?;
        }
        Ok(self.merger.next_head())
    }

    fn record(&self) -> &[u8] {
        self.merger.record()
    }

    fn release(&mut self) {
        self.merger.release();
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wakeup.fd()
    }

    fn end_of_writing(&mut self) {
        self.merger.has_writers = false;
    }

    fn out_of_order(&self) -> u64 {
        self.merger.out_of_order
    }

    fn read_up_to(&self) -> u64 {
        self.merger.horizon
    }
}

/// The memory of the rings.
#[derive(Debug)]
struct Memory {
    map: MmapRaw,
    rings: CpuRings,
    longest: u32,
    /// True if several sessions write to the rings.
    is_shared: bool,
}

impl Memory {
    /// Returns the length of the first unread record of a ring, which must be published, and the
    /// number of its session.
    fn header(&self, index: usize, ring: &Ring) -> Result<(usize, u32)> {
        let header = self.data_word(index, ring.head, 0).load(Ordering::Relaxed);
        let (length, session) = match self.is_shared {
            true => (header & u64::from(u32::MAX), (header >> 32) as u32),
            false => (header, 0),
        };
        let is_valid = length.is_multiple_of(8)
            && length > u64::from(record_layout::TIME)
            && length <= self.longest.into()
            && length + HEADER as u64 <= ring.end.saturating_sub(ring.head);
        if is_valid {
            return Ok((length as usize, session));
        }
        Err(corrupt_length(length))
    }

    /// Returns the time of the first unread record of a ring, whose length has been checked.
    fn time(&self, index: usize, ring: &Ring) -> u64 {
        let at = HEADER as u64 + u64::from(record_layout::TIME);
        self.data_word(index, ring.head, at).load(Ordering::Relaxed)
    }

    /// Returns the content of the first unread record of a ring, whose length has been checked.
    fn record(&self, index: usize, ring: &Ring) -> &[u8] {
        let at = self.offset(index, ring.head) + HEADER as usize;
        // SAFETY: `length` has checked that the record is inside the ring. Programs do not write to
        // it before it is released, and releasing borrows the reader mutably.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at), ring.length) }
    }

    /// Releases the space up to the head, but for the current record.
    fn release(&self, index: usize, ring: &mut Ring) {
        if ring.released < ring.head {
            self.word(index, HEAD).store(ring.head, Ordering::Release);
            ring.released = ring.head;
        }
    }

    /// Returns the offset in the map of the header at a position.
    fn offset(&self, index: usize, position: u64) -> usize {
        let within = position % u64::from(self.rings.capacity);
        index * self.rings.stride as usize + DATA as usize + within as usize
    }

    /// Returns a word of the record at a position.
    fn data_word(&self, index: usize, position: u64, at: u64) -> &AtomicU64 {
        self.word_at(self.offset(index, position) + at as usize)
    }

    fn word(&self, index: usize, at: i16) -> &AtomicU64 {
        self.word_at(index * self.rings.stride as usize + at as usize)
    }

    fn word_at(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= self.map.len());
        // SAFETY: a multiple of 8 inside the map, which is aligned to a page: `index` is below the
        // number of rings, and the map's size has been checked. Programs change `tail` and `pending`
        // with single stores.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }
}

#[cfg(test)]
mod tests;
