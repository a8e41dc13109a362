//! The cost of a hit in the traced program.

use crate::format::count_of;
use crate::harness::{self, OTHER_CPU, SEAL, TARGET_CPU, pinned, site, start_quietly};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use usdt_attach::backend::simulated::{Hit, Simulated};
use usdt_attach::event::Decoder;
use usdt_attach::session::Session;
use usdt_attach_cli::output::{json, text::Lines};
use usdt_e2e::{Process, text};

const ROUNDS: usize = 11;
const HITS: u32 = 100_000;
/// For tracers whose hits take a microsecond or more.
const SLOW_HITS: u32 = 20_000;

/// What the traced program fires.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(super) probe: &'static str,
    /// Length of the string argument.
    pub(super) text: u32,
    pub(super) hits: u32,
    pub(super) threads: u32,
    /// Milliseconds between enabling the probe and the first hit: some tracers enable it before
    /// they have compiled and attached.
    pub(super) settle: u32,
}

/// The load of most rows.
pub(crate) const HIT: Load = Load { probe: "hit", text: 41, hits: HITS, threads: 1, settle: 20 };

/// Returns the command of a tracer, given the pid of the traced process.
type Start<'a> = Box<dyn Fn(&str) -> Command + 'a>;

/// Fires under a tracer and returns the nanoseconds per hit. `start` returns the command of the
/// tracer, given the pid of the traced process.
pub(crate) fn fire(
    program: &Path,
    load: Load,
    start: &dyn Fn(&str) -> Command,
) -> Result<f64, String> {
    let cpus = if load.threads > 1 { "0,1" } else { TARGET_CPU };
    let mut fire = pinned(cpus, program);
    fire.args(["-probe", load.probe, "-n", &load.hits.to_string()]);
    fire.args(["-text", &load.text.to_string(), "-threads", &load.threads.to_string()]);
    fire.args(["-settle", &format!("{}ms", load.settle)]);
    let mut fire = fire
        .stdout(Stdio::piped())
        .spawn()
        .map(Process)
        .map_err(|e| format!("cannot start the traced program: {e}"))?;
    fire.wait_for_exec(program);
    let tracer = start_quietly(&mut start(&fire.pid().to_string()))?;
    let mut output = String::new();
    if let Some(mut out) = fire.0.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut output).map_err(|e| e.to_string())?;
    }
    tracer.interrupt();
    output.trim().parse().map_err(|_| format!("the traced program printed {output:?}"))
}

/// The traced program and the tool that attaches an empty BPF program.
struct Bench {
    fire: PathBuf,
    file: String,
    empty_tracer: PathBuf,
}

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let fire = harness::go_build(&[SEAL], "./fire", "fire")?;
    let bench =
        Bench { file: fire.display().to_string(), fire, empty_tracer: harness::cc("limit.c")? };
    Ok(vec![
        bench.tracers()?,
        bench.arguments()?,
        bench.threads()?,
        bench.events()?,
        bench.sustained()?,
        decoder(&bench.fire)?,
    ])
}

/// Returns a table of nanoseconds per hit.
fn ns_table(title: &str, how: &str, rows: Vec<crate::results::Row>, plot: Plot) -> Table {
    Table {
        title: title.to_owned(),
        how: how.to_owned(),
        columns: vec![Column::new("per hit", "ns")],
        rows,
        base: Some(0),
        plot,
    }
}

impl Bench {
    fn benchmark<'a>(&'a self, name: &str, load: Load, start: Start<'a>) -> Benchmark<'a> {
        Benchmark::new(name, move || fire(&self.fire, load, &start).map(|ns| vec![ns]))
    }

