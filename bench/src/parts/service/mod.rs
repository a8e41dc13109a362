//! What services pay: as many requests as they answer, and how long each takes at 80 % of that.

pub(crate) mod program;

use crate::harness::{self, OTHER_CPU, TARGET_CPU, done, memory, ours, pinned, start_quietly};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, rounds};
use program::Programs;
pub(crate) use program::overlay;
use std::net::TcpStream;
use std::path::Path;
use usdt_e2e::{Process, wait_for};

/// Of the first service; each further one has the next.
const FIRST_PORT: u16 = 18080;
/// In arguments and environments, what becomes the service's own address.
const ADDRESS: &str = "ADDRESS";
pub(crate) const COLLECTOR: &str = "127.0.0.1:18326";
/// Of what the service answers at most.
const SHARE: f64 = 0.8;
/// How long each is asked in a round. All services run all the time and are asked by turns: what slows the machine down for
/// seconds slows all of them down, and many short rounds tell apart what a few long ones do not.
const BURST: &str = "200ms";

/// How a service is run.
struct Setup<'a> {
    name: &'static str,
    program: &'a Path,
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// What `usdt-attach` does to it.
    tracer: &'static [&'static str],
}

impl<'a> Setup<'a> {
    fn new(name: &'static str, program: &'a Path, args: &[&str]) -> Setup<'a> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Setup { name, program, args, environment: Vec::new(), tracer: &[] }
    }

    fn traced(mut self, tracer: &'static [&'static str]) -> Setup<'a> {
        self.tracer = tracer;
        self
    }

    fn environment(mut self, environment: &[(&'static str, &str)]) -> Setup<'a> {
        self.environment =
            environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self
    }
}

/// The probes of the program itself, and those that the overlay and entries have.
const OWN: &[&str] = &["trace", "bench:request_*"];
const OWN_COUNTED: &[&str] = &["count", "bench:request_*"];
const SERVER: &[&str] = &["trace", "net_http:server_request_*"];
const SERVER_COUNTED: &[&str] = &["count", "net_http:server_request_*"];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    Ok(vec![small(&Programs::small()?)?])
}

pub(crate) fn caddy() -> Result<Vec<Table>, String> {
    Ok(vec![large(&Programs::large()?)?])
}

fn small(programs: &Programs) -> Result<Table, String> {
    let listen = ["-listen", ADDRESS];
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
        ),
        Setup::new("function entries of the unmodified program, traced", plain, &listen)
            .traced(SERVER),
    ];
    // Where it can be had.
    if let Ok(instrumented) = programs.named("instrumented") {
        let agent = format!("http://{COLLECTOR}");
        setups.push(
            Setup::new(
                "compile-time instrumentation (Orchestrion, net/http)",
                instrumented,
                &listen,
            )
            .environment(&[("DD_TRACE_AGENT_URL", &agent), ("DD_TRACE_STARTUP_LOGS", "false")]),
        );
    }
    table(
        "A small service",
        "`bench/go/service`: `net/http`, an order of 100 items priced, hashed and encoded in each request; two probes \
         a request, with number, method, path, status and bytes.",
        &setups,
        "/orders?items=100",
        60,
    )
}

fn large(programs: &Programs) -> Result<Table, String> {
    let config = harness::folder().join("Caddyfile");
    let site = harness::folder().join("site");
    std::fs::create_dir_all(&site).map_err(|e| e.to_string())?;
    std::fs::write(site.join("page.html"), "<p>Static probes for Go.</p>\n".repeat(800))
        .map_err(|e| e.to_string())?;
    let write = |name: &str, tracing: &str| {
        let text = format!(
            "{{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}}\nhttp://{{$ADDRESS}} {{\n\troot * {}\n\t{tracing}\n\theader X-Served-By {{vars.name}}\n\tencode gzip\n\tfile_server\n}}\n",
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
        Setup::new("its own OpenTelemetry tracing", stock, &tracing).environment(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]),
        Setup::new("function entries of the unmodified program, traced", stock, &args)
            .traced(SERVER),
    ];
    table(
        "A large service: Caddy",
        "Caddy 2.11.9, a page of 22 KiB from disk; two probes a request of the runtime's, with host, method, path, status and bytes.",
        &setups,
        "/page.html",
        60,
    )
}

