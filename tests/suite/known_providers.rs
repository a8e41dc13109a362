//! Probes of well-known programs: their arguments have names and strings without a schema file, as
//! bpftrace reads them with their definitions.

use crate::third_party_probes::Postgres;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use usdt_e2e::{
    Need, Process, attach, backends, command, copy, events_and_summary, have, json_lines,
    list_probes, stdout, text, tools, wait_for, write,
};

/// An argument as bpftrace prints it.
#[derive(Clone, Copy)]
enum Printed {
    /// `str(argN)`
    Str(u8),
    /// `str(argN, argM)`
    StrLen(u8, u8),
    /// `argN` as a signed number of 32 bits.
    Int(u8),
    /// `argN` as 0 or 1.
    Bool(u8),
    /// `argN` as an unsigned number of 64 bits.
    Unsigned(u8),
}

impl Printed {
    /// Returns the format and the expression.
    fn code(self) -> (&'static str, String) {
        match self {
            Printed::Str(n) => ("%s", format!("str(arg{n})")),
            Printed::StrLen(n, length) => ("%s", format!("str(arg{n}, arg{length})")),
            Printed::Int(n) => ("%d", format!("(int32)arg{n}")),
            Printed::Bool(n) => ("%d", format!("(uint8)arg{n}")),
            Printed::Unsigned(n) => ("%llu", format!("arg{n}")),
        }
    }
}

/// A probe, and its first arguments as bpftrace prints them.
type Probe<'a> = (&'a str, &'a [Printed]);

