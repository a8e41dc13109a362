//! Commands give up the privileges that they do not need, and those that are left suffice.

use crate::export::{get, metric};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, command, copy, free_port, have, json_lines, root,
    stdout, text, tools, wait_for, write,
};

const SIGHUP: i32 = 1;

/// Capabilities by their numbers (`include/uapi/linux/capability.h`).
const FILES: u64 = 1 << 1 | 1 << 3 | 1; // DAC_OVERRIDE, FOWNER, CHOWN
const DAC_READ_SEARCH: u64 = 1 << 2;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const CHECKPOINT_RESTORE: u64 = 1 << 40;
const PROCESSES: u64 = DAC_READ_SEARCH | SYS_PTRACE | CHECKPOINT_RESTORE;
const ATTACHING: u64 = PROCESSES | PERFMON | BPF;

/// The effective and permitted capabilities in `/proc/PID/status`, and whether no-new-privs is set.
fn privileges(status: &str) -> (u64, u64, bool) {
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let set = |name: &str| u64::from_str_radix(&field(name), 16).unwrap();
    (set("CapEff:"), set("CapPrm:"), field("NoNewPrivs:") == "1")
}

fn privileges_of(process: &Process) -> (u64, u64, bool) {
    privileges(&std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap())
}

fn start_ticks() -> (Copy, Process) {
    let app = copy(&Fixture::get("ticks", Mode::Sealed));
    let ticks = Process::start(&mut command(&app.path));
    ticks.wait_for_exec(&app.path);
    (app, ticks)
}

