//! Following the children of processes, and saying which ones are left out.

use crate::pid_namespaces::pids_program;
use crate::session::tracer;
use serde_json::{Value, json};
use std::process::Output;
use std::time::Duration;
use usdt_attach::{Target, Tracer};
use usdt_e2e::{
    Copy, Need, Process, attach, command, events_and_summary, have, json_lines, root, semaphore,
    semaphore_of, stdout, text, wait_for,
};

/// Runs a command once for each back end that this machine has.
fn for_each_backend(mut run: impl FnMut(&str)) {
    for (backend, need) in [("embedded", Need::Bpf), ("bcc", Need::Bcc)] {
        if have(&[need]) {
            run(backend);
        }
    }
}

fn can_run() -> bool {
    have(&[Need::Bpf, Need::Program("cc")])
}

fn parse(out: &Output) -> (Vec<Value>, Value) {
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    events_and_summary(&text(&out.stdout))
}

/// Asserts that each of `processes` processes has fired hits 0 to `count`, in order, and that the
/// ids of the events are theirs.
fn assert_complete(events: &[Value], processes: usize, count: usize) {
    let mut numbers = std::collections::HashMap::<u64, Vec<u64>>::new();
    for event in events {
        assert_eq!(event["pid"], event["args"]["arg1"], "{event}");
        let number = event["args"]["arg0"].as_u64().unwrap();
        numbers.entry(event["pid"].as_u64().unwrap()).or_default().push(number);
    }
    assert_eq!(numbers.len(), processes, "{numbers:?}");
    let expected: Vec<u64> = (0..count as u64).collect();
    assert!(numbers.values().all(|seen| *seen == expected), "{numbers:?}");
}

/// A server that forks its workers: no hit of a worker is lost, not even the first one.
#[test]
fn follows_the_workers_of_a_command() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for_each_backend(|backend| {
        let command = ["--", app.as_str(), "workers", "4", "50", "0"];
        let options = ["--json", "--backend", backend];
        let out = attach(&[&["trace"], &options[..], &command].concat());
        let (events, summary) = parse(&out);
        assert_eq!(summary["hits"], 200, "{backend} {summary}");
        assert_complete(&events, 4, 50);
        let out = attach(&[&["count", "--by", "pid"], &options[..], &command].concat());
        let (rows, summary) = parse(&out);
        assert_eq!((rows.len(), &summary["hits"]), (4, &200.into()), "{backend} {rows:?}");
        assert!(rows.iter().all(|row| row["count"] == 50), "{backend} {rows:?}");
        assert!(summary.get("children_left_out").is_none(), "{summary}");
    });
}

#[test]
fn follows_grandchildren_and_forks_of_forks() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let args = ["trace", "--json", "--", app.as_str(), "chain", "5", "3", "0"];
    let (events, summary) = parse(&attach(&args));
    // Each generation fires its own hits, and so do the generations that it forks afterwards.
    assert_eq!(summary["hits"], 15, "{summary}");
    assert_complete(&events, 5, 3);
}

#[test]
fn follows_the_children_of_a_process_if_asked() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for_each_backend(|backend| {
        let target = Process::start(command(&app.path).args(["workers", "4", "50", "0"]));
        target.wait_for_exec(&app.path);
        let pid = target.pid().to_string();
        let out = attach(&["trace", "--children", "-p", &pid, "--json", "--backend", backend]);
        let (events, summary) = parse(&out);
        assert_eq!(summary["hits"], 200, "{backend} {summary}");
        assert_complete(&events, 4, 50);
    });
}

/// A server whose workers run already, such as nginx.
#[test]
fn traces_children_that_exist() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let target = Process::start(command(&app.path).args(["prefork", "4", "30", "0"]));
    wait_for_children(&target, 4);
    let pid = target.pid().to_string();
    let (events, summary) = parse(&attach(&["trace", "--children", "-p", &pid, "--json"]));
    assert_eq!(summary["hits"], 120, "{summary}");
    assert_complete(&events, 4, 30);
}

fn children_of(target: &Process) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", target.pid());
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn wait_for_children(target: &Process, count: usize) {
    wait_for("the children", || children_of(target).len() == count);
}

