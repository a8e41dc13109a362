//! Values of probes that usdt-gen has not generated: strings with any length, strings that are not in
//! memory yet, floating-point notes, and operands of 16 bytes.
#![cfg(target_arch = "x86_64")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use usdt_e2e::containment::Cgroup;
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, backends, command, copy, events_and_summary, have, root,
    stdout, text, tools, usdt_gen, wait_for,
};

/// Builds a C program and returns its path.
fn build(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (file, program) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&file, source).unwrap();
    stdout(command("gcc").arg("-O1").arg("-o").arg(&program).arg(&file));
    program
}

const SIGUSR1: i32 = 10;

/// The back ends that this machine has.
/// Traces a command and returns its events and the standard error.
fn trace(args: &[&str], program: &[&str]) -> (Vec<Value>, String) {
    let out = attach(&[&["trace", "--json"], args, &["--"], program].concat());
    let errors = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{errors}");
    (events_and_summary(&text(&out.stdout)).0, errors)
}

/// The arguments of all events, by probe.
fn by_probe(events: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in events {
        out.entry(event["probe"].as_str().unwrap().to_owned())
            .or_default()
            .push(event["args"].clone());
    }
    out
}

/// Counts by an argument and returns the rows as `probe, value, count`.
fn counts(args: &[&str], program: &[&str]) -> Vec<(String, Value, u64)> {
    let out = attach(&[&["count", "--json"], args, &["--"], program].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let rows = text(&out.stdout);
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut rows: Vec<_> = rows
        .filter(|row| row.get("summary").is_none())
        .map(|row| {
            let label = row["labels"].as_object().unwrap().values().next().cloned();
            let count = row["count"].as_u64().unwrap();
            (row["probe"].as_str().unwrap().to_owned(), label.unwrap_or_default(), count)
        })
        .collect();
    rows.sort_by_key(|row| row.0.clone());
    rows
}

const LENGTHS: &str = r#"
#include <stdint.h>
#include <sys/sdt.h>
int main(void) {
  const char t[] = "not-ended-by-NUL|tail";
  for (int i = 1; i <= 3; i++) {
    DTRACE_PROBE3(s, u64, t, (uint64_t)16, i);
    DTRACE_PROBE3(s, i64, t, (int64_t)16, i);
    DTRACE_PROBE3(s, u32, t, (uint32_t)16, i);
    DTRACE_PROBE3(s, i32, t, (int)16, i);
    DTRACE_PROBE3(s, u16, t, (uint16_t)16, i);
    DTRACE_PROBE3(s, i8, t, (int8_t)16, i);
    DTRACE_PROBE3(s, negative, t, (int)-1, i);
    DTRACE_PROBE3(s, swapped, (uint32_t)16, t, i);
  }
  return 0;
}
"#;

#[test]
fn reads_strings_with_lengths_of_any_size() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), "lengths", LENGTHS);
    let program = [program.to_str().unwrap()];
    let probes = ["u64", "i64", "u32", "i32", "u16", "i8", "negative", "swapped"];
    let declared: String = probes.map(|p| format!("probe {p}(string t, int i); ")).concat();
    let (definition, schema) = (folder.path().join("s.d"), folder.path().join("s.json"));
    std::fs::write(&definition, format!("provider s {{ {declared} }};")).unwrap();
    std::fs::write(&schema, usdt_gen(&["schema", definition.to_str().unwrap()]).stdout).unwrap();
    let schema = schema.to_str().unwrap();
    for backend in backends() {
        let (events, errors) = trace(&["--backend", backend, "--schema", schema], &program);
        assert!(
            errors.contains("`t` of s:swapped is printed as a number: it has 4 bytes"),
            "{errors}"
        );
        let unreadable = |event: &&Value| event.get("unreadable").is_some();
        assert_eq!(events.iter().filter(unreadable).count(), 3, "{events:?}");
        for (probe, values) in by_probe(events) {
            for (i, value) in (1..).zip(values) {
                let expected = match probe.as_str() {
                    "negative" => Value::Null,
                    "swapped" => json!(16),
                    _ => json!("not-ended-by-NUL"),
                };
                assert_eq!(value, json!({"t": expected, "i": i}), "{backend} {probe}");
            }
        }
        let options = ["--backend", backend, "--schema", schema];
        let rows = counts(&[&options[..], &["--by", "t", "s:*"]].concat(), &program);
        let string = json!("not-ended-by-NUL");
        let expected = ["i32", "i64", "i8", "negative", "u16", "u32", "u64"].map(|probe| {
            let label = if probe == "negative" { Value::Null } else { string.clone() };
            (probe.to_owned(), label, 3)
        });
        assert_eq!(rows, expected, "{backend}");
        for filter in ["t == 'not-ended-by-NUL'", "t == 'not*'"] {
            let rows = counts(&[&options[..], &["--filter", filter, "s:i32"]].concat(), &program);
            assert_eq!(rows, [("i32".to_owned(), Value::Null, 3)], "{backend} {filter}");
            let rows =
                counts(&[&options[..], &["--filter", filter, "s:negative"]].concat(), &program);
            assert!(rows.iter().all(|row| row.2 == 0), "{backend} {filter}: {rows:?}");
        }
    }
}

