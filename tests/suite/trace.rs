//! Every hit is counted exactly, and its arguments are correct.

use serde_json::{Value, json};
use usdt_attach::kernel::detect::detect_features;
use usdt_e2e::{Fixture, Mode, Need, attach, copy, events_and_summary, have, text};

/// Returns the string of a hit of the fixture `hits`, which repeats every 100 hits.
fn expected_string(n: u64) -> String {
    let i = (n % 100) as usize;
    format!("{}{i}", "x".repeat(i % 40))
}

/// Fires from 8 goroutines and checks every event and the summary.
fn trace_hits(backend: &str, mode: Mode, hits_per_goroutine: u64) {
    let app = copy(&Fixture::get("hits", mode));
    let total = 8 * hits_per_goroutine;
    let out = attach(&[
        "trace",
        "--json",
        "--backend",
        backend,
        "e2e:hit",
        "--",
        app.as_str(),
        "-goroutines",
        "8",
        "-per",
        &hits_per_goroutine.to_string(),
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let out = text(&out.stdout);
    let out: Vec<&str> = out.lines().collect();
    let (last, events) = out.split_last().unwrap();
    let summary: Value = serde_json::from_str(last).unwrap();
    let count = |name: &str| summary["summary"][name].as_u64().unwrap();
    assert_eq!(count("hits"), total);
    assert_eq!(count("delivered") + count("dropped"), total);
    assert_eq!(count("filtered"), 0);
    assert_eq!(events.len() as u64, count("delivered"));
    let mut seen = std::collections::HashMap::<u64, u64>::new();
    let (mut last_time, mut out_of_order) = (0, 0);
    for line in events {
        let event: Value = serde_json::from_str(line).unwrap();
        let args = &event["args"];
        let (goroutine, n) = (args["self"].as_u64().unwrap(), args["n"].as_u64().unwrap());
        assert_eq!(event["goid"].as_u64(), Some(goroutine), "{line}");
        assert_eq!(args["text"], expected_string(n), "{line}");
        assert_eq!((&event["provider"], &event["probe"]), (&json!("e2e"), &json!("hit")));
        // Events of one goroutine arrive in order, whatever threads it ran on.
        let next = seen.entry(goroutine).or_insert(0);
        assert!(n >= *next, "{line}");
        *next = n + 1;
        let time = event["time_ns"].as_u64().unwrap();
        out_of_order += u64::from(time < last_time);
        last_time = last_time.max(time);
    }
    if backend == "embedded" && detect_features().preemption {
        // A hypervisor may take the CPU from a program that records an event.
        assert!(
            out_of_order <= summary["summary"]["out_of_order"].as_u64().unwrap_or(0),
            "{summary}"
        );
    }
    // A goroutine that ran while the buffer was full may have no event.
    assert!(seen.len() == 8 || count("dropped") > 0, "{summary}");
}

#[test]
fn records_a_million_hits_from_eight_goroutines() {
    if have(&[Need::Bpf]) {
        trace_hits("embedded", Mode::Sealed, 125_000);
    }
}

#[test]
fn records_hits_through_bcc() {
    if have(&[Need::Bpf, Need::Bcc]) {
        trace_hits("bcc", Mode::Sealed, 25_000);
    }
}

#[test]
fn traces_unsealed_binaries() {
    if have(&[Need::Bpf]) {
        trace_hits("embedded", Mode::Plain, 1000);
        trace_hits("embedded", Mode::PlainPie, 1000);
    }
}

#[test]
fn traces_every_link_mode() {
    if have(&[Need::Bpf]) {
        for mode in Mode::SEALED {
            trace_hits("embedded", mode, 1000);
        }
    }
}

#[test]
fn decodes_values_of_every_type() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let out = attach(&["trace", "--json", "--", app.as_str(), "-types"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, summary) = events_and_summary(&text(&out.stdout));
    let args: Vec<(&str, &Value)> =
        events.iter().map(|e| (e["probe"].as_str().unwrap(), &e["args"])).collect();
    assert_eq!(
        args[0],
        (
            "types",
            &json!({"c": -1, "i8": i8::MIN, "i16": i16::MIN, "i32": i32::MIN, "i64": i64::MIN,
                    "u8": u8::MAX, "u16": u16::MAX, "u32": u32::MAX})
        )
    );
    let mut more = args[1].1.clone();
    assert!(more["p"].as_u64().unwrap() > 0xffff, "a pointer to the stack or heap");
    more["p"] = json!(0);
    assert_eq!(
        more,
        json!({"u64": u64::MAX, "f": 1.5, "d": -2.25, "ok": true, "cstring": "C \"text\"", "data": "0001ff",
               "err": "it broke\n", "p": 0})
    );
    assert_eq!(
        args[2].1,
        &json!({"u64": 0, "f": null, "d": null, "ok": false, "cstring": "", "data": "", "err": null, "p": 0}),
        "infinities and NaN have no JSON form, a nil error has no string"
    );
    assert_eq!(args[3].1["cstring"], "c".repeat(127), "truncated to the limit, NUL included");
    assert_eq!(args[3].1["data"], "07".repeat(128));
    assert_eq!(args[3].1["err"], "e".repeat(128));
    assert_eq!(
        args[4],
        (
            "twelve",
            &json!({"a":1,"b":-2,"c":3,"d":-4,"e":5,"f":-6,"g":7,"h":-8,"i":9,"j":-10,"k":11,"l":-12})
        )
    );
    assert_eq!(args[5], ("nothing", &json!({})));
    assert_eq!(args[6], ("hit", &json!({"n": 7})));
    assert_eq!(
        args[7],
        ("keywords", &json!({"type":1,"func":2,"g":3,"SP":4,"len":5,"unsafe":6,"R14":7}))
    );
    assert_eq!(events.len(), 8);
    assert_eq!(summary["hits"], 8);
    assert!(
        events.iter().all(|e| e["goid"] == 1 && e["comm"] == "hits-sealed"),
        "all from the main goroutine"
    );
}

/// Traces 200,000 hits of two threads and begins to read after two seconds. Returns the events, the
/// summary and the messages.
fn read_slowly(options: &str) -> (Vec<Value>, Value, String) {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("messages");
    let script = format!(
        "usdt-attach trace --json {options} e2e:hit -- {} -goroutines 2 -per 100000 2>{} | (sleep 2; cat)",
        app.as_str(),
        messages.display()
    );
    let out = usdt_e2e::stdout(usdt_e2e::command("sh").args(["-c", &script]));
    let (events, summary) = events_and_summary(&out);
    (events, summary, std::fs::read_to_string(&messages).unwrap())
}

#[test]
fn a_large_buffer_takes_a_long_burst() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (events, summary, messages) = read_slowly("--buffer 128MiB");
    assert_eq!(events.len(), 200_000, "{summary}");
    assert_eq!(summary["dropped"], 0, "{summary}");
    assert!(!messages.contains("dropping"), "{messages}");
}

#[test]
fn slow_reader_loses_events_but_counts_them() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (events, summary, messages) = read_slowly("--max-string 2048");
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("hits"), 200_000);
    assert!(count("dropped") > 0, "{summary}");
    assert_eq!(count("delivered") + count("dropped"), 200_000);
    assert_eq!(events.len() as u64, count("delivered"));
    let drops = messages.lines().find(|line| line.contains("dropping")).unwrap_or_default();
    assert!(
        drops.ends_with(" % of e2e:hit; use --sample, --filter, --rate or `count`"),
        "{messages}"
    );
}