#[test]
fn says_how_many_children_are_left_out() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for_each_backend(|backend| {
        let target = Process::start(command(&app.path).args(["workers", "3", "10", "0"]));
        target.wait_for_exec(&app.path);
        let pid = target.pid().to_string();
        let (events, summary) =
            parse(&attach(&["trace", "-p", &pid, "--json", "--backend", backend]));
        assert!(events.is_empty(), "{events:?}");
        assert_eq!((&summary["hits"], &summary["children_left_out"]), (&0.into(), &3.into()));
        target.finish();
    });
    let target = Process::start(command(&app.path).args(["prefork", "1", "10", "1000000"]));
    wait_for_children(&target, 1);
    let out = attach(&["count", "-p", &target.pid().to_string(), "--duration", "100ms"]);
    let errors = text(&out.stderr);
    assert!(errors.contains("left out 1 child process, which --children traces"), "{errors}");
}

#[test]
fn ends_with_the_last_child_of_a_command() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for_each_backend(|backend| {
        let daemon = ["--", app.as_str(), "daemon", "50", "2000"];
        let options = ["--json", "--backend", backend];
        let (events, summary) = parse(&attach(&[&["trace"], &options[..], &daemon].concat()));
        assert_eq!(summary["hits"], 50, "{backend} {summary}");
        assert_complete(&events, 1, 50);
        // The command itself fires nothing.
        let alone = [&["trace", "--no-children"], &options[..], &daemon].concat();
        let (events, summary) = parse(&attach(&alone));
        assert_eq!((events.len(), &summary["hits"]), (0, &0.into()), "{backend} {summary}");
        assert_eq!(summary["children_left_out"], 1, "{summary}");
    });
}

/// A process lives on when its main thread has exited.
#[test]
fn follows_a_process_without_its_main_thread() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let args = ["trace", "--json", "--", app.as_str(), "leaderless", "50", "1000"];
    let (events, summary) = parse(&attach(&args));
    assert_eq!((events.len(), &summary["hits"]), (50, &50.into()), "{summary}");
}

/// A child that executes another program is attached to as soon as that is known, and what may be
/// missed is said.
#[test]
fn attaches_to_other_programs_of_children() {
    if !can_run() {
        return;
    }
    let (app, other) = (pids_program(), pids_program());
    for_each_backend(|backend| {
        for mode in ["run", "spawn"] {
            let program = ["--", app.as_str(), mode, other.as_str(), "wait", "20", "1000"];
            let out = attach(&[&["trace", "--json", "--backend", backend], &program[..]].concat());
            let (events, summary) = parse(&out);
            assert_eq!(summary["hits"], 20, "{backend} {mode} {summary}");
            assert_complete(&events, 1, 20);
            let errors = text(&out.stderr);
            let message = format!("attached to {}, which process ", other.as_str());
            assert!(errors.contains(&message), "{errors}");
        }
    });
    // Without waiting, the hits of less than half a second are missed.
    let program = ["--", app.as_str(), "run", other.as_str(), "ticks", "1500", "1000"];
    let (events, summary) = parse(&attach(&[&["trace", "--json"], &program[..]].concat()));
    assert!(summary["hits"].as_u64().unwrap() >= 1000, "{summary}");
    assert_eq!(events.last().unwrap()["args"]["arg0"], 1499, "{summary}");
}

/// The same program is executed again: its file is attached to already.
#[test]
fn loses_no_hit_of_a_child_that_executes_the_same_program() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let program = ["--", app.as_str(), "run", app.as_str(), "ticks", "100", "0"];
    let (events, summary) = parse(&attach(&[&["trace", "--json"], &program[..]].concat()));
    assert_eq!(summary["hits"], 100, "{summary}");
    assert_complete(&events, 1, 100);
}

