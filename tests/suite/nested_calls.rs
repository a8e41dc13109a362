//! Nested calls: recursion, lost starts and ends, and nesting deeper than the limit, with both
//! backends.

use serde_json::Value;
use std::collections::BTreeMap;
use usdt_attach::session::MAX_NESTED_CALLS;
use usdt_e2e::{Need, attach, backends, command, have, json_lines, stdout, text, usdt_gen, write};

/// The rows of `usdt-attach latency --json` by their label, and its summary.
struct Latency {
    rows: BTreeMap<i64, Value>,
    summary: Value,
}

const INTERPRETER: [&str; 2] = ["interp:function-entry", "interp:function-return"];

fn latency(backend: &str, label: &str, probes: [&str; 2], program: &[&str]) -> Latency {
    let mut args = vec!["latency", "--json", "--backend", backend, "--by", label];
    args.extend(probes);
    args.push("--");
    args.extend(program);
    let out = attach(&args);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let mut rows = json_lines(&text(&out.stdout));
    let summary = rows.pop().unwrap()["summary"].clone();
    let rows = rows.into_iter().map(|row| (row["labels"][label].as_i64().unwrap(), row));
    Latency { rows: rows.collect(), summary }
}

impl Latency {
    /// The number of values of each row.
    fn counts(&self) -> BTreeMap<i64, u64> {
        self.rows.iter().map(|(label, row)| (*label, row["count"].as_u64().unwrap())).collect()
    }

    /// The numbers of unmatched starts, unmatched ends and calls that were nested too deeply.
    fn unpaired(&self) -> [u64; 3] {
        assert_eq!(
            (&self.summary["dropped"], &self.summary["overwritten"]),
            (&0.into(), &0.into())
        );
        ["unmatched_starts", "unmatched_ends", "too_deep"]
            .map(|name| self.summary[name].as_u64().unwrap())
    }
}

/// Builds `nested.c` in a folder.
fn build(folder: &std::path::Path) -> String {
    let app = folder.join("nested");
    let source = usdt_e2e::root().join("tests/c/nested.c");
    stdout(command("gcc").args(["-O2", "-o"]).arg(&app).arg(source));
    app.to_str().unwrap().to_owned()
}

#[test]
fn latency_measures_every_level_of_a_recursion() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path());
    for backend in backends() {
        let seen = latency(backend, "arg0", INTERPRETER, &[&app, "sleepy", "0"]);
        assert_eq!(seen.counts(), BTreeMap::from([(1, 20), (2, 20), (3, 20)]), "{backend}");
        assert_eq!(seen.unpaired(), [0; 3]);
        for (level, row) in seen.rows {
            let expected = (80 - 20 * level) as u64 * 1_000_000;
            let [min, sum] = ["min", "sum"].map(|name| row[name].as_u64().unwrap());
            assert!(min >= expected, "{backend}: {row}");
            // The machine may be busy, but an inner call takes much less than the outer one.
            assert!(sum / 20 < expected + 20_000_000 * 2, "{backend}: {row}");
        }
    }
}

/// The outermost and the innermost calls are measured, and those between are counted.
#[test]
fn latency_counts_calls_nested_too_deeply() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path());
    let max = i64::from(MAX_NESTED_CALLS);
    for backend in backends() {
        for depth in [max, max + 1, 100] {
            let seen = latency(backend, "arg0", INTERPRETER, &[&app, "deep", &depth.to_string()]);
            let lost = max / 2 + 1..=depth - max / 2;
            let expected: BTreeMap<i64, u64> = (1..=depth)
                .filter(|level| !lost.contains(level))
                .map(|level| (level, 20))
                .collect();
            assert_eq!(seen.counts(), expected, "{backend}");
            let too_deep = 20 * (depth - max) as u64;
            assert_eq!(seen.unpaired(), [0, 0, too_deep], "{backend}");
            // An outer call takes longer than those within it.
            let sums: Vec<u64> = seen.rows.values().map(|r| r["sum"].as_u64().unwrap()).collect();
            assert!(sums.windows(2).all(|pair| pair[0] > pair[1]), "{sums:?}");
        }
    }
    for (depth, message) in [
        ("32", "0 overwritten\n".to_owned()),
        ("33", format!("; 20 calls are not in the histogram: more than {max} were nested\n")),
    ] {
        let out = attach(&[&["latency"], &INTERPRETER[..], &["--", &app, "deep", depth]].concat());
        assert!(text(&out.stderr).ends_with(&message), "{}", text(&out.stderr));
    }
}

#[test]
fn latency_pairs_two_pairs_of_probes_that_call_each_other() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path());
    for backend in backends() {
        for (name, levels) in [("request", [1, 3, 5]), ("query", [2, 4, 6])] {
            let probes = [format!("app:{name}-start"), format!("app:{name}-end")];
            let probes = [probes[0].as_str(), probes[1].as_str()];
            let seen = latency(backend, "arg0", probes, &[&app, "mutual", "6"]);
            assert_eq!(seen.counts(), levels.map(|level| (level, 20)).into(), "{backend}");
            assert_eq!(seen.unpaired(), [0; 3]);
        }
    }
}

