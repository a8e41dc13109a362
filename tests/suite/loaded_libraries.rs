//! Probes of libraries: linked ones, and those that a target loads while it is traced.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use usdt_e2e::{
    Need, Process, attach, backends, command, events_and_summary, free_port, have, root, stdout,
    text, tools, wait_for,
};

/// By then, a tracer that follows its target has usually looked at all of it for the first time. What
/// is loaded later is reported.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// The programs and libraries of `tests/c/libraries`, in a folder of the test.
pub(crate) struct Programs {
    folder: tempfile::TempDir,
}

impl Programs {
    pub(crate) fn build() -> Programs {
        let folder = tempfile::tempdir().unwrap();
        let source = |name: &str| root().join("tests/c/libraries").join(name);
        let place = |name: &str| folder.path().join(name);
        let cc = |source: PathBuf, flags: &[&str], out: &str| {
            let mut cc = command("cc");
            cc.args(["-O2", "-o"]).arg(place(out)).arg(source).args(flags);
            stdout(cc.current_dir(folder.path()));
        };
        for name in ["plug", "starting"] {
            let library = format!("lib{name}.so");
            cc(source(&format!("{name}.c")), &["-shared", "-fPIC"], &library);
        }
        cc(source("linked.c"), &["-L.", "-lplug", "-Wl,-rpath,$ORIGIN"], "linked");
        cc(source("host.c"), &["-ldl"], "host");
        Programs { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn str(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// A running `host`.
pub(crate) struct Host {
    pub(crate) process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Host {
    pub(crate) fn start(program: &Path) -> Host {
        Host::spawn(&mut Command::new(program))
    }

    fn spawn(command: &mut Command) -> Host {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let input = process.0.stdin.take().unwrap();
        let output = BufReader::new(process.0.stdout.take().unwrap());
        let mut host = Host { process, input, output };
        host.tell("tick 0");
        host
    }

    /// Sends a command and waits until it is done.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{command}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn start(args: &[&str]) -> Process {
    Process::start(command(tools().join("usdt-attach")).args(args))
}

/// Waits until a tracer has attached to its target or waits for probes of it: it has a link for
/// `exec` and one for the dynamic linker.
fn wait_until_following(tracer: &Process) {
    wait_for("the tracer", || tracer.bpf_link_count() >= 2);
}

/// As [`wait_until_following`], for a process: two more links count its children.
fn wait_until_following_process(tracer: &Process) {
    wait_for("the tracer", || tracer.bpf_link_count() >= 4);
}

fn count(events: &[serde_json::Value], provider: &str) -> usize {
    events.iter().filter(|event| event["provider"] == provider).count()
}

/// Returns the hits of a row of `count --json`.
fn row(rows: &[serde_json::Value], provider: &str, probe: &str) -> u64 {
    let found = rows.iter().filter(|row| row["provider"] == provider && row["probe"] == probe);
    found.map(|row| row["count"].as_u64().unwrap()).sum()
}

#[test]
fn traces_linked_libraries_of_a_command_from_their_first_instruction() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let linked = programs.str("linked");
    for backend in backends() {
        let out = attach(&["trace", "--json", "--backend", backend, "--", &linked]);
        let (events, summary) = events_and_summary(&text(&out.stdout));
        assert_eq!((count(&events, "linked"), count(&events, "plug")), (2, 20), "{backend}");
        // The sessions of the two files are merged by time.
        let ends = [events.first(), events.last()].map(|event| &event.unwrap()["probe"]);
        assert_eq!(ends, ["start", "end"], "{backend}");
        assert_eq!(summary["hits"], 22, "{}", text(&out.stderr));
        let out = attach(&["count", "--json", "--backend", backend, "plug:hit", "--", &linked]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let (rows, _) = events_and_summary(&text(&out.stdout));
        assert_eq!(row(&rows, "plug", "hit"), 20, "{backend}: {rows:?}");
    }
}

#[test]
fn loses_no_hit_of_a_library_that_a_command_loads() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let (host, plug, starting) =
        (programs.str("host"), programs.str("libplug.so"), programs.str("libstarting.so"));
    let out = attach(&["count", "--json", "plug:hit", "--", &host, &plug, "50"]);
    let (rows, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(row(&rows, "plug", "hit"), 50, "{}", text(&out.stderr));
    // `env` executes the program, which has a library that fires before `main`.
    let preload = format!("LD_PRELOAD={starting}");
    let linked = programs.str("linked");
    let out = attach(&["count", "--json", "--", "env", &preload, &linked]);
    let (rows, _) = events_and_summary(&text(&out.stdout));
    let counts = [("starting", "up"), ("linked", "start"), ("plug", "hit")]
        .map(|(provider, probe)| row(&rows, provider, probe));
    assert_eq!(counts, [3, 1, 20], "{}", text(&out.stderr));
    let script = programs.path("script");
    std::fs::write(&script, format!("#!/bin/sh\nexec {linked}\n")).unwrap();
    stdout(Command::new("chmod").arg("755").arg(&script));
    let out = attach(&["count", "--json", "plug:*", "--", script.to_str().unwrap()]);
    let (rows, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(row(&rows, "plug", "hit"), 20, "{}", text(&out.stderr));
}

/// A command that is being stopped and continued must neither stay stopped nor be stopped for its
/// parent to see once the tracer has ended.
#[test]
fn a_command_is_not_left_stopped() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let host = programs.str("host");
    let script = format!("while :; do {host} {} 1; done", programs.str("libplug.so"));
    let out = attach(&["count", "--json", "--duration", "700ms", "--", "sh", "-c", &script]);
    // Nothing was attached to if only children had the probe.
    assert!(matches!(out.status.code(), Some(0 | 2)), "{}", text(&out.stderr));
}

#[test]
fn attaches_to_a_loaded_library() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let (plug, another) = (programs.str("libplug.so"), programs.str("another.so"));
    stdout(Command::new("cp").args([&plug, &another]));
    for backend in backends() {
        for how in ["load", "namespace", "memory"] {
            let mut host = Host::start(&programs.path("host"));
            let pid = host.pid().to_string();
            let tracer = start(&["count", "-p", &pid, "--json", "--backend", backend, "plug:hit"]);
            wait_until_following_process(&tracer);
            host.tell(&format!("{how} {plug}"));
            let file = if how == "memory" { "/memfd:provider" } else { &plug };
            wait_for("the library", || tracer.is_attached_to(file));
            host.tell("fire 40");
            host.tell(&format!("load {another}"));
            wait_for("the other library", || tracer.is_attached_to(&another));
            host.tell("fire 30");
            // The host runs until the tracer has named the library.
            let (status, out, errors) = tracer.interrupt();
            drop(host);
            assert!(status.success(), "{errors}");
            let (rows, _) = events_and_summary(&out);
            assert_eq!(row(&rows, "plug", "hit"), 70, "{how} with {backend}: {errors}");
            assert!(errors.contains("no probe matches `plug:hit` yet"), "{errors}");
            // What the first look at the target finds may have been there when the session started.
            let mut missed = errors.lines().filter(|l| l.contains("hits before that are missed"));
            assert!(missed.any(|line| line.contains("another.so")), "{errors}");
        }
    }
}

#[test]
fn attaches_to_a_library_that_replaces_a_loaded_one() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let (plug, new) = (programs.str("libplug.so"), programs.str("new.so"));
    let mut host = Host::start(&programs.path("host"));
    host.tell(&format!("load {plug}"));
    let tracer = start(&["count", "-p", &host.pid().to_string(), "--json", "plug:hit"]);
    wait_until_following_process(&tracer);
    host.tell("fire 5");
    // As an upgrade does: a new file with the same name.
    stdout(Command::new("cp").args([&plug, &new]));
    std::fs::rename(&new, &plug).unwrap();
    host.tell("unload");
    wait_for("the tracer to see the old file", || {
        tracer.is_attached_to(&format!("{plug} (deleted)"))
    });
    host.tell(&format!("load {plug}"));
    wait_for("the new file", || tracer.is_attached_to(&format!("{plug}\n")));
    host.tell("fire 7");
    drop(host);
    let (_, out, errors) = tracer.finish();
    let (rows, _) = events_and_summary(&out);
    assert_eq!(row(&rows, "plug", "hit"), 12, "{errors}");
}

#[test]
fn follows_libraries_of_a_host() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let mut host = Host::start(&programs.path("host"));
    let tracer = start(&["count", "--all", "--json", "--by", "pid", "plug:hit"]);
    wait_until_following(&tracer);
    std::thread::sleep(FIRST_LOOK);
    host.tell(&format!("load {}", programs.str("libplug.so")));
    wait_for("the library", || tracer.is_attached_to(&programs.str("libplug.so")));
    host.tell("fire 30");
    let (_, out, errors) = tracer.interrupt();
    let (mut rows, _) = events_and_summary(&out);
    rows.retain(|row| row["labels"]["pid"] == host.pid());
    assert_eq!(row(&rows, "plug", "hit"), 30, "{out}{errors}");
}

/// A process can join a cgroup after it was started, and load a library then.
#[test]
fn follows_libraries_of_a_cgroup() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let group = usdt_e2e::containment::Cgroup::new().unwrap();
    let programs = Programs::build();
    let mut hosts = [(); 3].map(|()| Host::start(&programs.path("host")));
    let join = |host: &Host| {
        std::fs::write(group.path().join("cgroup.procs"), host.pid().to_string()).unwrap();
    };
    join(&hosts[0]);
    let path = group.path();
    let path = path.to_str().unwrap();
    let tracer = start(&["count", "--cgroup", path, "--json", "--by", "pid", "plug:hit"]);
    wait_until_following(&tracer);
    std::thread::sleep(FIRST_LOOK);
    join(&hosts[1]);
    for host in &mut hosts {
        host.tell(&format!("load {}", programs.str("libplug.so")));
    }
    wait_for("the library", || tracer.is_attached_to(&programs.str("libplug.so")));
    hosts.iter_mut().for_each(|host| host.tell("fire 17"));
    let (_, out, errors) = tracer.interrupt();
    let (rows, _) = events_and_summary(&out);
    let hits = hosts.each_ref().map(|host| {
        let mut own = rows.clone();
        own.retain(|row| row["labels"]["pid"] == host.pid());
        row(&own, "plug", "hit")
    });
    assert_eq!(hits, [17, 17, 0], "{out}{errors}");
    drop(hosts);
}

/// Other programs that map a library of the executable are not traced, and processes of it that
/// start or fork later are.
#[test]
fn limits_libraries_to_processes_of_the_executable() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let (plug, other) = (programs.str("libplug.so"), programs.path("other"));
    stdout(Command::new("cp").arg(programs.path("host")).arg(&other));
    for backend in backends() {
        let mut hosts = [Host::start(&programs.path("host")), Host::start(&other)];
        hosts.iter_mut().for_each(|host| host.tell(&format!("load {plug}")));
        let exe = programs.str("host");
        let tracer = start(&[
            "count",
            "--exe",
            &exe,
            "--json",
            "--backend",
            backend,
            "--by",
            "pid",
            "plug:hit",
        ]);
        wait_for("the library", || tracer.bpf_link_count() >= 3);
        std::thread::sleep(FIRST_LOOK);
        let mut later = Host::start(&programs.path("host"));
        later.tell(&format!("load {plug}"));
        for host in hosts.iter_mut().chain([&mut later]) {
            host.tell("fire 11");
        }
        later.tell("fork 4");
        let (_, out, errors) = tracer.interrupt();
        let (rows, summary) = events_and_summary(&out);
        assert_eq!(row(&rows, "plug", "hit"), 26, "{backend}: {out}{errors}");
        assert_eq!(summary["hits"], 26, "{backend}");
        let is_traced = |pid: u32| rows.iter().any(|row| row["labels"]["pid"] == pid);
        assert_eq!(hosts.each_ref().map(|host| is_traced(host.pid())), [true, false], "{out}");
    }
}

