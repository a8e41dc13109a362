//! Spans that enclose each other, in one goroutine and across goroutines.

use super::*;
use serde_json::Value;
use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use usdt_e2e::{Need, attach, have, overlay_flag, text, usdt_gen};

const DEFINITION: &str = r"provider prop {
	probe request__start(uint64_t id, string path);
	probe request__end(uint64_t id, int status);
	probe query__start(string sql);
	probe query__end(int rows);
	probe work__start(int depth);
	probe work__end(int depth);
};
";

/// Requests whose queries run in goroutines, and whose work is recursive.
const PROGRAM: &str = r#"package main

import (
	"runtime"
	"sync"
	"time"

	"prop/probes"
)

func query(sql string) {
	probes.QueryStart(sql)
	time.Sleep(2 * time.Millisecond)
	probes.QueryEnd(3)
}

func work(depth int32) {
	probes.WorkStart(depth)
	runtime.Gosched()
	time.Sleep(time.Millisecond)
	if depth < 3 {
		work(depth + 1)
	}
	probes.WorkEnd(depth)
}

func request(id uint64) {
	probes.RequestStart(id, "/fan")
	query("same goroutine")
	var wait sync.WaitGroup
	wait.Add(3)
	for k := 0; k < 2; k++ {
		go func() { defer wait.Done(); query("child") }()
	}
	// A goroutine without spans starts one with a span.
	go func() { go func() { defer wait.Done(); query("grandchild") }() }()
	wait.Wait()
	work(1)
	ended := make(chan int)
	late := make(chan int)
	go func() { <-ended; query("late"); close(late) }()
	// It ends in another goroutine.
	go func() { probes.RequestEnd(id, 200); close(ended) }()
	<-late
}

func main() {
	var wait sync.WaitGroup
	for i := uint64(0); i < 5; i++ {
		wait.Add(1)
		go func(id uint64) { defer wait.Done(); request(id) }(i)
	}
	wait.Wait()
	// The program ends within this request.
	probes.RequestStart(99, "/exit")
	query("unfinished")
}
"#;

const CONFIG: &str = r#"
[[span]]
start = "prop:request-start"
end = "prop:request-end"
key = "id"
name = "{path} {status}"
[[span]]
start = "prop:query-start"
end = "prop:query-end"
name = "{sql}"
[[span]]
start = "prop:work-start"
end = "prop:work-end"
name = "work {depth}"
"#;

/// A collector that keeps all spans.
pub(super) struct Collector {
    pub(super) port: u16,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    pub(super) fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spans = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = receive(stream.unwrap(), &all);
            }
        });
        Collector { port, spans }
    }

    /// The spans by name.
    pub(super) fn spans(&self) -> BTreeMap<String, Vec<Value>> {
        let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for span in self.spans.lock().unwrap().drain(..) {
            out.entry(span["name"].as_str().unwrap().to_owned()).or_default().push(span);
        }
        out
    }
}

/// Answers one request, and adds its spans.
fn receive(stream: TcpStream, spans: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    for resource in body["resourceSpans"].as_array().into_iter().flatten() {
        for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
            spans.lock().unwrap().extend(scope["spans"].as_array().unwrap().iter().cloned());
        }
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    reader.into_inner().write_all(answer.as_bytes())
}

/// Builds the program, with the runtime's probes if a flag for an overlay is given.
fn build(folder: &Path, overlay: Option<&str>) -> PathBuf {
    write(folder, "go.mod", "module prop\n\ngo 1.21\n");
    write(folder, "main.go", PROGRAM);
    std::fs::create_dir_all(folder.join("probes")).unwrap();
    let definition = write(folder, "probes/probes.d", DEFINITION);
    let out = usdt_gen(&[&definition]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let app = folder.join("app");
    let mut go = command("go");
    go.arg("build").args(overlay).args(["-toolexec=usdt-gen toolexec", "-o"]).arg(&app).arg(".");
    stdout(go.current_dir(folder));
    app
}

/// Exports the spans of one run of the program.
fn export(app: &Path) -> BTreeMap<String, Vec<Value>> {
    let collector = Collector::start();
    let config = format!("[otlp]\nendpoint = \"http://127.0.0.1:{}\"\n{CONFIG}", collector.port);
    let config = write(app.parent().unwrap(), "export.toml", &config);
    let out = attach(&["export", "--config", &config, "--", app.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains(" 0 dropped,"), "{}", text(&out.stderr));
    collector.spans()
}

/// Checks that each parent was exported in the same trace. Returns the names of the parents of the
/// spans with a name.
pub(super) fn parents(spans: &BTreeMap<String, Vec<Value>>, name: &str) -> Vec<Option<String>> {
    let by_id: HashMap<&str, &Value> =
        spans.values().flatten().map(|span| (span["spanId"].as_str().unwrap(), span)).collect();
    let parent = |span: &Value| {
        let id = span["parentSpanId"].as_str().filter(|id| !id.is_empty())?;
        let parent = by_id.get(id).unwrap_or_else(|| panic!("no parent of {span}"));
        assert_eq!(parent["traceId"], span["traceId"]);
        Some(parent["name"].as_str().unwrap().to_owned())
    };
    spans
        .get(name)
        .unwrap_or_else(|| panic!("no spans {name}: {spans:?}"))
        .iter()
        .map(parent)
        .collect()
}

#[test]
fn spans_have_the_parents_of_their_goroutines() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for overlay in [Some(overlay_flag()), None] {
        let spans = export(&build(folder.path(), overlay.as_deref()));
        let of = |name: &str| parents(&spans, name);
        let all = |parent: &str, count: usize| vec![Some(parent.to_owned()); count];
        // Nested spans of one goroutine and one pair.
        assert_eq!(of("/fan 200"), vec![None; 5]);
        assert_eq!(of("same goroutine"), all("/fan 200", 5));
        assert_eq!(of("work 1"), all("/fan 200", 5));
        assert_eq!(of("work 2"), all("work 1", 5));
        assert_eq!(of("work 3"), all("work 2", 5));
        // Goroutines that the request has started.
        match overlay {
            Some(_) => {
                assert_eq!(of("child"), all("/fan 200", 10));
                assert_eq!(of("grandchild"), all("/fan 200", 5));
            }
            None => {
                assert_eq!(of("child"), vec![None; 10]);
                assert_eq!(of("grandchild"), vec![None; 5]);
            }
        }
        // Once the request has ended, its goroutines are on their own.
        assert_eq!(of("late"), vec![None; 5]);
        // The end of this request never came, but its query names it.
        assert_eq!(of("unfinished"), all("/exit", 1));
        let exit = &spans["/exit"][0];
        let attributes = exit["attributes"].as_array().unwrap();
        let is_unfinished =
            |a: &Value| a["key"] == "usdt.unfinished" && a["value"]["boolValue"] == true;
        assert!(attributes.iter().any(is_unfinished), "{exit}");
        let mut traces: Vec<&str> =
            spans["/fan 200"].iter().map(|span| span["traceId"].as_str().unwrap()).collect();
        traces.sort_unstable();
        traces.dedup();
        assert_eq!(traces.len(), 5, "each request has a trace of its own");
    }
}
