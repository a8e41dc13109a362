//! Clients and collectors that misbehave: each costs an error at most. Scrapes, events and the end
//! of the exporter go on meanwhile.

use super::*;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use usdt_e2e::{Need, have, limited, status_kib, wait_up_to};

const SIGTERM: i32 = 15;
/// The limit of resident memory in KiB, without pages of the executable. Those of a release build
/// are at most 8 MiB, so that it stays within 64 MiB.
const MAX_MEMORY: u64 = 56 << 10;
/// A client that could delay others would do so until the endpoint gives up on it, after 10 s. A busy
/// machine takes less. `cargo xtask soak hostile` measures the times.
const PROMPT: Duration = Duration::from_secs(5);

/// An exporter under attack, and the target that it traces.
struct Victim {
    exporter: Process,
    port: u16,
    target: Process,
    _app: Copy,
}

impl Victim {
    /// Starts an exporter with an endpoint and further lines of configuration, and a target with
    /// arguments of its own. The exporter has 1,024 file descriptors.
    fn start(config: &str, target: &[&str]) -> Victim {
        let app = copy(&Fixture::get("pairs", Mode::Sealed));
        let target = Process::start(command(&app.path).args(["-linger", "120s"]).args(target));
        let target = wait_until_ready(target);
        let port = free_port();
        let config = format!(
            "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n{config}\n\
             [[count]]\nprobes = \"ops:begin\"\nname = \"operations\"\n"
        );
        let config_entries = config.matches("[[count]]").count();
        let config = write(app.folder.path(), "export.toml", config);
        let mut exporter = limited("ulimit -n 1024", tools().join("usdt-attach"));
        exporter.args(["export", "--config", &config, "-p", &target.pid().to_string()]);
        let exporter = Process::start(&mut exporter);
        wait_until_attached(port, config_entries);
        Victim { exporter, port, target, _app: app }
    }

    /// Scrapes once and checks the time.
    fn scrape(&self) -> String {
        let start = Instant::now();
        // While all connections have just sent a request, the endpoint admits no other one. A scraper
        // comes again.
        let mut pages = (0..3).map(|_| get(self.port, "/metrics"));
        let page = pages.find(|page| !page.is_empty()).unwrap_or_default();
        let time = start.elapsed();
        assert!(page.contains("operations_total"), "no metrics after {time:?}: {page}");
        assert!(time < PROMPT, "a scrape takes {time:?}");
        page
    }

    /// Scrapes for a while.
    fn scrape_for(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.scrape();
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(get(self.port, "/healthz"), "ok\n");
    }

    /// Lets the target work, and checks that every operation is counted.
    fn check_counts(&self, expected: u64) {
        self.target.signal(SIGINT);
        wait_for("all operations", || {
            total(&self.scrape(), "operations_total") == Some(expected as f64)
        });
    }

    /// Returns the value of a metric by its labels.
    fn value(&self, name: &str, labels: &str) -> f64 {
        metric(&self.scrape(), name).get(labels).copied().unwrap_or(-1.0)
    }

    /// Checks the peak of the memory, and that SIGTERM ends the exporter. Returns what it has
    /// printed to standard error.
    fn end(self) -> String {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.exporter.pid())).unwrap();
        // Pages of the executable are not counted: those of a debug build are 20 MiB.
        let [peak, executable] =
            ["VmHWM", "RssFile"].map(|name| status_kib(&status, name).unwrap());
        let peak = peak - executable;
        let start = Instant::now();
        self.exporter.signal(SIGTERM);
        let (status, _, errors) = self.exporter.finish();
        let time = start.elapsed();
        assert!(status.success(), "{status}: {errors}");
        assert!(time < PROMPT, "SIGTERM takes {time:?}: {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        assert!(peak <= MAX_MEMORY, "{peak} KiB: {errors}");
        eprintln!("peak {peak} KiB, SIGTERM {time:?}");
        errors
    }
}