/// The length is in memory that does not exist.
const UNREADABLE_LENGTH: &str = r#"
#include <sys/sdt.h>
int main(void) {
  for (int i = 0; i < 3; i++)
    __asm__ volatile(STAP_PROBE_ASM(s, faulted, 8@%%rdi 8@(%%rsi)) : : "D"("text"), "S"(8L));
  return 0;
}
"#;

/// A length that cannot be read is not 0: no filter matches the string, and it is no key.
#[test]
fn a_string_without_a_readable_length_is_not_empty() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), "faulted", UNREADABLE_LENGTH);
    let program = [program.to_str().unwrap()];
    let (definition, schema) = (folder.path().join("s.d"), folder.path().join("s.json"));
    std::fs::write(&definition, "provider s { probe faulted(string t); };").unwrap();
    std::fs::write(&schema, usdt_gen(&["schema", definition.to_str().unwrap()]).stdout).unwrap();
    let schema = schema.to_str().unwrap();
    for backend in backends() {
        let options = ["--backend", backend, "--schema", schema];
        let (events, _) = trace(&options, &program);
        assert_eq!(events.len(), 3, "{backend}");
        assert!(events.iter().all(|event| event["unreadable"] == json!(["t"])), "{events:?}");
        for filter in ["t == ''", "t == '*'"] {
            let rows =
                counts(&[&options[..], &["--filter", filter, "s:faulted"]].concat(), &program);
            assert!(rows.iter().all(|row| row.2 == 0), "{backend} {filter}: {rows:?}");
        }
        let rows = counts(&[&options[..], &["--by", "t", "s:faulted"]].concat(), &program);
        assert_eq!(rows, [], "{backend}");
    }
}

const NOTES: &str = r#"
#include <sys/sdt.h>
int main(void) {
  volatile double d = 1.5;
  volatile float f = -2.25f;
  DTRACE_PROBE2(notes, floats, d, f);
  const char *text = "text";
  short number = -2;
  DTRACE_PROBE2(notes, text, 1, text);
  DTRACE_PROBE2(notes, number, 2, number);
  return 0;
}
"#;

/// The note says that an operand is a floating-point number or too small for a pointer.
#[test]
fn the_note_decides_what_a_value_is() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), "notes", NOTES);
    let program = [program.to_str().unwrap()];
    for backend in backends() {
        let (events, errors) = trace(&["--backend", backend, "--cstring", "arg1"], &program);
        assert_eq!(errors.matches("so it is not a pointer to a string").count(), 2, "{errors}");
        assert_eq!(
            by_probe(events),
            BTreeMap::from([
                ("floats".to_owned(), vec![json!({"arg0": 1.5, "arg1": -2.25})]),
                ("text".to_owned(), vec![json!({"arg0": 1, "arg1": "text"})]),
                ("number".to_owned(), vec![json!({"arg0": 2, "arg1": -2})]),
            ]),
            "{backend}"
        );
        for (filter, expected) in [("arg0 > 1.0", 1), ("arg0 > 1.5", 0), ("arg1 == -2.25", 1)] {
            let options = ["--backend", backend, "--filter", filter, "notes:floats"];
            assert_eq!(trace(&options, &program).0.len(), expected, "{backend} {filter}");
        }
    }
}

