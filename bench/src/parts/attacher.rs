//! The time to attach, to find probes, and to list them.

use crate::format::count_of;
use crate::harness::{
    self, OTHER_CPU, SEAL, TARGET_CPU, memory, our_tool, pinned, start_quietly, time_command,
};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use usdt_e2e::Process;

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let fire = harness::go_build(&[SEAL], "./fire", "fire")?;
    Ok(vec![first_event(&fire)?, library()?, sites()?, listing(&fire)?, host()?])
}

/// Starts a program that fires a probe every 200 µs.
pub(crate) fn start_target(fire: &Path) -> Result<Process, String> {
    let mut target = pinned(TARGET_CPU, fire);
    target.args(["-pause", "200us", "-text", "41"]).stdout(Stdio::null());
    let target = target.spawn().map(Process).map_err(|e| e.to_string())?;
    target.wait_for_exec(fire);
    Ok(target)
}

/// Starts a command with piped standard input and output.
fn start_with_pipes(command: &mut Command) -> Result<Process, String> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    piped.spawn().map(Process).map_err(|e| e.to_string())
}

/// Runs a tracer until it prints a line that contains `mark`. Returns the milliseconds, and its peak
/// resident memory at that time in MiB.
pub(crate) fn time_to_event(tracer: &mut Command, mark: &str) -> Result<(f64, f64), String> {
    let begin = Instant::now();
    let mut tracer = start_with_pipes(tracer)?;
    let mut out = BufReader::new(tracer.0.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
            return Err("the tracer exited without an event".to_owned());
        }
        if line.contains(mark) {
            break;
        }
    }
    let elapsed = begin.elapsed().as_secs_f64() * 1e3;
    let peak = memory(tracer.pid(), "VmHWM");
    // The remaining output is discarded. Closing the pipe instead would end the tracer before
    // it has detached.
    let rest = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    tracer.interrupt();
    let _ = rest.join();
    Ok((elapsed, peak))
}

