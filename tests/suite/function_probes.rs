//! Function probes: entries, returns, arguments and durations of functions of Go programs.

use crate::traced_functions::{self, Traced};
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use serde_json::Value;
use std::collections::BTreeMap;
use usdt_e2e::function_programs;
use usdt_e2e::{Copy, Need, attach, backends, command, copy, have, json_lines, stdout, text};

/// A way of building the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Build {
    release: &'static str,
    flags: &'static [&'static str],
}

/// The releases before and after the changes of prologues (Go 1.21) and of the function table.
const BUILDS: [Build; 5] = [
    Build { release: GO_1_19, flags: &[] },
    Build { release: TESTED[0], flags: &["-ldflags=-s -w"] },
    Build { release: TESTED[TESTED.len() - 2], flags: &[] },
    Build { release: TESTED[TESTED.len() - 2], flags: &["-ldflags=-s -w"] },
    Build { release: NEWEST.release, flags: &["-buildmode=pie", "-ldflags=-s -w"] },
];
const NEWEST: Build = Build { release: TESTED[TESTED.len() - 1], flags: &[] };
const GO_1_19: &str = TESTED_UNMODIFIED[2];

/// Returns a copy of a build of the program.
fn build(build: Build) -> Copy {
    copy(&function_programs::build((".", build.release, build.flags)).unwrap())
}

/// As [`traced_functions::trace`].
fn trace(app: &Copy, args: &[&str]) -> Traced {
    traced_functions::trace(&app.path, args)
}

#[test]
fn counts_each_call_and_each_return_once() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for build_of in BUILDS {
        let app = build(build_of);
        let globs =
            ["func:main.(*store).Get", "func:main.fib*", "func:main.grow", "func:main.fib%return"];
        let seen = trace(&app, &[&["count"], &globs[..], &["func:main.unwound%return"]].concat());
        let counts = seen.counts();
        let expected = BTreeMap::from([
            ("main.(*store).Get", seen.number("Gets")),
            ("main.fib", seen.number("Fib")),
            ("main.fib%return", seen.number("Fib")),
            // Each of these calls grows the stack, and executes the stack check twice.
            ("main.grow", seen.number("Grow")),
            ("main.unwound%return", seen.number("Returned")),
        ]);
        assert_eq!(counts, expected, "{build_of:?}");
        assert_eq!(seen.lines[0]["provider"], "func");
    }
}

/// The frames of two functions have nothing to do with each other.
#[test]
fn pairs_different_functions_by_goroutine() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build(NEWEST);
    for backend in backends() {
        let globs = ["func:main.leaf", "func:main.kinds%return"];
        let seen = trace(&app, &["latency", "--backend", backend, globs[0], globs[1]]);
        let rounds = seen.number("Found") / 2;
        assert_eq!(seen.counts(), BTreeMap::from([("main.kinds%return", rounds)]), "{backend}");
        assert_eq!(seen.summary["unmatched_starts"], 0, "{backend}: {}", seen.summary);
    }
}

#[test]
fn measures_the_time_of_each_call() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for build_of in BUILDS {
        let app = build(build_of);
        for backend in backends() {
            let seen = trace(&app, &["latency", "--backend", backend, "func:main.*"]);
            let counts = seen.counts();
            for (function, fact) in [
                ("main.(*store).Get", "Gets"),
                ("main.fib", "Fib"),
                ("main.grow", "Grow"),
                ("main.unwound", "Returned"),
            ] {
                assert_eq!(
                    counts[function],
                    seen.number(fact),
                    "{function} {build_of:?} {backend}"
                );
            }
            let summary = |name: &str| seen.summary[name].as_u64().unwrap();
            assert_eq!((summary("unmatched_ends"), summary("dropped")), (0, 0), "{}", seen.summary);
            assert!(summary("unwound") + summary("unmatched_starts") >= seen.number("Unwound"));
            // Every call has an outcome: it returned, was unwound, or has not returned.
            let returned: u64 = counts.values().sum();
            let entries = summary("hits") - returned;
            let others = summary("unwound") + summary("unmatched_starts");
            assert_eq!(entries, returned + others, "{build_of:?} {backend}: {}", seen.summary);
            assert!(
                seen.notices.contains("at returns, which are single-stepped")
                    || seen.notices.contains("at returns and at entries"),
                "{}",
                seen.notices
            );
        }
    }
}

