//! Runtime probes that are added to the stock toolchain's sources, by injection or by an overlay.

use super::Traced;
use gobinary::supported_releases::TESTED;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use usdt_e2e::{
    Fixture, Mode, Need, command, go_of, have, json_lines, list_probes, runtime_flags, stdout,
    text, usdt_gen,
};

#[test]
fn added_probes_record_all_activity() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let seen = Traced::run(Mode::Runtime, &["*"]);
    check_goroutines(&seen);
    check_collections(&seen);
    check_memory(&seen);
    check_panics(&seen);
    check_requests(&seen);
    check_statements(&seen);
    check_connections(&seen);
    let listed = json_lines(&stdout(
        command("usdt-attach").args(["list", "--json"]).arg(Fixture::get("bridge", Mode::Runtime)),
    ));
    for probe in &listed {
        let (provider, name) =
            (probe["provider"].as_str().unwrap(), probe["probe"].as_str().unwrap());
        assert!(
            seen.events_of(provider, name).next().is_some(),
            "the program did not fire {provider}:{name}"
        );
    }
    let catalog = gobinary::catalog::providers();
    assert_eq!(listed.len(), catalog.iter().map(|p| p.probes.len()).sum::<usize>());
}

fn check_goroutines(seen: &Traced) {
    let workers = seen.number("Workers") as usize;
    let created = |function: &str| -> BTreeSet<u64> {
        let matching =
            seen.args("go", "goroutine__create").filter(|a| a["fn"] == seen.facts[function]);
        matching
            .inspect(|a| assert_eq!(a["parent"], 1))
            .map(|a| a["id"].as_u64().unwrap())
            .collect()
    };
    let (workers_created, sleepers) = (created("Worker"), created("Sleeper"));
    assert_eq!(workers_created.len(), workers);
    let exited = seen.args("go", "goroutine__exit").map(|a| a["id"].as_u64().unwrap());
    assert_eq!(
        exited.filter(|id| workers_created.contains(id)).count(),
        workers,
        "each goroutine exits once"
    );
    assert!(seen.ids("goroutine__start").is_superset(&workers_created));
    let starts = seen
        .args("go", "goroutine__start")
        .filter(|a| workers_created.contains(&a["id"].as_u64().unwrap()));
    let waits = seen
        .args("go", "sched__latency")
        .filter(|a| workers_created.contains(&a["id"].as_u64().unwrap()));
    assert_eq!(starts.count(), waits.inspect(|a| assert!(a["ns"].as_i64().unwrap() >= 0)).count());

    let blocked = |reason: &str| -> BTreeSet<u64> {
        let is_matching = |e: &&Value| e["args"]["reason"] == reason;
        let blocks = seen.events_of("go", "goroutine__block").filter(is_matching);
        blocks
            .inspect(|e| assert_eq!(e["goid"], e["args"]["id"]))
            .map(|e| e["goid"].as_u64().unwrap())
            .collect()
    };
    let asleep = blocked("sleep");
    assert_eq!(sleepers.len() as u64, seen.number("Sleepers"));
    assert!(asleep.is_superset(&sleepers));
    assert!(seen.ids("goroutine__unblock").is_superset(&asleep), "every sleeper woke up");
    assert!(!blocked("IO wait").is_empty());
    let fired = seen
        .args("go", "timer__fire")
        .inspect(|a| assert!(a["late_ns"].as_i64().unwrap() >= 0))
        .count();
    assert!(fired as u64 >= seen.number("Sleepers") + seen.number("Timers"), "{fired}");

    let calls = |probe: &str| seen.args("go", probe).filter(|a| a["id"] == 1).count();
    // The system call by which the race detector exits the program does not return.
    let open = calls("syscall__begin") - calls("syscall__end");
    assert!(open <= 1, "{open} system calls did not return");
    assert!(calls("syscall__end") as u64 >= seen.number("Syscalls"));
}

