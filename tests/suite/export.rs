//! Exports, taken by the programs that they are for: Prometheus, an OpenTelemetry collector; files by their formats.

use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, command, copy, free_port, have, lines, listed, semaphore,
    stdout, text, tools, wait_for, write,
};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
/// The operations of `pairs`: 4 goroutines, 100 each; of ten, one has no end and one no beginning.
const BEGUN: u64 = 360;
const COMPLETE: u64 = 320;

/// The body of a page; empty where nobody answers.
fn get(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// The values of a metric by its labels, as the endpoint writes them.
fn metric(page: &str, name: &str) -> BTreeMap<String, f64> {
    let own = page.lines().filter_map(|line| line.strip_prefix(name));
    let own = own.filter(|rest| rest.starts_with([' ', '{']));
    own.filter_map(|rest| {
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels.to_owned(), value.parse().ok()?))
    })
    .collect()
}

/// A program that operates when it is interrupted.
fn operating() -> (Copy, Process) {
    let app = copy(&Fixture::get("pairs", Mode::Sealed));
    let target = ready(Process::start(command(&app.path).args(["-linger", "60s"])));
    (app, target)
}

/// When it says so: a signal that comes earlier ends it.
fn ready(mut target: Process) -> Process {
    let mut out = BufReader::new(target.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    target.0.stdout = Some(out.into_inner());
    target
}

fn exporter(args: &[&str]) -> Process {
    Process::start(command(tools().join("usdt-attach")).arg("export").args(args))
}

fn entries() -> &'static str {
    r#"
[[count]]
probes = ["ops:begin"]
name = "operations"
help = "Operations \\ by kind."
by = ["kind"]

[[count]]
probes = ["ops:*"]
filter = "id < 100"

[[hist]]
probe = "ops:end"
value = "status"
linear = [200, 202, 1]

[[latency]]
start = "ops:begin"
end = "ops:end"
key = "id"
by = ["kind"]
name = "operation_seconds"
"#
}

#[test]
fn prometheus_scrapes_the_endpoint() {
    if !have(&[Need::Bpf, Need::Program("prometheus")]) {
        return;
    }
    let (app, target) = operating();
    let (exporter, port) = endpoint(&app, &target);
    target.signal(SIGINT);
    let prometheus = Prometheus::start(app.folder.path(), port, &[]);
    let query = |text: &str| prometheus.query(text);
    wait_for("all operations", || {
        query("sum(operations_total)").first().is_some_and(|(_, n)| *n == BEGUN as f64)
    });
    let by_kind: BTreeMap<String, f64> = query("operations_total")
        .iter()
        .map(|(labels, n)| (labels["kind"].as_str().unwrap().to_owned(), *n))
        .collect();
    assert_eq!(by_kind.keys().collect::<Vec<_>>(), ["read", "sync", "write"]);
    // Of the first goroutine.
    assert_eq!(query("usdt_ops_begin_total")[0].1, 90.0);
    assert_eq!(query("sum(operation_seconds_count)")[0].1, COMPLETE as f64);
    assert!(query("histogram_quantile(0.99, sum by (le) (operation_seconds_bucket))")[0].1 > 0.0);
    let statuses: BTreeMap<String, f64> = query("usdt_ops_end_status_bucket")
        .iter()
        .map(|(labels, n)| (labels["le"].as_str().unwrap().to_owned(), *n))
        .collect();
    assert_eq!((statuses["199"], statuses["201"], statuses["+Inf"]), (0.0, 360.0, 360.0), "{statuses:?}");
    assert_eq!(query("up")[0].1, 1.0, "the page is one that it reads");
    let targets: Value = prometheus.get("/api/v1/targets");
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "");
    let metadata: Value = prometheus.get("/api/v1/metadata");
    assert_eq!(
        metadata["data"]["operations_total"][0],
        json!({"type": "counter", "help": "Operations \\ by kind.", "unit": ""})
    );
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success() && errors.contains("metrics at http://127.0.0.1:"), "{errors}");
    prometheus.process.interrupt();
}

