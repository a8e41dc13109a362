//! The probes of Go's runtime and standard library, by an overlay on the stock toolchain.

use serde_json::Value;
#[cfg(target_arch = "x86_64")]
use stapsdt::{
    elf::View,
    note::{Format, Note},
};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use usdt_e2e::{Fixture, Mode, Need, attach, command, copy, have, lines, listed, stdout, text, usdt_gen};

/// What the program did, by its own account, and what was traced of it.
struct Traced {
    did: Value,
    events: Vec<Value>,
}

impl Traced {
    fn run(mode: Mode) -> Traced {
        let app = copy(&Fixture::get("bridge", mode));
        let facts = app.folder.path().join("facts.json");
        let args = ["trace", "*", "--json", "--", app.as_str(), facts.to_str().unwrap()];
        let out = attach(&args);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let mut events = lines(&text(&out.stdout));
        let summary = events.pop().unwrap()["summary"].clone();
        assert_eq!(summary["dropped"], 0, "{summary}");
        let did = serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap();
        Traced { did, events }
    }

    fn of<'a>(&'a self, provider: &'a str, probe: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |e| e["provider"] == provider && e["probe"] == probe)
    }

    fn args<'a>(&'a self, provider: &'a str, probe: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of(provider, probe).map(|e| &e["args"])
    }

    fn number(&self, fact: &str) -> u64 {
        self.did[fact].as_u64().unwrap_or_else(|| panic!("{fact}: {}", self.did))
    }

    fn ids(&self, probe: &str) -> BTreeSet<u64> {
        self.args("go", probe).map(|a| a["id"].as_u64().unwrap()).collect()
    }
}

#[test]
fn every_probe_says_what_happened() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let seen = Traced::run(Mode::Overlay);
    goroutines(&seen);
    collections(&seen);
    memory(&seen);
    panics(&seen);
    requests(&seen);
    statements(&seen);
    connections(&seen);
    let listed = lines(&stdout(
        command("usdt-attach").args(["list", "--json"]).arg(Fixture::get("bridge", Mode::Overlay)),
    ));
    for probe in &listed {
        let (provider, name) = (probe["provider"].as_str().unwrap(), probe["probe"].as_str().unwrap());
        assert!(seen.of(provider, name).next().is_some(), "{provider}:{name} was not provoked");
    }
    let catalogue = gobinary::catalogue::providers();
    assert_eq!(listed.len(), catalogue.iter().map(|p| p.probes.len()).sum::<usize>());
}

fn goroutines(seen: &Traced) {
    let workers = seen.number("Workers") as usize;
    let made = |function: &str| -> BTreeSet<u64> {
        let own = seen.args("go", "goroutine__create").filter(|a| a["fn"] == seen.did[function]);
        own.inspect(|a| assert_eq!(a["parent"], 1)).map(|a| a["id"].as_u64().unwrap()).collect()
    };
    let (made, sleepers) = (made("Worker"), made("Sleeper"));
    assert_eq!(made.len(), workers);
    let ended = seen.args("go", "goroutine__exit").map(|a| a["id"].as_u64().unwrap());
    assert_eq!(ended.filter(|id| made.contains(id)).count(), workers, "each ends once");
    assert!(seen.ids("goroutine__start").is_superset(&made));
    let starts = seen.args("go", "goroutine__start").filter(|a| made.contains(&a["id"].as_u64().unwrap()));
    let waits = seen.args("go", "sched__latency").filter(|a| made.contains(&a["id"].as_u64().unwrap()));
    assert_eq!(starts.count(), waits.inspect(|a| assert!(a["ns"].as_i64().unwrap() >= 0)).count());

    let blocked = |reason: &str| -> BTreeSet<u64> {
        let own = |e: &&Value| e["args"]["reason"] == reason;
        let blocks = seen.of("go", "goroutine__block").filter(own);
        blocks
            .inspect(|e| assert_eq!(e["goid"], e["args"]["id"]))
            .map(|e| e["goid"].as_u64().unwrap())
            .collect()
    };
    let asleep = blocked("sleep");
    assert_eq!(sleepers.len() as u64, seen.number("Sleepers"));
    assert!(asleep.is_superset(&sleepers));
    assert!(seen.ids("goroutine__unblock").is_superset(&asleep), "all woke up");
    assert!(!blocked("IO wait").is_empty());
    let fired =
        seen.args("go", "timer__fire").inspect(|a| assert!(a["late_ns"].as_i64().unwrap() >= 0)).count();
    assert!(fired as u64 >= seen.number("Sleepers") + seen.number("Timers"), "{fired}");

    let calls = |probe: &str| seen.args("go", probe).filter(|a| a["id"] == 1).count();
    // The race detector's end of the program is a call that does not return.
    let open = calls("syscall__begin") - calls("syscall__end");
    assert!(open <= 1, "{open} calls did not return");
    assert!(calls("syscall__end") as u64 >= seen.number("Syscalls"));
}