#[test]
fn waits_for_probes_unless_the_target_cannot_get_them() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let host = Host::start(&programs.path("host"));
    let (pid, exe) = (host.pid().to_string(), programs.str("host"));
    let run = |args: &[&str]| {
        let out = attach(&[&["count"], args, &["no:such"]].concat());
        (out.status.code(), text(&out.stderr))
    };
    let never = "error: no probe matched `no:such` until the end\n";
    for target in [&["-p", &pid][..], &["--exe", &exe], &["--all"]] {
        let (code, errors) = run(&[target, &["--duration", "100ms"]].concat());
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("no probe matches `no:such` yet; waiting"), "{errors}");
        assert!(errors.ends_with(never), "{errors}");
        let (code, errors) = run(&[target, &["--require-match"]].concat());
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("error: no probe matches `no:such`; the target"), "{errors}");
    }
    drop(host);
    let (code, errors) = run(&["--exe", &exe]);
    assert_eq!((code, errors.contains("waiting")), (Some(2), false), "{errors}");
    // A part of the globs is enough.
    let out = attach(&["count", "no:such", "linked:*", "--", &programs.str("linked")]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("warning: no probe matched `no:such` until the end"));
    let out = attach(&["trace", "--", "true"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).ends_with("error: the target had no probes until the end\n"));
}

