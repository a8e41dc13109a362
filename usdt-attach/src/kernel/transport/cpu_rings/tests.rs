use super::*;
use proptest::prelude::*;
use std::fs::File;

const LONGEST: u32 = 240;
const CAPACITY: u32 = 1 << 12;
/// A time after which everything in these tests is settled.
const LATER: u64 = 1 << 60;

fn memory(file: &File, count: u32) -> Memory {
    let stride = (DATA as u32 + CAPACITY + LONGEST + 8).next_multiple_of(128);
    let rings = CpuRings { count, capacity: CAPACITY, stride, session: 0 };
    file.set_len(rings.value_size().unwrap().into()).unwrap();
    Memory { map: MmapRaw::map_raw(file).unwrap(), rings, longest: LONGEST, is_shared: false }
}

fn merger(file: &File, count: u32) -> Merger {
    Merger::new(memory(file, count), 0)
}

/// Writes a record of `words` words as programs do. Its time is the second word, and the others have
/// the value `n`.
fn write(memory: &Memory, cpu: usize, time: u64, n: u64, words: usize) -> bool {
    memory.word(cpu, PENDING).store(1, Ordering::Release);
    memory.word(cpu, PENDING).store(time, Ordering::Release);
    let is_published = publish(memory, cpu, time, n, words);
    memory.word(cpu, PENDING).store(0, Ordering::Release);
    is_published
}

fn publish(memory: &Memory, cpu: usize, time: u64, n: u64, words: usize) -> bool {
    let need = (words as u64 + 1) * 8;
    let tail = memory.word(cpu, TAIL).load(Ordering::Relaxed);
    let head = memory.word(cpu, HEAD).load(Ordering::Acquire);
    if tail - head + need > CAPACITY.into() {
        return false;
    }
    memory.data_word(cpu, tail, 0).store(words as u64 * 8, Ordering::Relaxed);
    for word in 0..words as u64 {
        let value = if word == 1 { time } else { n };
        memory.data_word(cpu, tail, 8 + 8 * word).store(value, Ordering::Relaxed);
    }
    memory.word(cpu, TAIL).store(tail + need, Ordering::Release);
    true
}

/// The time, the number and the length in words of the current record.
fn current(merger: &Merger) -> (u64, u64, usize) {
    let words: Vec<u64> = merger
        .record()
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect();
    assert!(words.iter().enumerate().all(|(at, word)| at == 1 || *word == words[0]), "{words:?}");
    (words[1], words[0], words.len())
}

fn advance(merger: &mut Merger, now: u64) -> bool {
    merger.finish_record().unwrap();
    if !merger.next_head() {
        merger.take_snapshot(now).unwrap();
        return merger.next_head();
    }
    true
}

fn read_all(merger: &mut Merger, now: u64) -> Vec<(u64, u64, usize)> {
    let mut out = Vec::new();
    while advance(merger, now) {
        out.push(current(merger));
    }
    merger.release();
    out
}

proptest! {
    #[test]
    fn merges_by_time_across_the_end(
        turns in proptest::collection::vec(
            proptest::collection::vec((0usize..3, 2usize..=LONGEST as usize / 8, 0u64..3), 0..60), 1..20),
    ) {
        let mut merger = merger(&tempfile::tempfile().unwrap(), 3);
        let mut time = 1;
        for turn in turns {
            let (mut written, mut used) = (Vec::new(), [0; 3]);
            for (n, (cpu, words, delay)) in turn.into_iter().enumerate() {
                time += delay + 1;
                used[cpu] += (words + 1) * 8;
                let fits = used[cpu] <= CAPACITY as usize;
                prop_assert_eq!(write(&merger.memory, cpu, time, n as u64, words), fits);
                if fits {
                    written.push((time, n as u64, words));
                } else {
                    used[cpu] -= (words + 1) * 8;
                }
            }
            prop_assert_eq!(read_all(&mut merger, LATER), written);
        }
        prop_assert_eq!(merger.out_of_order, 0);
    }
}

#[test]
fn holds_back_records_that_may_not_be_the_next() {
    let mut merger = merger(&tempfile::tempfile().unwrap(), 2);
    let now = 10 * VISIBILITY_DELAY;
    assert!(write(&merger.memory, 0, now - 1, 7, 2));
    assert!(!advance(&mut merger, now), "the other CPU may publish an earlier record");
    assert!(write(&merger.memory, 1, now - 2, 8, 2));
    assert_eq!(read_all(&mut merger, now + VISIBILITY_DELAY), [(now - 2, 8, 2), (now - 1, 7, 2)]);
}

#[test]
fn waits_for_a_record_that_is_being_written_but_not_forever() {
    let mut merger = merger(&tempfile::tempfile().unwrap(), 2);
    let start = 100 * MAX_WAIT;
    merger.memory.word(1, PENDING).store(start, Ordering::Release);
    for n in 1..=3 {
        assert!(write(&merger.memory, 0, start + n, n, 2));
    }
    assert!(write(&merger.memory, 0, start + MAX_WAIT, 4, 2));
    assert_eq!(read_all(&mut merger, start + MAX_WAIT - 1), []);
    let three = [(start + 1, 1, 2), (start + 2, 2, 2), (start + 3, 3, 2)];
    assert_eq!(read_all(&mut merger, start + MAX_WAIT), three);
    assert!(publish(&merger.memory, 1, start, 5, 2));
    merger.memory.word(1, PENDING).store(0, Ordering::Release);
    assert_eq!(read_all(&mut merger, LATER), [(start, 5, 2), (start + MAX_WAIT, 4, 2)]);
    assert_eq!(merger.out_of_order, 1);
}