fn collections(seen: &Traced) {
    let last = seen.args("go", "gc__end").last().unwrap();
    assert_eq!(last["cycle"], seen.did["NumGC"]);
    assert_eq!(last["pause_total_ns"], seen.did["Pause"]);
    for probe in ["gc__start", "gc__mark__done", "gc__end"] {
        let cycles: Vec<u64> = seen.args("go", probe).map(|a| a["cycle"].as_u64().unwrap()).collect();
        assert_eq!(cycles, (1..=seen.number("NumGC")).collect::<Vec<_>>(), "{probe}");
    }
    assert!(seen.args("go", "gc__start").any(|a| a["forced"] == true && a["goal"].as_u64().unwrap() > 0));
    let stops: Vec<&str> = seen.args("go", "stw__begin").map(|a| a["reason"].as_str().unwrap()).collect();
    assert_eq!(stops.len(), seen.of("go", "stw__end").count());
    let marks = stops.iter().filter(|reason| **reason == "GC mark termination").count();
    assert!(marks as u64 >= seen.number("NumGC"), "{stops:?}");
    assert!(seen.args("go", "stw__end").all(|a| a["ns"].as_i64().unwrap() > 0));
    let assists: Vec<i64> = seen.args("go", "gc__assist__end").map(|a| a["ns"].as_i64().unwrap()).collect();
    assert_eq!(seen.of("go", "gc__assist__begin").count(), assists.len());
    assert!(assists.iter().all(|ns| *ns > 0));
}

fn memory(seen: &Traced) {
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
    assert_eq!(samples.iter().filter(|(size, _)| *size == 1 << 20).count() as u64, seen.number("Large"));
    let small: u64 = samples.iter().filter(|(size, _)| *size == 208).map(|(_, bytes)| bytes).sum();
    let asked = 208 * seen.number("Small");
    assert!((asked..2 * asked).contains(&small), "{small} of {asked}");
}