/// Measures the time from the start of a tracer to its first event, and its peak resident memory at
/// that time.
fn first_event(fire: &Path) -> Result<Table, String> {
    let target = start_target(fire)?;
    let (pid, file) = (target.pid().to_string(), fire.display().to_string());
    let start = |tracer: &mut Command, mark: &str| {
        time_to_event(tracer, mark).map(|(elapsed, peak)| vec![elapsed, peak])
    };
    let (start, pid, file) = (&start, &pid, &file);
    let attach = |args: &'static [&str]| {
        move || {
            start(
                pinned(OTHER_CPU, our_tool("usdt-attach"))
                    .args(["trace", "bench:hit", "-p", pid])
                    .args(args),
                "hit",
            )
        }
    };
    let benchmarks = vec![
        Benchmark::new("`usdt-attach trace`", attach(&[])),
        Benchmark::new("`usdt-attach trace --json`", attach(&["--json"])),
        Benchmark::new("bpftrace", move || {
            let script = format!(
                "usdt:{file}:bench:hit {{ printf(\"HIT %d %s\\n\", arg1, str(arg2, arg3)); }}"
            );
            start(pinned(OTHER_CPU, "bpftrace").args(["-q", "-B", "line", "-e", &script]), "HIT")
        }),
        Benchmark::new("bcc trace", move || {
            let probe = format!("u:{file}:hit \"HIT %d %s\", arg2, arg3");
            let mut bcc = pinned(OTHER_CPU, "trace-bpfcc");
            start(bcc.args(["-p", pid, &probe]).env("PYTHONUNBUFFERED", "1"), "HIT")
        }),
    ];
    Ok(Table {
        title: "Start to first event".to_owned(),
        how: "A program fires a probe every 200 µs. Time runs from the start of the tracer to its first \
              event on standard output. Memory is `VmHWM` at that time; for `usdt-attach` it includes \
              the event buffer of 8 MiB."
            .to_owned(),
        columns: vec![Column::new("first event", "ms"), Column::new("resident memory", "MiB")],
        rows: run_rounds(11, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// Measures the time from the moment at which a traced program begins to load a library to the first
/// event of the library.
fn library() -> Result<Table, String> {
    let folder = harness::folder();
    let source = |name: &str| usdt_e2e::root().join("tests/c/libraries").join(name);
    let (host, plug) = (folder.join("host"), folder.join("libplug.so"));
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&plug).arg(source("plug.c"));
    harness::output(&mut cc)?;
    harness::output(
        Command::new("cc").args(["-O2", "-o"]).arg(&host).arg(source("host.c")).arg("-ldl"),
    )?;
    let (host, plug) = (&host, &plug);
    let load = |how: &'static str| {
        move || time_to_library(host, &format!("{how} {}", plug.display())).map(|ms| vec![ms])
    };
    Ok(Table {
        title: "Loading a library to its first event".to_owned(),
        how: "A traced program loads a library and calls its function, which has a probe, every \
              200 µs. Time runs from the command to load it to the first event on the standard output \
              of `usdt-attach trace -p`."
            .to_owned(),
        columns: vec![Column::new("first event", "ms")],
        rows: run_rounds(
            11,
            vec![
                Benchmark::new("`dlopen`", load("load")),
                Benchmark::new("`dlmopen`, in another namespace", load("namespace")),
                Benchmark::new("`dlopen` of a file in memory", load("memory")),
            ],
        )?,
        base: None,
        plot: Plot::Bars,
    })
}

/// Starts `host` and a tracer, gives `host` this command to load a library, and has it fire until the
/// tracer prints an event. Returns the milliseconds.
fn time_to_library(host: &Path, command: &str) -> Result<f64, String> {
    /// After this time, a tracer follows its target.
    const START: Duration = Duration::from_millis(700);
    let mut host = start_with_pipes(&mut pinned(TARGET_CPU, host))?;
    let mut tracer = pinned(OTHER_CPU, our_tool("usdt-attach"));
    let pid = host.pid().to_string();
    let mut tracer = start_with_pipes(tracer.args(["trace", "plug:hit", "-p", &pid]))?;
    let events = BufReader::new(tracer.0.stdout.take().ok_or("no output")?);
    let (sender, first_event) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = events.lines().map_while(Result::ok);
        let first = lines.find(|line| line.contains("hit")).map(|_| Instant::now());
        if let Some(at) = first {
            // Fails if nobody waits for it any more.
            let _ = sender.send(at);
        }
        lines.for_each(drop);
    });
    std::thread::sleep(START);
    let mut input = host.0.stdin.take().ok_or("no input")?;
    let mut answers = BufReader::new(host.0.stdout.take().ok_or("no output")?).lines();
    let mut tell = |command: &str| -> Result<(), String> {
        writeln!(input, "{command}").map_err(|e| e.to_string())?;
        let answer = answers.next().ok_or("the program has ended")?.map_err(|e| e.to_string())?;
        (answer == "done").then_some(()).ok_or(answer)
    };
    let begin = Instant::now();
    tell(command)?;
    let elapsed = loop {
        tell("fire 1")?;
        match first_event.recv_timeout(Duration::from_micros(200)) {
            Ok(at) => break at.duration_since(begin),
            Err(RecvTimeoutError::Timeout) if begin.elapsed() < Duration::from_secs(10) => {}
            Err(error) => return Err(format!("no event of the library: {error}")),
        }
    };
    tracer.interrupt();
    let _ = reader.join();
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// Builds a program with `sites` sites of one probe. It exits at once, or runs until it is killed
/// if it gets an argument.
pub(crate) fn program_of(sites: usize) -> Result<PathBuf, String> {
    let mut source = String::from(
        "    .text\n    .globl main\nmain:\n    cmpl $2, %edi\n    jb 1f\n    pushq %rax\n    call pause\n1:  xorl %eax, %eax\n    \
         ret\n    .balign 16\nsites:\n",
    );
    let _ = writeln!(source, "    .rept {sites}\n    nop\n    ret\n    .balign 16\n    .endr");
    source.push_str("    .section .note.stapsdt, \"\", @note\n");
    for site in 0..sites {
        let _ = write!(
            source,
            "    .balign 4\n    .4byte 8, 37, 3\n    .asciz \"stapsdt\"\n    .8byte sites + {}, 0, 0\n    \
             .asciz \"p\"\n    .asciz \"probe\"\n    .asciz \"4@$1\"\n",
            16 * site
        );
    }
    source.push_str("    .section .note.GNU-stack, \"\", @progbits\n");
    let file = harness::folder().join(format!("sites-{sites}.S"));
    let program = harness::folder().join(format!("sites-{sites}"));
    std::fs::write(&file, source).map_err(|e| e.to_string())?;
    harness::output(Command::new("cc").arg("-no-pie").arg("-o").arg(&program).arg(&file))?;
    Ok(program)
}