#[test]
fn unwound_calls_are_counted_and_paired_with_no_other_call() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build(NEWEST);
    for backend in backends() {
        let seen = trace(&app, &["latency", "--backend", backend, "func:main.unwound"]);
        assert_eq!(seen.counts(), BTreeMap::from([("main.unwound", seen.number("Returned"))]));
        let summary = |name: &str| seen.summary[name].as_u64().unwrap();
        let unwound = summary("unwound") + summary("unmatched_starts");
        assert_eq!(unwound, seen.number("Unwound"), "{backend}: {}", seen.summary);
        assert!(summary("unwound") > 0);
        // A call that was unwound ran for much longer than the others until its frame was used again.
        let max = seen.lines[0]["max"].as_u64().unwrap();
        assert!(max < 1_000_000_000, "{backend}: {max}");
    }
}

#[test]
fn names_arguments_and_results_by_debug_information() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for release in [GO_1_19, NEWEST.release] {
        let app = build(Build { release, flags: &[] });
        for backend in backends() {
            let get = ["func:main.(*store).Get", "func:main.(*store).Get%return"];
            let kinds = ["func:main.kinds", "func:main.kinds%return"];
            let args = [&["trace", "--backend", backend], &get[..], &kinds[..]].concat();
            let seen = trace(&app, &args);
            let calls = seen.events(get[0].trim_start_matches("func:"));
            assert_eq!(calls.len() as u64, seen.number("Gets"));
            let keys = ["a", "b", "c", "dddd"];
            for event in &calls {
                let attempt = event["args"]["attempt"].as_u64().unwrap() as usize;
                assert_eq!(event["args"]["key"], keys[attempt], "{event}");
            }
            let results = seen.events("main.(*store).Get%return");
            let (found, failed): (Vec<&Value>, Vec<&Value>) =
                results.iter().partition(|event| event["args"]["ret1"].is_null());
            assert_eq!(found.len() as u64, seen.number("Found"));
            assert_eq!(failed.len() as u64, seen.number("Missing"));
            let messages = ["no such key", "key \"dddd\": no such key"];
            for message in messages {
                let count = failed.iter().filter(|event| event["args"]["ret1"] == message).count();
                assert_eq!(count as u64, seen.number("Missing") / 2, "{message}: {failed:?}");
            }
            let is_value =
                |event: &&Value| ["alpha", "beta"].iter().any(|v| event["args"]["ret0"] == *v);
            assert!(found.iter().all(is_value));
            let kinds = seen.events("main.kinds");
            let expected = |event: &Value| {
                let args = &event["args"];
                args["small"] == -5 && args["wide"] == 1u64 << 40 && args["wait"] == 1_000_000_000
            };
            assert!(!kinds.is_empty() && kinds.iter().all(|event| expected(event)));
            assert!(kinds.iter().any(|event| event["args"]["flag"] == true));
            assert!(
                seen.events("main.kinds%return").iter().all(|e| e["args"]["ret1"].is_boolean())
            );
        }
    }
}

#[test]
fn reads_fields_by_their_paths() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build(NEWEST);
    for backend in backends() {
        let paths = ["--arg", "store=s.name", "--arg", "s.limits.low", "--arg", "len(s.values)"];
        let filter = ["--filter", "key == 'dd*' && s.limits.high > 39"];
        let args = [&["trace", "--backend", backend], &paths[..], &filter[..]].concat();
        let seen = trace(&app, &[&args[..], &["func:main.(*store).Get"]].concat());
        assert_eq!(seen.lines.len() as u64, seen.number("Gets") / 4);
        for event in &seen.lines {
            let args = &event["args"];
            assert_eq!((&args["store"], &args["s.limits.low"]), (&"first".into(), &(-7).into()));
            assert_eq!((&args["len(s.values)"], &args["key"]), (&2.into(), &"dddd".into()));
        }
        assert_eq!(seen.summary["filtered"], seen.number("Gets") * 3 / 4);
    }
}