/// An operand of 16 bytes, as compilers may write it for `__int128`. Only the note is written by hand.
#[test]
fn prints_operands_of_16_bytes_as_hexadecimal() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let source = crate::verification::ASSEMBLY
        .replace("-4@%eax", "16@wide(%rip) 4@wide(%rip)")
        .replace("    .section .probes", "    .data\nwide:\n    .8byte 1, 2\n    .section .probes");
    let folder = tempfile::tempdir().unwrap();
    let (file, program) = (folder.path().join("p.S"), folder.path().join("p"));
    std::fs::write(&file, source).unwrap();
    stdout(command("cc").arg("-o").arg(&program).arg(&file));
    for backend in backends() {
        let (events, _) = trace(&["--backend", backend], &[program.to_str().unwrap()]);
        assert!(!events.is_empty());
        for event in events {
            let wide = "0x00000000000000020000000000000001";
            assert_eq!(event["args"], json!({"arg0": wide, "arg1": 1}), "{backend}");
            assert_eq!(event["hex"], json!(["arg0"]));
        }
    }
    let filtered = attach(&["count", "--by", "arg0", "--", program.to_str().unwrap()]);
    assert_eq!(filtered.status.code(), Some(2));
    assert!(text(&filtered.stderr).contains("has 16 bytes"), "{}", text(&filtered.stderr));
}

/// The content of the file that `cold.c` maps.
fn cold_file(folder: &Path) -> PathBuf {
    let mut content = vec![b'x'; 4 * 4096];
    content[..13].copy_from_slice(b"at the start\0");
    content[4090..4105].copy_from_slice(b"crosses a page\0");
    let path = folder.join("pages");
    std::fs::write(&path, content).unwrap();
    // A page that has not been written to the disk stays in memory.
    stdout(command("sync").arg(&path));
    path
}

/// A folder on the disk of the build: `/tmp` may be in memory.
fn disk_folder() -> tempfile::TempDir {
    let parent = root().join("target/e2e");
    std::fs::create_dir_all(&parent).unwrap();
    tempfile::tempdir_in(parent).unwrap()
}

#[test]
fn reads_strings_of_pages_that_are_not_in_memory() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = disk_folder();
    let source = std::fs::read_to_string(root().join("tests/c/cold.c")).unwrap();
    let program = build(folder.path(), "cold", &source);
    let file = cold_file(folder.path());
    let program = [program.to_str().unwrap(), file.to_str().unwrap()];
    let (definition, schema) = (folder.path().join("c.d"), folder.path().join("c.json"));
    std::fs::write(&definition, "provider cold { probe counted(string arg0, int i); };").unwrap();
    std::fs::write(&schema, usdt_gen(&["schema", definition.to_str().unwrap()]).stdout).unwrap();
    let schema = schema.to_str().unwrap();
    for backend in backends() {
        // The longest strings do not fit on the stack of a BPF program.
        for max in ["16", "128", "2048"] {
            let options = ["--backend", backend, "--cstring", "arg1", "--max-string", max];
            let (events, errors) = trace(&[&options[..], &["--schema", schema]].concat(), &program);
            assert_eq!(events.len(), 15, "{errors}");
            assert!(errors.contains("3 events have a string that could not be read"), "{errors}");
            for (probe, values) in by_probe(events) {
                for (i, value) in (0..).zip(values) {
                    let expected = match probe.as_str() {
                        "start" => json!({"arg0": i, "arg1": "at the start"}),
                        "crossing" => json!({"arg0": i, "arg1": "crosses a page"}),
                        "literal" => json!({"arg0": i, "arg1": "a literal"}),
                        "counted" => json!({"arg0": "crosses a page", "i": i}),
                        _ => json!({"arg0": i, "arg1": null}),
                    };
                    assert_eq!(value, expected, "{backend} {max} {probe}");
                }
            }
        }
        let options = ["--backend", backend];
        for (probe, string) in [("cold:start", "at the start"), ("cold:crossing", "crosses a page")]
        {
            let rows = counts(&[&options[..], &[probe, "--by", "str(arg1)"]].concat(), &program);
            assert_eq!(rows, [(probe[5..].to_owned(), json!(string), 3)], "{backend}");
            let filter = format!("str(arg1) == '{string}'");
            let rows = counts(&[&options[..], &[probe, "--filter", &filter]].concat(), &program);
            assert_eq!(rows, [(probe[5..].to_owned(), Value::Null, 3)], "{backend} {filter}");
        }
        let rows = counts(
            &[&options[..], &["cold:counted", "--schema", schema, "--by", "arg0"]].concat(),
            &program,
        );
        assert_eq!(rows, [("counted".to_owned(), json!("crosses a page"), 3)], "{backend}");
    }
    if have(&[Need::Bcc]) {
        assert_eq!(
            strings_of_a_c_program(folder.path(), &program),
            ["a literal: 3", "crosses a page: 3"]
        );
    }
}

