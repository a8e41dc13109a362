//! Following a target: upgrades, exec, and processes that start while it is traced.

use crate::session::tracer;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use usdt_attach::target::Target;
use usdt_attach::target::follow::Follower;
use usdt_e2e::containment::Cgroup;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, command, copy, events_and_summary, have, semaphore,
    semaphore_of, stdout, text, wait_for,
};

const SIGINT: i32 = 2;

/// Returns true if a tracer has attached. One of its links reports exec, the other the hits.
fn is_attached(tracer: &Process) -> bool {
    tracer.is_attached()
}

/// Replaces `place` atomically by a copy of `program`, as an upgrade does.
fn replace(program: &Path, place: &Path) {
    let new = place.with_extension("new");
    stdout(Command::new("cp").arg(program).arg(&new));
    std::fs::rename(&new, place).unwrap();
}

fn pids(events: &[serde_json::Value]) -> Vec<u64> {
    let mut pids: Vec<u64> = events.iter().map(|e| e["pid"].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[test]
fn follows_an_upgraded_executable() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let program = Fixture::get("hits", Mode::Sealed);
    let app = copy(&program);
    let old = Process::start(command(&app.path).args(["-per", "3", "-linger", "20s"]));
    let tracer = tracer(&["trace", "--exe", app.as_str(), "--json", "e2e:hit"]);
    wait_for("the tracer", || is_attached(&tracer));
    // The stripped build has different offsets.
    replace(&Fixture::get("hits", Mode::Stripped), &app.path);
    let new = Process::start(command(&app.path).args(["-per", "4"]));
    let new_pid = new.pid();
    let (status, _, errors) = new.finish();
    assert!(status.success(), "{errors}");
    replace(&program, &app.path);
    let newest = Process::start(command(&app.path).args(["-per", "5"]));
    newest.finish();
    let (status, out, errors) = tracer.interrupt();
    assert!(status.success(), "{status}: {errors}");
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (12, &12.into()), "{summary}");
    assert_eq!(pids(&events).len(), 3);
    assert!(pids(&events).contains(&new_pid.into()));
    drop(old);
}

/// The process itself executes another program, as servers do that restart without closing their
/// sockets.
#[test]
fn follows_exec_in_a_traced_process() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (first, second) =
        (copy(&Fixture::get("hits", Mode::Sealed)), copy(&Fixture::get("hits", Mode::Stripped)));
    let target = Process::start(command(&first.path).args(["-per", "2", "-exec", second.as_str()]));
    let pid = target.pid();
    let tracer = tracer(&["trace", "-p", &pid.to_string(), "--json", "e2e:hit"]);
    let (status, _, errors) = target.finish();
    assert!(status.success(), "{errors}");
    let (_, out, errors) = tracer.finish();
    let (events, summary) = events_and_summary(&out);
    // The last hit is one of the program that it executed.
    assert_eq!((events.len(), &summary["hits"]), (3, &3.into()), "{errors}");
    assert_eq!(pids(&events), [u64::from(pid)]);
}

#[test]
fn traces_a_thousand_short_processes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let tracer = tracer(&["trace", "--exe", app.as_str(), "--json", "e2e:hit"]);
    wait_for("the tracer", || is_attached(&tracer));
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", tracer.pid())).unwrap().count();
    // After the first process, every descriptor that following needs is open.
    stdout(&mut command(&app.path));
    let mut before = 0;
    wait_for("the tracer to become idle", || {
        let previous = std::mem::replace(&mut before, descriptors());
        std::thread::sleep(Duration::from_millis(100));
        previous == before
    });
    let script = format!("for i in $(seq 250); do {0} & {0} & {0} & {0}; wait; done", app.as_str());
    stdout(command("sh").args(["-c", &script]));
    wait_for("the tracer to release its descriptors", || descriptors() <= before);
    let (_, out, _) = tracer.interrupt();
    let (events, summary) = events_and_summary(&out);
    assert_eq!(summary["hits"], 1001, "{summary}");
    assert_eq!(events.len(), 1001);
    // Another test resets the pid counter, so some pids may repeat.
    assert!(pids(&events).len() > 800, "{}", pids(&events).len());
}

