//! What generating and sealing cost.

use super::{median, peak_memory};
use crate::command::{Explain, Failure, Outcome, command, execute, root};
use crate::setup::Tools;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 21;

pub(super) fn run(tools: &Tools) -> Outcome {
    generate()?;
    seal(tools)
}

fn generator() -> std::path::PathBuf {
    root().join("target/release/usdt-gen")
}

/// Milliseconds that a command takes.
pub(super) fn timed(command: &mut Command) -> Outcome<f64> {
    let begin = Instant::now();
    let status = command.stdout(Stdio::null()).status().explain("cannot start")?;
    let took = begin.elapsed().as_secs_f64() * 1000.0;
    if status.success() { Ok(took) } else { Err(Failure(format!("{status}"))) }
}

/// Its peak memory in MiB, as far as a look every half millisecond sees it; looking takes time of its own.
fn peak(command: &mut Command) -> Outcome<f64> {
    let mut child = command.stdout(Stdio::null()).spawn().explain("cannot start")?;
    let mut memory = f64::NAN;
    loop {
        memory = memory.max(peak_memory(child.id()));
        if let Some(status) = child.try_wait().explain("cannot wait")? {
            return if status.success() { Ok(memory) } else { Err(Failure(format!("{status}"))) };
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn generate() -> Outcome {
    let definition = root().join("usdt-gen/corpus/files/a_thousand_probes.d");
    let folder = root().join("target/bench/thousand");
    let mut times = Vec::new();
    for _ in 0..RUNS {
        remove(&folder)?;
        times.push(timed(Command::new(generator()).arg(&definition).arg("-o").arg(&folder))?);
    }
    println!(
        "\na package of 1,000 probes with four arguments each (median of {RUNS}): {:.0} ms",
        median(times)
    );
    Ok(())
}

fn remove(path: &Path) -> Outcome {
    let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match gone {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure(format!("{}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// A program of a hundred mebibytes: copied by `cp`, sealed into another file, turn by turn.
fn seal(tools: &Tools) -> Outcome {
    let module = root().join("target/bench/large");
    std::fs::create_dir_all(module.join("probes")).explain("cannot create the module")?;
    let write = |name: &str, content: &[u8]| std::fs::write(module.join(name), content).explain(name);
    write("go.mod", b"module example.com/large\n\ngo 1.21\n")?;
    write("probes/probes.d", b"provider large { probe tick(int n); };\n")?;
    write("data", &vec![b'x'; 100 << 20])?;
    write(
        "main.go",
        b"package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/large/probes\"\n)\n\n//go:embed data\nvar data string\n\nfunc main() { probes.Tick(int32(len(data))) }\n",
    )?;
    execute(Command::new(generator()).arg("probes/probes.d").current_dir(&module))?;
    execute(tools.go("go", &["build", "-o", "plain", "."]).current_dir(&module))?;
    let (mut copy, mut sealed, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        remove(&module.join("copy"))?;
        copy.push(timed(command("cp", &["plain", "copy"]).current_dir(&module))?);
        let seal = || {
            let mut seal = Command::new(generator());
            seal.args(["seal", "-o", "sealed", "plain"]).current_dir(&module);
            remove(&module.join("sealed")).map(|()| seal)
        };
        sealed.push(timed(&mut seal()?)?);
        memory.push(peak(&mut seal()?)?);
    }
    println!(
        "a binary of 102 MiB (median of {RUNS}): copied by cp in {:.0} ms, sealed in {:.0} ms with {:.1} MiB of resident memory at most",
        median(copy),
        median(sealed),
        median(memory)
    );
    Ok(())
}
