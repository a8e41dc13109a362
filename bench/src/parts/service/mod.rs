//! The overhead of probes in services: their capacity, and latencies at 80 % of it.

mod builds;
pub(crate) mod injected;
pub(crate) mod program;

use crate::harness::{
    self, OTHER_CPU, TARGET_CPU, memory, our_tool, output, pinned, start_quietly,
};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use program::Programs;
pub(crate) use program::overlay_flag;
use std::net::TcpStream;
use std::path::Path;
use usdt_e2e::{Process, wait_for};

/// Port of the first service; further services use the ports after it.
const FIRST_PORT: u16 = 18080;
/// Placeholder for the service's address in arguments and environments.
const ADDRESS: &str = "ADDRESS";
pub(crate) const COLLECTOR: &str = "127.0.0.1:18326";
/// Request rate as a share of the capacity.
const LOAD_SHARE: f64 = 0.8;
/// Duration of the load on each service per round.
///
/// All services run at the same time and are loaded in turn. A disturbance that lasts seconds
/// therefore affects all of them, and many short rounds resolve smaller differences than a few long
/// ones.
const BURST: &str = "200ms";

/// How a service is run and traced.
struct Setup<'a> {
    name: &'static str,
    program: &'a Path,
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// Arguments of `usdt-attach`; empty if the service is not traced.
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

/// Tracers of the program's own probes, and of those that the overlay and function entries provide.
const TRACE_OWN: &[&str] = &["trace", "bench:request_*"];
const COUNT_OWN: &[&str] = &["count", "bench:request_*"];
const TRACE_SERVER: &[&str] = &["trace", "net_http:server_request_*"];
const COUNT_SERVER: &[&str] = &["count", "net_http:server_request_*"];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    Ok(vec![small(&Programs::small()?)?])
}

pub(crate) fn caddy() -> Result<Vec<Table>, String> {
    Ok(vec![large(&Programs::large()?)?])
}

/// The arguments of the small service.
fn listen() -> [&'static str; 2] {
    ["-listen", ADDRESS]
}

/// Returns the setup of the service that Orchestrion has instrumented.
fn orchestrion(program: &Path) -> Setup<'_> {
    let agent = format!("http://{COLLECTOR}");
    Setup::new("compile-time instrumentation (Orchestrion, net/http)", program, &listen())
        .environment(&[("DD_TRACE_AGENT_URL", &agent), ("DD_TRACE_STARTUP_LOGS", "false")])
}

/// Returns the setup of the service that otelc has instrumented.
fn otelc(program: &Path) -> Setup<'_> {
    let endpoint = format!("http://{COLLECTOR}");
    Setup::new("compile-time instrumentation (otelc)", program, &listen()).environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ])
}

fn small(programs: &Programs) -> Result<Table, String> {
    let listen = listen();
    let plain = programs.named("plain")?;
    let with = |name, program: &'static str| -> Result<Setup<'_>, String> {
        let program = programs.named(program)?;
        Ok(Setup::new(name, program, &listen))
    };
    let mut setups = vec![
        Setup::new("no probes", plain, &listen),
        Setup::new("no probes, again", plain, &listen),
        with("probes, disabled", "probes")?,
        with("probes, counted", "probes")?.traced(COUNT_OWN),
        with("probes, every request traced with arguments", "probes")?.traced(TRACE_OWN),
        with("runtime overlay, disabled", "overlay")?,
        with("runtime overlay, requests counted", "overlay")?.traced(COUNT_SERVER),
        with("runtime overlay, every request traced", "overlay")?.traced(TRACE_SERVER),
        Setup::new(
            "OpenTelemetry SDK, one span per request",
            plain,
            &[&listen[..], &["-otel", COLLECTOR]].concat(),
        ),
        Setup::new("function entries of the unmodified program, traced", plain, &listen)
            .traced(TRACE_SERVER),
    ];
    // The instrumented service is missing if it could not be built.
    if let Ok(instrumented) = programs.named("instrumented") {
        setups.push(orchestrion(instrumented));
    }
    table(
        "A small service",
        "`bench/go/service`: each request of the `net/http` service prices, hashes and encodes an \
         order of 100 items, and fires two probes with number, method, path, status and bytes.",
        &setups,
        "/orders?items=100",
        60,
    )
}

/// Writes Caddy's configuration, with a directive for tracing, and the page that it serves. Returns
/// the arguments for Caddy.
fn caddy_arguments(name: &str, tracing: &str) -> Result<[String; 5], String> {
    let site = harness::folder().join("site");
    harness::write(&site.join("page.html"), "<p>Static probes for Go.</p>\n".repeat(800))?;
    let text = format!(
        "{{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}}\nhttp://{{$ADDRESS}} {{\n\troot * {}\n\t{tracing}\n\theader X-Served-By {{vars.name}}\n\tencode gzip\n\tfile_server\n}}\n",
        site.display()
    );
    let config = harness::folder().join(name);
    harness::write(&config, text)?;
    let config = config.display().to_string();
    Ok(["run", "--adapter", "caddyfile", "--config", &config].map(str::to_owned))
}

