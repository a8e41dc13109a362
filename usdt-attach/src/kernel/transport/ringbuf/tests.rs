use super::*;
use proptest::prelude::*;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Smaller under Miri, which is slow.
const SIZE: usize = if cfg!(miri) { 256 } else { 4096 };
const LONGEST: usize = SIZE / 6;

/// A ring and its producer in plain memory. The data, which the kernel maps twice, is written twice
/// with plain stores. So Miri reports a data race if the reader's memory ordering is wrong.
#[derive(Clone, Debug)]
struct Simulated(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    consumer: AtomicUsize,
    producer: AtomicUsize,
    /// 64-bit words, so that records are aligned.
    data: Vec<UnsafeCell<u64>>,
}

// SAFETY: headers are accessed atomically. Contents are accessed by the producer before it submits
// them, and by the reader after that.
unsafe impl Sync for Parts {}

// SAFETY: the data has twice `SIZE` bytes, and `produce` writes only to free space.
unsafe impl Memory for Simulated {
    fn consumer(&self) -> &AtomicUsize {
        &self.0.consumer
    }

    fn producer(&self) -> &AtomicUsize {
        &self.0.producer
    }

    fn data(&self) -> *const u8 {
        self.0.data.as_ptr().cast()
    }
}

impl Simulated {
    /// Creates a ring whose positions begin at a multiple of 8.
    fn new(begin: usize) -> Simulated {
        Simulated(Arc::new(Parts {
            consumer: AtomicUsize::new(begin),
            producer: AtomicUsize::new(begin),
            data: (0..2 * SIZE / 8).map(|_| UnsafeCell::new(0)).collect(),
        }))
    }

    /// Returns both copies of a header.
    fn headers(&self, position: usize) -> [&AtomicU32; 2] {
        // SAFETY: a multiple of 8 inside the data.
        [0, SIZE]
            .map(|copy| unsafe { &*self.data().add(position % SIZE + copy).cast::<AtomicU32>() })
    }

    /// `bpf_ringbuf_reserve`
    fn reserve(&self, length: usize) -> Option<usize> {
        let (begin, end) =
            (self.producer().load(Ordering::Relaxed), self.consumer().load(Ordering::Acquire));
        let whole = (HEADER + length).next_multiple_of(8);
        if begin.wrapping_add(whole).wrapping_sub(end) > SIZE - 1 {
            return None;
        }
        for header in self.headers(begin) {
            header.store(length as u32 | BPF_RINGBUF_BUSY_BIT, Ordering::Relaxed);
        }
        self.producer().store(begin.wrapping_add(whole), Ordering::Release);
        Some(begin)
    }

    /// `bpf_ringbuf_submit` or `bpf_ringbuf_discard`
    fn commit(&self, position: usize, record: &[u8], flag: u32) {
        for (at, byte) in (position % SIZE + HEADER..).zip(record) {
            for copy in [0, SIZE] {
                // SAFETY: inside both copies; the record is reserved and not yet submitted.
                unsafe { self.data().cast_mut().add(at % SIZE + copy).write(*byte) };
            }
        }
        // The reader reads the first copy, so it is written last.
        for header in self.headers(position).into_iter().rev() {
            header.store(record.len() as u32 | flag, Ordering::Release);
        }
    }

    fn produce(&self, record: &[u8], flag: u32) -> bool {
        let place = self.reserve(record.len());
        place.inspect(|position| self.commit(*position, record, flag)).is_some()
    }
}

fn read(reader: &mut Consumer<Simulated>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while reader.advance().unwrap() {
        out.push(reader.record().to_vec());
    }
    out
}