fn table(
    title: &str,
    how: &str,
    setups: &[Setup<'_>],
    path: &str,
    count: usize,
) -> Result<Table, String> {
    let _collector = collector()?;
    let mut running = Vec::new();
    for (setup, port) in setups.iter().zip(FIRST_PORT..) {
        running
            .push(Running::start(setup, port, path).map_err(|e| format!("{}: {e}", setup.name))?);
    }
    // The same rate for all: of what the first answers.
    let first = running.first().ok_or("nothing to run")?;
    let mut most: Vec<f64> = (0..9).map(|_| first.capacity()).collect::<Result<_, _>>()?;
    most.sort_by(f64::total_cmp);
    let rate = SHARE * most.get(most.len() / 2).copied().unwrap_or_default();
    let benchmarks = setups
        .iter()
        .zip(&running)
        .map(|(setup, service)| Benchmark::new(setup.name, move || service.measure(rate)))
        .collect();
    Ok(Table {
        title: title.to_owned(),
        how: format!(
            "{how} All run at once and are asked by turns, {BURST} each: capacity by eight connections, as fast as they are answered; then \
             {rate:.0} requests a second, {:.0} % of the first row's capacity, latencies from when a request was due. Services have one \
             processor; who asks, traces or collects has the other.",
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
        rows: rounds(count, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// A service, and who traces it.
struct Running {
    service: Process,
    tracer: Option<Process>,
    url: String,
}

impl Running {
    fn start(setup: &Setup<'_>, port: u16, path: &str) -> Result<Running, String> {
        let address = format!("127.0.0.1:{port}");
        let mut service = pinned(TARGET_CPU, setup.program);
        service.args(setup.args.iter().map(|arg| arg.replace(ADDRESS, &address)));
        let service =
            start_quietly(service.env(ADDRESS, &address).envs(setup.environment.iter().cloned()))?;
        wait_for_listener(&address);
        let tracer = match setup.tracer {
            [] => None,
            args => {
                let mut attach = pinned(OTHER_CPU, ours("usdt-attach"));
                let tracer =
                    start_quietly(attach.args(args).args(["-p", &service.pid().to_string()]))?;
                wait_for("the tracer to attach", || tracer.link_count() > 0);
                Some(tracer)
            }
        };
        Ok(Running { service, tracer, url: format!("http://{address}{path}") })
    }

    fn capacity(&self) -> Result<f64, String> {
        Ok(number(&self.ask(None)?, "throughput"))
    }

    /// Capacity, and the rest of the columns at a rate.
    fn measure(&self, rate: f64) -> Result<Vec<f64>, String> {
        let mut values = vec![self.capacity()?];
        let before = processor_time(self.service.pid())?;
        let result = self.ask(Some(rate))?;
        let used = processor_time(self.service.pid())? - before;
        values.push(used * 1e6 / number(&result, "requests"));
        values.extend(["p50", "p99", "p999"].map(|name| number(&result, name)));
        values.push(memory(self.service.pid(), "VmRSS"));
        Ok(values)
    }

    fn ask(&self, rate: Option<f64>) -> Result<serde_json::Value, String> {
        let mut load = pinned(OTHER_CPU, harness::folder().join("load"));
        load.args(["-url", &self.url, "-duration", BURST]);
        if let Some(rate) = rate {
            load.args(["-rate", &rate.to_string(), "-workers", "32"]);
        }
        let said = done(&mut load)?;
        let result: serde_json::Value =
            serde_json::from_str(&said).map_err(|e| format!("{e}: {said}"))?;
        match result.get("failed").and_then(serde_json::Value::as_f64) {
            Some(0.0) => Ok(result),
            failed => Err(format!("{failed:?} requests failed")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tracer.take().map(Process::interrupt);
    }
}

fn number(result: &serde_json::Value, name: &str) -> f64 {
    result.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN)
}

pub(crate) fn collector() -> Result<Process, String> {
    let collector = start_quietly(
        pinned(OTHER_CPU, harness::folder().join("load")).args(["-collect", COLLECTOR]),
    )?;
    wait_for_listener(COLLECTOR);
    Ok(collector)
}

pub(crate) fn wait_for_listener(address: &str) {
    wait_for(&format!("somebody who listens at {address}"), || TcpStream::connect(address).is_ok());
}

/// Seconds that a process has had a processor: `schedstat`, because ticks are too coarse.
pub(crate) fn processor_time(pid: u32) -> Result<f64, String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|e| e.to_string())?;
    let of = |task: std::fs::DirEntry| {
        let said = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        said.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(tasks.flatten().filter_map(of).sum::<f64>() / 1e9)
}