/// Runs a C program that counts strings, and returns its rows as `string: count`.
fn strings_of_a_c_program(folder: &Path, program: &[&str]) -> Vec<String> {
    let count = |probe: &str| {
        format!(
            "USDT(cold, {probe}) {{\n  struct key key = {{}};\n\
             \x20 usdt_text(cold, {probe}, arg1, key.text, sizeof(key.text));\n\
             \x20 seen.increment(key);\n  return 0;\n}}\n"
        )
    };
    let header = "struct key { char text[32]; };\nBPF_HASH(seen, struct key, u64);\n";
    let source = folder.join("strings.c");
    let functions = [count("crossing"), count("literal")].concat();
    std::fs::write(&source, format!("{header}{functions}")).unwrap();
    let options = ["run", source.to_str().unwrap(), "--cstring", "arg1", "--json", "--"];
    let out = attach(&[&options[..], program].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let rows = text(&out.stdout);
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut rows: Vec<String> = rows
        .map(|row| format!("{}: {}", row["key"]["text"].as_str().unwrap(), row["value"]))
        .collect();
    rows.sort();
    rows
}

/// A program that tests a cgroup cannot wait for a page, as on kernels before 6.0. Then constants come
/// from the file.
#[test]
fn reads_constants_from_their_file_if_the_kernel_cannot() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = disk_folder();
    let source = std::fs::read_to_string(root().join("tests/c/cold.c")).unwrap();
    let app = copy(&build(folder.path(), "cold", &source));
    let pages = cold_file(folder.path());
    let group = Cgroup::new().unwrap();
    for backend in backends() {
        let arguments = format!("{} wait", pages.display());
        let target = Process::start(&mut group.command("", &app, &arguments));
        target.wait_for_exec(&app.path);
        let tracer = Process::start(command(tools().join("usdt-attach")).args([
            "trace",
            "--json",
            "--backend",
            backend,
            "--cstring",
            "arg1",
            "--events",
            "6",
            "--cgroup",
            group.path().to_str().unwrap(),
            "cold:literal",
            "cold:absent",
        ]));
        wait_for("the tracer", || tracer.is_attached());
        let filter = ["--filter", "str(arg1) == \"a literal\"", "--duration", "1ms"];
        let path = group.path();
        let cgroup = ["--cgroup", path.to_str().unwrap(), "cold:literal"];
        let options = ["trace", "--backend", backend];
        let filtered = attach(&[&options[..], &filter, &cgroup].concat());
        let note = "note: a string that is not in memory when its probe fires does not match";
        assert!(text(&filtered.stderr).contains(note), "{}", text(&filtered.stderr));
        target.signal(SIGUSR1);
        let (_, out, errors) = tracer.finish();
        assert!(errors.contains("3 events have a string that could not be read"), "{errors}");
        let seen = by_probe(events_and_summary(&out).0);
        for (i, value) in (0..).zip(&seen["literal"]) {
            assert_eq!(*value, json!({"arg0": i, "arg1": "a literal"}), "{backend}");
        }
        assert!(seen["absent"].iter().all(|args| args["arg1"].is_null()), "{seen:?}");
        assert_eq!((seen["literal"].len(), seen["absent"].len()), (3, 3));
    }
}

/// Generated Go code reads the part of a string that a tracer copies before it fires a probe.
#[test]
fn reads_long_go_strings_of_pages_that_are_not_in_memory() {
    if !have(&[Need::Bpf, Need::Program("go")]) {
        return;
    }
    let folder = disk_folder();
    let app = copy(&Fixture::get("cold", Mode::Sealed));
    let program = [app.as_str(), folder.path().to_str().unwrap()];
    for (backend, max) in backends().into_iter().flat_map(|b| [(b, "64"), (b, "2048")]) {
        let options = ["--backend", backend, "--max-string", max, "e2e:hit"];
        let (events, _) = trace(&options, &program);
        let lengths: Vec<_> = events.iter().map(|e| e["args"]["n"].as_u64().unwrap()).collect();
        assert_eq!(lengths, [0, 4, 100, 4096, 9000]);
        for event in events {
            let length = event["args"]["n"].as_u64().unwrap() as usize;
            let expected: String =
                "abcdef0123456789".chars().cycle().take(length.min(max.parse().unwrap())).collect();
            assert_eq!(event["args"]["text"], json!(expected), "{backend} {max} {length}");
        }
    }
}
