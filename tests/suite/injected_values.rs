//! What injected probes show: values of all types, every way to leave a function, and a program
//! that does not change.

use gobinary::supported_releases::TESTED;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{Copy, Need, attach, command, copy, have, root, stdout, text, tools, write};

/// A module with packages of all kinds.
pub(crate) fn module() -> PathBuf {
    root().join("tests/go/inject")
}

/// Returns a go command of a release in the module, without flags of other builds.
pub(crate) fn go(release: &str, args: &[&str]) -> Command {
    let mut go = command("go");
    go.args(args).current_dir(module());
    go.env("GOTOOLCHAIN", format!("go{release}")).env("GOFLAGS", "");
    go
}

/// Returns a `usdt-gen inject` for a release in the module.
pub(crate) fn inject(release: &str, args: &[&str]) -> Command {
    let mut inject = command(tools().join("usdt-gen"));
    inject.arg("inject").args(args).current_dir(module());
    inject.env("GOTOOLCHAIN", format!("go{release}")).env("GOFLAGS", "");
    inject
}

/// Returns the flags that `usdt-gen inject` prints.
pub(crate) fn flags(release: &str, args: &[&str]) -> String {
    stdout(&mut inject(release, args)).trim().to_owned()
}

/// Builds the program of the module with injected probes.
fn build(release: &str, rules: &str) -> Copy {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    let mut go = go(release, &["build", "-o", path.to_str().unwrap(), "."]);
    stdout(go.env("GOFLAGS", flags(release, &[rules])));
    Copy { path, folder }
}

/// The oldest and the newest supported release.
fn releases() -> [&'static str; 2] {
    [TESTED[0], TESTED[TESTED.len() - 1]]
}

/// The events of the program, without durations and without those of `main` and `strconv`.
const EVENTS: &str = include_str!("injected_values.txt");

#[test]
fn injected_probes_show_values_of_all_types() {
    for release in releases() {
        let program = build(release, "inject.toml");
        super::builds::assert_accepted(&program.path, 52, release);
        if !have(&[Need::Bpf]) {
            continue;
        }
        let out = attach(&["trace", "--json", "*:*", "--", program.as_str()]);
        let (events, summary) = usdt_e2e::events_and_summary(&text(&out.stdout));
        assert_eq!(summary["hits"], events.len(), "{summary}");
        let mut shown = Vec::new();
        for mut event in events {
            let provider = event["provider"].as_str().unwrap().to_owned();
            let probe = event["probe"].as_str().unwrap().to_owned();
            let args = event["args"].as_object_mut().unwrap();
            let duration = args.remove("duration_ns");
            assert_eq!(duration.is_some(), probe.ends_with("__return"), "{provider}:{probe}");
            assert!(duration.is_none_or(|d| d.as_u64().is_some_and(|d| d > 0)), "{probe}");
            assert!(event["goid"].as_u64().is_some_and(|goid| goid > 0), "{event}");
            if provider != "main" && provider != "strconv" {
                shown.push(format!("{provider}:{probe} {}", event["args"]));
            }
        }
        // Objects are compared without regard to the order of their fields.
        let parse = |line: &str| {
            let (name, args) = line.split_once(' ').unwrap();
            (name.to_owned(), serde_json::from_str::<Value>(args).unwrap())
        };
        let shown: Vec<_> = shown.iter().map(|line| parse(line)).collect();
        let expected: Vec<_> = EVENTS.lines().map(parse).collect();
        for (shown, expected) in shown.iter().zip(&expected) {
            assert_eq!(shown, expected, "{release}");
        }
        assert_eq!(shown.len(), expected.len(), "{release}");
        // `runtime.Caller` and the names of functions are those of the source, also while traced.
        assert!(text(&out.stderr).contains("lines 49 62 main.run 5\n"), "{}", text(&out.stderr));
    }
}

/// Returns a traceback without what differs between two processes and two builds.
fn traceback(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().skip_while(|line| !line.starts_with("panic: "));
    let lines = lines.map(|line| {
        let line = line.split(" +0x").next().unwrap();
        line.split_once('(')
            .filter(|_| !line.starts_with('\t'))
            .map_or(line, |(name, _)| name)
            .to_owned()
    });
    lines.take_while(|line| !line.starts_with("exit status")).collect()
}

#[test]
fn tracebacks_are_those_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let rules = write(
        folder.path(),
        "rules.toml",
        "[[probe]]\nfunc = \"usdt.local/inject/flow.Deep\"\n[[probe]]\nfunc = \"main.*\"\n",
    );
    for release in releases() {
        let plain = folder.path().join("plain");
        stdout(&mut go(release, &["build", "-o", plain.to_str().unwrap(), "."]));
        let expected = |program: &Path| {
            let out = command(program).arg("panic").output().unwrap();
            assert_eq!(out.status.code(), Some(2));
            traceback(&text(&out.stderr))
        };
        let source = expected(&plain);
        assert!(source.iter().any(|line| line.ends_with("flow/flow.go:99")), "{source:?}");
        for rules in ["inject.toml", rules.as_str()] {
            let program = build(release, rules);
            assert_eq!(expected(&program.path), source, "{release} {rules}");
        }
        if !have(&[Need::Bpf]) {
            continue;
        }
        let program = copy(&build(release, &rules).path);
        let out = attach(&["trace", "--json", "*:*", "--", program.as_str(), "panic"]);
        let traced = traceback(&text(&out.stderr));
        let traced = &traced[..source.len().min(traced.len())];
        assert_eq!(traced, source, "{release}: {}", text(&out.stderr));
        let (events, _) = usdt_e2e::events_and_summary(&text(&out.stdout));
        let returns: Vec<&Value> = events.iter().filter(|e| e["probe"] == "Deep__return").collect();
        assert_eq!(returns.len(), 3, "{events:?}");
        assert!(returns.iter().all(|e| e["args"]["panicked"] == true), "{returns:?}");
    }
}

#[test]
fn constants_name_the_values_of_their_type() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let program = build(TESTED[TESTED.len() - 1], "inject.toml");
    let rows = |args: &[&str]| {
        let out = attach(&[args, &["values:Enums__entry", "--", program.as_str()]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let lines = text(&out.stdout);
        let mut rows: Vec<String> = lines
            .lines()
            .filter(|line| line.contains("Enums__entry"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(
        rows(&["count", "--by", "state"]),
        [
            "1 values:Enums__entry state=\"StateActive\"",
            "1 values:Enums__entry state=\"StateBroken\"",
            "1 values:Enums__entry state=\"StateIdle\"",
            "1 values:Enums__entry state=7",
        ]
    );
    assert_eq!(
        rows(&["count", "--filter", "state == \"StateBroken\" || state == 7"]),
        ["2 values:Enums__entry"]
    );
    let list = text(&attach(&["list", "--json", program.as_str()]).stdout);
    assert!(list.contains(r#"{"value":-1,"name":"StateBroken"}"#), "{list}");
}
