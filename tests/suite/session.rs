//! How sessions start and end, and that nothing remains afterwards.

use std::time::Duration;
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, events_and_summary, have, semaphore,
    semaphore_of, text, tools, wait_for,
};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;

/// Starts `usdt-attach`.
pub(crate) fn tracer(args: &[&str]) -> Process {
    Process::start(command(tools().join("usdt-attach")).args(args))
}

/// Starts a process that waits for another probe than `e2e:nothing`. Returns it with the address of
/// that probe's semaphore.
fn start_waiting(app: &std::path::Path) -> (Process, u64) {
    (Process::start(&mut command(app)), semaphore_of(app, "e2e:nothing"))
}

#[test]
fn interrupt_detaches_and_prints_a_summary() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (target, address) = start_waiting(&app.path);
    let tracer = tracer(&["trace", "-p", &target.pid().to_string(), "--json", "e2e:nothing"]);
    wait_for("the semaphore to be incremented", || semaphore(target.pid(), address) == 1);
    tracer.signal(SIGINT);
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (0, &0.into()));
    assert_eq!(semaphore(target.pid(), address), 0);
}

#[test]
fn killed_tracer_releases_its_semaphore() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (target, address) = start_waiting(&app.path);
    let pid = target.pid().to_string();
    let script = format!("usdt:{}:e2e:nothing {{ exit(); }}", app.as_str());
    let tracers = [
        tracer(&["trace", "-p", &pid, "e2e:nothing"]),
        Process::start(command("bpftrace").args(["-e", &script])),
    ];
    // The kernel increments the semaphore once if both attach to the same instruction.
    wait_for("both tracers", || {
        semaphore(target.pid(), address) >= 1 && tracers.iter().all(|t| t.link_count() > 0)
    });
    for tracer in tracers {
        tracer.signal(SIGKILL);
        let (status, ..) = tracer.finish();
        assert!(!status.success());
    }
    wait_for("the semaphore to be decremented", || semaphore(target.pid(), address) == 0);
}

#[test]
fn ends_when_the_target_exits() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(command(&app.path).args(["-per", "5"]));
    let tracer = tracer(&["trace", "-p", &target.pid().to_string(), "--json", "e2e:hit"]);
    let (status, ..) = target.finish();
    assert!(status.success());
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (5, &5.into()));
}

#[test]
fn says_for_how_long_no_probe_was_hit() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("ticks", Mode::Sealed));
    for command in ["trace", "count"] {
        let out = attach(&[command, "--exe", app.as_str(), "e2e:hit", "--duration", "200ms"]);
        let errors = text(&out.stderr);
        assert!(out.status.success(), "{errors}");
        assert!(errors.contains("the traced processes hit no probe in the 0."), "{errors}");
    }
}

#[test]
fn event_limit_is_exact_under_load() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for (backend, need) in [("embedded", Need::Bpf), ("bcc", Need::Bcc)] {
        if !have(&[need]) {
            continue;
        }
        let app = copy(&Fixture::get("hits", Mode::Sealed));
        let target = Process::start(command(&app.path).args([
            "-per",
            "100000",
            "-goroutines",
            "4",
            "-linger",
            "10s",
        ]));
        let pid = target.pid().to_string();
        let out = attach(&[
            "trace",
            "-p",
            &pid,
            "--json",
            "--events",
            "7",
            "--backend",
            backend,
            "e2e:hit",
        ]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let (events, summary) = events_and_summary(&text(&out.stdout));
        assert_eq!(events.len(), 7);
        let count = |name: &str| summary[name].as_u64().unwrap();
        assert_eq!(count("hits"), count("delivered") + count("dropped"), "{summary}");
        if backend == "embedded" {
            assert_eq!(count("hits"), 7, "{summary}");
        }
    }
}

