//! Notes of functions that `usdt-gen seal --function` writes: other tracers hit the functions as
//! often as `usdt-attach` and see the same arguments.

use gobinary::supported_releases::TESTED;
use serde_json::Value;
use std::collections::BTreeMap;
use usdt_e2e::{
    Copy, Need, attach, command, go_of, have, json_lines, list_probes, output, root, stdout, text,
    usdt_gen,
};

/// Builds the program of function probes, and describes functions in it.
fn build(release: &str, flags: &[&str], functions: &[&str]) -> Copy {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    let mut go = go_of(release);
    go.args(["build", "-o"]).arg(&path).args(flags).arg(".");
    output(go.current_dir(root().join("tests/go/functions"))).unwrap();
    let app = Copy { path, folder };
    let sealed = seal(&app, functions);
    assert_eq!(sealed, "");
    app
}

/// Seals a program in place and returns the messages.
fn seal(app: &Copy, functions: &[&str]) -> String {
    let selectors = functions.iter().flat_map(|function| ["--function", *function]);
    let out = usdt_gen(&["seal", app.as_str()].into_iter().chain(selectors).collect::<Vec<_>>());
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stderr)
}

/// The functions, the names of their notes, and the names of the facts with their calls.
const FUNCTIONS: [(&str, &str, &str); 6] = [
    ("main.(*store).Get", "main_store_Get", "Gets"),
    ("main.(*store).Get%return", "main_store_Get__return", "Gets"),
    ("main.fib", "main_fib", "Fib"),
    ("main.fib%return", "main_fib__return", "Fib"),
    // Each of these calls grows the stack, and executes the stack check twice.
    ("main.grow", "main_grow", "Grow"),
    ("main.unwound%return", "main_unwound__return", "Returned"),
];

/// The counts of `[NAME]: COUNT` lines of bpftrace.
fn counts_of_bpftrace(out: &str) -> BTreeMap<String, u64> {
    let counts = out.lines().filter_map(|line| {
        let (name, count) = line.strip_prefix("@[")?.split_once("]: ")?;
        Some((name.rsplit(':').next()?.to_owned(), count.parse().ok()?))
    });
    counts.collect()
}

#[test]
fn bpftrace_hits_functions_as_often_as_usdt_attach() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let flags: [&[&str]; 3] = [&[], &["-ldflags=-s -w"], &["-buildmode=pie", "-ldflags=-s -w"]];
    for release in [TESTED[0], TESTED[TESTED.len() - 1]] {
        for flags in flags {
            let app = build(release, flags, &FUNCTIONS.map(|(function, ..)| function));
            let facts_file = app.folder.path().join("facts.json");
            let facts_file = facts_file.to_str().unwrap();
            let read = || -> Value {
                serde_json::from_slice(&std::fs::read(facts_file).unwrap()).unwrap()
            };
            let number = |facts: &Value, name: &str| facts[name].as_u64().unwrap();
            let globs = FUNCTIONS.map(|(function, ..)| format!("func:{function}"));
            let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
            let program = ["--", app.as_str(), facts_file];
            let out = attach(&[&["count", "--json"], &globs[..], &program].concat());
            let mut rows = json_lines(&text(&out.stdout));
            rows.pop();
            let facts = read();
            let row = |name: &str| rows.iter().find(|row| row["probe"] == name).unwrap();
            for (function, _, fact) in FUNCTIONS {
                assert_eq!(row(function)["count"], number(&facts, fact), "{function} {flags:?}");
            }
            let path = app.as_str();
            let probes = FUNCTIONS.map(|(_, note, _)| format!("usdt:{path}:func:{note}"));
            let script = format!("{} {{ @[probe] = count(); }}", probes.join(", "));
            let run = format!("{path} {facts_file}");
            let out = stdout(command("bpftrace").args(["-q", "-e", &script, "-c", &run]));
            let (counts, facts) = (counts_of_bpftrace(&out), read());
            for (_, note, fact) in FUNCTIONS {
                assert_eq!(counts[note], number(&facts, fact), "{note} {release} {flags:?}");
            }
        }
    }
}

