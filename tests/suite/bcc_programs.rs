//! User-written C programs, compiled by libbcc: `usdt-attach run`.

use serde_json::{Value, json};
use std::path::PathBuf;
use usdt_e2e::{Fixture, Mode, Need, attach, copy, have, json_lines, text};

const PROGRAM: &str = r#"
// Only mentioned in a comment: USDT(e2e, nowhere)
struct key_t { u64 self; char text[16]; };
BPF_HASH(by, struct key_t);
BPF_ARRAY(total, u64, 2);
BPF_PERCPU_ARRAY(each_cpu, u64, 1);
BPF_HASH(types, u32, s64);

USDT(e2e, hit) {
  struct key_t key = {};
  key.self = usdt_arg(e2e, hit, self) == usdt_arg(e2e, hit, goid);
  usdt_text(e2e, hit, text, key.text, sizeof(key.text));
  // atomic_increment may lose a count if two CPUs insert the same key at the same time.
  u64 none = 0, *count = 0;
  if (usdt_arg(e2e, hit, n) < 3 && (count = by.lookup_or_try_init(&key, &none)))
    __sync_fetch_and_add(count, 1);
  total.atomic_increment(0);
  total.atomic_increment(1, usdt_arg(e2e, hit, n));
  int zero = 0;
  count = each_cpu.lookup(&zero);
  if (count)
    __sync_fetch_and_add(count, 1);
  return 0;
}

USDT(e2e, types) {
  u32 key = 8;
  s64 value = usdt_arg(e2e, types, i8);
  types.update(&key, &value);
  key = 64;
  value = usdt_arg(e2e, types, i64) + usdt_arg(e2e, types, u16);
  types.update(&key, &value);
  return 0;
}

USDT(e2e, more__types) {
  char buffer[8];
  u32 key = 1000 + usdt_text(e2e, more__types, cstring, buffer, sizeof(buffer));
  types.atomic_increment(key);
  return 0;
}
"#;

fn write_program(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.c");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

/// Returns the sorted rows of a table.
fn rows(out: &str, table: &str) -> Vec<(Value, Value)> {
    let mut rows: Vec<(Value, Value)> = json_lines(out)
        .into_iter()
        .filter(|row| row["table"] == table)
        .map(|row| (row["key"].clone(), row["value"].clone()))
        .collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

#[test]
fn reads_arguments_by_name_and_prints_tables() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (_folder, file) = write_program(PROGRAM);
    let run = |args: &[&str]| {
        let out = attach(
            &[&["run", file.to_str().unwrap(), "--json", "--", app.as_str()], args].concat(),
        );
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let out = run(&["-per", "100", "-goroutines", "2"]);
    let key = |text: &str| json!({"self": 1, "text": text});
    assert_eq!(
        rows(&out, "by"),
        [(key("0"), json!(2)), (key("x1"), json!(2)), (key("xx2"), json!(2))]
    );
    assert_eq!(rows(&out, "total"), [(json!(0), json!(200)), (json!(1), json!(9900))]);
    assert_eq!(rows(&out, "each_cpu"), [(json!(0), json!(200))]);
    let out = run(&["-types"]);
    let lowest = i64::MIN + 65535;
    // `C "text"` and a string of 300 characters are truncated to seven bytes and a NUL; an empty
    // string is only its NUL.
    let expected = [(1001, 1), (1008, 2), (64, lowest), (8, -128)];
    assert_eq!(rows(&out, "types"), expected.map(|(key, value)| (json!(key), json!(value))));
}

#[test]
fn prints_tables_as_text() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (_folder, file) = write_program(PROGRAM);
    let out = attach(&["run", file.to_str().unwrap(), "--", app.as_str(), "-per", "2"]);
    let out = text(&out.stdout);
    assert!(out.contains("by: 2 rows\n"), "{out}");
    assert!(out.contains("  self=1 text=x1: 1\n"), "{out}");
    assert!(out.contains("total: 2 rows\n  0: 2\n  1: 1\n"), "{out}");
}

#[test]
fn prints_tables_of_every_kind() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (_folder, file) = write_program(
        r#"
BPF_TABLE("lru_hash", u32, u64, lru, 16);
BPF_TABLE("lru_percpu_hash", u32, u64, lru_each_cpu, 16);
BPF_PERCPU_HASH(each_cpu, u32, u64, 16);
BPF_F_TABLE("hash", u32, u64, on_demand, 16, BPF_F_NO_PREALLOC);
BPF_HISTOGRAM(sizes, int, 64);
BPF_QUEUE(queue, u64, 16);
BPF_STACK_TRACE(stacks, 16);
BPF_PERF_OUTPUT(perf);
BPF_RINGBUF_OUTPUT(ring, 1);
BPF_PROG_ARRAY(programs, 4);
BPF_CGROUP_ARRAY(cgroups, 1);

USDT(e2e, hit) {
  u32 key = 7;
  u64 value = usdt_arg(e2e, hit, n) + 1;
  lru.update(&key, &value);
  lru_each_cpu.update(&key, &value);
  each_cpu.update(&key, &value);
  on_demand.update(&key, &value);
  sizes.atomic_increment(bpf_log2l(value));
  queue.push(&value, 0);
  stacks.get_stackid(ctx, BPF_F_USER_STACK);
  perf.perf_submit(ctx, &value, sizeof(value));
  ring.ringbuf_output(&value, sizeof(value), 0);
  programs.call(ctx, 1);
  return 0;
}
"#,
    );
    let args = ["run", file.to_str().unwrap(), "--", app.as_str(), "-per", "1"];
    let out = attach(&args);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), "done 1\n".to_owned()));
    let out = text(&out.stdout);
    for table in ["lru", "lru_each_cpu", "each_cpu", "on_demand"] {
        assert!(out.contains(&format!("{table}: 1 row\n  7: 1\n")), "{out}");
    }
    assert!(out.contains("sizes: 1 row\n  1: 1\n"), "{out}");
    for table in ["queue", "stacks", "perf", "ring", "programs", "cgroups"] {
        assert!(out.contains(&format!("{table}: not a table of keys and values\n")), "{out}");
    }
}

