//! Model of transports on several CPUs, in user space: what writing a record costs when every CPU
//! writes, by what the writers share.
//!
//! The writers do the memory accesses of BPF programs and of the kernel's ring buffer, and nothing
//! else. There is no reader: a record overwrites an old one.

use crate::format::count_of;
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::time::Instant;

/// Threads at most, one on each CPU.
const MAX_THREADS: usize = 16;
/// Words of a record, with its header: as for three arguments, one a string of 41 bytes.
const WORDS: u64 = 16;
/// Words of a ring: 8 MiB in total, as by default.
const RING: u64 = 1 << 20;
/// Records that each thread writes in a run, and the runs of which the shortest counts.
const RECORDS: u64 = 100_000;
const RUNS: usize = 5;

/// A pair of cache lines, which processors fetch together.
#[repr(align(128))]
#[derive(Default)]
struct Line([AtomicU64; 2]);

/// What the writers of a transport share: counters, and the data of each ring.
struct Memory {
    /// Three lines for each ring: what programs write, what the reader writes, and a lock.
    lines: Vec<Line>,
    data: Vec<AtomicU64>,
}

impl Memory {
    fn new(rings: usize) -> Memory {
        Memory {
            lines: (0..3 * rings).map(|_| Line::default()).collect(),
            data: (0..RING).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn line(&self, ring: usize, line: usize) -> &[AtomicU64; 2] {
        &self.lines[3 * ring + line].0
    }

    /// Writes the content of a record.
    fn fill(&self, first: u64, size: u64, at: u64) {
        for word in 1..WORDS {
            self.data[(first + (at + word) % size) as usize].store(at, Relaxed);
        }
    }
}

/// A transport: writes a record. The arguments are the memory, the CPU and the number of CPUs.
type Write = fn(&Memory, usize, u64);

/// The mapped ring: two counters on one line, and the header published with a store.
fn shared_queue(memory: &Memory, _: usize, _: u64) {
    let [reserved, tail] = memory.line(0, 0);
    std::hint::black_box(reserved.fetch_add(WORDS, Relaxed));
    let at = tail.fetch_add(WORDS, Relaxed) % RING;
    memory.fill(0, RING, at);
    memory.data[at as usize].store(WORDS, Release);
}

/// The kernel's ring buffer: a spinlock around the position, and the header published with an
/// exchange. The kernel queues waiters; this lock spins.
fn locked_queue(memory: &Memory, _: usize, _: u64) {
    let [lock, _] = memory.line(0, 2);
    let [position, _] = memory.line(0, 0);
    while lock.compare_exchange_weak(0, 1, Acquire, Relaxed).is_err() {
        while lock.load(Relaxed) != 0 {
            spin_loop();
        }
    }
    std::hint::black_box(memory.line(0, 1)[0].load(Acquire));
    let at = position.load(Relaxed) % RING;
    memory.data[at as usize].store(1 << 31, Relaxed);
    position.store(at + WORDS, Release);
    lock.store(0, Release);
    memory.fill(0, RING, at);
    memory.data[at as usize].swap(WORDS, AcqRel);
}

/// The ring of a CPU: plain loads and stores.
fn cpu_rings(memory: &Memory, cpu: usize, cpus: u64) {
    let size = (RING / cpus) / WORDS * WORDS;
    let first = cpu as u64 * size;
    let [tail, pending] = memory.line(cpu, 0);
    pending.store(1, Relaxed);
    pending.store(2, Relaxed);
    let at = tail.load(Relaxed) % size;
    std::hint::black_box(memory.line(cpu, 1)[0].load(Acquire));
    memory.fill(first, size, at);
    memory.data[(first + at) as usize].store(WORDS, Relaxed);
    tail.store(at + WORDS, Release);
    pending.store(0, Release);
}

/// Returns the nanoseconds per record of each thread, when `threads` write at once.
fn measure(write: Write, threads: usize) -> Result<Vec<f64>, String> {
    let memory = Memory::new(threads);
    let mut shortest = f64::INFINITY;
    for _ in 0..RUNS {
        let barrier = Barrier::new(threads);
        let slowest = std::thread::scope(|scope| {
            let run = |cpu: usize| {
                let (memory, barrier) = (&memory, &barrier);
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(cpu);
                    let pinned = sched_setaffinity(None, &set);
                    barrier.wait();
                    let begin = Instant::now();
                    for _ in 0..RECORDS {
                        write(memory, cpu, threads as u64);
                    }
                    fence(AcqRel);
                    pinned.map(|()| begin.elapsed().as_secs_f64() * 1e9 / RECORDS as f64)
                })
            };
            let all: Vec<_> = (0..threads).map(run).collect();
            let mut slowest = 0.0f64;
            for thread in all {
                let time = thread.join().map_err(|_| "a writer panicked")?;
                slowest = slowest.max(time.map_err(|e| format!("cannot use a CPU: {e}"))?);
            }
            Ok::<_, String>(slowest)
        })?;
        shortest = shortest.min(slowest);
    }
    Ok(vec![shortest])
}

pub(crate) fn run() -> Result<Vec<Table>, String> {
    const TRANSPORTS: [(&str, Write); 3] = [
        ("one shared queue", shared_queue),
        ("one queue with a spinlock", locked_queue),
        ("a ring for each CPU", cpu_rings),
    ];
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let counts = (0..).map(|power| 1 << power).take_while(|count| *count <= cpus.min(MAX_THREADS));
    let mut benchmarks = Vec::new();
    for threads in counts {
        for (name, write) in TRANSPORTS {
            let name = format!("{name}, {}", count_of(threads, "CPU"));
            benchmarks
                .push(Benchmark::new(name, move || measure(write, threads)).with_size(threads));
        }
    }
    Ok(vec![Table {
        title: "Model of writers on several CPUs".to_owned(),
        how: format!(
            "User-space threads that do the memory accesses of writing a record of {} bytes, one \
             thread on each CPU, at full speed. Each row counts with the shortest of {RUNS} runs. \
             `docs/cpu-rings.md` says what the model leaves out.",
            8 * WORDS
        ),
        columns: vec![Column::new("per record", "ns")],
        rows: run_rounds(11, benchmarks)?,
        base: None,
        plot: Plot::None,
    }])
}
