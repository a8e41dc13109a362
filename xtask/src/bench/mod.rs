//! Measurements for `docs/benchmarks.md`: what a probe costs off and on, what attaching costs.

mod generator;
mod hits;
mod overlay;

use crate::check;
use crate::command::{Explain, Failure, Outcome, Running, command, execute, output, privileged, root};
use crate::setup::{self, Tools};
use std::process::{Command, Stdio};
use std::time::Instant;

/// All of it, or the parts that are named.
pub(crate) fn run(parts: &[String]) -> Outcome {
    let tools = setup::run()?;
    check::build(&tools)?;
    execute(&mut command(
        "cargo",
        &["build", "--quiet", "--release", "-p", "usdt-gen", "-p", "usdt-attach"],
    ))?;
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder).explain("cannot create target/bench")?;
    machine(&tools)?;
    type Part = fn(&Tools) -> Outcome;
    let all: [(&str, Part); 6] = [
        ("generator", generator::run),
        ("gate", gate),
        ("start", start),
        ("listing", |_| listing()),
        ("hits", hits::run),
        ("overlay", overlay::run),
    ];
    if let Some(unknown) = parts.iter().find(|part| all.iter().all(|(name, _)| name != part)) {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        return Err(Failure(format!("there is no part `{unknown}`, but {}", names.join(", "))));
    }
    for (name, part) in all {
        if parts.is_empty() || parts.iter().any(|wanted| wanted == name) {
            part(&tools)?;
        }
    }
    Ok(())
}

/// Looking for probes: in everything that runs, among it 300 processes started for this, and in a large binary.
fn listing() -> Outcome {
    let attach = root().join("target/release/usdt-attach");
    let mut sleepers = Vec::new();
    for _ in 0..300 {
        sleepers.push(Running(Command::new("sleep").arg("600").spawn().explain("cannot start sleep")?));
    }
    let large = root().join("target/bench/large/plain").display().to_string();
    for (what, args) in [("--all beside 300 processes", ["list", "--all"]), ("of 102 MiB", ["list", &large])]
    {
        let mut times = Vec::new();
        for _ in 0..21 {
            let mut list = privileged(&attach, &args);
            times.push(generator::timed(list.stderr(Stdio::null()))?);
        }
        println!("usdt-attach list {what} (median of 21): {:.1} ms", median(times));
    }
    Ok(())
}

fn machine(tools: &Tools) -> Outcome {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or(" unknown")
        .trim_start_matches([':', '\t', ' ']);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!(
        "machine: {model}, {cores} cores, Linux {}, {}",
        output(&mut command("uname", &["-r"]))?.trim(),
        output(&mut tools.go("go", &["version"]))?.trim()
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The gate switched off against the loop it stands in: many short runs of both, one after the other, compared
/// run by run. A shared machine disturbs upwards only, so the least disturbed run is shown beside the median.
fn gate(tools: &Tools) -> Outcome {
    let binary = root().join("target/bench/gate.test").display().to_string();
    execute(tools.go("go", &["test", "-c", "-o", &binary, "./gate"]).current_dir(root().join("tests/go")))?;
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    let mut allocated = false;
    for _ in 0..21 {
        let args = [
            "-test.run",
            "^$",
            "-test.bench",
            ".",
            "-test.benchmem",
            "-test.benchtime",
            "200ms",
            "-test.cpu",
            "1",
        ];
        let text = output(&mut command(&binary, &args))?;
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|l| l.starts_with("Benchmark"))
            .map(|l| l.split_whitespace().collect())
            .collect();
        allocated |= rows.iter().any(|r| !r.ends_with(&["0", "allocs/op"]));
        rounds.push(rows.iter().filter_map(|r| r.get(2)?.parse().ok()).collect());
    }
    let column = |at: usize| -> Vec<f64> { rounds.iter().filter_map(|r| r.get(at).copied()).collect() };
    let over =
        |at: usize| -> Vec<f64> { column(at).iter().zip(column(0)).map(|(x, empty)| x - empty).collect() };
    let least = |values: Vec<f64>| values.into_iter().fold(f64::NAN, f64::min);
    println!("\nprobe off (21 runs of 200 ms each; allocations: {}):", if allocated { "some" } else { "0" });
    println!("  empty loop            median {:.3} ns, least {:.3} ns", median(column(0)), least(column(0)));
    for (at, name) in [(1, "three arguments"), (2, "twelve arguments"), (3, "three, by a closure")] {
        println!(
            "  {name:<23} over it: median {:+.3} ns; least against least {:+.3} ns",
            median(over(at)),
            least(column(at)) - least(column(0))
        );
    }
    Ok(())
}

/// Builds the tests' hit generator.
fn build_hits(tools: &Tools) -> Outcome<String> {
    let app = root().join("target/bench/hits").display().to_string();
    execute(
        tools
            .go("go", &["build", "-toolexec=usdt-gen toolexec", "-o", &app, "./hits"])
            .current_dir(root().join("tests/go")),
    )?;
    Ok(app)
}

/// From starting the attacher to its first event on standard output, and its peak memory beside the buffer.
fn start(tools: &Tools) -> Outcome {
    let app = build_hits(tools)?;
    let attach = root().join("target/release/usdt-attach");
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let mut target = Command::new(&app)
            .args(["-per", "50", "-linger", "300ms"])
            .stdout(Stdio::null())
            .spawn()
            .explain("cannot start hits")?;
        std::thread::sleep(std::time::Duration::from_millis(50));
        let begin = Instant::now();
        let mut tracer = privileged(&attach, &["trace", "-p", &target.id().to_string(), "--json", "e2e:hit"])
            .stdout(Stdio::piped())
            .spawn()
            .explain("cannot start usdt-attach")?;
        let mut line = String::new();
        if let Some(out) = tracer.stdout.take() {
            let mut reader = std::io::BufReader::new(out);
            std::io::BufRead::read_line(&mut reader, &mut line).explain("no event")?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            memory.push(peak_memory(tracer.id()));
            // The pipe stays open until the tracer has ended with its target.
            std::io::copy(&mut reader, &mut std::io::sink()).explain("cannot read events")?;
        }
        for child in [&mut tracer, &mut target] {
            child.wait().explain("cannot wait")?;
        }
        if !line.contains("\"probe\":\"hit\"") {
            return Err(Failure(format!("the first line was {line}")));
        }
    }
    println!(
        "\nattacher, start to first event (median of 10): {:.1} ms; peak resident memory {:.1} MiB, the event buffer of 8 MiB included",
        median(times),
        median(memory)
    );
    Ok(())
}

/// `VmHWM` in MiB.
fn peak_memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