/// A forked child inherits the semaphore with its memory; the kernel takes it back in every process.
#[test]
fn resets_the_semaphores_of_children() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("pids");
    let source = root().join("tests/c/pids.c");
    stdout(command("cc").args(["-O2", "-no-pie", "-o"]).arg(&app).arg(source).arg("-lpthread"));
    let address = semaphore_of(&app, "pids:tick");
    let target = Process::start(command(&app).args(["workers", "3", "100000", "1000"]));
    target.wait_for_exec(&app);
    let tracer = tracer(&["trace", "--children", "-p", &target.pid().to_string()]);
    wait_for_children(&target, 3);
    let all: Vec<u32> = children_of(&target).into_iter().chain([target.pid()]).collect();
    assert!(all.iter().all(|pid| semaphore(*pid, address) == 1), "{all:?}");
    tracer.interrupt();
    let values: Vec<u16> = all.iter().map(|pid| semaphore(*pid, address)).collect();
    assert!(values.iter().all(|value| *value == 0), "{values:?}");
    for pid in children_of(&target) {
        stdout(command("kill").arg(pid.to_string()));
    }
}

/// Processes that are not children of the target run the same file.
#[test]
fn ignores_other_processes_of_the_file() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let _stranger = Process::start(command(&app.path).args(["ticks", "100000", "1000"]));
    for_each_backend(|backend| {
        let program = ["--", app.as_str(), "workers", "2", "20", "2000"];
        let out = attach(&[&["trace", "--json", "--backend", backend], &program[..]].concat());
        let (events, summary) = parse(&out);
        assert_eq!(summary["hits"], 40, "{backend} {summary}");
        assert_complete(&events, 2, 20);
    });
}

#[test]
fn follows_children_in_a_pid_namespace() {
    if !can_run() || !have(&[Need::Program("unshare")]) {
        return;
    }
    let app = pids_program();
    for_each_backend(|backend| {
        let mut unshare = command("unshare");
        unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc", "usdt-attach", "trace"]);
        unshare.args([
            "--json",
            "--backend",
            backend,
            "--",
            app.as_str(),
            "workers",
            "3",
            "20",
            "0",
        ]);
        let (events, summary) = parse(&unshare.output().unwrap());
        assert_eq!(summary["hits"], 60, "{backend} {summary}");
        assert_complete(&events, 3, 20);
        assert!(events[0]["pid"].as_u64().unwrap() < 100, "{}", events[0]);
    });
}

