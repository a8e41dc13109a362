//! What a target comes to run after it was looked at, and where hits come from: stacks.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use usdt_attach::target::Target;
use usdt_attach::target::follow::Follower;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, command, copy, have, semaphore, semaphore_of,
    stdout, stream, text, tools, wait_for,
};

const SIGINT: i32 = 2;

fn tracer(args: &[&str]) -> Process {
    Process::start(command(tools().join("usdt-attach")).args(args))
}

/// Whether a tracer has come as far as its links: one of them tells of exec.
fn attached(tracer: &Process) -> bool {
    tracer.links() >= 2
}

/// Puts a copy of a program in the place of another one, as an upgrade does.
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
fn an_upgrade_is_followed() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let program = Fixture::get("hits", Mode::Sealed);
    let app = copy(&program);
    let old = Process::start(command(&app.path).args(["-per", "3", "-linger", "20s"]));
    let tracer = tracer(&["trace", "--exe", app.as_str(), "--json", "e2e:hit"]);
    wait_for("the tracer", || attached(&tracer));
    // Stripped: not the same file in any respect.
    replace(&Fixture::get("hits", Mode::Stripped), &app.path);
    let new = Process::start(command(&app.path).args(["-per", "4"]));
    let new_pid = new.pid();
    let (status, _, errors) = new.finish();
    assert!(status.success(), "{errors}");
    // And once more.
    replace(&program, &app.path);
    let newest = Process::start(command(&app.path).args(["-per", "5"]));
    newest.finish();
    let (_, out, _) = tracer.interrupt();
    let (events, summary) = stream(&out);
    assert_eq!((events.len(), &summary["hits"]), (12, &12.into()), "{summary}");
    assert_eq!(pids(&events).len(), 3);
    assert!(pids(&events).contains(&new_pid.into()));
    drop(old);
}

/// The process itself becomes another program, as servers do that restart without closing their sockets.
#[test]
fn exec_in_a_traced_process_is_followed() {
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
    let (events, summary) = stream(&out);
    // One hit of the program that it became.
    assert_eq!((events.len(), &summary["hits"]), (3, &3.into()), "{errors}");
    assert_eq!(pids(&events), [u64::from(pid)]);
}

#[test]
fn a_thousand_short_processes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let tracer = tracer(&["trace", "--exe", app.as_str(), "--json", "e2e:hit"]);
    wait_for("the tracer", || attached(&tracer));
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", tracer.pid())).unwrap().count();
    // Once the first is through, everything that following takes is open.
    stdout(&mut command(&app.path));
    let mut before = 0;
    wait_for("the tracer to be at rest", || {
        let last = std::mem::replace(&mut before, descriptors());
        std::thread::sleep(Duration::from_millis(100));
        last == before
    });
    let script = format!("for i in $(seq 250); do {0} & {0} & {0} & {0}; wait; done", app.as_str());
    stdout(command("sh").args(["-c", &script]));
    wait_for("nothing to be held for them", || descriptors() <= before);
    let (_, out, _) = tracer.interrupt();
    let (events, summary) = stream(&out);
    assert_eq!(summary["hits"], 1001, "{summary}");
    assert_eq!(events.len(), 1001);
    // Another test sets back the numbers that processes get.
    assert!(pids(&events).len() > 800, "{}", pids(&events).len());
}