/// Connects and sends a part of a request.
fn send(port: u16, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Fails if the endpoint has closed the connection already.
    let _ = stream.write_all(request.as_bytes());
    stream
}

#[test]
fn bodies_that_never_come_are_not_waited_for() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let victim = Victim::start("", &[]);
    let mut open = Vec::new();
    for body in
        ["Content-Length: 100000000000000", "Content-Length: 100000", "Transfer-Encoding: chunked"]
    {
        for line in ["GET /healthz", "GET /metrics", "POST /metrics"] {
            for _ in 0..20 {
                open.push(send(
                    victim.port,
                    &format!("{line} HTTP/1.1\r\nHost: x\r\n{body}\r\n\r\n"),
                ));
            }
            victim.scrape();
        }
    }
    for mut stream in open.into_iter().rev().take(20) {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
    victim.check_counts(STARTED);
    victim.end();
}

#[test]
fn idle_and_slow_clients_do_not_delay_scrapes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let victim = Victim::start("", &[]);
    let idle: Vec<TcpStream> = (0..500).map(|_| send(victim.port, "")).collect();
    victim.scrape_for(Duration::from_secs(1));
    // These send their requests byte by byte.
    let dribbling: Vec<TcpStream> =
        (0..200).map(|_| send(victim.port, "GET /metrics HTTP/1.1\r\nX: ")).collect();
    // These never read their answers.
    let slow: Vec<TcpStream> =
        (0..300).map(|_| send(victim.port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        for mut stream in &dribbling {
            let _ = stream.write_all(b"x");
        }
        victim.scrape();
    }
    victim.check_counts(STARTED);
    victim.end();
    drop((idle, dribbling, slow));
}

#[test]
fn slow_readers_of_large_pages_do_not_fill_the_memory() {
    if !have(&[Need::Bpf]) {
        return;
    }
    // Pages of up to 1.5 MiB.
    let config = "[[hist]]\nprobes = \"ops:end\"\nvalue = \"status\"\nname = \"h\"\nlabels = [\"id\"]\n\
                  buckets = { start = 0, end = 300, width = 1 }\n";
    let victim = Victim::start(config, &["-per", "50"]);
    victim.target.signal(SIGINT);
    // The kernel may have no memory for a large histogram at once; that hit is counted as dropped.
    let hits = |outcome: &str| {
        victim.value("usdt_attach_hits_total", &format!("{{entry=\"h\",outcome=\"{outcome}\"}}"))
    };
    wait_for("all operations", || hits("delivered") + hits("dropped") == 180.0);
    let page = victim.scrape().len();
    assert!(page > 1 << 18, "a page of {page} bytes");
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(send(victim.port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
        std::thread::sleep(Duration::from_millis(10));
        if slow.len() % 10 == 0 {
            victim.scrape();
        }
    }
    victim.scrape_for(Duration::from_secs(2));
    victim.end();
    drop(slow);
}

#[test]
fn endless_headers_are_rejected() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let victim = Victim::start("", &[]);
    let port = victim.port;
    let attack = std::thread::spawn(move || {
        let chunk = vec![b'x'; 1 << 20];
        (0..1024)
            .map(|_| {
                let mut stream = send(port, "GET /metrics HTTP/1.1\r\nX: ");
                (0..1024).take_while(|_| stream.write_all(&chunk).is_ok()).count()
            })
            .take(20)
            .max()
    });
    victim.scrape_for(Duration::from_secs(1));
    let accepted = attack.join().unwrap();
    assert!(accepted < Some(32), "{accepted:?} MiB of a header of 1 GiB were read");
    victim.check_counts(STARTED);
    victim.end();
}

/// A configuration and the arguments of a target with 20,000 series.
const MANY_SERIES: &str = "[limits]\nseries = 20000\n[[count]]\nprobes = \"ops:begin\"\nname = \"ids\"\nlabels = [\"id\"]\n";
const MANY_IDS: &[&str] = &["-per", "6000"];

