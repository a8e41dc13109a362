//! A connection in memory, for tests and the fuzz target.

use super::connections::Connections;
use super::http::{Context, serve};
use super::scrape::{Request, Responder, Scraper};
use super::web_config::Security;
use crate::config::Unit;
use crate::heartbeat::Heartbeat;
use crate::metric::{Family, Kind, Series, SeriesValue};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends bytes to a connection of the endpoint, then nothing more. Returns what the endpoint
/// answers.
pub(crate) fn exchange(request: &[u8], security: Security) -> Vec<u8> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let scrape: Request = Box::new(|responder: Responder| {
            let value = SeriesValue::Number(1);
            let family = Family {
                name: "up".to_owned(),
                help: "Help.".to_owned(),
                unit: Unit::None,
                ucum: "",
                kind: Kind::Gauge,
                series: vec![Series { owner: None, labels: Vec::new(), value }],
            };
            let _ = responder.send(Arc::new(vec![family]));
        });
        let heartbeat = Arc::new(Heartbeat::new());
        let (scraper, collector) = Scraper::new(scrape, Arc::default(), Arc::clone(&heartbeat));
        tokio::spawn(collector);
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let admission = Arc::new(Connections::new()).admit();
        let Ok(admission) = admission else { return Vec::new() };
        let context = Context { scraper, heartbeat };
        let slot = Arc::clone(&admission.slot);
        let server = tokio::spawn(serve(server, slot, context, Arc::new(security)));
        // Fails if the endpoint has closed the connection.
        let _ = client.write_all(request).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        let _ = server.await;
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn answer(request: &str) -> String {
        String::from_utf8(exchange(request.as_bytes(), Security::default())).unwrap()
    }

    #[test]
    fn answers_and_closes_without_reading_a_body() {
        for length in ["Content-Length: 100000000000000", "Transfer-Encoding: chunked"] {
            for (line, status) in
                [("GET /metrics", "200 OK"), ("POST /metrics", "405"), ("GET /healthz", "200 OK")]
            {
                let start = Instant::now();
                let answer = answer(&format!("{line} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n"));
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
                assert!(answer.contains("connection: close"), "{answer}");
                assert!(start.elapsed() < Duration::from_secs(1));
            }
        }
    }

    #[test]
    fn rejects_long_headers() {
        let request = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 19));
        assert!(answer(&request).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn sends_no_body_for_head() {
        let head = answer("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.contains("content-length: ") && head.ends_with("\r\n\r\n"), "{head}");
        let get = answer("GET /metrics?x=y HTTP/1.0\r\n\r\n");
        assert!(get.ends_with("up 1\n"), "{get}");
    }

    #[test]
    fn names_the_path_of_the_metrics() {
        let answer = answer("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("at /metrics"), "{answer}");
    }
}
