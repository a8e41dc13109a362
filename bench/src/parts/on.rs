//! What a hit costs in the program that is traced.

use crate::harness::{self, OTHERS, SEAL, TARGET, pinned, quietly, site};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, rounds};
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
/// For what takes a microsecond and more.
const FEWER: u32 = 20_000;

/// What is fired.
#[derive(Clone, Copy)]
struct Load {
    probe: &'static str,
    text: u32,
    hits: u32,
    threads: u32,
    /// Milliseconds between being enabled and the first hit: some tracers enable before they attach, and compile
    /// meanwhile.
    settle: u32,
}

const HIT: Load = Load { probe: "hit", text: 41, hits: HITS, threads: 1, settle: 20 };

/// How a tracer is started, given the traced process.
type Start<'a> = Box<dyn Fn(&str) -> Command + 'a>;

struct Bench {
    fire: PathBuf,
    file: String,
    limit: PathBuf,
}

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let fire = harness::go_build(&[SEAL], "./fire", "fire")?;
    let bench = Bench { file: fire.display().to_string(), fire, limit: harness::cc("limit.c")? };
    Ok(vec![
        bench.tracers()?,
        bench.arguments()?,
        bench.threads()?,
        bench.events()?,
        bench.sustained()?,
        decoder(&bench.fire)?,
    ])
}

fn ns(title: &str, how: &str, rows: Vec<crate::results::Row>, plot: Plot) -> Table {
    Table {
        title: title.to_owned(),
        how: how.to_owned(),
        columns: vec![Column::new("a hit", "ns")],
        rows,
        base: Some(0),
        plot,
    }
}

impl Bench {
    /// Nanoseconds a hit, under a tracer.
    fn fire(&self, load: Load, start: &Start<'_>) -> Result<f64, String> {
        let processors = if load.threads > 1 { "0,1" } else { TARGET };
        let mut fire = pinned(processors, &self.fire);
        fire.args([
            "-probe",
            load.probe,
            "-n",
            &load.hits.to_string(),
            "-text",
            &load.text.to_string(),
        ]);
        fire.args([
            "-threads",
            &load.threads.to_string(),
            "-settle",
            &format!("{}ms", load.settle),
        ]);
        let mut fire = fire
            .stdout(Stdio::piped())
            .spawn()
            .map(Process)
            .map_err(|e| format!("cannot start the traced program: {e}"))?;
        fire.wait_until_it_runs(&self.fire);
        let tracer = quietly(&mut start(&fire.pid().to_string()))?;
        let mut said = String::new();
        if let Some(mut out) = fire.0.stdout.take() {
            std::io::Read::read_to_string(&mut out, &mut said).map_err(|e| e.to_string())?;
        }
        tracer.interrupt();
        said.trim().parse().map_err(|_| format!("the traced program said {said:?}"))
    }

    fn benchmark<'a>(&'a self, name: &str, load: Load, start: Start<'a>) -> Benchmark<'a> {
        Benchmark::new(name, move || self.fire(load, &start).map(|ns| vec![ns]))
    }

