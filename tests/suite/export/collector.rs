//! An OpenTelemetry collector receives spans and metrics.

use super::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use usdt_e2e::{Need, attach, have, json_lines, text};

/// A received span, with the attributes of its resource.
pub(super) struct ReceivedSpan {
    pub(super) resource: HashMap<String, Value>,
    span: Value,
}

/// What a collector has received.
#[derive(Default)]
pub(super) struct Received {
    pub(super) spans: Vec<ReceivedSpan>,
    /// The last state of each metric, by service and name.
    pub(super) metrics: BTreeMap<(String, String), Value>,
}

/// The collector of `tests/collector`, which receives OTLP and writes a file.
pub(super) struct Collector {
    process: Process,
    port: u16,
    out: PathBuf,
}

impl Collector {
    pub(super) fn start(folder: &Path) -> Collector {
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

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops the collector. Returns the spans, and the last state of each metric by name.
    fn finish(self) -> (Vec<ReceivedSpan>, BTreeMap<String, Value>) {
        let Received { spans, metrics } = self.finish_by_resource();
        (spans, metrics.into_iter().map(|((_, name), metric)| (name, metric)).collect())
    }

    /// Stops the collector, and returns what it has received.
    pub(super) fn finish_by_resource(self) -> Received {
        self.process.interrupt();
        let mut received = Received::default();
        for line in json_lines(&std::fs::read_to_string(&self.out).unwrap()) {
            for resource in line["resourceSpans"].as_array().into_iter().flatten() {
                let attributes = attributes(&resource["resource"]);
                for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
                    let (resource, span) = (attributes.clone(), span.clone());
                    received.spans.push(ReceivedSpan { resource, span });
                }
            }
            for resource in line["resourceMetrics"].as_array().into_iter().flatten() {
                let attributes = attributes(&resource["resource"]);
                let service = attributes["service.name"].as_str().unwrap();
                for metric in resource["scopeMetrics"][0]["metrics"].as_array().unwrap() {
                    let id = (service.to_owned(), metric["name"].as_str().unwrap().to_owned());
                    received.metrics.insert(id, metric.clone());
                }
            }
        }
        received
    }
}

/// Returns attributes by name, and drops the type names of OTLP.
fn attributes(object: &Value) -> HashMap<String, Value> {
    let list = object["attributes"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|a| {
            let value = a["value"].as_object().unwrap().values().next().unwrap().clone();
            (a["key"].as_str().unwrap().to_owned(), value)
        })
        .collect()
}

/// Returns a time of a span in nanoseconds.
fn nanoseconds(span: &Value, name: &str) -> u64 {
    span[name].as_str().unwrap().parse().unwrap()
}

/// Spans of the OpenTelemetry SDK, recorded by probes alone, equal what its own exporter would
/// send.
#[test]
fn collector_receives_the_spans_of_the_otel_sdk() {
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
    let created = json_lines(&text(&out.stdout));
    let (spans, _) = collector.finish();
    assert_eq!((created.len(), spans.len()), (3, 3));
    for created in &created {
        let ReceivedSpan { resource, span } =
            spans.iter().find(|received| received.span["spanId"] == created["span"]).unwrap();
        assert_eq!((&span["traceId"], &span["name"]), (&created["trace"], &created["name"]));
        let parent =
            created["parent"].as_str().filter(|id| *id != "0000000000000000").unwrap_or_default();
        assert_eq!(span["parentSpanId"].as_str().unwrap_or_default(), parent);
        assert_eq!(
            (&resource["service.name"], &resource["deployment.environment"]),
            (&json!("spans"), &json!("test"))
        );
        assert_eq!(span["kind"], 2);
        for (name, sdk) in
            [("startTimeUnixNano", &created["start"]), ("endTimeUnixNano", &created["end"])]
        {
            let difference = nanoseconds(span, name).abs_diff(sdk.as_u64().unwrap());
            assert!(difference < 20_000_000, "{name} differs by {difference} ns");
        }
        let message = created["message"].as_str().unwrap();
        let status =
            if message.is_empty() { json!({}) } else { json!({"code": 2, "message": message}) };
        assert_eq!(span["status"], status);
        assert!(
            !attributes(span).contains_key("trace_id"),
            "a field of the span is not repeated as attribute"
        );
    }
}

/// Spans of the program's own probes, with a W3C trace context from outside and nesting by
/// goroutine.
#[test]
fn collector_receives_spans_and_metrics() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let collector = Collector::start(app.folder.path());
    let config = format!(
        "[otlp]\nendpoint = \"http://127.0.0.1:{}\"\n[[count]]\nprobes = [\"slog:record\"]\nlabels = [\"level\"]\n\
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
        &spans
            .iter()
            .find(|received| received.span["name"] == name)
            .unwrap_or_else(|| panic!("no span {name}"))
            .span
    };

    let request = named("GET /items/1");
    assert_eq!(
        (&request["traceId"], &request["parentSpanId"]),
        (&json!("0af7651916cd43dd8448eb211c80319c"), &json!("b7ad6b7169203331"))
    );
    assert_eq!((&request["kind"], &request["status"]), (&json!(2), &json!({})));
    let request_attributes = attributes(request);
    assert_eq!(
        (&request_attributes["status"], &request_attributes["bytes"], &request_attributes["path"]),
        (&json!("200"), &json!("12"), &json!("/items/1"))
    );
    let duration =
        nanoseconds(request, "endTimeUnixNano") - nanoseconds(request, "startTimeUnixNano");
    let reported: u64 = request_attributes["ns"].as_str().unwrap().parse().unwrap();
    assert!(duration.abs_diff(reported) < 5_000_000, "{duration} {reported}");
    assert_eq!(named("GET /missing")["status"], json!({"code": 2, "message": "status 404"}));

    let (outer, inner, region) = (named("outer"), named("inner"), named("trace:region"));
    assert_eq!(
        (&inner["parentSpanId"], &region["parentSpanId"]),
        (&outer["spanId"], &inner["spanId"])
    );
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