fn panics(seen: &Traced) {
    let said: Vec<&str> = seen.args("go", "panic").map(|a| a["text"].as_str().unwrap()).collect();
    let expected: Vec<&str> =
        seen.did["Panics"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let own: Vec<&str> = said.iter().copied().filter(|text| *text != "main.hostile").collect();
    assert_eq!(own, expected);
    assert!(said.contains(&"main.hostile"), "whose text panics itself");
}

fn requests(seen: &Traced) {
    let sent = seen.did["Requests"].as_array().unwrap();
    assert!(
        sent.iter().any(|r| r["Protocol"] == "HTTP/2.0") && sent.iter().any(|r| r["Protocol"] == "HTTP/1.1")
    );
    let ends: BTreeMap<u64, &Value> =
        seen.args("net_http", "server_request_end").map(|a| (a["id"].as_u64().unwrap(), a)).collect();
    let mut served = seen.args("net_http", "server_request_start");
    for request in sent {
        let start = served.next().unwrap();
        assert_eq!((&start["method"], &start["path"]), (&request["Method"], &request["Path"]));
        assert!(start["host"].as_str().unwrap().starts_with("127.0.0.1:"), "{start}");
        let end = ends[&start["id"].as_u64().unwrap()];
        assert_eq!((&end["status"], &end["bytes"]), (&request["Status"], &request["Size"]), "{request}");
        assert!(end["ns"].as_i64().unwrap() > 0);
    }
    assert!(served.next().is_none());
    let received: Vec<&Value> = seen.args("net_http", "client_response_received").collect();
    let asked: Vec<&Value> = seen.args("net_http", "client_request_start").collect();
    assert_eq!((asked.len(), received.len()), (sent.len() + 2, sent.len() + 2));
    for (n, request) in sent.iter().enumerate() {
        assert!(asked[n]["url"].as_str().unwrap().contains(request["Path"].as_str().unwrap()));
        assert_eq!((&asked[n]["id"], &received[n]["status"]), (&received[n]["id"], &request["Status"]));
    }
    for (received, fact) in received.iter().rev().zip(["Refused", "Distrusted"]) {
        assert_eq!(received["status"], 0);
        let error = received["error"].as_str().unwrap();
        assert!(seen.did[fact].as_str().unwrap().ends_with(error), "{error}");
    }
    let refused = asked.last().unwrap()["url"].as_str().unwrap();
    assert!(refused.contains("user:xxxxx@"), "{refused}");
}

fn statements(seen: &Traced) {
    for (probe, texts) in seen.did["Statements"].as_object().unwrap() {
        let before: Vec<&Value> = seen.args("sql", probe).map(|a| &a["query"]).collect();
        let done = format!("{probe}_done");
        let after: Vec<&Value> = seen.args("sql", &done).map(|a| &a["query"]).collect();
        let mut texts: Vec<&Value> = texts.as_array().unwrap().iter().collect();
        assert_eq!((&before, &after), (&texts, &texts), "{probe}");
        texts.retain(|text| text.as_str().unwrap().starts_with("BAD"));
        let failed: Vec<&Value> =
            seen.args("sql", &done).filter(|a| a["error"] == "bad statement").map(|a| &a["query"]).collect();
        assert_eq!(failed, texts);
        assert!(seen.args("sql", &done).all(|a| a["ns"].as_i64().unwrap() > 0));
    }
    let ends = ["tx_begin", "tx_commit", "tx_rollback"].map(|probe| seen.of("sql", probe).count());
    assert_eq!(ends, [2, 1, 1]);
}

fn connections(seen: &Traced) {
    let accepted = seen.args("net", "conn_accept").inspect(|a| {
        assert!(a["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{a}");
    });
    let accepted: Vec<&Value> = accepted.map(|a| &a["fd"]).collect();
    assert_eq!(accepted.len() as u64, seen.number("Connections"));
    let closed: Vec<&Value> = seen.args("net", "conn_close").map(|a| &a["fd"]).collect();
    assert!(accepted.iter().all(|fd| closed.contains(fd)));
    let dialled: Vec<&Value> = seen.args("net", "conn_dial").collect();
    assert_eq!(dialled.iter().filter(|a| a["error"].is_null()).count() as u64, seen.number("Connections"));
    let refused = dialled.iter().filter_map(|a| a["error"].as_str()).next_back().unwrap();
    assert!(refused.contains("connection refused"), "{refused}");
    assert!(seen.args("go", "netpoll__ready").any(|a| a["mode"] == 'r' as u32));

    // One of HTTP/2 and one over a pipe, both sides; and one that the client broke off.
    for client in [true, false] {
        let of = |probe| seen.args("tls", probe).filter(|a| a["client"] == client).collect::<Vec<_>>();
        assert_eq!(of("handshake_start").len(), 3);
        let ends = of("handshake_end");
        assert!(ends.iter().all(|a| a["version"] == 0x304 && a["ns"].as_i64().unwrap() > 0), "{ends:?}");
        assert!(!ends.is_empty());
        assert!(of("handshake_error").iter().any(|a| !a["error"].as_str().unwrap().is_empty()));
    }
}

#[test]
fn with_the_race_detector() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let seen = Traced::run(Mode::OverlayRace);
    goroutines(&seen);
    collections(&seen);
    panics(&seen);
    requests(&seen);
}

#[test]
fn mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("overlay");
    let said = |args: &[&str]| {
        let out = usdt_gen(&[&["overlay", "-o", to.to_str().unwrap()], args].concat());
        assert_eq!(out.status.code(), Some(2), "{}", text(&out.stdout));
        assert!(!to.exists(), "nothing is written");
        text(&out.stderr)
    };
    let error = said(&["--providers", "go,http"]);
    assert_eq!(error, "error: there is no provider `http`, but go, net_http, sql, tls, net\n");
    let error = said(&["--go", "/nowhere/go"]);
    assert!(error.starts_with("error: cannot run /nowhere/go: No such file or directory"), "{error}");
    assert!(error.ends_with("; name the go command with --go\n"), "{error}");

    // A go command that says what one of a downloaded toolchain would.
    let go = |root: &Path, version: &str| {
        let script =
            format!("#!/bin/sh\nprintf '%s\\n' {} {version} {}\n", root.display(), folder.path().display());
        let go = folder.path().join("go");
        std::fs::write(&go, script).unwrap();
        std::fs::set_permissions(&go, std::fs::Permissions::from_mode(0o755)).unwrap();
        said(&["--go", go.to_str().unwrap()])
    };
    let downloaded = folder.path().join("golang.org/toolchain");
    let error = go(&downloaded, "go1.27.3");
    assert!(
        error.contains("is in the module cache, where go1.27.3 lets no overlay replace files"),
        "{error}"
    );
    let error = go(&downloaded, "go1.24.13");
    assert!(error.ends_with(" a Go toolchain with its sources?\n"), "{error}");
    std::fs::create_dir_all(downloaded.join("src/runtime")).unwrap();
    let source = "\tpp.goidcacheend = 1\n\tnewg.goid = pp.goidcache + 1\n";
    std::fs::write(downloaded.join("src/runtime/proc.go"), source).unwrap();
    let error = go(&downloaded, "go1.24.13");
    assert!(error.contains("runtime/proc.go is not as this version of usdt-gen knows it"), "{error}");
    assert!(error.contains("go:goroutine__create cannot be added"), "{error}");
}