/// A process that reuses the id of a traced process is not traced.
#[test]
fn ignores_a_reused_process_id() {
    if !have(&[Need::Bpf, Need::File("/proc/sys/kernel/ns_last_pid")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let first = Process::start(command(&app.path).args(["-per", "2"]));
    let pid = first.pid();
    let tracer = tracer(&["trace", "-p", &pid.to_string(), "--json", "e2e:hit"]);
    first.finish();
    let (_, out, errors) = tracer.finish();
    // The session ends with its process, before another process can get the id.
    let reusing = (0..50).find_map(|_| {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let next = Process::start(command(&app.path).args(["-per", "5", "-timeout", "200ms"]));
        (next.pid() == pid).then_some(next)
    });
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (2, &2.into()), "{errors}");
    if let Some(reusing) = reusing {
        let (_, _, errors) = reusing.finish();
        assert_eq!(errors, "no tracer attached\n");
    }
}

#[test]
fn follows_a_cgroup_and_its_descendants() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let group = Cgroup::new().unwrap();
    let (app, later) =
        (copy(&Fixture::get("hits", Mode::Sealed)), copy(&Fixture::get("hits", Mode::Stripped)));
    let inside = Process::start(&mut group.command("inner", &app, "-per 3 -linger 20s"));
    let outside = Process::start(command(&app.path).args(["-per", "50", "-linger", "20s"]));
    let exe = |process: &Process| std::fs::read_link(format!("/proc/{}/exe", process.pid()));
    wait_for("both programs to run", || {
        [&inside, &outside].iter().all(|p| exe(p).is_ok_and(|e| e == app.path))
    });
    for (backend, need) in [("embedded", Need::Bpf), ("bcc", Need::Bcc)] {
        if !have(&[need]) {
            continue;
        }
        let path = group.path();
        let args = [
            "trace",
            "--cgroup",
            path.to_str().unwrap(),
            "--json",
            "--backend",
            backend,
            "e2e:hit",
        ];
        let tracer = tracer(&args);
        wait_for("the tracer", || is_attached(&tracer));
        let future = Process::start(&mut group.command("", &later, "-per 4"));
        let (status, _, errors) = future.finish();
        assert!(status.success(), "{errors}");
        let (_, out, errors) = tracer.interrupt();
        let (events, summary) = events_and_summary(&out);
        let expected = if backend == "embedded" { 7 } else { 4 };
        assert_eq!((events.len(), &summary["hits"]), (expected, &expected.into()), "{errors}");
    }
    let not_a_group = attach(&["trace", "--cgroup", "/tmp"]);
    assert_eq!(not_a_group.status.code(), Some(2));
    assert!(text(&not_a_group.stderr).contains("not a cgroup: it has no cgroup.procs"));
    drop((inside, outside));
}

#[test]
fn follows_processes_system_wide() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, later) =
        (copy(&Fixture::get("pairs", Mode::Sealed)), copy(&Fixture::get("pairs", Mode::Stripped)));
    let start =
        |app: &Copy| Process::start(command(&app.path).args(["-per", "10", "-goroutines", "1"]));
    let present = start(&app);
    let (present_semaphore, future_semaphore) =
        (semaphore_of(&app.path, "ops:end"), semaphore_of(&later.path, "ops:end"));
    wait_for("the first program to run", || {
        std::fs::read_link(format!("/proc/{}/exe", present.pid())).is_ok_and(|e| e == app.path)
    });
    let tracer = tracer(&["latency", "--all", "--json", "ops:begin", "ops:end", "--by", "pid"]);
    wait_for("the tracer", || semaphore(present.pid(), present_semaphore) == 1);
    let future = start(&later);
    wait_for("the second program to be enabled", || semaphore(future.pid(), future_semaphore) == 1);
    let expected = [present.pid(), future.pid()];
    for target in [present, future] {
        target.signal(SIGINT);
        target.finish();
    }
    let (_, out, errors) = tracer.interrupt();
    let (mut rows, summary) = events_and_summary(&out);
    rows.retain(|row| expected.iter().any(|pid| row["labels"]["pid"] == *pid));
    assert_eq!(rows.len(), 2, "{out} {errors}");
    // Eight pairs, and an end without a start that took a start without an end.
    assert!(rows.iter().all(|row| row["count"] == 9 && row["unit"] == "ns"), "{rows:?}");
    assert_eq!(summary["unmatched_ends"], 0, "{summary}");
}

/// Between the first scan of a target and the first exec notification, a process may execute
/// another program.
#[test]
fn first_scan_finds_an_exec_before_notifications_start() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let script = format!("read go; exec {} -per 1", app.as_str());
    let mut shell = command("sh");
    let shell = shell
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut target = Process(shell.spawn().unwrap());
    let found = usdt_attach::discover::scan_process(target.pid()).unwrap().objects;
    target.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    target.wait_for_exec(&app.path);
    let mut follower = Follower::new(&Target::pid(target.pid()).unwrap(), &found);
    let new = follower.poll_new_objects().unwrap();
    assert!(new.iter().any(|f| f.object.path == app.path), "{new:?}");
    assert!(follower.poll_new_objects().unwrap().is_empty());
}
