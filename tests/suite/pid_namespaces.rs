//! Tracing in a PID namespace, as in a container without the PID namespace of the host.

use std::path::Path;
use std::process::{Command, Output};
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, command, copy, events_and_summary, have,
    json_lines, root, stdout, text, tools, wait_for,
};

const BACKENDS: [(&str, Need); 2] = [("embedded", Need::Bpf), ("bcc", Need::Bcc)];

/// Builds `tests/c/pids.c` with an inode of its own.
pub(crate) fn pids_program() -> Copy {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pids-built");
    stdout(
        command("cc")
            .args(["-O2", "-o"])
            .arg(&out)
            .arg(root().join("tests/c/pids.c"))
            .arg("-lpthread"),
    );
    copy(&out)
}

/// Returns a shell script as the first process of a new PID namespace with a `/proc` of its own. When
/// it ends, the kernel kills what it has started. `app` is `$app`, and the temporary folder `$out`.
fn in_namespace(app: &Copy, script: &str) -> Command {
    let mut unshare = command("unshare");
    unshare
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script])
        .env("app", &app.path)
        .env("out", app.folder.path());
    unshare
}

fn run_in_namespace(app: &Copy, script: &str) -> Output {
    in_namespace(app, script).output().unwrap()
}

/// Returns the events and the summary of a script whose only output is that of `usdt-attach`.
fn events(out: &Output) -> (Vec<serde_json::Value>, serde_json::Value) {
    assert!(out.status.success(), "{}", text(&out.stderr));
    events_and_summary(&text(&out.stdout))
}

/// Asserts that the ids of each event are those that the traced program passes as arguments.
fn assert_ids(events: &[serde_json::Value]) {
    for event in events {
        assert_eq!(event["pid"], event["args"]["arg1"], "{event}");
        assert_eq!(event["tid"], event["args"]["arg2"], "{event}");
    }
}

fn can_run() -> bool {
    have(&[Need::Bpf, Need::Program("unshare"), Need::Program("cc")])
}

/// Waits in the script for a process of `$app`.
const WAIT: &str = "while ! [ /proc/$p/exe -ef \"$app\" ]; do sleep 0.01; done;";

#[test]
fn traces_a_command_with_the_ids_of_its_namespace() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for (backend, need) in BACKENDS {
        if !have(&[need]) {
            continue;
        }
        for mode in ["ticks", "thread"] {
            let script =
                format!("usdt-attach trace --json --backend {backend} -- \"$app\" {mode} 10 1000");
            let (events, summary) = events(&run_in_namespace(&app, &script));
            assert_eq!((events.len(), &summary["hits"]), (10, &10.into()), "{backend} {mode}");
            assert_ids(&events);
            assert!(events[0]["pid"].as_u64().unwrap() < 100, "{}", events[0]);
            assert_eq!(events[0]["pid"] == events[0]["tid"], mode == "ticks");
            assert!(summary.get("outside_pid_namespace").is_none(), "{summary}");
        }
    }
}

#[test]
fn traces_a_process_by_the_id_of_its_namespace() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for (backend, need) in BACKENDS {
        if !have(&[need]) {
            continue;
        }
        let script = format!(
            "\"$app\" wait 20 1000 & p=$!; {WAIT} exec usdt-attach trace --json --backend {backend} -p $p"
        );
        let (events, summary) = events(&run_in_namespace(&app, &script));
        assert_eq!((events.len(), &summary["hits"]), (20, &20.into()), "{backend}");
        assert_ids(&events);
    }
}

#[test]
fn filters_and_groups_by_the_ids_of_its_namespace() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for (backend, need) in BACKENDS {
        if !have(&[need]) {
            continue;
        }
        let start = format!("\"$app\" ticks 100000 1000 & p=$!; {WAIT}");
        let script = format!(
            "{start} usdt-attach trace --json --backend {backend} --exe \"$app\" --filter \"pid == $p && tid == $p\" --events 5"
        );
        let (found, summary) = events(&run_in_namespace(&app, &script));
        assert_eq!(found.len(), 5, "{backend} {summary}");
        assert_ids(&found);
        let script = format!(
            "{start} echo $p >&2; exec usdt-attach count --json --backend {backend} --exe \"$app\" --by pid --duration 500ms"
        );
        let out = run_in_namespace(&app, &script);
        let (rows, _) = events(&out);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let pid: u64 = text(&out.stderr).lines().next().unwrap().parse().unwrap();
        assert_eq!(rows[0]["labels"]["pid"], pid);
        assert!(rows[0]["count"].as_u64().unwrap() > 0, "{rows:?}");
        let script = format!(
            "{start} exec usdt-attach count --json --backend {backend} --exe \"$app\" --filter 'pid == 999999' --duration 300ms"
        );
        let (_, summary) = events(&run_in_namespace(&app, &script));
        assert_eq!(summary["hits"], summary["filtered"], "{summary}");
        assert!(summary["filtered"].as_u64().unwrap() > 0, "{summary}");
    }
}