/// The same questions asked of a stripped binary of the stock toolchain.
#[test]
fn function_entries_of_an_unmodified_binary() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("bridge", Mode::PlainStripped));
    let facts = app.folder.path().join("facts.json");
    let globs = ["go:*", "net_http:*", "sql:*", "tls:*", "net:*"];
    let program = ["--", app.as_str(), facts.to_str().unwrap()];
    let out = attach(&[&["trace", "--json"], &globs[..], &program[..]].concat());
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(
        said.contains("by function entries of a binary without these probes; each hit costs it about "),
        "{said}"
    );
    // Go 1.21 makes a function without a frame of it, whose first instruction kernels do not do themselves.
    let left_out = "warning: go:netpoll__ready at ";
    assert!(!said.lines().any(|l| l.starts_with("warning") && !l.starts_with(left_out)), "{said}");
    let mut events = lines(&text(&out.stdout));
    assert_eq!(events.pop().unwrap()["summary"]["dropped"], 0);
    let seen = Traced { did: serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap(), events };

    let made = seen.args("go", "goroutine__create").filter(|a| a["fn"] == seen.did["Worker"]);
    assert_eq!(made.inspect(|a| assert_eq!(a["parent"], 1)).count() as u64, seen.number("Workers"));
    let ended = seen.ids("goroutine__exit");
    assert!(ended.len() as u64 >= seen.number("Workers") + seen.number("Sleepers"), "{}", ended.len());
    assert_eq!(seen.of("go", "goroutine__exit").count(), ended.len(), "each ends once");
    assert!(seen.ids("goroutine__start").is_superset(&ended));
    assert!(seen.of("go", "goroutine__block").all(|e| e["goid"] == e["args"]["id"]));
    let calls = |probe: &str| seen.args("go", probe).filter(|a| a["id"] == 1).count();
    assert_eq!(calls("syscall__begin"), calls("syscall__end"));
    for probe in ["gc__start", "gc__mark__done", "gc__end"] {
        assert_eq!(seen.of("go", probe).count() as u64, seen.number("NumGC"), "{probe}");
    }
    assert_eq!(seen.of("go", "stw__begin").count(), seen.of("go", "stw__end").count());
    let large = seen.args("go", "heap__alloc").filter(|a| a["size"] == 1 << 20);
    assert_eq!(large.count() as u64, seen.number("Large"));
    assert!(seen.of("go", "panic").count() >= seen.did["Panics"].as_array().unwrap().len());
    assert!(said.contains(left_out) || seen.args("go", "netpoll__ready").any(|a| a["mode"] == 'r' as u32));

    let sent = seen.did["Requests"].as_array().unwrap();
    let served: Vec<&Value> = seen.args("net_http", "server_request_start").collect();
    assert_eq!(served.len(), sent.len());
    for (served, sent) in served.iter().zip(sent) {
        assert_eq!(served["method"], sent["Method"]);
        assert!(served["host"].as_str().unwrap().starts_with("127.0.0.1:"), "{served}");
    }
    for (probe, texts) in seen.did["Statements"].as_object().unwrap() {
        let asked: Vec<&Value> = seen.args("sql", probe).map(|a| &a["query"]).collect();
        assert_eq!(asked, texts.as_array().unwrap().iter().collect::<Vec<_>>(), "{probe}");
    }
    let clients = seen.args("tls", "handshake_start").filter(|a| a["client"] == true).count();
    assert_eq!((clients, seen.of("tls", "handshake_start").count()), (3, 6));
    assert!(seen.args("net", "conn_close").any(|a| a["fd"].as_i64().unwrap() > 2));

    // They are offered to who asks for them by name, and only where the binary has no probes of its own.
    let listed = |mode: Mode, glob: &str| -> Vec<Value> {
        let binary = Fixture::get("bridge", mode);
        lines(&stdout(command("usdt-attach").args(["list", "--json"]).arg(binary).arg(glob)))
    };
    assert!(listed(Mode::PlainStripped, "go:*").iter().all(|p| p["source"] == "entry"));
    assert!(listed(Mode::Overlay, "go:*").iter().all(|p| p["source"] == "note"));
    let all = attach(&["list", app.as_str()]);
    assert!(text(&all.stderr).ends_with(": no probes\n"), "{}", text(&all.stderr));
}

