//! The mapped ring: an MPSC ring of records in the memory of a BPF array map, which the reader
//! maps.
//!
//! # Protocol
//!
//! ```text
//!  0  u64 reserved   bytes reserved and not yet released         64  data: records, each
//!  8  u64 tail       position of the next record; only grows           u64 length, 0 until it is published
//!                                                                      that many bytes
//! ```
//!
//! 1. **Reserve.** A program adds the size of its record to `reserved` atomically. If the ring is
//!    full, it rolls the reservation back and drops the hit.
//! 2. **Take a position.** It adds the size to `tail` atomically; the old value is the position of
//!    its record.
//! 3. **Write and publish.** It writes the record and then stores its length in the header.
//! 4. **Read and release.** The reader decodes records whose length is not 0, sets them to zero,
//!    and subtracts their size from `reserved`.
//!
//! `docs/mapped-ring.md` has the protocol with its invariants, memory ordering and wakeups.
#![allow(unsafe_code)] // memory that BPF programs write to

use super::mapped_memory::{corrupt_length, map_value};
use super::record_reader::RecordReader;
use super::ringbuf::RingBuf;
use crate::bpf::Map;
use crate::bpf::ring_format::{DATA, HEADER, RESERVED, value_size};
use crate::error::Result;
use memmap2::MmapRaw;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of bytes read before they are released. Each release takes the cache line of `reserved`
/// from the programs.
const RELEASE_BATCH: u64 = 1 << 17;

/// The reader of a mapped ring.
#[derive(Debug)]
pub(crate) struct MappedRing {
    memory: Memory,
    /// The wakeup ring: a ring buffer to which a program writes when its record fills the first
    /// half of the mapped ring.
    wakeup: RingBuf,
}

impl MappedRing {
    /// Maps the memory of a ring of `capacity` bytes with records of up to `longest` bytes.
    pub(super) fn new(map: &Map, wakeup: &Map, capacity: u32, longest: u32) -> Result<MappedRing> {
        let map = map_value(map, value_size(capacity, longest))?;
        Ok(MappedRing {
            memory: Memory { map, capacity, longest, head: 0, length: 0, released: 0 },
            wakeup: RingBuf::new(wakeup)?,
        })
    }
}

impl RecordReader for MappedRing {
    fn advance(&mut self) -> Result<bool> {
        if self.memory.advance()? {
            return Ok(true);
        }
        // The wakeup ring is emptied only now, so that its descriptor stays readable while there
        // are records. A notification may have come after the ring was found empty, so look once
        // more.
        if self.wakeup.empty()? { self.memory.advance() } else { Ok(false) }
    }

    fn record(&self) -> &[u8] {
        self.memory.record()
    }

    fn release(&mut self) {
        self.memory.finish_record();
        self.memory.release();
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wakeup.fd()
    }
}

/// The memory of the ring and the position of the reader.
#[derive(Debug)]
struct Memory {
    map: MmapRaw,
    capacity: u32,
    longest: u32,
    /// Position of the current record, or of the next one if there is none; only grows, as `tail`.
    head: u64,
    /// Length of the current record; 0 if there is none.
    length: usize,
    /// Position up to which space has been released.
    released: u64,
}

impl Memory {
    fn advance(&mut self) -> Result<bool> {
        self.finish_record();
        if self.head - self.released >= RELEASE_BATCH {
            self.release();
        }
        match self.published()? {
            Some(length) => self.length = length,
            None => self.release(),
        }
        Ok(self.length > 0)
    }

    fn record(&self) -> &[u8] {
        // SAFETY: `published` has checked that the record is inside the map. Programs do not write
        // to it before it is released, and releasing borrows this object mutably.
        unsafe {
            let header = self.map.as_ptr().add(self.offset());
            std::slice::from_raw_parts(header.add(HEADER as usize), self.length)
        }
    }

    /// Sets the current record to zero and moves past it.
    fn finish_record(&mut self) {
        if self.length == 0 {
            return;
        }
        let whole = HEADER as usize + self.length;
        // SAFETY: the record is inside the map, and programs do not write to it before it is
        // released.
        unsafe { self.map.as_mut_ptr().add(self.offset()).write_bytes(0, whole) };
        self.head += whole as u64;
        self.length = 0;
    }

    /// Returns the offset in the map of the header at `head`.
    fn offset(&self) -> usize {
        DATA as usize + (self.head % u64::from(self.capacity)) as usize
    }

    /// Returns the length of the record at `head`; `None` if it is not published.
    fn published(&self) -> Result<Option<usize>> {
        let length = self.word(self.offset()).load(Ordering::Acquire);
        match length {
            0 => Ok(None),
            _ if length.is_multiple_of(8) && length <= self.longest.into() => {
                Ok(Some(length as usize))
            }
            _ => Err(corrupt_length(length)),
        }
    }