    /// Returns a tracer that attaches an empty BPF program, `distance` bytes from a site's 5-byte
    /// NOP. Its cost is a lower bound for every tracer.
    fn empty_program(&self, probe: &str, distance: i64) -> Result<Start<'_>, String> {
        let (offset, semaphore) = site(&self.fire, &format!("bench:{probe}"))?;
        let offset = offset.checked_add_signed(distance).ok_or("the offset is outside the file")?;
        Ok(Box::new(move |_| {
            let mut tracer = pinned(OTHER_CPU, &self.empty_tracer);
            tracer.args([&self.file, &offset.to_string(), &semaphore.to_string()]);
            tracer
        }))
    }

    /// Returns a tracer that runs `usdt-attach`.
    fn usdt_attach<'a>(&'a self, args: &'a [&'a str]) -> Start<'a> {
        Box::new(move |pid| {
            let mut attach = pinned(OTHER_CPU, harness::our_tool("usdt-attach"));
            attach.args(args).args(["-p", pid]);
            attach
        })
    }

    fn tracers(&self) -> Result<Table, String> {
        let file = &self.file;
        let bpftrace = |action: &str| -> Start<'_> {
            let script = format!("usdt:{file}:bench:hit {{ {action} }}");
            Box::new(move |_| {
                let mut bpftrace = pinned(OTHER_CPU, "bpftrace");
                bpftrace.args(["-q", "-e", &script]);
                bpftrace
            })
        };
        let bcc = |tool: &'static str, args: Vec<String>| -> Start<'_> {
            Box::new(move |pid| {
                let mut bcc = pinned(OTHER_CPU, tool);
                bcc.args(["-p", pid]).args(&args);
                bcc
            })
        };
        let slow_start = Load { settle: 500, ..HIT };
        let compiled = Load { settle: 4_000, ..HIT };
        let (object, loader) = usdt_e2e::libbpf(&harness::folder());
        let libbpf: Start<'_> = Box::new(move |_| {
            let mut usdt = pinned(OTHER_CPU, &loader);
            usdt.arg(&object).args([file, "bench", "hit", "1000000000"]);
            usdt
        });
        let perf = Perf::define(file)?;
        let record: Start<'_> = Box::new(|pid| perf.record(pid));
        let trace = format!("u:{file}:hit \"%d %d %s\", arg1, arg2, arg3");
        let argdist = format!("u:{file}:hit():u64:arg2");
        let rows = run_rounds(
            ROUNDS,
            vec![
                self.benchmark(
                    "empty BPF program at the 5-byte NOP",
                    HIT,
                    self.empty_program("hit", 0)?,
                ),
                self.benchmark(
                    "`usdt-attach count`",
                    HIT,
                    self.usdt_attach(&["count", "bench:hit"]),
                ),
                self.benchmark(
                    "`usdt-attach hist n`",
                    HIT,
                    self.usdt_attach(&["hist", "bench:hit", "n"]),
                ),
                self.benchmark(
                    "`usdt-attach latency`, two probes",
                    Load { probe: "pair", ..HIT },
                    self.usdt_attach(&[
                        "latency",
                        "bench:begin",
                        "bench:finish",
                        "--pair-by",
                        "id",
                    ]),
                ),
                self.benchmark(
                    "`usdt-attach trace`",
                    HIT,
                    self.usdt_attach(&["trace", "bench:hit"]),
                ),
                self.benchmark(
                    "`usdt-attach trace --backend bcc`",
                    HIT,
                    Box::new(|pid| {
                        let mut attach = pinned(OTHER_CPU, harness::our_tool("usdt-attach"));
                        attach.args(["trace", "bench:hit", "--backend", "bcc", "-p", pid]);
                        attach
                    }),
                ),
                // A stub consists of a NOP, a 10-byte NOP, a 5-byte NOP and a return.
                self.benchmark(
                    "empty BPF program at the 1-byte NOP",
                    HIT,
                    self.empty_program("hit", -11)?,
                ),
                self.benchmark("bpftrace, count", slow_start, bpftrace("@ = count();")),
                self.benchmark(
                    "bpftrace, printf of all arguments",
                    Load { hits: SLOW_HITS, ..slow_start },
                    bpftrace("printf(\"%d %d %s\\n\", arg0, arg1, str(arg2, arg3));"),
                ),
                self.benchmark(
                    "bcc argdist, histogram",
                    compiled,
                    bcc("argdist-bpfcc", vec!["-H".into(), argdist]),
                ),
                self.benchmark(
                    "bcc trace, all arguments",
                    Load { hits: SLOW_HITS, ..compiled },
                    bcc("trace-bpfcc", vec![trace]),
                ),
                self.benchmark("libbpf, all arguments with `bpf_usdt_arg`", slow_start, libbpf),
                self.benchmark("perf record", slow_start, record),
                self.benchmark(
                    "empty BPF program at a single-stepped instruction",
                    Load { hits: SLOW_HITS, ..HIT },
                    self.empty_program("hit", 5)?,
                ),
            ],
        )?;
        Ok(ns_table(
            "Cost per hit, by tracer",
            "One thread fires a probe of three arguments, one a string of 41 bytes, without a pause. \
             Times are wall time in the traced program, which has one CPU; the tracer has the other. \
             Tracers that attach at the 1-byte NOP, where the note points, take the breakpoint path \
             of the kernel. Their output is discarded.",
            rows,
            Plot::Bars,
        ))
    }

    fn arguments(&self) -> Result<Table, String> {
        let mut benchmarks = vec![self.benchmark(
            "empty BPF program",
            Load { probe: "nothing", ..HIT },
            self.empty_program("nothing", 0)?,
        )];
        let all: [(&str, Load, [&str; 4]); 6] = [
            (
                "no arguments",
                Load { probe: "nothing", ..HIT },
                ["trace", "bench:nothing", "--max-string", "64"],
            ),
            (
                "3 integers",
                Load { probe: "three", ..HIT },
                ["trace", "bench:three", "--max-string", "64"],
            ),
            (
                "6 integers",
                Load { probe: "six", ..HIT },
                ["trace", "bench:six", "--max-string", "64"],
            ),
            (
                "string of 16 bytes",
                Load { probe: "text", text: 16, ..HIT },
                ["trace", "bench:text", "--max-string", "200"],
            ),
            (
                "string of 200 bytes",
                Load { probe: "text", text: 200, ..HIT },
                ["trace", "bench:text", "--max-string", "200"],
            ),
            (
                "2 integers and a string of 41 bytes",
                HIT,
                ["trace", "bench:hit", "--max-string", "64"],
            ),
        ];
        for (name, load, args) in &all {
            benchmarks.push(self.benchmark(name, *load, self.usdt_attach(args)));
        }
        let rows = run_rounds(ROUNDS, benchmarks)?;
        Ok(ns_table(
            "Cost per traced hit, by arguments",
            "`usdt-attach trace` records the time, process, thread, command name, goroutine id, \
             and these arguments.",
            rows,
            Plot::Bars,
        ))
    }

    fn threads(&self) -> Result<Table, String> {
        const OURS: [(&str, &[&str]); 3] = [
            ("count", &["count", "bench:hit"]),
            ("hist", &["hist", "bench:hit", "n"]),
            ("trace", &["trace", "bench:hit"]),
        ];
        let mut benchmarks = Vec::new();
        for threads in [1, 2] {
            let load = Load { threads, ..HIT };
            let label = count_of(threads as usize, "thread");
            benchmarks.push(self.benchmark(
                &format!("empty BPF program, {label}"),
                load,
                self.empty_program("hit", 0)?,
            ));
            for (name, args) in OURS {
                benchmarks.push(self.benchmark(
                    &format!("{name}, {label}"),
                    load,
                    self.usdt_attach(args),
                ));
            }
        }
        let rows = run_rounds(ROUNDS, benchmarks)?;
        Ok(ns_table(
            "Cost per hit, by firing threads",
            "As above, with one firing thread and with two, which leave no CPU to the reader of \
             events; wall time per hit of each thread.",
            rows,
            Plot::None,
        ))
    }

    /// Shows that the total cost is proportional to the number of hits.
    fn events(&self) -> Result<Table, String> {
        let trace = ["trace", "bench:hit"];
        let mut benchmarks = Vec::new();
        for hits in [1_000, 10_000, 100_000, 1_000_000] {
            let load = Load { hits, ..HIT };
            for (name, start) in [
                ("empty BPF program", self.empty_program("hit", 0)?),
                ("trace", self.usdt_attach(&trace)),
            ] {
                let measure = move || {
                    fire(&self.fire, load, &start).map(|ns| vec![ns * f64::from(hits) / 1e6])
                };
                benchmarks.push(
                    Benchmark::new(format!("{name}, {hits} hits"), measure)
                        .with_size(hits as usize),
                );
            }
        }
        Ok(Table {
            title: "Total time, by hits".to_owned(),
            how: "The same loop with an increasing number of hits.".to_owned(),
            columns: vec![Column::new("total", "ms")],
            rows: run_rounds(7, benchmarks)?,
            base: None,
            plot: Plot::Lines("hits".to_owned()),
        })
    }

    /// Measures the throughput when events are read while they are written.
    fn sustained(&self) -> Result<Table, String> {
        const TOTAL_HITS: u32 = 5_000_000;
        let measure = |threads: u32| {
            let mut attach = pinned("0,1", harness::our_tool("usdt-attach"));
            attach.args(["trace", "bench:hit", "--"]).arg(&self.fire);
            attach.args([
                "-threads",
                &threads.to_string(),
                "-n",
                &(TOTAL_HITS / threads).to_string(),
            ]);
            let begin = Instant::now();
            let out = attach.stdout(Stdio::null()).output().map_err(|e| e.to_string())?;
            let elapsed = begin.elapsed().as_secs_f64();
            let summary = text(&out.stderr);
            // The summary includes the hits that were fired to warm up.
            let number = |after: &str| -> Option<f64> {
                summary.split_once(after)?.0.rsplit([' ', '\n']).next()?.parse().ok()
            };
            let (Some(delivered), Some(dropped)) = (number(" delivered"), number(" dropped"))
            else {
                return Err(format!("usdt-attach printed {summary:?}"));
            };
            Ok(vec![delivered / elapsed / 1e6, dropped])
        };
        let benchmarks = vec![
            Benchmark::new("1 firing thread", move || measure(1)),
            Benchmark::new("2 firing threads", move || measure(2)),
        ];
        Ok(Table {
            title: "Sustained throughput".to_owned(),
            how: "`usdt-attach trace bench:hit -- fire -n 5000000`, printed as text to \
                  `/dev/null`, from the start of the tracer to its exit."
                .to_owned(),
            columns: vec![
                Column::new("delivered", "million events/s"),
                Column::new("dropped", "events"),
            ],
            rows: run_rounds(7, benchmarks)?,
            base: None,
            plot: Plot::None,
        })
    }
}

