//! Hits, exactly counted, with right arguments.

use serde_json::{Value, json};
use usdt_e2e::{Fixture, Mode, Need, attach, copy, have, stream, text};

/// A text of `hits`: hit n carries text n modulo 100.
fn expected(n: u64) -> String {
    let i = (n % 100) as usize;
    format!("{}{i}", "x".repeat(i % 40))
}

/// Fires from 8 goroutines and checks every event and the account.
fn hits(backend: &str, mode: Mode, per: u64) {
    let app = copy(&Fixture::get("hits", mode));
    let per_text = per.to_string();
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
        &per_text,
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let out = text(&out.stdout);
    let out: Vec<&str> = out.lines().collect();
    let (last, events) = out.split_last().unwrap();
    let summary: Value = serde_json::from_str(last).unwrap();
    let count = |name: &str| summary["summary"][name].as_u64().unwrap();
    assert_eq!(count("hits"), 8 * per);
    assert_eq!(count("delivered") + count("dropped"), 8 * per);
    assert_eq!(count("filtered"), 0);
    assert_eq!(events.len() as u64, count("delivered"));
    let mut seen = std::collections::HashMap::<u64, u64>::new();
    for line in events {
        let event: Value = serde_json::from_str(line).unwrap();
        let args = &event["args"];
        let (own, n) = (args["self"].as_u64().unwrap(), args["n"].as_u64().unwrap());
        assert_eq!(event["goid"].as_u64(), Some(own), "{line}");
        assert_eq!(args["text"], expected(n), "{line}");
        assert_eq!((&event["provider"], &event["probe"]), (&json!("e2e"), &json!("hit")));
        // Events of one goroutine come in its order, whatever threads it ran on.
        let next = seen.entry(own).or_insert(0);
        assert!(n >= *next, "{line}");
        *next = n + 1;
    }
    // Of a goroutine that ran while the buffer was full nothing may be left.
    assert!(seen.len() == 8 || count("dropped") > 0, "{summary}");
}

#[test]
fn a_million_hits_from_eight_goroutines() {
    if have(&[Need::Bpf]) {
        hits("embedded", Mode::Sealed, 125_000);
    }
}

#[test]
fn through_bcc() {
    if have(&[Need::Bpf, Need::Bcc]) {
        hits("bcc", Mode::Sealed, 25_000);
    }
}

#[test]
fn unsealed_binaries_are_traced_as_well() {
    if have(&[Need::Bpf]) {
        hits("embedded", Mode::Plain, 1000);
        hits("embedded", Mode::PlainPie, 1000);
    }
}

#[test]
fn every_way_of_linking() {
    if have(&[Need::Bpf]) {
        for mode in Mode::SEALED {
            hits("embedded", mode, 1000);
        }
    }
}

#[test]
fn values_of_every_type() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let out = attach(&["trace", "--json", "--", app.as_str(), "-types"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, summary) = stream(&text(&out.stdout));
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
        "infinities and NaN are not JSON, a nil error has no text"
    );
    assert_eq!(args[3].1["cstring"], "c".repeat(127), "cut to the limit, NUL included");
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

#[test]
fn a_slow_reader_loses_events_but_not_the_count() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let script = format!(
        "usdt-attach trace --json --max-string 2048 e2e:hit -- {} -goroutines 2 -per 100000 | (sleep 2; cat)",
        app.as_str()
    );
    let out = usdt_e2e::stdout(usdt_e2e::command("sh").args(["-c", &script]));
    let (events, summary) = stream(&out);
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("hits"), 200_000);
    assert!(count("dropped") > 0, "{summary}");
    assert_eq!(count("delivered") + count("dropped"), 200_000);
    assert_eq!(events.len() as u64, count("delivered"));
}

#[test]
fn probes_on_do_not_allocate_either() {
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
        "NoAllocation",
        "-test.v",
    ]);
    let out = text(&out.stdout);
    assert!(out.contains("enabled: true") && out.contains("\nPASS"), "{out}");
}