#[test]
fn shows_compiler_warnings() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (_folder, file) = write_program("#warning say this\nUSDT(e2e, hit) { return 0; }");
    let out = attach(&["run", file.to_str().unwrap(), "--exe", app.as_str(), "--duration", "1ms"]);
    let errors = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{errors}");
    assert!(errors.contains("program.c:1:2: warning: say this"), "{errors}");
}

#[test]
fn rejects_invalid_programs() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = Fixture::get("hits", Mode::Sealed);
    for (source, code, expected) in [
        (
            "int f() { return 0; }",
            2,
            "error: the program names no probe; start one with USDT(provider, probe) { ... }\n",
        ),
        (
            "USDT(e2e) { return 0; }",
            2,
            "error: `USDT(e2e)` does not have the form USDT(provider, probe)\n",
        ),
        (
            "USDT(e2e, absent) { return 0; }",
            2,
            "error: no probe matches `e2e:absent`; the target has ",
        ),
        (
            "USDT(e2e, hit) { return usdt_arg(e2e, hit, size); }",
            2,
            "error: e2e:hit has no argument `size`; it has goid, n, self, text\n",
        ),
        (
            "USDT(e2e, hit) { char b[4]; return usdt_text(e2e, hit, n, b, 4); }",
            2,
            "error: `n` of e2e:hit is not a string; if it is a C string, pass --cstring n\n",
        ),
        (
            "USDT(e2e, hit) { return usdt_arg(e2e, nothing, n); }",
            2,
            "error: usdt_arg(e2e, nothing, n) refers to a probe that the program is not attached to; add USDT(e2e, nothing)\n",
        ),
        (
            "BPF_TABLE_PINNED(\"hash\", u32, u64, kept, 1, \"/sys/fs/bpf/kept\");\nUSDT(e2e, hit) { return 0; }",
            2,
            "error: the table `kept` is pinned, which is not supported; use BPF_TABLE instead of BPF_TABLE_PINNED\n",
        ),
        (
            "BPF_HASH(inner, u32, u64, 1);\nBPF_HASH_OF_MAPS(outer, u32, \"inner\", 4);\nUSDT(e2e, hit) { return 0; }",
            3,
            "error: the table `outer` is a map of type 13 (hash_of_maps), which is not supported\n",
        ),
        ("USDT(e2e, hit) {\n  return nonsense;\n}", 3, "error: libbcc rejects the program:\n"),
        (
            "USDT(e2e, hit) {\n  return nonsense;\n}",
            3,
            "program.c:2:10: error: use of undeclared identifier 'nonsense'",
        ),
    ] {
        let (_folder, file) = write_program(source);
        let out = attach(&[
            "run",
            file.to_str().unwrap(),
            "--exe",
            app.to_str().unwrap(),
            "--duration",
            "10ms",
        ]);
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    }
}