fn large(programs: &Programs) -> Result<Table, String> {
    let (plain, traced) =
        (caddy_arguments("Caddyfile", "")?, caddy_arguments("Caddyfile.tracing", "tracing")?);
    let args: Vec<&str> = plain.iter().map(String::as_str).collect();
    let tracing: Vec<&str> = traced.iter().map(String::as_str).collect();
    let stock = programs.named("caddy-stock")?;
    let overlay = programs.named("caddy-overlay")?;
    let endpoint = format!("http://{COLLECTOR}");
    let setups = [
        Setup::new("stock Go", stock, &args),
        Setup::new("stock Go, again", stock, &args),
        Setup::new("runtime overlay, disabled", overlay, &args),
        Setup::new("runtime overlay, requests counted", overlay, &args).traced(COUNT_SERVER),
        Setup::new("runtime overlay, every request traced", overlay, &args).traced(TRACE_SERVER),
        Setup::new("Caddy's OpenTelemetry tracing", stock, &tracing).environment(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]),
        Setup::new("function entries of the unmodified program, traced", stock, &args)
            .traced(TRACE_SERVER),
    ];
    table(
        "A large service: Caddy",
        "Caddy 2.11.9 serves a page of 22 KiB from disk; two probes of the runtime overlay fire per \
         request, with host, method, path, status and bytes.",
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
    let _collector = start_collector()?;
    let mut running = Vec::new();
    for (setup, port) in setups.iter().zip(FIRST_PORT..) {
        running
            .push(Running::start(setup, port, path).map_err(|e| format!("{}: {e}", setup.name))?);
    }
    // All services get the same rate, a share of the capacity of the first.
    let first = running.first().ok_or("there is no service to run")?;
    let mut capacities: Vec<f64> = (0..9).map(|_| first.capacity()).collect::<Result<_, _>>()?;
    capacities.sort_by(f64::total_cmp);
    let rate = LOAD_SHARE * capacities.get(capacities.len() / 2).copied().unwrap_or_default();
    let benchmarks = setups
        .iter()
        .zip(&running)
        .map(|(setup, service)| Benchmark::new(setup.name, move || service.measure(rate)))
        .collect();
    Ok(Table {
        title: title.to_owned(),
        how: format!(
            "{how} All services run at the same time and are loaded in turn, {BURST} each. Capacity is \
             measured with eight connections at full speed. Latencies are measured at {rate:.0} \
             requests/s, {:.0} % of the capacity of the first row, and count from the time when a \
             request was due. The services share one CPU; clients, tracers and collectors have the \
             other.",
            100.0 * LOAD_SHARE
        ),
        columns: vec![
            Column::new("capacity", "requests/s"),
            Column::new("CPU per request", "µs"),
            Column::new("p50", "µs"),
            Column::new("p99", "µs"),
            Column::new("p99.9", "µs"),
            Column::new("memory", "MiB"),
        ],
        rows: run_rounds(count, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}

/// A running service and its tracer.
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
                let mut attach = pinned(OTHER_CPU, our_tool("usdt-attach"));
                let tracer =
                    start_quietly(attach.args(args).args(["-p", &service.pid().to_string()]))?;
                wait_for("the tracer to attach", || tracer.link_count() > 0);
                Some(tracer)
            }
        };
        Ok(Running { service, tracer, url: format!("http://{address}{path}") })
    }

    /// Measures requests per second at full speed.
    fn capacity(&self) -> Result<f64, String> {
        Ok(number(&self.load(None)?, "throughput"))
    }

    /// Measures the capacity, and the other columns at a rate.
    fn measure(&self, rate: f64) -> Result<Vec<f64>, String> {
        let mut values = vec![self.capacity()?];
        let before = cpu_time(self.service.pid())?;
        let result = self.load(Some(rate))?;
        let used = cpu_time(self.service.pid())? - before;
        values.push(used * 1e6 / number(&result, "requests"));
        values.extend(["p50", "p99", "p999"].map(|name| number(&result, name)));
        values.push(memory(self.service.pid(), "VmRSS"));
        Ok(values)
    }

    fn load(&self, rate: Option<f64>) -> Result<serde_json::Value, String> {
        let mut load = pinned(OTHER_CPU, harness::folder().join("load"));
        load.args(["-url", &self.url, "-duration", BURST]);
        if let Some(rate) = rate {
            load.args(["-rate", &rate.to_string(), "-workers", "32"]);
        }
        let report = output(&mut load)?;
        let result: serde_json::Value =
            serde_json::from_str(&report).map_err(|e| format!("{e}: {report}"))?;
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

/// Starts a process that receives and discards OTLP.
pub(crate) fn start_collector() -> Result<Process, String> {
    let collector = start_quietly(
        pinned(OTHER_CPU, harness::folder().join("load")).args(["-collect", COLLECTOR]),
    )?;
    wait_for_listener(COLLECTOR);
    Ok(collector)
}

pub(crate) fn wait_for_listener(address: &str) {
    wait_for(&format!("a listener at {address}"), || TcpStream::connect(address).is_ok());
}

/// Returns the CPU time of a process in seconds, from `schedstat`: clock ticks are too coarse.
pub(crate) fn cpu_time(pid: u32) -> Result<f64, String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|e| e.to_string())?;
    let nanoseconds = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(tasks.flatten().filter_map(nanoseconds).sum::<f64>() / 1e9)
}