/// A process id that another process had before is traced no more than any other.
#[test]
fn a_process_id_used_again() {
    if !have(&[Need::Bpf, Need::File("/proc/sys/kernel/ns_last_pid")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let first = Process::start(command(&app.path).args(["-per", "2"]));
    let pid = first.pid();
    let tracer = tracer(&["trace", "-p", &pid.to_string(), "--json", "e2e:hit"]);
    first.finish();
    let (_, out, errors) = tracer.finish();
    // The session has ended with its process, before the next one can have the id.
    let again = (0..50).find_map(|_| {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let next = Process::start(command(&app.path).args(["-per", "5", "-timeout", "200ms"]));
        (next.pid() == pid).then_some(next)
    });
    let (events, summary) = stream(&out);
    assert_eq!((events.len(), &summary["hits"]), (2, &2.into()), "{errors}");
    if let Some(again) = again {
        let (_, _, errors) = again.finish();
        assert_eq!(errors, "no tracer attached\n");
    }
}

/// A control group of its own, gone with the test.
struct Cgroup {
    mount: tempfile::TempDir,
}

impl Cgroup {
    fn new() -> Option<Cgroup> {
        let mount = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "cgroup2", "none"])
            .arg(mount.path())
            .status()
            .unwrap();
        mounted.success().then(|| {
            let name = format!("usdt-e2e-{}", std::process::id());
            std::fs::create_dir_all(mount.path().join(&name).join("inner")).unwrap();
            Cgroup { mount }
        })
    }

    fn path(&self) -> std::path::PathBuf {
        self.mount.path().join(format!("usdt-e2e-{}", std::process::id()))
    }

    /// A command that runs in the group.
    fn command(&self, folder: &str, app: &Copy, args: &str) -> Command {
        let mut shell = command("sh");
        let procs = self.path().join(folder).join("cgroup.procs");
        shell.args(["-c", &format!("echo $$ > {}; exec {} {args}", procs.display(), app.as_str())]);
        shell
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in [self.path().join("inner"), self.path()] {
            for _ in 0..100 {
                // Processes that were killed leave it a little later.
                if std::fs::remove_dir(&folder).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

#[test]
fn a_cgroup_and_those_below_present_and_future() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let Some(group) = Cgroup::new() else { panic!("cannot mount cgroup2") };
    let (app, later) =
        (copy(&Fixture::get("hits", Mode::Sealed)), copy(&Fixture::get("hits", Mode::Stripped)));
    let inside = Process::start(&mut group.command("inner", &app, "-per 3 -linger 20s"));
    let outside = Process::start(command(&app.path).args(["-per", "50", "-linger", "20s"]));
    let exe = |process: &Process| std::fs::read_link(format!("/proc/{}/exe", process.pid()));
    wait_for("both", || [&inside, &outside].iter().all(|p| exe(p).is_ok_and(|e| e == app.path)));
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
        wait_for("the tracer", || attached(&tracer));
        let future = Process::start(&mut group.command("", &later, "-per 4"));
        let (status, _, errors) = future.finish();
        assert!(status.success(), "{errors}");
        let (_, out, errors) = tracer.interrupt();
        let (events, summary) = stream(&out);
        let expected = if backend == "embedded" { 7 } else { 4 };
        assert_eq!((events.len(), &summary["hits"]), (expected, &expected.into()), "{errors}");
    }
    let not_a_group = attach(&["trace", "--cgroup", "/tmp"]);
    assert_eq!(not_a_group.status.code(), Some(2));
    assert!(text(&not_a_group.stderr).contains("not a cgroup: it has no cgroup.procs"));
    drop((inside, outside));
}

#[test]
fn everything_present_and_future() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, later) =
        (copy(&Fixture::get("pairs", Mode::Sealed)), copy(&Fixture::get("pairs", Mode::Stripped)));
    let start =
        |app: &Copy| Process::start(command(&app.path).args(["-per", "10", "-goroutines", "1"]));
    let present = start(&app);
    let (here, there) = (semaphore_of(&app.path, "ops:end"), semaphore_of(&later.path, "ops:end"));
    wait_for("the first", || {
        std::fs::read_link(format!("/proc/{}/exe", present.pid())).is_ok_and(|e| e == app.path)
    });
    let tracer = tracer(&["latency", "--all", "--json", "ops:begin", "ops:end", "--by", "pid"]);
    wait_for("the tracer", || semaphore(present.pid(), here) == 1);
    let future = start(&later);
    wait_for("the second", || semaphore(future.pid(), there) == 1);
    let expected = [present.pid(), future.pid()];
    for target in [present, future] {
        target.signal(SIGINT);
        target.finish();
    }
    let (_, out, errors) = tracer.interrupt();
    let (mut rows, summary) = stream(&out);
    rows.retain(|row| expected.iter().any(|pid| row["by"] == *pid));
    assert_eq!(rows.len(), 2, "{out} {errors}");
    assert!(rows.iter().all(|row| row["count"] == 8 && row["unit"] == "ns"), "{rows:?}");
    assert!(summary["unmatched_ends"].as_u64().unwrap() >= 2, "{summary}");
}

#[test]
fn stacks_have_names() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let mut seen = Vec::new();
    for (mode, backend) in [
        (Mode::Sealed, "embedded"),
        (Mode::Stripped, "embedded"),
        (Mode::Pie, "embedded"),
        (Mode::External, "embedded"),
        (Mode::ExternalPie, "embedded"),
        (Mode::Sealed, "bcc"),
    ] {
        if backend == "bcc" && !have(&[Need::Bcc]) {
            continue;
        }
        let app = copy(&Fixture::get("hits", mode));
        let args = [
            "trace",
            "--json",
            "--stack",
            "--backend",
            backend,
            "e2e:more-types",
            "--",
            app.as_str(),
        ];
        let out = attach(&[&args[..], &["-types", "-linger", "100ms"]].concat());
        let (events, _) = stream(&text(&out.stdout));
        let stack: Vec<&str> =
            events[0]["stack"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        let functions: Vec<&str> =
            stack.iter().map(|f| f.split(['+', ' ']).next().unwrap()).collect();
        // The gate is a part of its caller, and named all the same: so is the caller's line.
        let expected =
            ["usdt.local/tests/probes.MoreTypes", "main.everyType", "main.main", "runtime.main"];
        // Before Go 1.26 a stripped file does not say where its trees of inlined calls are.
        let trees = usize::from(functions[0] != expected[0]);
        assert!(trees == 0 || mode == Mode::Stripped, "{mode:?}: {stack:?}");
        assert_eq!(functions[..4 - trees], expected[trees..], "{mode:?}: {stack:?}");
        assert!(stack[2 - trees].contains("/hits/main.go:"), "{stack:?}");
        assert!(trees == 1 || stack[1].contains("/hits/main.go:"), "{stack:?}");
        seen.push(functions.len());
    }
    // A process that has ended, whose file has fixed addresses; and for people.
    let app = copy(&Fixture::get("hits", Mode::Stripped));
    let out = attach(&["trace", "--stack=2", "e2e:hit", "--", app.as_str()]);
    let out = text(&out.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert!((2..=3).contains(&lines.len()), "of two addresses one is the site: {out}");
    assert!(lines.last().unwrap().starts_with("    main.main.func"), "{out}");
}

/// Between the first look at a target and the beginning of following, a process may become another program.
#[test]
fn what_comes_before_anybody_tells_is_found() {
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
    let found = usdt_attach::discover::process(target.pid()).unwrap();
    target.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    target.wait_until_it_runs(&app.path);
    let mut follower = Follower::new(&Target::pid(target.pid()).unwrap(), &found);
    let new = follower.poll_new_objects().unwrap();
    assert!(new.iter().any(|f| f.object.path == app.path), "{new:?}");
    assert!(follower.poll_new_objects().unwrap().is_empty());
}