fn check_collections(seen: &Traced) {
    let last = seen.args("go", "gc__end").last().unwrap();
    assert_eq!(last["cycle"], seen.facts["NumGC"]);
    assert_eq!(last["pause_total_ns"], seen.facts["Pause"]);
    for probe in ["gc__start", "gc__mark__done", "gc__end"] {
        let cycles: Vec<u64> =
            seen.args("go", probe).map(|a| a["cycle"].as_u64().unwrap()).collect();
        assert_eq!(cycles, (1..=seen.number("NumGC")).collect::<Vec<_>>(), "{probe}");
    }
    assert!(
        seen.args("go", "gc__start")
            .any(|a| a["forced"] == true && a["goal"].as_u64().unwrap() > 0)
    );
    let stops: Vec<&str> =
        seen.args("go", "stw__begin").map(|a| a["reason"].as_str().unwrap()).collect();
    assert_eq!(stops.len(), seen.events_of("go", "stw__end").count());
    let marks = stops.iter().filter(|reason| **reason == "GC mark termination").count();
    assert!(marks as u64 >= seen.number("NumGC"), "{stops:?}");
    assert!(seen.args("go", "stw__end").all(|a| a["ns"].as_i64().unwrap() > 0));
    let assists: Vec<i64> =
        seen.args("go", "gc__assist__end").map(|a| a["ns"].as_i64().unwrap()).collect();
    assert_eq!(seen.events_of("go", "gc__assist__begin").count(), assists.len());
    assert!(assists.iter().all(|ns| *ns > 0));
}

