//! The ready-made packages for libraries while they are traced: one program uses every library,
//! against servers in the same process.

use crate::packages::{args, out_lines};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::OnceLock;
use usdt_e2e::{
    Copy, Need, attach, command, copy, events_and_summary, have, json_lines, root, stdout, text,
};

/// Builds the program once per run, and returns a copy of it.
fn program() -> Copy {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let out = root().join("target/e2e/libraries");
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let mut build = command("go");
        build.args(["build", "-toolexec=usdt-gen toolexec", "-o"]).arg(&out).arg(".");
        stdout(build.current_dir(root().join("tests/go/libraries")));
        out
    });
    copy(built)
}

/// Returns the arguments of a probe's events with the given names.
fn named(events: &[Value], probe: &str, names: &[&str]) -> Vec<Vec<Value>> {
    let (provider, probe) = probe.split_once(':').unwrap();
    let events = args(events, provider, probe);
    events.iter().map(|args| names.iter().map(|name| args[name].clone()).collect()).collect()
}

/// Checks the values of the named arguments in all events of a probe.
fn check<const N: usize>(events: &[Value], probe: &str, names: [&str; N], expected: &[[Value; N]]) {
    assert_eq!(named(events, probe, &names), expected, "{probe} {names:?}");
}

/// Checks that starts and ends of operations have the same ids, and that the ends have a duration.
fn check_pairs(events: &[Value], start: &str, end: &str) {
    let ids = |probe| {
        let mut ids: Vec<i64> =
            named(events, probe, &["id"]).iter().map(|a| a[0].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(start), ids(end), "{start} {end}");
    check_durations(events, end);
}

fn check_durations(events: &[Value], probe: &str) {
    for duration in named(events, probe, &["ns"]) {
        let ns = duration[0].as_i64().unwrap();
        assert!((1..60_000_000_000).contains(&ns), "{probe}: {ns} ns");
    }
}

#[test]
fn packages_for_libraries_record_all_activity() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = program();
    let out = attach(&["trace", "--json", "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, summary) = events_and_summary(&out_lines(&out.stdout).join("\n"));
    assert_eq!((&summary["dropped"], &summary["hits"]), (&0.into(), &events.len().into()));
    check_redis(&events);
    check_postgres(&events);
    check_mongo(&events);
    check_kafka(&events);
    check_nats(&events);
    check_aws(&events);
    check_rpc(&events);
    check_web(&events);
}

fn check_redis(events: &[Value]) {
    // The client sends `hello` on each new connection, before the first command of the connection.
    let command = |event: &&Value| event["args"]["command"] != "hello";
    let sent: Vec<Value> = events.iter().filter(command).cloned().collect();
    let commands = [["set", "user:1"], ["get", "user:1"], ["get", "user:2"]]
        .map(|names| names.map(Value::from));
    check(&sent, "redis:command_start", ["command", "key"], &commands);
    check(&sent, "redis:command_done", ["command", "key"], &commands);
    let errors = [[Value::Null], [Value::Null], [json!("redis: nil")]];
    check(&sent, "redis:command_done", ["error"], &errors);
    check_pairs(events, "redis:command_start", "redis:command_done");
    check(events, "redis:pipeline_start", ["commands"], &[[json!(2)]]);
    check(events, "redis:pipeline_done", ["commands", "error"], &[[json!(2), Value::Null]]);
    check_pairs(events, "redis:pipeline_start", "redis:pipeline_done");
}

fn check_postgres(events: &[Value]) {
    let (delete, bad) = (json!("DELETE FROM orders"), json!("BAD"));
    check(events, "sql:query", ["query"], &[[delete.clone()], [bad.clone()]]);
    let reason = json!("ERROR: bad statement (SQLSTATE 42601)");
    check(events, "sql:query_done", ["query", "error"], &[[delete, Value::Null], [bad, reason]]);
    let count = json!("SELECT count(*) FROM orders");
    check(events, "sql:prepare", ["query"], &[[count.clone()]]);
    check(events, "sql:prepare_done", ["query", "error"], &[[count, Value::Null]]);
    let batch = ["UPDATE orders SET paid = true", "DELETE FROM carts"];
    let batch = batch.map(|query| [json!(query), Value::Null]);
    check(events, "sql:batch_query_done", ["query", "error"], &batch);
    for probe in ["sql:query_done", "sql:prepare_done", "sql:batch_query_done"] {
        check_durations(events, probe);
    }
}

/// The second database is reached by version 1 of the driver.
fn check_mongo(events: &[Value]) {
    for database in ["shop", "archive"] {
        let of_database = |event: &&Value| event["args"]["database"] == database;
        let events: Vec<Value> = events.iter().filter(of_database).cloned().collect();
        let starts = [[json!("find"), json!("orders")], [json!("refuse"), json!("")]];
        check(&events, "mongo:command_start", ["command", "collection"], &starts);
        let reason = "(CommandNotFound) no such command";
        let ends = [[json!("find"), Value::Null], [json!("refuse"), json!(reason)]];
        check(&events, "mongo:command_done", ["command", "error"], &ends);
        check_pairs(&events, "mongo:command_start", "mongo:command_done");
    }
}

fn check_kafka(events: &[Value]) {
    let (orders, zero) = (json!("orders"), json!(0));
    let sizes = [3, 5].map(|bytes| [orders.clone(), json!("key"), json!(bytes)]);
    check(events, "kafka:record_produce", ["topic", "key", "bytes"], &sizes);
    let offsets = [0, 1].map(|offset| [orders.clone(), zero.clone(), json!(offset), Value::Null]);
    check(events, "kafka:record_produced", ["topic", "partition", "offset", "error"], &offsets);
    check_durations(events, "kafka:record_produced");
    let fetched = [(0, 3), (1, 5)]
        .map(|(offset, bytes)| [orders.clone(), zero.clone(), json!(offset), json!(bytes)]);
    check(events, "kafka:record_fetched", ["topic", "partition", "offset", "bytes"], &fetched);
    // The client decides how many requests it needs.
    let keys = named(events, "kafka:request_done", &["key"]);
    for key in [0, 1] {
        assert!(keys.contains(&vec![json!(key)]), "no request {key} in {keys:?}");
    }
    check_durations(events, "kafka:request_done");
}

fn check_nats(events: &[Value]) {
    check(
        events,
        "nats:publish",
        ["subject", "reply", "bytes"],
        &[[json!("orders"), json!(""), json!(5)]],
    );
    check(events, "nats:request_start", ["subject"], &[[json!("echo")], [json!("nowhere")]]);
    let replies = [
        [json!("echo"), Value::Null],
        [json!("nowhere"), json!("nats: no responders available for request")],
    ];
    check(events, "nats:request_done", ["subject", "error"], &replies);
    check_pairs(events, "nats:request_start", "nats:request_done");
    let messages = [[json!("orders"), json!(5)], [json!("echo"), json!(4)]];
    check(events, "nats:message_start", ["subject", "bytes"], &messages);
    check_pairs(events, "nats:message_start", "nats:message_done");
}

fn check_aws(events: &[Value]) {
    let call = ["STS", "GetCallerIdentity"].map(Value::from);
    let calls = [call.clone(), call];
    check(events, "aws:call_start", ["service", "operation"], &calls);
    check(events, "aws:call_start", ["region"], &[[json!("eu-west-1")], [json!("eu-west-1")]]);
    check(events, "aws:call_done", ["service", "operation"], &calls);
    let errors = named(events, "aws:call_done", &["error"]);
    assert!(errors[0][0].is_null(), "{errors:?}");
    assert!(errors[1][0].as_str().unwrap().contains("AccessDenied"), "{errors:?}");
    check_pairs(events, "aws:call_start", "aws:call_done");
}

fn check_rpc(events: &[Value]) {
    let methods = [[json!("Arith.Double")], [json!("Arith.Missing")]];
    for side in ["server", "client"] {
        let (start, end) = (format!("rpc:{side}_call_start"), format!("rpc:{side}_call_end"));
        check(events, &start, ["method"], &methods);
        let errors = [[json!("")], [json!("rpc: can't find method Arith.Missing")]];
        check(events, &end, ["error"], &errors);
        check_pairs(events, &start, &end);
    }
}

fn check_web(events: &[Value]) {
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let starts = args(events, "net_http", "server_request_start");
    let ends = args(events, "net_http", "server_request_end");
    assert_eq!((starts.len(), ends.len()), (12, 12));
    // Each package numbers its requests, so ids are unique only per package. Requests are handled
    // one after the other.
    for (start, end) in starts.iter().zip(&ends) {
        assert_eq!((&start["id"], &start["traceparent"]), (&end["id"], &json!(context)));
        let (host, path) = (start["host"].as_str().unwrap(), start["path"].as_str().unwrap());
        let parameter = if host == "chi.test" { "{id}" } else { ":id" };
        let (status, route) = match path {
            "/items/7" => (418, json!(format!("/items/{parameter}"))),
            "/panic" => (500, json!("/panic")),
            _ => (404, json!("")),
        };
        assert_eq!((&end["status"], &end["route"]), (&json!(status), &route), "{host}{path}");
        if path == "/items/7" {
            assert_eq!(end["bytes"], 6, "{host}");
        }
        assert_eq!(start["method"], "GET");
    }
    for host in ["gin.test", "echo.test", "chi.test", "fiber.test"] {
        assert_eq!(starts.iter().filter(|start| start["host"] == host).count(), 3, "{host}");
    }
    check_durations(events, "net_http:server_request_end");
}

/// The starts and ends of operations have the same id, which `latency` pairs.
#[test]
fn latency_pairs_the_operations_of_libraries() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = program();
    let pairs = [
        ("redis:command_start", "redis:command_done", "command", &[("get", 2), ("set", 1)][..]),
        ("nats:request_start", "nats:request_done", "subject", &[("echo", 1), ("nowhere", 1)]),
    ];
    for (start, end, label, expected) in pairs {
        let pair = ["--pair-by", "id", "--by", label];
        let command = [&["latency", "--json", start, end], &pair[..], &["--", app.as_str()]];
        let out = attach(&command.concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let mut rows = json_lines(&out_lines(&out.stdout).join("\n"));
        let summary = rows.pop().unwrap()["summary"].clone();
        let unmatched = (&summary["unmatched_starts"], &summary["unmatched_ends"]);
        assert_eq!((unmatched, &summary["dropped"]), ((&0.into(), &0.into()), &0.into()));
        let mut counts: Vec<(&str, u64)> = rows
            .iter()
            .map(|row| (row["labels"][label].as_str().unwrap(), row["count"].as_u64().unwrap()))
            .filter(|(label, _)| *label != "hello")
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, expected, "{start}");
    }
}
