//! The soak test of function probes: `tests/go/functions/torture` calls functions at depth, on moving
//! stacks, with panics, `runtime.Goexit`, signals, garbage collection and preemption.
//!
//! In each round, a tracer follows a program from its first instruction to its end, and its counts are
//! compared with those of the program. Meanwhile other tracers attach to a program that runs all the
//! time, and are stopped or killed. After each of them, the code in memory is that of the file; after
//! some of the killed ones, once another tracer has attached.

use super::kernel_objects;
use super::tracer::{INT, TERM, Tracer};
use crate::code::Code;
use crate::function_programs::build;
use crate::{Process, backends, command, output, text};
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The package whose functions are traced; the counted functions are all that it has.
const PACKAGE: &str = "usdt.local/functions/torture/calls.";
/// The run time in seconds of the program of a round.
const ROUND_SECONDS: &str = "4";

/// A way of building the program: its release, and flags of the go command.
type Build = (&'static str, &'static [&'static str]);
const BUILDS: [Build; 4] = [
    (TESTED[TESTED.len() - 1], &[]),
    (TESTED_UNMODIFIED[2], &["-ldflags=-s -w"]),
    (TESTED[TESTED.len() - 2], &["-buildmode=pie", "-ldflags=-s -w"]),
    (TESTED[0], &[]),
];

/// Runs the soak test of function probes, and stops at the first failure.
///
/// # Errors
///
/// Fails if the run cannot be set up, or with what was wrong.
pub fn run(duration: Duration) -> Result<(), String> {
    let before = kernel_objects();
    run_builds(&BUILDS, duration)?;
    let after = kernel_objects();
    if before != after {
        return Err(format!("kernel objects remain: {after:?}, before the run {before:?}"));
    }
    println!("every call returned, was unwound, or is open, and all code is restored");
    Ok(())
}

/// Runs a few rounds with one build.
///
/// # Errors
///
/// As [`run`].
pub fn short() -> Result<(), String> {
    run_builds(&BUILDS[..1], Duration::from_secs(12))
}

fn run_builds(builds: &[Build], duration: Duration) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let programs = builds.iter().map(|(release, flags)| build(("./torture", release, flags)));
    let programs = programs.collect::<Result<Vec<PathBuf>, String>>()?;
    let mut steady = Steady::start(&folder.path().join("steady"), &programs[0])?;
    let (begin, mut last_report) = (Instant::now(), Instant::now());
    let backends = backends();
    let mut totals = Totals::default();
    let mut failed = None;
    let mut round = 0;
    while failed.is_none() && begin.elapsed() < duration {
        let program = &programs[round % programs.len()];
        failed = play(round, &backends, program, folder.path(), &mut steady, &mut totals).err();
        if let Some(problem) = &mut failed {
            *problem = format!("round {round}, {:?}: {problem}", builds[round % builds.len()]);
        }
        round += 1;
        if last_report.elapsed() > Duration::from_secs(60) {
            last_report = Instant::now();
            println!("{:>5} s: {}", begin.elapsed().as_secs(), totals.line(round));
        }
    }
    println!("{:>5} s: {}", begin.elapsed().as_secs(), totals.line(round));
    if let Some(problem) = failed {
        return Err(problem);
    }
    steady.finish()
}

#[derive(Default)]
struct Totals {
    calls: u64,
    returns: u64,
    /// Calls that a panic or `runtime.Goexit` ended, and calls that never end.
    others: u64,
    tracers: u64,
    killed: u64,
    /// Killed tracers that left breakpoints.
    repaired: u64,
}

impl Totals {
    fn line(&self, rounds: usize) -> String {
        format!(
            "{rounds} rounds; {} calls, {} returns, {} unwound or open; {} tracers attached to the \
             running program, {} of them killed, {} of these while they attached or detached",
            self.calls, self.returns, self.others, self.tracers, self.killed, self.repaired
        )
    }
}

/// How often a function was called, and how often it returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    calls: u64,
    returns: u64,
}

type Counts = BTreeMap<String, Count>;

