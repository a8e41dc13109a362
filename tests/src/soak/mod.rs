//! Hours of use in short: programs that fire all the time and start anew, tracers that come and go and are killed, full
//! disks, closed pipes, slow readers, little memory. At the end every hit must be accounted for.

mod long;
mod program;
mod round;
mod tally;
mod tracer;

use long::Counter;
use program::Program;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tally::Tally;

/// How long a program that is started anew lives.
const LIFE: Duration = Duration::from_secs(20);

/// Runs for so long; the first thing that is wrong ends it.
pub fn run(duration: Duration) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = program::build(folder.path())?;
    let before = kernel();
    // Before any program: they see every hit of all.
    let counters = [Counter::start(&file, "embedded")?, Counter::start(&file, "bcc")?];
    let mut tally = Tally::default();
    let mut steady = Program::start(&file, "10m")?;
    let mut renewed = (Program::start(&file, "0s")?, Instant::now());
    let (begin, mut said) = (Instant::now(), Instant::now());
    let mut memory = None;
    while begin.elapsed() < duration {
        let started = Instant::now();
        round::play(tally.rounds, &steady, &renewed.0, &mut tally)?;
        tally.rounds += 1;
        if renewed.1.elapsed() > LIFE {
            tally.fired +=
                std::mem::replace(&mut renewed, (Program::start(&file, "0s")?, Instant::now()))
                    .0
                    .end()?;
        }
        // What is warm by then must not grow any more.
        if memory.is_none() && begin.elapsed() > (duration / 10).min(Duration::from_secs(60)) {
            memory = Some(usage(&steady, &counters)?);
        }
        if said.elapsed() > Duration::from_secs(30) {
            said = Instant::now();
            println!("{:>5} s: {}", begin.elapsed().as_secs(), tally.line());
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
    }
    if let Some(memory) = memory {
        grown(&memory, &usage(&steady, &counters)?)?;
    }
    tally.fired += renewed.0.end()?;
    tally.fired += steady.stop()?;
    println!("{:>5} s: {}", begin.elapsed().as_secs(), tally.line());
    for counter in counters {
        let (name, counted) = counter.end()?;
        if counted != tally.fired {
            return Err(format!("{name} counted {counted} hits of {}", tally.fired));
        }
    }
    if steady.semaphore() != 0 {
        return Err("a semaphore stayed up without a tracer".to_owned());
    }
    let after = kernel();
    if before != after {
        return Err(format!("left behind in the kernel: {after:?}, before {before:?}"));
    }
    println!("every hit is accounted for, twice");
    Ok(())
}

/// What could be left behind: uprobes by name, pinned objects.
fn kernel() -> Vec<PathBuf> {
    let events = std::fs::read_to_string("/sys/kernel/tracing/uprobe_events").unwrap_or_default();
    let pinned = std::fs::read_dir("/sys/fs/bpf").into_iter().flatten();
    let mut out: Vec<PathBuf> = pinned.filter_map(|entry| Some(entry.ok()?.path())).collect();
    out.extend(events.lines().map(PathBuf::from));
    out.sort();
    out
}

/// Resident memory in KiB and open files of everything that runs all the time.
fn usage(steady: &Program, counters: &[Counter]) -> Result<Vec<(String, u64, usize)>, String> {
    let all = counters.iter().map(|counter| (counter.name(), counter.pid()));
    std::iter::once(("the program".to_owned(), steady.pid())).chain(all).map(one_usage).collect()
}

fn one_usage((name, pid): (String, u32)) -> Result<(String, u64, usize), String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|_| format!("{name} has ended"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident =
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Ok((name, resident, files))
}

fn grown(before: &[(String, u64, usize)], after: &[(String, u64, usize)]) -> Result<(), String> {
    /// A Go program's heap breathes, and so does an allocator's.
    const BREATH: u64 = 16 << 10;
    for ((name, memory, files), (_, memory_now, files_now)) in before.iter().zip(after) {
        println!(
            "{name}: {memory} -> {memory_now} KiB resident, {files} -> {files_now} open files"
        );
        if *memory_now > memory + BREATH || *files_now > files + 2 {
            return Err(format!("{name} grows"));
        }
    }
    Ok(())
}