#[test]
fn filters_and_labels_of_a_latency_use_arguments_and_results() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build(NEWEST);
    for backend in backends() {
        let get = "func:main.(*store).Get";
        let common = ["latency", "--backend", backend, get];
        let by_key =
            trace(&app, &[&common[..], &["--by", "key", "--filter", "attempt < 2"]].concat());
        let keys: Vec<&str> =
            by_key.lines.iter().map(|row| row["labels"]["key"].as_str().unwrap()).collect();
        assert_eq!((keys.len(), by_key.counts().len()), (2, 1), "{keys:?}");
        let failed = trace(&app, &[&common[..], &["--filter", "ret1 != nil"]].concat());
        assert_eq!(
            failed.counts(),
            BTreeMap::from([("main.(*store).Get", failed.number("Missing"))])
        );
        assert_eq!(failed.summary["unwound"], 0);
        assert_eq!(failed.summary["unmatched_starts"], 0);
    }
}

#[test]
fn reads_registers_of_stripped_programs() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build(Build { flags: &["-ldflags=-s -w"], ..NEWEST });
    let probes = ["func:main.leaf", "func:main.leaf%return"];
    let seen = trace(
        &app,
        &[&["trace", "--arg", "arg0", "--arg", "b=arg1", "--arg", "ret0"], &probes[..]].concat(),
    );
    let number = |event: &Value, name: &str| event["args"][name].as_u64().unwrap();
    let sums =
        seen.events("main.leaf").iter().map(|e| number(e, "arg0") + number(e, "b")).sum::<u64>();
    let results = seen.events("main.leaf%return").iter().map(|e| number(e, "ret0")).sum::<u64>();
    assert!(sums > 0 && sums == results, "{sums} {results}");
    let seen = trace(&app, &["count", "--by", "arg2", "func:main.(*store).Get"]);
    assert_eq!(seen.lines.len(), 2, "the lengths of the keys");
}

#[test]
fn every_call_on_moving_stacks_has_one_outcome() {
    if have(&[Need::Bpf]) {
        usdt_e2e::soak::functions::short().unwrap();
    }
}

#[test]
fn lists_signatures_and_says_what_cannot_be_probed() {
    let app = build(NEWEST);
    let list = |globs: &[&str]| {
        command("usdt-attach").arg("list").arg(&app.path).args(globs).output().unwrap()
    };
    let listed = list(&["func:main.(*store).*", "func:main.fib%return"]);
    assert_eq!(
        text(&listed.stdout),
        "func:main.(*store).Get(s *main.store, key string, attempt int) (string, error)\n\
         func:main.fib%return(n int) int  single-stepped\n"
    );
    let refused = list(&["func:main.inlined", "func:runtime.memmove", "func:runtime.write"]);
    let messages = text(&refused.stderr);
    for part in [
        "skipped func:main.inlined: the compiler inlined its calls",
        "func:main.inlined misses calls that are inlined, at main.go:",
        " in main.work.func1",
        "skipped func:runtime.memmove: written in assembly",
        "skipped func:runtime.write: a function of the runtime without a stack check",
        "no probe matches `func:main.inlined`; the target has no such function",
    ] {
        assert!(messages.contains(part), "{messages}");
    }
    assert_eq!(refused.status.code(), Some(2));
    let all = text(&list(&["func:*"]).stderr);
    assert!(all.contains("match `func:*`; use a narrower glob") || all.contains("func:"), "{all}");
    let json =
        stdout(command("usdt-attach").arg("list").arg(&app.path).args(["--json", "func:main.fib"]));
    let line = &json_lines(&json)[0];
    assert_eq!(
        (&line["provider"], &line["probe"], &line["source"]),
        (&"func".into(), &"main.fib".into(), &"function".into())
    );
}

#[test]
fn needs_an_end_unless_the_start_is_a_function() {
    let out = attach(&["latency", "app:start", "--", "true"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("only `func:SYMBOL` has one of its own"));
}