#[test]
fn traces_present_and_future_processes_of_a_file() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let present = Process::start(command(&app.path).args(["-per", "3"]));
    let mut tracer = tracer(&["trace", "--exe", app.as_str(), "--json", "e2e:hit"]);
    present.finish();
    let future = Process::start(command(&app.path).args(["-per", "4", "-goroutines", "2"]));
    future.finish();
    std::thread::sleep(Duration::from_millis(50));
    assert!(tracer.0.try_wait().unwrap().is_none(), "the tracer runs until it is interrupted");
    tracer.signal(SIGINT);
    let (_, out, _) = tracer.finish();
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (11, &11.into()));
    let pids: std::collections::HashSet<u64> =
        events.iter().map(|e| e["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2);
}

#[test]
fn traces_only_the_given_processes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let start = |per: &str| Process::start(command(&app.path).args(["-per", per]));
    let (first, second) = (start("3"), start("4"));
    let other = start("5");
    let pids = format!("{},{}", first.pid(), second.pid());
    let tracer = tracer(&["trace", "-p", &pids, "--json", "e2e:hit"]);
    let expected = [first.pid(), second.pid()];
    for target in [first, second] {
        target.finish();
    }
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (7, &7.into()));
    assert!(events.iter().all(|e| expected.iter().any(|pid| e["pid"] == *pid)));
    drop(other);
}

#[test]
fn traces_a_process_whose_file_was_deleted() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(command(&app.path).args(["-per", "2"]));
    target.wait_for_exec(&app.path);
    std::fs::remove_file(&app.path).unwrap();
    let out = attach(&["trace", "-p", &target.pid().to_string(), "--json", "e2e:hit"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(events_and_summary(&text(&out.stdout)).0.len(), 2);
}

#[test]
fn closed_pipe_ends_quietly() {
    if !have(&[Need::Bpf, Need::Program("bash")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let script = format!(
        "usdt-attach trace e2e:hit -- {} -per 100000 -linger 5s | head -n 2; test ${{PIPESTATUS[0]}} = 0",
        app.as_str()
    );
    let out = command("bash").args(["-c", &script]).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout).lines().count(), 2);
}

#[test]
fn command_ends_with_its_session() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let out = attach(&[
        "trace",
        "--json",
        "--events",
        "2",
        "e2e:hit",
        "--",
        app.as_str(),
        "-per",
        "5",
        "-linger",
        "60s",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, _) = events_and_summary(&text(&out.stdout));
    let pid = events[0]["pid"].as_u64().unwrap();
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "the process has exited and was waited for"
    );
}

#[test]
fn reports_a_command_that_cannot_run() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    // The file is sealed but not executable.
    std::fs::set_permissions(&app.path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    let out = attach(&["trace", "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("cannot run"), "{}", text(&out.stderr));
}

#[test]
fn prints_events_as_text() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let out = attach(&["trace", "e2e:more-types", "other*:*", "--", app.as_str(), "-types"]);
    let out_text = text(&out.stdout);
    let lines: Vec<&str> = out_text.lines().collect();
    assert_eq!(lines.len(), 5, "{out_text}");
    let (_, rest) = lines[0].split_once(" g1 ").unwrap();
    let (before, after) = rest.split_once(" p=0x").unwrap();
    assert_eq!(
        before,
        "e2e:more__types u64=18446744073709551615 f=1.5 d=-2.25 ok=true cstring=\"C \\\"text\\\"\" data=0001ff err=\"it broke\\n\""
    );
    assert!(after.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(
        lines[1].ends_with("f=inf d=NaN ok=false cstring=\"\" data=\"\" err=nil p=0x0"),
        "{}",
        lines[1]
    );
    assert!(lines[3].ends_with("other_provider:hit n=7"), "{}", lines[3]);
    assert_eq!(text(&out.stderr), "done\n5 hits: 5 delivered, 0 dropped, 0 filtered\n");
}

/// A tracer whose reader has stopped reading still ends on the second signal.
#[test]
fn second_signal_ends_immediately() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let mut tracer = tracer(&["trace", "--exe", app.as_str(), "e2e:hit"]);
    wait_for("the tracer", || tracer.link_count() > 0);
    // These events exceed the capacity of the pipe, which is not read.
    Process::start(command(&app.path).args(["-per", "20000"])).finish();
    tracer.signal(SIGINT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        tracer.0.try_wait().unwrap().is_none(),
        "after the first signal it waits for its reader"
    );
    tracer.signal(SIGINT);
    wait_for("the tracer to exit", || tracer.0.try_wait().unwrap().is_some());
    assert_eq!(tracer.0.wait().unwrap().code(), Some(130));
}