/// After a `longjmp`, starts without an end are left. Later calls pair nevertheless, however many
/// there are.
#[test]
fn latency_pairs_after_lost_ends_and_lost_starts() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path());
    for backend in backends() {
        let seen = latency(backend, "arg0", INTERPRETER, &[&app, "errors", "2"]);
        assert_eq!(seen.counts(), BTreeMap::from([(1, 20), (2, 20)]), "{backend}");
        assert_eq!(seen.unpaired(), [60, 0, 0], "{backend}");
        let max = |level: i64| seen.rows[&level]["max"].as_u64().unwrap();
        assert!(max(1) < 1_000_000_000 && max(2) < 1_000_000_000, "{:?}", seen.rows);

        let seen = latency(backend, "arg0", INTERPRETER, &[&app, "ends", "2"]);
        assert_eq!(seen.counts(), BTreeMap::from([(1, 20), (2, 20)]), "{backend}");
        assert_eq!(seen.unpaired(), [0, 40, 0], "{backend}");
    }
}

const GO_PROGRAM: &str = r#"package main

import (
	"sync"

	"example.com/app/probes"
)

// grow moves the goroutine to a larger stack.
func grow(n int) int {
	var array [64]int
	if n == 0 {
		return array[0]
	}
	return grow(n-1) + array[n%64]
}

// call recurses, and starts a goroutine that recurses, too.
func call(level int32, wait *sync.WaitGroup) {
	probes.CallStart(level)
	grow(20 * int(level))
	if level < 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			call(level+1, wait)
		}()
		call(level+1, wait)
	}
	probes.CallEnd()
}

// attempt panics within three calls and recovers, so that no call ends.
func attempt(level int32) {
	defer func() { recover() }()
	var fail func(int32)
	fail = func(level int32) {
		probes.CallStart(level)
		if level == 12 {
			panic("failed")
		}
		fail(level + 1)
		probes.CallEnd()
	}
	fail(level)
}

func main() {
	var wait sync.WaitGroup
	for i := 0; i < 10; i++ {
		attempt(10)
		call(1, &wait)
	}
	wait.Wait()
}
"#;

/// Goroutines have a stack each: they move between threads, and their memory moves when they grow.
/// Panics leave starts without ends.
#[test]
fn latency_pairs_nested_calls_of_goroutines() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let definition = "provider app { probe call__start(int level); probe call__end(); };\n";
    write(folder.path(), "go.mod", "module example.com/app\n\ngo 1.21\n");
    write(folder.path(), "main.go", GO_PROGRAM);
    std::fs::create_dir(folder.path().join("probes")).unwrap();
    let definition = write(folder.path(), "probes/probes.d", definition);
    let out = usdt_gen(&[&definition]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let build = ["build", "-toolexec=usdt-gen toolexec", "-o", "app", "."];
    stdout(command("go").args(build).current_dir(folder.path()));
    let app = folder.path().join("app");
    for backend in backends() {
        let seen =
            latency(backend, "level", ["app:call-start", "app:call-end"], &[app.to_str().unwrap()]);
        // Each call of a level makes two of the next.
        let expected = [(1, 10), (2, 20), (3, 40), (4, 80)];
        assert_eq!(seen.counts(), expected.into(), "{backend}");
        // Three starts of each attempt.
        assert_eq!(seen.unpaired(), [30, 0, 0], "{backend}");
    }
}

/// Nested calls are nested slices of their thread in Perfetto.
#[test]
fn recordings_nest_the_slices_of_a_recursion() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path());
    for (depth, deepest) in [(3, 3), (40, 40)] {
        let file = folder.path().join("trace.json");
        let program = [&app, "deep", &depth.to_string()];
        let mut args = vec!["record", "-o", file.to_str().unwrap(), "interp:*", "--"];
        args.extend(program.map(|part: &str| part));
        let out = attach(&args);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let trace: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let slices: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
        let instants = events.iter().filter(|e| e["ph"] == "i").count();
        let lost = (depth - MAX_NESTED_CALLS as i32).max(0) as usize;
        assert_eq!((slices.len(), instants), (20 * (depth as usize - lost), 20 * 2 * lost));
        let interval = |slice: &Value| {
            let start = slice["ts"].as_f64().unwrap();
            (start, start + slice["dur"].as_f64().unwrap())
        };
        // Slices are written when they end, so an inner one precedes the one around it.
        for pair in slices.windows(2) {
            let level = |slice: &Value| slice["args"]["arg0"].as_i64().unwrap();
            if level(pair[0]) == 1 {
                assert_eq!(level(pair[1]), deepest);
                continue;
            }
            let (inner, outer) = (interval(pair[0]), interval(pair[1]));
            assert!(outer.0 < inner.0 && inner.1 < outer.1, "{} {}", pair[0], pair[1]);
            assert!(level(pair[1]) < level(pair[0]));
        }
    }
}