proptest! {
    #[test]
    fn reads_records_in_order_across_the_end(
        begin in prop_oneof![Just(0), Just(usize::MAX - (SIZE - 1)), Just(usize::MAX - 7)],
        turns in proptest::collection::vec(
            (proptest::collection::vec((0..LONGEST, any::<bool>()), 0..12), any::<bool>()),
            1..12,
        ),
    ) {
        let memory = Simulated::new(begin / 8 * 8);
        let mut reader = Consumer::new(memory.clone(), SIZE);
        let mut inside: VecDeque<Vec<u8>> = VecDeque::new();
        let mut number = 0u8;
        for (records, drain) in turns {
            for (length, kept) in records {
                number = number.wrapping_add(1);
                let record = vec![number; length];
                let flag = if kept { 0 } else { BPF_RINGBUF_DISCARD_BIT };
                if memory.produce(&record, flag) && kept {
                    inside.push_back(record);
                }
            }
            if drain {
                prop_assert_eq!(VecDeque::from(read(&mut reader)), std::mem::take(&mut inside));
                prop_assert_eq!(memory.consumer().load(Ordering::Relaxed), memory.producer().load(Ordering::Relaxed));
            }
        }
    }
}

#[test]
fn busy_record_blocks_the_records_after_it() {
    let memory = Simulated::new(0);
    let mut reader = Consumer::new(memory.clone(), SIZE);
    let first = memory.reserve(8).unwrap();
    assert!(memory.produce(b"second", 0));
    assert_eq!(read(&mut reader), [[0u8; 0]; 0]);
    memory.commit(first, b"first...", 0);
    assert_eq!(read(&mut reader), [&b"first..."[..], b"second"]);
}

#[test]
fn reads_a_full_ring() {
    let memory = Simulated::new(0);
    let mut reader = Consumer::new(memory.clone(), SIZE);
    let mut written = 0;
    while memory.produce(b"record", 0) {
        written += 1;
    }
    assert_eq!((read(&mut reader).len(), written), ((SIZE - 1) / 16, (SIZE - 1) / 16));
}

#[test]
fn rejects_invalid_lengths_and_positions() {
    let error_after = |corrupt: fn(&Simulated)| {
        let memory = Simulated::new(0);
        assert!(memory.produce(b"record", 0));
        corrupt(&memory);
        Consumer::new(memory, SIZE).advance().unwrap_err()
    };
    let longer = |memory: &Simulated| memory.headers(0)[0].store(9, Ordering::Relaxed);
    assert_eq!(error_after(longer), "record of 9 bytes");
    let longest = |memory: &Simulated| {
        memory.headers(0)[0]
            .store(!(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT), Ordering::Relaxed);
    };
    assert_eq!(error_after(longest), "record of 1073741823 bytes");
    let beyond = |memory: &Simulated| memory.producer().store(SIZE + 8, Ordering::Relaxed);
    assert_eq!(error_after(beyond), format!("{} bytes in a buffer of {SIZE}", SIZE + 8));
    let backwards = |memory: &Simulated| memory.producer().store(usize::MAX - 7, Ordering::Relaxed);
    assert!(error_after(backwards).ends_with(&format!(" in a buffer of {SIZE}")));
    let half = |memory: &Simulated| memory.producer().store(4, Ordering::Relaxed);
    assert_eq!(error_after(half), format!("4 bytes in a buffer of {SIZE}"));
}

#[test]
fn reads_while_records_are_written() {
    const RECORDS: u64 = if cfg!(miri) { 100 } else { 10_000 };
    let memory = Simulated::new(usize::MAX - 1023);
    let mut reader = Consumer::new(memory.clone(), SIZE);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            for n in 0..RECORDS {
                let record = n.to_ne_bytes().repeat(1 + n as usize % (LONGEST / 8));
                while !memory.produce(&record, 0) {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0u64;
        loop {
            // Checked before reading, so that the last records are not missed.
            let last = producer.is_finished();
            while reader.advance().unwrap() {
                assert_eq!(
                    reader.record(),
                    next.to_ne_bytes().repeat(1 + next as usize % (LONGEST / 8))
                );
                next += 1;
            }
            if last {
                break;
            }
        }
        assert_eq!(next, RECORDS);
    });
}
