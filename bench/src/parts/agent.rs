//! The resources of an agent: on an idle host with many processes and probes, and under load.

use crate::harness::{
    self, OTHER_CPU, TARGET_CPU, memory, our_tool, output, pinned, start_quietly, write,
};
use crate::parts::attacher::program_of;
use crate::parts::service::program::Programs;
use crate::parts::service::{COLLECTOR, cpu_time, start_collector, wait_for_listener};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use usdt_e2e::{Process, wait_for};

const ENDPOINT: &str = "127.0.0.1:19465";
const SERVICE: &str = "127.0.0.1:18070";
/// Sites of each file.
const SITES: usize = 100;
/// Time after which the agent has looked at everything once.
const SETTLING: Duration = Duration::from_secs(2);
/// Time over which the CPU share is measured.
const OBSERVATION: Duration = Duration::from_secs(10);

pub(crate) fn run() -> Result<Vec<Table>, String> {
    Ok(vec![idle()?, under_load()?])
}

/// Starts an agent and waits until its endpoint answers.
fn start_agent(config: &str) -> Result<Process, String> {
    let file = harness::folder().join("agent.toml");
    write(&file, format!("[prometheus]\nlisten = \"{ENDPOINT}\"\n{config}"))?;
    let agent = start_quietly(
        pinned(OTHER_CPU, our_tool("usdt-attach")).args(["agent", "--config"]).arg(file),
    )?;
    wait_for_listener(ENDPOINT);
    Ok(agent)
}

/// Reads a metric of the agent; NaN if it is missing.
fn metric(name: &str) -> f64 {
    let page = output(Command::new("curl").args(["-s", &format!("http://{ENDPOINT}/metrics")]))
        .unwrap_or_default();
    let value =
        page.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse().ok());
    value.unwrap_or(f64::NAN)
}

/// Measures the CPU share of the agent in percent.
fn cpu_share(agent: &Process) -> Result<f64, String> {
    let (begin, before) = (Instant::now(), cpu_time(agent.pid())?);
    std::thread::sleep(OBSERVATION);
    Ok(100.0 * (cpu_time(agent.pid())? - before) / begin.elapsed().as_secs_f64())
}

fn idle() -> Result<Table, String> {
    let site = program_of(SITES)?;
    let mut benchmarks = Vec::new();
    for (files, each) in [(2usize, 10usize), (20, 10), (20, 50)] {
        let copies: Vec<PathBuf> =
            (0..files).map(|n| harness::folder().join(format!("agent-{n}"))).collect();
        for copy in &copies {
            output(Command::new("cp").arg(&site).arg(copy))?;
        }
        let name = format!("{} processes of {files} files, {} sites", files * each, files * SITES);
        benchmarks.push(
            Benchmark::new(name, move || {
                let mut running = Vec::new();
                for copy in copies.iter().flat_map(|copy| std::iter::repeat_n(copy, each)) {
                    running.push(start_quietly(Command::new(copy).arg("stay"))?);
                }
                let begin = Instant::now();
                let agent = start_agent("[[count]]\nprobes = [\"p:probe\"]\nname = \"hits\"\n")?;
                let ready = begin.elapsed().as_secs_f64() * 1e3;
                if metric("usdt_attach_sites") < (files * SITES) as f64 {
                    return Err("not every site is attached".to_owned());
                }
                std::thread::sleep(SETTLING);
                let values = vec![ready, cpu_share(&agent)?, memory(agent.pid(), "VmHWM")];
                agent.interrupt();
                Ok(values)
            })
            .with_size(files * SITES),
        );
    }
    Ok(Table {
        title: "An agent on an idle host".to_owned(),
        how: format!(
            "`usdt-attach agent` with one counter for all files: the time until it answers, its CPU \
             share over {} s, from {} s after that, and its peak resident memory.",
            OBSERVATION.as_secs(),
            SETTLING.as_secs()
        ),
        columns: vec![
            Column::new("ready", "ms"),
            Column::new("CPU share", "%"),
            Column::new("memory", "MiB"),
        ],
        rows: run_rounds(5, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}

fn under_load() -> Result<Table, String> {
    let programs = Programs::small()?;
    let service = programs.named("probes")?.to_owned();
    let _collector = start_collector()?;
    let otlp = format!("[otlp]\nendpoint = \"http://{COLLECTOR}\"\n");
    let pair = "start = \"bench:request__start\"\nend = \"bench:request__done\"\nkey = \"id\"\n";
    let configs = [
        (
            "count and latency of requests",
            format!(
                "[[count]]\nprobes = [\"bench:request__start\"]\nlabels = [\"method\", \"path\"]\n[[latency]]\n{pair}"
            ),
        ),
        ("one span per request, with its arguments", format!("{otlp}[[span]]\n{pair}")),
    ];
    let (service, mut benchmarks) = (&service, Vec::new());
    for (name, config) in configs {
        benchmarks.push(Benchmark::new(name, move || {
            let mut target = pinned(TARGET_CPU, service);
            let target = start_quietly(target.args(["-listen", SERVICE]))?;
            wait_for_listener(SERVICE);
            let agent = start_agent(&config)?;
            wait_for("the agent to attach", || metric("usdt_attach_sites") > 0.0);
            let url = format!("http://{SERVICE}/orders?items=1");
            let (begin, before) = (Instant::now(), cpu_time(agent.pid())?);
            let mut load = pinned(OTHER_CPU, harness::folder().join("load"));
            let report = output(load.args(["-url", &url, "-duration", "3s"]))?;
            let report: serde_json::Value =
                serde_json::from_str(&report).map_err(|e| e.to_string())?;
            let requests =
                report.get("requests").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
            // The client shares the agent's CPU, so the agent may still have spans to send.
            std::thread::sleep(Duration::from_millis(1500));
            let used = cpu_time(agent.pid())? - before;
            let per_second = requests / begin.elapsed().as_secs_f64();
            let values = vec![per_second, used * 1e6 / requests, memory(agent.pid(), "VmHWM")];
            agent.interrupt();
            drop(target);
            Ok(values)
        }));
    }
    Ok(Table {
        title: "An agent under load".to_owned(),
        how: "`bench/go/service` on one CPU, under as many requests as the client, the agent and the \
              collector can handle on the other."
            .to_owned(),
        columns: vec![
            Column::new("requests", "/s"),
            Column::new("agent CPU per request", "µs"),
            Column::new("memory", "MiB"),
        ],
        rows: run_rounds(5, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}