/// Measures a whole process that attaches and detaches, by number of sites.
fn sites() -> Result<Table, String> {
    let mut benchmarks = Vec::new();
    for sites in [1, 10, 100, 1_000, 10_000] {
        let program = program_of(sites)?;
        let file = program.display().to_string();
        benchmarks.push(
            Benchmark::new(format!("usdt-attach, {}", count_of(sites, "site")), move || {
                let mut count = pinned(OTHER_CPU, our_tool("usdt-attach"));
                count.args(["count", "p:*", "--duration", "1ms", "--exe"]).arg(&program);
                time_command(&mut count).map(|ms| vec![ms])
            })
            .with_size(sites),
        );
        if sites <= 100 {
            let script = format!("usdt:{file}:p:probe {{ @ = count(); }} BEGIN {{ exit(); }}");
            benchmarks.push(
                Benchmark::new(format!("bpftrace, {}", count_of(sites, "site")), move || {
                    time_command(pinned(OTHER_CPU, "bpftrace").args(["-q", "-e", &script]))
                        .map(|ms| vec![ms])
                })
                .with_size(sites),
            );
        }
    }
    Ok(Table {
        title: "Attaching and detaching, by sites".to_owned(),
        how: "The whole process: start, find, attach, detach, exit. bpftrace creates one event per site \
              and detaches them one at a time."
            .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: run_rounds(7, benchmarks)?,
        base: None,
        plot: Plot::Lines("sites".to_owned()),
    })
}

/// Measures listing the probes of a file.
fn listing(fire: &Path) -> Result<Table, String> {
    let large = crate::parts::generator::large()?;
    let cache = harness::folder().join("perf-list").display().to_string();
    std::fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    let cache = &cache;
    let mut benchmarks = Vec::new();
    for (file, size) in [(fire, "2 MiB"), (large.as_path(), "102 MiB")] {
        let benchmark = |name: &str, program: PathBuf, args: Vec<String>| {
            Benchmark::new(format!("{name}, {size}"), move || {
                time_command(pinned(OTHER_CPU, &program).args(&args)).map(|ms| vec![ms])
            })
        };
        let path = file.display().to_string();
        benchmarks.push(benchmark(
            "`usdt-attach list`",
            our_tool("usdt-attach"),
            vec!["list".into(), path.clone()],
        ));
        benchmarks.push(benchmark(
            "`readelf -n`",
            "readelf".into(),
            vec!["-n".into(), path.clone()],
        ));
        benchmarks.push(benchmark(
            "`bpftrace -l`",
            "bpftrace".into(),
            vec!["-l".into(), format!("usdt:{path}:*")],
        ));
        benchmarks.push(benchmark(
            "bcc tplist",
            "tplist-bpfcc".into(),
            vec!["-l".into(), path.clone()],
        ));
        benchmarks.push(benchmark(
            "`perf buildid-cache --add`",
            "perf".into(),
            vec![
                "--buildid-dir".into(),
                cache.clone(),
                "buildid-cache".into(),
                "--add".into(),
                path,
            ],
        ));
    }
    Ok(Table {
        title: "Listing the probes of a file".to_owned(),
        how:
            "The whole process. perf lists from its own cache, to which the file is added first; a \
              file that is already there is not read again."
                .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: run_rounds(11, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// Measures listing the whole host, with a growing number of processes.
fn host() -> Result<Table, String> {
    const MAX_ADDITIONAL: usize = 1_000;
    let mut rows = Vec::new();
    let mut sleepers = Vec::new();
    for additional in [0, 10, 100, MAX_ADDITIONAL] {
        while sleepers.len() < additional {
            sleepers.push(start_quietly(Command::new("sleep").arg("3600"))?);
        }
        let benchmarks = vec![
            Benchmark::new(format!("usdt-attach, {additional} additional processes"), || {
                time_command(pinned("0,1", our_tool("usdt-attach")).args(["list", "--all"]))
                    .map(|ms| vec![ms])
            })
            .with_size(additional.max(1)),
            Benchmark::new(format!("readelf, {additional} additional processes"), || {
                let each = "for exe in /proc/[0-9]*/exe; do readelf -n $exe; done; true";
                time_command(pinned("0,1", "sh").args(["-c", each])).map(|ms| vec![ms])
            })
            .with_size(additional.max(1)),
        ];
        rows.extend(run_rounds(7, benchmarks)?);
    }
    let count = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let count = count
        .filter(|e| e.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()))
        .count();
    Ok(Table {
        title: "Listing a whole host, by processes".to_owned(),
        how: format!(
            "`usdt-attach list --all`, which scans every mapped file of every process, and \
             `readelf -n` on the executable of every process only. {} other processes run on the \
             machine.",
            count.saturating_sub(MAX_ADDITIONAL)
        ),
        columns: vec![Column::new("whole process", "ms")],
        rows,
        base: None,
        plot: Plot::Lines("additional processes".to_owned()),
    })
}
