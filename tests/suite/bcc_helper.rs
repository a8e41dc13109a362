//! `usdt-attach-bcc`: found, missing, killed; libbcc and LLVM stay in its process.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, copy, have, lines, stdout, text, tools, wait_for,
};

/// What compiles C: no part of the program that traces.
const COMPILERS: [&str; 3] = ["libbcc", "libLLVM", "libclang"];

/// `usdt-attach` in a folder of its own, with a search path that has nothing.
fn alone() -> (Copy, Command) {
    let program = copy(&tools().join("usdt-attach"));
    let mut command = Command::new(&program.path);
    command.env("PATH", program.folder.path().join("nothing")).env("NO_COLOR", "1");
    (program, command)
}

fn trace_with_bcc(app: &Path) -> [&str; 6] {
    ["trace", "--backend", "bcc", "--exe", app.to_str().unwrap(), "e2e:hit"]
}

/// The helper that a process has started, once it has.
fn helper_of(tracer: &Process) -> u32 {
    let mut found = None;
    wait_for("the helper", || {
        // Whichever thread started it.
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

fn is_there(pid: u32) -> bool {
    // A process that nobody has waited for yet is there, but runs no program.
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

#[test]
fn the_program_that_traces_maps_no_compiler() {
    let needed = stdout(Command::new("ldd").arg(tools().join("usdt-attach")));
    assert!(!COMPILERS.iter().any(|name| needed.contains(name)), "{needed}");
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(usdt_e2e::command(&app.path).args(["-linger", "60s"]));
    for backend in ["embedded", "bcc"] {
        let args = ["trace", "--backend", backend, "-p", &target.pid().to_string(), "e2e:hit"];
        let tracer = Process::start(usdt_e2e::command(tools().join("usdt-attach")).args(args));
        wait_for("its link", || tracer.links() > 0);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", tracer.pid())).unwrap();
        assert!(!COMPILERS.iter().any(|name| maps.contains(name)), "{backend}: {maps}");
    }
}

#[test]
fn without_the_helper_the_message_says_how_to_get_it() {
    let app = Fixture::get("hits", Mode::Sealed);
    let (_folder, mut command) = alone();
    let out = command.args(trace_with_bcc(&app)).output().unwrap();
    let message = "the bcc back end needs the program usdt-attach-bcc, which is neither next to this program nor on \
                   PATH; install the package usdt-attach-bcc, or build it with `cargo install --path \
                   usdt-attach/bcc` (needs libbpfcc-dev)";
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(3), format!("error: {message}\n")));
    let (folder, mut command) = alone();
    let file = usdt_e2e::write(folder.folder.path(), "program.c", "USDT(e2e, hit) { return 0; }");
    let out = command.args(["run", &file, "--exe", app.to_str().unwrap()]).output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(3), format!("error: {message}\n")));
    let (_folder, mut command) = alone();
    let findings = lines(&text(&command.args(["doctor", "--json"]).output().unwrap().stdout));
    let bcc = findings.iter().find(|finding| finding["check"] == "bcc").unwrap();
    let (detail, fix) = message.split_once("; ").unwrap();
    assert_eq!(
        (&bcc["state"], &bcc["detail"], &bcc["hint"]),
        (&"degraded".into(), &detail.into(), &fix.into())
    );
}

#[test]
fn the_helper_next_to_the_program_comes_first() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = Fixture::get("hits", Mode::Sealed);
    let (program, mut command) = alone();
    let helper = program.folder.path().join("usdt-attach-bcc").display().to_string();
    // By a process of its own: a descriptor open for writing here could be inherited by what another test starts.
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
fn doctor_names_the_helper_that_works() {
    if !have(&[Need::Bcc]) {
        return;
    }
    let out = attach(&["doctor", "--json"]);
    let findings = lines(&text(&out.stdout));
    let bcc = findings.iter().find(|finding| finding["check"] == "bcc").unwrap();
    let detail = format!("{}, with kernel headers", tools().join("usdt-attach-bcc").display());
    assert_eq!((&bcc["state"], &bcc["detail"]), (&"ok".into(), &detail.into()));
}

#[test]
fn a_helper_on_the_search_path_serves_a_program_without_one() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (program, mut command) = alone();
    let elsewhere = program.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(tools().join("usdt-attach-bcc"), elsewhere.join("usdt-attach-bcc")).unwrap();
    command.env("PATH", elsewhere).args(trace_with_bcc(&app.path)).args(["--duration", "1ms"]);
    let out = command.output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn a_killed_helper_is_an_error() {
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
fn a_helper_does_not_outlive_the_program_that_started_it() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let tracer = Process::start(
        usdt_e2e::command(tools().join("usdt-attach")).args(trace_with_bcc(&app.path)),
    );
    let helper = helper_of(&tracer);
    // It has asked for the signal by the time it reads the kernel's headers.
    wait_for("the helper to compile", || {
        std::fs::read_to_string(format!("/proc/{helper}/maps"))
            .is_ok_and(|maps| maps.contains("libbcc"))
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    signal(helper, "-STOP");
    tracer.signal(9);
    wait_for("the helper to end", || !is_there(helper));
}