/// Prometheus with native histograms switched on asks for protobuf and keeps one series for each histogram.
#[test]
fn prometheus_keeps_native_histograms() {
    if !have(&[Need::Bpf, Need::Program("prometheus")]) {
        return;
    }
    let (app, target) = operating();
    let (exporter, port) = endpoint(&app, &target);
    target.signal(SIGINT);
    let prometheus = Prometheus::start(app.folder.path(), port, &["--enable-feature=native-histograms"]);
    let count = "histogram_count(sum(operation_seconds))";
    wait_for("all operations", || {
        prometheus.query(count).first().is_some_and(|(_, n)| *n == COMPLETE as f64)
    });
    let by_kind = prometheus.query("histogram_count(operation_seconds)");
    assert_eq!(by_kind.len(), 3, "{by_kind:?}");
    assert!(by_kind.iter().all(|(labels, _)| labels["kind"].is_string()), "{by_kind:?}");
    assert_eq!(prometheus.query("count(operation_seconds_bucket)"), [], "no series for each bucket");
    assert_eq!(prometheus.query("sum(operations_total)")[0].1, BEGUN as f64);
    // The operations wait for a millisecond and more.
    let half = prometheus.query("histogram_quantile(0.5, sum(operation_seconds))")[0].1;
    let text = get(port, "/metrics");
    let classic = metric(&text, "operation_seconds_bucket");
    let below = |bound: f64| -> f64 {
        let at_most = |labels: &str| {
            let (_, bound) = labels.split_once("le=\"").unwrap();
            bound.trim_end_matches("\"}").parse::<f64>().unwrap()
        };
        classic.iter().filter(|(labels, _)| at_most(labels) == bound).map(|(_, n)| n).sum()
    };
    // The bucket that the quantile is in is one of the text's, and half of the values are in it or below.
    let upper = half.log2().ceil().exp2();
    assert!(below(upper / 2.0) < COMPLETE as f64 / 2.0 + 1.0, "{half}: {text}");
    assert!(below(upper) >= COMPLETE as f64 / 2.0, "{half}: {text}");
    assert_eq!(prometheus.get("/api/v1/targets")["data"]["activeTargets"][0]["lastError"], "");
    exporter.interrupt();
    prometheus.process.interrupt();
}

/// An exporter of a program's operations for Prometheus, and its port.
fn endpoint(app: &Copy, target: &Process) -> (Process, u16) {
    let port = free_port();
    let config = format!("[prometheus]\nlisten = \"127.0.0.1:{port}\"\n{}", entries());
    let config = write(app.folder.path(), "export.toml", &config);
    let exporter = exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    (exporter, port)
}

/// A Prometheus that scrapes an endpoint.
struct Prometheus {
    process: Process,
    port: u16,
}