#[test]
fn custom_programs_follow_children() {
    if !can_run() || !have(&[Need::Bcc]) {
        return;
    }
    let app = pids_program();
    let source = usdt_e2e::write(
        app.folder.path(),
        "count.c",
        "BPF_ARRAY(hits, u64, 1);\nUSDT(pids, tick) {\n  int zero = 0;\n  hits.atomic_increment(zero);\n  \
         return 0;\n}\n",
    );
    let run = |options: &[&str]| {
        let program = [&source, "--", app.as_str(), "workers", "4", "25", "0"];
        let out = attach(&[&["run", "--json"], options, &program[..]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        (json_lines(&text(&out.stdout)), text(&out.stderr))
    };
    let (rows, _) = run(&[]);
    assert_eq!(rows, [json!({"table": "hits", "key": 0, "value": 100})]);
    let (rows, errors) = run(&["--no-children"]);
    assert!(rows.is_empty(), "{rows:?}");
    assert!(errors.contains("left out 4 child processes"), "{errors}");
}

#[test]
fn exports_the_hits_of_children() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let port = usdt_e2e::free_port().to_string();
    let program = ["--", app.as_str(), "workers", "4", "25", "0"];
    let out = attach(&[&["export", "--prometheus", &port], &program[..]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("100 hits: 100 delivered"), "{}", text(&out.stderr));
    // A shell has no probes itself.
    let script = format!("{0} wait 20 0 & {0} wait 20 0; wait", app.as_str());
    let out = attach(&["export", "--prometheus", &port, "--", "sh", "-c", &script]);
    let errors = text(&out.stderr);
    assert!(errors.contains("40 hits: 40 delivered"), "{errors}");
    assert!(errors.contains("hits before that are missed"), "{errors}");
}

/// The library follows the children of a command by default, and those of a process on request.
#[test]
fn library_follows_children() {
    if !can_run() {
        return;
    }
    let app: Copy = pids_program();
    let trace = |target: Target, children: Option<bool>| {
        let mut builder = Tracer::builder().target(target);
        if let Some(children) = children {
            builder = builder.children(children);
        }
        let mut tracer = builder.attach().unwrap();
        let mut events = 0;
        while let Some(mut batch) = tracer.poll(Duration::from_secs(1)).unwrap() {
            while batch.next().unwrap().is_some() {
                events += 1;
            }
        }
        if let Some(child) = tracer.command() {
            child.wait().unwrap();
        }
        events
    };
    let command_line = || Target::command([app.as_str(), "workers", "3", "10", "0"]);
    assert_eq!(trace(command_line(), None), 30);
    assert_eq!(trace(command_line(), Some(false)), 0);
    let target = Process::start(command(&app.path).args(["workers", "3", "10", "0"]));
    target.wait_for_exec(&app.path);
    assert_eq!(trace(Target::pid(target.pid()).unwrap(), Some(true)), 30);
}

/// A shell has no probes itself. Its children wait for the tracer, so that no hit is missed.
#[test]
fn follows_the_programs_of_a_shell_script() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for_each_backend(|backend| {
        let script = format!("{0} wait 20 0 & {0} wait 20 0; wait", app.as_str());
        let program = ["--", "sh", "-c", &script];
        let out = attach(&[&["trace", "--json", "--backend", backend], &program[..]].concat());
        let (events, summary) = parse(&out);
        assert_eq!(summary["hits"], 40, "{backend} {summary}");
        assert_complete(&events, 2, 20);
        let errors = text(&out.stderr);
        assert!(errors.contains("hits before that are missed"), "{errors}");
    });
}

const LIBRARY: &str = r#"
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <unistd.h>
unsigned short lib_call_semaphore __attribute__((section(".probes")));
void call(int n) { if (lib_call_semaphore) STAP_PROBE3(lib, call, n, (int)getpid(), (int)gettid()); }
"#;

/// An interpreter that loads a library with probes and then forks, as preforking Python servers do.
#[test]
fn follows_the_forks_of_an_interpreter() {
    if !can_run() || !have(&[Need::Program("python3")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = usdt_e2e::write(folder.path(), "lib.c", format!("#define _GNU_SOURCE\n{LIBRARY}"));
    let library = folder.path().join("lib.so");
    stdout(command("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source));
    let script = usdt_e2e::write(
        folder.path(),
        "server.py",
        "import ctypes, os, sys, time\nlib = ctypes.CDLL(sys.argv[1])\n\
         semaphore = ctypes.c_ushort.in_dll(lib, 'lib_call_semaphore')\n\
         while not semaphore.value:\n    time.sleep(0.001)\n\
         for worker in range(3):\n    if os.fork() == 0:\n        \
         for n in range(10):\n            lib.call(n)\n        os._exit(0)\n\
         for worker in range(3):\n    os.wait()\n",
    );
    for_each_backend(|backend| {
        let program = ["lib:call", "--", "python3", &script, library.to_str().unwrap()];
        let out = attach(&[&["trace", "--json", "--backend", backend], &program[..]].concat());
        let (events, summary) = parse(&out);
        assert_eq!(summary["hits"], 30, "{backend} {summary} {}", text(&out.stderr));
        assert_complete(&events, 3, 10);
    });
}

/// Whatever a program does within a few milliseconds after it was executed may be missed.
#[test]
fn says_that_a_short_program_may_be_missed() {
    if !can_run() {
        return;
    }
    let (app, other) = (pids_program(), pids_program());
    // The second program keeps the session running until the end of the first one is known.
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do true; /bin/true; done; exec {} wait 3 0",
        other.as_str()
    );
    let program = ["--", app.as_str(), "run", "/bin/sh", "-c", &script];
    let out = attach(&[&["trace", "--json"], &program[..]].concat());
    let (_, summary) = parse(&out);
    assert_eq!(summary["hits"], 3, "{summary}");
    let errors = text(&out.stderr);
    assert!(errors.contains("hits of such short programs may be missed"), "{errors}");
}
