//! Functions in exports and recordings, in their code and at injected probes.

use super::nested_spans::{Collector, parents};
use super::*;
use serde_json::Value;
use std::path::PathBuf;
use usdt_e2e::{Need, attach, have, text};

/// In each of 20 goroutines, `visit` is nested in itself, and the innermost call panics. Its caller
/// recovers, goes on and returns. The program waits for a line before and after that.
const PROGRAM: &str = r#"package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
)

//go:noinline
func visit(level int) int {
	if level == 0 {
		panic("visited")
	}
	result := attempt(level-1) + 1
	settle(level)
	return result
}

//go:noinline
func attempt(level int) (result int) {
	defer func() {
		if recover() != nil {
			result = 0
		}
	}()
	return visit(level)
}

//go:noinline
func settle(level int) error {
	if level == 1 {
		return fmt.Errorf("level %d", level)
	}
	return nil
}

func main() {
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	var wait sync.WaitGroup
	for i := 0; i < 20; i++ {
		wait.Add(1)
		go func() { defer wait.Done(); attempt(3) }()
	}
	wait.Wait()
	fmt.Println("done")
	in.ReadString('\n')
}
"#;

/// Calls of `visit` that return, and that panic.
const RETURNED: usize = 60;
const UNWOUND: usize = 20;

/// Builds the program, with injected probes in these functions.
fn build(folder: &Path, injected: &[&str]) -> PathBuf {
    write(folder, "go.mod", "module app\n\ngo 1.21\n");
    write(folder, "main.go", PROGRAM);
    let app = folder.join("app");
    let mut go = command("go");
    go.args(["build", "-o"]).arg(&app).arg(".").current_dir(folder);
    if !injected.is_empty() {
        let mut inject = command(tools().join("usdt-gen"));
        inject.arg("inject").args(injected).current_dir(folder).env("GOFLAGS", "");
        go.env("GOFLAGS", stdout(&mut inject).trim());
    }
    stdout(&mut go);
    app
}

/// Exports one run of the program, until `span_count` spans have ended. Returns the spans, the metrics
/// after it, and the messages.
fn export(
    app: &Path,
    entries: &str,
    span_count: usize,
) -> (BTreeMap<String, Vec<Value>>, String, String) {
    let (collector, port) = (Collector::start(), free_port());
    let mut program = start_worker(app);
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[otlp]\nendpoint = \"http://127.0.0.1:{}\"\n{entries}",
        collector.port
    );
    let config = write(app.parent().unwrap(), "export.toml", config);
    let exporter = start_exporter(&["--config", &config, "-p", &program.pid().to_string()]);
    wait_until_attached(port, 1);
    work(&mut program);
    wait_for_spans(port, span_count);
    let page = get(port, "/metrics");
    drop(program);
    let (status, _, messages) = exporter.interrupt();
    assert!(status.success(), "{messages}");
    (collector.spans(), page, messages)
}

const SPANS: &str = r#"
[[span]]
start = "func:main.visit"
end = "func:main.visit%return"
name = "visit {level}"
[[span]]
start = "func:main.settle"
end = "func:main.settle%return"
name = "settle {level}"
error = "ERROR"
"#;

fn number(span: &Value, name: &str) -> u64 {
    let attributes = span["attributes"].as_array().unwrap();
    let attribute = attributes.iter().find(|a| a["key"] == name);
    let attribute = attribute.unwrap_or_else(|| panic!("no {name}: {span}"));
    attribute["value"]["intValue"].as_str().unwrap().parse().unwrap()
}

/// A call that a panic ends is paired with no return of another call, and encloses nothing that comes
/// after it.
#[test]
fn spans_of_functions_are_those_of_single_calls() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path(), &[]);
    let (spans, page, messages) = export(&app, &SPANS.replace("ERROR", "ret0"), RETURNED + 60);
    assert!(messages.contains("note: attaching to functions: func:main."), "{messages}");
    let visits = (1..=3).flat_map(|level| &spans[&format!("visit {level}")]);
    let mut returned = 0;
    for span in visits {
        assert_eq!(number(span, "level"), number(span, "ret0"), "{span}");
        returned += 1;
    }
    assert_eq!(returned, RETURNED);
    let of = |name: &str| parents(&spans, name);
    assert_eq!(of("visit 3"), vec![None; 20]);
    for level in 1..=3 {
        let parent = Some(format!("visit {level}"));
        assert_eq!(of(&format!("settle {level}")), vec![parent.clone(); 20]);
        assert!(level == 1 || of(&format!("visit {}", level - 1)) == vec![parent; 20]);
    }
    assert!(!spans.contains_key("visit 0"), "{:?}", spans.keys());
    let failed = |name: &str| spans[name].iter().filter(|s| s["status"]["code"] == 2).count();
    assert_eq!((failed("settle 1"), failed("settle 2")), (20, 0));
    let outcome = |name: &str| {
        metric(&page, "usdt_attach_spans_total")[&format!("{{outcome=\"{name}\"}}")] as usize
    };
    assert_eq!((outcome("without_start"), outcome("without_end")), (0, UNWOUND));
}