/// Starts bpftrace and waits until it has attached to all probes. It writes a line per hit to
/// `out`: the probe and the values, separated by `|`.
fn start_bpftrace(file: &Path, probes: &[Probe<'_>], out: &Path) -> Process {
    // Whether it attaches in the order of the script or in reverse, both intervals have fired only
    // after it has attached to the probes between them.
    let mut script = "interval:ms:50 { @first = 1; }\n".to_owned();
    for (probe, args) in probes {
        let (formats, values): (Vec<_>, Vec<_>) = args.iter().map(|arg| arg.code()).unzip();
        let formats: String = formats.iter().map(|format| format!("|{format}")).collect();
        let values: String = values.iter().map(|value| format!(", {value}")).collect();
        script += &format!(
            "usdt:{}:{probe} {{ printf(\"{probe}{formats}\\n\"{values}); }}\n",
            file.display()
        );
    }
    script +=
        "interval:ms:50 { if (@first == 1 && @said == 0) { @said = 1; printf(\"ready\\n\"); } }";
    let mut bpftrace = command("bpftrace");
    // All strings of a hit must fit on the BPF stack.
    let strings = probes.iter().map(|(_, args)| {
        args.iter().filter(|arg| matches!(arg, Printed::Str(_) | Printed::StrLen(..))).count()
    });
    let length = 256 / strings.max().unwrap_or(1).max(2);
    bpftrace.env("BPFTRACE_STRLEN", length.to_string()).args(["-B", "line", "-e", &script]);
    // A pipe could only be read at the end, and `-o` is not flushed before it.
    bpftrace.stdin(Stdio::null()).stdout(std::fs::File::create(out).unwrap());
    let mut bpftrace = Process(bpftrace.stderr(Stdio::piped()).spawn().unwrap());
    let mut has_ended = false;
    wait_for("bpftrace", || {
        has_ended = bpftrace.0.try_wait().unwrap().is_some();
        has_ended || std::fs::read_to_string(out).is_ok_and(|lines| lines.contains("ready\n"))
    });
    if has_ended {
        panic!("{script}: {}", bpftrace.finish().2);
    }
    bpftrace
}

/// A line of bpftrace for an event of usdt-attach.
fn line(event: &Value, names: &[&str]) -> String {
    let mut out =
        format!("{}:{}", event["provider"].as_str().unwrap(), event["probe"].as_str().unwrap());
    for name in names {
        let value = match &event["args"][name] {
            Value::String(string) => string.clone(),
            Value::Bool(b) => u8::from(*b).to_string(),
            Value::Null => String::new(),
            number => number.to_string(),
        };
        out += &format!("|{value}");
    }
    out
}

/// Traces probes of a file with both back ends and with bpftrace while `run` runs, and returns the
/// events of `run`'s process. All three must have seen the same arguments.
///
/// `run` returns the id of the process that it ran.
fn trace_with_all(file: &Path, probes: &[Probe<'_>], run: impl FnOnce() -> u32) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bpftrace.txt");
    let backends = backends();
    let tracers: Vec<Process> = backends
        .iter()
        .map(|backend| {
            let mut tracer = command(tools().join("usdt-attach"));
            tracer.args(["trace", "--json", "--backend", backend, "--exe"]).arg(file);
            tracer.args(probes.iter().map(|(name, _)| *name));
            Process::start(&mut tracer)
        })
        .collect();
    for tracer in &tracers {
        // One of the links reports exec.
        wait_for("the tracer", || tracer.is_attached());
    }
    let bpftrace = start_bpftrace(file, probes, &out);
    let pid = run();
    let mut all = Vec::new();
    for (tracer, backend) in tracers.into_iter().zip(&backends) {
        let (_, stdout, stderr) = tracer.interrupt();
        let (events, summary) = events_and_summary(&stdout);
        assert_eq!(summary["hits"], summary["delivered"], "{backend}: {stderr}");
        let own: Vec<Value> = events.into_iter().filter(|event| event["pid"] == pid).collect();
        all.push(own);
    }
    bpftrace.interrupt();
    let mut schemas: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for probe in list_probes(file) {
        let args = probe["schema"]["args"].as_array();
        let names = args.into_iter().flatten().map(|arg| arg["name"].as_str().unwrap().to_owned());
        let name =
            format!("{}:{}", probe["provider"].as_str().unwrap(), probe["probe"].as_str().unwrap());
        schemas.insert(name, names.collect());
    }
    let printed: BTreeMap<&str, usize> =
        probes.iter().map(|(name, args)| (*name, args.len())).collect();
    let lines = |events: &[Value]| -> Vec<String> {
        let mut lines: Vec<String> = events
            .iter()
            .map(|event| {
                let name = format!(
                    "{}:{}",
                    event["provider"].as_str().unwrap(),
                    event["probe"].as_str().unwrap()
                );
                let names = schemas[&name].iter().map(String::as_str);
                let names: Vec<&str> = names.take(printed[&*name]).collect();
                line(event, &names)
            })
            .collect();
        lines.sort();
        lines
    };
    let seen = std::fs::read_to_string(&out).unwrap();
    let mut seen: Vec<String> =
        seen.lines().filter(|line| line.contains('|')).map(str::to_owned).collect();
    seen.sort();
    for (events, backend) in all.iter().zip(&backends) {
        assert_eq!(lines(events), seen, "{backend} and bpftrace");
    }
    all.swap_remove(0)
}

/// Runs a command that must succeed and returns its process id.
fn run(command: &mut Command) -> u32 {
    let process = Process::start(command);
    let pid = process.pid();
    let (status, out, errors) = process.finish();
    assert!(status.success(), "{out}{errors}");
    pid
}

fn is_bpftrace_here() -> bool {
    have(&[Need::Bpf, Need::Program("bpftrace")])
}

fn args_of(events: &[Value], probe: &str) -> Vec<Value> {
    events.iter().filter(|e| e["probe"] == probe).map(|e| e["args"].clone()).collect()
}

const PYTHON: &str = "\
import gc
def double(x):
    return 2 * x
def items():
    yield 1
list(map(double, range(3)))
generator = items()
next(generator)
generator.close()
gc.collect(1)
";

/// Python 3.11 passes its entry probe only where an exception is thrown into a generator.
#[test]
fn names_the_arguments_of_python() {
    if !is_bpftrace_here() || !have(&[Need::File("/usr/bin/python3")]) {
        return;
    }
    let python = copy(&Path::new("/usr/bin/python3").canonicalize().unwrap());
    let script = write(python.folder.path(), "shop.py", PYTHON);
    let call = [Printed::Str(0), Printed::Str(1), Printed::Int(2)];
    let probes: [Probe<'_>; 4] = [
        ("python:function__entry", &call),
        ("python:function__return", &call),
        ("python:gc__start", &[Printed::Int(0)]),
        ("python:import__find__load__start", &[Printed::Str(0)]),
    ];
    let events = trace_with_all(&python.path, &probes, || {
        let mut python = command(&python.path);
        python.env("PYTHONHOME", "/usr").env_remove("PYTHONPATH");
        run(python.args(["-S", "-s", &script]))
    });
    let calls = |probe: &str, function: &str| {
        let mut calls = args_of(&events, probe);
        calls.retain(|args| args["filename"] == script && args["funcname"] == function);
        calls
    };
    let call = |function: &str, line: u32| json!({"filename": script, "funcname": function, "lineno": line});
    assert_eq!(calls("function__return", "double"), vec![call("double", 3); 3]);
    assert_eq!(calls("function__entry", "items"), [call("items", 5)]);
    assert!(args_of(&events, "gc__start").contains(&json!({"generation": 1})), "{events:?}");
}

const PHP: &str = "<?php\nclass Shop {\n  static function add($a) { return $a + 1; }\n}\nfor ($i = 0; $i < 3; $i++) Shop::add($i);\ntry { throw new LogicException(); } catch (LogicException $e) {}\n";

#[test]
fn names_the_arguments_of_php() {
    if !is_bpftrace_here() || !have(&[Need::Program("php")]) {
        return;
    }
    let program = Path::new("/usr/bin/php").canonicalize().unwrap();
    let php = copy(&program);
    let script = write(php.folder.path(), "shop.php", PHP);
    let call = [Printed::Str(0), Printed::Str(1), Printed::Int(2)];
    let probes: [Probe<'_>; 3] = [
        ("php:function__entry", &call),
        ("php:exception__thrown", &[Printed::Str(0)]),
        ("php:request__startup", &[Printed::Str(0), Printed::Str(1), Printed::Str(2)]),
    ];
    let events = trace_with_all(&php.path, &probes, || {
        run(command(&php.path).env("USE_ZEND_DTRACE", "1").args(["-n", &script]))
    });
    let mut calls = args_of(&events, "function__entry");
    calls.retain(|args| args["function_name"] == "add");
    let call = json!({
        "function_name": "add", "request_file": script, "lineno": 3, "classname": "Shop", "scope": "::"
    });
    assert_eq!(calls, vec![call; 3]);
    assert_eq!(args_of(&events, "exception__thrown"), [json!({"classname": "LogicException"})]);
}

const RUBY: &str =
    "begin\n  raise ArgumentError, 'no'\nrescue ArgumentError\nend\n3.times { Object.new }\n";

#[test]
fn names_the_arguments_of_ruby() {
    if !is_bpftrace_here() || !have(&[Need::Program("ruby")]) {
        return;
    }
    let linked = stdout(command("ldd").arg("/usr/bin/ruby"));
    let library = linked.lines().find(|line| line.contains("libruby")).unwrap();
    let library = library.split_whitespace().find(|word| word.starts_with('/')).unwrap();
    let library = copy(Path::new(library));
    let name = library.path.file_name().unwrap();
    // The copy has the name that the program is linked to.
    assert!(linked.contains(name.to_str().unwrap()), "{linked}");
    let script = write(library.folder.path(), "shop.rb", RUBY);
    let created = [Printed::Str(0), Printed::Str(1), Printed::Int(2)];
    let probes: [Probe<'_>; 2] = [("ruby:raise", &created), ("ruby:object__create", &created)];
    let events = trace_with_all(&library.path, &probes, || {
        let mut ruby = command("/usr/bin/ruby");
        run(ruby.env("LD_LIBRARY_PATH", library.folder.path()).args(["--disable=gems", &script]))
    });
    let raised = json!({"classname": "ArgumentError", "filename": script, "lineno": 2});
    assert_eq!(args_of(&events, "raise"), [raised]);
    let mut created = args_of(&events, "object__create");
    created.retain(|args| args["classname"] == "Object" && args["filename"] == script);
    assert_eq!(created.len(), 3, "{events:?}");
}

const THROW: &str = r#"
#include <stdio.h>
#include <stddef.h>
extern void *__cxa_allocate_exception(size_t);
extern void __cxa_throw(void *, void *, void (*)(void *)) __attribute__((noreturn));
extern char _ZTIi[];
int main(void) {
  int *object = __cxa_allocate_exception(sizeof *object);
  printf("%lu %lu\n", (unsigned long)object, (unsigned long)_ZTIi);
  fflush(stdout);
  __cxa_throw(object, _ZTIi, NULL);
}
"#;

#[test]
fn names_the_arguments_of_cpp_exceptions() {
    if !is_bpftrace_here() || !have(&[Need::Program("gcc")]) {
        return;
    }
    let loaded = stdout(command("gcc").arg("-print-file-name=libstdc++.so.6"));
    let library = copy(&Path::new(loaded.trim()).canonicalize().unwrap());
    let folder = library.folder.path();
    std::fs::rename(&library.path, folder.join("libstdc++.so.6")).unwrap();
    // bpftrace does not read paths with `+`.
    let library_path = folder.join("libstdcxx.so");
    std::os::unix::fs::symlink("libstdc++.so.6", &library_path).unwrap();
    let source = write(folder, "throw.c", THROW);
    let app = folder.join("throw");
    stdout(command("gcc").args(["-o"]).arg(&app).arg(&source).arg(&library_path));
    let probes: [Probe<'_>; 1] =
        [("libstdcxx:throw", &[Printed::Unsigned(0), Printed::Unsigned(1)])];
    let mut printed = String::new();
    let events = trace_with_all(&library_path, &probes, || {
        let thrown = Process::start(command(&app).env("LD_LIBRARY_PATH", folder));
        let pid = thrown.pid();
        // Nothing catches the exception, so the program aborts.
        printed = thrown.finish().1;
        pid
    });
    let (object, type_info) = printed.trim().split_once(' ').unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap();
    assert_eq!(
        args_of(&events, "throw"),
        [json!({"object": number(object), "type_info": number(type_info)})]
    );
}

const JAVA: &str = "public class Shop {\n  public static void main(String[] args) throws Exception {\n    for (int i = 0; i < 3; i++) { Thread t = new Thread(() -> {}, \"worker-\" + i); t.start(); t.join(); }\n    System.gc();\n  }\n}\n";

/// The library of the installed Java virtual machine.
fn jvm() -> Option<std::path::PathBuf> {
    let java = Path::new("/usr/bin/java").canonicalize().ok()?;
    let library = java.parent()?.parent()?.join("lib/server/libjvm.so");
    library.exists().then_some(library)
}

/// Runs the Java program, which `java` compiles in memory.
fn run_java() -> u32 {
    let folder = tempfile::tempdir().unwrap();
    let source = write(folder.path(), "Shop.java", JAVA);
    run(command("/usr/bin/java").args(["-XX:+UseSerialGC", "-XX:+ExtendedDTraceProbes", &source]))
}

#[test]
fn names_the_arguments_of_hotspot() {
    if !have(&[Need::Program("javac")]) || !is_bpftrace_here() {
        return;
    }
    let library = jvm().expect("a Java virtual machine");
    let pool =
        [Printed::StrLen(0, 1), Printed::StrLen(2, 3), Printed::Unsigned(4), Printed::Unsigned(5)];
    let probes: [Probe<'_>; 3] = [
        ("hotspot:mem__pool__gc__begin", &pool),
        ("hotspot:mem__pool__gc__end", &pool),
        ("hotspot:gc__begin", &[Printed::Bool(0)]),
    ];
    let events = trace_with_all(&library, &probes, run_java);
    assert!(args_of(&events, "gc__begin").contains(&json!({"is_full": true})), "{events:?}");
    let pools = args_of(&events, "mem__pool__gc__begin");
    let names: Vec<&str> = pools.iter().map(|args| args["pool"].as_str().unwrap()).collect();
    for name in ["Metaspace", "Eden Space", "Survivor Space", "Tenured Gen"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(pools.iter().all(|args| args["manager"].is_string() && args["max_size"].is_u64()));
}

/// The lengths of these strings have 4 bytes.
#[test]
fn reads_hotspot_strings_with_short_lengths() {
    if !have(&[Need::Program("javac")]) || !is_bpftrace_here() {
        return;
    }
    let library = jvm().expect("a Java virtual machine");
    let thread = [Printed::StrLen(0, 1), Printed::Int(2), Printed::Unsigned(3), Printed::Bool(4)];
    let probes: [Probe<'_>; 2] =
        [("hotspot:thread__start", &thread), ("hotspot:thread__stop", &thread)];
    let events = trace_with_all(&library, &probes, run_java);
    for probe in ["thread__start", "thread__stop"] {
        let threads = args_of(&events, probe);
        let names: Vec<&str> = threads.iter().filter_map(|args| args["name"].as_str()).collect();
        for name in ["worker-0", "worker-1", "worker-2"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
    }
}

/// `usdt-attach trace -p PID query-start` prints the queries of a server process.
#[test]
fn names_the_queries_of_postgresql() {
    if !is_bpftrace_here() || !have(&[Need::Program("setpriv"), Need::File("/usr/lib/postgresql")])
    {
        return;
    }
    let server = Postgres::start(Postgres::binaries().expect("a PostgreSQL server"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bpftrace.txt");
    let mut psql = server.psql(&[]);
    let psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut psql = Process(psql.spawn().unwrap());
    let mut queries = psql.0.stdin.take().unwrap();
    let mut rows = BufReader::new(psql.0.stdout.take().unwrap()).lines();
    let mut ask = |query: &str| {
        writeln!(queries, "{query}").unwrap();
        rows.next().unwrap().unwrap()
    };
    let pid = ask("select pg_backend_pid();");
    let backends = backends();
    let tracers: Vec<Process> = backends
        .iter()
        .map(|backend| {
            let args = ["trace", "-p", &pid, "query-start", "--backend", backend];
            Process::start(command(tools().join("usdt-attach")).args(args))
        })
        .collect();
    for tracer in &tracers {
        wait_for("the tracer", || tracer.is_attached());
    }
    let exe = server.binaries.join("postgres");
    let probes: [Probe<'_>; 1] = [("postgresql:query__start", &[Printed::Str(0)])];
    let bpftrace = start_bpftrace(&exe, &probes, &out);
    for n in 0..3 {
        assert_eq!(ask(&format!("select {n} /* a \"quoted\" name */;")), n.to_string());
    }
    for tracer in tracers {
        let (_, printed, errors) = tracer.interrupt();
        let queries: Vec<&str> =
            printed.lines().filter_map(|line| line.split_once("query=")).map(|(_, q)| q).collect();
        let expected = |n: u32| format!(r#""select {n} /* a \"quoted\" name */;""#);
        assert_eq!(queries, [0, 1, 2].map(expected), "{printed}{errors}");
    }
    bpftrace.interrupt();
    let seen = std::fs::read_to_string(&out).unwrap();
    let seen: Vec<&str> =
        seen.lines().filter_map(|line| line.strip_prefix("postgresql:query__start|")).collect();
    let expected = |n: u32| format!(r#"select {n} /* a "quoted" name */;"#);
    assert_eq!(seen, [0, 1, 2].map(expected));
    drop(queries);
    psql.finish();
}

/// Every probe of the packages that the tests install is known, in every site.
#[test]
fn knows_every_probe_of_installed_programs() {
    let programs = ["/usr/bin/python3", "/usr/bin/php"];
    let mut files: Vec<_> =
        programs.iter().filter_map(|p| Path::new(p).canonicalize().ok()).collect();
    files.extend(jvm());
    let servers = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    files.extend(servers.map(|v| v.path().join("bin/postgres")).filter(|p| p.exists()));
    assert!(!files.is_empty() || !have(&[Need::File("/usr/bin/python3")]));
    for file in files {
        for probe in list_probes(&file) {
            assert_eq!(probe["schema_source"], "known", "{}: {probe}", file.display());
        }
    }
}

const C_PROGRAM: &str = r#"
#include <string.h>
#include <sys/sdt.h>
int main(void) {
  static const char query[] = "select 1";
  volatile char copy[sizeof query];
  for (unsigned i = 0; i < sizeof query; i++) copy[i] = query[i];
  STAP_PROBE1(postgresql, query__start, (const char *)copy);
  STAP_PROBE2(postgresql, query__done, (const char *)copy, 7);
  STAP_PROBE1(postgresql, query__mine, 7);
  STAP_PROBE1(php, exception__thrown, 7);
  return 0;
}
"#;

/// Another program can have a provider of the same name. Its own probes, and probes with other
/// arguments, keep `argN`; `argN` is accepted where a name is known; a schema file has precedence.
#[test]
fn applies_to_probes_of_the_same_shape_only() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = write(folder.path(), "app.c", C_PROGRAM);
    let app = folder.path().join("app");
    stdout(command("gcc").args(["-O2", "-o"]).arg(&app).arg(&source));
    let app_name = app.to_str().unwrap();
    let sources: BTreeMap<String, Value> = list_probes(&app)
        .into_iter()
        .map(|p| (p["probe"].as_str().unwrap().to_owned(), p["schema_source"].clone()))
        .collect();
    assert_eq!(sources["query__start"], "known");
    for name in ["query__done", "query__mine", "exception__thrown"] {
        assert!(sources[name].is_null(), "{sources:?}");
    }
    let listed = attach(&["list", app_name]);
    assert!(text(&listed.stdout).contains("postgresql:query__start(const char *query)\n"));
    assert!(text(&listed.stderr).contains("known providers: postgresql"), "{listed:?}");

    let trace = |args: &[&str]| {
        let out = attach(&[&["trace", "--json"], args, &["--", app_name]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        events_and_summary(&text(&out.stdout)).0
    };
    let args: Vec<Value> = trace(&[]).into_iter().map(|event| event["args"].clone()).collect();
    assert_eq!(args[0], json!({"query": "select 1"}));
    assert!(args[1]["arg0"].is_u64() && args[1]["arg1"] == 7, "{args:?}");
    assert_eq!(args[2], json!({"arg0": 7}));
    for filter in ["query == 'select*'", "arg0 == 'select 1'", "str(arg0) == 'select 1'"] {
        assert_eq!(trace(&["query-start", "--filter", filter]).len(), 1, "{filter}");
    }
    let out = attach(&["count", "--json", "--by", "arg0", "query-start", "--", app_name]);
    assert_eq!(json_lines(&text(&out.stdout))[0]["labels"], json!({"arg0": "select 1"}));

    let definition =
        write(folder.path(), "own.d", "provider postgresql { probe query__start(char *mine); };");
    let schema = folder.path().join("own.json");
    std::fs::write(&schema, stdout(command("usdt-gen").args(["schema", &definition]))).unwrap();
    let events = trace(&["--schema", schema.to_str().unwrap(), "query-start"]);
    assert_eq!(events[0]["args"], json!({"mine": "select 1"}));
    let listed = attach(&["list", "--json", "--schema", schema.to_str().unwrap(), app_name]);
    assert_eq!(json_lines(&text(&listed.stdout))[0]["schema_source"], "file");
}
