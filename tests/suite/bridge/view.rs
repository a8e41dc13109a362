//! What people and other tracers see of them.

use serde_json::Value;
use std::process::Stdio;
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, lines, stdout, text, usdt_gen,
    wait_for,
};

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
        assert!(
            created.map(|p| p["created"].as_u64().unwrap()).sum::<u64>() > by_hand,
            "{goroutines}"
        );
        assert_eq!(shown["collections"], did["NumGC"]);
        assert!(
            shown["panics"].as_u64().unwrap() >= did["Panics"].as_array().unwrap().len() as u64
        );
        assert!(shown["pauses"]["count"].as_u64().unwrap() >= 2 * did["NumGC"].as_u64().unwrap());
        let sent = did["Requests"].as_array().unwrap();
        let http = shown["http"].as_array().unwrap();
        let served = |field: &str| http.iter().filter_map(|r| r[field].as_u64()).sum::<u64>();
        assert_eq!(served("requests"), sent.len() as u64);
        assert_eq!(served("errors"), sent.iter().filter(|r| r["Status"] == 500).count() as u64);
        assert!(http.iter().all(|r| r["path"].as_str().unwrap().starts_with("/status/")));
        assert!(http.iter().all(|r| r["times"]["count"] == r["requests"]));
        let slept =
            shown["blocked"].as_array().unwrap().iter().find(|b| b["reason"] == "sleep").unwrap();
        assert!(slept["count"].as_u64().unwrap() >= did["Sleepers"].as_u64().unwrap());
        if mode == Mode::PlainStripped {
            assert!(
                shown["latency"]["count"].as_u64().unwrap() > did["Sleepers"].as_u64().unwrap()
            );
            assert!(shown["allocated"].as_u64().unwrap() > 1 << 20);
            assert!(goroutines["waiting"].is_null());
            continue;
        }
        assert!(shown["latency"]["count"].as_u64().unwrap() > by_hand);
        let allocated = shown["allocated"].as_u64().unwrap();
        assert!(
            allocated
                > (did["Large"].as_u64().unwrap() << 20) + 208 * did["Small"].as_u64().unwrap()
        );
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
        (&["go"][..], 2, "error: `go` needs exactly one process: pass -p PID or -- CMD\n"),
        (&["go", "--", "/bin/true"][..], 2, "error: /bin/true has no probes\n"),
    ] {
        let out = attach(target);
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(code), said));
    }
    for flag in ["--all", "--dry-run"] {
        let out = attach(&["go", flag, "--", app.as_str()]);
        assert_eq!(out.status.code(), Some(2));
        assert!(
            text(&out.stderr).contains(&format!("unexpected argument '{flag}'")),
            "{}",
            text(&out.stderr)
        );
    }
}

/// Goroutines that were there before anybody looked.
#[test]
fn goroutines_that_are_there() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for mode in [Mode::Overlay, Mode::PlainStripped] {
        let app = copy(&Fixture::get("bridge", mode));
        let facts = app.folder.path().join("facts.json");
        let mut process = Process(
            command(app.as_str()).arg(&facts).arg("wait").stdin(Stdio::piped()).spawn().unwrap(),
        );
        let mut did = Value::Null;
        wait_for("the program to have done its work", || {
            // It may be half written.
            did = serde_json::from_slice(&std::fs::read(&facts).unwrap_or_default())
                .unwrap_or_default();
            !did.is_null()
        });
        let pid = process.pid().to_string();
        let out =
            attach(&["go", "--json", "--interval", "100ms", "--duration", "400ms", "-p", &pid]);
        let shown = lines(&text(&out.stdout)).pop().unwrap();
        let live = &shown["goroutines"]["live"];
        assert_eq!(live["count"], did["Live"], "{mode:?} {shown}");
        let sum = ["waiting", "in_calls", "running", "runnable"]
            .map(|state| live[state].as_u64().unwrap());
        assert_eq!(sum.iter().sum::<u64>(), did["Live"].as_u64().unwrap());
        assert!(live["own"].as_u64().unwrap() >= 4, "{live}");
        let parked = shown["goroutines"]["creators"][0].clone();
        assert_eq!(
            (&parked["function"], &parked["live"]),
            (&"main.park".into(), &did["Parked"]),
            "{parked}"
        );
        assert_eq!(parked["created"], 0);
        let blocked = shown["blocked"].as_array().unwrap();
        let receivers = blocked.iter().find(|b| b["reason"] == "chan receive").unwrap();
        assert!(receivers["now"].as_u64() >= did["Parked"].as_u64(), "{receivers}");
        let out = text(&attach(&["go", "--duration", "100ms", "-p", &pid]).stdout);
        let first = format!("GOROUTINES  {} live: ", did["Live"]);
        assert!(
            out.contains(&first) && out.contains("        50          0  main.park main.go:"),
            "{out}"
        );
        drop(process.0.stdin.take());
        assert!(process.0.wait().unwrap().success());
    }
}

/// The script of the documentation, run by a tracer of another make.
#[test]
fn other_tracers_see_them_too() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    for mode in [Mode::Overlay, Mode::PlainStripped] {
        let app = copy(&Fixture::get("bridge", mode));
        let facts = app.folder.path().join("facts.json");
        let program = app.as_str();
        // Arguments that a function entry lacks are 0 and empty, in their places.
        let is_whole = mode == Mode::Overlay;
        if !is_whole {
            let sealed = usdt_gen(&["seal", "--entries", program]);
            assert!(sealed.status.success(), "{}", text(&sealed.stderr));
        }
        let script = format!(
            "usdt:{program}:go:gc__end {{ @collections = count(); @cycle = arg0; }} \
             usdt:{program}:net_http:server_request_start {{ @method[str(arg0, arg1)] = count(); }} \
             usdt:{program}:net_http:server_request_end {{ @[arg0] = count(); }} \
             usdt:{program}:go:goroutine__block {{ @why[str(arg1, arg2)] = count(); }}"
        );
        let run = format!("{program} {}", facts.display());
        let out = stdout(command("bpftrace").args(["-e", &script, "-c", &run]));
        let did: Value = serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap();
        assert!(out.contains(&format!("@collections: {}\n", did["NumGC"])), "{out}");
        for request in did["Requests"].as_array().unwrap() {
            let method = request["Method"].as_str().unwrap();
            assert!(out.contains(&format!("@method[{method}]: ")), "{out}");
            let seen = is_whole || request["Protocol"] == "HTTP/1.1";
            assert!(!seen || out.contains(&format!("@[{}]: ", request["Status"])), "{out}");
        }
        let cycle = if is_whole { did["NumGC"].as_u64().unwrap() } else { 0 };
        assert!(out.contains(&format!("@cycle: {cycle}\n")), "{out}");
        assert_eq!(out.contains("@why[sleep]: "), is_whole, "{out}");
    }
}
