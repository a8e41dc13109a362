//! The thread that sends requests to a collector.
//!
//! The thread is abandoned if the collector does not answer when the exporter stops: it holds no
//! resource but its queue and a socket, and ends by itself when the request in flight times out.

use super::answer::{Answer, MAX_BODY, interpret};
use super::queue::{Queue, Request};
use crate::config::Otlp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use usdt_attach::error::{Error, Result};

/// How long connecting to the collector may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take in all, with its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a failed request is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// The time before the first retry. It doubles with each retry, up to the maximum.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// The maximum size of the headers of an answer in bytes.
const MAX_HEADERS: usize = 16 << 10;
/// The minimum time between two messages about problems.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Counts of requests since the exporter started.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    /// Requests that the collector accepted, at least in part.
    pub(crate) sent: AtomicU64,
    /// Requests that the collector did not accept, or for which the queue was full.
    pub(crate) lost: AtomicU64,
    /// The spans of the lost requests.
    pub(crate) lost_spans: AtomicU64,
    /// Spans of accepted requests that the collector rejected.
    pub(crate) rejected_spans: AtomicU64,
    /// Data points of accepted requests that the collector rejected.
    pub(crate) rejected_data_points: AtomicU64,
}

impl RequestCounts {
    fn add_lost(&self, request: &Request) {
        self.lost.fetch_add(1, Relaxed);
        self.lost_spans.fetch_add(request.spans as u64, Relaxed);
    }
}

/// Sends requests to a collector, from a thread of its own.
pub(crate) struct Sender {
    queue: Arc<Queue>,
    counts: Arc<RequestCounts>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Sender {
    /// Starts the thread. `report` receives messages for the user.
    ///
    /// # Errors
    ///
    /// Fails if the process has too few threads left.
    pub(crate) fn start(
        config: &Otlp,
        counts: Arc<RequestCounts>,
        report: impl Fn(String) + Send + 'static,
    ) -> Result<Sender> {
        let queue = Arc::new(Queue::default());
        let (ending, ended) = channel();
        let mut worker = Worker {
            agent: ureq::Agent::config_builder()
                .timeout_connect(Some(CONNECT_TIMEOUT))
                .timeout_global(Some(REQUEST_TIMEOUT))
                .max_redirects(0)
                .max_response_header_size(MAX_HEADERS)
                .http_status_as_error(false)
                .build()
                .into(),
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
            headers: config.headers.clone(),
            counts: Arc::clone(&counts),
            queue: Arc::clone(&queue),
            not_before: Instant::now(),
            problem: None,
            last_report: None,
            report: Box::new(report),
        };
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(move || {
            worker.run();
            drop(ending);
        });
        thread.map_err(|source| Error::io("cannot start a thread", source))?;
        Ok(Sender { queue, counts, ended })
    }

    /// Queues a request with metrics.
    pub(crate) fn send_metrics(&self, body: Vec<u8>) {
        self.send(Request { path: METRICS_PATH, body, spans: 0 });
    }

    /// Queues a request with `count` spans.
    pub(crate) fn send_spans(&self, body: Vec<u8>, count: usize) {
        self.send(Request { path: "/v1/traces", body, spans: count });
    }

    fn send(&self, request: Request) {
        self.queue.push(request).iter().for_each(|lost| self.counts.add_lost(lost));
    }

    /// Sends the requests that wait, each once, for as long as `timeout`. Returns the number of
    /// those that were not sent: the thread is abandoned with the one in flight.
    pub(crate) fn stop(self, timeout: Duration) -> usize {
        self.queue.close(Instant::now() + timeout);
        let in_flight = match self.ended.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => 1,
            _ => 0,
        };
        let waiting = self.queue.drain();
        waiting.iter().for_each(|lost| self.counts.add_lost(lost));
        waiting.len() + in_flight
    }
}

impl Drop for Sender {
    /// Lets the thread send the requests that wait, each once, and does not wait for it.
    fn drop(&mut self) {
        if self.queue.deadline().is_none() {
            self.queue.close(Instant::now() + REQUEST_TIMEOUT);
        }
    }
}

const METRICS_PATH: &str = "/v1/metrics";