    /// The kernel's limit, at a site's optimized NOP and so many bytes from there.
    fn limit(&self, probe: &str, distance: i64) -> Result<Start<'_>, String> {
        let (offset, semaphore) = site(&self.fire, &format!("bench:{probe}"))?;
        let offset = offset.checked_add_signed(distance).ok_or("there is no such place")?;
        Ok(Box::new(move |_| {
            let mut limit = pinned(OTHERS, &self.limit);
            limit.args([&self.file, &offset.to_string(), &semaphore.to_string()]);
            limit
        }))
    }

    fn ours<'a>(&'a self, args: &'a [&'a str]) -> Start<'a> {
        Box::new(move |pid| {
            let mut attach = pinned(OTHERS, harness::ours("usdt-attach"));
            attach.args(args).args(["-p", pid]);
            attach
        })
    }

    fn tracers(&self) -> Result<Table, String> {
        let file = &self.file;
        let bpftrace = |action: &str| -> Start<'_> {
            let script = format!("usdt:{file}:bench:hit {{ {action} }}");
            Box::new(move |_| {
                let mut bpftrace = pinned(OTHERS, "bpftrace");
                bpftrace.args(["-q", "-e", &script]);
                bpftrace
            })
        };
        let bcc = |tool: &'static str, args: Vec<String>| -> Start<'_> {
            Box::new(move |pid| {
                let mut bcc = pinned(OTHERS, tool);
                bcc.args(["-p", pid]).args(&args);
                bcc
            })
        };
        let slow = Load { settle: 500, ..HIT };
        let compiled = Load { settle: 4_000, ..HIT };
        let (object, loader) = usdt_e2e::libbpf(&harness::folder());
        let libbpf: Start<'_> = Box::new(move |_| {
            let mut usdt = pinned(OTHERS, &loader);
            usdt.arg(&object).args([file, "bench", "hit", "1000000000"]);
            usdt
        });
        let perf = Perf::define(file)?;
        let record: Start<'_> = Box::new(|pid| perf.record(pid));
        let trace = format!("u:{file}:hit \"%d %d %s\", arg1, arg2, arg3");
        let argdist = format!("u:{file}:hit():u64:arg2");
        let rows = rounds(
            ROUNDS,
            vec![
                self.benchmark(
                    "limit: empty program at the 5-byte no-op",
                    HIT,
                    self.limit("hit", 0)?,
                ),
                self.benchmark("`usdt-attach count`", HIT, self.ours(&["count", "bench:hit"])),
                self.benchmark("`usdt-attach hist n`", HIT, self.ours(&["hist", "bench:hit", "n"])),
                self.benchmark(
                    "`usdt-attach latency`, two probes",
                    Load { probe: "pair", ..HIT },
                    self.ours(&["latency", "bench:begin", "bench:finish", "--pair-by", "id"]),
                ),
                self.benchmark("`usdt-attach trace`", HIT, self.ours(&["trace", "bench:hit"])),
                self.benchmark(
                    "`usdt-attach trace --backend bcc`",
                    HIT,
                    Box::new(|pid| {
                        let mut attach = pinned(OTHERS, harness::ours("usdt-attach"));
                        attach.args(["trace", "bench:hit", "--backend", "bcc", "-p", pid]);
                        attach
                    }),
                ),
                // The pattern of a stub: no-op, 10-byte no-op, 5-byte no-op, return.
                self.benchmark(
                    "limit: empty program at the 1-byte no-op",
                    HIT,
                    self.limit("hit", -11)?,
                ),
                self.benchmark("bpftrace, count", slow, bpftrace("@ = count();")),
                self.benchmark(
                    "bpftrace, printf of all arguments",
                    Load { hits: FEWER, ..slow },
                    bpftrace("printf(\"%d %d %s\\n\", arg0, arg1, str(arg2, arg3));"),
                ),
                self.benchmark(
                    "bcc's argdist, a histogram",
                    compiled,
                    bcc("argdist-bpfcc", vec!["-H".into(), argdist]),
                ),
                self.benchmark(
                    "bcc's trace, all arguments",
                    Load { hits: FEWER, ..compiled },
                    bcc("trace-bpfcc", vec![trace]),
                ),
                self.benchmark("libbpf, all arguments by `bpf_usdt_arg`", slow, libbpf),
                self.benchmark("perf record", slow, record),
                self.benchmark(
                    "limit: empty program at an instruction to be stepped over",
                    Load { hits: FEWER, ..HIT },
                    self.limit("hit", 5)?,
                ),
            ],
        )?;
        Ok(ns(
            "A hit, by tracer",
            "One thread fires a probe of three arguments, one a string of 41 bytes, without a pause; wall time in the \
             traced program, which has one processor, the tracer the other. Tracers that attach where the note says, at the \
             1-byte no-op, take the kernel's breakpoint; what they print goes nowhere.",
            rows,
            Plot::Bars,
        ))
    }

    fn arguments(&self) -> Result<Table, String> {
        let mut benchmarks = vec![self.benchmark(
            "limit",
            Load { probe: "nothing", ..HIT },
            self.limit("nothing", 0)?,
        )];
        let all: [(&str, Load, [&str; 4]); 6] = [
            (
                "no argument",
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
                "a string of 16 bytes",
                Load { probe: "text", text: 16, ..HIT },
                ["trace", "bench:text", "--max-string", "200"],
            ),
            (
                "a string of 200 bytes",
                Load { probe: "text", text: 200, ..HIT },
                ["trace", "bench:text", "--max-string", "200"],
            ),
            ("3, one a string of 41 bytes", HIT, ["trace", "bench:hit", "--max-string", "64"]),
        ];
        for (name, load, args) in &all {
            benchmarks.push(self.benchmark(name, *load, self.ours(args)));
        }
        let rows = rounds(ROUNDS, benchmarks)?;
        Ok(ns(
            "A traced hit, by its arguments",
            "`usdt-attach trace`: time, process, thread, its name, goroutine id, and these.",
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
            benchmarks.push(self.benchmark(
                &format!("limit, {threads}"),
                load,
                self.limit("hit", 0)?,
            ));
            for (name, args) in OURS {
                benchmarks.push(self.benchmark(
                    &format!("{name}, {threads}"),
                    load,
                    self.ours(args),
                ));
            }
        }
        let rows = rounds(ROUNDS, benchmarks)?;
        Ok(ns(
            "A hit, by threads that fire",
            "As above, by one thread and by two, which leave the reader of events no processor of its own; wall time \
             for a hit of each.",
            rows,
            Plot::None,
        ))
    }

    /// The cost of all is that of one times their number.
    fn events(&self) -> Result<Table, String> {
        let trace = ["trace", "bench:hit"];
        let mut benchmarks = Vec::new();
        for hits in [1_000, 10_000, 100_000, 1_000_000] {
            let load = Load { hits, ..HIT };
            for (name, start) in [("limit", self.limit("hit", 0)?), ("trace", self.ours(&trace))] {
                let measure =
                    move || self.fire(load, &start).map(|ns| vec![ns * f64::from(hits) / 1e6]);
                benchmarks.push(
                    Benchmark::new(format!("{name}, {hits} hits"), measure).of_size(hits as usize),
                );
            }
        }
        Ok(Table {
            title: "Time by events".to_owned(),
            how: "The same, by how often the probe is hit.".to_owned(),
            columns: vec![Column::new("all hits", "ms")],
            rows: rounds(7, benchmarks)?,
            base: None,
            plot: Plot::Lines("hits".to_owned()),
        })
    }

    /// Everything is read while it is written.
    fn sustained(&self) -> Result<Table, String> {
        const ALL: u32 = 5_000_000;
        let measure = |threads: u32| {
            let mut attach = pinned("0,1", harness::ours("usdt-attach"));
            attach.args(["trace", "bench:hit", "--"]).arg(&self.fire);
            attach.args(["-threads", &threads.to_string(), "-n", &(ALL / threads).to_string()]);
            let begin = Instant::now();
            let out = attach.stdout(Stdio::null()).output().map_err(|e| e.to_string())?;
            let took = begin.elapsed().as_secs_f64();
            let said = text(&out.stderr);
            // Those that were fired to warm up are read, too.
            let number = |after: &str| -> Option<f64> {
                said.split_once(after)?.0.rsplit([' ', '\n']).next()?.parse().ok()
            };
            let (Some(delivered), Some(dropped)) = (number(" delivered"), number(" dropped"))
            else {
                return Err(format!("usdt-attach said {said:?}"));
            };
            Ok(vec![delivered / took / 1e6, dropped])
        };
        let benchmarks = vec![
            Benchmark::new("1 thread fires", move || measure(1)),
            Benchmark::new("2 threads fire", move || measure(2)),
        ];
        Ok(Table {
            title: "Sustained, end to end".to_owned(),
            how: "`usdt-attach trace bench:hit -- fire -n 5000000`, printed as text to `/dev/null`; from the start of the tracer to its end."
                .to_owned(),
            columns: vec![Column::new("delivered", "million events a second"), Column::new("dropped", "events")],
            rows: rounds(7, benchmarks)?,
            base: None,
            plot: Plot::None,
        })
    }
}

