//! The helper `usdt-attach-bcc`: how it is found, what happens when it is missing or killed, and
//! that libbcc and LLVM stay in its process.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, copy, have, json_lines, stdout, text, tools,
    wait_for,
};

/// Libraries of the compiler, which must not be mapped by `usdt-attach`.
const COMPILER_LIBRARIES: [&str; 3] = ["libbcc", "libLLVM", "libclang"];

/// Copies `usdt-attach` into an empty folder and returns a command with an empty search path.
fn without_helper() -> (Copy, Command) {
    let program = copy(&tools().join("usdt-attach"));
    let mut command = Command::new(&program.path);
    command.env("PATH", program.folder.path().join("nothing")).env("NO_COLOR", "1");
    (program, command)
}

fn trace_with_bcc(app: &Path) -> [&str; 6] {
    ["trace", "--backend", "bcc", "--exe", app.to_str().unwrap(), "e2e:hit"]
}

/// Waits until a process has started the helper and returns the helper's pid.
fn helper_of(tracer: &Process) -> u32 {
    let mut found = None;
    wait_for("the helper", || {
        // Any thread may have started it.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", tracer.pid())).into_iter().flatten();
        let children =
            tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|pids| pids.split(' ').filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
            .collect();
        let is_helper = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|c| c.trim() == "usdt-attach-bcc")
        };
        found = children.into_iter().find(is_helper);
        found.is_some()
    });
    found.unwrap()
}

fn signal(pid: u32, name: &str) {
    stdout(Command::new("kill").args([name, &pid.to_string()]));
}

fn is_running(pid: u32) -> bool {
    // A zombie still has a pid, but no executable.
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

#[test]
fn usdt_attach_maps_no_compiler_library() {
    let needed = stdout(Command::new("ldd").arg(tools().join("usdt-attach")));
    assert!(!COMPILER_LIBRARIES.iter().any(|name| needed.contains(name)), "{needed}");
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(usdt_e2e::command(&app.path).args(["-linger", "60s"]));
    for backend in ["embedded", "bcc"] {
        let args = ["trace", "--backend", backend, "-p", &target.pid().to_string(), "e2e:hit"];
        let tracer = Process::start(usdt_e2e::command(tools().join("usdt-attach")).args(args));
        wait_for("the tracer's link", || tracer.link_count() > 0);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", tracer.pid())).unwrap();
        assert!(!COMPILER_LIBRARIES.iter().any(|name| maps.contains(name)), "{backend}: {maps}");
    }
}

#[test]
fn missing_helper_error_says_how_to_install_it() {
    let app = Fixture::get("hits", Mode::Sealed);
    let (_folder, mut command) = without_helper();
    let out = command.args(trace_with_bcc(&app)).output().unwrap();
    let message = "the bcc back end needs the program usdt-attach-bcc, which is neither next to this program nor on \
                   PATH; install the package usdt-attach-bcc, or build it with `cargo install --path \
                   usdt-attach/bcc` (needs libbpfcc-dev)";
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(3), format!("error: {message}\n")));
    let (folder, mut command) = without_helper();
    let file = usdt_e2e::write(folder.folder.path(), "program.c", "USDT(e2e, hit) { return 0; }");
    let out = command.args(["run", &file, "--exe", app.to_str().unwrap()]).output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(3), format!("error: {message}\n")));
    let (_folder, mut command) = without_helper();
    let findings = json_lines(&text(&command.args(["doctor", "--json"]).output().unwrap().stdout));
    let bcc = findings.iter().find(|finding| finding["check"] == "bcc").unwrap();
    let (detail, fix) = message.split_once("; ").unwrap();
    assert_eq!(
        (&bcc["state"], &bcc["detail"], &bcc["hint"]),
        (&"degraded".into(), &detail.into(), &fix.into())
    );
}

#[test]
fn prefers_the_helper_next_to_the_program() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = Fixture::get("hits", Mode::Sealed);
    let (program, mut command) = without_helper();
    let helper = program.folder.path().join("usdt-attach-bcc").display().to_string();
    // `sh` writes the file in its own process. A descriptor that this process holds open for
    // writing could be inherited by a child of another test, and executing the file would fail with
    // ETXTBSY.
    let script = "printf '#!/bin/sh\necho \"{\\\"protocol\\\": 0}\"\n' > \"$0\" && chmod +x \"$0\"";
    stdout(Command::new("sh").args(["-c", script, &helper]));
    let out = command.env("PATH", tools()).args(trace_with_bcc(&app)).output().unwrap();
    let errors = text(&out.stderr);
    let expected = format!(
        "error: {helper} is not of this release; install usdt-attach-bcc {}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!((out.status.code(), errors), (Some(3), expected));
}

#[test]
fn doctor_reports_the_working_helper() {
    if !have(&[Need::Bcc]) {
        return;
    }
    let out = attach(&["doctor", "--json"]);
    let findings = json_lines(&text(&out.stdout));
    let bcc = findings.iter().find(|finding| finding["check"] == "bcc").unwrap();
    let detail = format!("{}, with kernel headers", tools().join("usdt-attach-bcc").display());
    assert_eq!((&bcc["state"], &bcc["detail"]), (&"ok".into(), &detail.into()));
}

#[test]
fn finds_the_helper_on_the_search_path() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (program, mut command) = without_helper();
    let elsewhere = program.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(tools().join("usdt-attach-bcc"), elsewhere.join("usdt-attach-bcc")).unwrap();
    command.env("PATH", elsewhere).args(trace_with_bcc(&app.path)).args(["--duration", "1ms"]);
    let out = command.output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn reports_a_killed_helper() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let tracer = Process::start(
        usdt_e2e::command(tools().join("usdt-attach")).args(trace_with_bcc(&app.path)),
    );
    signal(helper_of(&tracer), "-KILL");
    let (status, _, errors) = tracer.finish();
    let helper = tools().join("usdt-attach-bcc");
    let expected = format!("error: {} has failed (signal: 9 (SIGKILL))\n", helper.display());
    assert_eq!((status.code(), errors), (Some(3), expected));
}

#[test]
fn helper_ends_with_the_program_that_started_it() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let tracer = Process::start(
        usdt_e2e::command(tools().join("usdt-attach")).args(trace_with_bcc(&app.path)),
    );
    let helper = helper_of(&tracer);
    // By the time it loads libbcc it has requested the parent-death signal.
    wait_for("the helper to compile", || {
        std::fs::read_to_string(format!("/proc/{helper}/maps"))
            .is_ok_and(|maps| maps.contains("libbcc"))
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    signal(helper, "-STOP");
    tracer.signal(9);
    wait_for("the helper to exit", || !is_running(helper));
}
