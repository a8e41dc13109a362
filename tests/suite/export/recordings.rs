//! Recordings: files of events.

use super::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use usdt_e2e::{Need, attach, have, json_lines, text};

#[test]
fn recordings_conform_to_their_formats() {
    if !have(&[Need::Bpf, Need::File("/usr/lib/python3/dist-packages/jsonschema/__init__.py")]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let file = |name: &str| app.folder.path().join(name).to_str().unwrap().to_owned();
    let record = |name: &str| {
        let out = attach(&["record", "-o", &file(name), "--json", "--", app.as_str()]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let summary =
            text(&out.stdout).lines().find_map(|l| serde_json::from_str::<Value>(l).ok()).unwrap();
        assert_eq!(summary["summary"]["dropped"], 0);
        summary["summary"]["delivered"].as_u64().unwrap() as usize
    };
    record("trace.json");
    let schema = usdt_e2e::root().join("tests/golden/trace-event.schema.json");
    validate(schema.to_str().unwrap(), &file("trace.json"));
    let trace: Value =
        serde_json::from_str(&std::fs::read_to_string(file("trace.json")).unwrap()).unwrap();
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
        all.iter()
            .find(|e| e["ph"] == "X" && e["name"] == name)
            .unwrap_or_else(|| panic!("no slice {name}"))
    };
    let (request, task, region) = (slice("server_request"), slice("task"), slice("region"));
    assert_eq!(
        (&request["args"]["path"], &request["args"]["status"]),
        (&json!("/items/1"), &json!(200))
    );
    assert_ne!(request["tid"], task["tid"]);
    let interval = |e: &Value| {
        (e["ts"].as_f64().unwrap(), e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap())
    };
    assert_eq!(region["tid"], task["tid"]);
    assert!(
        interval(task).0 <= interval(region).0 && interval(region).1 <= interval(task).1,
        "slices of a goroutine are nested"
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
    assert_eq!(json_lines(&std::fs::read_to_string(file("events.jsonl")).unwrap()).len(), events);
    let out = attach(&["record", "-o", &file("x.csv"), "--stack", "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("--format jsonl"));
    let out = attach(&["record", "-o", "/nowhere/x.csv", "--", app.as_str()]);
    assert!(text(&out.stderr).contains("cannot open /nowhere/x.csv"), "{}", text(&out.stderr));
}

/// The start and the end of a slice are in a library, which is attached to when it is loaded.
#[test]
fn probes_of_libraries_become_slices() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let library = "#include <sys/sdt.h>\nvoid work(void) { DTRACE_PROBE(lib, work__start); \
                   DTRACE_PROBE(lib, work__done); }\n";
    let main = "void work(void);\nint main(void) { for (int i = 0; i < 3; i++) work(); }\n";
    let (library, main) =
        (write(folder.path(), "lib.c", library), write(folder.path(), "main.c", main));
    let cc = |args: &[&str]| stdout(command("cc").current_dir(folder.path()).args(args));
    cc(&["-shared", "-fPIC", "-o", "libwork.so", &library]);
    cc(&["-o", "app", &main, "-L.", "-lwork", "-Wl,-rpath,$ORIGIN"]);
    let (app, recording) = (folder.path().join("app"), folder.path().join("out.json"));
    let [app, output] = [&app, &recording].map(|path| path.to_str().unwrap());
    let out = attach(&["record", "-o", output, "lib:*", "--", app]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let recording: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&recording).unwrap()).unwrap();
    let events = recording["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((of("X"), of("i")), (3, 0), "{events:?}");
}