/// A container inside the container: its processes have ids in this namespace, too.
#[test]
fn traces_processes_of_a_nested_namespace() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    for (backend, need) in BACKENDS {
        if !have(&[need]) {
            continue;
        }
        let script = format!(
            "unshare --pid --fork --kill-child --mount-proc \"$app\" thread 100000 1000 & u=$!
             p=; while ! [ /proc/$p/exe -ef \"$app\" ]; do p=$(cat /proc/$u/task/$u/children); p=${{p% }}; sleep 0.01; done
             echo $p >&2; usdt-attach list -p $p --json >\"$out/list\"
             usdt-attach trace --json --backend {backend} -p $p --events 5 >\"$out/process\"
             usdt-attach trace --json --backend {backend} --exe \"$app\" --filter \"pid == $p\" --events 5 >\"$out/file\""
        );
        let out = run_in_namespace(&app, &script);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let pid: u64 = text(&out.stderr).lines().next().unwrap().parse().unwrap();
        for name in ["process", "file"] {
            let (found, summary) = events_and_summary(&read(&app, name));
            assert_eq!(found.len(), 5, "{backend} {name} {summary}");
            for event in &found {
                assert_eq!(event["pid"], pid, "{event}");
                // The first process of the nested namespace, and its second thread.
                assert_eq!(
                    (&event["args"]["arg1"], &event["args"]["arg2"]),
                    (&1.into(), &2.into())
                );
                assert!(event["tid"].as_u64().unwrap() > pid, "{event}");
            }
            assert!(summary.get("outside_pid_namespace").is_none(), "{summary}");
        }
        let listed = json_lines(&read(&app, "list"));
        assert_eq!(listed[0]["nspid"], serde_json::json!([[pid, 1]]), "{listed:?}");
    }
}

fn read(app: &Copy, name: &str) -> String {
    std::fs::read_to_string(app.folder.path().join(name)).unwrap()
}

#[test]
fn leaves_out_processes_outside_and_says_so() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let outside = Process::start(command(&app.path).args(["ticks", "100000", "1000"]));
    outside.wait_for_exec(&app.path);
    for (backend, need) in BACKENDS {
        if !have(&[need]) {
            continue;
        }
        let script = format!(
            "\"$app\" ticks 100000 1000 & p=$!; {WAIT}
             exec usdt-attach trace --json --backend {backend} --exe \"$app\" --duration 500ms"
        );
        let (found, summary) = events(&run_in_namespace(&app, &script));
        assert_ids(&found);
        let count = |name: &str| summary[name].as_u64().unwrap();
        assert!(!found.is_empty() && count("outside_pid_namespace") > 0, "{backend} {summary}");
        assert_eq!(found.len() as u64, count("delivered"), "{summary}");
        assert_eq!(count("hits"), count("delivered") + count("dropped"), "{summary}");
    }
    let script = "exec usdt-attach count --exe \"$app\" --duration 300ms";
    let errors = text(&run_in_namespace(&app, script).stderr);
    assert!(errors.contains("0 hits"), "{errors}");
    assert!(errors.contains("by processes outside this PID namespace"), "{errors}");
}

#[test]
fn follows_programs_that_start_in_its_namespace() {
    if !can_run() {
        return;
    }
    let (app, other) = (pids_program(), pids_program());
    // The program starts once the tracer reports exec, and ends after a tracer has enabled its probe.
    let script = format!(
        "usdt-attach count --json --all --by pid pids:tick >\"$out/all\" 2>\"$out/errors\" & t=$!
         for i in $(seq 300); do [ $(ls -l /proc/$t/fd | grep -c 'bpf.link') -ge 1 ] && break; sleep 0.01; done
         \"{other}\" wait 20 1000 & p=$!; wait $p; echo $p
         kill -INT $t; wait $t",
        other = other.as_str()
    );
    // Without a process that has the probe, `--all` has nothing to attach to.
    let keeps_running = Process::start(&mut in_namespace(
        &app,
        &format!("\"$app\" ticks 100000 5000 & p=$!; {WAIT} {script}"),
    ));
    let (status, out, errors) = keeps_running.finish();
    assert!(status.success(), "{errors} {}", read(&app, "errors"));
    let pid: u64 = out.trim().parse().unwrap();
    let (rows, _) = events_and_summary(&read(&app, "all"));
    let row = rows.iter().find(|row| row["labels"]["pid"] == pid);
    assert_eq!(row.map(|row| &row["count"]), Some(&20.into()), "{rows:?} {}", read(&app, "errors"));
}

#[test]
fn names_the_namespace() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let finding = |text: &str| {
        let all = json_lines(text);
        all.iter().find(|finding| finding["check"] == "PID namespace").unwrap().clone()
    };
    let inside = finding(&text(&run_in_namespace(&app, "exec usdt-attach doctor --json").stdout));
    assert_eq!(inside["state"], "ok", "{inside}");
    assert!(inside["detail"].as_str().unwrap().contains("processes outside it are left out"));
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    if own == Path::new("pid:[4026531836]") {
        let here = finding(&text(&attach(&["doctor", "--json"]).stdout));
        assert_eq!(here["detail"], "that of the host", "{here}");
    }
}

