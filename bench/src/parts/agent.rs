//! What an agent takes: beside many processes with many probes, and at work.

use crate::harness::{self, OTHERS, TARGET, done, memory, ours, pinned, quietly, write};
use crate::parts::attacher::program_of;
use crate::parts::service::program::Programs;
use crate::parts::service::{COLLECTOR, collector, processor_time, wait_for_listener};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, rounds};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use usdt_e2e::{Process, wait_for};

const ENDPOINT: &str = "127.0.0.1:19465";
const SERVICE: &str = "127.0.0.1:18070";
/// Sites of each file.
const SITES: usize = 100;
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(3);

pub(crate) fn run() -> Result<Vec<Table>, String> {
    Ok(vec![idle()?, at_work()?])
}

/// An agent that listens and says that it does.
fn agent(config: &str) -> Result<Process, String> {
    let file = harness::folder().join("agent.toml");
    write(&file, format!("[prometheus]\nlisten = \"{ENDPOINT}\"\n{config}"))?;
    let agent = quietly(pinned(OTHERS, ours("usdt-attach")).args(["agent", "--config"]).arg(file))?;
    wait_for_listener(ENDPOINT);
    Ok(agent)
}

/// A value of its page.
fn metric(name: &str) -> f64 {
    let page = done(Command::new("curl").args(["-s", &format!("http://{ENDPOINT}/metrics")]))
        .unwrap_or_default();
    let value =
        page.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse().ok());
    value.unwrap_or(f64::NAN)
}

fn share(agent: &Process) -> Result<f64, String> {
    let (begin, before) = (Instant::now(), processor_time(agent.pid())?);
    std::thread::sleep(WATCHED);
    Ok(100.0 * (processor_time(agent.pid())? - before) / begin.elapsed().as_secs_f64())
}

fn idle() -> Result<Table, String> {
    let site = program_of(SITES)?;
    let mut benchmarks = Vec::new();
    for (files, each) in [(2usize, 10usize), (20, 10), (20, 50)] {
        let copies: Vec<PathBuf> =
            (0..files).map(|n| harness::folder().join(format!("agent-{n}"))).collect();
        for copy in &copies {
            done(Command::new("cp").arg(&site).arg(copy))?;
        }
        let name = format!("{} processes of {files} files, {} sites", files * each, files * SITES);
        benchmarks.push(
            Benchmark::new(name, move || {
                let mut running = Vec::new();
                for copy in copies.iter().flat_map(|copy| std::iter::repeat_n(copy, each)) {
                    running.push(quietly(Command::new(copy).arg("stay"))?);
                }
                let begin = Instant::now();
                let agent = agent("[[count]]\nprobes = [\"p:probe\"]\nname = \"hits\"\n")?;
                let ready = begin.elapsed().as_secs_f64() * 1e3;
                if metric("usdt_attach_sites") < (files * SITES) as f64 {
                    return Err("not everything is attached".to_owned());
                }
                let values = vec![ready, share(&agent)?, memory(agent.pid(), "VmHWM")];
                agent.interrupt();
                Ok(values)
            })
            .of_size(files * SITES),
        );
    }
    Ok(Table {
        title: "An agent beside processes that do nothing".to_owned(),
        how: format!(
            "`usdt-attach agent` with one counter for all of them: until it answers, its share of a processor in the {} s behind, the most \
             memory it had resident.",
            WATCHED.as_secs()
        ),
        columns: vec![
            Column::new("ready", "ms"),
            Column::new("share of a CPU", "%"),
            Column::new("memory", "MiB"),
        ],
        rows: rounds(5, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}

fn at_work() -> Result<Table, String> {
    let programs = Programs::small()?;
    let service = programs.named("probes")?.to_owned();
    let _collector = collector()?;
    let otlp = format!("[otlp]\nendpoint = \"http://{COLLECTOR}\"\n");
    let pair = "start = \"bench:request__start\"\nend = \"bench:request__done\"\nkey = \"id\"\n";
    let configs = [
        (
            "requests counted and timed",
            format!(
                "[[count]]\nprobes = [\"bench:request__start\"]\nlabels = [\"method\", \"path\"]\n[[latency]]\n{pair}"
            ),
        ),
        ("each request a span with its arguments", format!("{otlp}[[span]]\n{pair}")),
    ];
    let (service, mut benchmarks) = (&service, Vec::new());
    for (name, config) in configs {
        benchmarks.push(Benchmark::new(name, move || {
            let mut target = pinned(TARGET, service);
            let target = quietly(target.args(["-listen", SERVICE]))?;
            wait_for_listener(SERVICE);
            let agent = agent(&config)?;
            wait_for("the agent to attach", || metric("usdt_attach_sites") > 0.0);
            let url = format!("http://{SERVICE}/orders?items=1");
            let (begin, before) = (Instant::now(), processor_time(agent.pid())?);
            let mut load = pinned(OTHERS, harness::folder().join("load"));
            let said = done(load.args(["-url", &url, "-duration", "3s"]))?;
            let said: serde_json::Value = serde_json::from_str(&said).map_err(|e| e.to_string())?;
            let requests =
                said.get("requests").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
            // Whoever asks has the same processor: what is still to be sent is waited for.
            std::thread::sleep(Duration::from_millis(1500));
            let used = processor_time(agent.pid())? - before;
            let per_second = requests / begin.elapsed().as_secs_f64();
            let values = vec![per_second, used * 1e6 / requests, memory(agent.pid(), "VmHWM")];
            agent.interrupt();
            drop(target);
            Ok(values)
        }));
    }
    Ok(Table {
        title: "An agent at work".to_owned(),
        how: "`bench/go/service`, as many requests as whoever asks, the agent and the collector leave room for on one processor, the \
              service having the other."
            .to_owned(),
        columns: vec![
            Column::new("requests", "/s"),
            Column::new("CPU of the agent a request", "µs"),
            Column::new("memory", "MiB"),
        ],
        rows: rounds(5, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}