/// perf's events are the kernel's: defined once, and gone with this.
struct Perf {
    cache: String,
    data: String,
}

impl Perf {
    fn define(file: &str) -> Result<Perf, String> {
        let at = |name: &str| harness::folder().join(name).display().to_string();
        let perf = Perf { cache: at("perf-cache"), data: at("perf.data") };
        std::fs::create_dir_all(&perf.cache).map_err(|e| e.to_string())?;
        harness::done(perf.command().args(["buildid-cache", "--add", file]))?;
        harness::done(perf.command().args(["probe", "-q", "sdt_bench:hit"]))?;
        Ok(perf)
    }

    fn command(&self) -> Command {
        let mut perf = Command::new("perf");
        perf.args(["--buildid-dir", &self.cache]);
        perf
    }

    fn record(&self, pid: &str) -> Command {
        let mut perf = pinned(OTHERS, "perf");
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

/// What is done with a record on one processor.
fn decoder(fire: &Path) -> Result<Table, String> {
    const EVENTS: u32 = 500_000;
    let plan = std::sync::Arc::new(harness::plan(fire, "bench:hit")?);
    let backend = Simulated::default();
    let mut session =
        Session::start(std::sync::Arc::clone(&plan), &backend).map_err(|e| e.to_string())?;
    let pointer = 4096;
    // By their place in `pt_regs`; the text is Go's third and fourth word (`%rcx`, `x2`).
    let text = if cfg!(target_arch = "aarch64") { 2 } else { 11 };
    let registers =
        (0..21).map(|word| (8 * word, if word == text { pointer } else { 41 })).collect();
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
        return Err("the record cannot be read".to_owned());
    }
    let million = |mut each: Box<dyn FnMut(&usdt_attach::event::Event<'_>)>| {
        let begin = Instant::now();
        for _ in 0..EVENTS {
            if let Some(event) = decoder.decode(std::hint::black_box(record)) {
                each(&event);
            }
        }
        Ok(vec![f64::from(EVENTS) / begin.elapsed().as_secs_f64() / 1e6])
    };
    let benchmarks = vec![
        Benchmark::new("every argument read", move || {
            million(Box::new(|event| {
                event.args().for_each(|argument| {
                    std::hint::black_box(argument);
                });
            }))
        }),
        Benchmark::new("printed as text", move || {
            let mut lines = Lines::new(false);
            million(Box::new(move |event| {
                let _ = lines.event(&mut std::io::sink(), event, &[]);
            }))
        }),
        Benchmark::new("printed as JSON", move || {
            million(Box::new(|event| {
                let _ = json::event(&mut std::io::sink(), event, None);
            }))
        }),
    ];
    Ok(Table {
        title: "Reading records".to_owned(),
        how: "Half a million times the same record of three arguments, one a string, on one processor."
            .to_owned(),
        columns: vec![Column::new("records", "million a second")],
        rows: rounds(ROUNDS, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}