/// A collector that answers as a test wants.
struct Collector {
    port: u16,
    requests: Arc<AtomicUsize>,
    /// The start of the last request.
    last: Arc<Mutex<String>>,
}

impl Collector {
    /// `answer` gets the number of the request, and returns the answer; `None` is none ever.
    fn start(answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let last = Arc::new(Mutex::new(String::new()));
        let (count, text) = (Arc::clone(&requests), Arc::clone(&last));
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(head) = read_request(&mut stream) else { continue };
                *text.lock().unwrap() = head;
                match answer(count.fetch_add(1, Relaxed)) {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
        Collector { port, requests, last }
    }

    fn config(&self) -> String {
        format!(
            "[otlp]\nendpoint = \"http://127.0.0.1:{}\"\ninterval = \"100ms\"\nheaders = {{ \"X-Api-Key\" = \"secret\" }}\n",
            self.port
        )
    }

    fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

/// Reads a request with its body, and returns its header lines.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(head)
}

/// Returns an answer that ends its connection.
fn answer(head: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"))
}

const SPANS: &str = "[[span]]\nstart = \"ops:begin\"\nend = \"ops:end\"\nkey = \"id\"\n";

#[test]
fn spans_that_a_collector_rejects_are_counted() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let collector = Collector::start(|_| {
        answer(
            "200 OK",
            "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"rejectedDataPoints\":5,\"errorMessage\":\"\\u001b[2Jquota\"}}",
        )
    });
    let victim = Victim::start(&format!("{}{SPANS}", collector.config()), &[]);
    victim.check_counts(STARTED);
    wait_for("rejected spans", || {
        victim.value("usdt_attach_otlp_rejected_total", "{kind=\"spans\"}") >= 3.0
    });
    assert!(victim.value("usdt_attach_otlp_rejected_total", "{kind=\"data_points\"}") >= 5.0);
    assert!(collector.requests() > 3);
    let errors = victim.end();
    assert_eq!(errors.matches("the collector rejected").count(), 1, "{errors}");
    assert!(errors.contains("quota") && !errors.contains('\x1b'), "{errors}");
}

#[test]
fn redirects_of_a_collector_are_not_followed() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let thief = Collector::start(|_| answer("200 OK", "{}"));
    let location = format!("http://127.0.0.1:{}/v1/metrics", thief.port);
    let collector =
        Collector::start(move |_| answer(&format!("302 Found\r\nLocation: {location}"), ""));
    let victim = Victim::start(&collector.config(), &[]);
    wait_for("lost requests", || {
        victim.value("usdt_attach_otlp_requests_total", "{outcome=\"lost\"}") >= 3.0
    });
    assert_eq!(victim.value("usdt_attach_otlp_requests_total", "{outcome=\"sent\"}"), 0.0);
    assert!(collector.last.lock().unwrap().to_ascii_lowercase().contains("x-api-key: secret"));
    assert_eq!(thief.requests(), 0);
    let errors = victim.end();
    assert!(errors.contains("which is not followed"), "{errors}");
}

#[test]
fn a_silent_collector_does_not_delay_the_end() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let collector = Collector::start(|_| None);
    let victim = Victim::start(&format!("{}{SPANS}", collector.config()), &[]);
    victim.check_counts(STARTED);
    wait_for("a request", || collector.requests() > 0);
    std::thread::sleep(Duration::from_secs(2));
    let errors = victim.end();
    assert!(errors.contains("were not sent before the exporter stopped"), "{errors}");
}

#[test]
fn requests_that_a_collector_does_not_accept_stay_within_the_memory() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let collector = Collector::start(|_| answer("503 Service Unavailable", ""));
    let victim = Victim::start(&format!("{}{MANY_SERIES}", collector.config()), MANY_IDS);
    victim.target.signal(SIGINT);
    // The suite tests a debug build, which needs seconds to collect 20,000 series.
    let page = || {
        // Scrapes without a pause would leave it no time for that.
        std::thread::sleep(Duration::from_millis(300));
        get(victim.port, "/metrics")
    };
    let minutes = Duration::from_secs(120);
    wait_up_to(minutes, "20,000 series", || page().matches("\nids_total{").count() >= 19_000);
    wait_up_to(minutes, "lost requests", || {
        let requests = metric(&page(), "usdt_attach_otlp_requests_total");
        requests.get("{outcome=\"lost\"}").is_some_and(|lost| *lost > 20.0)
    });
    let errors = victim.end();
    assert!(errors.contains("answered with status 503"), "{errors}");
}