/// perf defines its events in the kernel. They are removed when this is dropped.
struct Perf {
    cache: String,
    data: String,
}

impl Perf {
    fn define(file: &str) -> Result<Perf, String> {
        let path = |name: &str| harness::folder().join(name).display().to_string();
        let perf = Perf { cache: path("perf-cache"), data: path("perf.data") };
        std::fs::create_dir_all(&perf.cache).map_err(|e| e.to_string())?;
        harness::output(perf.command().args(["buildid-cache", "--add", file]))?;
        harness::output(perf.command().args(["probe", "-q", "sdt_bench:hit"]))?;
        Ok(perf)
    }

    fn command(&self) -> Command {
        let mut perf = Command::new("perf");
        perf.args(["--buildid-dir", &self.cache]);
        perf
    }

    fn record(&self, pid: &str) -> Command {
        let mut perf = pinned(OTHER_CPU, "perf");
        perf.args([
            "--buildid-dir",
            &self.cache,
            "record",
            "-q",
            "-e",
            "sdt_bench:hit",
            "-o",
            &self.data,
            "-p",
            pid,
        ]);
        perf
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        let _ = self.command().args(["probe", "-q", "-d", "sdt_bench:*"]).output();
    }
}

/// Measures decoding and printing of one record on one CPU.
fn decoder(fire: &Path) -> Result<Table, String> {
    const EVENTS: u32 = 500_000;
    let plan = std::sync::Arc::new(harness::plan(fire, "bench:hit")?);
    let backend = Simulated::default();
    let mut session =
        Session::start(std::sync::Arc::clone(&plan), &backend).map_err(|e| e.to_string())?;
    let pointer = 4096;
    // Registers by their offset in `pt_regs`. The string is Go's third and fourth argument word
    // (`%rcx`, `x2`).
    let string = if cfg!(target_arch = "aarch64") { 2 } else { 11 };
    let registers =
        (0..21).map(|word| (8 * word, if word == string { pointer } else { 41 })).collect();
    let memory = std::collections::BTreeMap::from([(pointer, vec![b'x'; 256])]);
    backend.hit(&Hit {
        pid: 1,
        tid: 1,
        comm: "fire".to_owned(),
        registers,
        memory,
        ..Hit::default()
    });
    let mut record = Vec::new();
    session.drain(|event| record = event.record().to_vec()).map_err(|e| e.to_string())?;
    let decoder = Decoder::new(plan);
    let (record, decoder) = (&record, &decoder);
    if decoder.decode(record).is_none() {
        return Err("the record cannot be decoded".to_owned());
    }
    let throughput = |mut each: Box<dyn FnMut(&usdt_attach::event::Event<'_>)>| {
        let begin = Instant::now();
        for _ in 0..EVENTS {
            if let Some(event) = decoder.decode(std::hint::black_box(record)) {
                each(&event);
            }
        }
        Ok(vec![f64::from(EVENTS) / begin.elapsed().as_secs_f64() / 1e6])
    };
    let benchmarks = vec![
        Benchmark::new("every argument decoded", move || {
            throughput(Box::new(|event| {
                event.args().for_each(|argument| {
                    std::hint::black_box(argument);
                });
            }))
        }),
        Benchmark::new("printed as text", move || {
            let mut lines = Lines::new(false);
            throughput(Box::new(move |event| {
                let _ = lines.event(&mut std::io::sink(), event, &[]);
            }))
        }),
        Benchmark::new("printed as JSON", move || {
            throughput(Box::new(|event| {
                let _ = json::event(&mut std::io::sink(), event, None);
            }))
        }),
    ];
    Ok(Table {
        title: "Decoding records".to_owned(),
        how: "One record of three arguments, one a string, decoded 500,000 times on one CPU."
            .to_owned(),
        columns: vec![Column::new("records", "million/s")],
        rows: run_rounds(ROUNDS, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}