/// The start and the end of a latency can be in libraries that are loaded later.
#[test]
fn waits_for_the_probes_of_a_latency() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let out =
        attach(&["latency", "--json", "linked:start", "plug:hit", "--", &programs.str("linked")]);
    let (rows, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(rows.len(), 1, "{}", text(&out.stderr));
    assert_eq!((&rows[0]["count"], &rows[0]["unit"]), (&1.into(), &"ns".into()), "{rows:?}");
}

#[test]
fn exports_probes_of_libraries() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let mut host = Host::start(&programs.path("host"));
    let port = free_port();
    let exporter = start(&[
        "export",
        "-p",
        &host.pid().to_string(),
        "--prometheus",
        &format!("127.0.0.1:{port}"),
    ]);
    let page = || crate::export::get(port, "/metrics");
    wait_for("the endpoint", || !page().is_empty());
    host.tell(&format!("load {}", programs.str("libplug.so")));
    wait_for("the library", || exporter.is_attached_to(&programs.str("libplug.so")));
    host.tell("fire 9");
    let hits = || crate::export::metric(&page(), "usdt_plug_hit_total").values().sum::<f64>();
    wait_for("the hits", || hits() == 9.0);
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
    let linked = programs.str("linked");
    let address = format!("127.0.0.1:{}", free_port());
    let out = attach(&["export", "--prometheus", &address, "--", &linked]);
    assert!(text(&out.stderr).contains("22 hits: 22 delivered"), "{}", text(&out.stderr));
    let out = attach(&["export", "--prometheus", &address, "no:such", "--", &linked]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

/// C++ exceptions are probes of libstdc++, which every C++ program links.
#[test]
fn counts_exceptions_of_a_command() {
    if !have(&[Need::Bpf, Need::Program("g++")]) {
        return;
    }
    const SOURCE: &str = "#include <stdexcept>\nint main() {\n\
         for (int i = 0; i < 300; i++) try { throw std::runtime_error(\"x\"); } catch (std::exception &) {}\n}\n";
    let folder = tempfile::tempdir().unwrap();
    let (source, app) = (folder.path().join("throws.cc"), folder.path().join("throws"));
    std::fs::write(&source, SOURCE).unwrap();
    stdout(command("g++").arg("-o").arg(&app).arg(&source));
    let libraries = stdout(Command::new("ldd").arg(&app));
    let library = libraries.lines().find_map(|line| line.split("libstdc++.so.6 => ").nth(1));
    let library = library.unwrap().split(' ').next().unwrap();
    if usdt_e2e::list_probes(Path::new(library)).is_empty() {
        return;
    }
    let out = attach(&["count", "--json", "libstdcxx:*", "--", app.to_str().unwrap()]);
    let (rows, _) = events_and_summary(&text(&out.stdout));
    let counts = ["throw", "catch"].map(|probe| row(&rows, "libstdcxx", probe));
    assert_eq!(counts, [300, 300], "{}", text(&out.stderr));
}

#[test]
fn traces_an_extension_that_python_loads() {
    let python = "/usr/bin/python3";
    if !have(&[Need::Bpf, Need::Program("cc"), Need::File(python)]) {
        return;
    }
    let programs = Programs::build();
    let code = format!(
        "import ctypes\nplug = ctypes.CDLL({:?}).plug\nfor n in range(25): plug(n)",
        programs.str("libplug.so")
    );
    let out = attach(&["count", "--json", "plug:hit", "--", python, "-c", &code]);
    let (rows, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(row(&rows, "plug", "hit"), 25, "{}", text(&out.stderr));
}

/// A command may handle the signal with which the tracer continues it after it has loaded libraries.
#[test]
fn a_command_that_runs_gets_no_signals() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let script = "sleep 0.3; trap 'echo continued' CONT; for i in 1 2 3 4 5 6; do sleep 0.1; done; echo done";
    let out = attach(&["trace", "no_such:probe", "--", "sh", "-c", script]);
    assert_eq!(text(&out.stdout), "done\n", "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

/// `cost` and `--dry-run` do not follow their target, but know the libraries of running processes.
#[test]
fn measures_and_plans_probes_of_libraries() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let app = programs.str("host");
    let plan = |backend: &str| {
        attach(&["count", "--dry-run", "--backend", backend, "--exe", &app, "plug:hit"])
    };
    let out = plan("embedded");
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("probes of its libraries are left out"));
    let mut host = Host::start(Path::new(&app));
    host.tell(&format!("load {}", programs.str("libplug.so")));
    for backend in backends() {
        let out = plan(backend);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        assert!(text(&out.stdout).contains("plug:hit"), "{}", text(&out.stdout));
        assert!(text(&out.stderr).contains("libraries are those that its processes map now"));
    }
    // Another program that maps the library is not measured.
    let other = programs.path("other");
    stdout(command("cp").arg(&app).arg(&other));
    let mut other = Host::start(&other);
    other.tell(&format!("load {}", programs.str("libplug.so")));
    let args = ["cost", "--json", "--duration", "3s", "--exe", &app, "plug:hit"];
    let out = std::thread::scope(|scope| {
        let meter = scope.spawn(|| attach(&args));
        let mut fired = 0;
        while !meter.is_finished() {
            host.tell("fire 1");
            other.tell("fire 1000");
            fired += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        let out = meter.join().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let costs = usdt_e2e::json_lines(&text(&out.stdout));
        let hits = costs[0]["hits"].as_u64().unwrap();
        assert!(hits > 0 && hits <= fired, "{hits} of {fired}");
        out
    });
    assert!(text(&out.stderr).contains("libraries are those that its processes map now"));
}

/// A command is stopped while the tracer attaches to its libraries. If the tracer is killed then,
/// the command goes on.
#[test]
fn a_command_goes_on_when_its_tracer_is_killed() {
    const SIGKILL: i32 = 9;
    const SIGSTOP: i32 = 19;
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let started = programs.str("started");
    let script = format!("echo $$ > {started}; sleep 1; exec {}", programs.str("linked"));
    let tracer = start(&["count", "plug:hit", "--", "sh", "-c", &script]);
    let pid = || std::fs::read_to_string(&started).unwrap_or_default();
    wait_for("the command", || pid().ends_with('\n'));
    let pid = pid().trim().to_owned();
    tracer.signal(SIGSTOP);
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    wait_for("the linker to stop the command", || state() == Some('T'));
    tracer.signal(SIGKILL);
    wait_for("the command to end", || matches!(state(), None | Some('Z')));
}