/// Notes as the known fork of Go writes them: the padding counted into the descriptor's size, no `.stapsdt.base`, no
/// semaphores, sites in the middle of code.
#[test]
#[cfg(target_arch = "x86_64")]
fn notes_of_a_toolchain_with_probes_of_its_own() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("native", Mode::Plain));
    let data = std::fs::read(&app.path).unwrap();
    let view = View::parse(&data).unwrap();
    let symbols = stdout(command("go").args(["tool", "nm", app.as_str()]));
    let mut notes = Vec::new();
    for (function, provider, name, args) in [
        ("requestStart", "net_http", "server_request_start", "8@%rax 8@%rbx 8@%rcx 8@%rdi"),
        ("requestEnd", "net_http", "server_request_end", "-4@%ecx"),
        ("query", "sql", "query", "8@%rax 8@%rbx"),
        ("query", "own", "other", "8@%rbx"),
    ] {
        let symbol = format!(" main.{function}.abi0");
        let line = symbols.lines().find(|l| l.ends_with(&symbol)).unwrap_or_else(|| panic!("{symbols}"));
        let start = u64::from_str_radix(line.split_whitespace().next().unwrap(), 16).unwrap();
        let code = (1..=32).rev().find_map(|length| view.at_vaddr(start, length)).unwrap();
        let note = Note {
            pc: start + code.windows(2).position(|two| two == [0x90, 0xc3]).unwrap() as u64,
            base: view.section(".text").unwrap().addr,
            semaphore: 0,
            provider: provider.into(),
            name: name.into(),
            args: args.into(),
        };
        let begin = notes.len();
        note.encode(Format::LE64, &mut notes).unwrap();
        let padded = (notes.len() - begin - 20) as u32;
        notes[begin + 4..begin + 8].copy_from_slice(&padded.to_le_bytes());
    }
    let file = app.folder.path().join("notes");
    std::fs::write(&file, notes).unwrap();
    let section = format!(".note.stapsdt={}", file.display());
    stdout(command("objcopy").args(["--add-section", &section, app.as_str()]));

    let listed = lines(&stdout(command("usdt-attach").args(["list", "--json"]).arg(&app.path)));
    let sources: Vec<&str> = listed.iter().map(|p| p["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["native", "native", "native", "note"]);
    let shown = stdout(command("usdt-attach").arg("list").arg(&app.path));
    assert!(shown.contains("net_http:server_request_start(string method, string path)\n"), "{shown}");

    let out = attach(&["trace", "*", "--json", "--", app.as_str(), "3"]);
    let mut events = lines(&text(&out.stdout));
    assert_eq!(events.pop().unwrap()["summary"]["delivered"], 12);
    let seen = Traced { did: Value::Null, events };
    let served: Vec<String> = seen
        .args("net_http", "server_request_start")
        .map(|a| format!("{} {}", a["method"], a["path"]))
        .collect();
    assert_eq!(served, [r#""GET" "/item/0""#, r#""GET" "/item/1""#, r#""GET" "/item/2""#]);
    assert!(seen.of("net_http", "server_request_start").all(|e| e["goid"] == 1));
    let ends: Vec<&Value> = seen.args("net_http", "server_request_end").map(|a| &a["status"]).collect();
    assert_eq!(ends, [200, 201, 202]);
    let queries: Vec<&Value> = seen.args("sql", "query").map(|a| &a["query"]).collect();
    assert_eq!(queries, ["SELECT 0", "SELECT 1", "SELECT 2"]);
}

/// Runs the program under `usdt-attach go --json`; its own account, and the last line.
fn overview(mode: Mode) -> (Value, Value) {
    let app = copy(&Fixture::get("bridge", mode));
    let facts = app.folder.path().join("facts.json");
    let program = ["--", app.as_str(), facts.to_str().unwrap()];
    let out = attach(&[&["go", "--json", "--interval", "50ms"], &program[..]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let last = lines(&text(&out.stdout)).pop().unwrap();
    (serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap(), last)
}

#[test]
fn the_view_of_a_program() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for mode in [Mode::Overlay, Mode::PlainStripped] {
        let (did, shown) = overview(mode);
        let by_hand = did["Workers"].as_u64().unwrap() + did["Sleepers"].as_u64().unwrap();
        let goroutines = &shown["goroutines"];
        assert!(goroutines["ended"].as_u64().unwrap() >= by_hand, "{goroutines}");
        let own = |p: &&Value| p["function"] == "main.main";
        let created = goroutines["creators"].as_array().unwrap().iter().filter(own);
        assert!(created.map(|p| p["created"].as_u64().unwrap()).sum::<u64>() > by_hand, "{goroutines}");
        assert_eq!(shown["collections"], did["NumGC"]);
        assert!(shown["panics"].as_u64().unwrap() >= did["Panics"].as_array().unwrap().len() as u64);
        assert!(shown["pauses"]["count"].as_u64().unwrap() >= 2 * did["NumGC"].as_u64().unwrap());
        let sent = did["Requests"].as_array().unwrap();
        let http = shown["http"].as_array().unwrap();
        let served = |field: &str| http.iter().filter_map(|r| r[field].as_u64()).sum::<u64>();
        assert_eq!(served("requests"), sent.len() as u64);
        if mode == Mode::PlainStripped {
            assert!(shown["latency"].is_null() && shown["allocated"].is_null() && http[0]["times"].is_null());
            assert!(goroutines["waiting"].is_null() && shown["blocked"][0]["reason"].is_null());
            continue;
        }
        assert_eq!(served("errors"), sent.iter().filter(|r| r["Status"] == 500).count() as u64);
        assert!(http.iter().all(|r| r["path"].as_str().unwrap().starts_with("/status/")));
        assert!(http.iter().all(|r| r["times"]["count"] == r["requests"]));
        let slept = shown["blocked"].as_array().unwrap().iter().find(|b| b["reason"] == "sleep").unwrap();
        assert!(slept["count"].as_u64().unwrap() >= did["Sleepers"].as_u64().unwrap());
        assert!(shown["latency"]["count"].as_u64().unwrap() > by_hand);
        let allocated = shown["allocated"].as_u64().unwrap();
        assert!(allocated > (did["Large"].as_u64().unwrap() << 20) + 208 * did["Small"].as_u64().unwrap());
    }
    let app = copy(&Fixture::get("bridge", Mode::Overlay));
    let out = attach(&["go", "--interval", "50ms", "--", app.as_str()]);
    let shown = text(&out.stdout);
    for head in [
        "GOROUTINES  ",
        "SCHEDULER   from runnable to running",
        "BLOCKED     ",
        "MEMORY      ",
        "HTTP        ",
    ] {
        assert!(shown.contains(head), "{shown}");
    }
    for (target, code, said) in [
        (&["go", "--all"][..], 2, "error: a runtime is one process's: say -p PID or -- CMD\n"),
        (&["go", "--", "/bin/true"][..], 2, "error: /bin/true has no probes\n"),
    ] {
        let out = attach(target);
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(code), said));
    }
}

/// The script of the documentation, run by a tracer of another make.
#[test]
fn other_tracers_see_them_too() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let app = copy(&Fixture::get("bridge", Mode::Overlay));
    let facts = app.folder.path().join("facts.json");
    let program = app.as_str();
    let script = format!(
        "usdt:{program}:go:gc__end {{ @cycle = arg0; }} usdt:{program}:net_http:server_request_end {{ @[arg0] = count(); }} \
         usdt:{program}:go:goroutine__block {{ @why[str(arg1, arg2)] = count(); }}"
    );
    let run = format!("{program} {}", facts.display());
    let out = stdout(command("bpftrace").args(["-e", &script, "-c", &run]));
    let did: Value = serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap();
    assert!(out.contains(&format!("@cycle: {}\n", did["NumGC"])), "{out}");
    for request in did["Requests"].as_array().unwrap() {
        assert!(out.contains(&format!("@[{}]: ", request["Status"])), "{out}");
    }
    assert!(out.contains("@why[sleep]: "), "{out}");
}

/// For arm64, and by a compiler that does not optimise: code that must not grow the stack has less room then.
#[test]
fn other_builds() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = stdout(command("usdt-gen").args(["overlay", "-o"]).arg(folder.path().join("overlay")));
    let overlay = format!("-overlay={}", overlay.trim());
    for (arch, flags) in [("arm64", "-gcflags=all="), ("amd64", "-gcflags=all=-N -l")] {
        let out = folder.path().join(arch);
        let mut build = command("go");
        build.args(["build", &overlay, "-toolexec=usdt-gen toolexec", flags, "-o"]).arg(&out).arg("./bridge");
        stdout(
            build.env("GOARCH", arch).env("CGO_ENABLED", "0").current_dir(usdt_e2e::root().join("tests/go")),
        );
        let verified = usdt_gen(&["verify", out.to_str().unwrap()]);
        let all = 5 * listed(&out).len();
        assert_eq!(text(&verified.stderr), format!("{all} accepted, 0 in part, 0 rejected\n"), "{arch}");
    }
    if std::env::consts::ARCH == "x86_64" {
        stdout(&mut command(folder.path().join("amd64")));
    }
}
