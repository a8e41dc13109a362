//! Function probes: values that paths lead to. Times, elements of slices, and what interfaces hold.

use crate::traced_functions::trace;
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::function_programs;
use usdt_e2e::{Need, attach, backends, command, have, stdout, text};

/// A way of building the program.
type Build = (&'static str, &'static [&'static str]);

const NEWEST: &str = TESTED[TESTED.len() - 1];
/// The oldest release with DWARF of this form, the one before the newest, and code that the kernel
/// maps anywhere.
const BUILDS: [Build; 4] = [
    (TESTED_UNMODIFIED[2], &[]),
    (TESTED[TESTED.len() - 2], &["-gcflags=-N -l"]),
    (NEWEST, &[]),
    (NEWEST, &["-buildmode=pie"]),
];

/// Builds the program.
fn build((release, flags): Build) -> PathBuf {
    function_programs::build(("./paths", release, flags)).unwrap()
}

/// Returns the back ends to test with a build: the code that libbcc compiles is the same for all.
fn backends_for(build: Build) -> Vec<&'static str> {
    if build == BUILDS[3] { backends() } else { vec!["embedded"] }
}

/// Runs `trace` with arguments, and returns the values of each event in the order of the arguments.
/// A missing value is `"-"`, and an unreadable one `"?"`.
fn values(app: &Path, backend: &str, probe: &str, paths: &[&str]) -> Vec<Vec<Value>> {
    let arguments = paths.iter().flat_map(|path| ["--arg", path]).collect::<Vec<_>>();
    let seen = trace(app, &[&["trace", "--backend", backend, probe], &arguments[..]].concat());
    assert_eq!(seen.summary["dropped"], 0);
    let value = |event: &Value, path: &str| {
        let is_in = |list: &str| event[list].as_array().is_some_and(|l| l.contains(&json!(path)));
        match (is_in("missing"), is_in("unreadable")) {
            (true, false) => json!("-"),
            (false, true) => json!("?"),
            _ => event["args"].get(path).cloned().unwrap_or_else(|| json!("no such argument")),
        }
    };
    let row = |event: &Value| paths.iter().map(|path| value(event, path)).collect();
    seen.lines.iter().map(row).collect()
}

/// Returns the values of one argument at all hits.
fn column(rows: &[Vec<Value>], index: usize) -> Vec<Value> {
    rows.iter().map(|row| row[index].clone()).collect()
}

#[test]
fn shows_times_with_and_without_a_monotonic_reading() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for build_of in BUILDS {
        let app = build(build_of);
        for backend in backends_for(build_of) {
            let probes = ["func:main.timed", "func:main.timed%return"];
            let paths =
                ["--arg", "when", "--arg", "e.when", "--arg", "end=*e.end", "--arg", "next"];
            let args = [&["trace", "--backend", backend], &probes[..], &paths[..]].concat();
            let seen = trace(&app, &args);
            let of = |probe: &str, name: &str| -> Vec<Value> {
                let events = seen.lines.iter().filter(|event| event["probe"] == probe);
                events.map(|event| event["args"][name].clone()).collect()
            };
            let expected = seen.facts["Times"].as_array().unwrap().clone();
            let fixed = [
                "0001-01-01T00:00:00.000000000Z",
                "2024-02-28T23:34:56.789000001Z",
                "1970-01-01T00:00:00.000000001Z",
                "1600-03-01T00:00:00.000000007Z",
            ];
            assert_eq!([0, 3, 4, 5].map(|index| expected[index].clone()), fixed.map(Value::from));
            assert_eq!(of("main.timed", "when"), expected, "{build_of:?} {backend}");
            assert_eq!(of("main.timed", "e.when"), expected, "{build_of:?} {backend}");
            let reversed: Vec<Value> = expected.iter().rev().cloned().collect();
            assert_eq!(of("main.timed", "end"), reversed, "{build_of:?} {backend}");
            let next = of("main.timed%return", "next");
            assert_eq!(next[0], "0001-01-01T00:00:00.000000001Z");
            assert_eq!(next[3], "2024-02-28T23:34:56.789000002Z");
        }
    }
}