fn check_memory(seen: &Traced) {
    let mut deepest: BTreeMap<u64, u64> = BTreeMap::new();
    for a in seen.args("go", "stack__grow") {
        let (id, old, new) =
            (a["id"].as_u64().unwrap(), a["old"].as_u64().unwrap(), a["new"].as_u64().unwrap());
        assert!(new >= 2 * old && new.is_power_of_two(), "{a}");
        deepest.insert(id, new);
    }
    assert!(deepest.values().any(|size| *size > seen.number("Deep")), "{deepest:?}");

    let samples: Vec<(u64, u64)> = seen
        .args("go", "heap__alloc")
        .inspect(|a| assert!(a["ptr"].as_u64().unwrap() > 0))
        .map(|a| (a["size"].as_u64().unwrap(), a["bytes"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        samples.iter().filter(|(size, _)| *size == 1 << 20).count() as u64,
        seen.number("Large")
    );
    let small: u64 = samples.iter().filter(|(size, _)| *size == 208).map(|(_, bytes)| bytes).sum();
    let requested = 208 * seen.number("Small");
    assert!((requested..2 * requested).contains(&small), "{small} of {requested}");
}

fn check_panics(seen: &Traced) {
    let messages: Vec<&str> =
        seen.args("go", "panic").map(|a| a["text"].as_str().unwrap()).collect();
    let expected: Vec<&str> =
        seen.facts["Panics"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ordinary: Vec<&str> =
        messages.iter().copied().filter(|text| *text != "main.hostile").collect();
    assert_eq!(ordinary, expected);
    assert!(messages.contains(&"main.hostile"), "a value whose Error method panics");
}

fn check_requests(seen: &Traced) {
    let sent = seen.facts["Requests"].as_array().unwrap();
    assert!(
        sent.iter().any(|r| r["Protocol"] == "HTTP/2.0")
            && sent.iter().any(|r| r["Protocol"] == "HTTP/1.1")
    );
    let ends: BTreeMap<u64, &Value> = seen
        .args("net_http", "server_request_end")
        .map(|a| (a["id"].as_u64().unwrap(), a))
        .collect();
    let mut served = seen.args("net_http", "server_request_start");
    for request in sent {
        let start = served.next().unwrap();
        assert_eq!((&start["method"], &start["path"]), (&request["Method"], &request["Path"]));
        assert!(start["host"].as_str().unwrap().starts_with("127.0.0.1:"), "{start}");
        let end = ends[&start["id"].as_u64().unwrap()];
        assert_eq!(
            (&end["status"], &end["bytes"]),
            (&request["Status"], &request["Size"]),
            "{request}"
        );
        assert!(end["ns"].as_i64().unwrap() > 0);
    }
    assert!(served.next().is_none());
    let received: Vec<&Value> = seen.args("net_http", "client_response_received").collect();
    let started: Vec<&Value> = seen.args("net_http", "client_request_start").collect();
    assert_eq!((started.len(), received.len()), (sent.len() + 2, sent.len() + 2));
    for (n, request) in sent.iter().enumerate() {
        assert!(started[n]["url"].as_str().unwrap().contains(request["Path"].as_str().unwrap()));
        assert_eq!(
            (&started[n]["id"], &received[n]["status"]),
            (&received[n]["id"], &request["Status"])
        );
    }
    for (received, fact) in received.iter().rev().zip(["Refused", "Distrusted"]) {
        assert_eq!(received["status"], 0);
        let error = received["error"].as_str().unwrap();
        assert!(seen.facts[fact].as_str().unwrap().ends_with(error), "{error}");
    }
    let refused = started.last().unwrap()["url"].as_str().unwrap();
    assert!(refused.contains("user:xxxxx@"), "{refused}");
}

fn check_statements(seen: &Traced) {
    for (probe, statements) in seen.facts["Statements"].as_object().unwrap() {
        let before: Vec<&Value> = seen.args("sql", probe).map(|a| &a["query"]).collect();
        let done = format!("{probe}_done");
        let after: Vec<&Value> = seen.args("sql", &done).map(|a| &a["query"]).collect();
        let mut statements: Vec<&Value> = statements.as_array().unwrap().iter().collect();
        assert_eq!((&before, &after), (&statements, &statements), "{probe}");
        statements.retain(|statement| statement.as_str().unwrap().starts_with("BAD"));
        let failed: Vec<&Value> = seen
            .args("sql", &done)
            .filter(|a| a["error"] == "bad statement")
            .map(|a| &a["query"])
            .collect();
        assert_eq!(failed, statements);
        assert!(seen.args("sql", &done).all(|a| a["ns"].as_i64().unwrap() > 0));
    }
    let ends =
        ["tx_begin", "tx_commit", "tx_rollback"].map(|probe| seen.events_of("sql", probe).count());
    assert_eq!(ends, [2, 1, 1]);
}

fn check_connections(seen: &Traced) {
    let accepted = seen.args("net", "conn_accept").inspect(|a| {
        assert!(a["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{a}");
    });
    let accepted: Vec<&Value> = accepted.map(|a| &a["fd"]).collect();
    assert_eq!(accepted.len() as u64, seen.number("Connections"));
    let closed: Vec<&Value> = seen.args("net", "conn_close").map(|a| &a["fd"]).collect();
    assert!(accepted.iter().all(|fd| closed.contains(fd)));
    let dialed: Vec<&Value> = seen.args("net", "conn_dial").collect();
    assert_eq!(
        dialed.iter().filter(|a| a["error"].is_null()).count() as u64,
        seen.number("Connections")
    );
    let refused = dialed.iter().filter_map(|a| a["error"].as_str()).next_back().unwrap();
    assert!(refused.contains("connection refused"), "{refused}");
    assert!(seen.args("go", "netpoll__ready").any(|a| a["mode"] == 'r' as u32));

    // One handshake of HTTP/2 and one over a pipe, from both sides, and one that the client
    // aborted.
    for client in [true, false] {
        let of =
            |probe| seen.args("tls", probe).filter(|a| a["client"] == client).collect::<Vec<_>>();
        assert_eq!(of("handshake_start").len(), 3);
        let ends = of("handshake_end");
        assert!(
            ends.iter().all(|a| a["version"] == 0x304 && a["ns"].as_i64().unwrap() > 0),
            "{ends:?}"
        );
        assert!(!ends.is_empty());
        assert!(of("handshake_error").iter().any(|a| !a["error"].as_str().unwrap().is_empty()));
    }
}

#[test]
fn works_with_the_race_detector() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let seen = Traced::run(Mode::RuntimeRace, &["*"]);
    check_goroutines(&seen);
    check_collections(&seen);
    check_panics(&seen);
    check_requests(&seen);
}

#[test]
fn rejects_invalid_overlay_requests() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("overlay");
    let error_of = |args: &[&str]| {
        let out = usdt_gen(&[&["overlay", "-o", to.to_str().unwrap()], args].concat());
        assert_eq!(out.status.code(), Some(2), "{}", text(&out.stdout));
        assert!(!to.exists(), "nothing is written");
        text(&out.stderr)
    };
    let error = error_of(&["--providers", "go,http"]);
    assert_eq!(
        error,
        "error: unknown provider `http`; available providers: go, net_http, sql, tls, net\n"
    );
    let error = error_of(&["--go", "/nowhere/go"]);
    assert!(
        error.starts_with("error: cannot run /nowhere/go: No such file or directory"),
        "{error}"
    );
    assert!(error.ends_with("; pass the go command with --go\n"), "{error}");

    // A fake go command that prints the environment of a downloaded toolchain.
    let go = |root: &Path, version: &str| {
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' {} {version} {}\n",
            root.display(),
            folder.path().display()
        );
        let go = folder.path().join("go");
        std::fs::write(&go, script).unwrap();
        std::fs::set_permissions(&go, std::fs::Permissions::from_mode(0o755)).unwrap();
        error_of(&["--go", go.to_str().unwrap()])
    };
    let downloaded = folder.path().join("golang.org/toolchain");
    let error = go(&downloaded, "go1.27.3");
    assert!(
        error.contains(
            "is in the module cache, where go1.27.3 does not allow overlays; build with GOFLAGS="
        ),
        "{error}"
    );
    let error = go(&downloaded, "go1.24.13");
    assert!(error.ends_with(" a Go toolchain with its sources?\n"), "{error}");
    std::fs::create_dir_all(downloaded.join("src/runtime")).unwrap();
    let source = "\tpp.goidcacheend = 1\n\tnewg.goid = pp.goidcache + 1\n";
    std::fs::write(downloaded.join("src/runtime/proc.go"), source).unwrap();
    let error = go(&downloaded, "go1.24.13");
    assert!(
        error.contains(
            "runtime/proc.go differs from the Go releases that this version of usdt-gen knows"
        ),
        "{error}"
    );
    assert!(error.contains("go:goroutine__create cannot be added"), "{error}");

    let out = usdt_gen(&["overlay", "-o", to.to_str().unwrap(), "--providers", "tls,tls"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let changed = std::fs::read_to_string(to.join("crypto/tls/conn.go")).unwrap();
    assert_eq!(
        changed.matches("usdtOnHandshakeStart(c)").count(),
        1,
        "a provider that is named twice is added once"
    );
}

/// Builds for arm64, and without optimization, where code that must not grow the stack has less
/// space.
#[test]
fn builds_for_arm64_and_without_optimization() {
    let folder = tempfile::tempdir().unwrap();
    let overlay =
        stdout(command("usdt-gen").args(["overlay", "-o"]).arg(folder.path().join("overlay")));
    let overlay = format!("-overlay={}", overlay.trim());
    for (arch, flags) in [("arm64", "-gcflags=all="), ("amd64", "-gcflags=all=-N -l")] {
        let out = folder.path().join(arch);
        let mut build = command("go");
        build
            .args(["build", &overlay, "-toolexec=usdt-gen toolexec", flags, "-o"])
            .arg(&out)
            .arg("./bridge");
        stdout(
            build
                .env("GOARCH", arch)
                .env("CGO_ENABLED", "0")
                .current_dir(usdt_e2e::root().join("tests/go")),
        );
        let verified = usdt_gen(&["verify", out.to_str().unwrap()]);
        let all = 5 * list_probes(&out).len();
        assert_eq!(
            text(&verified.stderr),
            format!("{all} accepted, 0 partial, 0 rejected\n"),
            "{arch}"
        );
    }
    if std::env::consts::ARCH == "x86_64" {
        stdout(&mut command(folder.path().join("amd64")));
    }
}

/// Go 1.25 and newer do not let an overlay replace files of a toolchain in the module cache, where the
/// go command keeps those that it downloads.
#[test]
fn downloaded_toolchains_get_the_same_probes() {
    let folder = tempfile::tempdir().unwrap();
    let expected: usize = gobinary::catalog::providers().iter().map(|p| p.probes.len()).sum();
    for release in [TESTED[0], TESTED[TESTED.len() - 1]] {
        let out = folder.path().join(release);
        let mut go = go_of(release);
        go.env("GOFLAGS", runtime_flags(&go_of(release)));
        go.args(["build", "-o"]).arg(&out).arg("./bridge");
        stdout(go.current_dir(usdt_e2e::root().join("tests/go")));
        assert_eq!(list_probes(&out).len(), expected, "{release}");
        let facts = folder.path().join("facts.json");
        stdout(command(&out).arg(&facts));
        let verified = text(&usdt_gen(&["verify", out.to_str().unwrap()]).stderr);
        // perf needs a build ID, and Go before 1.24 writes none.
        assert!(verified.ends_with(" partial, 0 rejected\n"), "{release}: {verified}");
    }
}

/// Rules and runtime probes of the same packages, and positions of the changed sources.
#[test]
fn runtime_probes_and_rules_share_packages() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("go.mod", "module example.com/app\n\ngo 1.21\n");
    write("main.go", PROGRAM);
    let mut inject = command("usdt-gen");
    inject.args(["inject", "--runtime=net_http", "net/http.(*ServeMux).Handle"]);
    let flags = stdout(inject.current_dir(folder.path()));
    let build = |flags: &str, name: &str| {
        let mut go = command("go");
        go.env("GOFLAGS", flags).args(["build", "-o", name, "."]);
        stdout(go.current_dir(folder.path()));
        folder.path().join(name)
    };
    let (with, plain) = (build(flags.trim(), "with"), build("", "plain"));
    // The traceback of a handler goes through changed files.
    let lines = stdout(&mut command(&plain));
    assert!(lines.contains("server.go:"), "{lines}");
    assert_eq!(stdout(&mut command(&with)), lines);
    let out = usdt_e2e::attach(&["count", "*", "--json", "--", with.to_str().unwrap()]);
    // The program prints to standard output, too.
    let out = text(&out.stdout);
    let rows: String =
        out.lines().filter(|line| line.starts_with('{')).collect::<Vec<_>>().join("\n");
    let counts: BTreeMap<String, u64> = json_lines(&rows)
        .iter()
        .filter_map(|row| Some((row["probe"].as_str()?.to_owned(), row["count"].as_u64()?)))
        .collect();
    for (probe, hits) in
        [("ServeMux_Handle__entry", 1), ("server_request_start", 1), ("server_request_end", 1)]
    {
        assert_eq!(counts.get(probe), Some(&hits), "{counts:?}");
    }
}

/// Serves a request to itself, and prints where the handler was called from.
const PROGRAM: &str = r#"package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
)

type handler struct{}

func (handler) ServeHTTP(http.ResponseWriter, *http.Request) {
	pcs := make([]uintptr, 20)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		fmt.Printf("%s %s:%d\n", frame.Function, filepath.Base(frame.File), frame.Line)
		if !more {
			return
		}
	}
}

func main() {
	mux := http.NewServeMux()
	mux.Handle("/", handler{})
	server := httptest.NewServer(mux)
	defer server.Close()
	if _, err := http.Get(server.URL); err != nil {
		panic(err)
	}
}
"#;
