//! The ready-made packages while they are traced: `net/http`, `database/sql`, `log/slog`,
//! `runtime/trace` and the flight recorder.

use serde_json::{Value, json};
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, events_and_summary, have, stdout, text,
    wait_for,
};

/// Returns the arguments of a probe's events.
pub(crate) fn args<'a>(events: &'a [Value], provider: &str, probe: &str) -> Vec<&'a Value> {
    let matching = events.iter().filter(|e| e["provider"] == provider && e["probe"] == probe);
    matching.map(|e| &e["args"]).collect()
}

#[test]
fn packages_record_all_activity() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let out = attach(&["trace", "--json", "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let out = text(&out.stdout);
    // The output of the program is mixed in.
    let traced: Vec<&str> = out.lines().filter(|l| *l != "done").collect();
    let (events, summary) = events_and_summary(&traced.join("\n"));
    assert_eq!((&summary["dropped"], &summary["hits"]), (&0.into(), &events.len().into()));
    check_requests(&events);
    check_statements(&events);
    check_records(&events);
    check_tasks(&events);
}

fn check_requests(events: &[Value]) {
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let starts = args(events, "net_http", "server_request_start");
    let ends = args(events, "net_http", "server_request_end");
    // The client repeats the request whose handler panicked.
    assert!(starts.len() >= 3 && starts.len() == ends.len(), "{starts:?}");
    for (path, status, bytes, route) in
        [("/items/1", 200, 12, "/items/"), ("/missing", 404, 19, ""), ("/panic", 200, 0, "/panic")]
    {
        let start = starts.iter().find(|a| a["path"] == path).unwrap();
        assert_eq!((&start["method"], &start["traceparent"]), (&json!("GET"), &json!(context)));
        let end = ends.iter().find(|a| a["id"] == start["id"]).unwrap();
        assert_eq!(
            (&end["status"], &end["bytes"], &end["route"]),
            (&json!(status), &json!(bytes), &json!(route)),
            "{path}"
        );
        assert!(end["ns"].as_i64().unwrap() > 0);
    }
    let sent = args(events, "net_http", "client_request_start");
    let received = args(events, "net_http", "client_response_received");
    assert_eq!((sent.len(), received.len()), (3, 3));
    for (sent, received) in sent.iter().zip(&received) {
        assert_eq!(sent["id"], received["id"]);
        assert!(sent["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    }
    let statuses: Vec<&Value> = received.iter().map(|a| &a["status"]).collect();
    assert_eq!(statuses, [&json!(200), &json!(404), &json!(0)]);
    assert_eq!((&received[0]["error"], &received[2]["error"]), (&json!(null), &json!("EOF")));
}

fn check_statements(events: &[Value]) {
    let args_of = |probe| args(events, "sql", probe);
    let queries = |probe| {
        args_of(probe).iter().map(|a| a["query"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (queries("exec"), queries("exec_done")),
        (vec!["INSERT 1".into(), "BAD 1".into()], queries("exec"))
    );
    let errors: Vec<&Value> = args_of("exec_done").iter().map(|a| &a["error"]).collect();
    assert_eq!(errors, [&json!(null), &json!("bad statement")]);
    // The driver implements queries only by prepared statements.
    assert_eq!(queries("query"), [""; 0]);
    for probe in ["prepare", "prepare_done", "stmt_query", "stmt_query_done"] {
        assert_eq!(queries(probe), ["SELECT 1"], "{probe}");
    }
    assert_eq!((args_of("tx_begin").len(), args_of("tx_commit").len()), (2, 1));
    assert_eq!(args_of("tx_rollback")[0]["error"], "bad statement");
}

fn check_records(events: &[Value]) {
    let records = args(events, "slog", "record");
    let expected = [
        (-4, "below the level", "a=1 g.b=\"two words\""),
        (8, "it broke", "a=1 g.err=\"bad statement\""),
    ];
    assert_eq!(records.len(), expected.len());
    for (record, (level, message, attributes)) in records.iter().zip(expected) {
        assert_eq!(
            (&record["level"], &record["message"], &record["attributes"]),
            (&json!(level), &json!(message), &json!(attributes))
        );
        assert!(
            record["file"].as_str().unwrap().ends_with("/main.go")
                && record["line"].as_u64().unwrap() > 0
        );
    }
}

fn check_tasks(events: &[Value]) {
    let args_of = |probe| args(events, "trace", probe);
    let begins: Vec<(&Value, &Value, &Value)> =
        args_of("task_begin").iter().map(|a| (&a["id"], &a["parent"], &a["type"])).collect();
    assert_eq!(
        begins,
        [(&json!(1), &json!(0), &json!("outer")), (&json!(2), &json!(1), &json!("inner"))]
    );
    let ends: Vec<(&Value, &Value)> =
        args_of("task_end").iter().map(|a| (&a["id"], &a["type"])).collect();
    assert_eq!(ends, [(&json!(2), &json!("inner")), (&json!(1), &json!("outer"))]);
    assert_eq!(args_of("region_begin"), [&json!({"task": 2, "type": "region"})]);
    let region = args_of("region_end")[0];
    assert!(region["task"] == 2 && region["ns"].as_u64().unwrap() >= 1_000_000, "{region}");
    let messages: Vec<(&Value, &Value)> =
        args_of("log").iter().map(|a| (&a["task"], &a["message"])).collect();
    assert_eq!(messages, [(&json!(2), &json!("message")), (&json!(0), &json!("7%"))]);
}

/// Attaching starts the recorder, incrementing a probe's semaphore requests a snapshot, and
/// detaching stops the recorder.
#[test]
fn attaching_arms_the_flight_recorder() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let folder = app.folder.path().join("snapshots");
    std::fs::create_dir(&folder).unwrap();
    let target =
        Process::start(command(&app.path).args(["-linger", "60s", "-slow", "-dir"]).arg(&folder));
    target.wait_for_exec(&app.path);
    let pid = target.pid().to_string();
    let snapshots = || std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(snapshots(), 0, "no tracer attached");
    // A snapshot that the program itself requests is reported to every tracer.
    let out = attach(&[
        "trace",
        "-p",
        &pid,
        "--json",
        "--events",
        "2",
        "flight:armed",
        "flight:snapshot",
    ]);
    let (events, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(
        args(&events, "flight", "armed"),
        [&json!({"min_age_ns": 1_000_000_000, "max_bytes": 0})]
    );
    let written = args(&events, "flight", "snapshot")[0];
    assert_eq!((&written["reason"], &written["error"]), (&json!("slow request"), &json!(null)));
    assert_eq!(snapshots(), 1);
    for n in 2..4 {
        let path =
            stdout(command("usdt-attach").args(["snapshot", "-p", &pid, "--warmup", "100ms"]));
        let data = std::fs::read(path.trim()).unwrap();
        assert!(data.starts_with(b"go 1."), "{path}");
        assert_eq!(snapshots(), n);
    }
    // A missing folder is reported.
    std::fs::remove_dir_all(&folder).unwrap();
    let out = attach(&["snapshot", "-p", &pid, "--warmup", "10ms"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("no such file or directory"), "{}", text(&out.stderr));
    target.signal(15);
    let other = copy(&Fixture::get("hits", Mode::Sealed));
    let other = Process::start(command(&other.path).args(["-linger", "10s"]));
    wait_for("the program", || {
        text(&attach(&["snapshot", "-p", &other.pid().to_string()]).stderr)
            .contains("no flight recorder")
    });
}

/// The status codes of calls have the names that gRPC gives them, for the server and the client.
#[test]
fn grpc_calls_are_counted_by_the_name_of_their_code() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("health");
    let mut build = command("go");
    build.args(["build", "-toolexec=usdt-gen toolexec", "-o"]).arg(&app).arg("./examples/health");
    stdout(build.current_dir(usdt_e2e::root().join("go-stubs/usdtgrpc")));
    let app = app.to_str().unwrap();
    let out = attach(&["trace", "--json", "grpc:*_end", "--", app]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let lines: Vec<&str> = out_lines(&out.stdout);
    let (events, summary) = events_and_summary(&lines.join("\n"));
    assert_eq!((&summary["dropped"], &summary["hits"]), (&0.into(), &6.into()));
    for probe in ["server_call_end", "client_call_end"] {
        let ends = args(&events, "grpc", probe);
        let codes: Vec<_> = ends.iter().map(|a| (&a["code"], &a["code_name"])).collect();
        let (ok, not_found) = ((&json!(0), &json!("OK")), (&json!(5), &json!("NotFound")));
        assert_eq!(codes, [ok, not_found, ok], "{probe}");
    }
}

/// Returns the lines of JSON in an output that also has the output of a program.
pub(crate) fn out_lines(output: &[u8]) -> Vec<&str> {
    let output = std::str::from_utf8(output).unwrap();
    output.lines().filter(|line| line.starts_with('{')).collect()
}

/// The output of `usdt-gen doc` is checked in next to each package; the golden check keeps it
/// current.
#[test]
fn every_package_is_documented() {
    let root = usdt_e2e::root().join("go-stubs");
    let entries = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut packages = 0;
    for folder in entries(root.clone()).chain(entries(root.join("libraries"))) {
        let definition = folder.join("internal/probes/probes.d");
        if !definition.exists() {
            continue;
        }
        packages += 1;
        let page = std::fs::read_to_string(folder.join("PROBES.md")).unwrap();
        let schema = stdout(command("usdt-gen").arg("schema").arg(&definition));
        let schema: Value = serde_json::from_str(&schema).unwrap();
        for probe in schema["providers"][0]["probes"].as_array().unwrap() {
            assert!(
                page.contains(&format!("\n## {}\n", probe["name"].as_str().unwrap())),
                "{probe}"
            );
            assert!(probe["doc"].as_str().is_some_and(|doc| !doc.is_empty()), "{probe}");
        }
    }
    assert_eq!(packages, 19);
}
