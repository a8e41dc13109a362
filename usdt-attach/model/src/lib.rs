//! Model of the protocol in `docs/cpu-rings.md`: writers and the reader as threads, whose every
//! interleaving and every reordering of the C11 memory model loom explores.
//!
//! # How the model follows the programs
//!
//! | BPF program or reader | model |
//! | --- | --- |
//! | publish `tail`: a plain store on x86-64, `swpal` on arm64 | store-release |
//! | 0 in `pending` after it | store-release |
//! | load of `head`, and a branch before the stores of the record | load-acquire |
//! | reader's loads of `pending` and `tail`; store of `head` | load-acquire; store-release |
//! | a record's words | cells; loom reports every access that races with another one |
//! | the clock | a counter with sequentially consistent accesses |
//! | 20 µs within which a store becomes visible | a sequentially consistent fence |
//!
//! # What it leaves out
//!
//! Lengths, the heap and the wakeup ring, which do not depend on the order of memory accesses. The
//! bound of waiting: the model's reader waits for ever for a writer. A writer that is preempted by
//! another one of its CPU: the protocol excludes it, so each ring has one thread.
#![cfg(test)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicU64, fence};

/// The number of records that fit into a ring.
const CAPACITY: u64 = 1;
/// `pending` while the time is not known.
const UNKNOWN: u64 = u64::MAX;

/// A ring with space for one record, which is a time and a number.
struct Ring {
    tail: AtomicU64,
    pending: AtomicU64,
    head: AtomicU64,
    record: UnsafeCell<(u64, u64)>,
}

/// The rings and the clock.
struct Shared {
    rings: Vec<Ring>,
    clock: AtomicU64,
}

#[allow(unsafe_code)] // loom's cells check every access
// SAFETY: loom fails if two threads access a cell at the same time, unless both read it.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(rings: usize) -> Shared {
        let ring = || Ring {
            tail: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            head: AtomicU64::new(0),
            record: UnsafeCell::new((0, 0)),
        };
        Shared { rings: (0..rings).map(|_| ring()).collect(), clock: AtomicU64::new(1) }
    }

    fn now(&self) -> u64 {
        // The time goes on between any two readings.
        self.clock.fetch_add(1, SeqCst)
    }

    /// Writes a record as programs do. Returns false if the ring is full.
    #[allow(unsafe_code)] // loom's cells check every access
    fn write(&self, cpu: usize, number: u64) -> bool {
        let ring = &self.rings[cpu];
        ring.pending.store(UNKNOWN, Relaxed);
        fence(SeqCst);
        let time = self.now();
        ring.pending.store(time, Relaxed);
        let tail = ring.tail.load(Relaxed);
        let head = ring.head.load(Acquire);
        let fits = tail - head < CAPACITY;
        if fits {
            // SAFETY: loom fails if another thread accesses the cell at the same time.
            ring.record.with_mut(|record| unsafe { *record = (time, number) });
            ring.tail.store(tail + 1, Release);
        }
        ring.pending.store(0, Release);
        fits
    }
}

/// The reader's state.
struct Reader {
    shared: Arc<Shared>,
    heads: Vec<u64>,
    ends: Vec<u64>,
    /// A record whose time is not known yet is not earlier than this.
    settled: Vec<u64>,
    horizon: u64,
    read: Vec<(u64, u64)>,
}

impl Reader {
    fn new(shared: Arc<Shared>) -> Reader {
        let count = shared.rings.len();
        let zeros = || vec![0; count];
        let (heads, ends, settled) = (zeros(), zeros(), zeros());
        Reader { shared, heads, ends, settled, horizon: 0, read: Vec::new() }
    }

    /// Takes a snapshot, as `take_snapshot` of the real reader does.
    fn take_snapshot(&mut self) {
        let now = self.shared.now();
        fence(SeqCst);
        self.horizon = now;
        for (cpu, ring) in self.shared.rings.iter().enumerate() {
            let started = match ring.pending.load(Acquire) {
                UNKNOWN => self.settled[cpu],
                pending => {
                    self.settled[cpu] = now;
                    if pending == 0 { UNKNOWN } else { pending }
                }
            };
            self.horizon = self.horizon.min(started.saturating_sub(1));
            self.ends[cpu] = ring.tail.load(Acquire);
        }
    }

    #[allow(unsafe_code)] // loom's cells check every access
    fn first(&self, cpu: usize) -> Option<(u64, u64)> {
        let (head, ring) = (self.heads[cpu], &self.shared.rings[cpu]);
        // SAFETY: loom fails if another thread writes to the cell at the same time.
        (head < self.ends[cpu]).then(|| ring.record.with(|record| unsafe { *record }))
    }

    /// Reads what is not after the horizon, in the order of the times, and releases it.
    fn read_batch(&mut self) {
        loop {
            let firsts = (0..self.heads.len()).filter_map(|cpu| Some((self.first(cpu)?, cpu)));
            let Some(((time, number), cpu)) = firsts.min() else { break };
            if time > self.horizon {
                break;
            }
            self.read.push((time, number));
            self.heads[cpu] += 1;
        }
        for (cpu, ring) in self.shared.rings.iter().enumerate() {
            ring.head.store(self.heads[cpu], Release);
        }
    }
}

/// Runs one writer of `each` records for each ring, and a reader that takes two snapshots meanwhile
/// and one afterwards. Checks that every record is read or was dropped, once and in order.
fn check(rings: usize, each: u64) {
    let shared = Arc::new(Shared::new(rings));
    let mut reader = Reader::new(Arc::clone(&shared));
    let writers: Vec<_> = (0..rings)
        .map(|cpu| {
            let shared = Arc::clone(&shared);
            loom::thread::spawn(move || {
                let numbers = (0..each).map(|n| n * 10 + cpu as u64);
                numbers.filter(|number| shared.write(cpu, *number)).collect::<Vec<u64>>()
            })
        })
        .collect();
    for _ in 0..2 {
        reader.take_snapshot();
        reader.read_batch();
    }
    let mut written: Vec<u64> =
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    reader.take_snapshot();
    reader.horizon = UNKNOWN;
    reader.read_batch();
    assert!(reader.read.is_sorted(), "out of order: {:?}", reader.read);
    let mut read: Vec<u64> = reader.read.iter().map(|(_, number)| *number).collect();
    read.sort_unstable();
    written.sort_unstable();
    assert_eq!(read, written);
}

/// Explores all executions with up to this many preemptions; without a bound there are too many.
fn explore(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

#[test]
fn one_ring_loses_and_tears_nothing() {
    explore(3, || check(1, 2));
}

#[test]
fn two_rings_are_merged_in_order() {
    explore(2, || check(2, 1));
}