#[test]
fn times_are_shown_by_default_and_cannot_be_compared() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build((NEWEST, &[]));
    let seen = trace(&app, &["trace", "func:main.timed"]);
    assert_eq!(seen.lines[3]["args"], json!({"when": "2024-02-28T23:34:56.789000001Z"}));
    let program = ["--", app.to_str().unwrap()];
    for (args, message) in [
        (
            ["count", "--filter", "when > 3", "func:main.timed"],
            "`when` is a time, which a filter cannot compare; its fields `when.wall` and `when.ext` are integers",
        ),
        (
            ["count", "--by", "when", "func:main.timed"],
            "`when` is a time, which cannot be a label or a key",
        ),
        (
            ["hist", "func:main.timed", "when", "--json"],
            "`when` is a time; a histogram needs an integer",
        ),
    ] {
        let out = attach(&[&args[..], &program].concat());
        let errors = text(&out.stderr);
        assert!(!out.status.success() && errors.contains(message), "{errors}");
    }
    let seen =
        trace(&app, &["count", "--filter", "when.ext == 0 && when.wall == 0", "func:main.timed"]);
    assert_eq!(seen.lines[0]["count"], 1, "the zero time");
}

#[test]
fn reads_elements_below_the_length() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let paths = [
        "names[2]",
        "items[0].ID",
        "items[1].Name",
        "items[2].Tags[1]",
        "text[0]",
        "(*rows)[2][1]",
        "(*rows)[1][0]",
        "items[1].Err",
        "items[3].Start",
        "len(items[3].Tags)",
        "items[3].small",
        "items[9223372036854775807].small",
    ];
    let old = "1600-03-01T00:00:00.000000007Z";
    for build_of in BUILDS {
        let app = build(build_of);
        for backend in backends_for(build_of) {
            let rows = values(&app, backend, "func:main.elements", &paths[..11]);
            for (index, expected) in [
                json!(["-", "-", "-", "two", "two", "-"]),
                json!(["-", 0, 0, 0, 0, "-"]),
                json!(["-", "-", "item1", "item1", "item1", "-"]),
                json!(["-", "-", "-", "one", "one", "-"]),
                json!(["-", 116, 116, 116, 116, "-"]),
                json!([8, 8, 8, 8, 8, 8]),
                json!(["-", "-", "-", "-", "-", "-"]),
                json!(["-", "-", null, null, "of an element", "-"]),
                json!(["-", "-", "-", "-", old, "-"]),
                json!(["-", "-", "-", "-", 3, "-"]),
                json!(["-", "-", "-", "-", -3, "-"]),
            ]
            .into_iter()
            .enumerate()
            {
                let found = Value::from(column(&rows, index));
                assert_eq!(found, expected, "{}: {build_of:?} {backend}", paths[index]);
            }
        }
    }
    let seen = trace(&build(BUILDS[2]), &["trace", "--arg", paths[11], "func:main.elements"]);
    assert!(seen.notices.contains("has no element 9223372036854775807"), "{}", seen.notices);
}

#[test]
fn reads_what_interfaces_hold_if_they_have_the_type() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let paths = [
        "v",
        "r",
        "v.(*main.pair).right",
        "v.(main.pair).left",
        "v.(main.single).only.right",
        "v.(main.level)",
        "v.(string)",
        "v.(main.box[int]).value",
        "v.([]string)[1]",
        "len(v.(map[string]int))",
        "err.(*fs.PathError).Path",
        "err.(*io/fs.PathError).Err",
        "r.(*main.conn).inner.(*main.conn).peer",
    ];
    let only = |position: usize, value: Value| -> Value {
        (0..10).map(|n| if n == position { value.clone() } else { json!("-") }).collect()
    };
    let path = [json!("-"), json!("/none"), json!("-"), json!("/some")];
    let cause = [json!("-"), json!("file does not exist"), json!("-"), json!("inner")];
    let by_four =
        |values: &[Value; 4]| -> Value { (0..10).map(|n| values[n % 4].clone()).collect() };
    let second: Value =
        (0..10).map(|n| if n % 3 == 1 { json!("second") } else { json!("-") }).collect();
    let readers: Value = (0..10)
        .map(|n| [json!(null), json!("*main.conn"), json!("*strings.Reader")][n % 3].clone())
        .collect();
    let types = json!([
        null,
        "*main.pair",
        "main.pair",
        "main.single",
        "main.level",
        "string",
        "main.box[int]",
        "[]string",
        "map[string]int",
        "int"
    ]);
    let expected = [
        types,
        readers,
        only(1, json!(4)),
        only(2, json!(-3)),
        only(3, json!(4)),
        only(4, json!(5)),
        only(5, json!("text")),
        only(6, json!(6)),
        only(7, json!("b")),
        only(8, json!(1)),
        by_four(&path),
        by_four(&cause),
        second,
    ];
    for build_of in BUILDS {
        let app = build(build_of);
        for backend in backends_for(build_of) {
            // Each value has bits of its own that say whether it exists and could be read.
            for half in [0..7, 7..13] {
                let rows = values(&app, backend, "func:main.dynamic", &paths[half.clone()]);
                for (column_index, index) in half.enumerate() {
                    let found = Value::from(column(&rows, column_index));
                    assert_eq!(found, expected[index], "{}: {build_of:?} {backend}", paths[index]);
                }
            }
            let results = ["ret1.(*fs.PathError).Op", "ret0.(*main.pair).left"];
            let rows = values(&app, backend, "func:main.dynamic%return", &results);
            let ops = json!(["-", "open", "-", "close", "-", "open", "-", "close", "-", "open"]);
            assert_eq!(Value::from(column(&rows, 0)), ops, "{build_of:?} {backend}");
            assert_eq!(Value::from(column(&rows, 1)), only(1, json!(-3)));
        }
    }
}