/// The sending thread.
struct Worker {
    agent: ureq::Agent,
    endpoint: String,
    headers: BTreeMap<String, String>,
    counts: Arc<RequestCounts>,
    queue: Arc<Queue>,
    /// The collector has asked for a pause until then.
    not_before: Instant,
    /// The problem that was reported last, which is not reported again; `None` after a success.
    problem: Option<String>,
    last_report: Option<Instant>,
    report: Box<dyn Fn(String) + Send>,
}

impl Worker {
    fn run(&mut self) {
        while let Some(request) = self.queue.pop() {
            if !self.deliver(&request) {
                self.counts.add_lost(&request);
            }
        }
        self.queue.drain().iter().for_each(|lost| self.counts.add_lost(lost));
    }

    /// Sends a request. Retries it until the collector accepts or rejects it, or for as long as
    /// [`RETRY_TIMEOUT`]. Returns whether the collector has accepted it.
    fn deliver(&mut self, request: &Request) -> bool {
        let begin = Instant::now();
        let mut backoff = MIN_BACKOFF;
        loop {
            if self.queue.wait_until(self.not_before) && Instant::now() < self.not_before {
                return false;
            }
            let retry = match self.try_send(request) {
                Answer::Accepted { rejected, message } => {
                    self.accepted(request, rejected, &message);
                    return true;
                }
                Answer::Retryable { problem, after } => {
                    self.report(request, problem);
                    if let Some(after) = after {
                        self.not_before = Instant::now() + after;
                    }
                    begin.elapsed() + backoff < RETRY_TIMEOUT
                }
                Answer::Rejected(problem) => {
                    self.report(request, problem);
                    false
                }
            };
            if !retry || self.queue.deadline().is_some() {
                return false;
            }
            self.queue.wait_until(Instant::now() + backoff);
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    fn accepted(&mut self, request: &Request, rejected: u64, message: &str) {
        self.counts.sent.fetch_add(1, Relaxed);
        let (count, noun) = match request.path {
            METRICS_PATH => (&self.counts.rejected_data_points, "data points"),
            _ => (&self.counts.rejected_spans, "spans"),
        };
        count.fetch_add(rejected, Relaxed);
        let reason = if message.is_empty() { "without a reason" } else { message };
        if rejected > 0 {
            self.report(request, format!("the collector rejected {rejected} {noun}: {reason}"));
        } else if !message.is_empty() {
            self.report(request, format!("the collector warns: {message}"));
        } else if self.problem.take().is_some() {
            (self.report)(format!("{}: accepts requests again", self.endpoint));
        }
    }

    /// Reports a problem, unless it was reported last or another one a moment ago: each request may
    /// have a problem.
    fn report(&mut self, request: &Request, problem: String) {
        let is_recent = self.last_report.is_some_and(|time| time.elapsed() < REPORT_INTERVAL);
        if self.problem.as_ref() == Some(&problem) || is_recent {
            return;
        }
        (self.report)(format!("{}{}: {problem}", self.endpoint, request.path));
        self.problem = Some(problem);
        self.last_report = Some(Instant::now());
    }

    fn try_send(&self, request: &Request) -> Answer {
        let url = format!("{}{}", self.endpoint, request.path);
        let mut post = self.agent.post(&url).header("Content-Type", "application/json");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        if let Some(deadline) = self.queue.deadline() {
            let rest = deadline.saturating_duration_since(Instant::now());
            // A timeout of 0 is none.
            let rest = rest.clamp(Duration::from_millis(1), REQUEST_TIMEOUT);
            post = post.config().timeout_global(Some(rest)).build();
        }
        match post.send(request.body.as_slice()) {
            Ok(mut response) => {
                let status = response.status().as_u16();
                // A longer answer has nothing to say that is worth its memory.
                let body = match response.status().is_success() {
                    true => response.body_mut().with_config().limit(MAX_BODY).read_to_vec(),
                    false => Ok(Vec::new()),
                };
                let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
                interpret(
                    status,
                    header("retry-after"),
                    header("location"),
                    &body.unwrap_or_default(),
                )
            }
            Err(error) => Answer::Retryable {
                problem: format!("cannot send to the collector: {error}"),
                after: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;

    /// Starts a sender for a collector that `answer` plays. Returns it with its counts and messages.
    fn sender(
        mut answer: impl FnMut(&mut TcpStream) + Send + 'static,
    ) -> (Sender, Arc<RequestCounts>, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Otlp::new(format!("http://{}", listener.local_addr().unwrap()));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                read_request(&mut stream);
                answer(&mut stream);
            }
        });
        let counts = Arc::new(RequestCounts::default());
        let messages = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&messages);
        let report = move |message| sink.lock().unwrap().push(message);
        let sender = Sender::start(&config, Arc::clone(&counts), report).unwrap();
        (sender, counts, messages)
    }

    /// Reads a request with its body `{}`. What is left unread resets the connection when it is
    /// closed, and the client loses the answer.
    fn read_request(stream: &mut TcpStream) {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !request.ends_with(b"\r\n\r\n{}") {
            let size = stream.read(&mut piece).unwrap();
            assert_ne!(size, 0, "the client closed the connection within a request");
            request.extend_from_slice(&piece[..size]);
        }
    }

    fn reply(stream: &mut TcpStream, head: &str, body: &str) {
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    }

    fn wait_for(mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn counts_the_spans_of_a_partial_success() {
        let (sender, counts, messages) = sender(|stream| {
            let body = r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"quota"}}"#;
            reply(stream, "200 OK", body);
        });
        sender.send_spans(b"{}".to_vec(), 3);
        sender.send_spans(b"{}".to_vec(), 3);
        wait_for(|| counts.sent.load(Relaxed) == 2);
        assert_eq!(counts.rejected_spans.load(Relaxed), 4);
        assert_eq!(counts.rejected_data_points.load(Relaxed), 0);
        let messages = messages.lock().unwrap();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].ends_with("/v1/traces: the collector rejected 2 spans: quota"));
    }

    #[test]
    fn does_not_follow_redirects() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        target.set_nonblocking(true).unwrap();
        let location = format!("http://{}/", target.local_addr().unwrap());
        let (sender, counts, messages) = sender(move |stream| {
            reply(stream, &format!("302 Found\r\nLocation: {location}"), "");
        });
        sender.send_spans(b"{}".to_vec(), 3);
        wait_for(|| counts.lost.load(Relaxed) == 1);
        assert_eq!((counts.sent.load(Relaxed), counts.lost_spans.load(Relaxed)), (0, 3));
        assert!(messages.lock().unwrap()[0].contains("is not followed"));
        assert!(target.accept().is_err(), "the target of the redirect gets no request");
    }

    #[test]
    fn waits_as_long_as_the_collector_asks() {
        let times = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&times);
        let (sender, counts, _) = sender(move |stream| {
            let mut times = requests.lock().unwrap();
            times.push(Instant::now());
            let head = if times.len() == 1 { "503 Busy\r\nRetry-After: 1" } else { "200 OK" };
            reply(stream, head, "");
        });
        sender.send_metrics(b"{}".to_vec());
        wait_for(|| counts.sent.load(Relaxed) == 1);
        let times = times.lock().unwrap();
        assert!(times[1] - times[0] >= Duration::from_millis(950), "{times:?}");
    }

    #[test]
    fn stopping_abandons_a_silent_collector() {
        let (sender, counts, _) = sender(|_| std::thread::sleep(Duration::from_secs(60)));
        for _ in 0..3 {
            sender.send_metrics(b"{}".to_vec());
        }
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        assert_eq!(sender.stop(Duration::from_millis(300)), 3);
        assert!(start.elapsed() < Duration::from_secs(1));
        assert!(counts.lost.load(Relaxed) >= 2);
    }

    #[test]
    fn stopping_sends_the_requests_that_wait() {
        let (sender, counts, _) = sender(|stream| reply(stream, "200 OK", "{}"));
        for _ in 0..20 {
            sender.send_metrics(b"{}".to_vec());
        }
        assert_eq!(sender.stop(Duration::from_secs(10)), 0);
        assert_eq!(counts.sent.load(Relaxed), 20);
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let (sender, counts, _) = sender(|stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
        });
        sender.send_metrics(b"{}".to_vec());
        wait_for(|| counts.sent.load(Relaxed) == 1);
    }
}