#[test]
fn lists_both_ids_of_a_process_in_a_container() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let container = Process::start(&mut in_namespace(&app, "exec \"$app\" ticks 100000 1000"));
    let children = format!("/proc/{0}/task/{0}/children", container.pid());
    let mut pid = String::new();
    wait_for("the process in the namespace", || {
        pid = std::fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == app.path)
    });
    let listed = json_lines(&text(&attach(&["list", "--json", "-p", &pid]).stdout));
    let number: u32 = pid.parse().unwrap();
    assert_eq!(listed[0]["nspid"], serde_json::json!([[number, 1]]), "{listed:?}");
    let out = attach(&["trace", "--json", "-p", &pid, "--events", "2"]);
    let (found, _) = events(&out);
    assert!(found.iter().all(|event| event["pid"] == number), "{found:?}");
    let own = std::process::id().to_string();
    let listed = attach(&["list", "--json", "-p", &own]);
    assert!(!text(&listed.stdout).contains("nspid"), "{}", text(&listed.stdout));
}

#[test]
fn says_that_proc_shows_another_namespace() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let run = |flags: &[&str], script: &str| {
        let mut unshare = command("unshare");
        unshare.args(flags).args(["sh", "-c", script]).env("app", &app.path);
        let out = unshare.output().unwrap();
        assert_eq!(out.status.code(), Some(3), "{script}: {}", text(&out.stderr));
        text(&out.stderr)
    };
    let without_proc = ["--pid", "--fork", "--kill-child"];
    for target in ["-p $$", "--all", "-- \"$app\" ticks 1 0"] {
        let errors = run(&without_proc, &format!("usdt-attach count pids:tick {target}"));
        assert!(errors.contains("/proc shows another PID namespace"), "{target}: {errors}");
        assert!(errors.contains("unshare --mount-proc"), "{target}: {errors}");
    }
    let mut unshare = command("unshare");
    let out = unshare.args(without_proc).args(["usdt-attach", "doctor"]).output().unwrap();
    let findings = text(&out.stdout);
    assert!(findings.contains("degraded proc: processes cannot be looked up"), "{findings}");
    let mut unshare = command("unshare");
    unshare.arg("--pid").arg(tools().join("usdt-attach")).args(["trace", "--"]).arg(&app.path);
    let out = unshare.args(["ticks", "1", "0"]).output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("unshare --pid --fork"), "{}", text(&out.stderr));
}

#[test]
fn says_that_a_user_namespace_does_not_permit_bpf() {
    if !can_run() {
        return;
    }
    let app = pids_program();
    let mut unshare = command("unshare");
    unshare.args(["--user", "--map-root-user"]).arg(tools().join("usdt-attach"));
    let out =
        unshare.args(["count", "--exe", app.as_str(), "--duration", "100ms"]).output().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(
        text(&out.stderr).contains("the capabilities of a user namespace"),
        "{}",
        text(&out.stderr)
    );
}

/// A custom C program that asks for process ids gets those of the namespace as well.
#[test]
fn custom_programs_get_the_ids_of_the_namespace() {
    if !can_run() || !have(&[Need::Bcc]) {
        return;
    }
    let app = pids_program();
    usdt_e2e::write(
        app.folder.path(),
        "by_pid.c",
        "BPF_HASH(by_pid, u32);\nUSDT(pids, tick) {\n  u32 pid = bpf_get_current_pid_tgid() >> 32;\n  \
         by_pid.atomic_increment(pid);\n  return 0;\n}\n",
    );
    let script = format!(
        "\"$app\" wait 7 1000 & p=$!; {WAIT} echo $p >&2; exec usdt-attach run --json -p $p \"$out/by_pid.c\""
    );
    let out = run_in_namespace(&app, &script);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let pid: u64 = text(&out.stderr).lines().next().unwrap().parse().unwrap();
    let rows = json_lines(&text(&out.stdout));
    assert_eq!(rows, [serde_json::json!({"table": "by_pid", "key": pid, "value": 7})]);
}

/// The exporter pairs starts and ends by process and goroutine.
#[test]
fn exports_latencies_of_a_process_in_its_namespace() {
    if !can_run() {
        return;
    }
    let app = copy(&Fixture::get("pairs", Mode::Sealed));
    let port = usdt_e2e::free_port();
    let script = format!(
        "\"$app\" -per 10 -goroutines 1 >\"$out/ready\" 2>/dev/null & p=$!
         usdt-attach export -p $p --prometheus {port} 'ops:*' 2>\"$out/log\" & t=$!
         until grep -q ready \"$out/ready\" && grep -q 'attached to' \"$out/log\"; do sleep 0.01; done
         kill -INT $p; wait $t"
    );
    let out = run_in_namespace(&app, &script);
    let log = read(&app, "log");
    assert!(out.status.success(), "{log} {}", text(&out.stderr));
    assert!(log.contains("18 hits: 18 delivered, 0 dropped, 0 filtered"), "{log}");
}
