//! What a traced hit costs, beside one that runs an empty program; and how many sites attach in which time.

use super::{build_hits, median};
use crate::command::{Explain, Failure, Outcome, Running, command, execute, privileged, root};
use crate::setup::Tools;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Hits of a run, from one goroutine at full speed.
const HITS: &str = "200000";
/// Rounds, each of every mode once: what disturbs the machine disturbs all of them.
const ROUNDS: usize = 15;

const EMPTY: &str = "USDT(e2e, hit) { return 0; }\n";

pub(super) fn run(tools: &Tools) -> Outcome {
    let build = ["build", "--quiet", "--release", "-p", "usdt-attach"];
    let with_bcc = ["--features", "usdt-attach/bcc", "--target-dir", "target/bench/bcc"];
    execute(command("cargo", &build).args(with_bcc))?;
    let attach = root().join("target/bench/bcc/release/usdt-attach");
    let app = build_hits(tools)?;
    let empty = root().join("target/bench/empty.c");
    std::fs::write(&empty, EMPTY).explain("cannot write the empty program")?;
    let empty = empty.display().to_string();
    let mut modes: Vec<(&str, Vec<&str>)> = vec![
        ("count", vec!["count", "e2e:hit"]),
        ("count, filter on a number", vec!["count", "e2e:hit", "--filter", "n >= 5"]),
        ("count, by a number", vec!["count", "e2e:hit", "--by", "self"]),
        ("count, by a text", vec!["count", "e2e:hit", "--by", "text"]),
        ("hist", vec!["hist", "e2e:hit", "n"]),
        ("trace, three arguments", vec!["trace", "e2e:hit"]),
    ];
    if tools.bcc {
        modes.insert(0, ("an empty program", vec!["run", &empty]));
        modes.push(("trace by bcc", vec!["trace", "e2e:hit", "--backend", "bcc"]));
        modes.push(("hist by bcc", vec!["hist", "e2e:hit", "n", "--backend", "bcc"]));
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); modes.len()];
    let mut dropped = 0.0;
    for _ in 0..ROUNDS {
        for ((_, mode), times) in modes.iter().zip(&mut times) {
            let (time, lost) = hit(&attach, &app, mode)?;
            times.push(time);
            dropped += lost;
        }
    }
    println!(
        "\n{HITS} hits from one goroutine at full speed, {ROUNDS} rounds, ns a hit in the traced program; {dropped} dropped:"
    );
    let first = times.first().cloned().unwrap_or_default();
    for ((name, _), times) in modes.iter().zip(times) {
        let over: Vec<f64> = times.iter().zip(&first).map(|(time, first)| time - first).collect();
        let ratio: Vec<f64> = times.iter().zip(&first).map(|(time, first)| time / first).collect();
        let least = times.iter().copied().fold(f64::NAN, f64::min);
        println!(
            "  {name:<26} median {:>5.0}, least {least:>5.0}; over the first, round by round: {:+5.0}, x{:.2}",
            median(times),
            median(over),
            median(ratio)
        );
    }
    long(&attach, &app)?;
    sites(&attach)
}

/// Runs the program under a tracer: nanoseconds a hit, and how many were dropped.
fn hit(attach: &Path, app: &str, mode: &[&str]) -> Outcome<(f64, f64)> {
    let mut args = mode.to_vec();
    args.extend(["--exe", app]);
    let mut tracer = privileged(attach, &args);
    let tracer =
        tracer.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().explain("cannot start usdt-attach")?;
    let mut tracer = Running(tracer);
    let out = command(app, &["-per", HITS, "-time"]).output().explain("cannot run hits")?;
    privileged("kill", &["-INT", &tracer.0.id().to_string()])
        .output()
        .explain("cannot interrupt usdt-attach")?;
    let mut said = String::new();
    if let Some(mut errors) = tracer.0.stderr.take() {
        std::io::Read::read_to_string(&mut errors, &mut said).explain("cannot read what usdt-attach says")?;
    }
    tracer.0.wait().explain("cannot wait for usdt-attach")?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let took = number(&text, "took ", " ns").ok_or_else(|| Failure(format!("hits said: {text}{said}")))?;
    Ok((took, number(&said, "delivered, ", " dropped").unwrap_or(0.0)))
}

fn number(text: &str, before: &str, after: &str) -> Option<f64> {
    text.split_once(before)?.1.split_once(after)?.0.trim().parse().ok()
}

/// Ten million hits at full speed, every one of them read.
fn long(attach: &Path, app: &str) -> Outcome {
    let begin = Instant::now();
    let out = privileged(attach, &["trace", "e2e:hit", "--", app, "-per", "10000000"])
        .stdout(Stdio::null())
        .output()
        .explain("cannot run usdt-attach")?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    println!(
        "\n10,000,000 hits at full speed, printed to nowhere: {:.1} s; {}",
        begin.elapsed().as_secs_f64(),
        said.lines().last().unwrap_or_default()
    );
    Ok(())
}

/// Ten thousand sites: the whole process, from its start to its end.
fn sites(attach: &Path) -> Outcome {
    let mut source = String::from(
        "    .text\n    .globl main\nmain:\n    xorl %eax, %eax\n    ret\n    .balign 16\nsites:\n",
    );
    source.push_str("    .rept 10000\n    nop\n    ret\n    .balign 16\n    .endr\n");
    source.push_str("    .section .note.stapsdt, \"\", @note\n");
    for site in 0..10_000 {
        let _ = write!(
            source,
            "    .balign 4\n    .4byte 8, 37, 3\n    .asciz \"stapsdt\"\n    .8byte sites + {}, 0, 0\n    \
             .asciz \"p\"\n    .asciz \"probe\"\n    .asciz \"4@$1\"\n",
            16 * site
        );
    }
    source.push_str("    .section .note.GNU-stack, \"\", @progbits\n");
    let (file, app) = (root().join("target/bench/sites.S"), root().join("target/bench/sites"));
    std::fs::write(&file, source).explain("cannot write the program of many sites")?;
    let (file, app) = (file.display().to_string(), app.display().to_string());
    execute(&mut command("cc", &["-no-pie", "-o", &app, &file]))?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let mut count = privileged(attach, &["count", "--exe", &app, "--duration", "1ms"]);
        times.push(super::generator::timed(count.stdout(Stdio::null()).stderr(Stdio::null()))?);
    }
    println!(
        "10,000 sites found, attached, detached, by one process (median of 21): {:.0} ms",
        median(times)
    );
    Ok(())
}
