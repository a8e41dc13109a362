//! The endpoint that Prometheus scrapes: text exposition format 0.0.4 over HTTP, or protobuf for who prefers it.

use crate::metric::{Family, Kind, Measured, Series};
use crate::prometheus_proto as protobuf;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tiny_http::{Header, Method, Request, Response, Server};
use usdt_attach::error::{Error, Result};

/// How long a scrape waits for the answer at most.
const PATIENCE: Duration = Duration::from_secs(10);
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders metrics. Series of one name stand together, whatever order they come in.
pub fn render(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string has no failing case.
        let _ = writeln!(out, "# HELP {0} {help}\n# TYPE {0} {kind}", family.name);
        for series in &family.series {
            write_series(&mut out, &family.name, series);
        }
    }
    out
}

fn write_series(out: &mut String, name: &str, series: &Series) {
    match &series.value {
        Measured::Number(n) => {
            let _ = writeln!(out, "{name}{} {n}", labels(&series.labels, None));
        }
        Measured::Sizes { buckets, count, sum, .. } => {
            let mut below = 0u64;
            for (bound, count) in buckets {
                below += count;
                let labels = labels(&series.labels, Some(&bound.to_string()));
                let _ = writeln!(out, "{name}_bucket{labels} {below}");
            }
            let _ = writeln!(out, "{name}_bucket{} {count}", labels(&series.labels, Some("+Inf")));
            let labels = labels(&series.labels, None);
            let _ = writeln!(out, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}");
        }
    }
}

fn labels(labels: &[(String, String)], bound: Option<&str>) -> String {
    let escaped =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut parts: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    parts.extend(bound.map(|bound| format!("le=\"{bound}\"")));
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}

/// An endpoint that answers until it is dropped.
pub(super) struct Endpoint {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens. `page` asks for metrics and hands out where they will come from.
    pub(super) fn listen(
        address: &str,
        page: impl Fn() -> Receiver<Vec<Family>> + Send + 'static,
    ) -> Result<Endpoint> {
        let refused = |source: io::Error| Error::io(format!("cannot listen at {address}"), source);
        let server = Server::http(address).map_err(|e| match e.downcast::<io::Error>() {
            Ok(error) => refused(*error),
            Err(error) => refused(io::Error::other(error.to_string())),
        })?;
        let server = Arc::new(server);
        let asked = Arc::clone(&server);
        let thread = std::thread::Builder::new().name("prometheus".to_owned()).spawn(move || {
            for request in asked.incoming_requests() {
                // Whoever asked may have gone.
                let _ = answer(request, &page);
            }
        });
        Ok(Endpoint { server, thread: Some(thread.map_err(refused)?) })
    }

    /// Where it listens: the port is known now, also where it was 0.
    pub(super) fn address(&self) -> String {
        self.server.server_addr().to_string()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say any more.
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, page: &impl Fn() -> Receiver<Vec<Family>>) -> io::Result<()> {
    let path = request.url().split('?').next().unwrap_or_default();
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(Response::from_string("GET /metrics\n").with_status_code(405));
    }
    match path {
        "/metrics" => match page().recv_timeout(PATIENCE) {
            Ok(families) => {
                let header =
                    |name| request.headers().iter().find(|header| header.field.equiv(name));
                let (kind, body) = match header("Accept") {
                    Some(accept) if prefers_protobuf(accept.value.as_str()) => {
                        (protobuf::CONTENT_TYPE, protobuf::render(&families))
                    }
                    _ => (CONTENT_TYPE, render(&families).into_bytes()),
                };
                let kind = Header::from_bytes("Content-Type", kind);
                let response = Response::from_data(body);
                request.respond(kind.into_iter().fold(response, Response::with_header))
            }
            Err(_) => request.respond(Response::from_string("busy\n").with_status_code(503)),
        },
        "/healthz" => request.respond(Response::from_string("ok\n")),
        _ => request.respond(Response::from_string("see /metrics\n").with_status_code(404)),
    }
}

/// Whether somebody would rather have protobuf than text: Prometheus with native histograms switched on.
fn prefers_protobuf(accept: &str) -> bool {
    let weight = |wanted: fn(&str) -> bool| {
        let ranges = accept
            .split(',')
            .filter(|range| wanted(range.split(';').next().unwrap_or_default().trim()));
        let weights = ranges.map(|range| {
            let weight = range.split(';').find_map(|part| part.trim().strip_prefix("q="));
            weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0))
        });
        weights.fold(0f64, f64::max)
    };
    weight(|kind| kind == "application/vnd.google.protobuf")
        > weight(|kind| matches!(kind, "text/plain" | "text/*" | "*/*"))
}

/// Metrics that are asked for, and where they go.
pub(super) type Asked = std::sync::mpsc::SyncSender<Vec<Family>>;

/// Both ends of it.
pub(super) fn ask() -> (Asked, Receiver<Vec<Family>>) {
    sync_channel(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;

    #[test]
    fn who_gets_what() {
        for (accept, protobuf) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", false),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.5",
                true,
            ),
            (
                "application/vnd.google.protobuf;encoding=delimited;q=0.3, text/plain;version=0.0.4;q=0.6",
                false,
            ),
            ("application/vnd.google.protobuf;q=x", false),
        ] {
            assert_eq!(prefers_protobuf(accept), protobuf, "{accept}");
        }
    }

    #[test]
    fn exposition() {
        let label = |value: &str| vec![("method".to_owned(), value.to_owned())];
        let families = [
            Family {
                name: "a_total".to_owned(),
                help: "Two\nlines \\.".to_owned(),
                unit: Unit::None,
                kind: Kind::Counter,
                series: vec![
                    Series { labels: label("G\"E\\T\n"), value: Measured::Number(3) },
                    Series { labels: Vec::new(), value: Measured::Number(u64::MAX) },
                ],
            },
            Family {
                name: "b_seconds".to_owned(),
                help: "Times.".to_owned(),
                unit: Unit::Ns,
                kind: Kind::Histogram,
                series: vec![Series {
                    labels: label("GET"),
                    value: Measured::Sizes {
                        buckets: vec![(0.5, 1), (1.0, 2)],
                        count: 4,
                        sum: 7.25,
                        powers: None,
                    },
                }],
            },
        ];
        insta::assert_snapshot!(render(&families), @r#"
        # HELP a_total Two\nlines \\.
        # TYPE a_total counter
        a_total{method="G\"E\\T\n"} 3
        a_total 18446744073709551615
        # HELP b_seconds Times.
        # TYPE b_seconds histogram
        b_seconds_bucket{method="GET",le="0.5"} 1
        b_seconds_bucket{method="GET",le="1"} 3
        b_seconds_bucket{method="GET",le="+Inf"} 4
        b_seconds_sum{method="GET"} 7.25
        b_seconds_count{method="GET"} 4
        "#);
    }
}
