//! Writers that the scheduler preempts: the order and the counts of events stay exact, and the other
//! writers' events are not held back for long.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use usdt_attach::event::Value;
use usdt_attach::{Target, Tracer};
use usdt_e2e::{Copy, Fixture, Mode, Need, Process, command, copy, have};

/// The CPU with the writers of lowest priority and the load that preempts them. The reader and the
/// other writer run on the other CPUs.
const BUSY_CPU: &str = "1";

/// Events of one writer may be late by more than this only if the reader was late, too.
const LATE: Duration = Duration::from_millis(1);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Starts a program that fires without end, on the busy CPU and with `SCHED_IDLE`.
fn start_idle_writer(program: &Path) -> Process {
    let mut idle = command("chrt");
    idle.args(["-i", "0", "taskset", "-c", BUSY_CPU]).arg(program);
    let writer = Process::start(idle.args(["-per", "1000000000"]).env("GOMAXPROCS", "1"));
    writer.wait_for_exec(program);
    writer
}

/// A writer of `SCHED_IDLE` that is preempted between reserving and publishing would hold back the
/// records behind its own until the scheduler runs it again.
#[test]
fn idle_writers_lose_and_reorder_nothing() {
    if !have(&[Need::Bpf, Need::Program("chrt"), Need::Program("taskset")]) {
        return;
    }
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        eprintln!("skipped: this machine has one CPU");
        return;
    }
    let (busy, steady): (Copy, Copy) =
        (copy(&Fixture::get("hits", Mode::Sealed)), copy(&Fixture::get("ticks", Mode::Sealed)));
    let idle: Vec<Process> = (0..3).map(|_| start_idle_writer(&busy.path)).collect();
    let ticks = Process::start(command(&steady.path).env("GOMAXPROCS", "1"));
    ticks.wait_for_exec(&steady.path);
    let pids: Vec<u32> = idle.iter().chain([&ticks]).map(Process::pid).collect();
    let target = Target::pids(pids).unwrap();
    let mut tracer = Tracer::builder().target(target).probes(["e2e:hit"]).attach().unwrap();
    let loads: Vec<Process> = (0..2)
        .map(|_| {
            let mut load = command("taskset");
            Process::start(load.args(["-c", BUSY_CPU, "sh", "-c", "while :; do :; done"]))
        })
        .collect();
    let (start, mut next, mut held_back) = (Instant::now(), HashMap::new(), Vec::new());
    let (mut delivered, mut last_read) = (0u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(10) {
        let mut batch = tracer.poll(Duration::from_millis(5)).unwrap().unwrap();
        let mut read_at = now();
        let mut blocked = None;
        while let Some(event) = batch.next().unwrap() {
            read_at = now();
            delivered += 1;
            let Some(Value::Unsigned(n)) = event.arg("n") else { panic!("no argument `n`") };
            let first = next.insert(event.tid, n).is_none_or(|last| n > last);
            assert!(first, "event {n} of thread {} is out of order", event.tid);
            // An event that was there when the ring was last found empty was held back, usually by
            // the first one of this batch.
            let late = last_read.saturating_sub(Duration::from_nanos(event.time_ns));
            let by_itself = blocked.get_or_insert((event.pid, late)).0 == event.pid;
            if event.pid == ticks.pid() && late > LATE {
                held_back.push((late, by_itself));
            }
        }
        last_read = read_at;
    }
    drop(loads);
    tracer.detach();
    while let Some(mut batch) = tracer.poll(Duration::ZERO).unwrap() {
        while batch.next().unwrap().is_some() {
            delivered += 1;
        }
    }
    let summary = tracer.summary().unwrap();
    assert_eq!(summary.delivered, delivered);
    assert_eq!(summary.hits, summary.delivered + summary.dropped + summary.filtered);
    assert!(delivered > 1000, "{summary:?}");
    held_back.sort();
    let by_others: Vec<Duration> =
        held_back.iter().filter(|(_, by_itself)| !by_itself).map(|(late, _)| *late).collect();
    let longest = by_others.last().copied().unwrap_or_default();
    eprintln!(
        "{delivered} events; {} held back by other writers, at most {longest:?}; {} late themselves",
        by_others.len(),
        held_back.len() - by_others.len()
    );
    // The hypervisor may still take the CPU away from a writer.
    if usdt_attach::kernel::detect::detect_features().preemption {
        assert!(longest < Duration::from_millis(250), "held back for {longest:?}");
    }
}

/// A writer of `SCHED_IDLE` that a busy loop starves on its CPU must not delay the events of another
/// CPU by more than the reader waits for a record that is being written.
#[test]
fn a_starved_writer_does_not_delay_other_cpus() {
    /// The bound of per-CPU rings, and the precision with which the clocks are compared.
    const BOUND: Duration = Duration::from_micros(10_200);
    /// With as many events in a batch, it may have ended before the buffer was empty.
    const FULL_BATCH: u64 = 8_000;
    if !have(&[Need::Bpf, Need::Program("chrt"), Need::Program("taskset")]) {
        return;
    }
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        eprintln!("skipped: this machine has one CPU");
        return;
    }
    if !usdt_attach::kernel::detect::detect_features().preemption {
        eprintln!("skipped: programs of this kernel can be preempted while they write");
        return;
    }
    let (busy, steady): (Copy, Copy) =
        (copy(&Fixture::get("hits", Mode::Sealed)), copy(&Fixture::get("ticks", Mode::Sealed)));
    let idle = start_idle_writer(&busy.path);
    let mut pinned = command("taskset");
    pinned.args(["-c", "0"]).arg(&steady.path);
    let ticks = Process::start(pinned.env("GOMAXPROCS", "1"));
    ticks.wait_for_exec(&steady.path);
    let target = Target::pids([idle.pid(), ticks.pid()]).unwrap();
    let mut tracer = Tracer::builder().target(target).probes(["e2e:hit"]).attach().unwrap();
    let mut load = command("taskset");
    let load = Process::start(load.args(["-c", BUSY_CPU, "sh", "-c", "while :; do :; done"]));
    let (start, mut counts, mut longest) = (Instant::now(), [0u64; 2], Duration::ZERO);
    let mut last_poll = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(5) {
        let poll = now();
        let mut batch = tracer.poll(Duration::from_millis(1)).unwrap().unwrap();
        let mut size = 0;
        while let Some(event) = batch.next().unwrap() {
            size += 1;
            counts[usize::from(event.pid == ticks.pid())] += 1;
            if event.pid == ticks.pid() {
                // The last batch should have had what was there when it began.
                let time = Duration::from_nanos(event.time_ns);
                longest = longest.max(last_poll.saturating_sub(time));
            }
        }
        last_poll = if size < FULL_BATCH { poll } else { Duration::ZERO };
    }
    drop(load);
    eprintln!(
        "{} events of a starved writer, {} of another CPU, held back for at most {longest:?}",
        counts[0], counts[1]
    );
    assert!(counts[0] > 0 && counts[1] > 1000, "{counts:?}");
    assert!(longest < BOUND, "held back for {longest:?}");
}
