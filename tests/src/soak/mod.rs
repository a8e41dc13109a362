//! The soak test: hours of use in a short time.
//!
//! Programs fire all the time and are restarted, and tracers are started, stopped and killed. They
//! meet full disks, closed pipes, slow readers and a memory limit. At the end every hit must be
//! accounted for.

mod clients;
pub mod functions;
pub mod hostile;
mod long;
mod program;
mod round;
mod tally;
mod tracer;

pub use tracer::threads;

use long::Counter;
use program::Program;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tally::Tally;

/// Lifetime of the program that is restarted.
const PROGRAM_LIFETIME: Duration = Duration::from_secs(20);

/// Runs the soak test for `duration`, and stops at the first failure.
pub fn run(duration: Duration) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = program::build(folder.path())?;
    let before = kernel_objects();
    // They start before any program and therefore count every hit.
    let counters = [Counter::start(&file, "embedded")?, Counter::start(&file, "bcc")?];
    let mut tally = Tally::default();
    let mut steady = Program::start(&file, "10m")?;
    let mut restarted = (Program::start(&file, "0s")?, Instant::now());
    let (begin, mut last_report) = (Instant::now(), Instant::now());
    let mut memory = None;
    while begin.elapsed() < duration {
        let started = Instant::now();
        round::play(tally.rounds, &steady, &restarted.0, &mut tally)?;
        tally.rounds += 1;
        if restarted.1.elapsed() > PROGRAM_LIFETIME {
            tally.fired +=
                std::mem::replace(&mut restarted, (Program::start(&file, "0s")?, Instant::now()))
                    .0
                    .finish()?;
        }
        // After the warm-up, memory and open files must not grow.
        if memory.is_none() && begin.elapsed() > (duration / 10).min(Duration::from_secs(60)) {
            memory = Some(usage(&steady, &counters)?);
        }
        if last_report.elapsed() > Duration::from_secs(30) {
            last_report = Instant::now();
            println!("{:>5} s: {}", begin.elapsed().as_secs(), tally.line());
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
    }
    if let Some(memory) = memory {
        check_growth(&memory, &usage(&steady, &counters)?)?;
    }
    tally.fired += restarted.0.finish()?;
    tally.fired += steady.stop()?;
    println!("{:>5} s: {}", begin.elapsed().as_secs(), tally.line());
    for counter in counters {
        let (name, counted) = counter.stop()?;
        if counted != tally.fired {
            return Err(format!("{name} counted {counted} of {} hits", tally.fired));
        }
    }
    if steady.semaphore() != 0 {
        return Err("a semaphore is still incremented after all tracers exited".to_owned());
    }
    let after = kernel_objects();
    if before != after {
        return Err(format!("kernel objects remain: {after:?}, before the run {before:?}"));
    }
    println!("both tracers counted every hit");
    Ok(())
}

/// Lists the kernel objects that a tracer could leave: named uprobe events and pinned BPF objects.
fn kernel_objects() -> Vec<PathBuf> {
    let events = std::fs::read_to_string("/sys/kernel/tracing/uprobe_events").unwrap_or_default();
    let pinned = std::fs::read_dir("/sys/fs/bpf").into_iter().flatten();
    let mut out: Vec<PathBuf> = pinned.filter_map(|entry| Some(entry.ok()?.path())).collect();
    out.extend(events.lines().map(PathBuf::from));
    out.sort();
    out
}

/// Resources of a process.
struct Usage {
    name: String,
    resident_kib: u64,
    open_files: usize,
}

/// Measures every process that runs all the time.
fn usage(steady: &Program, counters: &[Counter]) -> Result<Vec<Usage>, String> {
    let all = counters.iter().map(|counter| (counter.name(), counter.pid()));
    std::iter::once(("the traced program".to_owned(), steady.pid()))
        .chain(all)
        .map(usage_of)
        .collect()
}

fn usage_of((name, pid): (String, u32)) -> Result<Usage, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|_| format!("{name} has exited"))?;
    let resident_kib = crate::status_kib(&status, "VmRSS").unwrap_or(0);
    let open_files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Ok(Usage { name, resident_kib, open_files })
}

/// Fails if a process uses more memory or files than after the warm-up.
fn check_growth(before: &[Usage], after: &[Usage]) -> Result<(), String> {
    /// Tolerance in KiB: the heaps of Go programs and allocators fluctuate.
    const TOLERANCE_KIB: u64 = 16 << 10;
    for (before, after) in before.iter().zip(after) {
        let Usage { name, resident_kib, open_files } = before;
        let Usage { resident_kib: resident_now, open_files: files_now, .. } = after;
        println!(
            "{name}: {resident_kib} -> {resident_now} KiB resident, {open_files} -> {files_now} \
             open files"
        );
        if *resident_now > resident_kib + TOLERANCE_KIB || *files_now > open_files + 2 {
            return Err(format!("memory or open files of {name} grow"));
        }
    }
    Ok(())
}
