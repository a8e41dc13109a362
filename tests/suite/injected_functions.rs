//! Function probes of functions into which probes were injected: these are used, and count and
//! measure the same calls.

use crate::traced_functions::{self, Traced};
use gobinary::supported_releases::TESTED;
use std::collections::BTreeMap;
use usdt_e2e::{
    Copy, Need, backends, command, go_of, have, json_lines, list_probes, root, stdout, tools,
};

const FUNCTIONS: [&str; 4] = ["main.(*store).Get", "main.fib", "main.grow", "main.unwound"];

/// Builds the program of function probes with injected probes.
fn build(release: &str, flags: &[&str]) -> Copy {
    let module = root().join("tests/go/functions");
    let mut inject = command(tools().join("usdt-gen"));
    inject.arg("inject").args(FUNCTIONS).current_dir(&module);
    inject.env("GOTOOLCHAIN", format!("go{release}")).env("GOFLAGS", "");
    let go_flags = stdout(&mut inject).trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    let mut go = go_of(release);
    go.args(["build", "-o"]).arg(&path).args(flags).arg(".");
    stdout(go.env("GOFLAGS", go_flags).current_dir(&module));
    Copy { path, folder }
}

fn releases() -> [&'static str; 2] {
    [TESTED[0], TESTED[TESTED.len() - 1]]
}

/// As [`traced_functions::trace`].
fn trace(app: &Copy, args: &[&str]) -> Traced {
    traced_functions::trace(&app.path, args)
}

fn uses_injected(seen: &Traced) -> bool {
    let note = "note: using injected probes for func:main.";
    assert_ne!(seen.notices.contains(note), seen.notices.contains("attaching to functions"));
    seen.notices.contains(note)
}

fn globs(suffix: &str) -> Vec<String> {
    FUNCTIONS.iter().map(|function| format!("func:{function}{suffix}")).collect()
}

#[test]
fn injected_probes_count_the_calls_of_their_functions() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for release in releases() {
        for flags in [&[][..], &["-ldflags=-s -w", "-buildmode=pie"]] {
            let app = build(release, flags);
            let globs = [globs(""), globs("%return")].concat();
            let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
            let seen = trace(&app, &[&["count"], &globs[..]].concat());
            assert!(uses_injected(&seen), "{}", seen.notices);
            // A panic ends a call as a return does.
            let unwound = seen.number("Unwound") + seen.number("Returned");
            let calls = [seen.number("Gets"), seen.number("Fib"), seen.number("Grow"), unwound];
            let names =
                FUNCTIONS.map(|function| [function.to_owned(), format!("{function}%return")]);
            let expected: BTreeMap<&str, u64> = names
                .iter()
                .zip(calls)
                .flat_map(|(names, calls)| names.iter().map(move |name| (name.as_str(), calls)))
                .collect();
            assert_eq!(seen.counts(), expected, "{release} {flags:?}");
            let panicked =
                trace(&app, &["count", "--filter", "panicked == true", "func:main.unwound%return"]);
            assert_eq!(panicked.counts()["main.unwound%return"], panicked.number("Unwound"));
        }
    }
}

#[test]
fn injected_probes_measure_each_call_of_their_functions() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for release in releases() {
        let app = build(release, &[]);
        for backend in backends() {
            for function in FUNCTIONS {
                let glob = format!("func:{function}");
                let seen = trace(&app, &["latency", "--backend", backend, &glob]);
                assert!(uses_injected(&seen), "{}", seen.notices);
                let unwound = seen.number("Unwound") + seen.number("Returned");
                let calls = [seen.number("Gets"), seen.number("Fib"), seen.number("Grow"), unwound];
                let calls = FUNCTIONS.iter().zip(calls).find(|(name, _)| **name == function);
                let expected = BTreeMap::from([(function, calls.unwrap().1)]);
                assert_eq!(seen.counts(), expected, "{backend} {}", seen.summary);
                for count in
                    ["unmatched_starts", "unmatched_ends", "overwritten", "too_deep", "dropped"]
                {
                    assert_eq!(seen.summary[count], 0, "{count} {backend}: {}", seen.summary);
                }
            }
        }
        // Labels of the entry, and of the return.
        let seen = trace(&app, &["latency", "--by", "key", "func:main.(*store).Get"]);
        assert!(uses_injected(&seen), "{}", seen.notices);
        let keys: Vec<&str> =
            seen.lines.iter().map(|row| row["labels"]["key"].as_str().unwrap()).collect();
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert!(seen.lines.iter().all(|row| row["count"] == seen.number("Gets") / 4));
        // A filter, and a function without injected probes, are measured in the code.
        for more in [&["--filter", "key == \"a\""][..], &["--sample", "2"]] {
            let seen = trace(&app, &[&["latency"], more, &["func:main.(*store).Get"]].concat());
            assert!(!uses_injected(&seen), "{}", seen.notices);
        }
        let seen = trace(&app, &["latency", "func:main.*e*"]);
        assert!(!uses_injected(&seen), "{}", seen.notices);
        assert!(seen.notices.contains("not all of the functions have injected probes"));
    }
}