#[test]
fn exports_functions_at_their_injected_probes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let entries = format!(
        "{}{}",
        r#"
[[count]]
probes = "func:main.visit"
labels = ["level"]
name = "visits"
[[latency]]
start = "func:main.visit"
end = "func:main.visit%return"
name = "times"
[[latency]]
start = "func:main.visit"
end = "func:main.visit%return"
filter = "level == 2"
name = "filtered"
[[count]]
probes = "func:main.attempt"
name = "attempts"
"#,
        SPANS.replace("ERROR", "ret0")
    );
    for injected in [&["main.visit", "main.settle"][..], &["main.settle"]] {
        let app = build(folder.path(), injected);
        let has_visit = injected.len() == 2;
        // The injected return also fires after a panic.
        let unwound = if has_visit { UNWOUND } else { 0 };
        let (spans, page, messages) = export(&app, &entries, RETURNED + unwound + 60);
        let uses_injected = messages.contains("note: using injected probes for func:main.visit");
        assert_eq!(uses_injected, has_visit, "{messages}");
        let not_used =
            messages.contains("the injected probe of func:main.settle is not used: not all");
        assert_eq!(not_used, !has_visit, "{messages}");
        // The filter needs the code, as does the function without injected probes.
        assert!(messages.contains("note: attaching to functions: func:main."), "{messages}");
        let total = |name: &str| total(&page, name).unwrap() as usize;
        assert_eq!(total("visits_total"), RETURNED + UNWOUND, "{page}");
        assert_eq!(metric(&page, "visits_total").len(), 4, "{page}");
        assert_eq!(total("times_count"), RETURNED + unwound, "{page}");
        assert_eq!(total("filtered_count"), 20, "{page}");
        assert_eq!(total("attempts_total"), RETURNED + UNWOUND, "{page}");
        let visits: usize =
            (0..=3).filter_map(|l| spans.get(&format!("visit {l}"))).map(Vec::len).sum();
        assert_eq!(visits, RETURNED + unwound);
        assert_eq!(parents(&spans, "settle 2"), vec![Some("visit 2".to_owned()); 20]);
        let failed = spans["settle 1"].iter().filter(|s| s["status"]["code"] == 2).count();
        assert_eq!(failed, 20, "{:?}", spans["settle 1"]);
    }
}

#[test]
fn recordings_show_calls_of_functions_as_slices() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for injected in [&[][..], &["main.visit"]] {
        let app = build(folder.path(), injected);
        let file = folder.path().join("out.json");
        let globs = ["func:main.visit", "func:main.visit%return"];
        let arguments = [&["record", "-o", file.to_str().unwrap()], &globs[..]].concat();
        let out = attach(&[&arguments[..], &["--", app.to_str().unwrap()]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let trace: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let of = |phase: &str| {
            let all = trace["traceEvents"].as_array().unwrap().iter();
            all.filter(|e| e["ph"] == phase).map(|e| (&e["name"], &e["args"])).collect::<Vec<_>>()
        };
        // The injected return of a call that panics makes it a slice, too.
        let (slices, instants) = (of("X"), of("i"));
        let unwound = if injected.is_empty() { UNWOUND } else { 0 };
        assert_eq!((slices.len(), instants.len()), (RETURNED + UNWOUND - unwound, unwound));
        for (name, args) in slices {
            assert_eq!(name, "main.visit");
            let result = if args["panicked"] == true { &args["level"] } else { &args["ret0"] };
            assert_eq!(args["level"], *result, "{args}");
        }
        assert!(instants.iter().all(|(_, args)| args["level"] == 0));
    }
}
