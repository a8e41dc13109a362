//! The figures that are compared between two builds.

use super::builds::Build;
use crate::harness::{OTHER_CPU, SEAL, TARGET_CPU, cpu_time, output, pinned, time_command, write};
use crate::parts::{attacher, generator, off, on};
use std::process::Command;

/// Measures once, and returns nanoseconds or milliseconds.
pub(super) type Measure = Box<dyn FnMut() -> Result<f64, String>>;

/// A figure: less is better.
pub(super) struct Figure {
    /// The part of the benchmarks that it belongs to.
    pub(super) part: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Measurements per round and build, of which the shortest counts. Disturbances only lengthen a
    /// measurement.
    pub(super) repeats: usize,
    /// Prepares the measurement of a build.
    pub(super) prepare: fn(&Build) -> Result<Measure, String>,
}

/// All figures.
pub(super) const FIGURES: &[Figure] = &[
    Figure {
        part: "off",
        name: "disabled probe, in a loop",
        unit: "ns",
        repeats: 8,
        prepare: disabled_probe,
    },
    Figure { part: "on", name: "hit, counted", unit: "ns", repeats: 3, prepare: counted_hit },
    Figure { part: "on", name: "hit, traced", unit: "ns", repeats: 3, prepare: traced_hit },
    Figure {
        part: "attacher",
        name: "start to first event",
        unit: "ms",
        repeats: 3,
        prepare: first_event,
    },
    Figure {
        part: "attacher",
        name: "attach to 100 sites and detach",
        unit: "ms",
        repeats: 3,
        prepare: sites,
    },
    Figure {
        part: "attacher",
        name: "list a program",
        unit: "ms of CPU",
        repeats: 8,
        prepare: list,
    },
    Figure {
        part: "generator",
        name: "generate 1,000 probes",
        unit: "ms of CPU",
        repeats: 5,
        prepare: generate,
    },
    Figure {
        part: "generator",
        name: "seal a program",
        unit: "ms of CPU",
        repeats: 5,
        prepare: seal,
    },
];

fn disabled_probe(build: &Build) -> Result<Measure, String> {
    let program = build.go(&["test", "-c"], "./off")?;
    Ok(Box::new(move || {
        let mut benchmark = pinned(TARGET_CPU, &program);
        benchmark.args(["-test.run=^$", "-test.bench=^BenchmarkGate$", "-test.cpu=1"]);
        let out = output(benchmark.arg("-test.benchtime=2ms"))?;
        let mut results = off::parse(&out);
        results.next().map(|(_, ns)| ns).ok_or_else(|| format!("no benchmark in {out:?}"))
    }))
}

fn counted_hit(build: &Build) -> Result<Measure, String> {
    hit(build, &["count", "bench:hit"])
}

fn traced_hit(build: &Build) -> Result<Measure, String> {
    hit(build, &["trace", "bench:hit"])
}

fn hit(build: &Build, args: &'static [&'static str]) -> Result<Measure, String> {
    let fire = build.go(&["build", SEAL], "./fire")?;
    let attach = build.tool("usdt-attach");
    Ok(Box::new(move || {
        on::fire(&fire, on::HIT, &|pid| {
            let mut tracer = pinned(OTHER_CPU, &attach);
            tracer.args(args).args(["-p", pid]);
            tracer
        })
    }))
}

fn first_event(build: &Build) -> Result<Measure, String> {
    let fire = build.go(&["build", SEAL], "./fire")?;
    let target = attacher::start_target(&fire)?;
    let attach = build.tool("usdt-attach");
    Ok(Box::new(move || {
        let pid = target.pid().to_string();
        let mut tracer = pinned(OTHER_CPU, &attach);
        tracer.args(["trace", "bench:hit", "-p", &pid]);
        attacher::time_to_event(&mut tracer, "hit").map(|(ms, _)| ms)
    }))
}

fn sites(build: &Build) -> Result<Measure, String> {
    let program = attacher::program_of(100)?;
    let attach = build.tool("usdt-attach");
    Ok(Box::new(move || {
        let mut count = pinned(OTHER_CPU, &attach);
        count.args(["count", "p:*", "--duration", "1ms", "--exe"]).arg(&program);
        time_command(&mut count)
    }))
}

fn list(build: &Build) -> Result<Measure, String> {
    let fire = build.go(&["build", SEAL], "./fire")?;
    let attach = build.tool("usdt-attach");
    Ok(Box::new(move || cpu_time(Command::new(&attach).arg("list").arg(&fire))))
}

fn generate(build: &Build) -> Result<Measure, String> {
    let definition = build.output.join("probes.d");
    write(&definition, generator::definition(1_000))?;
    let (generate, out) = (build.tool("usdt-gen"), build.output.join("generated"));
    Ok(Box::new(move || {
        // The folder is missing before the first run.
        let _ = std::fs::remove_dir_all(&out);
        cpu_time(Command::new(&generate).arg(&definition).arg("-o").arg(&out))
    }))
}

fn seal(build: &Build) -> Result<Measure, String> {
    let fire = build.go(&["build"], "./fire")?;
    let (seal, out) = (build.tool("usdt-gen"), build.output.join("sealed"));
    Ok(Box::new(move || {
        // The file is missing before the first run.
        let _ = std::fs::remove_file(&out);
        cpu_time(Command::new(&seal).args(["seal", "-o"]).arg(&out).arg(&fire))
    }))
}
