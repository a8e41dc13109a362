//! What attaching and looking for probes takes.

use crate::harness::{
    self, OTHER_CPU, SEAL, TARGET_CPU, memory, ours, pinned, start_quietly, timed,
};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, rounds};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use usdt_e2e::Process;

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let fire = harness::go_build(&[SEAL], "./fire", "fire")?;
    Ok(vec![start(&fire)?, sites()?, discovery(&fire)?, host()?])
}

/// From the start of a tracer to its first event, and the most memory it had resident by then.
fn start(fire: &Path) -> Result<Table, String> {
    let mut target = pinned(TARGET_CPU, fire);
    target.args(["-pause", "200us", "-text", "41"]).stdout(Stdio::null());
    let target = target.spawn().map(Process).map_err(|e| e.to_string())?;
    target.wait_for_exec(fire);
    let (pid, file) = (target.pid().to_string(), fire.display().to_string());
    let first = |tracer: &mut Command, mark: &str| {
        let begin = Instant::now();
        let mut tracer = tracer
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Process)
            .map_err(|e| e.to_string())?;
        let mut out = BufReader::new(tracer.0.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        loop {
            line.clear();
            if out.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
                return Err("it ended without an event".to_owned());
            }
            if line.contains(mark) {
                break;
            }
        }
        let took = begin.elapsed().as_secs_f64() * 1e3;
        let peak = memory(tracer.pid(), "VmHWM");
        // What it still says goes nowhere: a tracer whose reader is gone ends before it has detached.
        let rest = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        tracer.interrupt();
        let _ = rest.join();
        Ok(vec![took, peak])
    };
    let (first, pid, file) = (&first, &pid, &file);
    let attach = |args: &'static [&str]| {
        move || {
            first(
                pinned(OTHER_CPU, ours("usdt-attach"))
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
            first(pinned(OTHER_CPU, "bpftrace").args(["-q", "-B", "line", "-e", &script]), "HIT")
        }),
        Benchmark::new("bcc's trace", move || {
            let probe = format!("u:{file}:hit \"HIT %d %s\", arg2, arg3");
            let mut bcc = pinned(OTHER_CPU, "trace-bpfcc");
            first(bcc.args(["-p", pid, &probe]).env("PYTHONUNBUFFERED", "1"), "HIT")
        }),
    ];
    Ok(Table {
        title: "Start to first event".to_owned(),
        how: "A program fires a probe every 200 µs; from starting the tracer to reading its first event from its \
              standard output. Memory is what `VmHWM` says then: in that of `usdt-attach` are the 8 MiB of the event \
              buffer."
            .to_owned(),
        columns: vec![Column::new("first event", "ms"), Column::new("resident memory", "MiB")],
        rows: rounds(11, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// A program of so many sites, all of one probe. It ends at once, or stays where it has an argument.
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
    harness::done(Command::new("cc").arg("-no-pie").arg("-o").arg(&program).arg(&file))?;
    Ok(program)
}

fn sites() -> Result<Table, String> {
    let mut benchmarks = Vec::new();
    for sites in [1, 10, 100, 1_000, 10_000] {
        let program = program_of(sites)?;
        let file = program.display().to_string();
        benchmarks.push(
            Benchmark::new(format!("usdt-attach, {sites} sites"), move || {
                let mut count = pinned(OTHER_CPU, ours("usdt-attach"));
                count.args(["count", "p:*", "--duration", "1ms", "--exe"]).arg(&program);
                timed(&mut count).map(|ms| vec![ms])
            })
            .of_size(sites),
        );
        if sites <= 100 {
            let script = format!("usdt:{file}:p:probe {{ @ = count(); }} BEGIN {{ exit(); }}");
            benchmarks.push(
                Benchmark::new(format!("bpftrace, {sites} sites"), move || {
                    timed(pinned(OTHER_CPU, "bpftrace").args(["-q", "-e", &script]))
                        .map(|ms| vec![ms])
                })
                .of_size(sites),
            );
        }
    }
    Ok(Table {
        title: "Attaching and detaching, by sites".to_owned(),
        how: "The whole process: start, find, attach, detach, end. bpftrace makes an event for each site and detaches \
              them one by one."
            .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: rounds(7, benchmarks)?,
        base: None,
        plot: Plot::Lines("sites".to_owned()),
    })
}

/// Listing the probes of a file.
fn discovery(fire: &Path) -> Result<Table, String> {
    let large = crate::parts::generator::large()?;
    let cache = harness::folder().join("perf-list").display().to_string();
    std::fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    let cache = &cache;
    let mut benchmarks = Vec::new();
    for (file, size) in [(fire, "2 MiB"), (large.as_path(), "102 MiB")] {
        let one = |name: &str, program: PathBuf, args: Vec<String>| {
            Benchmark::new(format!("{name}, {size}"), move || {
                timed(pinned(OTHER_CPU, &program).args(&args)).map(|ms| vec![ms])
            })
        };
        let path = file.display().to_string();
        benchmarks.push(one(
            "`usdt-attach list`",
            ours("usdt-attach"),
            vec!["list".into(), path.clone()],
        ));
        benchmarks.push(one("`readelf -n`", "readelf".into(), vec!["-n".into(), path.clone()]));
        benchmarks.push(one(
            "`bpftrace -l`",
            "bpftrace".into(),
            vec!["-l".into(), format!("usdt:{path}:*")],
        ));
        benchmarks.push(one(
            "bcc's tplist",
            "tplist-bpfcc".into(),
            vec!["-l".into(), path.clone()],
        ));
        benchmarks.push(one(
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
        how: "The whole process. perf lists from a cache of its own, which it has to be given the file for; a file that is \
              there already it does not read again."
            .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: rounds(11, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// Everything that runs, beside more and more processes.
fn host() -> Result<Table, String> {
    const MOST: usize = 1_000;
    let mut rows = Vec::new();
    let mut sleepers = Vec::new();
    for more in [0, 10, 100, MOST] {
        while sleepers.len() < more {
            sleepers.push(start_quietly(Command::new("sleep").arg("3600"))?);
        }
        let benchmarks = vec![
            Benchmark::new(format!("usdt-attach, {more} more processes"), || {
                timed(pinned("0,1", ours("usdt-attach")).args(["list", "--all"])).map(|ms| vec![ms])
            })
            .of_size(more.max(1)),
            Benchmark::new(format!("readelf, {more} more processes"), || {
                let each = "for exe in /proc/[0-9]*/exe; do readelf -n $exe; done; true";
                timed(pinned("0,1", "sh").args(["-c", each])).map(|ms| vec![ms])
            })
            .of_size(more.max(1)),
        ];
        rows.extend(rounds(7, benchmarks)?);
    }
    let count = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let count = count
        .filter(|e| e.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()))
        .count();
    Ok(Table {
        title: "Listing a whole host, by processes".to_owned(),
        how: format!(
            "`usdt-attach list --all`, which looks into every mapped file of every process, and `readelf -n` of every process's \
             executable alone; {} processes beside those counted.",
            count.saturating_sub(MOST)
        ),
        columns: vec![Column::new("whole process", "ms")],
        rows,
        base: None,
        plot: Plot::Lines("processes more".to_owned()),
    })
}