/// Waits until the tracer has exactly these capabilities, effective and permitted.
fn wait_for_privileges(name: &str, tracer: &Process, expected: u64) {
    let is_reduced = || privileges_of(tracer) == (expected, expected, true);
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !is_reduced() {
        let (effective, permitted, no_new_privs) = privileges_of(tracer);
        assert!(
            std::time::Instant::now() < end,
            "{name}: {effective:#x}, {permitted:#x} instead of {expected:#x}; {no_new_privs}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn commands_give_up_unneeded_privileges() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, ticks) = start_ticks();
    let pid = ticks.pid().to_string();
    let file = app.folder.path().join("events.jsonl");
    let listen = format!("127.0.0.1:{}", free_port());
    // On kernels without links for many sites, attaching needs CAP_SYS_ADMIN.
    let old = match usdt_attach::kernel::detect::uprobe_multi() {
        usdt_attach::kernel::detect::UprobeMultiSupport::Missing => SYS_ADMIN | 1 << 24,
        _ => 0,
    };
    let cases: [(&[&str], u64); 8] = [
        (&["trace", "--json"], ATTACHING | old),
        (&["trace", "--json", "--stack"], ATTACHING | old),
        (&["count", "--json"], ATTACHING | old),
        (&["hist", "--json", "e2e:hit", "n"], ATTACHING | old),
        (&["latency", "--json", "--require-match", "e2e:hit", "e2e:hit2"], ATTACHING | old),
        (&["record", "-o", file.to_str().unwrap()], ATTACHING | FILES | old),
        (&["export", "--prometheus", &listen], ATTACHING | NET_BIND_SERVICE | old),
        (&["cost", "--json", "--duration", "1s"], ATTACHING | SYS_ADMIN | old),
    ];
    for (args, expected) in cases {
        let mut tracer = command(tools().join("usdt-attach"));
        let tracer = Process::start(tracer.args(args).args(["-p", &pid]));
        if args[0] == "latency" {
            // The fixture has no second probe; the command ends before it attaches.
            let (status, _, _) = tracer.finish();
            assert_eq!(status.code(), Some(2));
            continue;
        }
        wait_for("the tracer to attach", || tracer.link_count() > 0);
        wait_for_privileges(args[0], &tracer, expected);
        std::thread::sleep(Duration::from_millis(300));
        let (status, out, errors) = match args[0] {
            "cost" => tracer.finish(),
            _ => tracer.interrupt(),
        };
        assert_eq!(status.code(), Some(0), "{args:?}: {errors}");
        assert!(!errors.contains("Operation not permitted"), "{args:?}: {errors}");
        if args[0] == "trace" {
            let events = json_lines(&out);
            assert!(events.len() > 10, "{args:?}: {out}");
            if args.contains(&"--stack") {
                assert!(out.contains("main.main"), "stacks are symbolized: {out}");
            }
        }
    }
    assert!(std::fs::metadata(&file).unwrap().len() > 0);
    let listed = attach(&["list", "--json", "-p", &pid]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
}

/// A view that follows nothing gives up BPF after attaching, and goes on reading maps and memory.
#[test]
fn go_gives_up_bpf_after_attaching() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (_app, ticks) = start_ticks();
    let pid = ticks.pid().to_string();
    let mut view = command(tools().join("usdt-attach"));
    let view = Process::start(view.args(["go", "--json", "--interval", "100ms", "-p", &pid]));
    wait_for_privileges("go", &view, PROCESSES);
    std::thread::sleep(Duration::from_millis(500));
    let (status, out, errors) = view.interrupt();
    assert!(status.success(), "{errors}");
    let reports = json_lines(&out);
    assert!(reports.len() >= 3, "{out} {errors}");
    assert!(reports.iter().all(|r| !r["goroutines"]["live"].is_null()), "{out}");
}

/// A command that is traced may be setuid or need its capabilities: it gets what a shell would give
/// it. The tracer itself keeps only what it needs to attach to further files and to end the
/// command.
#[test]
fn traced_commands_keep_their_privileges() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let status = app.folder.path().join("status");
    let script = write(
        app.folder.path(),
        "script",
        format!("#!/bin/sh\ncat /proc/self/status > {}\nexec sleep 100\n", status.display()),
    );
    stdout(Command::new("chmod").args(["755", &script]));
    let mut tracer = command(tools().join("usdt-attach"));
    let tracer = Process::start(
        tracer
            .args(["trace", "--json", "e2e:hit", "--", app.as_str(), "-per", "5", "-exec"])
            .arg(&script),
    );
    wait_for_privileges("trace -- CMD", &tracer, ATTACHING | KILL);
    let content = || std::fs::read_to_string(&status).unwrap_or_default();
    wait_for("the command", || content().contains("NoNewPrivs:"));
    let own = privileges(&std::fs::read_to_string("/proc/self/status").unwrap());
    assert_eq!(privileges(&content()), own);
    let (code, out, errors) = tracer.interrupt();
    assert!(code.success(), "{errors}");
    assert_eq!(usdt_e2e::events_and_summary(&out).1["delivered"], 5, "{errors}");
}

/// The lines `NAME=value` of the unit, in order.
fn unit_values(unit: &str, name: &str) -> Vec<String> {
    let prefix = format!("{name}=");
    unit.lines().filter_map(|l| l.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// The system calls that a filter of the unit allows: groups and names, with `~` removed again.
fn allowed_calls(unit: &str) -> BTreeSet<String> {
    let expand = |word: &str| -> BTreeSet<String> {
        if !word.starts_with('@') {
            return [word.to_owned()].into();
        }
        let mut calls = BTreeSet::new();
        let mut groups = vec![word.to_owned()];
        while let Some(group) = groups.pop() {
            let listed = stdout(Command::new("systemd-analyze").args(["syscall-filter", &group]));
            for line in listed.lines().skip(1).map(str::trim) {
                match line {
                    group if group.starts_with('@') => groups.push(group.to_owned()),
                    call if !call.is_empty() && !call.starts_with('#') => {
                        calls.insert(call.to_owned());
                    }
                    _ => {}
                }
            }
        }
        calls
    };
    let mut allowed = BTreeSet::new();
    for line in unit_values(unit, "SystemCallFilter") {
        let (removes, words) = line.strip_prefix('~').map_or((false, &*line), |rest| (true, rest));
        for call in words.split(' ').flat_map(expand) {
            if removes {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    // systemd always allows these.
    for call in expand("@default") {
        allowed.insert(call);
    }
    allowed
}

fn unit() -> String {
    std::fs::read_to_string(root().join("packaging/usdt-attach.service")).unwrap()
}

/// Runs the agent as the unit does: a user without files, ambient capabilities, no new privileges.
/// It attaches, answers, reloads and ends with system calls of the unit's filter only.
#[test]
fn agent_runs_as_an_unprivileged_user_within_the_system_calls_of_its_unit() {
    let needs = ["setpriv", "strace", "systemd-analyze"].map(Need::Program);
    if !have(&[&[Need::Bpf][..], &needs].concat()) {
        return;
    }
    let unit = unit();
    assert_eq!(unit_values(&unit, "DynamicUser"), ["yes"]);
    let capabilities: Vec<String> = unit_values(&unit, "AmbientCapabilities")[0]
        .split(' ')
        .map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    let set = format!("-all,{}", capabilities.join(","));
    let (app, _ticks) = start_ticks();
    let port = free_port();
    let content = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[target]\nexe = \"{}\"\n[[count]]\nprobes = [\"e2e:hit\"]\nname = \"ticks\"\n",
        app.as_str()
    );
    // The files of the target and of the agent belong to root, and others cannot read them.
    let config = write(app.folder.path(), "agent.toml", &content);
    let calls = tempfile::tempdir().unwrap();
    stdout(Command::new("chmod").args(["777", calls.path().to_str().unwrap()]));
    let log = calls.path().join("calls");
    let mut agent = command("strace");
    agent.args(["-f", "-qq", "-e", "trace=all", "-e", "signal=none", "-o"]).arg(&log);
    agent.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    agent.args([
        format!("--inh-caps={set}"),
        format!("--ambient-caps={set}"),
        format!("--bounding-set={set}"),
    ]);
    let agent =
        Process::start(agent.arg(tools().join("usdt-attach")).args(["agent", "--config", &config]));
    let has_counted =
        || metric(&get(port, "/metrics"), "ticks_total").values().any(|count| *count > 5.0);
    wait_for("the agent to count", has_counted);
    let children = format!("/proc/{0}/task/{0}/children", agent.pid());
    let inner = std::fs::read_to_string(children).unwrap();
    let inner = inner.trim().to_owned();
    std::fs::write(&config, format!("{content}[[count]]\nprobes = [\"e2e:*\"]\nname = \"all\"\n"))
        .unwrap();
    stdout(Command::new("kill").args([format!("-{SIGHUP}"), inner.clone()]));
    wait_for("the new configuration", || get(port, "/metrics").contains("all_total"));
    stdout(Command::new("kill").args(["-15", &inner]));
    let (status, _, errors) = agent.finish();
    assert!(status.success() && errors.contains(" 0 dropped"), "{errors}");
    let allowed = allowed_calls(&unit);
    let log = std::fs::read_to_string(&log).unwrap();
    // What setpriv does before it executes the agent is done by systemd.
    let start = log.match_indices("execve(").map(|(at, _)| at).last().unwrap();
    let used: BTreeSet<&str> = log[start..]
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim().split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        // `uprobe`, with which optimized NOPs are detected. Seccomp filters do not apply to it.
        .filter(|name| !["uprobe", "syscall_0x150"].contains(name))
        .collect();
    assert!(used.contains("bpf") && used.len() > 20, "{used:?}");
    let forbidden: Vec<&&str> = used.iter().filter(|name| !allowed.contains(**name)).collect();
    assert!(forbidden.is_empty(), "not in the filter of the unit: {forbidden:?}");
}

/// `systemd-analyze security` rates the unit from 0 to 10, less is better. What is left are the
/// capabilities, the network and the view of the host that the agent needs.
#[test]
fn systemd_rates_the_unit_as_ok() {
    if !have(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let unit = root().join("packaging/usdt-attach.service");
    let out = command("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=26"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}