#[test]
fn a_collector_gets_the_pause_that_it_asks_for() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let collector = Collector::start(|n| match n {
        0 => answer("429 Too Many Requests\r\nRetry-After: 2", ""),
        _ => answer("200 OK", "{}"),
    });
    let victim = Victim::start(&collector.config(), &[]);
    wait_for("the first request", || collector.requests() == 1);
    std::thread::sleep(Duration::from_millis(1700));
    assert_eq!(collector.requests(), 1, "the collector has asked for a pause of 2 s");
    wait_for("the next requests", || collector.requests() > 3);
    victim.end();
}

/// The old endpoint and the new one cannot listen at the same time.
#[test]
fn a_reload_moves_the_endpoint_to_all_interfaces_of_its_port() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, target) = start_pairs();
    let port = free_port();
    let pid = target.pid().to_string();
    let configure = |listen: &str| {
        let config =
            format!("[prometheus]\nlisten = \"{listen}\"\n[[count]]\nprobes = \"ops:begin\"\n");
        write(app.folder.path(), "export.toml", config)
    };
    let config = configure(&format!("127.0.0.1:{port}"));
    let exporter = start_exporter(&["--config", &config, "-p", &pid]);
    // The whole of 127.0.0.0/8 reaches a socket that listens at all interfaces.
    let answers_at = |host: &str| TcpStream::connect((host, port)).is_ok();
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    assert!(!answers_at("127.0.0.2"));
    for listen in [format!("0.0.0.0:{port}"), format!(":{port}")] {
        configure(&listen);
        exporter.signal(SIGHUP);
        wait_for("all interfaces", || answers_at("127.0.0.2"));
        configure(&port.to_string());
        exporter.signal(SIGHUP);
        wait_for("the loopback interface only", || !answers_at("127.0.0.2"));
        wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    }
    // Another program occupies the port on another address, so that not all can be opened.
    let other = TcpListener::bind(("127.0.0.3", port)).unwrap();
    configure(&format!("0.0.0.0:{port}"));
    exporter.signal(SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    wait_for("the old endpoint", || get(port, "/healthz") == "ok\n");
    drop(other);
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
    assert!(errors.contains(&format!("cannot listen at 0.0.0.0:{port}")), "{errors}");
    assert!(errors.contains("the previous configuration stays active"), "{errors}");
    assert!(errors.contains("can read the metrics; set TLS or users"), "{errors}");
}

#[test]
fn addresses_that_are_none_are_usage_errors() {
    for address in ["127.0.0.1", "nonsense", "http://127.0.0.1:9464", "70000", ":", "1.2.3:1"] {
        let out = usdt_e2e::attach(&["export", "-p", "1", "--prometheus", address]);
        assert_eq!(out.status.code(), Some(2), "{address}");
        let errors = usdt_e2e::text(&out.stderr);
        assert!(errors.contains("HOST:PORT"), "{address}: {errors}");
        let folder = tempfile::tempdir().unwrap();
        let config = format!("[prometheus]\nlisten = \"{address}\"\n[[count]]\nprobes = \"a:b\"\n");
        let config = write(folder.path(), "export.toml", config);
        let out = usdt_e2e::attach(&["agent", "--check", "--config", &config]);
        assert_eq!(out.status.code(), Some(2), "{address}");
        let errors = usdt_e2e::text(&out.stderr);
        assert!(errors.contains("export.toml") && errors.contains("HOST:PORT"), "{errors}");
    }
}