/// Traces a program to its end, next to tracers of the steady one.
fn play(
    round: usize,
    backends: &[&str],
    program: &Path,
    folder: &Path,
    steady: &mut Steady,
    totals: &mut Totals,
) -> Result<(), String> {
    let facts = folder.join("facts.json");
    let _ = std::fs::remove_file(&facts);
    let (entries, returns) = (format!("func:{PACKAGE}*"), format!("func:{PACKAGE}*%return"));
    let backend = backends[round / 3 % backends.len()];
    let mode = round % 3;
    let mut attach = command("usdt-attach");
    match mode {
        0 => attach.args(["latency", "--backend", backend, &entries]),
        1 => attach.args(["count", "--backend", backend, &entries, &returns]),
        _ => attach.args(["trace", "--backend", backend, &entries, &returns]),
    };
    // The output of a trace would fill the disk.
    let goroutines = if mode == 2 { "10" } else { "200" };
    attach.args(["--json", "--"]).arg(program).arg(&facts).args([ROUND_SECONDS, goroutines]);
    let mut tracer = Tracer::spawn(&mut attach)?;
    while tracer.is_running()? {
        steady.disturb(totals)?;
    }
    let status = tracer.wait()?;
    if !status.success() {
        return Err(format!("the tracer exited with {status}: {}", tracer.errors()));
    }
    let counts = read_facts(&facts)?;
    let sum = |of: fn(&Count) -> u64| counts.values().map(of).sum::<u64>();
    let (calls, returned) = (sum(|count| count.calls), sum(|count| count.returns));
    totals.calls += calls;
    totals.returns += returned;
    totals.others += calls - returned;
    let written = tracer.written();
    let lines: Vec<&str> = written.lines().collect();
    let (last, lines) = lines.split_last().ok_or("the tracer printed nothing")?;
    let summary = serde_json::from_str::<Value>(last).map_err(|e| format!("{e}: {last}"))?;
    let summary = &summary["summary"];
    let number = |name: &str| summary[name].as_u64().unwrap_or_default();
    if number("hits") != calls + returned {
        return Err(format!("{} hits of {calls} calls and {returned} returns", number("hits")));
    }
    if mode == 2 {
        return match number("delivered") + number("dropped") {
            all if all == calls + returned => Ok(()),
            all => Err(format!("{all} events of {calls} calls and {returned} returns")),
        };
    }
    if number("dropped") != 0 {
        return Err(format!("hits were dropped: {summary}"));
    }
    let counted = counted(lines)?;
    for (name, count) in &counts {
        let seen = counted.get(name).copied().unwrap_or_default();
        let expected = if mode == 0 { Count { calls: 0, ..*count } } else { *count };
        // A latency has a row for each function that returned, under the name of its entry.
        let seen = if mode == 0 { Count { calls: 0, returns: seen.calls } } else { seen };
        if seen != expected {
            return Err(format!("{name}: counted {seen:?} instead of {expected:?}"));
        }
    }
    if mode == 0 {
        let others = number("unwound") + number("unmatched_starts");
        if others != calls - returned || number("unmatched_ends") != 0 {
            return Err(format!("{} calls did not return: {summary}", calls - returned));
        }
    }
    Ok(())
}

/// Reads what the program wrote.
fn read_facts(path: &Path) -> Result<Counts, String> {
    let facts = std::fs::read(path).map_err(|e| format!("the program wrote no counts: {e}"))?;
    let facts: Value = serde_json::from_slice(&facts).map_err(|e| e.to_string())?;
    let facts = facts.as_object().ok_or("the counts are no object")?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let count = |value: &Value| Count {
        calls: number(&value["Calls"]),
        returns: number(&value["Returns"]),
    };
    Ok(facts.iter().map(|(name, value)| (name.clone(), count(value))).collect())
}

