//! Prometheus scrapes the endpoint.

use super::*;
use serde_json::{Value, json};
use std::path::Path;
use usdt_e2e::{Need, have};

#[test]
fn prometheus_scrapes_the_endpoint() {
    if !have(&[Need::Bpf, Need::Program("prometheus")]) {
        return;
    }
    let (app, target) = start_pairs();
    let (exporter, port) = start_endpoint(&app, &target);
    target.signal(SIGINT);
    let prometheus = Prometheus::start(app.folder.path(), port, &[]);
    let query = |text: &str| prometheus.query(text);
    wait_for("all operations", || {
        query("sum(operations_total)").first().is_some_and(|(_, n)| *n == STARTED as f64)
    });
    let by_kind: BTreeMap<String, f64> = query("operations_total")
        .iter()
        .map(|(labels, n)| (labels["kind"].as_str().unwrap().to_owned(), *n))
        .collect();
    assert_eq!(by_kind.keys().collect::<Vec<_>>(), ["read", "sync", "write"]);
    // Only the first goroutine passes the filter.
    assert_eq!(query("usdt_ops_begin_total")[0].1, 90.0);
    assert_eq!(query("sum(operation_seconds_count)")[0].1, COMPLETE as f64);
    assert!(query("histogram_quantile(0.99, sum by (le) (operation_seconds_bucket))")[0].1 > 0.0);
    let statuses: BTreeMap<String, f64> = query("usdt_ops_end_status_bucket")
        .iter()
        .map(|(labels, n)| (labels["le"].as_str().unwrap().to_owned(), *n))
        .collect();
    assert_eq!(
        (statuses["199"], statuses["201"], statuses["+Inf"]),
        (0.0, 360.0, 360.0),
        "{statuses:?}"
    );
    assert_eq!(query("up")[0].1, 1.0, "Prometheus accepts the page");
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

/// With native histograms enabled, Prometheus requests protobuf and stores one series per
/// histogram.
#[test]
fn prometheus_keeps_native_histograms() {
    if !have(&[Need::Bpf, Need::Program("prometheus")]) {
        return;
    }
    let (app, target) = start_pairs();
    let (exporter, port) = start_endpoint(&app, &target);
    target.signal(SIGINT);
    let prometheus =
        Prometheus::start(app.folder.path(), port, &["--enable-feature=native-histograms"]);
    let count = "histogram_count(sum(operation_seconds))";
    wait_for("all operations", || {
        prometheus.query(count).first().is_some_and(|(_, n)| *n == COMPLETE as f64)
    });
    let by_kind = prometheus.query("histogram_count(operation_seconds)");
    assert_eq!(by_kind.len(), 3, "{by_kind:?}");
    assert!(by_kind.iter().all(|(labels, _)| labels["kind"].is_string()), "{by_kind:?}");
    assert_eq!(
        prometheus.query("count(operation_seconds_bucket)"),
        [],
        "there is no series per bucket"
    );
    assert_eq!(prometheus.query("sum(operations_total)")[0].1, STARTED as f64);
    // The bucket that contains the median in the native histogram agrees with the buckets of the
    // text format, whose bounds are decimal and not powers of two.
    let median = prometheus.query("histogram_quantile(0.5, sum(operation_seconds))")[0].1;
    let text = get(port, "/metrics");
    let mut classic: Vec<(f64, f64)> = Vec::new();
    for (labels, count) in metric(&text, "operation_seconds_bucket") {
        let (_, bound) = labels.split_once("le=\"").unwrap();
        let bound: f64 = bound.trim_end_matches("\"}").parse().unwrap();
        match classic.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => classic.push((bound, count)),
        }
    }
    classic.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Half of the values are in the bucket of the median or below.
    let upper = median.log2().ceil().exp2();
    let above = classic.iter().find(|(bound, _)| *bound >= upper).unwrap();
    assert!(above.1 >= COMPLETE as f64 / 2.0, "{median}: {text}");
    if let Some(below) = classic.iter().rfind(|(bound, _)| *bound <= upper / 2.0) {
        assert!(below.1 < COMPLETE as f64 / 2.0 + 1.0, "{median}: {text}");
    }
    assert_eq!(prometheus.get("/api/v1/targets")["data"]["activeTargets"][0]["lastError"], "");
    exporter.interrupt();
    prometheus.process.interrupt();
}

/// Starts an exporter of a fixture's operations, and returns it with its port.
fn start_endpoint(app: &Copy, target: &Process) -> (Process, u16) {
    let port = free_port();
    let config = format!("[prometheus]\nlisten = \"127.0.0.1:{port}\"\n{}", entries());
    let config = write(app.folder.path(), "export.toml", &config);
    let exporter = start_exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    (exporter, port)
}

/// A Prometheus server that scrapes the exporter.
pub(super) struct Prometheus {
    process: Process,
    port: u16,
}

impl Prometheus {
    pub(super) fn start(folder: &Path, endpoint: u16, args: &[&str]) -> Prometheus {
        Prometheus::start_with(folder, endpoint, "scheme: http", args)
    }

    /// Starts Prometheus with further keys of the scrape configuration.
    pub(super) fn start_with(
        folder: &Path,
        endpoint: u16,
        scrape: &str,
        args: &[&str],
    ) -> Prometheus {
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 200ms}}\nscrape_configs: [{{job_name: usdt, {scrape}, static_configs: [{{targets: ['127.0.0.1:{endpoint}']}}]}}]\n"
        );
        let config = write(folder, "prometheus.yml", &config);
        let mut command = command("prometheus");
        command.arg(format!("--config.file={config}")).args(args);
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Prometheus { process: Process::start(&mut command), port }
    }

    pub(super) fn stop(self) {
        self.process.interrupt();
    }

    /// Returns the answer of its API, or null while it does not answer.
    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&get(self.port, path)).unwrap_or_default()
    }

    /// Returns the labels and values that a query finds.
    pub(super) fn query(&self, text: &str) -> Vec<(Value, f64)> {
        let text =
            text.replace('{', "%7B").replace('}', "%7D").replace(' ', "%20").replace('"', "%22");
        let answer = self.get(&format!("/api/v1/query?query={text}"));
        let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        found
            .iter()
            .map(|r| (r["metric"].clone(), r["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }
}