#[test]
fn waits_for_a_record_whose_time_is_not_known_yet() {
    let mut merger = merger(&tempfile::tempfile().unwrap(), 2);
    let start = 100 * MAX_WAIT;
    assert_eq!(read_all(&mut merger, start), []);
    merger.memory.word(1, PENDING).store(UNKNOWN_TIME, Ordering::Release);
    assert!(write(&merger.memory, 0, start + 5, 1, 2));
    assert_eq!(read_all(&mut merger, start + MAX_WAIT / 2), []);
    assert!(write(&merger.memory, 1, start + 3, 2, 2));
    let both = [(start + 3, 2, 2), (start + 5, 1, 2)];
    assert_eq!(read_all(&mut merger, start + MAX_WAIT / 2), both);
    assert_eq!(merger.out_of_order, 0);
}

#[test]
fn reads_to_the_end_when_no_program_writes_any_more() {
    let mut merger = merger(&tempfile::tempfile().unwrap(), 2);
    assert!(write(&merger.memory, 0, LATER, 7, 2));
    assert_eq!(read_all(&mut merger, 1), []);
    merger.has_writers = false;
    assert_eq!(read_all(&mut merger, 1), [(LATER, 7, 2)]);
}

#[test]
fn rejects_an_invalid_length() {
    for wrong in [0, 4, 8, u64::from(LONGEST) + 8, 1 << 20, u64::MAX] {
        let mut merger = merger(&tempfile::tempfile().unwrap(), 1);
        assert!(write(&merger.memory, 0, 5, 7, 2));
        merger.memory.data_word(0, 0, 0).store(wrong, Ordering::Release);
        let error = merger.take_snapshot(LATER).unwrap_err();
        assert!(error.to_string().contains(&format!("record of {wrong} bytes")), "{error}");
    }
}

#[test]
fn merges_what_several_cpus_publish_at_once() {
    const EACH: u64 = 50_000;
    let file = tempfile::tempfile().unwrap();
    let mut merger = merger(&file, 3);
    let mut next = [0; 3];
    std::thread::scope(|scope| {
        for cpu in 0..3 {
            let shared = memory(&file, 3);
            scope.spawn(move || {
                for n in 0..EACH {
                    let n = n * 3 + cpu as u64;
                    loop {
                        shared.word(cpu, PENDING).store(1, Ordering::SeqCst);
                        let time = monotonic_nanoseconds();
                        if write_started(&shared, cpu, time, n) {
                            break;
                        }
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut last = 0;
        while next != [EACH; 3] {
            while advance(&mut merger, monotonic_nanoseconds()) {
                let (time, n, words) = current(&merger);
                let cpu = (n % 3) as usize;
                assert_eq!((n / 3, words), (next[cpu], 2 + n as usize % 20));
                next[cpu] += 1;
                // A thread of this test can be preempted while it writes.
                assert!(time >= last || merger.out_of_order > 0);
                last = last.max(time);
            }
            merger.release();
        }
    });
}

/// Writes a record whose program has stored that it begins.
fn write_started(memory: &Memory, cpu: usize, time: u64, n: u64) -> bool {
    memory.word(cpu, PENDING).store(time, Ordering::Release);
    let is_published = publish(memory, cpu, time, n, 2 + n as usize % 20);
    memory.word(cpu, PENDING).store(0, Ordering::Release);
    is_published
}

#[test]
fn records_of_shared_rings_have_the_number_of_their_session() {
    let mut merger = merger(&tempfile::tempfile().unwrap(), 2);
    merger.memory.is_shared = true;
    for (cpu, time, session) in [(0, 10, 7), (1, 20, u32::MAX), (0, 30, 0)] {
        let tail = merger.memory.word(cpu, TAIL).load(Ordering::Relaxed);
        assert!(write(&merger.memory, cpu, time, 1, 4));
        let header = merger.memory.data_word(cpu, tail, 0);
        header.store(header.load(Ordering::Relaxed) | u64::from(session) << 32, Ordering::Relaxed);
    }
    let mut sessions = Vec::new();
    while advance(&mut merger, LATER) {
        let ring = &merger.rings[merger.current.unwrap()];
        assert_eq!(current(&merger), (merger.last_time, 1, 4));
        sessions.push(ring.session);
    }
    assert_eq!(sessions, [7, u32::MAX, 0]);
}

#[test]
fn rings_of_one_session_reject_the_number_of_another() {
    let mut merger = merger(&tempfile::tempfile().unwrap(), 1);
    assert!(write(&merger.memory, 0, 10, 1, 4));
    merger.memory.data_word(0, 0, 0).store(32 | 1 << 32, Ordering::Relaxed);
    assert!(merger.take_snapshot(LATER).is_err());
}