#[test]
fn injected_probes_show_what_is_asked_for_or_are_not_used() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build(releases()[1], &[]);
    let get = "func:main.(*store).Get";
    let both = [get, "func:main.(*store).Get%return"];
    let seen = trace(&app, &[&["trace"], &both[..]].concat());
    assert!(uses_injected(&seen), "{}", seen.notices);
    for pair in seen.lines.chunk_by(|a, b| a["goid"] == b["goid"]) {
        for event in pair {
            let args = &event["args"];
            match event["probe"].as_str().unwrap() {
                "main.(*store).Get" => assert!(args["key"].is_string(), "{event}"),
                _ if args["ret1"].is_null() => {
                    assert!(["alpha", "beta"].iter().any(|v| args["ret0"] == *v), "{event}");
                }
                _ => assert!(args["ret1"].as_str().unwrap().contains("no such key"), "{event}"),
            }
        }
    }
    let seen = trace(&app, &["trace", "--arg", "k=key", "--arg", "attempt", get]);
    assert!(uses_injected(&seen), "{}", seen.notices);
    assert!(seen.lines.iter().all(|event| {
        let args = event["args"].as_object().unwrap();
        args.keys().eq(["k", "attempt"]) || args.keys().eq(["attempt", "k"])
    }));
    let seen = trace(&app, &["count", "--by", "key", "--filter", "attempt > 1", get]);
    assert!(uses_injected(&seen), "{}", seen.notices);
    assert_eq!(seen.counts()["main.(*store).Get"], seen.number("Gets") / 2);
    let failed = "ret1 != nil";
    let seen = trace(&app, &["count", "--filter", failed, both[1]]);
    assert!(uses_injected(&seen), "{}", seen.notices);
    assert_eq!(seen.counts()["main.(*store).Get%return"], seen.number("Missing"));
    // The probe does not show the receiver.
    let seen = trace(&app, &["trace", "--arg", "s.name", get]);
    assert!(!uses_injected(&seen), "{}", seen.notices);
    let message =
        "uses the code of func:main.(*store).Get: the injected probe does not show `s.name`";
    assert!(seen.notices.contains(message), "{}", seen.notices);
    assert!(seen.lines.iter().all(|event| event["args"]["s.name"] == "first"));
}

#[test]
fn lists_the_injected_probes_of_functions() {
    let app = build(releases()[1], &[]);
    let shown = stdout(command("usdt-attach").args(["list", app.as_str(), "func:main.fib"]));
    assert_eq!(shown, "func:main.fib(n int) int  injected main:fib__entry\n");
    let of_probes = list_probes(&app.path);
    let entry = of_probes.iter().find(|probe| probe["probe"] == "fib__return").unwrap();
    assert_eq!(entry["schema"]["symbol"], "main.fib%return");
    let mut list = command("usdt-attach");
    let of_functions =
        json_lines(&stdout(list.args(["list", "--json", app.as_str(), "func:main.fib%return"])));
    assert_eq!(of_functions.len(), 1);
    assert_eq!(of_functions[0]["injected"], "main:fib__return");
    assert_eq!(of_functions[0]["address"], entry["address"]);
}