#[test]
fn enabled_probes_do_not_allocate() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("gate.test");
    usdt_e2e::stdout(
        usdt_e2e::command("go")
            .args(["test", "-c", "-toolexec=usdt-gen toolexec", "-o"])
            .arg(&test)
            .arg("./gate")
            .current_dir(usdt_e2e::root().join("tests/go")),
    );
    let out = attach(&[
        "trace",
        "--json",
        "--",
        test.to_str().unwrap(),
        "-test.run",
        "ProbesDoNotAllocate",
        "-test.v",
    ]);
    let out = text(&out.stdout);
    assert!(out.contains("enabled: true") && out.contains("\nPASS"), "{out}");
}

#[test]
fn symbolizes_stacks() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for (mode, backend) in [
        (Mode::Sealed, "embedded"),
        (Mode::Stripped, "embedded"),
        (Mode::Pie, "embedded"),
        (Mode::External, "embedded"),
        (Mode::ExternalPie, "embedded"),
        (Mode::Sealed, "bcc"),
    ] {
        if backend == "bcc" && !have(&[Need::Bcc]) {
            continue;
        }
        let app = copy(&Fixture::get("hits", mode));
        let args = [
            "trace",
            "--json",
            "--stack",
            "--backend",
            backend,
            "e2e:more-types",
            "--",
            app.as_str(),
        ];
        let out = attach(&[&args[..], &["-types", "-linger", "100ms"]].concat());
        let (events, _) = events_and_summary(&text(&out.stdout));
        let stack: Vec<&str> =
            events[0]["stack"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        let functions: Vec<&str> =
            stack.iter().map(|f| f.split(['+', ' ']).next().unwrap()).collect();
        // The gate is inlined into its caller and still named; the caller's line is known, too.
        let expected =
            ["usdt.local/tests/probes.MoreTypes", "main.fireAllTypes", "main.main", "runtime.main"];
        // Before Go 1.26 the inlining tree of a stripped file cannot be located, so the frame of
        // the gate is missing.
        let missing_frames = usize::from(functions[0] != expected[0]);
        assert!(missing_frames == 0 || mode == Mode::Stripped, "{mode:?}: {stack:?}");
        assert_eq!(
            functions[..4 - missing_frames],
            expected[missing_frames..],
            "{mode:?}: {stack:?}"
        );
        assert!(stack[2 - missing_frames].contains("/hits/main.go:"), "{stack:?}");
        assert!(missing_frames == 1 || stack[1].contains("/hits/main.go:"), "{stack:?}");
    }
    // The process has exited by the time its addresses are symbolized, and its file has fixed
    // addresses.
    let app = copy(&Fixture::get("hits", Mode::Stripped));
    let out = attach(&["trace", "--stack=2", "e2e:hit", "--", app.as_str()]);
    let out = text(&out.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert!((2..=3).contains(&lines.len()), "one of two addresses may be the site: {out}");
    assert!(lines.last().unwrap().starts_with("    main.main.func"), "{out}");
}
