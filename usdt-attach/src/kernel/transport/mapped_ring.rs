//! A queue of records in the memory of an array map, which programs fill in line and the reader maps.
//!
//! ```text
//!  0  u64 bytes taken, from the first unread record on      64  records: u64 length, then so many bytes
//!  8  u64 end: where the next record goes, ever growing
//! ```
//!
//! A program takes as many bytes as it needs, gives them back where there were not enough, and else moves the end by
//! as many: two additions, which nothing can come between. Then it copies its record, the length last; where there is
//! no length, there is no record yet. The reader leaves zeros behind and gives the bytes back. A record that begins
//! in front of the end of the memory goes on behind it, where there is room for the longest; the next one begins as
//! far from the beginning as it ends there.
#![allow(unsafe_code)] // memory that the kernel's programs write to

use super::RecordReader;
use super::ringbuf::RingBuf;
use crate::bpf::ring_format::{DATA, HEADER, TAKEN};
use crate::error::{Error, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most records read before the caller gets to look at signals again.
const BATCH: usize = 8192;
/// Bytes that are given back at once: each time takes the programs' counter from them.
const GIVEN_BACK: u64 = 1 << 17;

/// Bytes of the largest queue: the verifier has offsets below 2^29 in pointers (`BPF_MAX_VAR_OFF`).
const LARGEST: u32 = 1 << 28;

/// Bytes of the map's value, for a queue of so many bytes and records up to so long ones; `None` where there can be no
/// such queue. The kernel will say what is wrong with a ring buffer of that size.
pub(crate) fn value_size(capacity: u32, longest: u32) -> Option<u32> {
    let around = u32::from(DATA.unsigned_abs() + HEADER.unsigned_abs());
    let fine = capacity.is_power_of_two() && (8..=LARGEST).contains(&capacity);
    fine.then(|| capacity.saturating_add(longest).saturating_add(around))
}

/// The reader.
pub(super) struct MappedRing {
    memory: Memory,
    /// Woken where half of the queue is taken.
    bell: RingBuf,
}

impl MappedRing {
    /// Of a map of that value size, with its bell.
    pub(super) fn new(map: BorrowedFd<'_>, bell: OwnedFd, capacity: u32, longest: u32) -> Result<MappedRing> {
        let failed = |source| Error::io("cannot map the event buffer", source);
        let bytes =
            value_size(capacity, longest).ok_or_else(|| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        let map = MmapOptions::new().len(bytes as usize).map_raw(map.as_raw_fd()).map_err(failed)?;
        Ok(MappedRing { memory: Memory { map, capacity, longest, next: 0 }, bell: RingBuf::new(bell)? })
    }
}

impl RecordReader for MappedRing {
    fn consume(&mut self, last: bool, sink: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let more = self.memory.consume(sink)?;
        // The bell rings on while there is more, for those who wait for it alone.
        let mut rung = false;
        if !more {
            self.bell.consume(last, &mut |_| rung = true)?;
        }
        // It may have rung since there was nothing left.
        if rung { self.memory.consume(sink) } else { Ok(more) }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.bell.fd()
    }
}

/// The map's value, and how far it is read.
struct Memory {
    map: MmapRaw,
    capacity: u32,
    longest: u32,
    /// Ever growing, as the end.
    next: u64,
}

impl Memory {
    fn consume(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let mut begin = self.next;
        for _ in 0..BATCH {
            let Some(length) = self.length()? else {
                self.give_back(begin);
                return Ok(false);
            };
            // SAFETY: `length` has made sure that the record is inside of the map. Programs do not write to it until
            // it is given back, which this function does when nobody has the slice any more.
            unsafe {
                let header = self.map.as_mut_ptr().add(self.at());
                sink(std::slice::from_raw_parts(header.add(HEADER as usize), length));
                header.write_bytes(0, HEADER as usize + length);
            }
            self.next += (HEADER as usize + length) as u64;
            if self.next - begin >= GIVEN_BACK {
                self.give_back(begin);
                begin = self.next;
            }
        }
        self.give_back(begin);
        Ok(true)
    }

    /// Where the next record's length is.
    fn at(&self) -> usize {
        DATA as usize + (self.next % u64::from(self.capacity)) as usize
    }

    /// The bytes of the next record, where there is one.
    fn length(&self) -> Result<Option<usize>> {
        let length = self.word(self.at()).load(Ordering::Acquire);
        match length {
            0 => Ok(None),
            _ if length.is_multiple_of(8) && length <= self.longest.into() => Ok(Some(length as usize)),
            _ => Err(Error::unsupported(format!("the event buffer has a record of {length} bytes"))),
        }
    }

    fn give_back(&self, begin: u64) {
        if begin < self.next {
            self.word(TAKEN as usize).fetch_sub(self.next - begin, Ordering::Release);
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
    use crate::bpf::ring_format::END;
    use proptest::prelude::*;
    use std::fs::File;

    const LONGEST: u32 = 240;

    fn memory(file: &File, capacity: u32) -> Memory {
        let bytes = value_size(capacity, LONGEST).unwrap();
        file.set_len(bytes.into()).unwrap();
        Memory { map: MmapRaw::map_raw(file).unwrap(), capacity, longest: LONGEST, next: 0 }
    }

    /// What programs do, instruction by instruction.
    fn write(memory: &Memory, record: &[u8]) -> bool {
        let need = (HEADER as usize + record.len()) as u64;
        let taken = memory.word(TAKEN as usize);
        if taken.fetch_add(need, Ordering::AcqRel) + need > memory.capacity.into() {
            taken.fetch_sub(need, Ordering::AcqRel);
            return false;
        }
        let end = memory.word(END as usize).fetch_add(need, Ordering::AcqRel);
        let at = DATA as usize + (end & u64::from(memory.capacity - 8)) as usize;
        assert!(at + need as usize <= memory.map.len());
        for (word, to) in record.chunks_exact(8).zip((at + HEADER as usize..).step_by(8)) {
            let was = memory.word(to).swap(u64::from_ne_bytes(word.try_into().unwrap()), Ordering::Relaxed);
            assert_eq!(was, 0, "something of an older record is left");
        }
        memory.word(at).store(record.len() as u64, Ordering::Release);
        true
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(
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
                    prop_assert!(!memory.consume(&mut |record| seen.push_back(record.to_vec())).unwrap());
                    prop_assert_eq!(&seen, &inside);
                    inside.clear();
                }
            }
        }
    }

    #[test]
    fn writers_do_not_get_into_each_others_way() {
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
                let took = reader.consume(&mut |record| {
                    let n = u64::from_ne_bytes(record[..8].try_into().unwrap());
                    assert_eq!(record, n.to_ne_bytes().repeat(1 + n as usize % 30));
                    let writer = &mut next[usize::from(n >= EACH)];
                    assert_eq!(n, *writer);
                    *writer += 1;
                });
                assert!(took.is_ok());
            }
        });
        assert_eq!(reader.word(TAKEN as usize).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn queues_are_powers_of_two() {
        assert_eq!(value_size(8192, 240), Some(8192 + 240 + 72));
        for none in [0, 4, 4095, 12_288, LARGEST * 2, u32::MAX] {
            assert_eq!(value_size(none, 240), None);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        for wrong in [4u64, u64::from(LONGEST) + 8, u64::MAX] {
            let mut memory = memory(&tempfile::tempfile().unwrap(), 4096);
            memory.word(DATA as usize).store(wrong, Ordering::Release);
            let error = memory.consume(&mut |_| panic!("no record")).unwrap_err();
            assert!(error.to_string().contains(&format!("record of {wrong} bytes")), "{error}");
        }
    }
}