#[test]
fn filters_and_labels_name_elements_and_dynamic_types() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build((NEWEST, &["-buildmode=pie"]));
    for backend in backends() {
        let count = |probe: &str, filter: &str| -> u64 {
            let seen = trace(&app, &["count", "--backend", backend, "--filter", filter, probe]);
            seen.lines.iter().map(|row| row["count"].as_u64().unwrap()).sum()
        };
        let (elements, dynamic) = ("func:main.elements", "func:main.dynamic");
        assert_eq!(count(elements, "names[2] == 'two'"), 2);
        assert_eq!(count(elements, "items[1].ID == 10 && text[2] == 120"), 2);
        assert_eq!(count(elements, "names[2] != 'two'"), 0, "a value that does not exist");
        assert_eq!(count(dynamic, "err.(*fs.PathError).Path == '/none'"), 3);
        assert_eq!(count(dynamic, "v.(main.level) > 4 || v.(string) == 'te*'"), 2);
        assert_eq!(count(dynamic, "v == nil"), 1);
        assert_eq!(count(dynamic, "err.(*errors.errorString).s == 'plain'"), 2, "a message");
        assert_eq!(count(dynamic, "len(v.([]string)) == 2"), 1);
        let path = "err.(*fs.PathError).Path";
        let by = trace(&app, &["count", "--backend", backend, "--by", path, dynamic]);
        let mut rows: Vec<(&str, u64)> = by
            .lines
            .iter()
            .map(|row| (row["labels"][path].as_str().unwrap(), row["count"].as_u64().unwrap()))
            .collect();
        rows.sort_unstable();
        assert_eq!(rows, [("/none", 3), ("/some", 2)], "{}", by.summary);
    }
}

#[test]
fn finds_dynamic_types_of_a_stripped_program() {
    if !have(&[Need::Bpf, Need::Program("objcopy")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = build((NEWEST, &["-buildmode=pie"]));
    let (stripped, debug) = (folder.path().join("stripped"), folder.path().join("debug"));
    for (option, out) in [("--strip-all", &stripped), ("--only-keep-debug", &debug)] {
        stdout(Command::new("objcopy").arg(option).arg(&whole).arg(out));
    }
    let seen = trace(
        &stripped,
        &[
            "trace",
            "--debug",
            debug.to_str().unwrap(),
            "--arg",
            "path=err.(*fs.PathError).Path",
            "func:main.dynamic",
        ],
    );
    assert_eq!(seen.lines[1]["args"]["path"], "/none");
    assert_eq!(seen.lines[2]["missing"], json!(["path"]));
}

#[test]
fn says_why_a_type_assertion_leads_to_no_value() {
    let app = build((NEWEST, &[]));
    let list = |path: &str| {
        let mut tracer = command("usdt-attach");
        tracer.args([
            "trace",
            "--arg",
            path,
            "func:main.dynamic",
            "func:main.dynamic%return",
            "--",
        ]);
        text(&tracer.arg(&app).output().unwrap().stderr)
    };
    if !have(&[Need::Bpf]) {
        return;
    }
    for (path, message) in [
        (
            "err.(*fs.Nope).Path",
            "`err` has no dynamic type `*fs.Nope`: the debug information describes no such type of a value in an interface; write the type as in `%T`, such as `*fs.PathError`",
        ),
        (
            "err.Path",
            "`err` of type `error` is an interface; name the type that it holds, such as `.(*fs.PathError)`",
        ),
        (
            "err.(*fs.PathError).Nope",
            "`err.(*fs.PathError)` of type `io/fs.PathError` has no field `Nope`; it has `Op`, `Path`, `Err`",
        ),
        ("round.(int)", "`round` of type `int` is not an interface, so it has one type only"),
        ("err.(", "`err.(` is not a path to a value: expected a type and `)` at the end"),
    ] {
        let messages = list(path);
        assert!(messages.contains(message), "{path}: {messages}");
    }
}
