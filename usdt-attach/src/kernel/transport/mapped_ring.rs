//! The mapped ring: records in the memory of an array map, which programs write in line and the reader maps.
//!
//! ```text
//!  0  u64 reserved   bytes from the first unread record on        64  data: records, each
//!  8  u64 tail       where the next record goes, ever growing           u64 length, 0 until it is published
//!                                                                       that many bytes
//! ```
//!
//! A program reserves space by adding to `reserved`, rolls that back where there was not enough, and else moves the
//! tail: two atomic additions. It writes its record and publishes it by storing the length. The reader copies what is
//! published, zeroes it, and releases the space by subtracting from `reserved`. `docs/mapped-ring.md` has the
//! protocol with its invariants and memory ordering.
#![allow(unsafe_code)] // memory that BPF programs write to

use super::record_reader::RecordReader;
use super::ringbuf::RingBuf;
use crate::bpf::Map;
use crate::bpf::ring_format::{DATA, HEADER, RESERVED, value_size};
use crate::error::{Error, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are released at once: each release takes the cache line of `reserved` from the programs.
const RELEASE_BATCH: u64 = 1 << 17;

/// The reader.
#[derive(Debug)]
pub(crate) struct MappedRing {
    memory: Memory,
    /// The ring buffer to which a program writes when it has reserved the first half.
    wakeup: RingBuf,
}

impl MappedRing {
    /// Of a map with the value size for these sizes, and its wakeup ring.
    pub(super) fn new(map: &Map, wakeup: &Map, capacity: u32, longest: u32) -> Result<MappedRing> {
        let failed = |source| Error::io("cannot map the event buffer", source);
        let bytes = value_size(capacity, longest).filter(|bytes| *bytes == map.shape().value);
        let bytes = bytes.ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
        let map = MmapOptions::new()
            .len(bytes as usize)
            .map_raw(map.as_fd().as_raw_fd())
            .map_err(failed)?;
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
        // The wakeup ring stays readable while there is more, for those who wait for it alone.
        let mut notified = false;
        while self.wakeup.advance()? {
            notified = true;
        }
        // That may have been since there was nothing left.
        if notified { self.memory.advance() } else { Ok(false) }
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

/// The map's value, and how far it is read.
#[derive(Debug)]
struct Memory {
    map: MmapRaw,
    capacity: u32,
    longest: u32,
    /// Where the current record is, or the next one if there is none: ever growing, as the tail.
    head: u64,
    /// Length of the current record; 0 if there is none.
    length: usize,
    /// The head up to which space is released.
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
        // SAFETY: `published` has made sure that the record is inside of the map. Programs do not write to it until it is
        // released, for which this object is borrowed mutably.
        unsafe {
            let header = self.map.as_ptr().add(self.offset());
            std::slice::from_raw_parts(header.add(HEADER as usize), self.length)
        }
    }

    /// Leaves zeros where the current record is, and moves past it.
    fn finish_record(&mut self) {
        if self.length == 0 {
            return;
        }
        let whole = HEADER as usize + self.length;
        // SAFETY: inside of the map, as the record is; programs do not write there until it is released.
        unsafe { self.map.as_mut_ptr().add(self.offset()).write_bytes(0, whole) };
        self.head += whole as u64;
        self.length = 0;
    }

    /// Where the next record's length is.
    fn offset(&self) -> usize {
        DATA as usize + (self.head % u64::from(self.capacity)) as usize
    }

    /// The length of the next record, where it is published.
    fn published(&self) -> Result<Option<usize>> {
        let length = self.word(self.offset()).load(Ordering::Acquire);
        match length {
            0 => Ok(None),
            _ if length.is_multiple_of(8) && length <= self.longest.into() => {
                Ok(Some(length as usize))
            }
            _ => {
                Err(Error::unsupported(format!("the event buffer has a record of {length} bytes")))
            }
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
        // SAFETY: a multiple of 8 inside of the map, which begins with a page; programs change it atomically or, where
        // it is a length, once.
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

    /// What programs do, instruction by instruction.
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
            assert_eq!(was, 0, "something of an older record is left");
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
    fn rejects_a_length_that_cannot_be() {
        for wrong in [4u64, u64::from(LONGEST) + 8, u64::MAX] {
            let mut memory = memory(&tempfile::tempfile().unwrap(), 4096);
            memory.word(DATA as usize).store(wrong, Ordering::Release);
            let error = memory.advance().unwrap_err();
            assert!(error.to_string().contains(&format!("record of {wrong} bytes")), "{error}");
        }
    }
}
