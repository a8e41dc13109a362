//! The overview of `usdt-attach go`, and the same probes in other tracers.

use serde_json::Value;
use std::process::Stdio;
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, json_lines, stdout, text, usdt_gen,
    wait_for,
};

/// Runs the program under `usdt-attach go --json`. Returns the facts that the program reports, and
/// the last line of the overview.
fn overview(mode: Mode) -> (Value, Value) {
    let app = copy(&Fixture::get("bridge", mode));
    let facts_file = app.folder.path().join("facts.json");
    let program = ["--", app.as_str(), facts_file.to_str().unwrap()];
    let out = attach(&[&["go", "--json", "--interval", "50ms"], &program[..]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let last = json_lines(&text(&out.stdout)).pop().unwrap();
    (serde_json::from_slice(&std::fs::read(&facts_file).unwrap()).unwrap(), last)
}

#[test]
fn overview_matches_what_the_program_did() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for mode in [Mode::Runtime, Mode::PlainStripped] {
        let (facts, shown) = overview(mode);
        let goroutines_started =
            facts["Workers"].as_u64().unwrap() + facts["Sleepers"].as_u64().unwrap();
        let goroutines = &shown["goroutines"];
        assert!(goroutines["ended"].as_u64().unwrap() >= goroutines_started, "{goroutines}");
        let by_main = |p: &&Value| p["function"] == "main.main";
        let created = goroutines["creators"].as_array().unwrap().iter().filter(by_main);
        assert!(
            created.map(|p| p["created"].as_u64().unwrap()).sum::<u64>() > goroutines_started,
            "{goroutines}"
        );
        assert_eq!(shown["collections"], facts["NumGC"]);
        assert!(
            shown["panics"].as_u64().unwrap() >= facts["Panics"].as_array().unwrap().len() as u64
        );
        assert!(shown["pauses"]["count"].as_u64().unwrap() >= 2 * facts["NumGC"].as_u64().unwrap());
        let sent = facts["Requests"].as_array().unwrap();
        let http = shown["http"].as_array().unwrap();
        let served = |field: &str| http.iter().filter_map(|r| r[field].as_u64()).sum::<u64>();
        assert_eq!(served("requests"), sent.len() as u64);
        assert_eq!(served("errors"), sent.iter().filter(|r| r["Status"] == 500).count() as u64);
        assert!(http.iter().all(|r| r["path"].as_str().unwrap().starts_with("/status/")));
        assert!(http.iter().all(|r| r["times"]["count"] == r["requests"]));
        let slept =
            shown["blocked"].as_array().unwrap().iter().find(|b| b["reason"] == "sleep").unwrap();
        assert!(slept["count"].as_u64().unwrap() >= facts["Sleepers"].as_u64().unwrap());
        if mode == Mode::PlainStripped {
            assert!(
                shown["latency"]["count"].as_u64().unwrap() > facts["Sleepers"].as_u64().unwrap()
            );
            assert!(shown["allocated"].as_u64().unwrap() > 1 << 20);
            assert!(goroutines["waiting"].is_null());
            continue;
        }
        assert!(shown["latency"]["count"].as_u64().unwrap() > goroutines_started);
        let allocated = shown["allocated"].as_u64().unwrap();
        assert!(
            allocated
                > (facts["Large"].as_u64().unwrap() << 20) + 208 * facts["Small"].as_u64().unwrap()
        );
    }
    let app = copy(&Fixture::get("bridge", Mode::Runtime));
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
    for (target, code, message) in [
        (
            &["go"][..],
            2,
            "error: `go` needs exactly one process: pass -p PID|NAME, --exe PATH or -- CMD\n",
        ),
        (
            &["go", "--", "/bin/true"][..],
            2,
            "error: /bin/true is not a Go program, so there is nothing that `go` can show\n",
        ),
    ] {
        let out = attach(target);
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(code), message));
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

/// Goroutines created before the tracer attached are counted.
#[test]
fn counts_goroutines_created_before_attaching() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for mode in [Mode::Runtime, Mode::PlainStripped] {
        let app = copy(&Fixture::get("bridge", mode));
        let facts_file = app.folder.path().join("facts.json");
        let mut process = Process(
            command(app.as_str())
                .arg(&facts_file)
                .arg("wait")
                .stdin(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut facts = Value::Null;
        wait_for("the program to write its facts", || {
            // The file may be incomplete.
            facts = serde_json::from_slice(&std::fs::read(&facts_file).unwrap_or_default())
                .unwrap_or_default();
            !facts.is_null()
        });
        let pid = process.pid().to_string();
        let out =
            attach(&["go", "--json", "--interval", "100ms", "--duration", "400ms", "-p", &pid]);
        let shown = json_lines(&text(&out.stdout)).pop().unwrap();
        let live = &shown["goroutines"]["live"];
        assert_eq!(live["count"], facts["Live"], "{mode:?} {shown}");
        let sum = ["waiting", "in_calls", "running", "runnable"]
            .map(|state| live[state].as_u64().unwrap());
        assert_eq!(sum.iter().sum::<u64>(), facts["Live"].as_u64().unwrap());
        assert!(live["own"].as_u64().unwrap() >= 4, "{live}");
        let parked = shown["goroutines"]["creators"][0].clone();
        assert_eq!(
            (&parked["function"], &parked["live"]),
            (&"main.park".into(), &facts["Parked"]),
            "{parked}"
        );
        assert_eq!(parked["created"], 0);
        let blocked = shown["blocked"].as_array().unwrap();
        let receivers = blocked.iter().find(|b| b["reason"] == "chan receive").unwrap();
        assert!(receivers["now"].as_u64() >= facts["Parked"].as_u64(), "{receivers}");
        let out = text(&attach(&["go", "--duration", "100ms", "-p", &pid]).stdout);
        let first = format!("GOROUTINES  {} live: ", facts["Live"]);
        assert!(
            out.contains(&first) && out.contains("        50          0  main.park main.go:"),
            "{out}"
        );
        drop(process.0.stdin.take());
        assert!(process.0.wait().unwrap().success());
    }
}

/// The script of the documentation, run by bpftrace.
#[test]
fn bpftrace_sees_the_same_probes() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    for mode in [Mode::Runtime, Mode::PlainStripped] {
        let app = copy(&Fixture::get("bridge", mode));
        let facts_file = app.folder.path().join("facts.json");
        let program = app.as_str();
        // Arguments that a function entry does not have are 0 or empty, in their positions.
        let has_all_arguments = mode == Mode::Runtime;
        if !has_all_arguments {
            let sealed = usdt_gen(&["seal", "--entries", program]);
            assert!(sealed.status.success(), "{}", text(&sealed.stderr));
        }
        let script = format!(
            "usdt:{program}:go:gc__end {{ @collections = count(); @cycle = arg0; }} \
             usdt:{program}:net_http:server_request_start {{ @method[str(arg0, arg1)] = count(); }} \
             usdt:{program}:net_http:server_request_end {{ @[arg0] = count(); }} \
             usdt:{program}:go:goroutine__block {{ @why[str(arg1, arg2)] = count(); }}"
        );
        let run = format!("{program} {}", facts_file.display());
        let out = stdout(command("bpftrace").args(["-e", &script, "-c", &run]));
        let facts: Value = serde_json::from_slice(&std::fs::read(&facts_file).unwrap()).unwrap();
        assert!(out.contains(&format!("@collections: {}\n", facts["NumGC"])), "{out}");
        for request in facts["Requests"].as_array().unwrap() {
            let method = request["Method"].as_str().unwrap();
            assert!(out.contains(&format!("@method[{method}]: ")), "{out}");
            let is_reported = has_all_arguments || request["Protocol"] == "HTTP/1.1";
            assert!(!is_reported || out.contains(&format!("@[{}]: ", request["Status"])), "{out}");
        }
        let cycle = if has_all_arguments { facts["NumGC"].as_u64().unwrap() } else { 0 };
        assert!(out.contains(&format!("@cycle: {cycle}\n")), "{out}");
        assert_eq!(out.contains("@why[sleep]: "), has_all_arguments, "{out}");
    }
}