#[test]
fn bpftrace_reads_the_arguments_of_functions() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let functions = ["main.(*store).Get", "main.kinds", "main.kinds%return"];
    let app = build(TESTED[TESTED.len() - 1], &[], &functions);
    let path = app.as_str();
    let script = format!(
        "usdt:{path}:func:main_store_Get {{ @[str(arg1, arg2)] = count(); }} \
         usdt:{path}:func:main_kinds {{ printf(\"entry %d %d %lld %s\\n\", arg0, (int8)arg1, arg2, str(arg3, arg4)); }} \
         usdt:{path}:func:main_kinds__return {{ printf(\"return %d %d\\n\", (int32)arg0, arg1); }}"
    );
    let facts = app.folder.path().join("facts.json");
    let run = format!("{path} {} 2", facts.display());
    let out = stdout(command("bpftrace").args(["-q", "-e", &script, "-c", &run]));
    let counts = counts_of_bpftrace(&out);
    assert_eq!(counts.len(), 4, "{out}");
    assert!(["a", "b", "c", "dddd"].iter().all(|key| counts[*key] == 16), "{out}");
    let count = |start: &str| out.lines().filter(|line| line.starts_with(start)).count();
    // Eight goroutines call it twice: with true, and with false.
    assert_eq!(count("entry 1 -5 1099511627776 text"), 8, "{out}");
    assert_eq!(count("entry 0 -5 1099511627776 text"), 8, "{out}");
    assert_eq!((count("return -5 1"), count("return 4 1")), (8, 8), "{out}");
    let out =
        attach(&["trace", "--json", "func:main_store_Get", "--", path, facts.to_str().unwrap()]);
    let mut events = json_lines(&text(&out.stdout));
    assert_eq!(events.pop().unwrap()["summary"]["hits"], 320);
    assert!(events.iter().all(|event| event["args"]["key"].is_string() && event["goid"].is_u64()));
}

#[test]
fn every_tracer_accepts_the_notes_of_functions() {
    let flags = ["-ldflags=-B 0x0123456789abcdef"];
    let app = build(TESTED[TESTED.len() - 1], &flags, &["main.(*store).*", "main.kinds"]);
    let listed = list_probes(&app.path);
    let get = listed.iter().find(|probe| probe["probe"] == "main_store_Get").unwrap();
    assert_eq!((&get["provider"], &get["source"]), (&"func".into(), &"note".into()));
    assert_eq!(get["schema"]["symbol"], "main.(*store).Get");
    // Floating-point registers are not among the arguments.
    let shown = stdout(command("usdt-attach").args(["list", app.as_str(), "func:main_kinds"]));
    let expected =
        "func:main_kinds(bool flag, int8 small, uint64 wide, bytes text, time.Duration wait)";
    assert!(shown.starts_with(expected), "{shown}");
    let verdicts = json_lines(&text(&usdt_gen(&["verify", "--json", app.as_str()]).stdout));
    assert!(
        !verdicts.is_empty() && verdicts.iter().all(|v| v["verdict"] == "accepted"),
        "{verdicts:?}"
    );
    let read = || std::fs::read(&app.path).unwrap();
    let before = read();
    seal(&app, &["main.(*store).*", "main.kinds"]);
    assert_eq!(read(), before, "a second time changes nothing");
    seal(&app, &["main.fib"]);
    let names = |app: &Copy| -> Vec<String> {
        list_probes(&app.path).iter().map(|p| p["probe"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&app), ["main_store_Get", "main_kinds", "main_fib"]);
    let messages = seal(&app, &["main.inlined"]);
    assert!(messages.contains("no note for main.inlined: the compiler inlined"), "{messages}");
    let out = usdt_gen(&["seal", "--function", "main.none", app.as_str()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("no function matches `main.none`"), "{}", text(&out.stderr));
}