/// Returns the counts of a tracer by the name of the function, without type arguments.
fn counted(lines: &[&str]) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for line in lines {
        let row: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let probe = row["probe"].as_str().unwrap_or_default();
        let function = probe.strip_prefix(PACKAGE).ok_or("an unknown function")?;
        let (name, is_return) = match function.strip_suffix("%return") {
            Some(name) => (name, true),
            None => (function, false),
        };
        let name = name.split('[').next().unwrap_or_default();
        let count = counts.entry(name.to_owned()).or_default();
        let number = row["count"].as_u64().unwrap_or_default();
        *(if is_return { &mut count.returns } else { &mut count.calls }) += number;
    }
    Ok(counts)
}

/// A program that runs all the time, and what its code is.
struct Steady {
    process: Process,
    code: Code,
    turn: u64,
}

impl Steady {
    fn start(file: &Path, program: &Path) -> Result<Steady, String> {
        // Tracers of the other programs must not count its calls.
        output(Command::new("cp").arg(program).arg(file))?;
        let mut new = command(file);
        new.args(["/dev/null", "0", "20"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let process = Process(new.spawn().map_err(|e| e.to_string())?);
        process.wait_for_exec(file);
        let code = Code::of(process.pid(), file)?;
        Ok(Steady { process, code, turn: 0 })
    }

    /// Attaches a tracer for a moment, and checks what is left of it.
    fn disturb(&mut self, totals: &mut Totals) -> Result<(), String> {
        self.turn += 1;
        let pid = self.process.pid().to_string();
        let (entries, returns) = (format!("func:{PACKAGE}*"), format!("func:{PACKAGE}*%return"));
        let args = match self.turn % 3 {
            0 => vec!["latency", &entries],
            1 => vec!["count", &entries, &returns],
            _ => vec!["trace", "--events", "2000", &entries, &returns],
        };
        let mut attach = command("usdt-attach");
        attach.args(&args).args(["-p", &pid, "--json", "--duration", "10s"]);
        let mut tracer = Tracer::spawn(&mut attach)?;
        // Some are stopped before they are attached.
        std::thread::sleep(Duration::from_millis(150 + self.turn * 71 % 700));
        totals.tracers += 1;
        match self.turn % 4 {
            0 if tracer.is_running()? => {
                tracer.kill()?;
                totals.killed += 1;
                return self.repair(totals);
            }
            _ if !tracer.is_running()? => {}
            1 => tracer.signal(TERM),
            _ => tracer.signal(INT),
        }
        let status = tracer.wait()?;
        // A signal ends a tracer that does not handle it yet.
        if status.code().is_some_and(|code| code != 0) {
            return Err(format!("{args:?}: {status}: {}", tracer.errors()));
        }
        self.check()
    }

    /// Checks what a killed tracer has left. If it was attaching or detaching, the kernel could not
    /// restore all code, and another tracer of the same functions does.
    fn repair(&mut self, totals: &mut Totals) -> Result<(), String> {
        if self.check().is_ok() {
            return Ok(());
        }
        totals.repaired += 1;
        let mut attach = command("usdt-attach");
        let pid = self.process.pid().to_string();
        let (entries, returns) = (format!("func:{PACKAGE}*"), format!("func:{PACKAGE}*%return"));
        attach.args(["count", "-p", &pid, "--duration", "100ms", &entries, &returns]);
        output(&mut attach)?;
        self.check()
    }

    /// Fails if the program has ended, or if its code differs from the file.
    fn check(&mut self) -> Result<(), String> {
        if let Some(status) = self.process.0.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("the steady program ended with {status}: {}", self.errors()));
        }
        self.code.wait_until_restored()
    }

    fn errors(&mut self) -> String {
        let mut errors = Vec::new();
        if let Some(pipe) = &mut self.process.0.stderr {
            let _ = std::io::Read::read_to_end(pipe, &mut errors);
        }
        text(&errors)
    }

    /// Ends the program, which must have computed what it should.
    fn finish(mut self) -> Result<(), String> {
        self.check()?;
        drop(self.process.0.stdin.take());
        let status = self.process.0.wait().map_err(|e| e.to_string())?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the steady program ended with {status}: {}", self.errors())),
        }
    }
}