impl Prometheus {
    fn start(folder: &Path, endpoint: u16, args: &[&str]) -> Prometheus {
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 200ms}}\nscrape_configs: [{{job_name: usdt, static_configs: [{{targets: ['127.0.0.1:{endpoint}']}}]}}]\n"
        );
        let config = write(folder, "prometheus.yml", &config);
        let mut command = command("prometheus");
        command.arg(format!("--config.file={config}")).args(args);
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Prometheus { process: Process::start(&mut command), port }
    }

    /// What its API says; nothing while it does not answer.
    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&get(self.port, path)).unwrap_or_default()
    }

    /// Labels and values that a query finds.
    fn query(&self, text: &str) -> Vec<(Value, f64)> {
        let text = text.replace('{', "%7B").replace('}', "%7D").replace(' ', "%20").replace('"', "%22");
        let answer = self.get(&format!("/api/v1/query?query={text}"));
        let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        found
            .iter()
            .map(|r| (r["metric"].clone(), r["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }
}

/// The attributes of a resource, and a span of it.
type Sent = (HashMap<String, Value>, Value);

/// The collector of `tests/collector`, which takes OTLP and writes a file.
struct Collector {
    process: Process,
    port: u16,
    out: PathBuf,
}

impl Collector {
    fn start(folder: &Path) -> Collector {
        let program = usdt_e2e::root().join("target/e2e/collector");
        let mut build = command("go");
        build
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(usdt_e2e::root().join("tests/collector"));
        stdout(&mut build);
        let (port, out) = (free_port(), folder.join("otlp.json"));
        let config = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
             exporters: {{file: {{path: '{}', flush_interval: 50ms}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [file]}}\n    metrics: {{receivers: [otlp], exporters: [file]}}\n",
            out.display()
        );
        let config = write(folder, "collector.yaml", &config);
        let process = Process::start(command(program).args(["--config", &config]));
        wait_for("the collector", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Collector { process, port, out }
    }

    /// Ends it; spans with their resources, and metrics by name, the last value of each.
    fn finish(self) -> (Vec<Sent>, BTreeMap<String, Value>) {
        self.process.interrupt();
        let (mut spans, mut metrics) = (Vec::new(), BTreeMap::new());
        for line in lines(&std::fs::read_to_string(&self.out).unwrap()) {
            for resource in line["resourceSpans"].as_array().into_iter().flatten() {
                let attributes = attributes(&resource["resource"]);
                for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
                    spans.push((attributes.clone(), span.clone()));
                }
            }
            for resource in line["resourceMetrics"].as_array().into_iter().flatten() {
                for metric in resource["scopeMetrics"][0]["metrics"].as_array().unwrap() {
                    metrics.insert(metric["name"].as_str().unwrap().to_owned(), metric.clone());
                }
            }
        }
        (spans, metrics)
    }
}

/// Attributes by name, each without the name of its type.
fn attributes(of: &Value) -> HashMap<String, Value> {
    let all = of["attributes"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|a| {
            let value = a["value"].as_object().unwrap().values().next().unwrap().clone();
            (a["key"].as_str().unwrap().to_owned(), value)
        })
        .collect()
}

fn nanoseconds(span: &Value, name: &str) -> u64 {
    span[name].as_str().unwrap().parse().unwrap()
}

/// What OpenTelemetry's SDK makes, seen by probes alone, is what its own exporter would have sent.
#[test]
fn a_collector_receives_the_spans_of_an_sdk() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("spans");
    let mut build = command("go");
    build.args(["build", "-toolexec=usdt-gen toolexec", "-o"]).arg(&app).arg("./examples/spans");
    stdout(build.current_dir(usdt_e2e::root().join("go-stubs/usdtotel")));
    let collector = Collector::start(folder.path());
    let config = format!(
        "[otlp]\nendpoint = \"http://127.0.0.1:{}\"\nresource = {{ \"deployment.environment\" = \"test\" }}\n\
         [[span]]\nstart = \"otel:span_start\"\nend = \"otel:span_end\"\nkey = \"span_id\"\nname = \"{{name}}\"\n\
         kind = \"server\"\ntrace = \"trace_id\"\nspan-id = \"span_id\"\nparent-id = \"parent_id\"\nerror = \"message\"\n",
        collector.port
    );
    let config = write(folder.path(), "export.toml", &config);
    let out = attach(&["export", "--config", &config, "--", app.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let made = lines(&text(&out.stdout));
    let (spans, _) = collector.finish();
    assert_eq!((made.len(), spans.len()), (3, 3));
    for made in &made {
        let (resource, span) = spans.iter().find(|(_, s)| s["spanId"] == made["span"]).unwrap();
        assert_eq!((&span["traceId"], &span["name"]), (&made["trace"], &made["name"]));
        let parent = made["parent"].as_str().filter(|id| *id != "0000000000000000").unwrap_or_default();
        assert_eq!(span["parentSpanId"].as_str().unwrap_or_default(), parent);
        assert_eq!(
            (&resource["service.name"], &resource["deployment.environment"]),
            (&json!("spans"), &json!("test"))
        );
        assert_eq!(span["kind"], 2);
        for (name, sdk) in [("startTimeUnixNano", &made["start"]), ("endTimeUnixNano", &made["end"])] {
            let apart = nanoseconds(span, name).abs_diff(sdk.as_u64().unwrap());
            assert!(apart < 20_000_000, "{name} is {apart} ns away");
        }
        let message = made["message"].as_str().unwrap();
        let status = if message.is_empty() { json!({}) } else { json!({"code": 2, "message": message}) };
        assert_eq!(span["status"], status);
        assert!(!attributes(span).contains_key("trace_id"), "what is a field is no attribute");
    }
}

/// Spans of the program's own probes: by a context of W3C from outside, and inside each other by goroutine.
#[test]
fn a_collector_receives_spans_and_metrics() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let collector = Collector::start(app.folder.path());
    let config = format!(
        "[otlp]\nendpoint = \"http://127.0.0.1:{}\"\n[[count]]\nprobes = [\"slog:record\"]\nby = [\"level\"]\n\
         [[latency]]\nstart = \"sql:exec\"\nend = \"sql:exec_done\"\n\
         [[span]]\nstart = \"net_http:server_request_start\"\nend = \"net_http:server_request_end\"\nkey = \"id\"\nkind = \"server\"\n\
         name = \"{{method}} {{path}}\"\ntrace = \"traceparent\"\nerror = \"status\"\nerror-at = 400\n\
         [[span]]\nstart = \"trace:task_begin\"\nend = \"trace:task_end\"\nkey = \"id\"\nname = \"{{type}}\"\n\
         [[span]]\nstart = \"trace:region_begin\"\nend = \"trace:region_end\"\nattributes = [\"type\"]\n",
        collector.port
    );
    let config = write(app.folder.path(), "export.toml", &config);
    let out = attach(&["export", "--config", &config, "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (spans, metrics) = collector.finish();
    let named = |name: &str| {
        &spans.iter().find(|(_, s)| s["name"] == name).unwrap_or_else(|| panic!("{name}: {spans:?}")).1
    };

    let request = named("GET /items/1");
    assert_eq!(
        (&request["traceId"], &request["parentSpanId"]),
        (&json!("0af7651916cd43dd8448eb211c80319c"), &json!("b7ad6b7169203331"))
    );
    assert_eq!((&request["kind"], &request["status"]), (&json!(2), &json!({})));
    let has = attributes(request);
    assert_eq!(
        (&has["status"], &has["bytes"], &has["path"]),
        (&json!("200"), &json!("12"), &json!("/items/1"))
    );
    let took = nanoseconds(request, "endTimeUnixNano") - nanoseconds(request, "startTimeUnixNano");
    let said: u64 = has["ns"].as_str().unwrap().parse().unwrap();
    assert!(took.abs_diff(said) < 5_000_000, "{took} {said}");
    assert_eq!(named("GET /missing")["status"], json!({"code": 2, "message": "status 404"}));

    let (outer, inner, region) = (named("outer"), named("inner"), named("trace:region"));
    assert_eq!((&inner["parentSpanId"], &region["parentSpanId"]), (&outer["spanId"], &inner["spanId"]));
    assert!([inner, region].iter().all(|s| s["traceId"] == outer["traceId"]));
    assert!(outer.get("parentSpanId").is_none_or(|id| id == ""));
    assert_eq!(attributes(region), HashMap::from([("type".to_owned(), json!("region"))]));
    assert!(nanoseconds(outer, "startTimeUnixNano") <= nanoseconds(region, "startTimeUnixNano"));
    assert!(nanoseconds(outer, "endTimeUnixNano") >= nanoseconds(region, "endTimeUnixNano"));

    let records = metrics["usdt_slog_record_total"]["sum"]["dataPoints"].as_array().unwrap();
    let levels: Vec<(Value, &Value)> =
        records.iter().map(|p| (attributes(p)["level"].clone(), &p["asInt"])).collect();
    assert_eq!(levels, [(json!("-4"), &json!("1")), (json!("8"), &json!("1"))]);
    let times = &metrics["usdt_sql_exec_done_latency_seconds"];
    let point = &times["histogram"]["dataPoints"][0];
    assert_eq!((&times["unit"], &point["count"]), (&json!("s"), &json!("2")));
    assert_eq!(
        point["bucketCounts"].as_array().unwrap().len(),
        point["explicitBounds"].as_array().unwrap().len() + 1
    );
}

/// SIGHUP reads the configuration again; what is in it as before goes on counting, and a mistake changes nothing.
#[test]
fn configurations_are_read_again() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, target) = operating();
    let (first, second) = (free_port(), free_port());
    let head = |port: u16| format!("[prometheus]\nlisten = \"127.0.0.1:{port}\"\n");
    let kept = "[[count]]\nprobes = [\"ops:begin\"]\nname = \"kept\"\n";
    let config = write(app.folder.path(), "export.toml", format!("{}{kept}", head(first)));
    let exporter = exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_for("the endpoint", || get(first, "/healthz") == "ok\n");
    target.signal(SIGINT);
    let kept_total = |port| metric(&get(port, "/metrics"), "kept_total").get("").copied();
    wait_for("all operations", || kept_total(first) == Some(BEGUN as f64));
    write(app.folder.path(), "export.toml", format!("{}{kept}by = [", head(second)));
    exporter.signal(SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(kept_total(first), Some(BEGUN as f64), "the mistake changed nothing");
    write(
        app.folder.path(),
        "export.toml",
        format!(
            "{}{kept}\n[[count]]\nprobes = [\"ops:end\"]\n[[latency]]\nstart = \"ops:begin\"\nend = \"ops:end\"\n",
            head(second)
        ),
    );
    exporter.signal(SIGHUP);
    wait_for("the new endpoint", || get(second, "/healthz") == "ok\n");
    assert_eq!(kept_total(second), Some(BEGUN as f64), "it goes on where it was");
    assert_eq!(metric(&get(second, "/metrics"), "usdt_ops_end_total").get("").copied(), Some(0.0));
    let count = metric(&get(second, "/metrics"), "usdt_ops_end_latency_seconds_count");
    assert_eq!(count.get("").copied(), Some(0.0), "it begins at nothing");
    assert_eq!(get(first, "/healthz"), "");
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success());
    assert!(errors.contains("TOML parse error") && errors.contains("stays as it was"), "{errors}");
    assert!(errors.contains("export.toml read again"), "{errors}");
}

/// Without a configuration: everything is counted, starts and ends are timed; labels stay within their limit.
#[test]
fn without_a_configuration_and_within_limits() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    // It ends with its command: what it says then is in the account.
    let out = attach(&["export", "--prometheus", &listen, "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains(" 0 dropped"), "{}", text(&out.stderr));

    let (app, target) = operating();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[limits]\nseries = 10\n[[count]]\nprobes = [\"ops:begin\"]\nby = [\"id\"]\nname = \"ids\"\n"
    );
    let config = write(app.folder.path(), "export.toml", &config);
    let exporter = exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    target.signal(SIGINT);
    let fate = |fate: &str| {
        let page = get(port, "/metrics");
        metric(&page, "usdt_attach_hits_total").get(&format!("{{entry=\"ids\",fate=\"{fate}\"}}")).copied()
    };
    wait_for("all operations", || {
        fate("delivered").zip(fate("dropped")).is_some_and(|(a, b)| a + b == BEGUN as f64)
    });
    assert!(metric(&get(port, "/metrics"), "ids_total").len() <= 10);
    assert!(fate("dropped") > Some(300.0));
    exporter.interrupt();
}

/// As a service on a host: it waits for programs, follows them, lets go of files that nobody runs any more, and what those
/// have counted stays counted.
#[test]
fn an_agent_survives_what_it_watches() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    // Of all programs: other tests have such that wait for a tracer of their own by the other probes.
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[[count]]\nprobes = [\"ops:begin\"]\nname = \"begun\"\n"
    );
    let config = write(folder.path(), "agent.toml", &config);
    let checked = attach(&["agent", "--config", &config, "--check"]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()));
    let agent = Process::start(command(tools().join("usdt-attach")).args(["agent", "--config", &config]));
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    let value = |name: &str| metric(&get(port, "/metrics"), name).values().sum::<f64>();
    // Other tests' programs have the same probe: there is at least what these do.
    let (mut expected, mut copies) = (0.0, Vec::new());
    for _ in 0..2 {
        let (app, target) = operating();
        let probes = listed(&app.path);
        let address = probes.iter().find(|p| p["probe"] == "begin").unwrap()["semaphore"].as_u64().unwrap();
        let operate = |target: &Process| {
            wait_for("the agent", || semaphore(target.pid(), address) == 1);
            target.signal(SIGINT);
        };
        operate(&target);
        expected += BEGUN as f64;
        wait_for("its operations", || value("begun_total") >= expected);
        drop(target);
        // Once more, while the file is known.
        let next = ready(Process::start(&mut command(&app.path)));
        operate(&next);
        expected += BEGUN as f64;
        wait_for("the operations of the next process", || value("begun_total") >= expected);
        copies.push(app);
    }
    let held = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().flatten();
        let files: Vec<PathBuf> = entries.filter_map(|e| std::fs::read_link(e.path()).ok()).collect();
        copies.iter().any(|app: &Copy| files.contains(&app.path))
    };
    assert!(held());
    wait_for("files that nobody runs to be let go", || !held());
    assert!(value("begun_total") >= expected, "what was counted stays counted");
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
}

/// The unit, the image and the cluster's manifest give the agent the same few capabilities, and those are enough.
#[test]
fn an_agent_runs_with_the_capabilities_of_its_unit() {
    let read = |name: &str| std::fs::read_to_string(usdt_e2e::root().join("packaging").join(name)).unwrap();
    let unit = read("usdt-attach.service");
    let listed = unit.lines().find_map(|l| l.strip_prefix("AmbientCapabilities=")).unwrap();
    assert!(unit.contains(&format!("CapabilityBoundingSet={listed}\n")));
    let names: Vec<&str> = listed.split(' ').map(|name| name.strip_prefix("CAP_").unwrap()).collect();
    assert!(read("Containerfile").contains(&format!("--cap-add={} ", names.join(","))));
    assert!(read("daemonset.yaml").contains(&format!("add: [{}]", names.join(", "))));
    if !have(&[Need::Bpf, Need::Program("setpriv")]) {
        return;
    }
    let (app, target) = operating();
    let port = free_port();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[target]\nexe = \"{}\"\n[[count]]\nprobes = [\"ops:begin\"]\nname = \"all\"\n",
        app.as_str()
    );
    let config = write(app.folder.path(), "agent.toml", &config);
    let bounding: Vec<String> = names.iter().map(|name| format!("+{}", name.to_lowercase())).collect();
    let agent = Process::start(
        command("setpriv")
            .arg(format!("--bounding-set=-all,{}", bounding.join(",")))
            .args(["--inh-caps=-all", "--no-new-privs"])
            .arg(tools().join("usdt-attach"))
            .args(["agent", "--config", &config]),
    );
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    target.signal(SIGINT);
    let total = || metric(&get(port, "/metrics"), "all_total").get("").copied().unwrap_or(0.0);
    wait_for("all operations", || total() >= BEGUN as f64);
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let sink = "[prometheus]\nlisten = \"127.0.0.1:0\"\n";
    for (config, said) in [
        ("[[count]]\nprobe = [\"a\"]\n", "unknown field `probe`"),
        ("[[count]]\nprobes = []\n", "count: probes names none"),
        ("[[count]]\nprobes = [\"a:b\"]\nname = \"a-b\"\n", "`a-b` is no name of a metric"),
        ("[[count]]\nprobes = [\"a:b\"]\nfilter = \"x ==\"\n", "count of a:b: filter:"),
        (
            "[[count]]\nprobes = [\"a\"]\nname = \"x\"\n[[count]]\nprobes = [\"b\"]\nname = \"x\"\n",
            "taken by another entry",
        ),
        ("[[span]]\nstart = \"a\"\nend = \"b\"\n", "add [otlp] with an endpoint"),
        ("[otlp]\nendpoint = \"https://x\"\n", "for TLS run a collector on this host"),
        ("[otlp]\nendpoint = \"http://x\"\ninterval = \"5 minutes\"\n", "interval = \"5 minutes\""),
        ("[limits]\nbuffer = 1000\n", "buffer is a power of two"),
        ("[target]\nall = true\nexe = \"/bin/true\"\n", "one of pids, exe, cgroup, all"),
        ("", "nothing to export"),
    ] {
        let config = if config.contains("[otlp]") { config.to_owned() } else { format!("{sink}{config}") };
        let path = write(folder.path(), "bad.toml", &config);
        let out = attach(&["agent", "--config", &path]);
        assert_eq!(out.status.code(), Some(2), "{config}");
        let errors = text(&out.stderr);
        assert!(errors.contains(said) && errors.contains("bad.toml"), "{config}: {errors}");
    }
    let out = attach(&["export", "-p", "1"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("say where to export to"), "{}", text(&out.stderr));
    if have(&[Need::Bpf]) {
        let (_app, target) = operating();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let out = attach(&["export", "-p", &target.pid().to_string(), "--prometheus", &address]);
        assert_eq!(out.status.code(), Some(3));
        assert!(text(&out.stderr).contains(&format!("cannot listen at {address}")), "{}", text(&out.stderr));
    }
}

/// Validates a document by a JSON schema, with a program that others validate with.
fn validate(schema: &str, document: &str) {
    let script = "import json, sys, jsonschema; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    stdout(Command::new("/usr/bin/python3").args(["-c", script, schema, document]));
}

#[test]
fn the_schema_of_configurations_takes_what_the_program_takes() {
    if !have(&[Need::File("/usr/lib/python3/dist-packages/jsonschema/__init__.py")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let schema = stdout(command("usdt-attach").args(["export", "--schema"]));
    let schema = write(folder.path(), "schema.json", &schema);
    let example = usdt_e2e::root().join("docs/export.toml");
    let config: toml::Value = toml::from_str(&std::fs::read_to_string(&example).unwrap()).unwrap();
    let config = write(folder.path(), "config.json", serde_json::to_string(&config).unwrap());
    validate(&schema, &config);
    let checked = attach(&["agent", "--check", "--config", example.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

#[test]
fn recordings_are_what_their_readers_take() {
    if !have(&[Need::Bpf, Need::File("/usr/lib/python3/dist-packages/jsonschema/__init__.py")]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let file = |name: &str| app.folder.path().join(name).to_str().unwrap().to_owned();
    let record = |name: &str| {
        let out = attach(&["record", "-o", &file(name), "--json", "--", app.as_str()]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let summary = text(&out.stdout).lines().find_map(|l| serde_json::from_str::<Value>(l).ok()).unwrap();
        assert_eq!(summary["summary"]["dropped"], 0);
        summary["summary"]["delivered"].as_u64().unwrap() as usize
    };
    record("trace.json");
    let schema = usdt_e2e::root().join("tests/golden/trace-event.schema.json");
    validate(schema.to_str().unwrap(), &file("trace.json"));
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(file("trace.json")).unwrap()).unwrap();
    let all = trace["traceEvents"].as_array().unwrap();
    let tracks: Vec<&str> = all
        .iter()
        .filter(|e| e["name"] == "thread_name")
        .map(|e| e["args"]["name"].as_str().unwrap())
        .collect();
    assert!(
        tracks.contains(&"goroutine 1") && tracks.iter().all(|t| t.starts_with("goroutine ")),
        "{tracks:?}"
    );
    let slice = |name: &str| {
        all.iter().find(|e| e["ph"] == "X" && e["name"] == name).unwrap_or_else(|| panic!("no slice {name}"))
    };
    let (request, task, region) = (slice("server_request"), slice("task"), slice("region"));
    assert_eq!((&request["args"]["path"], &request["args"]["status"]), (&json!("/items/1"), &json!(200)));
    assert_ne!(request["tid"], task["tid"]);
    let span =
        |e: &Value| (e["ts"].as_f64().unwrap(), e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap());
    assert_eq!(region["tid"], task["tid"]);
    assert!(
        span(task).0 <= span(region).0 && span(region).1 <= span(task).1,
        "slices of a goroutine lie in each other"
    );
    assert!(all.iter().any(|e| e["ph"] == "i" && e["name"] == "record"));

    let events = record("events.csv");
    let mut reader = csv::Reader::from_path(file("events.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows: Vec<HashMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), events);
    assert_eq!(
        &header.iter().take(8).collect::<Vec<_>>()[..7],
        ["time_ns", "pid", "tid", "goid", "comm", "provider", "probe"]
    );
    let record_row = rows.iter().find(|r| r["probe"] == "record").unwrap();
    assert_eq!(
        (record_row["message"].as_str(), record_row["attributes"].as_str()),
        ("below the level", "a=1 g.b=\"two words\"")
    );
    assert!(rows.iter().all(|r| r["others"].is_empty()));

    let events = record("events.jsonl");
    assert_eq!(lines(&std::fs::read_to_string(file("events.jsonl")).unwrap()).len(), events);
    let out = attach(&["record", "-o", &file("x.csv"), "--stack", "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("--format jsonl"));
    let out = attach(&["record", "-o", "/nowhere/x.csv", "--", app.as_str()]);
    assert!(text(&out.stderr).contains("cannot open /nowhere/x.csv"), "{}", text(&out.stderr));
}