    /// Releases the space up to the head.
    fn release(&mut self) {
        if self.released < self.head {
            self.word(RESERVED as usize).fetch_sub(self.head - self.released, Ordering::Release);
            self.released = self.head;
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: a multiple of 8 inside the map, which is aligned to a page. Programs change the
        // counters atomically and each length once.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::ring_format::TAIL;
    use proptest::prelude::*;
    use std::fs::File;

    const LONGEST: u32 = 240;

    fn memory(file: &File, capacity: u32) -> Memory {
        let bytes = value_size(capacity, LONGEST).unwrap();
        file.set_len(bytes.into()).unwrap();
        Memory {
            map: MmapRaw::map_raw(file).unwrap(),
            capacity,
            longest: LONGEST,
            head: 0,
            length: 0,
            released: 0,
        }
    }

    /// Writes a record as programs do.
    fn write(memory: &Memory, record: &[u8]) -> bool {
        let need = (HEADER as usize + record.len()) as u64;
        let reserved = memory.word(RESERVED as usize);
        if reserved.fetch_add(need, Ordering::AcqRel) + need > memory.capacity.into() {
            reserved.fetch_sub(need, Ordering::AcqRel);
            return false;
        }
        let tail = memory.word(TAIL as usize).fetch_add(need, Ordering::AcqRel);
        let at = DATA as usize + (tail & u64::from(memory.capacity - 8)) as usize;
        assert!(at + need as usize <= memory.map.len());
        for (word, to) in record.chunks_exact(8).zip((at + HEADER as usize..).step_by(8)) {
            let was = memory
                .word(to)
                .swap(u64::from_ne_bytes(word.try_into().unwrap()), Ordering::Relaxed);
            assert_eq!(was, 0, "the reader must have set the space to zero");
        }
        memory.word(at).store(record.len() as u64, Ordering::Release);
        true
    }

    proptest! {
        #[test]
        fn reads_records_in_order_across_the_end(
            turns in proptest::collection::vec((proptest::collection::vec(1..=LONGEST / 8, 0..40), any::<bool>()), 1..20),
        ) {
            let mut memory = memory(&tempfile::tempfile().unwrap(), 4096);
            let (mut inside, mut number) = (std::collections::VecDeque::new(), 0u8);
            for (lengths, read) in turns {
                for words in lengths {
                    number = number.wrapping_add(1);
                    let record = vec![number; words as usize * 8];
                    let room = memory.capacity as usize
                        - inside.iter().map(|r: &Vec<u8>| r.len() + HEADER as usize).sum::<usize>();
                    let fits = record.len() + HEADER as usize <= room;
                    prop_assert_eq!(write(&memory, &record), fits);
                    if fits {
                        inside.push_back(record);
                    }
                }
                if read {
                    let mut seen = std::collections::VecDeque::new();
                    while memory.advance().unwrap() {
                        seen.push_back(memory.record().to_vec());
                    }
                    prop_assert_eq!(&seen, &inside);
                    inside.clear();
                }
            }
        }
    }

    #[test]
    fn reads_what_two_writers_publish_at_once() {
        const EACH: u64 = 50_000;
        let file = tempfile::tempfile().unwrap();
        let mut reader = memory(&file, 1 << 12);
        let mut next = [0, EACH];
        std::thread::scope(|scope| {
            for number in next {
                let shared = memory(&file, 1 << 12);
                scope.spawn(move || {
                    for n in number..number + EACH {
                        let record = n.to_ne_bytes().repeat(1 + n as usize % 30);
                        while !write(&shared, &record) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            while next != [EACH, 2 * EACH] {
                while reader.advance().unwrap() {
                    let record = reader.record();
                    let n = u64::from_ne_bytes(record[..8].try_into().unwrap());
                    assert_eq!(record, n.to_ne_bytes().repeat(1 + n as usize % 30));
                    let writer = &mut next[usize::from(n >= EACH)];
                    assert_eq!(n, *writer);
                    *writer += 1;
                }
            }
        });
        assert_eq!(reader.word(RESERVED as usize).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn rejects_an_invalid_length() {
        for wrong in [4u64, u64::from(LONGEST) + 8, u64::MAX] {
            let mut memory = memory(&tempfile::tempfile().unwrap(), 4096);
            memory.word(DATA as usize).store(wrong, Ordering::Release);
            let error = memory.advance().unwrap_err();
            assert!(error.to_string().contains(&format!("record of {wrong} bytes")), "{error}");
        }
    }
}
