//! What the probes of the runtime and the standard library cost a program when nobody traces, and when somebody does.

use super::median;
use crate::command::{Explain, Failure, Outcome, Running, command, execute, output, privileged, root};
use crate::setup::Tools;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

/// Rounds, each of both programs.
const ROUNDS: usize = 25;

/// Benchmarks and what they fire, so many times an operation.
const TRACED: [(&str, &str, f64); 6] = [
    ("Goroutine", "go:goroutine__create", 1.0),
    ("Goroutine", "go:goroutine__exit", 1.0),
    ("Goroutine", "go:goroutine__start", 2.0),
    ("PingPong", "go:goroutine__block", 2.0),
    ("PingPong", "go:goroutine__unblock", 2.0),
    ("PingPong", "go:sched__latency", 2.0),
];

pub(super) fn run(tools: &Tools) -> Outcome {
    let folder = root().join("target/bench");
    let list = output(
        command("target/release/usdt-gen", &["overlay", "-o", "target/bench/overlay"])
            .env("PATH", tools.path())
            .current_dir(root()),
    )?;
    let overlay = format!("-overlay={}", list.trim());
    let build = |flags: &[&str], name: &str| {
        let out = folder.join(name).display().to_string();
        let args = [&["test", "-c", "-o", out.as_str()][..], flags, &["./overhead"]].concat();
        execute(tools.go("go", &args).current_dir(root().join("tests/go")))?;
        Ok::<_, Failure>(out)
    };
    let stock = build(&[], "overhead-stock")?;
    let again = folder.join("overhead-again").display().to_string();
    std::fs::copy(&stock, &again).explain("cannot copy the benchmark")?;
    let probed = build(&[&overlay, "-toolexec=usdt-gen toolexec"], "overhead-overlay")?;

    // Stock, overlay, and stock once more: what the same program differs by is what the machine does.
    let mut times: BTreeMap<String, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for round in 0..ROUNDS {
        // Who begins takes turns.
        let (first, second) = if round % 2 == 0 { (&stock, &probed) } else { (&probed, &stock) };
        let (first, second) = (measure(first, ".")?, measure(second, ".")?);
        let (stock, probed) = if round % 2 == 0 { (first, second) } else { (second, first) };
        let again = measure(&again, ".")?;
        for (name, ns) in stock {
            let of = |times: &BTreeMap<String, f64>| times.get(&name).copied().unwrap_or(f64::NAN);
            times.entry(name.clone()).or_default().push((ns, of(&probed), of(&again)));
        }
    }
    println!("\nprobes of the runtime and the standard library, nobody traces ({ROUNDS} rounds of both):");
    for (name, pairs) in &times {
        let column = |of: fn(&(f64, f64, f64)) -> f64| pairs.iter().map(of).collect::<Vec<f64>>();
        let least = |of: fn(&(f64, f64, f64)) -> f64| column(of).into_iter().fold(f64::NAN, f64::min);
        println!(
            "  {name:<16} stock {:>9.1} ns, overlay {:>9.1} ns; median ratio {:.3}, of stock by itself {:.3}; least by least {:.3}, {:.3}",
            median(column(|p| p.0)),
            median(column(|p| p.1)),
            median(column(|p| p.1 / p.0)),
            median(column(|p| p.2 / p.0)),
            least(|p| p.1) / least(|p| p.0),
            least(|p| p.2) / least(|p| p.0),
        );
    }
    println!("\nand counted by usdt-attach, one probe at a time:");
    for (name, probe, hits) in TRACED {
        let only = format!("^Benchmark{name}$");
        let mut costs = Vec::new();
        for _ in 0..5 {
            let off = measure(&probed, &only)?;
            let mut tracer =
                privileged(root().join("target/release/usdt-attach"), &["count", probe, "--exe", &probed]);
            let tracer = tracer.stdout(Stdio::null()).stderr(Stdio::null());
            let mut tracer = Running(tracer.spawn().explain("cannot start usdt-attach")?);
            std::thread::sleep(Duration::from_millis(200));
            let on = measure(&probed, &only)?;
            privileged("kill", &["-INT", &tracer.0.id().to_string()])
                .output()
                .explain("cannot interrupt usdt-attach")?;
            tracer.0.wait().explain("cannot wait for usdt-attach")?;
            let of = |times: &BTreeMap<String, f64>| times.get(name).copied().unwrap_or(f64::NAN);
            costs.push((of(&on) - of(&off)) / hits);
        }
        println!("  {probe:<32} {:>6.0} ns a hit (median of 5)", median(costs));
    }
    Ok(())
}

/// Nanoseconds an operation, by benchmark.
fn measure(program: &str, pattern: &str) -> Outcome<BTreeMap<String, f64>> {
    let pattern = format!("-test.bench={pattern}");
    let text =
        output(&mut command(program, &["-test.run=^$", &pattern, "-test.benchtime=200ms", "-test.cpu=1"]))?;
    let parse = |line: &str| {
        let name = line.strip_prefix("Benchmark")?.split_whitespace().next()?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "ns/op")?;
        Some((name.to_owned(), words.get(at.checked_sub(1)?)?.parse().ok()?))
    };
    Ok(text.lines().filter_map(parse).collect())
}
