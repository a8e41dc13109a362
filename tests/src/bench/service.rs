//! What services pay: as many requests as they answer, and how long each takes at 80 % of that.

mod program;

use super::results::{Column, Plot, Table};
use super::tool::{self, OTHERS, TARGET, done, memory, ours, pinned, quietly};
use super::turns::{Contestant, rounds};
use crate::{Process, wait_for};
use program::Programs;
pub(super) use program::overlay;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

const SERVICE: &str = "127.0.0.1:18080";
const COLLECTOR: &str = "127.0.0.1:18126";
/// Of what the service answers at most.
const SHARE: f64 = 0.8;

/// How a service is run.
struct Setup<'a> {
    name: &'static str,
    program: &'a Path,
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// What `usdt-attach` does to it.
    tracer: &'static [&'static str],
    collector: bool,
}

impl<'a> Setup<'a> {
    fn new(name: &'static str, program: &'a Path, args: &[&str]) -> Setup<'a> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Setup { name, program, args, environment: Vec::new(), tracer: &[], collector: false }
    }

    fn traced(mut self, tracer: &'static [&'static str]) -> Setup<'a> {
        self.tracer = tracer;
        self
    }

    fn collected(mut self, environment: &[(&'static str, &str)]) -> Setup<'a> {
        self.collector = true;
        self.environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self
    }
}

/// The probes of the program itself, and those that the overlay and entries have.
const OWN: &[&str] = &["trace", "bench:request_*"];
const OWN_COUNTED: &[&str] = &["count", "bench:request_*"];
const SERVER: &[&str] = &["trace", "net_http:server_request_*"];
const SERVER_COUNTED: &[&str] = &["count", "net_http:server_request_*"];

pub(super) fn run() -> Result<Vec<Table>, String> {
    Ok(vec![small(&Programs::small()?)?])
}

pub(super) fn caddy() -> Result<Vec<Table>, String> {
    Ok(vec![large(&Programs::large()?)?])
}

fn small(programs: &Programs) -> Result<Table, String> {
    let listen = ["-listen", SERVICE];
    let plain = programs.named("plain")?;
    let with = |name, program: &'static str| -> Result<Setup<'_>, String> {
        let program = programs.named(program)?;
        Ok(Setup::new(name, program, &listen))
    };
    let mut setups = vec![
        Setup::new("no probes", plain, &listen),
        Setup::new("no probes, once more", plain, &listen),
        with("probes, nobody traces", "probes")?,
        with("probes, counted", "probes")?.traced(OWN_COUNTED),
        with("probes, every request traced with arguments", "probes")?.traced(OWN),
        with("runtime overlay, nobody traces", "overlay")?,
        with("runtime overlay, requests counted", "overlay")?.traced(SERVER_COUNTED),
        with("runtime overlay, every request traced", "overlay")?.traced(SERVER),
        Setup::new(
            "OpenTelemetry SDK, a span a request",
            plain,
            &[&listen[..], &["-otel", COLLECTOR]].concat(),
        )
        .collected(&[]),
        Setup::new("function entries of the unmodified program, traced", plain, &listen).traced(SERVER),
    ];
    // Where it can be had.
    if let Ok(instrumented) = programs.named("instrumented") {
        let agent = format!("http://{COLLECTOR}");
        setups.push(
            Setup::new("compile-time instrumentation (Orchestrion, net/http)", instrumented, &listen)
                .collected(&[("DD_TRACE_AGENT_URL", &agent), ("DD_TRACE_STARTUP_LOGS", "false")]),
        );
    }
    let url = format!("http://{SERVICE}/orders?items=100");
    table(
        "A small service",
        "`tests/bench/service`: `net/http`, an order of 100 items priced, hashed and encoded in each request; two probes \
         a request, with number, method, path, status and bytes.",
        &setups,
        &url,
        7,
    )
}

fn large(programs: &Programs) -> Result<Table, String> {
    let config = tool::folder().join("Caddyfile");
    let site = tool::folder().join("site");
    std::fs::create_dir_all(&site).map_err(|e| e.to_string())?;
    std::fs::write(site.join("page.html"), "<p>Static probes for Go.</p>\n".repeat(800))
        .map_err(|e| e.to_string())?;
    let write = |name: &str, tracing: &str| {
        let text = format!(
            "{{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}}\nhttp://{SERVICE} {{\n\troot * {}\n\t{tracing}\n\theader X-Served-By {{vars.name}}\n\tencode gzip\n\tfile_server\n}}\n",
            site.display()
        );
        let file = config.with_file_name(name);
        std::fs::write(&file, text).map_err(|e| e.to_string()).map(|()| file.display().to_string())
    };
    let (usual, traced) = (write("Caddyfile", "")?, write("Caddyfile.tracing", "tracing")?);
    let args = ["run", "--adapter", "caddyfile", "--config", &usual];
    let tracing = ["run", "--adapter", "caddyfile", "--config", &traced];
    let stock = programs.named("caddy-stock")?;
    let overlay = programs.named("caddy-overlay")?;
    let endpoint = format!("http://{COLLECTOR}");
    let setups = [
        Setup::new("stock Go", stock, &args),
        Setup::new("stock Go, once more", stock, &args),
        Setup::new("runtime overlay, nobody traces", overlay, &args),
        Setup::new("runtime overlay, requests counted", overlay, &args).traced(SERVER_COUNTED),
        Setup::new("runtime overlay, every request traced", overlay, &args).traced(SERVER),
        Setup::new("its own OpenTelemetry tracing", stock, &tracing).collected(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]),
        Setup::new("function entries of the unmodified program, traced", stock, &args).traced(SERVER),
    ];
    let url = format!("http://{SERVICE}/page.html");
    table(
        "A large service: Caddy",
        "Caddy 2.11.9, a page of 22 KiB from disk; two probes a request of the runtime's, with host, method, path, status and bytes.",
        &setups,
        &url,
        5,
    )
}

fn table(title: &str, how: &str, setups: &[Setup<'_>], url: &str, count: usize) -> Result<Table, String> {
    let load = Load { program: tool::folder().join("load"), url: url.to_owned() };
    // The same rate for all: of what the first answers.
    let first = setups.first().ok_or("nothing to run")?;
    let most = serve(first, &load, None)?.first().copied().unwrap_or(0.0);
    let rate = SHARE * most;
    let load = &load;
    let contestants = setups
        .iter()
        .map(|setup| Contestant::new(setup.name, move || serve(setup, load, Some(rate))))
        .collect();
    Ok(Table {
        title: title.to_owned(),
        how: format!(
            "{how} The service has one processor; who asks, traces or collects has the other. Capacity: eight connections, as fast as \
             they are answered. The rest at {rate:.0} requests a second, {:.0} % of the first row's capacity, latencies from when a \
             request was due.",
            100.0 * SHARE
        ),
        columns: vec![
            Column::new("capacity", "requests/s"),
            Column::new("CPU a request", "µs"),
            Column::new("p50", "µs"),
            Column::new("p99", "µs"),
            Column::new("p99.9", "µs"),
            Column::new("memory", "MiB"),
        ],
        rows: rounds(count, contestants)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// Who asks.
struct Load {
    program: PathBuf,
    url: String,
}

impl Load {
    fn run(&self, duration: &str, rate: Option<f64>) -> Result<serde_json::Value, String> {
        let mut load = pinned(OTHERS, &self.program);
        load.args(["-url", &self.url, "-duration", duration]);
        if let Some(rate) = rate {
            load.args(["-rate", &rate.to_string(), "-workers", "32"]);
        }
        let said = done(&mut load)?;
        let result: serde_json::Value = serde_json::from_str(&said).map_err(|e| format!("{e}: {said}"))?;
        match result.get("failed").and_then(serde_json::Value::as_f64) {
            Some(0.0) => Ok(result),
            failed => Err(format!("{failed:?} requests failed")),
        }
    }
}

/// Capacity and, at a rate, the rest of the columns.
fn serve(setup: &Setup<'_>, load: &Load, rate: Option<f64>) -> Result<Vec<f64>, String> {
    let _collector = setup.collector.then(collector).transpose()?;
    let mut service = pinned(TARGET, setup.program);
    let service = quietly(service.args(&setup.args).envs(setup.environment.iter().cloned()))?;
    wait_for_listener(SERVICE);
    let tracer = match setup.tracer {
        [] => None,
        args => {
            let mut attach = pinned(OTHERS, ours("usdt-attach"));
            let tracer = quietly(attach.args(args).args(["-p", &service.pid().to_string()]))?;
            wait_for("the tracer to attach", || tracer.links() > 0);
            Some(tracer)
        }
    };
    load.run("500ms", None)?;
    let number = |result: &serde_json::Value, name: &str| {
        result.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN)
    };
    let mut values = vec![number(&load.run("1500ms", None)?, "throughput")];
    if let Some(rate) = rate {
        let before = processor_time(service.pid())?;
        let result = load.run("1500ms", Some(rate))?;
        let used = processor_time(service.pid())? - before;
        values.push(used * 1e6 / number(&result, "requests"));
        values.extend(["p50", "p99", "p999"].map(|name| number(&result, name)));
        values.push(memory(service.pid(), "VmRSS"));
    }
    tracer.map(Process::interrupt);
    Ok(values)
}

fn collector() -> Result<Process, String> {
    let collector = quietly(pinned(OTHERS, tool::folder().join("load")).args(["-collect", COLLECTOR]))?;
    wait_for_listener(COLLECTOR);
    Ok(collector)
}

fn wait_for_listener(address: &str) {
    wait_for(&format!("somebody who listens at {address}"), || TcpStream::connect(address).is_ok());
}

/// Seconds that a process has had a processor: `schedstat`, because ticks are too coarse.
fn processor_time(pid: u32) -> Result<f64, String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|e| e.to_string())?;
    let of = |task: std::fs::DirEntry| {
        let said = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        said.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(tasks.flatten().filter_map(of).sum::<f64>() / 1e9)
}
